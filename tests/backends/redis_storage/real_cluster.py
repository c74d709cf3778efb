"""Redis Clusters and Sentinels of real servers, started by the tests themselves."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import redis
from real_redis import Server
from redis.backoff import NoBackoff
from redis.retry import Retry

PATIENCE = 60.0
"""Seconds that anything may take; more only where something hangs."""


def free_ports(number: int) -> list[int]:
    """Ports that nobody listens on at this moment."""
    with contextlib.ExitStack() as stack:
        taken = [stack.enter_context(socket.socket()) for _ in range(number)]
        for one in taken:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in taken]


def until(holds: Callable[[], bool], what: str) -> None:
    """Wait for something that will be so."""
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, f"it never came to be that {what}"
        time.sleep(0.02)


class Node(Server):
    """A server on a port of its own, with its log in a file: nobody reads its output while it lives."""

    _command: list[str]

    def __init__(self, program: str, *settings: str) -> None:
        for _ in range(5):
            (self.port,) = free_ports(1)
            try:
                super().__init__(program, *self._settings(), *settings)
            except RuntimeError as taken:  # by somebody who came between
                failure = taken
            else:
                return
        raise failure

    def _settings(self) -> list[str]:
        settings = ["--port", str(self.port), "--bind", "127.0.0.1", "--protected-mode", "no"]
        return [*settings, "--repl-diskless-sync-delay", "0"]

    def start(self) -> None:
        """Return when it answers."""
        log = self.directory / "log"
        command = [*self._command, "--logfile", str(log)]
        self.process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True
        )

        def answers() -> bool:
            if self.process.poll() is not None:
                raise RuntimeError(f"the server ended: {log.read_text()[-2000:]}")
            with self.client(retry=Retry(NoBackoff(), 0)) as client:
                try:
                    return bool(client.execute_command("PING"))
                except redis.AuthenticationError:
                    return True
                except redis.RedisError:
                    return False

        until(answers, "the server answers")

    def role(self) -> str:
        """``master`` or ``slave``."""
        with self.client(decode_responses=True) as client:
            return str(client.execute_command("ROLE")[0])


class ClusterNode(Node):
    """A node of a Redis Cluster."""

    def _settings(self) -> list[str]:
        (self.bus,) = free_ports(1)
        return [
            *super()._settings(),
            *("--cluster-enabled", "yes", "--cluster-port", str(self.bus)),
            *("--cluster-config-file", "nodes.conf"),
        ]

    def say(self, *words: Any) -> Any:
        """Send a command, and return the reply."""
        with self.client(decode_responses=True) as client:
            return client.execute_command(*words)


class Cluster:
    """Three masters, a third of the slots each, and a replica for each of them.

    Args:
        program: the server's binary.
        settings: of all nodes.
    """

    def __init__(self, program: str, *settings: str) -> None:
        self.nodes = [ClusterNode(program, *settings) for _ in range(6)]
        self.masters, self.replicas = self.nodes[:3], self.nodes[3:]
        for number, node in enumerate(self.nodes):
            node.say("CLUSTER SET-CONFIG-EPOCH", number + 1)
            for other in self.nodes[:number]:
                node.say("CLUSTER MEET", "127.0.0.1", other.port, other.bus)
        for number, node in enumerate(self.masters):
            first, last = 16384 * number // 3, 16384 * (number + 1) // 3 - 1
            node.say("CLUSTER ADDSLOTSRANGE", first, last)
        self.ids = [str(node.say("CLUSTER MYID")) for node in self.nodes]
        until(lambda: all(self._known(node) == 6 for node in self.nodes), "all nodes know each other")
        for number, node in enumerate(self.replicas):
            node.say("CLUSTER REPLICATE", self.ids[number])
        until(self.is_whole, "the cluster is whole")

    @property
    def url(self) -> str:
        """Where a storage finds it: two of its nodes, the second of which is a replica."""
        return f"redis+cluster://127.0.0.1:{self.nodes[0].port},127.0.0.1:{self.nodes[5].port}"

    def _known(self, node: ClusterNode) -> int:
        return int(info(node, "CLUSTER INFO")["cluster_known_nodes"])

    def is_whole(self) -> bool:
        """Whether all nodes agree that all is well, and each master has its replica."""
        for node in self.nodes:
            if info(node, "CLUSTER INFO")["cluster_state"] != "ok":
                return False
            said = info(node, "INFO replication")
            if said["role"] == "master" and said["connected_slaves"] != "1":
                return False
            if said["role"] == "slave" and said["master_link_status"] != "up":
                return False
        return True

    @property
    def product(self) -> str:
        """``Redis`` or ``Valkey``."""
        return "Valkey" if "valkey_version" in info(self.nodes[0], "INFO server") else "Redis"

    def owner(self, slot: int) -> ClusterNode:
        """The master that serves a slot, as its nodes say."""
        asked = next(node for node in self.nodes if node.process.poll() is None)
        for line in raw(asked, "CLUSTER NODES").splitlines():
            words = line.split()
            if "master" in words[2] and any(_covers(stretch, slot) for stretch in words[8:]):
                return self.nodes[self.ids.index(words[0])]
        raise AssertionError(f"nobody serves slot {slot}")

    def id_of(self, node: ClusterNode) -> str:
        """The name by which the nodes know it."""
        return self.ids[self.nodes.index(node)]

    def begin_to_move(self, slot: int, source: ClusterNode, target: ClusterNode) -> Move:
        """Declare that a slot is on its way, and leave its keys where they are."""
        return Move(self, slot, source, target)

    def close(self) -> None:
        """End it and remove its data."""
        for node in self.nodes:
            node.close()


def fail_over(cluster: Cluster, master: ClusterNode, replica: ClusterNode) -> None:
    """SIGKILL the master. Only then, and only for so long, are the others quick to give a node up.

    Otherwise a slow machine would make a replica take over at a moment that nobody chose.
    """
    master.kill()
    alive = [node for node in cluster.nodes if node is not master]
    for node in alive:
        node.say("CONFIG SET", "cluster-node-timeout", 500)
    until(lambda: replica.role() == "master", "the replica takes over")
    for node in alive:
        node.say("CONFIG SET", "cluster-node-timeout", 15_000)


def raw(node: Node, command: str) -> str:
    """What a server answers, word for word."""
    with node.client() as client:
        connection = client.connection_pool.get_connection()
        try:
            connection.send_command(*command.split())
            return str(connection.read_response(disable_decoding=True).decode())
        finally:
            client.connection_pool.release(connection)


def info(node: Node, command: str) -> dict[str, str]:
    """What a server answers in lines of ``name:value``."""
    pairs = (line.partition(":") for line in raw(node, command).splitlines())
    return {name: value for name, _, value in pairs}


def _covers(stretch: str, slot: int) -> bool:
    if stretch.startswith("["):  # on its way
        return False
    first, _, last = stretch.partition("-")
    return int(first) <= slot <= int(last or first)


class Move:
    """A slot on its way from one master to another, key by key.

    Args:
        cluster: all nodes, which are told in the end.
        slot: its number.
        source: the master that serves it.
        target: the master that is to.
    """

    def __init__(self, cluster: Cluster, slot: int, source: ClusterNode, target: ClusterNode) -> None:
        self._cluster, self._slot, self._source, self._target = cluster, slot, source, target
        target.say("CLUSTER SETSLOT", slot, "IMPORTING", cluster.id_of(source))
        source.say("CLUSTER SETSLOT", slot, "MIGRATING", cluster.id_of(target))

    def some(self, *keys: str) -> None:
        """Let these keys go."""
        milliseconds = int(PATIENCE * 1000)
        self._source.say("MIGRATE", "127.0.0.1", self._target.port, "", 0, milliseconds, "KEYS", *keys)

    def rest(self) -> None:
        """Let all keys go that are left, a few at a time."""
        while keys := self._source.say("CLUSTER GETKEYSINSLOT", self._slot, 3):
            self.some(*keys)

    def finish(self) -> None:
        """Let the target serve the slot; all masters know at once."""
        for node in (self._target, self._source, *self._cluster.nodes):
            if node.role() == "master":
                node.say("CLUSTER SETSLOT", self._slot, "NODE", self._cluster.id_of(self._target))


class Sentinel(Node):
    """A Redis Sentinel; it writes what it learns into its file of settings."""

    def __init__(self, program: str, master: Node, *settings: str) -> None:
        self._watched = master
        super().__init__(program, *settings)

    def _settings(self) -> list[str]:
        return []

    def start(self) -> None:
        """Return when it answers."""
        path = self.directory / "sentinel.conf"
        path.write_text(
            f"port {self.port}\nbind 127.0.0.1\nprotected-mode no\nunixsocket {self.socket}\n"
            f"sentinel monitor training 127.0.0.1 {self._watched.port} 1\n"
            "sentinel down-after-milliseconds training 60000\n"
            # It waits twice that long before it tries again, where it did not find the replica fit at first.
            "sentinel failover-timeout training 3000\n"
        )
        self._command = [self._command[0], str(path), "--sentinel"]
        super().start()


@contextlib.contextmanager
def cluster_of(program: str, *settings: str) -> Iterator[Cluster]:
    """A cluster, ended afterwards."""
    cluster = Cluster(program, *settings)
    try:
        yield cluster
    finally:
        cluster.close()
