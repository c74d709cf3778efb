"""The names of backends, and what each declares without being opened."""

from __future__ import annotations

from typing import Any

from ..capabilities import Capability
from ..conformance.factories import Supplied, find_factory, is_reference
from ..errors import ConfigurationError

__all__ = [
    "SERVER_KINDS",
    "check_name",
    "declared",
    "is_built_in",
    "known_names",
    "server_name",
    "servers_of",
]

_SQL = frozenset(Capability) - {Capability.EXPIRY}
_IN_PROCESS = frozenset(
    {
        Capability.LINEARIZABLE,
        Capability.VERSIONS_NEVER_REUSED,
        Capability.ATOMIC_BATCH,
        Capability.SNAPSHOT_LISTING,
        Capability.EXPIRY,
    }
)

# What the storages that the fixtures open declare of themselves; a test compares them. A table, because asking
# a storage means importing its driver while tests are collected.
_DECLARED = {
    "memory": _IN_PROCESS,
    "file": frozenset({Capability.SHARED_BETWEEN_PROCESSES, Capability.SURVIVES_CLOSE}),
    "sqlite": _SQL,
    "postgres": _SQL,
    "mysql": _SQL,
    "hybrid": _SQL,
    "redis": _IN_PROCESS
    | {
        Capability.SHARED_BETWEEN_PROCESSES,
        Capability.SURVIVES_CLOSE,
        Capability.SURVIVES_CLIENT_CRASH,
    },
    # A fake is evidence for no guarantee, so a test that requires one does not run on it.
    "redis-fake": frozenset({Capability.EXPIRY}),
}

SERVER_KINDS = ("postgres", "redis", "mysql")

_OF_HYBRID = ("postgres", "redis")


def servers_of(name: str, selected: tuple[str, ...]) -> tuple[str, ...]:
    """Return the servers that a backend needs: ``("postgres@17",)`` for itself.

    Args:
        name: the backend's.
        selected: the backends of the run, of which a hybrid takes the first database and the first Redis.
    """
    if name.partition("@")[0] in SERVER_KINDS:
        return (name,)
    return tuple(server_name(selected, kind) for kind in _OF_HYBRID) if name == "hybrid" else ()


def server_name(selected: tuple[str, ...], kind: str) -> str:
    """Return which server of a kind is meant: the first that is selected, such as ``postgres@17``."""
    return next((name for name in selected if name.partition("@")[0] == kind), kind)


def known_names() -> list[str]:
    """The names that can be asked for: the built-in ones, then those of entry points."""
    return [*_DECLARED, *(name for name in _registered() if name not in _DECLARED)]


def is_built_in(name: str) -> bool:
    """Whether a name is one of ours: ``sqlite``, ``postgres@17``."""
    return name.partition("@")[0] in _DECLARED


def check_name(name: object) -> str | None:
    """Say what is wrong with the name of a backend; None where it is right."""
    if not isinstance(name, str):
        return f"the name of a backend is a str, not {name!r}"
    if is_reference(name):
        try:
            find_factory(name)
        except ConfigurationError as error:
            return str(error)
        return None
    base, at, _ = name.partition("@")
    if base in SERVER_KINDS:
        from ..servers.base import ServerSpec

        try:
            ServerSpec.parse(name)
        except ConfigurationError as error:
            return str(error)
        return None
    if at:
        return f"backend {name!r}: only {', '.join(SERVER_KINDS)} have versions"
    if name in _DECLARED or name in _registered():
        return None
    return f"no backend is called {name!r}; known are {', '.join(known_names())}"


def declared(name: str) -> frozenset[Capability] | None:
    """The capabilities that a backend declares before it is opened; None where it says so only afterwards.

    For a registered backend, or a factory, they are the attribute ``capabilities`` of it, if it has one.
    """
    if is_reference(name):
        return Supplied.by(find_factory(name)).capabilities
    known = _DECLARED.get(name.partition("@")[0])
    return known if known is not None else class_capabilities(_registered_class(name))


def class_capabilities(cls: Any) -> frozenset[Capability] | None:
    """The attribute ``capabilities`` of a class, where it holds capabilities."""
    found = getattr(cls, "capabilities", None)
    if isinstance(found, (set, frozenset)) and all(isinstance(one, Capability) for one in found):
        return frozenset(found)
    return None


def _registered() -> list[str]:
    from importlib.metadata import entry_points

    from ..registry import ENTRY_POINT_GROUP

    return sorted(entry.name for entry in entry_points(group=ENTRY_POINT_GROUP))


def _registered_class(name: str) -> Any:
    from ..registry import backend_class

    return backend_class(name)
