"""Versions count every change; moments say when."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from ...capabilities import Capability
from ...progress import AIProgress
from ...storage import AIStorage
from .checks import found, moment
from .clients import Clients, ContractBase, requires

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
    raise AssertionError(f"updated_at stayed {than.updated_at} through 2000 saves")


class VersionContract(ContractBase):
    """The stamps: version, created_at, updated_at."""

    area = "versions"

    def test_first_version_is_one(self, storage: AIStorage) -> None:
        """The first save of a model gives version 1, by each way to save."""
        assert storage.save_progress(_M).version == 1, "save_progress of a new model"
        other = dataclasses.replace(_M, model_name="batch")
        assert storage.save_many([other])[0].version == 1, "save_many of a new model"
        third = dataclasses.replace(_M, model_name="update")
        assert storage.update_progress("update", lambda _: third).version == 1, (
            "update_progress of a new model"
        )

    def test_every_change_takes_the_next_version(self, storage: AIStorage) -> None:
        """Saves, batches and updates each take the next version, which a get reports as well."""
        changes: dict[str, Callable[[], AIProgress]] = {
            "save_progress": lambda: storage.save_progress(_M),
            "update_progress": lambda: storage.update_progress("m", lambda current: current or _M),
            "save_many": lambda: storage.save_many([_M])[0],
            "save_progress of the same record": lambda: storage.save_progress(_M),
        }
        for version, (change, made) in enumerate(changes.items(), start=1):
            got = made().version
            assert got == version, f"{change}: expected version {version}, got {got}"
            stored = found(storage, "m", change).version
            assert stored == version, f"get_progress after {change}: expected version {version}, got {stored}"

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
        long_ago = datetime(2001, 1, 1, tzinfo=UTC)
        for way in ("save_progress", "save_many", "update_progress"):
            given = dataclasses.replace(
                _M, model_name=way, version=77, created_at=long_ago, updated_at=long_ago
            )
            for version in (1, 2):
                if way == "save_progress":
                    saved = storage.save_progress(given)
                elif way == "save_many":
                    saved = storage.save_many([given])[0]
                else:
                    saved = storage.update_progress(way, lambda _, new=given: new)  # type: ignore[misc]
                assert saved.version == version, (
                    f"{way} of a record with version=77: expected version {version}, got {saved.version}"
                )
                assert saved.created_at != long_ago, f"{way} took created_at from its input"
                assert saved.updated_at != long_ago, f"{way} took updated_at from its input"

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
        for way in ("save_progress", "save_many", "update_progress"):
            if way == "save_progress":
                saved = storage.save_progress(_M)
            elif way == "save_many":
                saved = storage.save_many([_M])[0]
            else:
                saved = storage.update_progress("m", lambda _: _M)
            expected += 1
            assert saved.version == expected, (
                f"{way} after {expected - 1} earlier changes, deletes included: "
                f"expected version {expected}, got {saved.version}"
            )
            expected += 1
            taken = storage.delete_progress("m")
            assert taken == expected, f"delete_progress returned version {taken!r}, expected {expected}"

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
        ways = {
            "save_progress": storage.save_progress(_M),
            "save_many": storage.save_many([_M])[0],
            "update_progress": storage.update_progress("m", lambda current: current or _M),
            "get_progress": found(storage, "m", "saves"),
        }
        for way, record in ways.items():
            assert record.created_at == first.created_at, (
                f"{way} moved created_at from {first.created_at} to {record.created_at}"
            )

    def test_created_at_is_new_after_a_delete(self, storage: AIStorage) -> None:
        """A model that comes back after its delete has a created_at of its own."""
        first = storage.save_progress(_M)
        _saved_later(storage, first)
        storage.delete_progress("m")
        reborn = storage.save_progress(_M)
        assert moment(reborn, "created_at") > moment(first, "created_at"), (
            f"the reborn record kept created_at {first.created_at}"
        )

    def test_updated_at_moves_on(self, storage: AIStorage) -> None:
        """updated_at moves on with saves, batches and updates."""
        record = _saved_later(storage, storage.save_progress(_M))
        for way in ("save_many", "update_progress"):
            before = record
            for _ in range(2000):
                if way == "save_many":
                    record = storage.save_many([_M])[0]
                else:
                    record = storage.update_progress("m", lambda current: current or _M)
                if moment(record, "updated_at") > moment(before, "updated_at"):
                    break
            else:
                raise AssertionError(f"2000 times {way} left updated_at at {before.updated_at}")

    def test_updated_at_never_decreases(self, storage: AIStorage) -> None:
        """No change sets updated_at back, and it is never before created_at."""
        last = storage.save_progress(_M)
        for _ in range(30):
            record = storage.save_progress(_M)
            assert moment(record, "updated_at") >= moment(last, "updated_at"), (
                f"a save set updated_at back from {last.updated_at} to {record.updated_at}"
            )
            assert moment(record, "updated_at") >= moment(record, "created_at"), (
                f"updated_at {record.updated_at} is before created_at {record.created_at}"
            )
            last = record

    def test_moments_are_now_in_utc(self, storage: AIStorage) -> None:
        """created_at and updated_at are aware, in UTC, and now, give or take a server's clock."""
        before = datetime.now(UTC) - _SKEW
        record = storage.save_progress(_M)
        after = datetime.now(UTC) + _SKEW
        for field in ("created_at", "updated_at"):
            stamp = moment(record, field)
            assert stamp.utcoffset() == timedelta(0), f"{field} is not in UTC: {stamp!r}"
            assert before <= stamp <= after, f"{field} is {stamp}, and now it is {datetime.now(UTC)}"
