"""Several clients of one store: what one writes the others see, and nothing is lost when they race."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pytest

from ...capabilities import Capability
from ...errors import UnsupportedOperationError, VersionConflictError
from ...progress import AIProgress, ProgressQuery
from ...storage import AIStorage
from ..racing import Increment, Outcome, check_sight, race_of_processes, race_of_threads
from .checks import check_names, check_same, check_unchanged, found, refused
from .clients import Clients, ContractBase, inconclusive, requires
from .ways import check_read, given_to_change

__all__ = ["SharingContract"]

_M = AIProgress(model_name="m", mse=0.5, metadata={"sight": "before the race"})


def _returned(outcomes: Sequence[Outcome]) -> list[list[int]]:
    """What the racers returned; fail if one of them raised."""
    errors = [f"racer {number}: {o.error}" for number, o in enumerate(outcomes) if o.error is not None]
    if errors:
        pytest.fail("the race: " + "\n".join(errors), pytrace=False)
    return [outcome.returned for outcome in outcomes]


def _returned_by_processes(clients: Clients, racer: Increment, racers: int) -> list[list[int]]:
    """What the racers returned, each a process; inconclusive where there can't be any."""
    try:
        outcomes = race_of_processes(clients.opener, racer, racers)
    except UnsupportedOperationError as error:
        inconclusive(str(error))
    return _returned(outcomes)


def _check_versions(done: str, runs: list[list[int]], last: int) -> None:
    """Fail unless the racers together got the versions from 2 to the last, each once and each in order."""
    got = sorted(version for run in runs for version in run)
    wanted = list(range(2, last + 1))
    if got != wanted:
        twice = sorted({version for version in got if got.count(version) > 1})
        pytest.fail(
            f"{done}: {len(wanted)} changes were acknowledged with {len(set(got))} different versions\n"
            f"  given twice: {twice}\n  never given: {sorted(set(wanted) - set(got))}",
            pytrace=False,
        )
    for run in runs:
        assert run == sorted(run), f"{done}: one client got its versions out of order: {run}"


def _check_listed(client: AIStorage, names: list[str], done: str) -> None:
    """Fail unless a client lists, iterates over, finds and counts these models."""
    check_names(f"{done}, load_progress by another", names, client.load_progress())
    check_names(f"{done}, iter_progress by another", names, client.iter_progress())
    check_names(f"{done}, query_progress by another", names, client.query_progress(ProgressQuery()))
    check_names(
        f"{done}, query_progress by another", names, client.query_progress(ProgressQuery(max_mse=9.0))
    )
    count = client.get_storage_info().model_count
    assert count == len(names), f"{done}: another client counts {count} models, expected {len(names)}"


class SharingContract(ContractBase):
    """Clients of the same store, one after the other and at once."""

    area = "sharing"

    def test_other_client_sees_every_change(self, storage: AIStorage, clients: Clients) -> None:
        """What one client saves, updates or deletes, another that was open before sees at once."""
        other = clients.open()
        assert other.load_progress() == [], "a second client of an empty store finds records in it"
        saved = storage.save_progress(_M)
        check_same("save by one client, get by another", saved, other.get_progress("m"), stamps=True)
        updated = storage.update_progress("m", lambda current: dataclasses.replace(current or _M, mse=0.25))
        check_same("update by one client, get by another", updated, other.get_progress("m"), stamps=True)
        batch = storage.save_many([dataclasses.replace(_M, model_name="n")])
        check_same("save_many by one client, get by another", batch[0], other.get_progress("n"), stamps=True)
        _check_listed(other, ["m", "n"], "saves by one client")
        for mse in (0.125, 0.0625):
            changed = [
                storage.save_progress(dataclasses.replace(_M, mse=mse)),
                *storage.save_many([batch[0]]),
            ]
            check_read(other, changed, "another client's save of")
        storage.delete_progress("m")
        assert other.get_progress("m") is None, "delete by one client: another still finds the record"
        _check_listed(other, ["n"], "a delete by one client")
        reborn = storage.save_progress(_M, expected_version=0)
        check_same("a save after a delete, get by another", reborn, other.get_progress("m"), stamps=True)
        _check_listed(other, ["m", "n"], "a save after a delete by one client")
        given = given_to_change(other, "m")
        check_same("a save by one client, the change of another", reborn, given, stamps=True)
        done = f"save by another client with expected_version={reborn.version}, which is stored"
        assert other.save_progress(_M, expected_version=reborn.version).version == reborn.version + 1, done

    def test_clients_take_turns(self, storage: AIStorage, clients: Clients) -> None:
        """Clients that write in turns take one version after the other, and conflict on an old one."""
        pair = (storage, clients.open())
        for version in range(1, 9):
            saved = pair[version % 2].save_progress(_M)
            assert saved.version == version, (
                f"save {version} of two clients in turns took version {saved.version}"
            )
        for client in pair:
            found(client, "m", "saves in turns")
        last = pair[0].save_progress(_M, expected_version=8)
        with refused(VersionConflictError, "save by the other client with the version it saw before"):
            pair[1].save_progress(_M, expected_version=8)
        with refused(VersionConflictError, "delete by the other client with the version it saw before"):
            pair[1].delete_progress("m", expected_version=8)
        check_unchanged(pair[1], last, "a save and a delete with the version that the client saw before")
        with refused(
            VersionConflictError, "save with expected_version=0 by a client that met the model before"
        ):
            pair[1].save_progress(_M, expected_version=0)
        pair[0].delete_progress("m")
        with refused(VersionConflictError, "save by the other client with the version of the deleted record"):
            pair[1].save_progress(_M, expected_version=last.version)
        for number in range(4):
            pair[number % 2].save_progress(_M, expected_version=0)
            pair[number // 2].delete_progress("m")

    @requires(Capability.LINEARIZABLE)
    def test_threads_saving_one_model_take_distinct_versions(
        self, storage: AIStorage, clients: Clients
    ) -> None:
        """8 threads save one model 12 times each: every save takes a version of its own, and none is lost."""
        storage.save_progress(_M)
        racer = Increment("m", "before the race", 12, "save")
        runs = _returned(race_of_threads(clients.opener, racer, 8))
        _check_versions("8 threads, 12 saves each", runs, 97)
        version = found(storage, "m", "the race").version
        assert version == 97, f"after 97 acknowledged saves the version is {version}"

    @requires(Capability.LINEARIZABLE)
    def test_threads_updating_one_model_lose_no_update(self, storage: AIStorage, clients: Clients) -> None:
        """8 threads count one model up, 12 times each: the count is 96."""
        storage.save_progress(_M)
        racer = Increment("m", "before the race", 12, "update")
        runs = _returned(race_of_threads(clients.opener, racer, 8))
        _check_versions("8 threads, 12 updates each", runs, 97)
        counted = found(storage, "m", "the race").training_samples
        assert counted == 96, f"96 updates that count up by one were acknowledged, and the count is {counted}"

    @requires(Capability.LINEARIZABLE, Capability.SHARED_BETWEEN_PROCESSES)
    def test_processes_changing_one_model_lose_nothing(self, storage: AIStorage, clients: Clients) -> None:
        """4 processes save and count up one model: they see it, no version comes twice, no count is lost."""
        storage.save_progress(_M)
        racer = Increment("m", "before the race", 25, "update")
        runs = _returned_by_processes(clients, racer, 4)
        _check_versions("4 processes, 25 updates each", runs, 101)
        kept = found(storage, "m", "the race")
        assert kept.version == 101, f"after 101 acknowledged changes the version is {kept.version}"
        assert kept.training_samples == 100, (
            f"100 updates that count up by one were acknowledged, and the count is {kept.training_samples}"
        )

    @requires(Capability.SHARED_BETWEEN_PROCESSES)
    def test_other_process_sees_the_store(self, storage: AIStorage, clients: Clients) -> None:
        """What one process saves, another sees; what that one saves, the first sees."""
        storage.save_progress(_M)
        runs = _returned_by_processes(clients, Increment("m", "before the race", 3, "save"), 1)
        assert runs == [[2, 3, 4]], f"three saves by another process after one by this: versions {runs[0]}"
        version = found(storage, "m", "saves by another process").version
        assert version == 4, (
            f"after three saves by another process this one sees version {version}, expected 4"
        )

    @requires(Capability.LINEARIZABLE)
    def test_one_of_many_creates(self, storage: AIStorage, clients: Clients) -> None:
        """Of threads that save the same new model with expected_version=0 exactly one succeeds."""
        storage.save_progress(_M)
        outcomes = race_of_threads(clients.opener, _create_all, 6)
        winners = [0] * _ROUNDS
        for created in _returned(outcomes):
            for number in created:
                winners[number] += 1
        assert winners == [1] * _ROUNDS, (
            f"winners of {_ROUNDS} rounds of 6 threads: {winners}, expected one each"
        )

    @requires(Capability.LINEARIZABLE)
    def test_threads_share_one_client(self, storage: AIStorage, clients: Clients) -> None:
        """One client may be used by several threads at once; nothing is lost or mixed up."""
        storage.save_progress(_M)

        def race(_: AIStorage, number: int) -> list[int]:  # all with the test's client, and none with its own
            name = f"own {number}"
            for value in range(10):
                storage.save_progress(AIProgress(model_name=name, mse=float(number), training_samples=value))
                got = storage.get_progress(name)
                if got is None or (got.model_name, got.mse, got.training_samples) != (
                    name,
                    float(number),
                    value,
                ):
                    raise AssertionError(f"save of {name!r}, sample {value}, then get: {got!r}")
            return [storage.save_progress(_M).version for _ in range(5)]

        runs = _returned(race_of_threads(clients.opener, race, 6))
        _check_versions("6 threads with one client, 5 saves each", runs, 31)

    @requires(Capability.LINEARIZABLE)
    def test_writers_of_different_models_lose_nothing(self, storage: AIStorage, clients: Clients) -> None:
        """Threads that write a model each lose none of the others' records."""
        storage.save_progress(_M)

        def race(client: AIStorage, number: int) -> list[int]:
            check_sight(client, "m", "before the race")
            own = AIProgress(model_name=f"m{number}", mse=float(number))
            return [client.save_progress(own).version for _ in range(12)]

        runs = _returned(race_of_threads(clients.opener, race, 6))
        assert runs == [list(range(1, 13))] * 6, f"6 threads saved a model each, 12 times; versions: {runs}"
        kept = {record.model_name: record.version for record in storage.load_progress()}
        wanted = {"m": 1, **{f"m{number}": 12 for number in range(6)}}
        assert kept == wanted, f"after the race: expected {wanted}, got {kept}"


_ROUNDS = 15


def _create_all(client: AIStorage, number: int) -> list[int]:
    """Try to create a model in each round; return the rounds that were won."""
    check_sight(client, "m", "before the race")
    won = []
    for round_number in range(_ROUNDS):
        try:
            client.save_progress(
                AIProgress(model_name=f"round {round_number}", mse=float(number)), expected_version=0
            )
        except VersionConflictError:
            continue
        won.append(round_number)
    return won
