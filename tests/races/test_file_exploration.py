"""All schedules of two clients of one file: how many of them lose what, on every run."""

from __future__ import annotations

import collections

import pairs
import pytest
from race_stores import FlockStorage, RenameStorage

from pytest_aistorage.backends.file import FileStorage
from pytest_aistorage.races import check_linearizable, explore, linearizable
from pytest_aistorage.races.subjects import Subject


class FileStage(pairs.Stage):
    """Each schedule has a file of its own: one that was destroyed can't be emptied."""

    def scenario(self):
        """Make one, in a new file."""
        self._store, self._names = self._subject.fresh(), ()
        return super().scenario()


@pytest.fixture
def file_explored(pool, tmp_path):
    """Explores operations on a store of one file; returns the result, and how often each anomaly came of it."""
    numbers = iter(range(100))

    def explored(storage, *operations, kills=False):
        directory = tmp_path / str(next(numbers))
        directory.mkdir()
        with Subject.of_files("file", directory, storage) as subject:
            anomalies = collections.Counter()
            stage = FileStage(subject, operations, there=True)

            def judge(run):
                what = linearizable(run)
                if what is not None:
                    check = check_linearizable(run.history)
                    anomalies[check.violation.anomaly if check.violation else "raised"] += 1
                return what

            found = explore(stage.scenario, judge, pool, kills=kills)
            assert found or found.reproduced
            return found, {name for name in anomalies if name != "raised"}

    return explored


@pytest.mark.parametrize(
    ("first", "second", "schedules", "failing", "anomaly"),
    [
        (pairs.update, pairs.update, 16, 14, "lost update"),
        (pairs.save, pairs.save, 16, 14, "duplicate version"),
        (pairs.save, pairs.save_other, 16, 14, "cross-key rollback"),
        (pairs.save, pairs.get, 4, 1, "torn read"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_the_naive_file(file_explored, first, second, schedules, failing, anomaly):
    """Each anomaly is found in so many of so many schedules, on every run, and told by its name."""
    found, anomalies = file_explored(FileStorage, first, second)
    assert (found.schedules, found.failing, found.serial) == (schedules, failing, 0)
    assert anomaly in anomalies
    assert anomaly in found.shrunk.what


def test_the_naive_file_is_destroyed(file_explored):
    """Killed between truncation and write, a client takes all records along; at no other seam."""
    found, anomalies = file_explored(FileStorage, pairs.update, kills=True)
    assert (found.schedules, found.killing, found.failing) == (4, 3, 1)
    assert found.shrunk.schedule == "P1:truncate,P1:killed"
    assert anomalies == {"durability loss"}


@pytest.mark.parametrize(("storage", "schedules", "failing"), [(RenameStorage, 6, 4), (FlockStorage, 6, 0)])
def test_other_files(file_explored, storage, schedules, failing):
    """Without the truncation nothing is torn and yet updates are lost; under one lock nothing is."""
    found, _ = file_explored(storage, pairs.update, pairs.update)
    assert (found.schedules, found.failing) == (schedules, failing)
    assert bool(found) is not bool(failing)
