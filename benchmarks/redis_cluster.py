"""A Redis Cluster of three masters, to be measured."""

from __future__ import annotations

import contextlib
import dataclasses
import secrets
import socket
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

from pytest_aistorage.bench.stores import Stores
from pytest_aistorage.config import StorageURL
from pytest_aistorage.servers.base import ServerSpec
from pytest_aistorage.servers.resolve import private_server

__all__ = ["RedisCluster", "cluster_of_three"]

_SLOTS: Final = 16384
_PATIENCE: Final = 60.0
"""Seconds until its nodes must agree; more only where something hangs."""


@dataclasses.dataclass(frozen=True, slots=True)
class RedisCluster:
    """Three masters, a third of the slots each, without replicas.

    Attributes:
        url: for `open_storage`, or as the cache of a hybrid.
        nodes: the URL of each.
        server: product and version.
    """

    url: str
    nodes: tuple[str, ...]
    server: str


@contextlib.contextmanager
def cluster_of_three(stores: Stores) -> Iterator[RedisCluster]:
    """Start one; it is gone afterwards.

    Raises:
        ServerUnavailableError: no provider has a Redis.
        TimeoutError: its nodes did not find each other.
    """
    import redis

    password = secrets.token_urlsafe(16)
    with contextlib.ExitStack() as exits:
        nodes, clients, buses = [], [], []
        version = ""
        for number in range(3):
            bus = _free_port()
            server = exits.enter_context(
                private_server(
                    ServerSpec.parse("redis"),
                    stores.options(f"cluster-{number}"),
                    settings={"appendonly": "no", "cluster-enabled": "yes", "cluster-port": str(bus)},
                )
            )
            with redis.Redis.from_url(server.direct_url) as client:
                client.config_set("requirepass", password)
            node = dataclasses.replace(StorageURL.parse(server.direct_url), password=password).render()
            nodes.append(node)
            buses.append(bus)
            clients.append(exits.enter_context(redis.Redis.from_url(node, decode_responses=True)))
            version = server.version
        for number, client in enumerate(clients):
            first, last = _SLOTS * number // 3, _SLOTS * (number + 1) // 3 - 1
            client.execute_command("CLUSTER ADDSLOTSRANGE", first, last)
            for node, bus in zip(nodes[:number], buses, strict=False):
                parts = StorageURL.parse(node)
                client.execute_command("CLUSTER MEET", parts.host, parts.port, bus)
        _wait(clients)
        first_node, *others = map(StorageURL.parse, nodes)
        url = dataclasses.replace(
            first_node,
            scheme="redis+cluster",
            path="",
            more_hosts=tuple((other.host or "", other.port) for other in others),
        )
        yield RedisCluster(url.render(), tuple(nodes), f"{version} as a cluster of 3 masters")


def _wait(clients: list[Any]) -> None:
    end = time.monotonic() + _PATIENCE
    while not all(_is_whole(client.execute_command("CLUSTER INFO")) for client in clients):
        if time.monotonic() > end:
            raise TimeoutError(f"the nodes of a Redis Cluster did not agree within {_PATIENCE:g} s")
        time.sleep(0.02)


def _is_whole(said: Mapping[str, str] | str) -> bool:
    if isinstance(said, str):  # of a driver that does not take it apart
        said = dict(line.split(":", 1) for line in said.split() if ":" in line)
    return said["cluster_state"] == "ok" and said["cluster_known_nodes"] == "3"


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])
