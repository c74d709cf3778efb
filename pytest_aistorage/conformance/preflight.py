"""Before the suite: can this storage be tested at all? What is missing is said once, and not by every test."""

from __future__ import annotations

import contextlib
import inspect
import pickle
from collections.abc import Callable
from typing import Any

from ..capabilities import Capability
from ..errors import ConfigurationError
from ..progress import AIProgress
from .factories import reasons_to_withhold

__all__ = ["METHODS", "preflight"]

METHODS = (
    "save_progress",
    "save_many",
    "get_progress",
    "load_progress",
    "iter_progress",
    "update_progress",
    "delete_progress",
    "query_progress",
    "health_check",
    "get_storage_info",
    "close",
)
"""What every storage has; ``expire_now``, where `Capability.EXPIRY` is declared."""

_RECORD = AIProgress(model_name="preflight", mse=0.5)


def preflight(opener: Callable[[], Any], capabilities: frozenset[Capability] | None = None) -> list[str]:
    """Say what keeps a storage from being tested; nothing: the suite can run.

    It opens two clients of the store, and saves a record by one of them.

    Args:
        opener: opens a client of a fresh store.
        capabilities: what the storage declares; None: what its instances say.

    Raises:
        Exception: what the opener raised.
    """
    first = opener()
    if problem := _not_a_storage(first, capabilities):
        return [problem]
    declared: frozenset[Capability] = first.capabilities if capabilities is None else capabilities
    try:
        return [*_not_picklable(opener, declared), *_not_shared(opener, first)]
    finally:
        with contextlib.suppress(Exception):  # the contract tests say what is wrong with close
            first.close()


def _not_a_storage(client: Any, capabilities: frozenset[Capability] | None) -> str | None:
    kind = type(client).__name__
    if inspect.isawaitable(client):
        if inspect.iscoroutine(client):
            client.close()  # or Python warns that nobody awaited it
        return f"opening returned a {kind}: the suite tests storages without async"
    if client is None:
        return "opening returned None instead of an open storage"
    missing = [name for name in METHODS if not callable(getattr(client, name, None))]
    if missing:
        return f"opening returned a {kind}, which is no storage: it has no {', '.join(missing)}"
    if not isinstance(getattr(client, "type", None), str):
        return f'the {kind} has no attribute `type`, a str: the name of the backend, such as "redis"'
    declared = getattr(client, "capabilities", None) if capabilities is None else capabilities
    if not isinstance(declared, frozenset) or not all(isinstance(one, Capability) for one in declared):
        found = "has none" if declared is None else f"has {declared!r}"
        return (
            "no capabilities are declared: the storage's attribute `capabilities` must be a frozenset of "
            f"Capability (frozenset() promises nothing), and the {kind} {found}"
        )
    try:
        reasons_to_withhold(client)
    except ConfigurationError as error:
        return f"the {kind}'s attribute {error}"
    if Capability.EXPIRY in declared and not callable(getattr(client, "expire_now", None)):
        return f"EXPIRY is declared, and the {kind} has no expire_now"
    return None


def _not_picklable(opener: Callable[[], Any], declared: frozenset[Capability]) -> list[str]:
    if Capability.SHARED_BETWEEN_PROCESSES not in declared:
        return []
    try:
        pickle.loads(pickle.dumps(opener))
    except Exception as error:  # pickle raises whatever the object's own methods raise
        return [
            "SHARED_BETWEEN_PROCESSES is declared, and the opener can't be given to another process: "
            f"{type(error).__name__}: {error}. A functools.partial of a class or function of a module can"
        ]
    return []


def _not_shared(opener: Callable[[], Any], first: Any) -> list[str]:
    second = opener()
    try:
        try:
            first.save_progress(_RECORD)
            seen = second.get_progress(_RECORD.model_name) is not None or _sees(opener)
        except Exception:  # the contract tests say what is wrong with a save or a get
            return []
    finally:
        with contextlib.suppress(Exception):
            second.close()
    if seen:
        return []
    return [
        "two clients of one store don't see the same records: what the first has saved, neither a second that "
        "was open before nor one opened afterwards finds. Opening must lead to the same store each time, and what "
        "was saved must be there before the client closes"
    ]


def _sees(opener: Callable[[], Any]) -> bool:
    """Whether a client opened now finds the record."""
    client = opener()
    try:
        return client.get_progress(_RECORD.model_name) is not None
    finally:
        with contextlib.suppress(Exception):
            client.close()
