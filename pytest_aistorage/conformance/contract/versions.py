"""Versions count every change; moments say when."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta

import pytest

from ...capabilities import Capability
from ...progress import AIProgress
from ...storage import AIStorage
from .checks import check_unchanged, found, moment
from .clients import Clients, ContractBase, requires
from .ways import WAYS_IN, given_to_change

__all__ = ["VersionContract"]

_M = AIProgress(model_name="m", mse=0.5)

# How far a server's clock may be off; a local time taken for UTC is off by more.
_SKEW = timedelta(minutes=10)


def _saved_later(storage: AIStorage, than: AIProgress) -> AIProgress:
    """Save again until the storage's clock has moved on, so that equal moments are no accident."""
    for _ in range(2000):
        record = storage.save_progress(than)
        if moment(record, "updated_at") > moment(than, "updated_at"):
            return record
    pytest.fail(f"2000 saves of an equal record left updated_at at {than.updated_at}", pytrace=False)


class VersionContract(ContractBase):
    """The stamps: version, created_at, updated_at."""

    area = "versions"

    def test_first_version_is_one(self, storage: AIStorage) -> None:
        """The first save of a model gives version 1, by each way to save, whatever was asked before."""
        for way, saved in WAYS_IN.items():
            progress = dataclasses.replace(_M, model_name=way)
            storage.get_progress(way)
            given_to_change(storage, way)
            storage.delete_progress(way)
            version = saved(storage, progress).version
            assert version == 1, (
                f"get, an update whose change raises, delete, then {way} of a model that never was: "
                f"expected version 1, got {version}"
            )

    def test_every_change_takes_the_next_version(self, storage: AIStorage) -> None:
        """Saves, batches and updates each take the next version, also of an equal record; a get reports it."""
        changed = dataclasses.replace(_M, mse=0.25)
        # Each way comes behind each other one, with the same record and with another.
        order = [*WAYS_IN, *reversed(list(WAYS_IN)), *WAYS_IN]
        steps = [(way, progress) for way in order for progress in (_M, _M, changed)]
        for version, (way, progress) in enumerate(steps, start=1):
            done = (
                f"change {version} of a model, {way} of {'an equal' if progress is _M else 'another'} record"
            )
            got = WAYS_IN[way](storage, progress).version
            assert got == version, f"{done}: expected version {version}, got {got}"
            stored = found(storage, "m", done).version
            assert stored == version, f"get_progress after {done}: expected version {version}, got {stored}"

    def test_versions_go_on_through_hundreds_of_changes(self, storage: AIStorage) -> None:
        """Versions are counted one by one beyond a byte and beyond what sorts as text."""
        for version in range(1, 301):
            saved = storage.save_progress(_M)
            assert saved.version == version, f"save {version} of a model took version {saved.version}"
        stored = found(storage, "m", "300 saves").version
        assert stored == 300, f"get_progress after 300 saves: expected version 300, got {stored}"

    def test_reads_take_no_version(self, storage: AIStorage) -> None:
        """Reading, listing and refused writes leave the version alone."""
        storage.save_progress(_M)
        storage.get_progress("m")
        storage.load_progress()
        list(storage.iter_progress())
        storage.health_check()
        storage.get_storage_info()
        version = storage.save_progress(_M).version
        assert version == 2, f"the second save after some reads took version {version}, expected 2"

    def test_models_count_versions_apart(self, storage: AIStorage) -> None:
        """A change of one model leaves the version of another alone."""
        storage.save_progress(_M)
        for _ in range(3):
            storage.save_progress(dataclasses.replace(_M, model_name="other"))
        version = found(storage, "m", "three saves of another model").version
        assert version == 1, f"three saves of another model moved the version of this one to {version}"

    def test_stamps_in_the_input_are_ignored(self, storage: AIStorage) -> None:
        """Version and moments of the record that is given to a save have no effect."""
        for stamp in (datetime(2001, 1, 1, tzinfo=UTC), datetime(2901, 1, 1, tzinfo=UTC)):
            for way, saved_by in WAYS_IN.items():
                name = f"{way} {stamp.year}"
                given = dataclasses.replace(
                    _M, model_name=name, version=77, created_at=stamp, updated_at=stamp
                )
                for version in (1, 2):
                    done = f"{way} of a record with version=77 and created_at=updated_at={stamp}"
                    returned = saved_by(storage, given)
                    for told, saved in (
                        (done, returned),
                        (f"{done}, get_progress", found(storage, name, done)),
                    ):
                        assert saved.version == version, (
                            f"{told}: expected version {version}, got {saved.version}"
                        )
                        for field in ("created_at", "updated_at"):
                            assert moment(saved, field).year not in (2001, 2901), (
                                f"{told}: {field} was taken from the input: {getattr(saved, field)}"
                            )

    def test_delete_takes_the_next_version(self, storage: AIStorage) -> None:
        """delete_progress returns the version that it took: one more than the record's."""
        storage.save_progress(_M)
        storage.save_progress(_M)
        taken = storage.delete_progress("m")
        assert taken == 3, f"delete_progress of a record with version 2 returned {taken!r}, expected 3"

    @requires(Capability.VERSIONS_NEVER_REUSED)
    def test_versions_go_on_after_a_delete(self, storage: AIStorage) -> None:
        """A deleted model that comes back takes the version after the delete's, by each way to save."""
        expected = 0
        for way in (*WAYS_IN, *WAYS_IN):
            saved = WAYS_IN[way](storage, _M)
            expected += 1
            assert saved.version == expected, (
                f"{way} after {expected - 1} earlier changes, deletes included: "
                f"expected version {expected}, got {saved.version}"
            )
            expected += 1
            taken = storage.delete_progress("m")
            assert taken == expected, f"delete_progress returned version {taken!r}, expected {expected}"
            assert storage.delete_progress("m") is None, "the second delete_progress of a model"

    @requires(Capability.VERSIONS_NEVER_REUSED, Capability.SURVIVES_CLOSE)
    def test_versions_go_on_after_a_delete_and_close(self, storage: AIStorage, clients: Clients) -> None:
        """The version of a deleted model outlives every client."""
        storage.save_progress(_M)
        storage.delete_progress("m")
        storage.close()
        version = clients.open().save_progress(_M).version
        assert version == 3, f"save, delete, close, open, save: expected version 3, got {version}"

    def test_created_at_stays(self, storage: AIStorage) -> None:
        """created_at stays for the life of the record, through saves, batches and updates."""
        first = storage.save_progress(_M)
        _saved_later(storage, first)
        ways = {way: saved_by(storage, _M) for way, saved_by in WAYS_IN.items()}
        ways["get_progress"] = found(storage, "m", "saves")
        for way, record in ways.items():
            assert record.created_at == first.created_at, (
                f"{way} moved created_at from {first.created_at} to {record.created_at}"
            )

    def test_created_at_is_new_after_a_delete(self, storage: AIStorage) -> None:
        """A model that comes back after its delete has a created_at of its own, by each way to save."""
        for way, saved_by in WAYS_IN.items():
            first = storage.save_progress(_M)
            _saved_later(storage, first)
            storage.delete_progress("m")
            reborn = saved_by(storage, _M)
            assert moment(reborn, "created_at") > moment(first, "created_at"), (
                f"save, delete, {way}: the reborn record kept created_at {first.created_at}"
            )

    def test_updated_at_moves_on(self, storage: AIStorage) -> None:
        """updated_at moves on with saves, batches and updates, also where the record stays as it was."""
        record = _saved_later(storage, storage.save_progress(_M))
        for way, saved_by in WAYS_IN.items():
            before = record
            for _ in range(2000):
                record = saved_by(storage, _M)
                if moment(record, "updated_at") > moment(before, "updated_at"):
                    break
            else:
                pytest.fail(f"2000 times {way} left updated_at at {before.updated_at}", pytrace=False)

    def test_updated_at_never_decreases(self, storage: AIStorage) -> None:
        """No change sets updated_at back, and it is never before created_at."""
        last = None
        for _ in range(8):
            for way, saved_by in WAYS_IN.items():
                record = saved_by(storage, _M)
                assert moment(record, "updated_at") >= moment(record, "created_at"), (
                    f"{way}: updated_at {record.updated_at} is before created_at {record.created_at}"
                )
                if last is not None:
                    assert moment(record, "updated_at") >= moment(last, "updated_at"), (
                        f"{way} set updated_at back from {last.updated_at} to {record.updated_at}"
                    )
                last = record

    def test_a_change_leaves_the_stamps_of_other_models_alone(self, storage: AIStorage) -> None:
        """No save, batch, update or delete of one model moves the stamps of another."""
        bystander = storage.save_progress(dataclasses.replace(_M, model_name="bystander"))
        alone = "which must leave this one alone"
        for way, saved_by in WAYS_IN.items():
            _saved_later(storage, saved_by(storage, _M))
            saved_by(storage, _M)
            check_unchanged(storage, bystander, f"{way} of another model", promise=alone)
            storage.delete_progress("m")
            check_unchanged(storage, bystander, "delete_progress of another model", promise=alone)

    def test_moments_are_now_in_utc(self, storage: AIStorage) -> None:
        """created_at and updated_at are aware, in UTC, and now, give or take a server's clock."""
        for way, saved_by in WAYS_IN.items():
            for again in ("a new model", "the same model"):
                before = datetime.now(UTC) - _SKEW
                record = saved_by(storage, dataclasses.replace(_M, model_name=way))
                after = datetime.now(UTC) + _SKEW
                for field in ("created_at", "updated_at"):
                    stamp = moment(record, field)
                    told = f"{way} of {again}: {field}"
                    assert stamp.utcoffset() == timedelta(0), f"{told} is not in UTC: {stamp!r}"
                    assert before <= stamp <= after, f"{told} is {stamp}, and now it is {datetime.now(UTC)}"
