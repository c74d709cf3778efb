"""Seams between the calls that a function makes of its storage, whichever storage that is."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Self

from .seams import Pause, Seams, Watch

__all__ = ["StorageCalls"]

_QUIET = frozenset({"close", "health_check"})
"""Methods that neither read nor write a record."""


class StorageCalls(Seams):
    """A client stops between its calls of methods of its storage; what it computes there is no step by itself.

    The steps are called by the methods: ``get``, ``save``, ``save-many``, ``update``, ``delete``, ``load``,
    ``query``; ``iter`` for each record that is taken from `AIStorage.iter_progress`; and for methods that the
    contract doesn't know their own names, so that a ``read_epoch`` is a step ``read-epoch``. A step is the call with
    all that the client does up to the next one; the first step is also what it does before. One call is one step:
    what happens inside of it is the matter of other seams.

    The storage may be any object. What the client is given in its place has all of its attributes, and is no
    instance of its class; it closes nothing, since a client is used for many schedules.
    """

    granularity = "storage calls"
    starts_stopped = True
    needs_process = False
    lock_limit = 0.25  # a step is a call as a whole, and may well be slow; only the client's own locks last

    @contextmanager
    def watching(self, pause: Pause) -> Iterator[Watch]:
        """Watch this thread; calls of others are not stopped."""
        yield _CallWatch(pause)

    def around(self, storage: Any, watch: Any) -> Any:
        """Return the storage with a stop before each call but the first."""
        return _Stopping(storage, watch.before)


class _CallWatch:
    def __init__(self, pause: Pause) -> None:
        self._pause = pause
        self._thread = threading.get_ident()
        self._label: str | None = None

    def before(self, label: str) -> None:
        if threading.get_ident() != self._thread:
            return
        did, self._label = self._label, label
        if did is not None:  # the client stood still before all, to which its first call belongs
            self._pause.stop(did)

    def last(self) -> str:
        return self._label or "run"


class _Stopping:
    """A storage whose calls are announced."""

    def __init__(self, storage: Any, before: Callable[[str], None]) -> None:
        self._storage = storage
        self._before = before

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._storage, name)
        if name.startswith("_") or name in _QUIET or not callable(found):
            return found
        before = self._before
        if name == "iter_progress":
            return lambda *given, **named: _announced(found(*given, **named), before)
        label = _label_of(name)

        def stopping(*given: Any, **named: Any) -> Any:
            before(label)
            return found(*given, **named)

        return stopping

    def close(self) -> None:
        """Nothing: the client goes on."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def __repr__(self) -> str:
        return repr(self._storage)


def _label_of(method: str) -> str:
    label = re.sub("[^a-z0-9]+", "-", method.removesuffix("_progress").lower()).strip("-")
    return label if label[:1].isalpha() else f"call-{label}"


def _announced(records: Any, before: Callable[[str], None]) -> Iterator[Any]:
    # Each record may be fetched when it is asked for: others can come in before that.
    iterator = iter(records)
    while True:
        before("iter")
        try:
            record = next(iterator)
        except StopIteration:
            return
        yield record
