"""Records in a Redis Cluster, or a Valkey one: each model in one slot, each change of it atomic."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator, Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Any, ClassVar, Final

from .. import codec, config
from .._failpoints import reach
from ..capabilities import Capability
from ..errors import AIStorageError, ConfigurationError, OutcomeUnknownError
from ..passwords import Passwords
from ..progress import AIProgress
from . import _redis_scripts as scripts
from ._redis_cluster import PARTITIONS, ClusterLink, partition_of, tags
from ._redis_failover import FailoverStorage
from ._redis_records import Keyspace, milliseconds, stamped_by
from ._redis_replicas import Replicas

__all__ = ["RedisClusterStorage"]

# Names that a listing fetches at least of each partition at a time: fewer would cost more round trips than memory.
_LEAST_PAGE: Final = 8

_SPREAD: Final = "the records lie in many slots, which no script can reach at one moment"


class RedisClusterStorage(FailoverStorage):
    """Records in a Redis Cluster 7 and later, or a Valkey one.

    The records of a store are spread over 256 partitions, each with its index in one slot, so that a save, a
    compare-and-set, an update and a delete are one atomic script, as on one server. A batch is saved partition by
    partition; a listing asks all of them, one node after the other.

    Who serves a slot is asked for once and learned anew when that changes. While a slot is on its way to another
    node, a change of a model in it waits until it has arrived; while a replica takes over, all operations on its
    slots wait. Both end with ``timeout``: `StorageUnavailableError`, nothing was written. A write that was sent and
    whose reply was lost is never sent again: `OutcomeUnknownError`.

    Args:
        url: ``redis+cluster://user:password@host:7000,host:7001``: any nodes of the cluster, from which the others
            are learned. With TLS ``rediss+cluster://``, and the ``ssl_…`` parameters of `RedisStorage`. Also
            ``valkey+cluster://`` and ``valkeys+cluster://``. Each option below can stand in its query.
        prefix: begins every key; it must not hold a brace, because those choose the slot.
        ttl: the time to live of a save that gives none; in the URL in seconds.
        timeout: seconds that one operation may take, 5 by default. A failover takes longer than the cluster's
            ``cluster-node-timeout`` (15 s unless it is set); an operation that is to outlast it needs more than that.
        max_connections: to each node; threads beyond so many wait for one another; 50 by default.
        wait: how many replicas must have a write before it is acknowledged; see `RedisStorage`. With one replica for
            each master and ``wait=1``, no acknowledged write is lost with a master.
        wait_aof: the same, fsynced.
        password_provider: of the user of all nodes; see `RedisStorage`.

    Raises:
        ConfigurationError: a URL or an option that can't be right. From the first operation: the server is no node
            of a cluster, its settings let it drop any key, or it does not know ``WAITAOF``.
    """

    schemes: ClassVar[tuple[str, ...]] = (
        "redis+cluster",
        "rediss+cluster",
        "valkey+cluster",
        "valkeys+cluster",
    )
    withheld: ClassVar[Mapping[Capability, str]] = MappingProxyType(
        {
            **FailoverStorage.withheld,
            Capability.ATOMIC_BATCH: _SPREAD,
            Capability.SNAPSHOT_LISTING: _SPREAD,
        }
    )

    _link: ClusterLink

    def _routes(
        self,
        url: config.StorageURL,
        *,
        timeout: float,
        max_connections: int,
        replicas: Replicas | None,
        passwords: Passwords,
    ) -> ClusterLink:
        if url.path.strip("/") not in ("", "0") or url.query.get("db", "0") != "0":
            raise ConfigurationError(f"{url.scheme}:// URL: a Redis Cluster has the database 0 alone")
        return ClusterLink(
            url.without("db"),
            path="/0",
            timeout=timeout,
            max_connections=max_connections,
            replicas=replicas,
            passwords=passwords,
        )

    def _begin(self, link: Any, options: Mapping[str, Any]) -> None:
        super()._begin(link, options)
        if "{" in self._prefix or "}" in self._prefix:
            raise ConfigurationError("option prefix: no brace on a Redis Cluster: it would choose the slot")
        self._keyspaces = [Keyspace(f"{self._prefix}{{{tag}}}:") for tag in tags()]
        self.capabilities = frozenset(
            {
                Capability.SHARED_BETWEEN_PROCESSES,
                Capability.SURVIVES_CLOSE,
                Capability.SURVIVES_CLIENT_CRASH,
                Capability.EXPIRY,
            }
        )

    # -- hooks ----------------------------------------------------------------------------------------------

    def _save_many(self, records: list[AIProgress], ttl: timedelta | None) -> list[AIProgress]:
        places: dict[int, list[int]] = {}
        for place, record in enumerate(records):
            places.setdefault(partition_of(record.model_name), []).append(place)
        texts = [codec.fields_to_text(record) for record in records]
        saved: dict[int, AIProgress] = {}
        deadline = self._link.deadline()
        for partition, chosen in places.items():
            keys = self._keyspaces[partition]
            # All of them are declared, so that a slot which is on its way is noticed before the first write.
            declared = [keys.index, keys.expiring]
            arguments: list[Any] = [keys.record, keys.version, milliseconds(ttl)]
            for place in chosen:
                declared += keys.of(records[place].model_name)[:2]
                arguments += (records[place].model_name, texts[place])
            reach("before_write")
            try:
                reply = self._readable(
                    self._link.run(scripts.BATCH, len(declared), *declared, *arguments, deadline=deadline)
                )
            except AIStorageError as error:
                if not saved:
                    raise
                raise OutcomeUnknownError(
                    f"{len(saved)} of {len(records)} records of the batch were saved before this: {error}"
                ) from error
            stamps = iter(reply.split())
            for place, *stamp in zip(chosen, stamps, stamps, stamps, strict=True):
                saved[place] = stamped_by(records[place], *stamp)
        return [saved[place] for place in range(len(records))]

    def _load(self) -> list[AIProgress]:
        lines = {
            partition: (keys.index, keys.record, "-", "+", -1)
            for partition, keys in enumerate(self._keyspaces)
        }
        replies = self._link.run_each(scripts.PAGE, 1, lines, deadline=self._link.deadline())
        found = [record for reply in replies.values() for record in self._understood(reply)[0]]
        return sorted(found, key=lambda record: record.model_name)

    def _count(self) -> int:
        lines = {
            partition: (keys.index, keys.expiring, keys.record)
            for partition, keys in enumerate(self._keyspaces)
        }
        replies = self._link.run_each(scripts.COUNT, 2, lines, deadline=self._link.deadline())
        return sum(map(int, replies.values()))

    # -- inside ---------------------------------------------------------------------------------------------

    def _keyspace(self, model_name: str) -> Keyspace:
        return self._keyspaces[partition_of(model_name)]

    def _pages(self, least: str | bytes, greatest: str | bytes, size: int) -> Iterator[AIProgress]:
        """Merge the partitions, each of which is in order; whenever one runs out, ask all that are short."""
        page = max(_LEAST_PAGE, -(-size // PARTITIONS))
        waiting: list[deque[AIProgress]] = [deque() for _ in range(PARTITIONS)]
        begins: dict[int, str | bytes] = dict.fromkeys(range(PARTITIONS), least)  # of those with more to come
        heads: list[tuple[str, int]] = []
        while True:
            while any(not waiting[partition] for partition in begins):
                self._fetch(begins, waiting, heads, greatest, page)
            if not heads:
                return
            exhausted = False
            while heads and not exhausted:
                partition = heads[0][1]
                record = waiting[partition].popleft()
                if waiting[partition]:
                    heapq.heapreplace(heads, (waiting[partition][0].model_name, partition))
                else:
                    heapq.heappop(heads)
                    exhausted = partition in begins
                yield record

    def _fetch(
        self,
        begins: dict[int, str | bytes],
        waiting: list[deque[AIProgress]],
        heads: list[tuple[str, int]],
        greatest: str | bytes,
        page: int,
    ) -> None:
        lines = {}
        for partition, least in begins.items():
            if len(waiting[partition]) < page:
                keys = self._keyspaces[partition]
                lines[partition] = (keys.index, keys.record, least, greatest, page)
        replies = self._link.run_each(scripts.PAGE, 1, lines, deadline=self._link.deadline())
        for partition, reply in replies.items():
            records, met, last = self._understood(reply)
            if met < page:
                del begins[partition]
            else:
                begins[partition] = b"(" + last
            if records and not waiting[partition]:
                heapq.heappush(heads, (records[0].model_name, partition))
            waiting[partition].extend(records)
