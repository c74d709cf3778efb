"""The wrapper that records, and what a check makes of it."""

from __future__ import annotations

import dataclasses
import threading
from datetime import datetime, timedelta, timezone

import pytest

from pytest_aistorage import (
    AIProgress,
    InvalidProgressError,
    OutcomeUnknownError,
    StorageUnavailableError,
    VersionConflictError,
    open_storage,
)
from pytest_aistorage.races import History, Verdict, check_linearizable
from pytest_aistorage.races.recording import RecordingStorage

M = AIProgress(model_name="m", mse=0.5, metadata={"epoch": 1})


@pytest.fixture
def recorder():
    """A recording client of a new store."""
    with RecordingStorage(open_storage("memory://"), 7) as recorder:
        yield recorder


def test_operations_are_written_down(recorder):
    """Kind, model, condition, version, value and times of each, in order."""
    recorder.save_progress(M)
    recorder.update_progress("m", lambda current: dataclasses.replace(current, mse=0.25))
    with pytest.raises(VersionConflictError):
        recorder.save_progress(M, expected_version=9)
    recorder.get_progress("m")
    recorder.load_progress()
    recorder.delete_progress("m", expected_version=2)
    recorder.get_progress("m")
    recorder.delete_progress("m")
    recorder.save_many([M])
    told = [(one.kind, one.outcome, one.base, one.version, one.actual) for one in recorder.operations]
    assert told == [
        ("save", "ok", None, 1, None),
        ("update", "ok", 1, 2, None),
        ("save", "failed", 9, None, 2),
        ("get", "ok", None, 2, None),
        ("load", "ok", None, None, None),
        ("delete", "ok", 2, 3, None),
        ("get", "ok", None, 0, None),
        ("delete", "ok", None, 0, None),
        ("save_many", "ok", None, None, None),
    ]
    assert recorder.operations[0].value == {"mse": 0.5, "metadata": {"epoch": 1}}
    assert recorder.operations[8].parts[0][:2] == ("m", 4)
    assert all(one.process == 7 and one.called <= one.returned for one in recorder.operations)
    assert check_linearizable(History(recorder.operations)).verdict is Verdict.LINEARIZABLE


def test_what_is_given_is_written_down_as_it_is_read(recorder):
    """An int where a float is stored, a time of another zone, a negative zero: no read of them is a violation."""
    start = datetime(2026, 1, 1, 2, tzinfo=timezone(timedelta(hours=2)))
    given = AIProgress(model_name="m", mse=1, accuracy=-0.0, training_start=start, metadata={"lr": -0.0})
    recorder.save_progress(given)
    recorder.get_progress("m")
    recorder.update_progress("m", lambda _: given)
    recorder.save_many([given])
    recorder.load_progress()
    save, get, update, batch, listing = recorder.operations
    assert save.value == update.value == get.value == batch.parts[0].value == listing.parts[0].value
    assert save.value["training_start"] == "2026-01-01T00:00:00+00:00"
    # Without versions, values alone tell writes apart, and their types count.
    without = [one._replace(version=None, base=None) for one in (save, get)]
    for operations in (recorder.operations, without):
        assert check_linearizable(History(operations)).verdict is Verdict.LINEARIZABLE


def test_record_that_breaks_a_rule_is_a_failure(recorder):
    """It is refused by the storage, as ever, and what it would have said is not written down."""
    with pytest.raises(InvalidProgressError):
        recorder.save_progress(AIProgress(model_name="m", mse=float("nan")))
    assert (recorder.operations[-1].outcome, recorder.operations[-1].value) == ("failed", None)


@pytest.mark.parametrize(
    ("raised", "outcome"),
    [
        (OutcomeUnknownError("the acknowledgement was lost"), "unknown"),
        (StorageUnavailableError("nobody answers"), "failed"),
        (OSError("whatever"), "unknown"),
    ],
)
def test_what_may_have_taken_effect_is_unknown(recorder, monkeypatch, raised, outcome):
    """Only an error by which the contract says that nothing was written counts as failed."""

    def broken(*args, **options):
        raise raised

    monkeypatch.setattr(recorder.storage, "save_progress", broken)
    with pytest.raises(type(raised)):
        recorder.save_progress(M)
    assert recorder.operations[-1].outcome == outcome
    assert recorder.operations[-1].error == type(raised).__name__


def test_exception_of_a_change_is_a_failure(recorder):
    """A change that raises writes nothing, whatever it raises."""

    def change(current):
        raise KeyError("the change's own")

    with pytest.raises(KeyError):
        recorder.update_progress("m", change)
    assert recorder.operations[-1].outcome == "failed"


def test_recorded_race_is_linearizable():
    """Threads on one memory store: the history of all of them has an order."""
    url = "memory://recorded"
    with open_storage(url):
        clients = [RecordingStorage(open_storage(url), number) for number in range(4)]

        def work(client):
            for number in range(25):
                client.save_progress(
                    AIProgress(model_name="m", mse=float(number), training_samples=client.process)
                )
                client.get_progress("m")
                client.update_progress("m", lambda current: dataclasses.replace(current, accuracy=0.5))
                client.load_progress()

        threads = [threading.Thread(target=work, args=(client,)) for client in clients]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for client in clients:
            client.close()
    found = check_linearizable(History([one for client in clients for one in client.operations]))
    assert found.verdict is Verdict.LINEARIZABLE, found.violation
    assert found.operations == 400


def test_source_of_a_read_is_written_down(recorder):
    """A storage that says where it answered from is taken at its word; others say nothing."""
    recorder.get_progress("m")
    recorder.storage.answered_from = "cache"
    recorder.get_progress("m")
    assert [one.source for one in recorder.operations] == [None, "cache"]
