"""A process that joins a watched directory and does with a file in it what it is told, a line each."""

from __future__ import annotations

import mmap
import os
import sys

from pytest_aistorage.servers.power import _joined


def main(inbox: str, path: str) -> None:
    """Answer each line of the standard input when it is done."""
    _joined(inbox, lambda: None)
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    for line in sys.stdin:
        command, _, text = line.rstrip("\n").partition(" ")
        if command == "write":
            os.pwrite(file, text.encode(), 0)
        elif command in ("fsync", "fdatasync"):
            getattr(os, command)(file)
        elif command == "sync":
            os.sync()
        elif command == "map":
            os.ftruncate(file, mmap.PAGESIZE)
            with mmap.mmap(file, mmap.PAGESIZE) as mapped:
                mapped[: len(text)] = text.encode()
                mapped.flush()
        elif command == "O_SYNC":
            os.close(os.open(path, os.O_WRONLY | os.O_SYNC))
        elif command == "replace":
            with open(f"{path}.new", "w") as new:
                new.write(text)
            os.replace(f"{path}.new", path)
        print(command, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
