"""On which processors client and server run while one is compared with the other.

The scheduler places each connection's server process where it likes, beside the client or on another processor,
and leaves it there for seconds. A round trip to the one takes half as long as to the other, so that two
connections doing the very same differ by a factor of two, either way round.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

__all__ = ["apart"]


@contextlib.contextmanager
def apart(url: str | None) -> Iterator[str]:
    """Keep this process on one processor and a server on the others, as on a machine of its own.

    Args:
        url: the server administrator's; None where there is no server.

    Yields:
        What was done, in words.
    """
    if sys.platform != "linux":
        yield "placed by the system's scheduler"
        return
    before = os.sched_getaffinity(0)
    if url is None or len(before) < 2:
        yield "no server to place" if url is None else "one processor for client and server"
        return
    first = min(before)
    process = _process_of(url)
    try:
        os.sched_setaffinity(0, {first})
        _pin(process, before - {first})
        yield "client and server on processors of their own"
    finally:
        os.sched_setaffinity(0, before)
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
        host=parts.hostname, port=parts.port or 3306, user=parts.username, password=parts.password or ""
    )
    with contextlib.closing(connected), connected.cursor() as cursor:
        cursor.execute("SELECT @@datadir, @@pid_file")
        directory, file = cursor.fetchone()
    return int((Path(directory) / file).read_text())
