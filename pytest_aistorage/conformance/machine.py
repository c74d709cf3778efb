"""The state machine: any sequence of operations by several clients, against the specification."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

from hypothesis import HealthCheck, Phase, Verbosity, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Flaky
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from ..capabilities import Capability
from ..storage import AIStorage
from .agreement import LETTERS, RawReader
from .comparison import Disagreement
from .effort import active
from .material import CHANGES, CONDITIONS, EXPECTED, INVALID, NAMES, OPTIONAL
from .player import Operation
from .shrinking import smallest
from .stage import Performance, Stage
from .strategies import ORDERS

__all__ = ["OPERATIONS", "Disagreement", "check_sequences"]

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

# No rule for each: Hypothesis would leave out half of them in every sequence, and most faults need a write, a
# delete and a read.
OPERATIONS: dict[str, tuple[int, dict[str, st.SearchStrategy[Any]]]] = {
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
"""How often each operation comes, and what it is given beside the client."""


@st.composite
def _operations(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    """Operations by name, with their arguments."""
    what = draw(_WEIGHTED)
    return what, draw(_ARGUMENTS[what])


_WEIGHTED = st.sampled_from([what for what, (weight, _) in OPERATIONS.items() for _ in range(weight)])
_ARGUMENTS = {
    what: st.fixed_dictionaries({"client": _CLIENT, **given}) for what, (_, given) in OPERATIONS.items()
}


def check_sequences(
    opener: Callable[[], AIStorage],
    capabilities: frozenset[Capability],
    *,
    raw: RawReader | None = None,
    share: float = 1.0,
) -> None:
    """Do sequences of operations on a storage and on the specification; fail with the least that disagrees.

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
    stage = Stage(opener, capabilities, raw)

    def machine() -> _Machine:
        return _Machine(stage)

    sequences = max(5, round(effort.sequences * share))
    parts = math.ceil(sequences / _FRESH)
    options = settings(
        max_examples=math.ceil(sequences / parts),
        stateful_step_count=effort.steps,
        phases=[Phase.generate],  # a sequence is made small by us, who know what its parts mean
        deadline=None,  # a server's time is not the sequence's
        derandomize=False,  # the seed says what is drawn
        database=None,
        verbosity=Verbosity.quiet,  # the sequence is told in our words
        report_multiple_bugs=False,
        print_blob=False,
        suppress_health_check=list(HealthCheck),
    )
    for part in range(parts):
        # A fault that comes and goes is one as well: what was found counts, not whether it was found again.
        with suppress(Disagreement, Flaky):
            seeded = seed(number * 1000 + part)(machine)
            run_state_machine_as_test(seeded, settings=options)  # type: ignore[arg-type]
        if stage.failure is not None:
            least = smallest(stage, stage.failure)
            again = f"--ai-storage-effort={effort.name} --ai-storage-seed={number}"
            raise Disagreement(f"{least.message}\n  again by: {again}")


class _Machine(RuleBasedStateMachine):
    """Clients of one store, one operation after another.

    What an operation is given does not depend on what the storage answered: Hypothesis must meet the same
    choices whenever it repeats a sequence.
    """

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self._stage = stage
        self._performance: Performance | None = None

    @initialize(names=st.lists(st.sampled_from(NAMES), min_size=2, max_size=3, unique=True))
    def begin(self, names: list[str]) -> None:
        self._performance = Performance(self._stage, names)
        self._performance.begin()

    @rule(operation=_operations())
    def operate(self, operation: Operation) -> None:
        assert self._performance is not None  # `begin` comes first
        self._performance.play(operation)

    def teardown(self) -> None:
        """Compare what all clients see in the end."""
        if self._performance is not None:
            self._performance.end()
