"""One sequence of operations, done by clients of a storage and on its specification alike, and compared."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from .. import model
from ..capabilities import Capability
from ..errors import (
    InvalidProgressError,
    UnsupportedOperationError,
    VersionConflictError,
)
from ..progress import GIVEN_FIELDS, AIProgress, ProgressQuery
from ..storage import AIStorage
from ..validation import checked_query
from .comparison import Comparison
from .iteration import Iteration
from .narrative import (
    Narrative,
    differences,
    said_batch,
    said_error,
    said_given,
    said_listing,
    said_name,
    said_query,
    said_record,
    said_version,
    said_versions,
)

__all__ = ["LETTERS", "Agreement", "RawReader"]

Change = Callable[[AIProgress | None], Any]
RawReader = Callable[[str], Mapping[str, Any] | None]

LETTERS = "ABCD"
"""The clients."""


class Agreement(Comparison):
    """A storage and its specification, `pytest_aistorage.model`, side by side.

    Each operation is done on both. Stamps are compared by what holds of them, as moments are the storage's own
    choice: ``created_at`` stays for the life of a record, ``updated_at`` never decreases; and where
    `Capability.VERSIONS_NEVER_REUSED` is not declared, a model that comes back may begin with any version.

    Args:
        opener: opens one more client of the store.
        capabilities: what the storage declares.
        prefix: begins every name that the sequence uses, and no other name in the store.
        raw: reads around the storage, with which every write is compared as well.

    Attributes:
        state: of the specification.
        open: the open clients, by letter.
        iterations: those that are under way.
        page: the last query and the last record that it should have returned.
    """

    def __init__(
        self,
        opener: Callable[[], AIStorage],
        capabilities: frozenset[Capability],
        prefix: str = "",
        raw: RawReader | None = None,
    ) -> None:
        super().__init__(Narrative(prefix))
        self._opener = opener
        self._capabilities = capabilities
        self._raw = raw
        self.open: dict[str, AIStorage] = {}
        self.iterations: list[Iteration] = []
        self.page: tuple[ProgressQuery, AIProgress] | None = None
        self.state = model.EMPTY
        self._ended_at: dict[str, datetime] = {}  # the last updated_at of a record that is gone
        self._held: dict[str, tuple[str, int, Any]] = {}

    # -- clients --------------------------------------------------------------------------------------------

    def begin(self, left: Iterable[str] = ()) -> None:
        """Open A and B on a store that is emptied; what can't be deleted is taken as it is.

        Args:
            left: the names that earlier sequences used; they may be there and not be listed.
        """
        for letter in LETTERS[:2]:
            self.open[letter] = self._opener()
        client = self.open["A"]
        with suppress(Exception):  # what is wrong with a delete, a sequence will show
            for name in {*left, *(record.model_name for record in client.load_progress())}:
                client.delete_progress(name)
            for record in client.load_progress():
                kept = model.ModelState(record.version, record)
                self.state = self.state.replaced(record.model_name, kept)

    def open_client(self, letter: str) -> None:
        """Open a client that is closed, or was never open."""
        opened = self.done(letter, "opens", self._opener)
        self.open[letter] = opened

    def close_client(self, letter: str) -> None:
        """Close a client; its iterations are given up."""
        self.iterations = [one for one in self.iterations if one.letter != letter]
        self.done(letter, "closes", self.open.pop(letter).close)

    def end(self) -> None:
        """Bring to an end what is under way, and compare what each client that is still open sees."""
        for iteration in self.iterations:
            while not iteration.ended:
                iteration.go_on(1000)
        for letter in sorted(self.open):
            if self.page is not None:
                query, last = self.page
                self.query(letter, dataclasses.replace(query, after=last))
            self.load(letter)
            for name in sorted(self.state.models):
                self.get(letter, name)

    def close(self) -> None:
        """Close all clients, without a word."""
        for client in self.open.values():
            with suppress(Exception):  # what the sequence found wrong is the news
                client.close()
        self.open.clear()

    # -- writes ---------------------------------------------------------------------------------------------

    def save(
        self,
        letter: str,
        name: str,
        fields: Mapping[str, Any],
        expected: int | None = None,
        ttl: timedelta | None = None,
    ) -> None:
        """``save_progress``."""
        progress = AIProgress(model_name=name, **fields)
        options: dict[str, Any] = {}
        if expected is not None:
            options["expected_version"] = expected
        if ttl is not None:
            options["ttl"] = ttl
        said = f"save_progress({said_name(name)}, {said_given({**fields, **options})})"
        before = self.state[name]

        def call() -> AIProgress:
            return self.open[letter].save_progress(progress, **options)

        if ttl is not None and Capability.EXPIRY not in self._capabilities:
            self.refused(letter, said, call, UnsupportedOperationError)
            return
        after, wanted = model.step(self.state, model.Save(progress, expected, ttl))
        if isinstance(wanted, model.Conflicted):
            self._conflicts(letter, said, call, wanted)
        else:
            got = self.done(letter, said, call, said_version)
            self._written(name, before, after, got)
            self._hold("got", letter, got)
        self._hold("gave", letter, progress)
        self._check_raw(name)

    def save_many(self, letter: str, batch: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
        """``save_many`` of different models."""
        progresses = [AIProgress(model_name=name, **fields) for name, fields in batch]
        said = f"save_many({said_batch(batch)})"
        got = self.done(letter, said, lambda: self.open[letter].save_many(progresses), said_versions)
        if not isinstance(got, list) or len(got) != len(batch):
            self.fail(f"a list of {len(batch)} records", repr(got))
        before = self.state
        after, _ = model.step(before, model.SaveMany(tuple(progresses)))
        for (name, _), record in zip(batch, got, strict=True):
            self._written(name, before[name], after, record)
        for name, _ in batch:
            self._check_raw(name)
        if progresses:
            self._hold("gave", letter, progresses[0])
            self._hold("got", letter, got[0])

    def update(self, letter: str, name: str, said: str, change: Change) -> None:
        """``update_progress``.

        Args:
            letter: the client.
            name: the model.
            said: what the change does, in words.
            change: gets what the storage, and again what the specification has stored.
        """
        met: list[AIProgress | None] = []

        def meeting(current: AIProgress | None) -> AIProgress:
            met.append(current)
            changed: AIProgress = change(current)
            return changed

        before = self.state[name]
        after, wanted = model.step(self.state, model.Update(name, change))
        words = f"update_progress({said_name(name)}, {said})"

        def call() -> AIProgress:
            return self.open[letter].update_progress(name, meeting)

        if isinstance(wanted, model.Raised):
            error = self.refused(letter, words, call, type(wanted.error))
            if not isinstance(error, InvalidProgressError) and error is not wanted.error:
                self.fail("the very error that change raised", "another object")
        else:
            got = self.done(letter, words, call, said_version)
        if not met:
            self.fail("a call of change", "none")
        for current in met:
            self.agree(before.record, current, "given to change: ")
        if not isinstance(wanted, model.Raised):
            self._written(name, before, after, got)
            self._hold("got", letter, got)
        self._check_raw(name)

    def delete(self, letter: str, name: str, expected: int | None = None) -> None:
        """``delete_progress``."""
        options = {} if expected is None else {"expected_version": expected}
        said = f"delete_progress({', '.join([said_name(name), *filter(None, [said_given(options)])])})"
        before = self.state[name]
        after, wanted = model.step(self.state, model.Delete(name, expected))

        def call() -> int | None:
            return self.open[letter].delete_progress(name, **options)

        if isinstance(wanted, model.Conflicted):
            self._conflicts(letter, said, call, wanted)
        else:
            assert isinstance(wanted, model.Deleted)
            got = self.done(letter, said, call, repr)
            if (type(got), got) != (type(wanted.version), wanted.version):
                self.fail(repr(wanted.version), repr(got))
            if before.record is not None:
                self._gone(name, before.record)
            self.state = after
        self._check_raw(name)

    def expire(self, letter: str, name: str) -> None:
        """``expire_now``."""
        before = self.state[name]
        after, wanted = model.step(self.state, model.Expire(name))
        assert isinstance(wanted, model.Expired)
        said = f"expire_now({said_name(name)})"
        got = self.done(letter, said, lambda: self.open[letter].expire_now(name), repr)
        if got is not wanted.existed:
            self.fail(repr(wanted.existed), repr(got))
        if before.record is not None:
            self._gone(name, before.record)
        self.state = after

    def refuse(self, letter: str, batch: Sequence[tuple[str, Mapping[str, Any]]], *, many: bool) -> None:
        """Save what breaks a rule; it must be refused, and write nothing.

        Args:
            letter: the client.
            batch: names and fields, one of them at least against the rules.
            many: by `save_many`; otherwise one by `save_progress`.
        """
        progresses = [AIProgress(model_name=name, **fields) for name, fields in batch]
        said = f"save_many({said_batch(batch)})"
        if not many:
            (name, fields), *_ = batch
            said = f"save_progress({said_name(name)}, {said_given(fields)})"

        def call() -> object:
            client = self.open[letter]
            return client.save_many(progresses) if many else client.save_progress(progresses[0])

        self.refused(letter, said, call, InvalidProgressError)

    def tamper(self, which: str) -> None:
        """Change metadata that a client gave, or got, in an earlier operation; nothing stored may change by it.

        Args:
            which: ``"gave"`` or ``"got"``; nothing happens before there was any.
        """
        if which not in self._held:
            return
        letter, number, metadata = self._held.pop(which)
        with suppress(TypeError):  # what can't be changed leaks nothing
            for inner in metadata.values():
                if isinstance(inner, list):
                    inner.append("tampered")
                elif isinstance(inner, dict):
                    inner["tampered"] = True
            metadata["tampered"] = True
        self.narrative.add(f"{letter}: changes the metadata that it {which} in {number}")

    # -- reads ----------------------------------------------------------------------------------------------

    def get(self, letter: str, name: str) -> None:
        """``get_progress``."""
        said = f"get_progress({said_name(name)})"
        got = self.done(letter, said, lambda: self.open[letter].get_progress(name), said_record)
        self.agree(self.state[name].record, got)
        self._hold("got", letter, got)

    def load(self, letter: str) -> None:
        """``load_progress``."""
        self._lists(letter, "load_progress()", lambda client: client.load_progress(), model.Load())

    def iterate(self, letter: str, batch_size: int) -> None:
        """``iter_progress``, while nobody writes."""
        self._lists(
            letter,
            f"list(iter_progress(batch_size={batch_size}))",
            lambda client: list(client.iter_progress(batch_size=batch_size)),
            model.Load(),
        )

    def query(self, letter: str, query: ProgressQuery) -> None:
        """``query_progress``."""
        said = f"query_progress({said_query(query)})"
        listed = self._lists(
            letter, said, lambda client: client.query_progress(query), model.Query(checked_query(query))
        )
        self.page = (query, listed[-1]) if listed else None

    def count(self, letter: str) -> None:
        """``get_storage_info().model_count``, and ``health_check()``."""
        count = self.done(
            letter,
            "get_storage_info().model_count",
            lambda: self.open[letter].get_storage_info().model_count,
            repr,
        )
        if count != len(self.state.records()):
            self.fail(str(len(self.state.records())), repr(count))
        health = self.done(letter, "health_check()", self.open[letter].health_check, repr)
        if health is not True:
            self.fail("True", repr(health))

    def begin_iteration(self, letter: str, batch_size: int) -> None:
        """Begin an iteration, which goes on while others write."""
        said = f"iter_progress(batch_size={batch_size})"
        records = self.done(
            letter, said, lambda: iter(self.open[letter].iter_progress(batch_size=batch_size))
        )
        # Two at a time are enough, and whether there is room must not depend on what was yielded.
        self.iterations = [*self.iterations[-1:], Iteration(self, letter, records, self.state)]

    # -- inside ---------------------------------------------------------------------------------------------

    def _conflicts(self, letter: str, said: str, call: Callable[[], Any], wanted: model.Conflicted) -> None:
        error = self.refused(letter, said, call, VersionConflictError)
        assert isinstance(error, VersionConflictError)
        got = (error.model_name, error.expected, error.actual)
        if got != (wanted.model_name, wanted.expected, wanted.actual):
            due = VersionConflictError(wanted.model_name, wanted.expected, wanted.actual)
            self.fail(said_error(due), f"{said_error(error)} of {said_name(error.model_name)}")

    def _lists(
        self,
        letter: str,
        said: str,
        call: Callable[[AIStorage], Any],
        operation: model.Load | model.Query,
    ) -> tuple[AIProgress, ...]:
        """Do a listing; return what it should have returned."""
        _, wanted = model.step(self.state, operation)
        assert isinstance(wanted, model.Listed)
        got = self.done(letter, said, lambda: call(self.open[letter]), said_listing)
        names = [record.model_name for record in wanted.records]
        if not isinstance(got, list) or [getattr(record, "model_name", None) for record in got] != names:
            self.fail(said_listing(wanted.records), said_listing(got))
        for expected, record in zip(wanted.records, got, strict=True):
            self.agree(expected, record)
        if got:
            self._hold("got", letter, got[-1])
        return wanted.records

    def _written(self, name: str, before: model.ModelState, after: model.State, got: object) -> None:
        """Compare what a write returned; take over its stamps."""
        wanted = after[name].record
        assert wanted is not None
        if not isinstance(got, AIProgress):
            self.fail(said_record(wanted), repr(got))
        reborn = before.record is None and before.version > 0
        if reborn and Capability.VERSIONS_NEVER_REUSED not in self._capabilities:
            if type(got.version) is not int or got.version < 1:
                self.fail("a version from 1 up", repr(got.version))
            wanted = dataclasses.replace(wanted, version=got.version)
        if lines := differences(wanted, got, (*GIVEN_FIELDS, "version")):
            self.fail(said_record(wanted), said_record(got), *lines)
        self.agree_on_moments(before.record, self._ended_at.get(name), got)
        kept = dataclasses.replace(wanted, created_at=got.created_at, updated_at=got.updated_at)
        state = dataclasses.replace(after[name], version=got.version, record=kept)
        self.state = self.state.replaced(name, state)
        for iteration in self.iterations:
            iteration.changed(name, kept)

    def _gone(self, name: str, record: AIProgress) -> None:
        assert record.updated_at is not None  # compared when it was written
        self._ended_at[name] = record.updated_at
        for iteration in self.iterations:
            iteration.changed(name, None)

    def _check_raw(self, name: str) -> None:
        """Compare what is stored, read around the storage, with what was acknowledged."""
        if self._raw is None or self.state[name].owes_version:
            return  # when an expired record is really taken away is the storage's own matter
        self.agree_on_raw(name, self.state[name].record, self._raw(name))

    def _hold(self, which: str, letter: str, record: object) -> None:
        if isinstance(record, AIProgress) and record.metadata:
            self._held[which] = (letter, len(self.narrative.lines), record.metadata)
