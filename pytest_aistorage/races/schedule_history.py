"""What the clients of one schedule did, as a history: with what was there before, and what was read afterwards.

`recording` writes down what one client does; here that is brought home from each of them, and put together.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from ..capabilities import Capability
from .history import Fault, History, Operation, Part
from .recording import RecordingStorage
from .seams import Pause, Seams, Watch

__all__ = ["Recorded", "Recording", "named_in"]


class Recorded(Seams):
    """Seams at which a client also tells what it did with its storage: so it is known of one that is killed there.

    Args:
        seams: where it is stopped.
        process: the client's number in the history.
    """

    def __init__(self, seams: Seams, process: int) -> None:
        self._seams = seams
        self._process = process
        self.granularity = seams.granularity
        self.lock_limit = seams.lock_limit
        self.starts_stopped = seams.starts_stopped
        self.needs_process = seams.needs_process

    @contextmanager
    def watching(self, pause: Pause) -> Iterator[Watch]:
        """Watch as the seams do."""
        teller = _Teller(pause)
        with self._seams.watching(teller) as watch:
            teller.watch = watch
            yield teller

    def around(self, storage: Any, watch: Any) -> Any:
        """Return the storage, recorded."""
        # Inside of what stops: to stand still before a call is no part of the call.
        watch.recorder = RecordingStorage(storage, self._process)
        return self._seams.around(watch.recorder, watch.watch)

    def told(self, watch: Any) -> tuple[Operation, ...]:
        """Return what was recorded."""
        found: tuple[Operation, ...] = watch.told()
        return found


class _Teller:
    """The pause of the inner watch, and the watch of the outer seams."""

    def __init__(self, pause: Pause) -> None:
        self._pause = pause
        self.recorder: RecordingStorage | None = None
        self.watch: Watch

    def told(self) -> tuple[Operation, ...]:
        return () if self.recorder is None else self.recorder.so_far()

    def last(self) -> str:
        return self.watch.last()

    def stop(self, did: str | None, told: tuple[Operation, ...] = ()) -> object:
        return self._pause.stop(did, self.told())

    def wait(self) -> None:
        self._pause.wait()


class Recording:
    """The recording of one schedule. What is done with `storage` before it begins is part of the history.

    Args:
        observer: a client of ours.
        clients: how many take part; the observer has the next number.
        offsets: of models that were there before and were deleted since, the versions that their deletes took: in
            the history they begin at version 1 again.
        reused: whether a model that is saved after a delete begins at version 1 again, as some storages do it.

    Attributes:
        storage: the observer, recorded.
    """

    def __init__(
        self,
        observer: Any,
        clients: int,
        offsets: Mapping[str, int] | None = None,
        *,
        reused: bool = False,
    ) -> None:
        self.storage = RecordingStorage(observer, clients + 1)
        self._offsets = dict(offsets or {})
        self._reused = reused

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What the storage declares; nothing, where it does not say."""
        found: frozenset[Capability] = getattr(self.storage, "capabilities", frozenset())
        return found

    def finished(self, operations: Sequence[Operation], faults: Sequence[Fault] = ()) -> History:
        """Read what is left of all the models, and return the history of everything.

        Args:
            operations: the clients'.
            faults: what was done to them.
        """
        known = named_in([*self.storage.operations, *operations])
        for name in sorted(known):
            self._look(name)
        self._look(None)
        told = [_narrowed(one, known) for one in (*operations, *self.storage.operations)]
        if self._reused and any(one.kind == "delete" for one in told):
            told = [_without_versions(one) for one in told]
        else:
            offsets = self._checked_offsets(told)
            told = [_shifted(one, offsets) for one in told]
        return History(sorted(told, key=lambda one: one.called), faults)

    def _look(self, name: str | None) -> None:
        with contextlib.suppress(Exception):  # whatever it is, it is recorded
            if name is None:
                self.storage.load_progress()
            else:
                self.storage.get_progress(name)

    def _checked_offsets(self, operations: Collection[Operation]) -> dict[str, int]:
        """The offsets, without those that can't be: the storage has begun anew by itself."""
        offsets = dict(self._offsets)
        for one in operations:
            for part in one.parts or (Part(one.model_name, one.version),):
                if part.version and part.version <= offsets.get(part.model_name, 0):
                    del offsets[part.model_name]
        return offsets


def named_in(operations: Iterable[Operation]) -> set[str]:
    """Return the names of the models that operations were asked to read or write; a listing asks for none."""
    names = set()
    for one in operations:
        names.update(
            [one.model_name]
            if one.model_name
            else [part.model_name for part in one.parts if one.kind != "load"]
        )
    return names


def _narrowed(operation: Operation, models: Collection[str]) -> Operation:
    """A listing without the models that are nobody's here: the store may have others."""
    if operation.kind != "load":
        return operation
    return operation._replace(parts=tuple(part for part in operation.parts if part.model_name in models))


def _shifted(operation: Operation, offsets: Mapping[str, int]) -> Operation:
    offset = offsets.get(operation.model_name, 0)
    if operation.parts:
        return operation._replace(
            parts=tuple(
                part._replace(version=_less(part.version, offsets.get(part.model_name, 0)))
                for part in operation.parts
            )
        )
    if not offset:
        return operation
    return operation._replace(
        version=_less(operation.version, offset),
        base=_less(operation.base, offset),
        actual=_less(operation.actual, offset),
    )


def _less(version: int | None, offset: int) -> int | None:
    return version - offset if version else version


def _without_versions(operation: Operation) -> Operation:
    """The operation where versions tell nothing: a record that is saved after a delete has those of another."""
    if operation.parts:
        return operation._replace(parts=tuple(part._replace(version=None) for part in operation.parts))
    return operation._replace(version=0 if operation.version == 0 else None, base=None, actual=None)
