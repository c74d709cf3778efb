"""The state machine: any sequence of operations by several clients, against the specification."""

from __future__ import annotations

import copy
import dataclasses
import itertools
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

from hypothesis import HealthCheck, Verbosity, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Flaky
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    rule,
    run_state_machine_as_test,
)

from ..capabilities import Capability
from ..storage import AIStorage
from .agreement import LETTERS, Agreement, RawReader
from .comparison import Disagreement
from .effort import active
from .material import (
    CHANGES,
    CONDITIONS,
    EXPECTED,
    INVALID,
    NAMES,
    OPTIONAL,
    change_of,
    expected_version,
    query_of,
)
from .strategies import ORDERS

__all__ = ["Disagreement", "check_sequences"]

# Operations that may be spent on making a sequence that disagrees smaller: no time, which would differ from run
# to run. At 5 ms an operation it is 15 s.
_SHRINKING = 3000

# Sequences of one run of Hypothesis: what comes behind the tenth is mostly a variation of an earlier one.
_FRESH = 9

_CLIENT = st.integers(0, len(LETTERS) - 1)
_NAME = st.integers(0, 3)
_READER = st.none() | _CLIENT
_FIELDS = st.fixed_dictionaries(
    {"mse": st.sampled_from([0.5, 0.25, 0.1, 16777217.0, 1e300, -2.5])},
    optional={field: st.sampled_from(values) for field, values in OPTIONAL.items()},
)
_BATCH_SIZE = st.sampled_from([1, 1, 2, 3, 1000])

# How often each operation comes, and what it is given beside the client. No rule for each: Hypothesis would leave
# out half of them in every sequence, and most faults need a write, a delete and a read.
_OPERATIONS: dict[str, tuple[int, dict[str, st.SearchStrategy[Any]]]] = {
    "get": (3, {"name": _NAME}),
    "save": (
        5,
        {
            "name": _NAME,
            "fields": _FIELDS,
            "ttl": st.sampled_from([None, None, None, timedelta(hours=1), timedelta(days=30)]),
            "reader": _READER,
        },
    ),
    "delete": (4, {"name": _NAME, "expected": st.sampled_from(["any", "any", *EXPECTED]), "reader": _READER}),
    "compare_and_set": (
        5,
        {
            "name": _NAME,
            "fields": _FIELDS,
            "expected": st.sampled_from([*EXPECTED[1:], "zero", "before", "long before"]),
        },
    ),
    "update": (
        3,
        {
            "name": _NAME,
            "fields": _FIELDS,
            "way": st.sampled_from([*CHANGES[:3], *CHANGES]),
            "reader": _READER,
        },
    ),
    "save_many": (
        2,
        {"batch": st.lists(st.tuples(_NAME, _FIELDS), max_size=4, unique_by=lambda one: one[0])},
    ),
    "list": (
        2,
        {"way": st.sampled_from(["load", "load", "iterate", "count"]), "batch_size": _BATCH_SIZE},
    ),
    "query": (
        3,
        {
            "condition": st.sampled_from(CONDITIONS),
            "pick": st.integers(0, 3),
            "order_by": st.sampled_from(ORDERS),
            "limit": st.sampled_from([1, 1, 2, 3, None, 0]),
            "goes_on": st.booleans(),
        },
    ),
    "iterate_meanwhile": (
        3,
        {
            "batch_size": _BATCH_SIZE,
            "which": st.sampled_from([0, 0, 0, 1, 2]),
            "most": st.sampled_from([1, 1, 2, 3]),
        },
    ),
    "expire": (1, {"name": _NAME, "reader": _READER}),
    "tamper": (2, {"which": st.sampled_from(["gave", "got"])}),
    "toggle": (2, {}),
    "save_invalid": (
        1,
        {
            "name": _NAME,
            "fields": _FIELDS,
            "invalid": st.sampled_from(INVALID),
            "way": st.sampled_from(["alone", "last of a batch", "twice in a batch"]),
        },
    ),
}


@st.composite
def _operations(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    """Operations by name, with their arguments."""
    what = draw(_WEIGHTED)
    return what, draw(_ARGUMENTS[what])


_WEIGHTED = st.sampled_from([what for what, (weight, _) in _OPERATIONS.items() for _ in range(weight)])
_ARGUMENTS = {
    what: st.fixed_dictionaries({"client": _CLIENT, **given}) for what, (_, given) in _OPERATIONS.items()
}


def check_sequences(
    opener: Callable[[], AIStorage],
    capabilities: frozenset[Capability],
    *,
    raw: RawReader | None = None,
    share: float = 1.0,
) -> None:
    """Do sequences of operations on a storage and on the specification; fail with the shortest that disagrees.

    How many there are and how long they get follows the effort of the run, what they are its seed. They share
    a store, and leave records in it.

    Args:
        opener: opens one more client of the store.
        capabilities: what the storage declares.
        raw: reads around the storage, with which every write is compared as well.
        share: of the effort's number of sequences.

    Raises:
        Disagreement: the message is the sequence in words, and what was expected in its end.
    """
    effort, number = active()
    run = _Run(opener, capabilities, raw)

    def machine() -> _Machine:
        return _Machine(run)

    sequences = max(5, round(effort.sequences * share))
    options = settings(
        max_examples=min(sequences, _FRESH),
        stateful_step_count=effort.steps,
        deadline=None,  # a server's time is not the sequence's
        derandomize=False,  # the seed says what is drawn
        database=None,
        verbosity=Verbosity.quiet,  # the sequence is told in our words
        report_multiple_bugs=False,
        print_blob=False,
        suppress_health_check=list(HealthCheck),
    )
    for part in range(-(-sequences // _FRESH)):
        # A fault that comes and goes is one as well: what was found counts, not whether it was found again.
        with suppress(Disagreement, Flaky, _EnoughError):
            seeded = seed(number * 1000 + part)(machine)
            run_state_machine_as_test(seeded, settings=options)  # type: ignore[arg-type]
        if run.shortest is not None:
            again = f"--ai-storage-effort={effort.name} --ai-storage-seed={number}"
            raise Disagreement(f"{run.shortest[1]}\n  again by: {again}")


class _EnoughError(BaseException):
    """Ends the run; no `Exception`, which Hypothesis would take for one more failure."""


class _Run:
    """The sequences of one run, and the shortest one that disagreed."""

    def __init__(
        self,
        opener: Callable[[], AIStorage],
        capabilities: frozenset[Capability],
        raw: RawReader | None,
    ) -> None:
        self._opener = opener
        self.capabilities = capabilities
        self._raw = raw
        self._numbers = itertools.count()
        self.shortest: tuple[int, str] | None = None
        self.operations = 0

    def begin(self) -> tuple[str, Agreement]:
        """Return the next sequence, and what its names begin with.

        No two have a name in common: what one does must not depend on what others left in the store, or it
        would not fail again when it is made smaller.
        """
        if self.shortest is not None and self.operations > _SHRINKING:
            raise _EnoughError
        prefix = f"{next(self._numbers):06}-"
        return prefix, Agreement(self._opener, self.capabilities, prefix, self._raw)

    def disagreed(self, length: int, message: str) -> None:
        """Keep a disagreement that is no longer than the shortest; of equals the later is the simpler one."""
        if self.shortest is None:
            self.operations = 0
        if self.shortest is None or length <= self.shortest[0]:
            self.shortest = (length, message)


class _Machine(RuleBasedStateMachine):
    """Clients of one store, one operation after another.

    What a rule is called with, and whether it may be, depends on earlier calls alone and not on what the storage
    answered: Hypothesis must meet the same choices whenever it repeats a sequence.
    """

    def __init__(self, run: _Run) -> None:
        super().__init__()
        self._run = run
        self._prefix, self._agreement = run.begin()
        self._names: list[str] = []
        self._agreed = True

    def teardown(self) -> None:
        """Compare what all clients see in the end."""
        try:
            if self._agreed and self._names:
                self._do(self._agreement.end)
        finally:
            self._agreement.close()

    def _do(self, operation: Callable[..., None], *arguments: Any, **options: Any) -> None:
        self._run.operations += 1
        try:
            operation(*arguments, **options)
        except Disagreement as error:
            self._agreed = False
            self._run.disagreed(len(self._agreement.narrative.lines), str(error))
            raise

    def _letter(self, number: int) -> str:
        letters = sorted(self._agreement.open)
        return letters[number % len(letters)]

    def _name(self, number: int) -> str:
        return self._names[number % len(self._names)]

    @initialize(names=st.lists(st.sampled_from(NAMES), min_size=2, max_size=3, unique=True))
    def begin(self, names: list[str]) -> None:
        self._names = [(self._prefix + name)[:255] for name in names]
        self._do(self._agreement.begin)

    @rule(operation=_operations())
    def operate(self, operation: tuple[str, dict[str, Any]]) -> None:
        what, given = operation
        if what == "toggle" or not self._agreement.open:
            self._toggle(given["client"])
        else:
            letter = self._letter(given.pop("client"))
            getattr(self, f"_{what}")(letter, **given)

    # -- clients --------------------------------------------------------------------------------------------

    def _toggle(self, client: int) -> None:
        """Close a client, or open it."""
        letter, others = LETTERS[client], set(self._agreement.open) - {LETTERS[client]}
        if letter not in self._agreement.open:
            self._do(self._agreement.open_client, letter)
        elif others or Capability.SURVIVES_CLOSE in self._run.capabilities:
            self._do(self._agreement.close_client, letter)

    def _look(self, client: int | None, name: str) -> None:
        """Let another client read what was written."""
        if client is not None:
            self._do(self._agreement.get, self._letter(client), name)

    # -- writes ---------------------------------------------------------------------------------------------

    def _save(
        self, letter: str, name: int, fields: dict[str, Any], ttl: timedelta | None, reader: int | None
    ) -> None:
        chosen, given = self._name(name), copy.deepcopy(fields)  # they will be tampered with
        self._do(self._agreement.save, letter, chosen, given, None, ttl)
        self._look(reader, chosen)

    def _compare_and_set(self, letter: str, name: int, fields: dict[str, Any], expected: str) -> None:
        chosen, given = self._name(name), copy.deepcopy(fields)
        version = expected_version(self._agreement.state, chosen, expected)
        self._do(self._agreement.save, letter, chosen, given, version)

    def _save_many(self, letter: str, batch: list[tuple[int, dict[str, Any]]]) -> None:
        chosen = {self._name(number): copy.deepcopy(fields) for number, fields in batch}
        self._do(self._agreement.save_many, letter, list(chosen.items()))

    def _save_invalid(
        self, letter: str, name: int, fields: dict[str, Any], invalid: tuple[str, Any], way: str
    ) -> None:
        chosen, (field, value) = self._name(name), invalid
        good = (self._name(name + 1), fields)
        bad = (value, fields) if field == "model_name" else (chosen, {**fields, field: value})
        batch = {"alone": [bad], "last of a batch": [good, bad], "twice in a batch": [good, good]}[way]
        self._do(self._agreement.refuse, letter, batch, many=way != "alone")

    def _update(self, letter: str, name: int, fields: dict[str, Any], way: str, reader: int | None) -> None:
        chosen = self._name(name)
        said, change = change_of(way, chosen, fields)
        self._do(self._agreement.update, letter, chosen, said, change)
        self._look(reader, chosen)

    def _delete(self, letter: str, name: int, expected: str, reader: int | None) -> None:
        chosen = self._name(name)
        version = expected_version(self._agreement.state, chosen, expected)
        self._do(self._agreement.delete, letter, chosen, version)
        self._look(reader, chosen)

    def _expire(self, letter: str, name: int, reader: int | None) -> None:
        chosen = self._name(name)
        if Capability.EXPIRY in self._run.capabilities and hasattr(
            self._agreement.open[letter], "expire_now"
        ):
            self._do(self._agreement.expire, letter, chosen)
            self._look(reader, chosen)

    def _tamper(self, letter: str, which: str) -> None:
        self._do(self._agreement.tamper, which)

    # -- reads ----------------------------------------------------------------------------------------------

    def _get(self, letter: str, name: int) -> None:
        self._do(self._agreement.get, letter, self._name(name))

    def _list(self, letter: str, way: str, batch_size: int) -> None:
        if way == "iterate":
            self._do(self._agreement.iterate, letter, batch_size)
        else:
            self._do(self._agreement.load if way == "load" else self._agreement.count, letter)

    def _iterate_meanwhile(self, letter: str, batch_size: int, which: int, most: int) -> None:
        under_way = [one for one in self._agreement.iterations if not one.ended]
        if which < len(under_way):
            self._do(under_way[which].go_on, most)
        else:
            self._do(self._agreement.begin_iteration, letter, batch_size)
            self._do(self._agreement.iterations[-1].go_on, most)

    def _query(
        self, letter: str, condition: str, pick: int, order_by: str, limit: int | None, goes_on: bool
    ) -> None:
        if goes_on and self._agreement.page is not None:
            before, last = self._agreement.page
            query = dataclasses.replace(before, after=last)
        else:
            query = query_of(self._agreement.state.records(), condition, pick, order_by, limit)
        self._do(self._agreement.query, letter, query)
