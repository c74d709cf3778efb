"""What is not declared: where a deterministic schedule must lose it loses, or else the declaration is to be mended.

A guarantee that is kept in all that there is to try, and not declared, fails: users read the declaration and not the
code. Where only chance could tell, on a server, the test is inconclusive; and where the author says in
``withheld`` why a guarantee is not declared, that is the reason shown.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from typing import Any, NoReturn

import pytest

from ... import model
from ...capabilities import Capability
from ...errors import ConfigurationError, UnsupportedOperationError
from ...progress import AIProgress, ProgressQuery
from ...storage import AIStorage
from ..factories import reasons_to_withhold
from .clients import Clients, ContractBase, inapplicable, inconclusive, requires
from .elsewhere import has_server, in_another_process
from .hooks import Crashable
from .interleavings import BATCH_CASES, CASES, LISTING_CASES
from .killing import BATCH_CRASHES, CRASHES, crashes, reading
from .schedules import Case, Violation, races, record

__all__ = ["UndeclaredContract"]

_RECORDS = 400
_FAT = 4000  # characters of metadata of each


class UndeclaredContract(ContractBase):
    """Guarantees that are not declared, and one that is, whose lack nobody would notice."""

    area = "undeclared"

    @requires(unless=Capability.SHARED_BETWEEN_PROCESSES)
    def test_undeclared_sharing_is_not_there(self, storage: AIStorage, clients: Clients) -> None:
        """Another process that opens the store does not see what this one saved."""
        _require_evidence(self, clients, Capability.SHARED_BETWEEN_PROCESSES)
        storage.save_progress(record("m", 0.5))
        told = in_another_process(clients, [model.Get("m")])
        if told is None or told[0].result is None or told[0].result == model.Found(None):
            clients.facts["shown"] = "another process does not see the records"
            return
        _kept(self, clients, Capability.SHARED_BETWEEN_PROCESSES, "another process saw what this one saved")

    @requires(unless=Capability.SURVIVES_CLOSE)
    def test_undeclared_survival_of_close_is_not_there(self, clients: Clients) -> None:
        """When every client of a process has closed, the records are gone."""
        _require_evidence(self, clients, Capability.SURVIVES_CLOSE)
        # In a process of its own: here somebody may hold the store open, such as whoever made it.
        kept = in_another_process(clients, [model.Save(record("m", 0.5))], [model.Get("m")])
        if kept is None:
            inconclusive(
                "the opener can't be given to another process, and in this one somebody may keep the store open"
            )
        if kept[0].result is None or kept[0].result == model.Found(None):
            clients.facts["shown"] = "gone when every client of the process had closed"
            return
        _kept(
            self, clients, Capability.SURVIVES_CLOSE, "the records were there after every client had closed"
        )

    @requires(unless=Capability.VERSIONS_NEVER_REUSED)
    def test_undeclared_memory_of_versions_is_not_there(self, storage: AIStorage, clients: Clients) -> None:
        """A model that was deleted and comes back takes a version that was given before."""
        _require_evidence(self, clients, Capability.VERSIONS_NEVER_REUSED)
        given = [storage.save_progress(record("m", 0.5)).version for _ in range(3)]
        storage.delete_progress("m")
        reborn = storage.save_progress(record("m", 0.5)).version
        storage.delete_progress("m")
        other = clients.open()
        again = other.save_progress(record("m", 0.5)).version
        if reborn in given or again in (*given, reborn):
            clients.facts["shown"] = f"versions {given}, after a delete {reborn}, after another {again}"
            return
        _kept(
            self,
            clients,
            Capability.VERSIONS_NEVER_REUSED,
            f"versions {given}, after a delete {reborn}, after another {again}",
        )

    @requires(unless=Capability.LINEARIZABLE)
    def test_undeclared_linearizability_is_not_there(self, clients: Clients) -> None:
        """Some schedule of two clients loses a change, or lets one read what never was."""
        _must_lose(self, clients, Capability.LINEARIZABLE, CASES)

    @requires(unless=Capability.ATOMIC_BATCH)
    def test_undeclared_atomicity_of_batches_is_not_there(self, clients: Clients) -> None:
        """Somebody sees half a batch, or finds one after a crash."""
        _must_lose(self, clients, Capability.ATOMIC_BATCH, BATCH_CASES, batches=True)

    @requires(unless=Capability.SNAPSHOT_LISTING)
    def test_undeclared_snapshot_of_listings_is_not_there(self, clients: Clients) -> None:
        """Some listing shows what was stored at two moments, or can't be read at all."""
        _must_lose(self, clients, Capability.SNAPSHOT_LISTING, (BATCH_CASES[0], *LISTING_CASES))

    @requires(unless=Capability.SURVIVES_CLIENT_CRASH)
    def test_undeclared_survival_of_client_crash_is_not_there(
        self, storage: AIStorage, clients: Clients
    ) -> None:
        """A client that is killed at some place takes acknowledged records along."""
        capability = Capability.SURVIVES_CLIENT_CRASH
        _require_evidence(self, clients, capability)
        if Capability.SHARED_BETWEEN_PROCESSES not in clients.capabilities:
            turns = [model.Save(record("m", 0.5))], [model.Get("m")]
            told = in_another_process(clients, *turns, killed=True)
            if told is None or (told[0].result is not None and told[0].result != model.Found(None)):
                inconclusive("the store is not shared, so nobody can look on while its client is killed")
            clients.facts["shown"] = "the records are of one process, and gone with it"
            return
        number = 0
        for violation in _violations_of_crashes(clients):
            number += 1
            if violation is not None:
                _show(clients, "acknowledged records lost with a killed client", violation)
                return
        _kept(self, clients, capability, f"a client was killed at {number} places, and nothing was lost")

    @requires(unless=Capability.SURVIVES_SERVER_CRASH)
    def test_undeclared_survival_of_server_crash_is_not_there(
        self, clients: Clients, ai_storage_crashable: Crashable | None
    ) -> None:
        """A server that is killed loses something that was acknowledged."""
        capability = Capability.SURVIVES_SERVER_CRASH
        _require_evidence(self, clients, capability)
        if ai_storage_crashable is None:
            if not has_server(clients):
                inapplicable("the storage has no server that could crash")
            inconclusive("no server may be killed here; supply the fixture ai_storage_crashable")
        with closing(ai_storage_crashable.opener()) as storage:
            saved = [storage.save_progress(record(f"m{number}", 0.5)) for number in range(50)]
        ai_storage_crashable.kill()
        ai_storage_crashable.restart()
        with closing(ai_storage_crashable.opener()) as storage:
            lost = [one.model_name for one in saved if storage.get_progress(one.model_name) is None]
        if not lost:
            inconclusive("a killed server lost nothing this time, which may be luck")
        clients.facts["shown"] = f"{len(lost)} of {len(saved)} acknowledged records lost with the server"

    @requires(Capability.SERVER_SIDE_QUERY)
    def test_query_fetches_no_more_than_it_returns(self, storage: AIStorage, clients: Clients) -> None:
        """A query that finds one record of hundreds takes a small part of the memory of a listing of all."""
        storage.save_many(
            AIProgress(
                model_name=f"m{number:04}", mse=float(number), metadata={"fat": f"{number:04}" * (_FAT // 4)}
            )
            for number in range(_RECORDS)
        )
        query = ProgressQuery(max_mse=0.0)
        queried, (found,) = _peak(lambda: storage.query_progress(query))
        listed, everything = _peak(storage.load_progress)
        assert (found.model_name, len(everything)) == ("m0000", _RECORDS)
        clients.facts["peaks"] = {"query": queried, "listing": listed}
        # Each record's text alone takes more than _FAT bytes, wherever it comes by.
        if listed < _RECORDS * _FAT // 2:
            inconclusive(f"a listing of {_RECORDS} records took {listed} bytes: where they are can't be seen")
        assert queried < listed / 4, (
            f"a query that finds 1 of {_RECORDS} records took {queried} bytes at its peak, a listing of all of "
            f"them {listed}: it fetches what it does not return"
        )


# -- kept or lost -------------------------------------------------------------------------------------------


def _must_lose(
    contract: ContractBase,
    clients: Clients,
    capability: Capability,
    cases: Iterable[Case],
    *,
    batches: bool = False,
) -> None:
    """Run every schedule until one loses something; fail if none does."""
    _require_evidence(contract, clients, capability)
    number, complete = 0, True
    with races(clients) as found:
        for race in found:
            for case in cases:
                for violation in race.violations(case, everywhere=True):
                    _show(clients, capability.value, violation)
                    return
            number += race.coverage.schedules
            complete &= race.coverage.complete
    if batches and Capability.SHARED_BETWEEN_PROCESSES in clients.capabilities:
        for crashed in _violations_of_crashes(clients, batches=True):
            number += 1
            if crashed is not None:
                _show(clients, capability.value, crashed)
                return
    if not complete:
        inconclusive(f"nothing was lost in {number} schedules, which are not all that there are")
    _kept(contract, clients, capability, f"nothing was lost in any of {number} schedules of two clients")


def _violations_of_crashes(clients: Clients, *, batches: bool = False) -> Iterator[Violation | None]:
    try:
        yield from crashes(clients, BATCH_CRASHES if batches else CRASHES, reading, everywhere=True)
    except UnsupportedOperationError as error:
        inconclusive(str(error))


def _show(clients: Clients, what: str, violation: Violation) -> None:
    clients.facts["shown"] = violation.schedule
    clients.facts["loss"] = violation.facts(what)


def _kept(contract: ContractBase, clients: Clients, capability: Capability, what: str) -> NoReturn:
    """Fail: the guarantee is kept and not declared; unless only chance could have shown the loss."""
    if capability is not Capability.VERSIONS_NEVER_REUSED and has_server(clients):
        inconclusive(f"{what}; on a server that may be luck")
    pytest.fail(
        f"{capability.name} is not declared, and yet it is kept: {what}. Declare it, or say in `withheld` why it "
        "is not declared",
        pytrace=False,
    )


def _require_evidence(contract: ContractBase, clients: Clients, capability: Capability) -> None:
    """End the test where the author says why the guarantee is not declared, or where nothing here is evidence."""
    try:
        withheld = reasons_to_withhold(clients.first) | reasons_to_withhold(contract)
    except ConfigurationError as error:
        pytest.fail(str(error), pytrace=False)
    if capability in withheld:
        inconclusive(f"{capability.name} is withheld: {withheld[capability]}")
    if getattr(clients.opener, "simulated", False):
        inconclusive("a fake stands in for the server, which is evidence for nothing")


def _peak(call: Callable[[], Any]) -> tuple[int, Any]:
    """The bytes that a call took at its peak, and what it returned."""
    call()  # connections and statements are there
    tracing = tracemalloc.is_tracing()
    if not tracing:
        tracemalloc.start()
    try:
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        result = call()
        return tracemalloc.get_traced_memory()[1] - before, result
    finally:
        if not tracing:
            tracemalloc.stop()
