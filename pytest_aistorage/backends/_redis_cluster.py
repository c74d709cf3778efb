"""The way to a Redis Cluster: slots, who serves them, and the partitions in which a store is spread over them."""

from __future__ import annotations

import binascii
import functools
import random
import time
from collections.abc import Iterable, Mapping
from typing import Any, Final

from ..errors import ConfigurationError, StorageUnavailableError
from ._redis_link import Link, code_of
from ._redis_routes import Address, RoutedLink
from ._redis_scripts import Script

__all__ = ["PARTITIONS", "ClusterLink", "partition_of", "slot_of", "tags"]

SLOTS: Final = 16384
"""Hash slots of every Redis Cluster."""

PARTITIONS: Final = 256
"""Parts of a store, each with an index of its own, and in one slot. It belongs to the format: another number would
not find what is there. So a store can be spread over as many nodes, and a listing asks for as many indexes."""

_SLOTS_OF_A_PARTITION: Final = SLOTS // PARTITIONS


def slot_of(key: str) -> int:
    """Return the slot of a key, by the Redis Cluster specification: CRC16 (XMODEM) of its hash tag."""
    begin = key.find("{")
    if begin >= 0 and (end := key.find("}", begin + 1)) > begin + 1:
        key = key[begin + 1 : end]
    return binascii.crc_hqx(key.encode(), 0) % SLOTS


def partition_of(model_name: str) -> int:
    """Return the partition of a model: the one whose stretch of slots holds the slot of its name."""
    return binascii.crc_hqx(model_name.encode(), 0) % SLOTS // _SLOTS_OF_A_PARTITION


@functools.cache
def tags() -> tuple[str, ...]:
    """Return the hash tag of each partition: the least number whose slot is in the partition's stretch.

    So partitions are as even as can be over nodes that each serve a stretch of slots.
    """
    found: dict[int, str] = {}
    number = 0
    while len(found) < PARTITIONS:
        found.setdefault(slot_of(str(number)) // _SLOTS_OF_A_PARTITION, str(number))
        number += 1
    return tuple(found[partition] for partition in range(PARTITIONS))


class ClusterLink(RoutedLink):
    """Sends each command to the master that serves its key's slot; arguments are those of `RoutedLink`.

    While a slot is on its way to another node, a script waits until it has arrived, for its keys may be in both
    places; a reading command of one key is answered meanwhile.
    """

    _owners: list[Address | None] | None = None  # by slot
    _nodes: frozenset[Address] = frozenset()
    _in_doubt = False

    def run_each(
        self, script: Script, keys: int, lines: Mapping[int, tuple[Any, ...]], *, deadline: float
    ) -> dict[int, Any]:
        """Run a reading script once for each line of arguments: all that go to one node in one message.

        Args:
            script: of `_redis_scripts`.
            keys: how many of each line's arguments are keys, all of one slot.
            lines: by any number.
            deadline: as `deadline` gave it.

        Returns:
            The replies by the same numbers. They are of different moments.

        Raises:
            StorageUnavailableError, CorruptStorageError, ConfigurationError: as `Link.run`.
        """
        replies: dict[int, Any] = {}
        by_node: dict[Address, list[int]] = {}
        for number, line in lines.items():
            by_node.setdefault(self._owner(line[0], deadline), []).append(number)
        for address, numbers in by_node.items():
            commands = tuple(("EVALSHA", script.sha, keys, *lines[number]) for number in numbers)
            try:
                answers = self._link_to(address).ask(commands, deadline)
            except StorageUnavailableError:
                self._doubt()
                continue
            replies.update(zip(numbers, answers, strict=True))
        for number, line in lines.items():
            # What a node did not answer is asked for by itself, wherever it is now.
            if number not in replies or isinstance(replies[number], Exception):
                replies[number] = self.run(script, keys, *line, writing=False, deadline=deadline)
        return replies

    # -- what differs ---------------------------------------------------------------------------------------

    def _owner(self, key: Any, end: float) -> Address:
        owners = self._owners
        if owners is None or self._in_doubt:
            owners = self._refreshed(end)
        if (found := owners[slot_of(key)]) is None:
            raise _not_yet(f"{self.location()}: no node serves slot {slot_of(key)}")
        return found

    def _responsible(self, end: float) -> list[Link]:
        owners = self._owners
        if owners is None or self._in_doubt:
            owners = self._refreshed(end)
        if None in owners:
            raise StorageUnavailableError(f"{self.location()}: no node serves slot {owners.index(None)}")
        return [self._link_to(address) for address in dict.fromkeys(owners) if address is not None]

    def _doubt(self) -> None:
        self._in_doubt = True

    def _redirected(self, refusal: Exception, key: Any, asked: Address) -> Address | bool:
        code = code_of(refusal)
        if code in ("MOVED", "ASK"):
            host, _, port = str(refusal).split()[-1].rpartition(":")
            there = host or asked[0], int(port)
            if code == "ASK":
                return there
            if self._owners is not None:
                self._owners[slot_of(key)] = there
            return True
        # The last: a script came upon a key, not declared, that has left already. No script of ours writes before.
        return code in ("TRYAGAIN", "CLUSTERDOWN", "MASTERDOWN", "LOADING") or "non local key" in str(refusal)

    # -- inside ---------------------------------------------------------------------------------------------

    def _refreshed(self, end: float) -> list[Address | None]:
        """Ask the nodes one after the other which of them serves which slot."""
        self._in_doubt = False
        known = list(self._nodes)
        random.shuffle(known)
        failure: StorageUnavailableError | None = None
        for address in dict.fromkeys([*known, *self._seeds()]):
            link = self._link_to(address)
            share = time.monotonic() + max(0.1, (end - time.monotonic()) / 2)
            try:
                reply = link.ask((("CLUSTER", "SLOTS"),), min(end, share))[0]
                if "cluster support disabled" in str(reply):
                    raise ConfigurationError(f"{link.location()}: no node of a Redis Cluster")
                owners = self._understood(link.answer(reply), address)
            except StorageUnavailableError as error:
                failure = error
                continue
            self._owners = owners
            return owners
        self._in_doubt = True
        raise StorageUnavailableError(f"{self.location()}: no node answers; at last: {failure}") from None

    def _understood(self, ranges: Iterable[Any], asked: Address) -> list[Address | None]:
        owners: list[Address | None] = [None] * SLOTS
        nodes = set()
        for first, last, *served_by in ranges:
            # A node that does not know its own name is the one that was asked.
            addresses = [((host or b"").decode() or asked[0], int(port)) for host, port, *_ in served_by]
            nodes.update(addresses)
            owners[first : last + 1] = [addresses[0]] * (last + 1 - first)
        self._nodes = frozenset(nodes)
        return owners


def _not_yet(what: str) -> StorageUnavailableError:
    """An error that a later try may not meet."""
    error = StorageUnavailableError(what)
    error.__cause__ = OSError(what)
    return error
