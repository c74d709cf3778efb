"""What a server's own settings say about what survives: as it reports them, and in words."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

__all__ = ["IN_MEMORY", "IN_PLACE", "WAL", "Promise", "filesystem", "promise_of"]

_MEMORY_FILE_SYSTEM = "/dev/shm"

_COMMITS = {
    # fsync, synchronous_commit
    ("on", "on"): "fsync at each commit",
    ("on", "off"): "fsync within a second of a commit",
    ("off", "on"): "no fsync",
    ("off", "off"): "no fsync",
}
_FLUSHES = {
    0: "written and fsynced each second",
    1: "fsync at each commit",
    2: "written at each commit, fsync each second",
}
_APPENDS = {
    "always": "append-only file, fsync at each write",
    "everysec": "append-only file, fsync each second",
    "no": "append-only file, fsync by the system",
}


@dataclass(frozen=True, slots=True)
class Promise:
    """When what was acknowledged is on a disk.

    Attributes:
        words: in a table.
        settings: those that decide it, as the server reports them.
    """

    words: str
    settings: str


IN_MEMORY = Promise("process memory", "none: gone with the process")
IN_PLACE = Promise("written in place, no fsync", "none: written in place, not synchronized")
WAL = Promise("fsync at each commit", "journal_mode=WAL, synchronous=FULL")


def filesystem(path: Path | str) -> str:
    """Say what lies under a path, as far as it can be told."""
    return "in memory" if str(path).startswith(_MEMORY_FILE_SYSTEM) else "on disk"


def promise_of(url: str, *, local: bool = True) -> Promise:
    """Ask a server for the settings that decide what survives a crash.

    Args:
        url: of a client that may connect.
        local: whether its directories are on this machine.
    """
    scheme = urlsplit(url).scheme
    if scheme in ("redis", "rediss", "valkey", "unix"):
        return _of_redis(url, local=local)
    return _of_postgres(url, local=local) if scheme == "postgresql" else _of_mysql(url, local=local)


def _settings(found: Mapping[str, object], place: str, *, local: bool) -> str:
    said = [f"{name}={value}" for name, value in found.items()]
    return ", ".join([*said, *([filesystem(place)] if local else [])])


def _of_redis(url: str, *, local: bool) -> Promise:
    import redis

    client = redis.Redis.from_url(url, decode_responses=True)
    with contextlib.closing(client):
        try:
            found: dict[str, str] = client.config_get("append*", "dir")  # type: ignore[assignment]
        except redis.ResponseError:  # a managed server, or a user without the right, tells nothing
            return Promise("not told by the server", "not told by the server")
    if found["appendonly"] != "yes":
        return Promise("no append-only file: server memory", "appendonly=no")
    told = {name: found[name] for name in ("appendonly", "appendfsync")}
    words = _APPENDS.get(found["appendfsync"], "append-only file")
    return Promise(words, _settings(told, found["dir"], local=local))


def _of_postgres(url: str, *, local: bool) -> Promise:
    import psycopg

    names = ("fsync", "synchronous_commit", "full_page_writes")
    with psycopg.connect(url) as connection:

        def shown(name: str) -> str:
            return str((connection.execute(f"SHOW {name}").fetchone() or ("",))[0])

        found = {name: shown(name) for name in names}
        place = shown("data_directory") if local else ""
    words = _COMMITS.get((found["fsync"], found["synchronous_commit"]), "fsync at each commit, and a replica")
    return Promise(words, _settings(found, place, local=local))


def _of_mysql(url: str, *, local: bool) -> Promise:
    import pymysql

    parts = urlsplit(url)
    connection = pymysql.connect(
        host=parts.hostname,
        port=parts.port or 3306,
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
    )
    with contextlib.closing(connection), connection.cursor() as cursor:
        cursor.execute("SELECT @@innodb_flush_log_at_trx_commit, @@innodb_doublewrite, @@datadir")
        flush, doublewrite, place = cursor.fetchone()
    found = {"innodb_flush_log_at_trx_commit": flush, "innodb_doublewrite": doublewrite}
    return Promise(_FLUSHES.get(int(flush), "unknown"), _settings(found, str(place), local=local))
