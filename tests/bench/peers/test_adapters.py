"""The peers do what is said of them: their stores have afterwards what the records have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pytest_aistorage.bench.peers.of_mlflow import MLflow
from pytest_aistorage.bench.peers.of_optuna import Optuna
from pytest_aistorage.bench.peers.peer import Peer, Work, installed
from pytest_aistorage.bench.records import compact
from pytest_aistorage.servers.server import Server

RECORDS = [compact(f"model-{number}", number) for number in range(2)]
SETTINGS = {"optimizer": "adamw", "learning_rate": 0.00025, "batch_size": 256, "epochs": 40}

pytestmark = pytest.mark.filterwarnings("default")


def works_of(peer: Peer) -> dict[str, Work]:
    """By the first word of what it does."""
    return {
        f"{work.equals} {work.does.partition(',')[0]} {number}": work
        for number, work in enumerate(peer.works)
    }


def test_they_are_installed() -> None:
    """What collects these tests without the peers must not pass with nothing."""
    assert installed("mlflow")
    assert installed("optuna")


@pytest.mark.parametrize("where", ["sqlite", "postgres"])
def test_mlflow(where: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """A run has the measures as metrics and the settings as parameters; each save is a step more of its history."""
    peer = MLflow(address(where, tmp_path, request), RECORDS, tmp_path)
    works = works_of(peer)
    try:
        works["save log_batch 0"].call(3)
        works["save log_batch 1"].call(5)
        run: Any = works["get get_run 2"].call(1)
        record = RECORDS[1]
        assert run.data.metrics == {
            "mse": record.mse,
            "accuracy": record.accuracy,
            "cross_validation_score": record.cross_validation_score,
            "training_samples": record.training_samples,
        }
        assert run.data.params == {name: str(value) for name, value in SETTINGS.items()}
        assert len(peer._store.get_metric_history(run.info.run_id, "mse")) == 3
    finally:
        peer.close()


@pytest.mark.parametrize("where", ["sqlite", "postgres", "journal"])
def test_optuna(where: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """A trial has the record as one attribute; a trial that has ended has its value and the rest as attributes."""
    url = None if where == "journal" else address(where, tmp_path, request)
    peer = Optuna(url, RECORDS, tmp_path)
    works = works_of(peer)
    try:
        works["save set_trial_user_attr 0"].call(1)
        works["save create_new_trial 1"].call(1)
        trial: Any = works["get get_trial 2"].call(1)
        rest = {"accuracy": 0.9471, "cross_validation_score": 0.9312, "training_samples": 128_001, **SETTINGS}
        assert trial.user_attrs == {"progress": {"model_name": "model-1", "mse": RECORDS[1].mse, **rest}}
        ended = peer._storage.get_all_trials(peer._study)[-1]
        assert (ended.state.name, ended.value, ended.user_attrs) == ("COMPLETE", RECORDS[1].mse, rest)
    finally:
        peer.close()


def address(where: str, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """The URL of an empty database, as ours."""
    if where == "sqlite":
        return f"sqlite:///{(tmp_path / 'peer.db').as_posix()}"
    server: Server = request.getfixturevalue("postgres_server")
    return server.create_database()
