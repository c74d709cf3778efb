"""The sequences of several clients: what they are made of, what a failure says, and that it says it again."""

from __future__ import annotations

import functools
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar
from uuid import uuid4

import pytest
from mutants import Delegating, sequences

from pytest_aistorage import AIProgress, AIStorage, Capability, open_storage
from pytest_aistorage.conformance import effort, machine, player, shrinking
from pytest_aistorage.conformance.agreement import Agreement
from pytest_aistorage.conformance.machine import Disagreement, check_sequences
from pytest_aistorage.conformance.material import CHANGES, CONDITIONS, EXPECTED


@pytest.fixture(autouse=True)
def _normal_effort() -> Iterator[None]:
    """The sequences of a run with seed 0."""
    before = effort.active()
    effort.set_active(effort.EFFORTS["normal"], 0)
    yield
    effort.set_active(*before)


@pytest.fixture
def url() -> Iterator[str]:
    """Of a store that stays as long as the test."""
    url = f"memory://{uuid4().hex}"
    with open_storage(url):
        yield url


def _check(storage: Callable[[str], Any], url: str, **options: Any) -> None:
    with open_storage(url) as good:
        declared = good.capabilities
    check_sequences(functools.partial(storage, url), options.pop("capabilities", declared), **options)


def _told(storage: Callable[[str], Any], url: str, **options: Any) -> list[str]:
    with pytest.raises(Disagreement) as failure:
        _check(storage, url, **options)
    return str(failure.value).splitlines()


def test_failure_tells_the_least_sequence(url: str) -> None:
    """A cache that misses another client's delete: four operations, what was expected and what came."""
    assert _told(sequences.CacheMissesDeletes, url) == [
        "  1 A: save_progress('b', mse=0.5) -> v1",
        "  2 A: get_progress('b') -> 'b' v1, mse=0.5",
        "  3 B: delete_progress('b') -> 2",
        "  4 A: get_progress('b') -> 'b' v1, mse=0.5",
        "  expected None",
        "  got      'b' v1, mse=0.5",
        "  again by: --ai-storage-effort=normal --ai-storage-seed=0",
    ]


@pytest.mark.parametrize(
    "fault",
    [
        sequences.RebornWithItsOldMetadata,
        sequences.UpdateMeetsTheDeleted,
        sequences.PagesByNumber,
        sequences.IterationByOffset,
        sequences.ConflictForgetsTheRecord,
        sequences.ExpiryRestartsVersions,
        sequences.KeepsWhatItWasGiven,
    ],
)
def test_failures_are_short_and_speak_of_nothing_else(fault: type[Delegating], url: str) -> None:
    """A fault is told in at most six operations, by plain names, and without a word of Hypothesis."""
    told = _told(fault, url)
    operations = [line for line in told if line.strip()[0].isdigit()]
    assert len(operations) <= 6
    text = "\n".join(told)
    assert "expected" in text
    assert "got" in text
    assert "ypothesis" not in text
    assert "Traceback" not in text
    assert "00000" not in text, "the names that keep sequences apart are nobody's concern"


def test_one_seed_gives_one_failure(url: str) -> None:
    """The same seed finds the same sequence, in the store that the first run left behind, too."""
    assert _told(sequences.PagesByNumber, url) == _told(sequences.PagesByNumber, url)


def test_sequences_differ_by_seed(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another seed draws other sequences."""
    played: dict[int, list[player.Operation]] = defaultdict(list)
    play = player.Player.play

    def noted(self: player.Player, operation: player.Operation) -> None:
        played[effort.active()[1]].append(operation)
        play(self, operation)

    monkeypatch.setattr(player.Player, "play", noted)
    for seed in (0, 1):
        effort.set_active(effort.EFFORTS["quick"], seed)
        _check(open_storage, url)
    assert played[0] != played[1]


def test_every_operation_is_drawn(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With normal effort each operation is done, in each of its variants."""
    done: Counter[Any] = Counter()
    play = player.Player.play

    def noted(self: player.Player, operation: player.Operation) -> None:
        what, given = operation
        done[what] += 1
        done.update((what, name, given[name]) for name in ("way", "condition", "expected") if name in given)
        play(self, operation)

    monkeypatch.setattr(player.Player, "play", noted)
    _check(open_storage, url)
    wanted = {*machine.OPERATIONS, *(("update", "way", way) for way in CHANGES)}
    wanted |= {("query", "condition", condition) for condition in CONDITIONS}
    wanted |= {("compare_and_set", "expected", expected) for expected in EXPECTED[1:]}
    assert wanted - set(done) == set()
    assert done["delete"] >= 40
    assert done["save"] >= 40


def test_versions_may_restart_where_nothing_else_is_declared(tmp_path: Path) -> None:
    """Without VERSIONS_NEVER_REUSED a reborn model may begin with any version; with it that is a failure."""
    url = f"file://{tmp_path}/training_metrics.json"
    _check(open_storage, url)
    with open_storage(url) as good:
        declared = good.capabilities | {Capability.VERSIONS_NEVER_REUSED}
    told = _told(open_storage, url, capabilities=declared)
    assert any(line.startswith("  version of") for line in told)


class Bare:
    """The contract's methods and no other; `expire_now` is missing."""

    def __init__(self, url: str) -> None:
        self._inner = open_storage(url)

    def __getattr__(self, name: str) -> Any:
        if name == "expire_now":
            raise AttributeError(name)
        return getattr(self._inner, name)


def test_storage_need_not_expire_on_demand(url: str) -> None:
    """`expire_now` is tried where there is one."""
    _check(Bare, url)


def test_store_need_not_be_empty(url: str) -> None:
    """What is in the store before is deleted, not taken for a fault."""
    with open_storage(url) as storage:
        storage.save_many(AIProgress(model_name=name, mse=0.5) for name in ("before", "a"))
        _check(open_storage, url)


class ComesAndGoes(Delegating):
    """One get in a hundred finds nothing, whatever is stored."""

    _gets: ClassVar[Counter[str]] = Counter()

    def get_progress(self, model_name: str) -> AIProgress | None:
        """Nothing, now and then."""
        self._gets[self.url] += 1
        return None if self._gets[self.url] % 100 == 0 else super().get_progress(model_name)


def test_fault_that_comes_and_goes_is_told(url: str) -> None:
    """A failure that does not come again when its sequence is repeated is a failure all the same."""
    told = _told(ComesAndGoes, url)
    assert any(line.endswith("-> None") for line in told)
    assert any("expected" in line for line in told)


class Raising(Delegating):
    """A driver's error comes out of a listing."""

    def load_progress(self) -> list[AIProgress]:
        """Raise what no storage may raise."""
        raise ConnectionError("server closed the connection")


def test_foreign_errors_are_told(url: str) -> None:
    """What an operation must not raise is told with the operation."""
    told = _told(Raising, url)
    assert told[-3:-1] == [
        "  expected no error",
        "  got      ConnectionError: server closed the connection",
    ]


def test_making_small_has_a_bound(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a slow storage a failure is told as it is found rather than after a long time."""
    monkeypatch.setattr(shrinking, "_BUDGET", 0)
    long = [line for line in _told(sequences.KeepsWhatItWasGiven, url) if ": " in line]
    monkeypatch.undo()
    short = [line for line in _told(sequences.KeepsWhatItWasGiven, url) if ": " in line]
    assert len(short) < len(long)


def test_clients_are_closed(url: str) -> None:
    """All clients that sequences open are closed in the end, whatever happens."""
    opened: list[AIStorage] = []

    def opener() -> Any:
        opened.append(sequences.CacheMissesDeletes(url))  # type: ignore[arg-type]
        return opened[-1]

    with open_storage(url) as good, pytest.raises(Disagreement):
        check_sequences(opener, good.capabilities)
    assert opened
    assert not any(client.health_check() for client in opened)


def test_raw_reads_are_compared(url: str) -> None:
    """With raw reads a write is compared with what is stored, and the failure shows the raw read."""
    told = _told(open_storage, url, raw=lambda model_name: {"mse": 0.75})
    assert any("raw read of" in line for line in told)


def test_agreement_can_be_written_by_hand(url: str) -> None:
    """A sequence that was reported can be done step by step."""
    with open_storage(url) as good:
        agreement = Agreement(functools.partial(open_storage, url), good.capabilities)
        agreement.begin()
        agreement.save("A", "m", {"mse": 0.5})
        agreement.save("B", "m", {"mse": 0.25}, expected=7)
        agreement.delete("B", "m")
        agreement.get("A", "m")
        agreement.end()
        agreement.close()
    assert agreement.narrative.lines[:4] == [
        "A: save_progress('m', mse=0.5) -> v1",
        "B: save_progress('m', mse=0.25, expected_version=7) -> VersionConflictError(expected=7, actual=1)",
        "B: delete_progress('m') -> 2",
        "A: get_progress('m') -> None",
    ]
