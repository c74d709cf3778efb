"""From a URL or a name to a storage: the built-in backends, and those that others register."""

from __future__ import annotations

from collections.abc import Container
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Protocol, cast

from .config import StorageURL
from .errors import ConfigurationError
from .storage import AIStorage

__all__ = [
    "ENTRY_POINT_GROUP",
    "BackendClass",
    "backend_class",
    "backend_for",
    "backend_names",
    "backend_of",
    "open_storage",
]

ENTRY_POINT_GROUP = "pytest_aistorage.backends"

# Module and class by name: importing a backend imports its driver, which most users have only one of.
_BUILT_IN = {
    "memory": ("pytest_aistorage.backends.memory", "MemoryStorage"),
    "file": ("pytest_aistorage.backends.file", "FileStorage"),
    "database": ("pytest_aistorage.backends.database", "DatabaseStorage"),
    "redis": ("pytest_aistorage.backends.redis", "RedisStorage"),
    "hybrid": ("pytest_aistorage.backends.hybrid", "HybridStorage"),
}

_SCHEMES = {
    "memory": "memory",
    "file": "file",
    "sqlite": "database",
    "postgresql": "database",
    "postgres": "database",
    "mysql": "database",
    "mariadb": "database",
    "redis": "redis",
    "rediss": "redis",
    "valkey": "redis",
    "valkeys": "redis",
    "unix": "redis",
}

# What stands behind the + in redis+cluster://, rediss+sentinel://, ...
_REDIS_TOPOLOGIES = {
    "cluster": ("pytest_aistorage.backends.redis_cluster", "RedisClusterStorage"),
    "sentinel": ("pytest_aistorage.backends.redis_sentinel", "RedisSentinelStorage"),
}


# A storage of two storages, for an application on its way; no backend's name, and it stands above this module.
_CUTOVER = ("pytest_aistorage.migration.cutover_storage", "CutoverStorage")


class BackendClass(Protocol):
    """What an entry point of the group ``pytest_aistorage.backends`` names."""

    schemes: tuple[str, ...]

    def from_url(self, url: str, **options: Any) -> AIStorage:
        """Open the storage that the URL names."""

    def fresh_url(self, tmp_path: Path) -> str:
        """Return the URL of an empty store of its own."""


def open_storage(url: str, **options: Any) -> AIStorage:
    """Open the storage that a URL names. The URL and the options are checked at once; connecting is lazy.

    ==================================  =====================================================================
    ``memory://``, ``memory://name``    private; shared inside the process and gone with its last client
    ``file:///…/training_metrics.json``  the naive JSON file
    ``sqlite:///…``                     a file; four slashes for an absolute path
    ``postgresql://user:pass@host/db``  also ``mysql://`` and ``mariadb://``
    ``redis://host:6379/0``             also ``rediss://``, ``valkey://``, ``unix:///path.sock``
    ``redis+cluster://host:7000,host``  any nodes of a Redis Cluster; also ``rediss+cluster://``, ``valkey+…``
    ``redis+sentinel://host/name/0``    the master that Redis Sentinels call by this name; several hosts as well
    ``cutover:///…/metrics.json?to=…``  from this file to the storage of another URL, as `aistorage cutover` says
    ==================================  =====================================================================

    A database with the option ``cache``, the URL of a Redis, is a `HybridStorage`.

    Args:
        url: where the storage is. A password in it is never shown again.
        options: the backend's; ``timeout`` in seconds (5 by default) is known to all of them. Each can also
            stand in the URL's query.

    Raises:
        ConfigurationError: a URL that can't be read, an unknown scheme or option, a driver that is missing.
    """
    __tracebackhide__ = True  # pytest would print the URL, with its password
    return backend_for(url, options).from_url(url, **options)


def backend_class(name: str) -> BackendClass:
    """Return the class of a backend by its name, ``"redis"`` or that of an entry point.

    Raises:
        ConfigurationError: nobody registered that name, or its module can't be imported.
    """
    if name in _BUILT_IN:
        return _imported(*_BUILT_IN[name])
    for entry in entry_points(group=ENTRY_POINT_GROUP, name=name):
        try:
            return cast(BackendClass, entry.load())
        except (ImportError, AttributeError) as error:
            raise ConfigurationError(f"backend {name!r}: {entry.value} can't be imported: {error}") from error
    raise ConfigurationError(f"no backend is called {name!r}; known are {', '.join(backend_names())}")


def backend_names() -> list[str]:
    """Return the names of all backends: the built-in ones, then the registered ones."""
    registered = sorted(entry.name for entry in entry_points(group=ENTRY_POINT_GROUP))
    return [*_BUILT_IN, *(name for name in registered if name not in _BUILT_IN)]


def backend_for(url: str, options: Container[str] = ()) -> BackendClass:
    """Return the class that `open_storage` gives a URL to.

    Args:
        url: where the storage is.
        options: the names of the options beside it.

    Raises:
        ConfigurationError: as `open_storage` does.
    """
    __tracebackhide__ = True  # as in open_storage
    parts = StorageURL.parse(url)
    backend = _class_for(parts.scheme)
    if "cache" in options or ("cache" in parts.query and parts.scheme in backend_class("database").schemes):
        return backend_class("hybrid")
    return backend


def backend_of(scheme: str) -> str | None:
    """Return the name of the built-in backend that a URL's scheme leads to; None: it leads to none."""
    # postgresql+psycopg:// names a driver too, as SQLAlchemy's URLs do.
    return _SCHEMES.get(scheme.partition("+")[0])


def _imported(module: str, attribute: str) -> BackendClass:
    return cast(BackendClass, getattr(import_module(module), attribute))


def _class_for(scheme: str) -> BackendClass:
    if scheme == "cutover":
        return _imported(*_CUTOVER)
    if (name := backend_of(scheme)) is not None:
        topology = _REDIS_TOPOLOGIES.get(scheme.partition("+")[2]) if name == "redis" else None
        return backend_class(name) if topology is None else _imported(*topology)
    for entry in entry_points(group=ENTRY_POINT_GROUP):
        candidate = backend_class(entry.name)
        if scheme in candidate.schemes:
            return candidate
    raise ConfigurationError(f"no backend knows the scheme {scheme}://; known are {', '.join(_SCHEMES)}")
