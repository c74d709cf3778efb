"""On which processors client and server run while one is compared with the other.

The scheduler places each connection's server process where it likes, beside the client or on another processor,
and leaves it there for seconds. A round trip to the one takes half as long as to the other, so that two
connections doing the very same differ by a factor of two, either way round.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

__all__ = ["apart"]


@contextlib.contextmanager
def apart(urls: Sequence[str]) -> Iterator[str]:
    """Keep this process on one processor and servers on the others, as on a machine of their own.

    Args:
        urls: the servers' administrators'; they must be processes on this machine, and ours.

    Yields:
        What was done, in words.
    """
    if sys.platform != "linux":
        yield "placed by the system's scheduler"
        return
    before = os.sched_getaffinity(0)
    if not urls or len(before) < 2:
        yield "no server to place" if not urls else "one processor for client and server"
        return
    first = min(before)
    processes = [_process_of(url) for url in urls]
    try:
        os.sched_setaffinity(0, {first})
        for process in processes:
            _pin(process, before - {first})
        yield "client and server on processors of their own"
    finally:
        os.sched_setaffinity(0, before)
        for process in processes:
            _pin(process, before)


def _pin(process: int, processors: set[int]) -> None:
    """All threads of a process; what it starts from now on inherits it."""
    for task in os.listdir(f"/proc/{process}/task"):
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(int(task), processors)


def _process_of(url: str) -> int:
    scheme = urlsplit(url).scheme
    if scheme == "redis":
        import redis

        with contextlib.closing(redis.Redis.from_url(url)) as client:
            return int(client.info("server")["process_id"])
    if scheme == "postgresql":
        import psycopg

        with psycopg.connect(url) as connection:
            (place,) = connection.execute("SHOW data_directory").fetchone() or ("",)
        return int((Path(place) / "postmaster.pid").read_text().splitlines()[0])
    import pymysql

    parts = urlsplit(url)
    connected = pymysql.connect(
        host=parts.hostname,
        port=parts.port or 3306,
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
    )
    with contextlib.closing(connected), connected.cursor() as cursor:
        cursor.execute("SELECT @@datadir, @@pid_file")
        directory, file = cursor.fetchone()
    return int((Path(directory) / file).read_text())
