"""The application, asked over HTTP on a real port, about storages on real servers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from asking import PATIENCE, Answer, Client
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families
from starlette.applications import Starlette
from starlette.routing import Mount

from pytest_aistorage import AIProgress, AIStorage, AsyncAIStorage, ConfigurationError, open_storage
from pytest_aistorage.backends.memory import MemoryStorage
from pytest_aistorage.health import HealthProbe
from pytest_aistorage.metrics import MetricsStorage
from pytest_aistorage.service import create_app, instrumented
from pytest_aistorage.tracing import TracedStorage

LONG = 600.0
"""Seconds that a storage waits: much longer than any test."""
SHORT = 0.3
"""Seconds that a check may take where nothing comes."""

CALLERS = 40

Serve = Callable[[Any], Client]


@pytest.mark.ai_storage("memory", "file", "sqlite", "postgres", "redis")
def test_health_is_as_in_the_guide(ai_storage: AIStorage, served: Serve) -> None:
    """200 with the guide's four values, and whether a hybrid is degraded; nobody may keep it."""
    ai_storage.save_progress(AIProgress(model_name="resnet", mse=0.12))
    answer = served(create_app(ai_storage, timeout=PATIENCE)).get("/health/ai-storage")
    document = answer.document
    moment = datetime.fromisoformat(document.pop("timestamp"))
    assert abs((datetime.now(UTC) - moment).total_seconds()) < PATIENCE
    assert (answer.status, answer.media_type) == (200, "application/json")
    assert document == {
        "healthy": True,
        "storage_type": ai_storage.type,
        "model_count": 1,
        "degraded": False,
    }


def test_who_is_asked_whether_he_is_ready_does_not_count(served: Serve) -> None:
    """It takes long where there are many models; the probes of every pod ask all the time, and want no number."""
    counted: list[str] = []

    class Large(MemoryStorage):
        def _count(self) -> int:
            counted.append(self.type)
            return super()._count()

    client = served(create_app(Large(), timeout=PATIENCE))
    assert client.get("/health/ready").status == 200
    assert counted == []
    assert client.get("/health/ai-storage").document["model_count"] == 0
    assert counted == ["memory"]


@pytest.mark.parametrize(
    ("harm", "cure"), [("kill", "restart"), ("pause", "resume"), ("partition", "heal")], ids=lambda name: name
)
@pytest.mark.parametrize("kind", ["postgres", "redis"])
def test_server_that_goes_and_returns(
    kind: str, harm: str, cure: str, served: Serve, request: pytest.FixtureRequest
) -> None:
    """500 in the check's time and 200 when it is back, however many ask; the process is alive all the time."""
    server = request.getfixturevalue(f"private_{kind}_server")
    with open_storage(server.create_database(), timeout=LONG) as storage:
        client = served(create_app(storage, timeout=SHORT))
        assert client.until(200).document["healthy"]
        getattr(server, harm)()
        client.until(500)
        answers: list[Answer] = []
        callers = [
            threading.Thread(target=lambda: answers.append(client.get("/health/ai-storage")))
            for _ in range(CALLERS)
        ]
        for caller in callers:
            caller.start()
        checking = [thread.name for thread in threading.enumerate()].count("aistorage-health")
        for caller in callers:
            caller.join(PATIENCE)
        assert [answer.status for answer in answers] == [500] * CALLERS
        assert all(answer.seconds < PATIENCE / 2 for answer in answers)
        assert checking < CALLERS / 2
        document = answers[0].document
        assert (document["healthy"], document["model_count"]) == (False, None)
        assert client.get("/health/ready").status == 503
        assert client.get("/health/live").document == {"status": "alive"}
        page = client.get("/metrics")
        assert page.status == 200
        assert f'ai_storage_healthy{{storage_type="{storage.type}"}} 0.0' in page.text
        assert "ai_storage_models{" not in page.text
        getattr(server, cure)()
        assert client.until(200).document["healthy"]
        assert client.until(200, "/health/ready").document == {"status": "ready"}


def test_hybrid_without_its_cache_is_degraded(
    postgres_server: Any, private_redis_server: Any, served: Serve
) -> None:
    """It goes on by its database alone, so it is healthy; and it says so in the JSON and in the metrics."""
    url, cache = postgres_server.create_database(), private_redis_server.create_database()
    with open_storage(url, cache=cache) as storage:
        client = served(create_app(storage, timeout=PATIENCE))
        assert client.get("/health/ai-storage").document["degraded"] is False
        private_redis_server.kill()
        answer = client.get("/health/ai-storage")
        assert (answer.status, answer.document["degraded"]) == (200, True)
        assert client.get("/health/ready").status == 200
        assert 'ai_storage_degraded{storage_type="hybrid"} 1.0' in client.get("/metrics").text
        private_redis_server.restart()
        end = time.monotonic() + PATIENCE
        while client.get("/health/ai-storage").document["degraded"]:
            assert time.monotonic() < end
            time.sleep(0.02)


def test_metrics_of_the_storage(served: Serve) -> None:
    """The operations done, those of the checks included, and what is in it; in the form that is asked for."""
    registry = CollectorRegistry()
    with MetricsStorage(open_storage("memory://"), registry=registry) as storage:
        for number in range(5):
            storage.save_progress(AIProgress(model_name=f"m{number}", mse=1.0))
        client = served(create_app(storage, timeout=PATIENCE, registry=registry))
        answer = client.get("/metrics")
        values = {
            (sample.name, sample.labels.get("operation")): sample.value
            for family in text_string_to_metric_families(answer.text)
            for sample in family.samples
            if sample.labels.get("status", "success") == "success"
        }
        assert values["ai_storage_operations_total", "save"] == 5
        assert values["ai_storage_operations_total", "ping"] >= 1
        assert values["ai_storage_models", None] == 5
        assert values["ai_storage_healthy", None] == 1
        assert answer.media_type == "text/plain; version=0.0.4; charset=utf-8"
        openmetrics = client.get("/metrics", accept="application/openmetrics-text; version=1.0.0")
        assert openmetrics.media_type.startswith("application/openmetrics-text")
        assert openmetrics.text.endswith("# EOF\n")


def test_mounted_in_an_application(served: Serve) -> None:
    """Below a path of its own; of an asynchronous storage as well, which stays open."""
    storage = AsyncAIStorage(open_storage("memory://"))
    client = served(Starlette(routes=[Mount("/storage", create_app(storage, timeout=PATIENCE))]))
    assert client.get("/storage/health/ai-storage").document["storage_type"] == "memory"
    assert client.get("/health/ai-storage").status == 404
    assert storage.storage.health_check()
    storage.close_and_wait()


def test_health_reasons_are_not_for_everybody(served: Serve, caplog: pytest.LogCaptureFixture) -> None:
    """What fails and where is in the log, without the password; the answer names no host."""
    with open_storage("postgresql://user:hunter2@127.0.0.1:1/imf", timeout=LONG) as storage:
        answer = served(create_app(storage, timeout=PATIENCE)).get("/health/ai-storage")
    assert answer.status == 500
    assert "127.0.0.1" not in answer.text
    assert "127.0.0.1" in caplog.text
    assert "hunter2" not in answer.text + caplog.text


def test_directory_of_the_counts_is_checked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """When the application is made, and not at the first scrape."""
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path / "nowhere"))
    with open_storage("memory://") as storage:
        with pytest.raises(
            ConfigurationError, match=r"PROMETHEUS_MULTIPROC_DIR: .*nowhere.* is no directory"
        ):
            create_app(storage)
        create_app(storage, registry=CollectorRegistry())


def test_instrumented_storage_is_counted_and_traced() -> None:
    """Both, where OpenTelemetry's SDK is installed; and it is closed with the wrapper."""
    storage = open_storage("memory://")
    with instrumented(storage) as outer:
        assert isinstance(outer, TracedStorage)
        assert isinstance(outer._storage, MetricsStorage)
    assert not HealthProbe(storage, timeout=PATIENCE).check().healthy
