"""What of a directory's files is durable, by the disk's own books."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from pytest_aistorage.servers.supervisor.disk import Disk

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="not applicable: power is cut on Linux only")


def fsync(disk: Disk, path: Path, *, appended: bool = False) -> None:
    """Tell the disk that the file was fsynced."""
    descriptor = os.open(path, os.O_RDONLY)
    disk.fsync(descriptor, str(path), appended=appended)
    os.close(descriptor)


def test_a_file_is_put_back_to_its_last_fsync(tmp_path: Path) -> None:
    """Whatever was done to it since: overwritten, lengthened, cut short."""
    disk = Disk(str(tmp_path))
    for change in (b"x", b"0123456789 and more", b""):
        path = tmp_path / "file"
        path.write_bytes(b"0123456789")
        fsync(disk, path)
        path.write_bytes(change)
        disk.cut()
        assert path.read_bytes() == b"0123456789"


def test_what_was_there_before_is_durable(tmp_path: Path) -> None:
    """Also in directories below; what came later and was never fsynced is empty."""
    (tmp_path / "below").mkdir()
    before, later = tmp_path / "below" / "before", tmp_path / "later"
    before.write_bytes(b"before")
    disk = Disk(str(tmp_path))
    disk.sync()
    before.write_bytes(b"changed")
    later.write_bytes(b"later")
    disk.cut()
    assert (before.read_bytes(), later.read_bytes()) == (b"before", b"")


def test_a_file_that_replaced_another_comes_out_empty(tmp_path: Path) -> None:
    """The name is the new file's, its contents were never fsynced: the well-known zero-length file."""
    disk = Disk(str(tmp_path))
    path, unfinished = tmp_path / "file", tmp_path / "unfinished"
    path.write_bytes(b"old")
    fsync(disk, path)
    unfinished.write_bytes(b"new")
    unfinished.replace(path)
    disk.cut()
    assert path.read_bytes() == b""


def test_a_file_is_known_by_any_name(tmp_path: Path) -> None:
    """fsync, then rename: the contents are durable."""
    disk = Disk(str(tmp_path))
    path, unfinished = tmp_path / "file", tmp_path / "unfinished"
    unfinished.write_bytes(b"new")
    fsync(disk, unfinished)
    unfinished.replace(path)
    disk.cut()
    assert path.read_bytes() == b"new"


def test_a_new_file_does_not_get_the_contents_of_a_removed_one(tmp_path: Path) -> None:
    """Though the file system may give it the same number, over and over."""
    disk = Disk(str(tmp_path))
    path = tmp_path / "file"
    for number in range(200):
        path.write_bytes(b"%d" % number)
        fsync(disk, path)
        path.unlink()
    path.write_bytes(b"never fsynced")
    disk.cut()
    assert path.read_bytes() == b""


def test_what_was_appended_is_taken_alone(tmp_path: Path) -> None:
    """An append-only log is not copied whole at each fsync; one that was cut short is."""
    disk = Disk(str(tmp_path))
    path = tmp_path / "log"
    path.write_bytes(b"one ")
    fsync(disk, path, appended=True)
    path.write_bytes(b"ONE two ")
    fsync(disk, path, appended=True)
    path.write_bytes(b"ONE two three")
    disk.cut()
    assert path.read_bytes() == b"one two "
    path.write_bytes(b"1")
    fsync(disk, path, appended=True)
    path.write_bytes(b"22")
    disk.cut()
    assert path.read_bytes() == b"1"


def test_holes_stay_holes(tmp_path: Path) -> None:
    """A file that is much longer than it takes room is copied as it is, and what was in the holes is gone."""
    disk = Disk(str(tmp_path))
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.truncate(1 << 30)
        file.seek(1 << 29)
        file.write(b"in the middle")
    fsync(disk, path)
    with path.open("r+b") as file:
        file.write(b"in a hole")
    disk.cut()
    with path.open("rb") as file:
        assert file.read(9) == bytes(9)
        file.seek(1 << 29)
        assert file.read(13) == b"in the middle"
    assert path.stat().st_size == 1 << 30
    assert path.stat().st_blocks * 512 < 1 << 20


def test_files_elsewhere_are_left_alone(tmp_path: Path) -> None:
    """Neither copied nor put back."""
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    disk = Disk(str(inside))
    outside.write_bytes(b"one")
    (inside / "link").symlink_to(outside)
    fsync(disk, outside)
    outside.write_bytes(b"two")
    disk.cut()
    assert outside.read_bytes() == b"two"
