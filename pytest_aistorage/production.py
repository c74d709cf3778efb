"""The guide's own doors: `ProductionAIStorage`, and the one storage that a process takes from its environment."""

from __future__ import annotations

import atexit
import dataclasses
import os
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import quote

from . import migration
from .capabilities import Capability
from .config import SecretText, StorageURL, snake_case, text
from .environment import TYPES, check_address, get_storage_config, options_of_environment
from .errors import ConfigurationError
from .registry import open_storage
from .storage import AIStorage
from .wrapper import WrapperStorage

__all__ = ["ProductionAIStorage", "get_ai_storage"]

_FILE: Final = "training_metrics.json"
_ADDRESSES: Final[Mapping[str, tuple[str, ...]]] = {
    "file": ("path",),
    "database": ("connection_string", "db"),
    "redis": ("redis_url", "redis"),
}


class ProductionAIStorage(WrapperStorage):
    """A storage by its type and options, as the guide opens it; a wrapper around the one that `open_storage` opens.

    ============  ==============================================================================================
    ``memory``    ``name`` shares the records inside the process; without it they are private
    ``file``      ``path``, ``training_metrics.json`` in the working directory by default
    ``database``  ``connection_string``, a URL; or ``db``, a SQLAlchemy engine
    ``redis``     ``redis_url``; or ``redis``, a client of redis-py
    ``hybrid``    one of the database's and one of Redis'
    ``cutover``   ``path`` and ``connection_string``: from that file to that database, as `aistorage cutover` says
    ============  ==============================================================================================

    Everything else is an option of the backend, as for `open_storage`. Names may also be written in camelCase,
    ``connectionString``, as in TypeScript; None counts as not given. Of a type whose addresses are all left out,
    the environment is asked for them and for the options that are not given, as `get_storage_config` does. An engine
    or a client that is handed in is never closed.

    Args:
        type: one of those.
        options: of that type.
        environ: where to look for addresses; default: the environment of the process.

    Raises:
        ConfigurationError: an unknown type or option, an address that is missing, given twice or of another kind.
    """

    def __init__(
        self,
        type: str,
        options: Mapping[str, Any] | None = None,
        *,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        __tracebackhide__ = True  # pytest would print the options, with their passwords
        if type not in TYPES:
            raise ConfigurationError(f"type: must be one of {', '.join(TYPES)}, got {type!r}")
        super().__init__(_opened(type, _in_snake_case({} if options is None else options), environ))

    def migrate_from_file(self, path: str | Path) -> int:
        """Import the records of a JSON file that an application has written, in camelCase or snake_case.

        Nothing that is stored is overwritten. What is there already, equal but for its stamps, is passed over: an
        import that was interrupted is taken up by calling this again.

        Args:
            path: the file; see `migration.read_records` for what it may hold.

        Returns:
            How many records were imported.

        Raises:
            CorruptStorageError: no JSON, or a record that breaks a rule; names its place, and nothing was written.
            VersionConflictError: another record of a model is stored; nothing was written.
            StorageUnavailableError: the file can't be read, or the storage can't be reached.
            OutcomeUnknownError: as for `save_progress`.
        """
        return migration.import_records(self, migration.read_records(path))


def _in_snake_case(options: object) -> dict[str, Any]:
    """The options that are set: None is TypeScript's undefined."""
    if not isinstance(options, Mapping):
        raise ConfigurationError(f"options: must be a mapping, not {type(options).__name__}")
    found: dict[str, Any] = {}
    for name, value in options.items():
        if (known := snake_case(str(name))) in found:
            raise ConfigurationError(f"option {known}: given twice, also as {name}")
        if value is not None:
            # pytest prints the arguments of the frames that it prints.
            found[known] = SecretText(value) if isinstance(value, str) and "://" in value else value
    return found


def _opened(kind: str, options: dict[str, Any], environ: Mapping[str, str] | None) -> AIStorage:
    __tracebackhide__ = True  # as above
    parts = {"hybrid": ("database", "redis"), "cutover": ("database",)}.get(kind, (kind,))
    addresses = [name for part in parts for name in _ADDRESSES.get(part, ())]
    if addresses and not any(name in options for name in addresses):
        options = {**options_of_environment(kind, environ), **options}
    if kind == "memory":
        name = text("name", options.pop("name")) if "name" in options else ""
        return open_storage(f"memory://{quote(name, safe='')}", **options)
    if kind == "file":
        return open_storage(_file_url(options.pop("path", _FILE)), **options)
    if kind == "cutover" and "db" in options:
        raise ConfigurationError("option db: a cutover goes to the connection_string of a database")
    urls = {part: _address(part, options) for part in parts}
    if kind == "hybrid":
        return open_storage(urls["database"], cache=_with_prefix(urls["redis"], options), **options)
    if kind == "cutover":
        place = _file_url(options.pop("path", _FILE)).removeprefix("file")
        return open_storage(f"cutover{place}", to=urls["database"], **options)
    return open_storage(urls[kind], **options)


def _with_prefix(cache: str, options: dict[str, Any]) -> str:
    """The URL of a cache that takes how its keys begin from there, and from nowhere else."""
    __tracebackhide__ = True  # as above
    if "prefix" not in options:
        return cache
    if "redis" in options:
        raise ConfigurationError("option prefix: not with a client that is handed in, but in a redis_url")
    url = StorageURL.parse(cache)
    return dataclasses.replace(
        url, query={**url.query, "prefix": text("prefix", options.pop("prefix"))}
    ).render()


def _file_url(path: object) -> str:
    if not isinstance(path, Path):
        path = Path(text("path", path))
    absolute = path.absolute().as_posix()
    return f"file://{quote(absolute if absolute.startswith('/') else '/' + absolute)}"


def _address(part: str, options: dict[str, Any]) -> str:
    """Take the URL of one part out of the options; one that only names the backend where a client is handed in."""
    __tracebackhide__ = True  # as above
    name, client = _ADDRESSES[part]
    if client not in options:
        if name not in options:
            raise ConfigurationError(f"a storage of this type needs the option {name} or {client}")
        check_address(f"option {name}", options[name], part)
        return cast(str, options.pop(name))
    if name in options:
        raise ConfigurationError(f"options {name} and {client}: only one of them can be used")
    dialect = getattr(options[client], "dialect", None)
    return f"{getattr(dialect, 'name', 'sqlite')}://" if part == "database" else "redis://"


# -- the storage of this process -----------------------------------------------------------------------------


class _OfThisProcess:
    """The storage that `get_ai_storage` returns, and the lock under which it is made."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.storage: ProductionAIStorage | None = None
        self.inherited: list[ProductionAIStorage] = []
        """Kept, so that no finalizer speaks on a connection that is the parent's."""
        self.is_new_child = False

    def get(self) -> ProductionAIStorage:
        with self.lock:
            if self.storage is None or self.storage._closed:
                config = get_storage_config()
                self.storage = ProductionAIStorage(config.type, config.options)
                self._close_with_the_child()
            return self.storage

    def close(self) -> None:
        with self.lock:
            if self.storage is not None:
                self.storage.close()

    def _close_with_the_child(self) -> None:
        """Let multiprocessing close it, once in each forked process, of which none runs what atexit knows."""
        if self.is_new_child and (util := sys.modules.get("multiprocessing.util")) is not None:
            util.Finalize(None, self.close, exitpriority=0)
            self.is_new_child = False

    def leave_to_the_parent(self) -> None:
        """In a forked child: another thread may have held any lock, and what writes behind has no thread here."""
        self.lock = threading.Lock()
        self.is_new_child = True
        if self.storage is not None and Capability.SHARED_BETWEEN_PROCESSES in self.storage.capabilities:
            self.inherited.append(self.storage)
            self.storage = None  # records in memory are the child's own copy, and would be lost


_of_this_process: Final = _OfThisProcess()
atexit.register(_of_this_process.close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_of_this_process.leave_to_the_parent)


def get_ai_storage() -> ProductionAIStorage:
    """Return the one storage of this process, opened as the environment says when it is first asked for.

    All threads get the same one. It is closed when the process ends; if somebody closes it before, the next call
    opens another, by the environment as it is then. A forked child gets one of its own, except of records in
    memory, of which it has a copy.

    Raises:
        ConfigurationError: as `get_storage_config` and `ProductionAIStorage` do.
    """
    return _of_this_process.get()
