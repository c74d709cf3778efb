"""A compare-and-set takes effect only on the version that it expects."""

from __future__ import annotations

import dataclasses

import pytest

from ...capabilities import Capability
from ...errors import VersionConflictError
from ...progress import AIProgress, ProgressQuery
from ...storage import AIStorage
from .checks import check_names, check_same, check_unchanged, found, refused
from .clients import ContractBase, requires

__all__ = ["CompareAndSetContract"]

_M = AIProgress(model_name="m", mse=0.5)
# Numbers that are 2 when they are cut to so many bits; 2**53 + 2 rounded by one.
_WRAPPED = (2 + 2**8, 2 + 2**16, 2 + 2**31, 2 + 2**32, 2**53 + 3, 2**63 - 1)
_NEW = dataclasses.replace(_M, mse=0.25, metadata={"new": True})


def _check_conflict(conflict: VersionConflictError, expected: int, actual: int, done: str) -> None:
    got = (conflict.model_name, conflict.expected, conflict.actual)
    if got != ("m", expected, actual):
        pytest.fail(
            f"{done}: expected a conflict with (model_name, expected, actual) = ('m', {expected}, {actual}), "
            f"got {got}",
            pytrace=False,
        )


def _check_absent(storage: AIStorage, done: str) -> None:
    got = storage.get_progress("m")
    assert got is None, f"{done} conflicted, and yet get_progress returns {got!r}"
    check_names(f"load_progress after {done}", [], storage.load_progress())


class CompareAndSetContract(ContractBase):
    """``expected_version``, and deletes."""

    area = "compare-and-set"

    def test_matching_version_saves(self, storage: AIStorage) -> None:
        """A save that expects the stored version takes effect, time after time."""
        storage.save_progress(_M)
        for version in (1, 2, 3):
            progress = dataclasses.replace(_M, mse=float(version))
            saved = storage.save_progress(progress, expected_version=version)
            assert saved.version == version + 1, f"save with expected_version={version} took {saved.version}"
            check_same(f"save with expected_version={version}", progress, storage.get_progress("m"))

    def test_other_version_conflicts(self, storage: AIStorage) -> None:
        """A save that expects another version raises VersionConflictError with its fields; nothing is written."""
        storage.save_progress(_M)
        before = storage.save_progress(_M)
        for expected in (0, 1, 3, 4, *_WRAPPED):
            done = f"save with expected_version={expected} of a record with version 2"
            with refused(VersionConflictError, done) as caught:
                storage.save_progress(_NEW, expected_version=expected)
            _check_conflict(caught[0], expected, 2, done)
            check_unchanged(storage, before, done)
        done = "save of the stored record itself with expected_version=1, which is 2"
        with refused(VersionConflictError, done):
            storage.save_progress(before, expected_version=1)
        check_unchanged(storage, before, done)

    def test_zero_creates(self, storage: AIStorage) -> None:
        """expected_version=0 saves a model that does not exist."""
        saved = storage.save_progress(_M, expected_version=0)
        assert saved.version == 1, f"save with expected_version=0 took version {saved.version}"
        check_same("save with expected_version=0", _M, storage.get_progress("m"))

    def test_zero_creates_after_a_delete(self, storage: AIStorage) -> None:
        """expected_version=0 means "must not exist now": it saves a model that was deleted."""
        storage.save_progress(_M)
        storage.delete_progress("m")
        storage.save_progress(_NEW, expected_version=0)
        check_same("save, delete, save with expected_version=0", _NEW, storage.get_progress("m"))

    def test_absent_model_conflicts(self, storage: AIStorage) -> None:
        """A save that expects a version of a model that never was conflicts with actual 0."""
        for expected in (1, 2, 7, *_WRAPPED):
            done = f"save of a new model with expected_version={expected}"
            with refused(VersionConflictError, done) as caught:
                storage.save_progress(_M, expected_version=expected)
            _check_conflict(caught[0], expected, 0, done)
            _check_absent(storage, done)

    def test_deleted_model_conflicts(self, storage: AIStorage) -> None:
        """A save that expects any version of a deleted model conflicts with actual 0, the delete's included."""
        storage.save_progress(_M)
        storage.delete_progress("m")
        for expected in (1, 2, 3):
            done = f"save with expected_version={expected} after a delete that took version 2"
            with refused(VersionConflictError, done) as caught:
                storage.save_progress(_NEW, expected_version=expected)
            _check_conflict(caught[0], expected, 0, done)
            _check_absent(storage, done)

    @requires(Capability.VERSIONS_NEVER_REUSED)
    def test_reborn_model_is_not_taken_for_the_old_one(self, storage: AIStorage) -> None:
        """A version read before a delete does not match the record that came back after it."""
        old = storage.save_progress(_M)
        storage.delete_progress("m")
        reborn = storage.save_progress(_NEW)
        done = f"read version {old.version}, delete, save anew, save with expected_version={old.version}"
        with refused(VersionConflictError, done) as caught:
            storage.save_progress(_M, expected_version=old.version)
        _check_conflict(caught[0], old.version, reborn.version, done)
        check_unchanged(storage, reborn, done)

    def test_conflict_takes_no_version(self, storage: AIStorage) -> None:
        """A conflict counts as nothing: the next change takes the next version."""
        storage.save_progress(_M)
        for _ in range(3):
            with refused(VersionConflictError, "save with expected_version=9"):
                storage.save_progress(_NEW, expected_version=9)
            with refused(VersionConflictError, "delete with expected_version=9"):
                storage.delete_progress("m", expected_version=9)
        version = storage.save_progress(_M).version
        assert version == 2, f"six conflicts and a save moved version 1 to {version}, expected 2"

    def test_delete_removes_the_record(self, storage: AIStorage) -> None:
        """A deleted model is gone from get, listing, iteration, query and count; the others stay."""
        storage.save_many([_M, dataclasses.replace(_M, model_name="n")])
        storage.delete_progress("m")
        assert storage.get_progress("m") is None, "get_progress found a deleted model"
        ways = {
            "load_progress": storage.load_progress(),
            "iter_progress": list(storage.iter_progress()),
            "query_progress": storage.query_progress(ProgressQuery()),
        }
        for way, records in ways.items():
            names = [record.model_name for record in records]
            assert names == ["n"], f"{way}() after deleting 'm' of 'm' and 'n' returned {names}"
        count = storage.get_storage_info().model_count
        assert count == 1, f"model_count is {count} after deleting one of two models"

    def test_delete_of_nothing_returns_none(self, storage: AIStorage) -> None:
        """A delete of what is not there, or not there any more, returns None."""
        assert storage.delete_progress("m") is None, "delete_progress of a model that was never saved"
        storage.save_progress(_M)
        storage.delete_progress("m")
        assert storage.delete_progress("m") is None, "the second delete_progress of a model"

    def test_delete_of_nothing_takes_no_version(self, storage: AIStorage) -> None:
        """A delete of what is not there counts as nothing."""
        storage.delete_progress("m")
        version = storage.save_progress(_M).version
        assert version == 1, f"the first save after a delete of nothing took version {version}"

    def test_delete_with_matching_version(self, storage: AIStorage) -> None:
        """A delete that expects the stored version takes effect."""
        storage.save_progress(_M)
        taken = storage.delete_progress("m", expected_version=1)
        assert taken == 2, f"delete with expected_version=1 returned {taken!r}, expected 2"
        assert storage.get_progress("m") is None, "delete with the matching expected_version left the record"

    def test_delete_with_other_version_conflicts(self, storage: AIStorage) -> None:
        """A delete that expects another version raises VersionConflictError; the record stays."""
        before = storage.save_progress(_M)
        for expected in (0, 2, 3, 1 + 2**8, 1 + 2**16, 1 + 2**32):
            done = f"delete with expected_version={expected} of a record with version 1"
            with refused(VersionConflictError, done) as caught:
                storage.delete_progress("m", expected_version=expected)
            _check_conflict(caught[0], expected, 1, done)
            check_unchanged(storage, before, done)

    def test_delete_of_nothing_with_a_version_conflicts(self, storage: AIStorage) -> None:
        """A delete of nothing conflicts if it expects a version; expecting 0 it returns None."""
        done = "delete of a model that was never saved with expected_version=1"
        with refused(VersionConflictError, done) as caught:
            storage.delete_progress("m", expected_version=1)
        _check_conflict(caught[0], 1, 0, done)
        returned = storage.delete_progress("m", expected_version=0)
        assert returned is None, f"delete of nothing with expected_version=0 returned {returned!r}"
        storage.save_progress(_M)
        storage.delete_progress("m")
        with refused(VersionConflictError, "the second delete, with expected_version=2") as caught:
            storage.delete_progress("m", expected_version=2)
        _check_conflict(caught[0], 2, 0, "the second delete, with expected_version=2")

    def test_conflict_names_a_record_that_can_be_read(self, storage: AIStorage) -> None:
        """The retry loop of an application works: read, expect what was read, succeed."""
        storage.save_progress(_M)
        with refused(VersionConflictError, "save with expected_version=5") as caught:
            storage.save_progress(_NEW, expected_version=5)
        stored = found(storage, "m", "a conflict").version
        assert caught[0].actual == stored, (
            f"the conflict reports version {caught[0].actual}, get says {stored}"
        )
        saved = storage.save_progress(_NEW, expected_version=caught[0].actual)
        assert saved.version == 2, f"the save that expects what the conflict reported took {saved.version}"
