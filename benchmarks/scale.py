"""What several clients get out of one store, and how much of their work its database sees."""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from pytest_aistorage import ServerUnavailableError, open_storage
from pytest_aistorage.bench.figures import Column, Report, Row
from pytest_aistorage.bench.records import realistic
from pytest_aistorage.bench.settings import Settings

from .redis_cluster import RedisCluster, cluster_of_three
from .scale_clients import Clients, Work, clients_of

__all__ = ["run"]

_MODELS: Final = 50
_NAMES: Final = [f"model-{place:03}" for place in range(_MODELS)]
_WRITE_EVERY: Final = 20
_SECONDS: Final = 5.0
_ROUNDS: Final = 3
_SETTLING: Final = 20.0
"""Seconds after which copies are kept in a Redis Cluster that nobody has used before: three timeouts and a bit."""


@dataclass(frozen=True, slots=True)
class _Subject:
    """A store to be used by several clients.

    Attributes:
        name: in the table.
        url: of the store.
        database: the URL of its PostgreSQL; None: it has none.
        redis: the URLs of its Redis servers.
        server: products and versions, and what they promise.
    """

    name: str
    url: str
    database: str | None
    redis: tuple[str, ...]
    server: str


def run(settings: Settings) -> Report:
    """Measure the storages of the guide's advice, from a database to a Redis Cluster before it."""
    seconds, numbers = (0.5, (2,)) if settings.quick else (_SECONDS, (1, 8))
    report = Report(
        name="scale",
        title="Several clients, and what their database sees of them",
        labels=("storage", "clients"),
        columns=[
            Column("operations", "/s", 0),
            Column("read p50", "ms"),
            Column("read p99", "ms"),
            Column("write p50", "ms"),
            Column("write p99", "ms"),
            Column("database", "transactions/s", 0),
            Column("busiest Redis", "% of commands", 0),
        ],
        method=(
            f"Each client is a process that reads and writes {_MODELS} models at random, one call after the other, "
            f"for {seconds:g} s; one call in {_WRITE_EVERY} is a write. {settings.rounds(_ROUNDS, 1)} rounds of the "
            "storages in turn; each figure is the median of its rounds. Transactions are those that PostgreSQL has "
            "counted, commands those that each Redis has. Clients and servers share the processors.",
        ),
    )
    settings.say("scale: starting servers")
    with contextlib.ExitStack() as exits:
        try:
            cluster = exits.enter_context(cluster_of_three(settings.stores))
            subjects = _subjects(settings, cluster)
        except ServerUnavailableError as error:
            report.notes.append(str(error))
            return report
        clients = exits.enter_context(clients_of(numbers))
        for subject in subjects:
            with open_storage(subject.url) as storage:
                storage.save_progress(realistic(_NAMES[0], 0))  # makes the tables
                for place, name in enumerate(_NAMES):
                    storage.save_progress(realistic(name, place))
        time.sleep(0 if settings.quick else _SETTLING)
        found: dict[tuple[str, int], list[dict[str, float]]] = {}
        for _ in range(settings.rounds(_ROUNDS, 1)):
            for number in numbers:
                for subject in subjects:
                    settings.say(f"scale: {subject.name}, {number}")
                    figures = _measured(subject, clients, number, seconds)
                    found.setdefault((subject.name, number), []).append(figures)
        report.servers.extend(f"{subject.name}: {subject.server}" for subject in subjects)
    for (name, number), rounds in found.items():
        medians = {key: statistics.median(one[key] for one in rounds) for key in rounds[0]}
        report.rows.append(Row(labels=(name, str(number)), figures=medians))
    return report


def _subjects(settings: Settings, cluster: RedisCluster) -> list[_Subject]:
    stores = settings.stores
    database, cached, clustered = (stores.durable("postgres") for _ in range(3))
    cache = stores.cache()
    keeps = f"{database.server}; {database.promise.settings}"
    return [
        _Subject("database", database.url, database.url, (), keeps),
        _Subject(
            "hybrid",
            cached.having(cache=cache.url).url,
            cached.url,
            (cache.url,),
            f"the same, cached by {cache.server}; {cache.promise.settings}",
        ),
        _Subject(
            "hybrid with a Redis Cluster",
            clustered.having(cache=cluster.url).url,
            clustered.url,
            cluster.nodes,
            f"the same, cached by {cluster.server}; appendonly=no",
        ),
        _Subject("Redis Cluster alone", cluster.url, None, cluster.nodes, f"{cluster.server}; appendonly=no"),
    ]


def _measured(subject: _Subject, clients: Clients, number: int, seconds: float) -> dict[str, float]:
    transactions = _transactions(subject.database)
    commands = [_commands(url) for url in subject.redis]
    work = clients.run(number, subject.url, _NAMES, seconds=seconds, write_every=_WRITE_EVERY)
    operations = len(work.reads) + len(work.writes)
    figures = {"operations": operations / seconds, **_latencies(work)}
    if subject.database is not None:
        more = _transactions(subject.database) - transactions
        figures["database"] = more / seconds
    if subject.redis:
        shares = [_commands(url) - before for url, before in zip(subject.redis, commands, strict=True)]
        figures["busiest Redis"] = 100 * max(shares) / sum(shares)
    return figures


def _latencies(work: Work) -> dict[str, float]:
    figures = {}
    for name, seconds in (("read", work.reads), ("write", work.writes)):
        if len(seconds) > 1:
            hundredths = statistics.quantiles(seconds, n=100, method="inclusive")
            figures[f"{name} p50"], figures[f"{name} p99"] = 1000 * hundredths[49], 1000 * hundredths[98]
    return figures


def _transactions(url: str | None) -> int:
    """Transactions of a database so far, when all others have left: what they did is counted when they leave."""
    if url is None:
        return 0
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:

        def asked(statement: str) -> int:
            row = connection.execute(statement).fetchone()
            assert row is not None
            return int(row[0])

        others = (
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
            "AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )
        _until(lambda: asked(others) == 0)
        return asked(
            "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()"
        )


def _commands(url: str) -> int:
    import redis

    with redis.Redis.from_url(url.partition("?")[0]) as client:
        return int(client.info("stats")["total_commands_processed"])


def _until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not holds():
        if time.monotonic() > end:
            raise TimeoutError("a client of the database did not leave it")
        time.sleep(0.01)
