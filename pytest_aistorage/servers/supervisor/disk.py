"""What of a directory's files would outlive a loss of power: what was in each at its last fsync.

Names are taken to be durable at once, contents only by fsync, as on a journalling file system that has written its
journal and none of the data: so a new file that was renamed over an old one comes out empty. A disk may keep more of
the contents than this; what is kept here, it keeps for certain.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator

__all__ = ["Disk"]

_PURGE_EVERY = 64


class _Contents:
    """What was in a file at its last fsync.

    Attributes:
        pin: an open descriptor of the file: as long as there is one, no other file gets its number.
        copy: a descriptor of the copy, in memory.
        size: in bytes.
    """

    __slots__ = ("copy", "pin", "size")

    def __init__(self, pin: int, copy: int) -> None:
        self.pin = pin
        self.copy = copy
        self.size = 0

    def close(self) -> None:
        """Forget it."""
        os.close(self.pin)
        os.close(self.copy)


class Disk:
    """The durable contents of the files below a directory.

    Args:
        directory: the directory.
    """

    def __init__(self, directory: str) -> None:
        self._directory = os.path.realpath(directory)
        self._files: dict[tuple[int, int], _Contents] = {}

    def sync(self) -> None:
        """All that is there now is durable."""
        for path in self._paths():
            try:
                descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            except FileNotFoundError:
                continue
            try:
                self._take(descriptor, appended=False)
            finally:
                os.close(descriptor)

    def fsync(self, descriptor: int, path: str, *, appended: bool) -> None:
        """What is in a file now is durable.

        Args:
            descriptor: open for reading.
            path: the file's present one.
            appended: whether it has changed by nothing but longer since its last fsync.
        """
        if path.startswith(f"{self._directory}{os.sep}"):
            self._take(descriptor, appended=appended)

    def cut(self) -> None:
        """Put each file back to what of it is durable. Nobody may have any of them open."""
        for path in self._paths():
            found = os.lstat(path)
            contents = self._files.get((found.st_dev, found.st_ino))
            descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                if contents is None:
                    os.ftruncate(descriptor, 0)
                else:
                    _copy(contents.copy, descriptor, 0, contents.size)
            finally:
                os.close(descriptor)

    def _take(self, descriptor: int, *, appended: bool) -> None:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or not found.st_nlink:
            return
        key = found.st_dev, found.st_ino
        contents = self._files.get(key)
        if contents is None:
            contents = self._files[key] = self._new(descriptor)
        longer = appended and found.st_size >= contents.size
        _copy(descriptor, contents.copy, contents.size if longer else 0, found.st_size)
        contents.size = found.st_size

    def _new(self, descriptor: int) -> _Contents:
        if len(self._files) % _PURGE_EVERY == 0:
            for key, contents in list(self._files.items()):
                if not os.fstat(contents.pin).st_nlink:
                    del self._files[key]
                    contents.close()
        return _Contents(os.dup(descriptor), os.memfd_create("fsynced"))

    def _paths(self) -> Iterator[str]:
        for directory, _, names in os.walk(self._directory):
            for name in names:
                path = os.path.join(directory, name)
                try:
                    mode = os.lstat(path).st_mode
                except FileNotFoundError:
                    continue
                if stat.S_ISREG(mode):
                    yield path


def _copy(source: int, target: int, start: int, end: int) -> None:
    """Make a file the same as another from a place on, up to its end; holes stay holes."""
    if start >= end or os.lseek(source, start, os.SEEK_HOLE) < end:
        os.ftruncate(target, start)  # overwritten in place, it would keep what was where holes are now
    os.ftruncate(target, end)
    while start < end:
        try:
            start = os.lseek(source, start, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # only a hole is left
                return
            raise
        hole = min(os.lseek(source, start, os.SEEK_HOLE), end)
        os.lseek(target, start, os.SEEK_SET)
        while start < hole:
            start += os.sendfile(target, source, start, hole - start)
