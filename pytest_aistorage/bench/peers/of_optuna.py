"""Optuna's storages, by the methods that its studies call themselves.

More than ours: trials have a life of their own, with parameters, distributions and intermediate values. Less: nothing
compares versions, a trial can't be deleted, and a trial that has ended can't be changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...progress import AIProgress
from .peer import Work, sqlalchemy_url, version_of

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

__all__ = ["WORDS", "Optuna"]

WORDS = (
    "Optuna, by the methods of its storages. A save is set_trial_user_attr on a running trial, with the whole record "
    "as one value, which is the least that keeps it; beside it stands create_new_trial of one that has ended, with "
    "its value and the rest as attributes. A get is get_trial. It does more: trials have states, parameters and "
    "intermediate values. And less: no versions are compared, no trial can be deleted, one that has ended can't be "
    "changed.",
    "Optuna's JournalStorage keeps all trials in the memory of each process, and a get returns the object that lies "
    "there once it has read what others appended to the file; a process that starts replays the file from its "
    "beginning.",
)


class Optuna:
    """A storage with one running trial for each record, which it has as an attribute.

    Args:
        url: of an empty database of ours; None: a journal in a file.
        records: one for each trial.
        directory: for the journal.
    """

    def __init__(self, url: str | None, records: Sequence[AIProgress], directory: Path) -> None:
        import optuna
        from optuna.study import StudyDirection

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.name = f"Optuna {version_of('optuna')}"
        self._storage = storage = _opened(url, directory)
        self._study = storage.create_new_study([StudyDirection.MINIMIZE], "bench")
        self._values = [_values(record) for record in records]
        self._trials = [storage.create_new_trial(self._study) for _ in self._values]
        self._finished = [_finished(value) for value in self._values]
        for number in range(len(self._trials)):
            self._set(number)
        # A database is asked at each get, a journal is not.
        lies = "" if url is not None else "its get returns an object that lies in the memory of the process"
        self.works = (
            Work(equals="save", does="set_trial_user_attr, the record as one value", call=self._set),
            # Each call leaves a trial more.
            Work(equals="save", does="create_new_trial, ended, 7 attributes", call=self._create, calls=10),
            Work(
                equals="get",
                does="get_trial",
                call=lambda call: storage.get_trial(self._trials[call % len(self._trials)]),
                quick_because=lies,
            ),
        )

    def _set(self, call: int) -> None:
        number = call % len(self._trials)
        self._storage.set_trial_user_attr(self._trials[number], "progress", self._values[number])

    def _create(self, call: int) -> None:
        self._storage.create_new_trial(self._study, self._finished[call % len(self._finished)])

    def close(self) -> None:
        """Close its connections."""
        engine = getattr(self._storage, "engine", None)  # a journal has none
        if engine is not None:
            self._storage.remove_session()
            engine.dispose()


def _opened(url: str | None, directory: Path) -> BaseStorage:
    from optuna.storages import JournalStorage, RDBStorage
    from optuna.storages.journal import JournalFileBackend

    if url is None:
        return JournalStorage(JournalFileBackend(str(directory / "journal.log")))
    return RDBStorage(sqlalchemy_url(url))


def _values(record: AIProgress) -> dict[str, Any]:
    return {
        "model_name": record.model_name,
        "mse": record.mse,
        "accuracy": record.accuracy,
        "cross_validation_score": record.cross_validation_score,
        "training_samples": record.training_samples,
        **record.metadata,
    }


def _finished(values: dict[str, Any]) -> Any:
    from optuna.trial import TrialState, create_trial

    rest = {name: value for name, value in values.items() if name not in ("mse", "model_name")}
    return create_trial(state=TrialState.COMPLETE, value=values["mse"], user_attrs=rest)
