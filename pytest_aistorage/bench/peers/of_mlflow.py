"""MLflow's tracking store in a database, by its quickest door: the store itself, without a client and without HTTP.

More than ours: a metric keeps its whole history, step by step; runs lie in experiments, and have artifacts, datasets
and traces. Less: parameters and tags are strings, and a parameter can't be changed; nothing compares versions; the
metrics and the parameters of one ``log_batch`` are written in transactions of their own.
"""

from __future__ import annotations

import itertools
import logging
import os
import time
from collections.abc import Sequence
from pathlib import Path

from ...progress import AIProgress
from .peer import Work, sqlalchemy_url, version_of

__all__ = ["WORDS", "MLflow"]

WORDS = (
    "MLflow, by its SqlAlchemyStore itself, without a client and without HTTP. A save is log_batch of the record's "
    "four measures and four settings on a run that exists, a get is get_run. It does more: each metric keeps its "
    "history, a run has artifacts, datasets and traces. And less: parameters are strings and can't be changed, no "
    "versions are compared, and one log_batch writes its metrics and its parameters in transactions of their own.",
)


class MLflow:
    """A tracking store with one run for each record, each with its metrics and parameters.

    Args:
        url: of an empty database of ours.
        records: one for each run.
        directory: for artifacts, of which there are none.
    """

    def __init__(self, url: str, records: Sequence[AIProgress], directory: Path) -> None:
        # It would tell its makers of its use, by the network.
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("DO_NOT_TRACK", "true")
        os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

        logging.getLogger("mlflow").setLevel(logging.WARNING)
        self.name = f"MLflow {version_of('mlflow', 'mlflow-skinny')}"
        self._store = SqlAlchemyStore(sqlalchemy_url(url), directory.as_uri())
        self._began = int(time.time() * 1000)
        self._records = list(records)
        self._steps = itertools.count(1)
        self._runs = [self._created(record) for record in self._records]
        for number in range(len(self._runs)):
            self._log(number, params=True)
        self.works = (
            Work(
                equals="save",
                does="log_batch, 4 metrics and 4 params",
                call=lambda call: self._log(call, params=True),
            ),
            Work(equals="save", does="log_batch, 4 metrics", call=lambda call: self._log(call, params=False)),
            Work(
                equals="get",
                does="get_run",
                call=lambda call: self._store.get_run(self._runs[call % len(self._runs)]),
            ),
        )

    def _created(self, record: AIProgress) -> str:
        run = self._store.create_run("0", "bench", self._began, [], record.model_name)
        return str(run.info.run_id)

    def _log(self, call: int, *, params: bool) -> None:
        from mlflow.entities import Metric, Param

        record = self._records[call % len(self._records)]
        # The same value at the same step would be told apart from what is stored by one more query.
        step = next(self._steps)
        measures = {
            "mse": record.mse,
            "accuracy": record.accuracy,
            "cross_validation_score": record.cross_validation_score,
            "training_samples": record.training_samples,
        }
        metrics = [
            Metric(name, float(value), self._began + step, step)
            for name, value in measures.items()
            if value is not None
        ]
        given = [Param(name, str(value)) for name, value in record.metadata.items()] if params else []
        self._store.log_batch(self._runs[call % len(self._runs)], metrics, given, [])

    def close(self) -> None:
        """Close its connections."""
        self._store.engine.dispose()
