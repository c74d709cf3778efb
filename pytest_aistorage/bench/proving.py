"""Concurrent-safe, and persistent: tried in this run, never taken from a declaration."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from typing import Self

from ..backends.file import FileStorage
from ..errors import AIStorageError, ServerUnavailableError
from ..races.clients import ClientPool
from ..races.durability import Durability, Setting, crash_once, measure
from ..races.errors import RaceError
from ..races.proof import Evidence, Proof, Verdict, prove
from ..races.subjects import Subject
from ..registry import open_storage
from .behind import CacheVictim
from .figures import Shown
from .records import small
from .settings import Settings
from .stores import SERVERS, Store

__all__ = ["Prover", "gone_with_process"]

_RACES = ("lost update", "torn read", "stress")
_FOREIGN = "a server of somebody else is not crashed"
_WORDS = {"kill": "SIGKILL", "power": "power loss"}
_SOON = (0.1, 0.4)
"""Seconds after which a store under load is crashed: what is fsynced once a second is not yet on the disk."""

PROVEN, LOSS = "proven", "loss shown"


class Prover:
    """Races clients of a store, and crashes stores. A context manager: clients are processes that it ends.

    Args:
        settings: how much, and where servers come from.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._pool = ClientPool()
        self._races: dict[str, Shown] = {}

    def __enter__(self) -> Self:
        self._pool.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        self._pool.__exit__(*exception)

    def concurrent(self, name: str, store: Callable[[], Store]) -> Shown:
        """Say whether clients at once lose anything: all schedules of two clients, and a race of several.

        Args:
            name: of the backend; one that was raced before is not raced again.
            store: makes an empty one.
        """
        if name not in self._races:
            self._races[name] = self._shown("races", lambda: _of_races(self._raced(name, store())))
        return self._races[name]

    def persistent(self, setting: Setting) -> Shown:
        """Say what of the acknowledged saves of several clients is left after SIGKILL, and after a loss of power.

        Args:
            setting: of the store.
        """
        kind = setting.backend
        if kind in SERVERS and self._settings.stores.foreign(kind):
            return Shown(good=None, words="not shown", parts=[_FOREIGN])
        return self._shown("a crash", lambda: _of_crashes(self._crashed(setting)))

    def behind(self, database: str, options: Mapping[str, str]) -> Shown:
        """Say what of the acknowledged saves of several clients is left after SIGKILL of the cache.

        Args:
            database: URL of an empty one.
            options: by which a hybrid acknowledges what only its cache has.
        """
        if self._settings.stores.foreign("redis"):
            return Shown(good=None, words="not shown", parts=[_FOREIGN])

        def crashed() -> Shown:
            losses = []
            with CacheVictim(database, options, self._settings.stores.options("crashed")) as victim:
                for number in range(self._runs):
                    losses.append(
                        crash_once(victim, "kill", self._pool, seed=f"cache/{number}", moments=_SOON)
                    )
            gone, of = sum(loss.lost for loss in losses), sum(loss.acknowledged for loss in losses)
            return _judged(gone, [f"{gone} of {of} by SIGKILL of the cache"], promised=False)

        return self._shown("a crash", crashed)

    @property
    def _runs(self) -> int:
        return 1 if self._settings.quick else 3

    def _shown(self, what: str, show: Callable[[], Shown]) -> Shown:
        try:
            return show()
        except ServerUnavailableError as error:
            return Shown(good=None, words="not shown", parts=error.reasons)
        except (AIStorageError, RaceError) as error:
            return Shown(good=None, words="not shown", parts=[f"{what} broke off: {type(error).__name__}"])

    def _raced(self, name: str, store: Store) -> Proof:
        quick = self._settings.quick
        if name == "file":
            place = self._settings.stores.directory / "raced"
            place.mkdir(exist_ok=True)
            subject = Subject.of_files(name, place, FileStorage)
        else:
            subject = Subject.of_url(name, store.url)
        with subject:
            return prove(
                subject,
                self._pool,
                runs=2 if quick else 10,
                operations=100 if quick else 400,
                processes=4 if quick else 8,
            )

    def _crashed(self, setting: Setting) -> Durability:
        return measure(
            setting,
            self._settings.stores.options("crashed"),
            pool=self._pool,
            runs=self._runs,
            moments=_SOON,
        )


def gone_with_process(name: str) -> Shown:
    """Say what of a memory's records is left when its last client is gone.

    Args:
        name: of a memory that nobody else uses.
    """
    url, number = f"memory://{name}", 100
    with closing(open_storage(url)) as storage:
        storage.save_many([small(f"model-{one}") for one in range(number)])
    with closing(open_storage(url)) as storage:
        lost = number - len(storage.load_progress())
    return _judged(lost, [f"{lost} of {number} by closing"], promised=False)


def _of_races(proof: Proof) -> Shown:
    if proof.problem is not None:
        return Shown(good=None, words="not shown", parts=[proof.problem])
    evidence = [proof.evidence[name] for name in _RACES if name in proof.evidence]
    tried = {unit: _sum(evidence, unit) for unit in ("schedules", "runs", "operations")}
    parts = [f"{lost} of {of} {unit} lost" for unit, (lost, of) in tried.items() if of]
    promised = all(one.promised for one in evidence)
    if promised and any(one.verdict is Verdict.INCONCLUSIVE for one in evidence):
        return Shown(good=None, words="inconclusive", parts=parts, promised=True)
    return _judged(sum(lost for lost, _ in tried.values()), parts, promised=promised)


def _judged(lost: int, parts: Sequence[str], *, promised: bool) -> Shown:
    """Proven is what was promised, was tried, and held; that nothing happened to be lost proves nothing."""
    if lost:
        return Shown(good=False, words=LOSS, parts=parts, promised=promised)
    if not promised:
        return Shown(good=None, words="none lost, none promised", parts=parts)
    return Shown(good=True, words=PROVEN, parts=parts, promised=True)


def _sum(evidence: list[Evidence], unit: str) -> tuple[int, int]:
    found = [one for one in evidence if one.unit == unit]
    return sum(one.lost for one in found), sum(one.of for one in found)


def _of_crashes(found: Durability) -> Shown:
    parts, lost = [], 0
    for harm, losses in found.losses.items():
        gone = sum(loss.lost for loss in losses)
        lost += gone
        parts.append(f"{gone} of {sum(loss.acknowledged for loss in losses)} by {_WORDS[harm]}")
    parts += [f"{_WORDS[harm]} not shown here" for harm in found.not_shown]
    return _judged(lost, parts, promised=bool(found.setting.keeps))
