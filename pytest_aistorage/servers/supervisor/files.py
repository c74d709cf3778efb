"""Private directories that a supervisor makes, fills, and removes; and those that a dead one left behind."""

from __future__ import annotations

import os
import stat
import sys
import time
from collections.abc import Iterable

from .lease import try_exclusive
from .tree import kill_recorded, kill_working_in

__all__ = ["PREFIX", "copy_tree", "make_base", "remove_tree", "sweep", "write_private"]

PREFIX = "aistorage-"
_HEX = 8
# The longest socket name below a base directory is "/s/.s.PGSQL.65535"; sun_path holds 104 bytes on macOS.
_LONGEST_BASE = 80
# A directory without its lock file is either a minute old at most, and about to get one, or abandoned.
_GRACE = 60.0


def make_base(root: str, *, traversable: bool) -> tuple[str, int]:
    """Make a private directory with a lock that shows that its owner lives.

    Args:
        root: where; ``/tmp`` is taken instead when no Unix socket would fit below it, or others can't get there
            who have to.
        traversable: let other users pass through to what is given to them below.

    Returns:
        Its path, and the open file that holds the lock: closing it makes the directory stale.
    """
    too_long = len(os.fsencode(root)) + len(PREFIX) + _HEX + 1 > _LONGEST_BASE
    if (too_long or (traversable and not _is_passable(root))) and os.path.isdir("/tmp"):
        root = "/tmp"
    while True:
        base = os.path.join(root, PREFIX + os.urandom(_HEX // 2).hex())
        try:
            os.mkdir(base, 0o700)
        except FileExistsError:
            continue
        break
    if traversable:
        os.chmod(base, 0o711)
    # Locked before it gets its name: a sweep of another run never meets it unlocked.
    unlocked = os.path.join(base, "alive.new")
    alive = os.open(unlocked, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try_exclusive(alive)
    os.rename(unlocked, os.path.join(base, "alive"))
    return base, alive


def _is_passable(directory: str) -> bool:
    """Whether other users can pass through a directory and all above it."""
    at = os.path.realpath(directory)
    while os.stat(at).st_mode & stat.S_IXOTH:
        above = os.path.dirname(at)
        if above == at:
            return True
        at = above
    return False


def sweep(roots: Iterable[str]) -> None:
    """Remove what runs that were killed, supervisors and all, have left below some directories."""
    for root in roots:
        try:
            found = [entry for entry in os.scandir(root) if _is_ours(entry)]
        except OSError:
            continue
        for entry in found:
            _remove_if_stale(entry.path)


def _is_ours(entry: os.DirEntry[str]) -> bool:
    number = entry.name.removeprefix(PREFIX)
    # The digits of `make_base`; letters in their place may be anybody's, tempfile's for one.
    if number == entry.name or len(number) != _HEX or not set(number) <= set("0123456789abcdef"):
        return False
    try:
        found = entry.stat(follow_symlinks=False)
    except OSError:
        return False
    # What belongs to somebody else may have been put there to be followed.
    return stat.S_ISDIR(found.st_mode) and (sys.platform == "win32" or found.st_uid == os.geteuid())


def _remove_if_stale(base: str) -> None:
    try:
        alive = os.open(os.path.join(base, "alive"), os.O_RDWR)
    except FileNotFoundError:
        try:
            young = time.time() - os.stat(base).st_mtime < _GRACE
        except FileNotFoundError:
            return
        if not young:
            remove_tree(base)
        return
    except OSError:
        return
    try:
        if try_exclusive(alive):
            kill_recorded(os.path.join(base, "server.pid"))
            kill_working_in(base)
            remove_tree(base)
    finally:
        os.close(alive)


def copy_tree(source: str, target: str, uid: int | None, gid: int | None) -> None:
    """Copy a data directory; files become private, and belong to `uid` and `gid` where those are given."""
    os.mkdir(target, 0o700)
    _give(target, uid, gid)
    with os.scandir(source) as entries:
        for entry in entries:
            path = target + os.sep + entry.name
            if entry.is_dir(follow_symlinks=False):
                copy_tree(entry.path, path, uid, gid)
            else:
                _copy_file(entry.path, path, uid, gid)


def _copy_file(source: str, target: str, uid: int | None, gid: int | None) -> None:
    binary = getattr(os, "O_BINARY", 0)
    reader = os.open(source, os.O_RDONLY | binary)
    try:
        writer = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | binary, 0o600)
        try:
            _give(target, uid, gid)
            # A thousand small files: this took 29 ms where copy_file_range took 40, and `cp --reflink=auto` 55.
            if sys.platform == "linux":  # elsewhere it writes to sockets only
                while os.sendfile(writer, reader, None, 1 << 30):
                    pass
            else:
                while piece := os.read(reader, 1 << 20):
                    os.write(writer, piece)
        finally:
            os.close(writer)
    finally:
        os.close(reader)


def _give(path: str, uid: int | None, gid: int | None) -> None:
    if uid is not None and gid is not None and sys.platform != "win32":
        os.chown(path, uid, gid)


def write_private(path: str, text: str, uid: int | None, gid: int | None) -> None:
    """Write a file that nobody but its owner can read; it replaces one that is there."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        _give(path, uid, gid)
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def remove_tree(path: str) -> None:
    """Remove a directory and all below it; what is gone already, or comes and goes meanwhile, is no error."""
    for attempt in range(5):
        try:
            _remove(path)
            return
        except FileNotFoundError:
            return
        except OSError:  # a dying process has put one more file into it
            time.sleep(0.01 * attempt)


def _remove(path: str) -> None:
    if sys.platform == "win32":
        with os.scandir(path) as entries:
            for entry in entries:
                _remove(entry.path) if entry.is_dir(follow_symlinks=False) else os.unlink(entry.path)
        os.rmdir(path)
        return
    # By descriptors: when root removes what a server under another uid can write to, a directory that is
    # swapped for a symbolic link meanwhile must not be followed.
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        _empty(descriptor)
    finally:
        os.close(descriptor)
    os.rmdir(path)


def _empty(directory: int) -> None:
    with os.scandir(directory) as entries:
        for entry in entries:
            try:
                if entry.is_dir(follow_symlinks=False):
                    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
                    inner = os.open(entry.name, flags, dir_fd=directory)
                    try:
                        _empty(inner)
                    finally:
                        os.close(inner)
                    os.rmdir(entry.name, dir_fd=directory)
                else:
                    os.unlink(entry.name, dir_fd=directory)
            except FileNotFoundError:
                continue
