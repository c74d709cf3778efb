"""The kinds of servers by name."""

from __future__ import annotations

from pytest_aistorage.servers.kind import ServerKind
from pytest_aistorage.servers.mysql import MySQL
from pytest_aistorage.servers.postgres import Postgres
from pytest_aistorage.servers.redis import Redis

__all__ = ["KINDS"]

KINDS: dict[str, ServerKind] = {"postgres": Postgres(), "redis": Redis(), "mysql": MySQL()}
