"""How much of what was acknowledged is lost by SIGKILL and by a loss of power: measured, setting by setting."""

from __future__ import annotations

import functools
import os
import sqlite3
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from ..errors import AIStorageError, ServerUnavailableError, UnsupportedOperationError
from ..registry import open_storage
from ..servers.base import ServerOptions, ServerSpec
from .clients import PATIENCE, Client, ClientPool
from .errors import RaceError, StuckError
from .victims import FileVictim, Harm, ServerVictim, Victim
from .writing import Writing, acknowledged

__all__ = ["HARMS", "SETTINGS", "Durability", "Loss", "Setting", "crash_once", "measure"]

HARMS: tuple[Harm, ...] = ("kill", "power")

# Redis and InnoDB write to the disk once a second where they don't at each commit, PostgreSQL five times.
_MOMENTS = (0.3, 1.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What decides on the durability of a store.

    Attributes:
        backend: its name, such as ``"postgres"`` or ``"redis@valkey-8"``.
        name: the setting in the server's own words: ``"appendfsync everysec"``.
        settings: of the server.
        storage: options of the storage.
        keeps: by what nothing may be lost of what was acknowledged, as the server's or library's manual says.
        writers: how many there may be at once, where a storage does not bear more.
    """

    backend: str
    name: str
    settings: Mapping[str, str] = field(default_factory=dict)
    storage: Mapping[str, Any] = field(default_factory=dict)
    keeps: frozenset[Harm] = frozenset()
    writers: int | None = None


_BOTH: frozenset[Harm] = frozenset(HARMS)
_KILL: frozenset[Harm] = frozenset({"kill"})

SETTINGS = (
    Setting(
        backend="redis",
        name="appendfsync always",
        storage={"durability": "appendfsync-always"},
        keeps=_BOTH,
    ),
    Setting(
        backend="redis",
        name="appendfsync no",
        settings={"appendfsync": "no"},
        storage={"durability": "append-only"},
        keeps=_KILL,
    ),
    # Not even SIGKILL: while an fsync takes its time, Redis keeps back what it has acknowledged.
    Setting(backend="redis", name="appendfsync everysec", settings={"appendfsync": "everysec"}),
    Setting(backend="redis", name="appendonly no", settings={"appendonly": "no"}),
    Setting(backend="postgres", name="synchronous_commit on", keeps=_BOTH),
    Setting(backend="postgres", name="synchronous_commit off", settings={"synchronous_commit": "off"}),
    Setting(backend="postgres", name="fsync off", settings={"fsync": "off"}, keeps=_KILL),
    Setting(backend="mysql", name="innodb_flush_log_at_trx_commit 1", keeps=_BOTH),
    Setting(
        backend="mysql",
        name="innodb_flush_log_at_trx_commit 2",
        settings={"innodb-flush-log-at-trx-commit": "2"},
        keeps=_KILL,
    ),
    Setting(
        backend="mysql",
        name="innodb_flush_log_at_trx_commit 0",
        settings={"innodb-flush-log-at-trx-commit": "0"},
    ),
    Setting(backend="sqlite", name="synchronous FULL", keeps=_BOTH),
    Setting(backend="file", name="no fsync", writers=1),
)
"""The durable setting of each backend, and beside it those that lose."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """One crash under load.

    Attributes:
        seed: what the moment was drawn by.
        after: seconds from the moment when each writer had had a save acknowledged to the crash.
        acknowledged: saves that had returned.
        kept: those of them that are in what is stored afterwards.
        unreadable: why the store can't be read afterwards, if so; then nothing is kept.
    """

    seed: str
    after: float
    acknowledged: int
    kept: int
    unreadable: str | None = None

    @property
    def lost(self) -> int:
        """Acknowledged saves that are gone."""
        return self.acknowledged - self.kept


@dataclass(frozen=True, slots=True, kw_only=True)
class Durability:
    """What was measured of one setting.

    Attributes:
        setting: it.
        version: of the server or library.
        losses: the runs, by what was done.
        not_shown: why nothing was, by what should have been done.
    """

    setting: Setting
    version: str
    losses: Mapping[Harm, Sequence[Loss]]
    not_shown: Mapping[Harm, str] = field(default_factory=dict)

    @property
    def as_declared(self) -> bool:
        """Whether nothing was lost that must be kept."""
        return not any(loss.lost for harm in self.setting.keeps for loss in self.losses.get(harm, ()))


def measure(
    setting: Setting,
    options: ServerOptions,
    *,
    pool: ClientPool,
    runs: int = 5,
    writers: int = 4,
    seed: int = 0,
    moments: tuple[float, float] = _MOMENTS,
    harms: Sequence[Harm] = HARMS,
    progress: Callable[[Harm, int], None] | None = None,
) -> Durability:
    """Crash a store under load, again and again, and compare what was acknowledged with what was kept.

    Each writer is a process that saves a model of its own as fast as it can. At a moment that is drawn, the server
    (where there is none, the writers) gets SIGKILL, or loses its power; then it is started again and asked for the
    models.

    Args:
        setting: of the store.
        options: where its server may come from.
        pool: where writers come from.
        runs: crashes of each kind.
        writers: how many at once.
        seed: of the moments.
        moments: between how many seconds they are drawn, from when each writer has had a save acknowledged.
        harms: what is done.
        progress: told of what was done, and how often so far.

    Raises:
        ServerUnavailableError: there is no such server.
        RaceError: a writer failed before the crash.
        StuckError: one had no save acknowledged in time.
    """
    losses: dict[Harm, list[Loss]] = {harm: [] for harm in harms}
    not_shown: dict[Harm, str] = {}
    version = ""
    while any(len(found) < runs for found in losses.values()):  # once, unless a store does not come up again
        with tempfile.TemporaryDirectory(prefix="aiscrash") as place:
            try:
                victim = _victim(setting, options, Path(place), power="power" in losses)
            except UnsupportedOperationError as error:
                if "power" not in losses:
                    raise
                not_shown["power"] = str(error)
                del losses["power"]
                continue
            with victim:
                version = victim.version
                for harm, found in losses.items():
                    while len(found) < runs and victim.is_whole:
                        drawn = f"{seed}/{setting.backend}/{setting.name}/{harm}/{len(found)}"
                        found.append(
                            crash_once(
                                victim,
                                harm,
                                pool,
                                writers=setting.writers or writers,
                                seed=drawn,
                                moments=moments,
                            )
                        )
                        if progress is not None:
                            progress(harm, len(found))
    return Durability(setting=setting, version=version, losses=losses, not_shown=not_shown)


def crash_once(
    victim: Victim,
    harm: Harm,
    pool: ClientPool,
    *,
    writers: int = 4,
    seed: str = "0",
    moments: tuple[float, float] = _MOMENTS,
) -> Loss:
    """Crash a store under load once; the arguments are those of `measure`.

    Raises:
        RaceError: a writer failed before the crash.
        StuckError: one had no save acknowledged in time.
    """
    after = Random(seed).uniform(*moments)
    # Not below what loses its power: who counts is not on that machine.
    with tempfile.TemporaryDirectory(prefix="aisnotes") as notes:
        work = [Writing(f"{seed}/{number}", str(Path(notes) / str(number))) for number in range(writers)]
        clients = pool.clients(writers)
        try:
            for client in clients:
                client.open(victim.opener)
            for client, writing in zip(clients, work, strict=True):
                client.send("call", client.packed((writing, None)))
            deadline = time.monotonic() + PATIENCE
            while not all(
                os.path.exists(writing.notes) and os.path.getsize(writing.notes) for writing in work
            ):
                _check_going(clients)
                if time.monotonic() > deadline:
                    raise StuckError(f"not every writer had a save acknowledged within {PATIENCE:g} s")
                time.sleep(0.002)
            time.sleep(after)
            _check_going(clients)
            victim.crash(harm, clients)
        finally:
            for client in clients:
                if client.alive:
                    client.end()
        told = {writing.model_name: acknowledged(writing.notes) for writing in work}
    kept, unreadable = _kept(victim, told)
    return Loss(
        seed=seed,
        after=after,
        acknowledged=sum(map(len, told.values())),
        kept=kept,
        unreadable=unreadable,
    )


def _check_going(clients: Sequence[Client]) -> None:
    for client in clients:
        if client.channel.poll():  # it would write for ever
            outcome = client.answer()[2]
            raise RaceError(f"a writer {outcome.kind} before the crash") from outcome.error


def _kept(victim: Victim, told: Mapping[str, Sequence[int]]) -> tuple[int, str | None]:
    """How much of what was acknowledged is stored; why it can't be read, if so."""
    try:
        victim.restart()
        versions = victim.kept(told)
    except (AIStorageError, ServerUnavailableError) as error:
        victim.is_whole = False
        return 0, str(error)
    # Nobody else writes a writer's model, so its version counts the saves that it was made by.
    return sum(min(len(told[name]), version) for name, version in versions.items()), None


def _victim(setting: Setting, options: ServerOptions, place: Path, *, power: bool) -> Victim:
    if setting.backend in ("sqlite", "file"):
        name = "training.db" if setting.backend == "sqlite" else "training_metrics.json"
        opener = functools.partial(open_storage, f"{setting.backend}:///{place / name}", **setting.storage)
        version = f"SQLite {sqlite3.sqlite_version}" if setting.backend == "sqlite" else "JSON file"
        return FileVictim(place, opener, version, power=power)
    spec = ServerSpec.parse(setting.backend)
    return ServerVictim(spec, options, setting.settings, setting.storage, power=power)
