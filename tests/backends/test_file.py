"""What is special to the naive file: its format, its errors, and that it stays naive."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_aistorage import (
    AIProgress,
    Capability,
    ConfigurationError,
    CorruptStorageError,
    FileStorage,
    StorageUnavailableError,
    open_storage,
)

_M = AIProgress(model_name="m", mse=0.5, metadata={"é": 1.0})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the file will be."""
    return tmp_path / "training_metrics.json"


def _assert_corrupt(storage: FileStorage) -> None:
    """Every operation says that what is stored can't be read."""
    for operation in (
        storage.load_progress,
        lambda: storage.save_progress(_M),
        lambda: storage.get_progress("m"),
    ):
        with pytest.raises(CorruptStorageError):
            operation()


def test_file_is_json_that_people_read(path: Path) -> None:
    """A list of objects, indented, with the fields by their names."""
    with FileStorage(path) as storage:
        saved = storage.save_progress(_M)
    (document,) = json.loads(path.read_text("utf-8"))
    assert (document["model_name"], document["mse"], document["version"]) == ("m", 0.5, 1)
    assert saved.created_at is not None
    assert document["created_at"] == saved.created_at.isoformat()


def test_reading_creates_no_file(path: Path) -> None:
    """The file comes into being with the first save."""
    with FileStorage(path) as storage:
        assert storage.load_progress() == []
        assert storage.delete_progress("m") is None
        assert storage.health_check() is True
    assert not path.exists()


@pytest.mark.parametrize(
    "content",
    [b"", b"[", b'[{"model_name": "m"', b"{}", b"null", b'[{"model_name": "m"}]', b"\xff\xfe", b"[1]"],
)
def test_torn_or_foreign_file_is_corrupt(path: Path, content: bytes) -> None:
    """What can't be read raises CorruptStorageError that names the file, and is not overwritten."""
    path.write_bytes(content)
    with FileStorage(path) as storage:
        _assert_corrupt(storage)
        assert storage.health_check() is False
    assert path.read_bytes() == content


def test_directory_that_is_missing_is_unavailable(tmp_path: Path) -> None:
    """A file that can't be written raises StorageUnavailableError that names it."""
    with FileStorage(tmp_path / "missing" / "m.json") as storage:
        with pytest.raises(StorageUnavailableError, match="missing"):
            storage.save_progress(_M)
        with pytest.raises(StorageUnavailableError, match=str(tmp_path)):
            FileStorage(tmp_path).load_progress()


def test_it_declares_what_it_is() -> None:
    """Neither linearizable nor crash-safe, and versions begin anew after a delete."""
    with FileStorage("unused.json") as storage:
        assert storage.capabilities == {Capability.SHARED_BETWEEN_PROCESSES, Capability.SURVIVES_CLOSE}


@pytest.mark.parametrize(
    "url", ["file://", "file:///", "file://host/m.json", "file:///m.json?unknown=1", "file:relative.json"]
)
def test_bad_url_is_refused(url: str) -> None:
    """A file URL has an absolute path and no host."""
    with pytest.raises(ConfigurationError):
        open_storage(url)


def test_path_in_a_url_is_decoded(tmp_path: Path) -> None:
    """Blanks, percent signs and umlauts in a path survive fresh_url and open_storage."""
    directory = tmp_path / "mit Umläuten 100%"
    directory.mkdir()
    with open_storage(FileStorage.fresh_url(directory)) as storage:
        storage.save_progress(_M)
    assert (directory / "training_metrics.json").is_file()


_STORED = (
    '{"model_name": "m", "mse": 0.5, "accuracy": null, "cross_validation_score": null, "training_samples": null, '
    '"training_start": null, "training_end": null, "metadata": {}, "version": 1, '
    '"created_at": "2024-01-01T00:00:00+00:00", "updated_at": "2024-01-01T00:00:00+00:00"}'
)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("00:00:00+00:00", "00:00:00"),
        ('"version": 1', '"version": "1"'),
        ('"model_name": "m"', '"model_name": 5'),
        ('"metadata": {}', '"metadata": 5'),
        ('"mse": 0.5', '"mse": NaN'),
        ('"mse": 0.5', '"mse": "x"'),
        (_STORED, "[" * 100_000),
    ],
)
def test_what_somebody_edited_is_corrupt(tmp_path: Path, old: str, new: str) -> None:
    """A file that breaks the record's rules is told as corrupt, by every operation."""
    path = tmp_path / "training_metrics.json"
    path.write_text(f"[{_STORED}]".replace(old, new))
    with FileStorage(path) as storage:
        _assert_corrupt(storage)


def test_a_write_that_fails_half_way_has_an_unknown_outcome(tmp_path: Path) -> None:
    """The file was emptied before the disk was full: that the save did not take effect can't be said."""
    path = tmp_path / "training_metrics.json"
    limited = (
        "import resource, signal, sys\n"
        "from pytest_aistorage import AIProgress, FileStorage, OutcomeUnknownError\n"
        "storage = FileStorage(sys.argv[1])\n"
        "storage.save_progress(AIProgress(model_name='m', mse=1.0))\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))\n"
        "try:\n"
        "    storage.save_progress(AIProgress(model_name='n', mse=1.0, metadata={'k': 'x' * 5000}))\n"
        "except OutcomeUnknownError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", limited, path], capture_output=True, text=True, timeout=60, check=True
    )
    assert "had been emptied" in done.stdout
