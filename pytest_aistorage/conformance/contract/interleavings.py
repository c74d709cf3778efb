"""Two clients whose operations overlap, by chosen schedules: what they are told must fit one order of the two.

One client is interrupted at each place of the storage's own code, another one does its work there, and the first
goes on. So a lost update is not hoped for: where there is a place at which it can happen, it happens.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import pytest

from ... import model
from ...capabilities import Capability
from ...races.operations import CountUp
from ..effort import active, replayed
from .clients import Clients, ContractBase, inconclusive, requires
from .schedules import Case, nothing, races, record

__all__ = [
    "BATCH_CASES",
    "CASES",
    "LISTING_CASES",
    "InterleavingContract",
]

_NAMES = 3  # of a batch: its first, one in its middle, its last


def _save(name: str, mse: float, expected: int | None = None) -> model.Save:
    return model.Save(record(name, mse, 7), expected)


def _update(name: str) -> model.Update:
    return model.Update(name, CountUp(name))


def _batch(names: Sequence[str], mse: float) -> model.SaveMany:
    return model.SaveMany(tuple(record(name, mse, 7) for name in names))


def _one(second: Callable[[str], model.Operation]) -> Callable[[str], list[model.Operation]]:
    return lambda name: [second(name)]


_saving = functools.partial(_save, mse=0.25)
_saving_too = functools.partial(_save, mse=0.125)
_swapping = functools.partial(_save, mse=0.25, expected=1)
_swapping_too = functools.partial(_save, mse=0.125, expected=1)
_creating = functools.partial(_save, mse=0.25, expected=0)
_creating_too = functools.partial(_save, mse=0.125, expected=0)

LOST_UPDATE = (
    Case(_update, _one(_update)),
    Case(_update, _one(_saving)),
    Case(_saving, _one(_update)),
    Case(_update, _one(_update), nothing),
)
DUPLICATE_VERSION = (Case(_saving, _one(_saving_too)), Case(_saving, _one(_saving_too), nothing))
TWO_WINNERS = (
    Case(_swapping, _one(_swapping_too)),
    Case(_creating, _one(_creating_too), nothing),
    Case(_swapping, _one(_saving)),
    Case(_update, _one(_swapping)),
    Case(_swapping, _one(_update)),
)
REBORN = (Case(_swapping, lambda name: [model.Delete(name), _saving_too(name)]),)
LOST_DELETE = (
    Case(_saving, _one(model.Delete)),
    Case(_update, _one(model.Delete)),
    Case(model.Delete, _one(_saving)),
    Case(model.Delete, _one(_update)),
    Case(model.Delete, _one(model.Delete)),
    Case(lambda name: model.Delete(name, 1), _one(_saving)),
)
BAD_READ = (
    Case(model.Get, _one(_saving)),
    Case(model.Get, _one(model.Delete)),
    Case(_saving, lambda name: [model.Get(name), model.Get(name)]),
    Case(_update, _one(model.Get)),
    Case(model.Delete, lambda name: [model.Get(name), model.Get(name)]),
)
OTHER_MODEL = (
    Case(lambda a, b: _saving(a), lambda a, b: [_saving(b)], models=2),
    Case(lambda a, b: _update(a), lambda a, b: [model.Delete(b)], models=2),
    Case(lambda a, b: model.Delete(a), lambda a, b: [_saving(b)], models=2),
    Case(lambda a, b: _batch([a], 0.25), lambda a, b: [_saving(b)], models=2),
)
BATCH_CASES = (
    Case(lambda *names: _batch(names, 0.25), lambda *names: [model.Load()], models=_NAMES),
    Case(
        lambda *names: _batch(names, 0.25),
        lambda *names: [model.Get(names[-1]), *map(model.Get, names)],
        models=_NAMES,
    ),
    Case(lambda *names: _batch(names, 0.25), lambda *names: [_batch(names[::-1], 0.125)], models=_NAMES),
)
LISTING_CASES = (
    Case(lambda *names: model.Load(), lambda *names: [_batch(names, 0.25)], models=_NAMES),
    Case(
        lambda *names: model.Load(),
        lambda *names: [_saving(names[0]), _saving(names[-1])],
        models=_NAMES,
    ),
    Case(
        lambda *names: model.Load(),
        lambda *names: [_saving(names[0]), model.Delete(names[-1])],
        models=_NAMES,
    ),
)
CASES = (
    *LOST_UPDATE,
    *DUPLICATE_VERSION,
    *TWO_WINNERS,
    *LOST_DELETE,
    *BAD_READ,
    *OTHER_MODEL,
)
"""All that `Capability.LINEARIZABLE` is about; those of fewer steps first."""


class InterleavingContract(ContractBase):
    """Overlapping operations of two clients, as threads and, where the store is shared, as processes."""

    area = "races"

    @requires(Capability.LINEARIZABLE)
    def test_interrupted_update_loses_no_update(self, clients: Clients) -> None:
        """An update during which another client updates or saves keeps both changes."""
        _check(clients, "lost update", LOST_UPDATE)

    @requires(Capability.LINEARIZABLE)
    def test_interrupted_save_takes_a_version_of_its_own(self, clients: Clients) -> None:
        """Two saves that overlap take two versions, one after the other, and the last one stays."""
        _check(clients, "duplicate version", DUPLICATE_VERSION)

    @requires(Capability.LINEARIZABLE)
    def test_one_of_two_overlapping_compare_and_sets_wins(self, clients: Clients) -> None:
        """Of two compare-and-sets of one version one conflicts; so does one that another write came before."""
        _check(clients, "compare-and-set that was too late", TWO_WINNERS)

    @requires(Capability.LINEARIZABLE, Capability.VERSIONS_NEVER_REUSED)
    def test_compare_and_set_is_not_fooled_by_a_model_reborn_meanwhile(self, clients: Clients) -> None:
        """A compare-and-set conflicts when the model was deleted and saved again while it was under way."""
        _check(clients, "compare-and-set fooled by a reborn model", REBORN)

    @requires(Capability.LINEARIZABLE)
    def test_overlapping_delete_is_not_lost(self, clients: Clients) -> None:
        """A delete beside a save, an update or another delete takes effect before or after it."""
        _check(clients, "lost delete", LOST_DELETE)

    @requires(Capability.LINEARIZABLE)
    def test_overlapping_read_is_neither_torn_nor_stale(self, clients: Clients) -> None:
        """A get beside a write returns the record before it or after it, and never goes back."""
        _check(clients, "torn or stale read", BAD_READ)

    @requires(Capability.LINEARIZABLE)
    def test_overlapping_write_of_another_model_is_not_undone(self, clients: Clients) -> None:
        """Writes of two models that overlap are both kept."""
        _check(clients, "another model's write undone", OTHER_MODEL)

    @requires(Capability.LINEARIZABLE, Capability.ATOMIC_BATCH, Capability.SNAPSHOT_LISTING)
    def test_interrupted_batch_is_never_seen_by_half(self, clients: Clients) -> None:
        """Whoever reads or writes while a batch is under way meets all of it or nothing."""
        _check(clients, "half a batch", BATCH_CASES)

    @requires(Capability.LINEARIZABLE, Capability.ATOMIC_BATCH, Capability.SNAPSHOT_LISTING)
    def test_interrupted_listing_is_of_one_moment(self, clients: Clients) -> None:
        """A listing during which others write shows what was stored at one moment."""
        _check(clients, "listing of two moments", LISTING_CASES)


def _check(clients: Clients, anomaly: str, cases: Sequence[Case]) -> None:
    """Run the schedules of some cases; fail at the first that nothing explains.

    As processes only the first case is run, unless the effort is thorough: what differs there is only whether a
    lock holds between processes.
    """
    replay = replayed()
    with races(clients) as found:
        for race in found:
            few = race.processes and replay is None and active()[0].name != "thorough"
            for case in cases[:1] if few else cases:
                for violation in race.violations(case) if replay is None else race.replayed(case, replay):
                    clients.facts["violation"] = violation.facts(anomaly)
                    pytest.fail(violation.text(anomaly), pytrace=False)
        clients.facts["schedules"] = sum(race.coverage.schedules for race in found)
        clients.facts["every_place"] = all(race.coverage.complete for race in found)
        if replay is not None:
            # One schedule of all that there are must not pass for the guarantee in a report.
            inconclusive(
                f"nothing is wrong with {replay}, the only schedule that was run"
                if clients.facts["schedules"]
                else f"no client of this test can be stopped as {replay} says"
            )
