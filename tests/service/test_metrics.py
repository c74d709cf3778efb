"""The counters are the operations done: of every kind and outcome, by threads, tasks and processes."""

from __future__ import annotations

import asyncio
import inspect
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from asking import PATIENCE
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.parser import text_string_to_metric_families

from pytest_aistorage import (
    AIProgress,
    AIStorage,
    AIStorageError,
    AsyncAIStorage,
    Capability,
    ConfigurationError,
    CorruptStorageError,
    InvalidProgressError,
    OutcomeUnknownError,
    ProgressQuery,
    StorageUnavailableError,
    UnsupportedOperationError,
    VersionConflictError,
    metrics,
    open_storage,
)
from pytest_aistorage._interruption import Interrupted
from pytest_aistorage.backends.memory import MemoryStorage
from pytest_aistorage.health import Health
from pytest_aistorage.metrics import BUCKETS, MetricsStorage, exposed, storage_metrics
from pytest_aistorage.observing import OPERATIONS, STATUSES, ObservedStorage, status_of
from pytest_aistorage.wrapper import WrapperStorage

RESNET = AIProgress(model_name="resnet", mse=0.12)
HEALTHY = Health(healthy=True, storage_type="memory", timestamp=datetime.now(UTC), model_count=3)


def counts(registry: CollectorRegistry) -> dict[tuple[str, str], int]:
    """How many operations there were, by operation and status; those that never came are left out."""
    return {
        (sample.labels["operation"], sample.labels["status"]): int(sample.value)
        for metric in registry.collect()
        for sample in metric.samples
        if sample.name == "ai_storage_operations_total" and sample.value
    }


def timed(registry: CollectorRegistry, storage_type: str) -> dict[str, int]:
    """How many operations were timed, by operation; those that never came are left out."""
    found = {}
    for operation in OPERATIONS:
        labels = {"operation": operation, "storage_type": storage_type}
        found[operation] = int(
            registry.get_sample_value("ai_storage_operation_duration_seconds_count", labels) or 0
        )
    return {operation: count for operation, count in found.items() if count}


@pytest.fixture
def registry() -> CollectorRegistry:
    """A registry of the test's own."""
    return CollectorRegistry()


@pytest.mark.ai_storage("memory", "file", "sqlite", "postgres", "redis")
def test_every_operation_is_counted(ai_storage: AIStorage, registry: CollectorRegistry) -> None:
    """Once each, under the name of the method, with its time; results, type and capabilities stay what they were."""
    storage = MetricsStorage(ai_storage, registry=registry)
    assert (storage.type, storage.capabilities) == (ai_storage.type, ai_storage.capabilities)
    saved = storage.save_progress(RESNET)
    assert saved == ai_storage.get_progress("resnet") == storage.get_progress("resnet")
    assert storage.get_progress("nothing") is None
    assert len(storage.save_many([AIProgress(model_name=name, mse=1.0) for name in "abc"])) == 3
    assert storage.load_progress() == list(storage.iter_progress(batch_size=2))
    assert storage.update_progress("a", lambda now: AIProgress(model_name="a", mse=0.5)).version == 2
    assert storage.query_progress(ProgressQuery(max_mse=0.5)) == [storage.load_progress()[0], saved]
    assert storage.delete_progress("a") == 3
    assert storage.health_check()
    assert storage.get_storage_info().model_count == 3
    expected = {
        **dict.fromkeys(("save", "save_many", "iter", "update", "query", "delete", "count"), 1),
        **dict.fromkeys(("get", "load", "ping"), 2),
    }
    if Capability.EXPIRY in storage.capabilities:
        assert storage.expire_now("b")
        expected["expire"] = 1
    assert counts(registry) == {(operation, "success"): count for operation, count in expected.items()}
    assert timed(registry, storage.type) == expected


OUTCOMES = [
    (VersionConflictError("m", 1, 2), "conflict"),
    (InvalidProgressError("mse", None, "no"), "refused"),
    (UnsupportedOperationError("no"), "refused"),
    (StorageUnavailableError("no"), "unavailable"),
    (OutcomeUnknownError("who knows"), "unknown"),
    (CorruptStorageError("torn"), "corrupt"),
    (ConfigurationError("wrong"), "error"),
    (ZeroDivisionError(), "error"),
    (Interrupted(), "cancelled"),
    (KeyboardInterrupt(), "cancelled"),
]


@pytest.mark.parametrize(("error", "status"), OUTCOMES, ids=lambda value: type(value).__name__)
def test_every_outcome_has_its_status(error: BaseException, status: str, registry: CollectorRegistry) -> None:
    """And the error comes out as it is without the wrapper."""

    class Failing(MemoryStorage):
        def _get(self, model_name: str) -> AIProgress | None:
            raise error

    with MetricsStorage(Failing(), registry=registry) as storage:
        with pytest.raises(type(error)) as caught:
            storage.get_progress("resnet")
        assert caught.value is error
    assert counts(registry) == {("get", status): 1}
    assert set(STATUSES) == {found for _, found in OUTCOMES} | {status_of(None)}


def test_error_of_a_driver_is_translated_once(registry: CollectorRegistry) -> None:
    """By the storage that knows the driver, and chained as it is without the wrapper."""

    class Failing(MemoryStorage):
        translated: list[tuple[Exception, bool]] = []  # noqa: RUF012 - of this test's class alone

        def _save(self, record: AIProgress, expected: int | None, ttl: timedelta | None) -> AIProgress:
            raise OSError("broken pipe")

        def _translate(self, error: Exception, *, writing: bool) -> AIStorageError | None:
            self.translated.append((error, writing))
            return OutcomeUnknownError("the reply was lost")

    with MetricsStorage(Failing(), registry=registry) as storage:
        with pytest.raises(OutcomeUnknownError, match="the reply was lost") as caught:
            storage.save_progress(RESNET)
        assert isinstance(caught.value.__cause__, OSError)
    assert [(str(error), writing) for error, writing in Failing.translated] == [("broken pipe", True)]
    assert counts(registry) == {("save", "unknown"): 1}


def test_exception_of_the_callers_own_change_is_refused(registry: CollectorRegistry) -> None:
    """It comes out unchanged, and is no error of the storage."""
    with MetricsStorage(open_storage("memory://"), registry=registry) as storage:
        with pytest.raises(ZeroDivisionError):
            storage.update_progress("resnet", lambda now: AIProgress(model_name="resnet", mse=1 / 0))
        with pytest.raises(VersionConflictError):
            storage.save_progress(RESNET, expected_version=7)
        with pytest.raises(InvalidProgressError):
            storage.get_progress("")  # refused before it is an operation
    assert counts(registry) == {("update", "refused"): 1, ("save", "conflict"): 1}


def test_iteration_is_one_operation(registry: CollectorRegistry) -> None:
    """Whether it ends, is left early or fails."""

    class Torn(MemoryStorage):
        torn = False

        def _iter(self, batch_size: int) -> Iterator[AIProgress]:
            yield from super()._iter(batch_size)
            if self.torn:
                raise CorruptStorageError("torn")

    torn = Torn()
    with MetricsStorage(torn, registry=registry) as storage:
        storage.save_many([AIProgress(model_name=name, mse=1.0) for name in "abc"])
        assert len(list(storage.iter_progress())) == 3
        records = storage.iter_progress()
        assert next(records) == storage.get_progress("a")
        del records
        storage.iter_progress()  # never begun
        torn.torn = True
        with pytest.raises(CorruptStorageError):
            list(storage.iter_progress())
    assert counts(registry)["iter", "success"] == 2
    assert counts(registry)["iter", "corrupt"] == 1


def test_time_of_an_operation_is_the_storages(
    registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not what the caller does with a record of an iteration before it asks for the next one."""
    clock = [0.0]
    monkeypatch.setattr(metrics, "time", SimpleNamespace(perf_counter=lambda: clock[0]))

    class Slow(MemoryStorage):
        def _iter(self, batch_size: int) -> Iterator[AIProgress]:
            for record in super()._iter(batch_size):
                clock[0] += 1.0
                yield record

        def _get(self, model_name: str) -> AIProgress | None:
            clock[0] += 3.0
            return super()._get(model_name)

    with MetricsStorage(Slow(), registry=registry) as storage:
        storage.save_many([AIProgress(model_name=name, mse=1.0) for name in "abcd"])
        for _ in storage.iter_progress():
            clock[0] += 100.0
        storage.get_progress("a")
    for operation, seconds in (("iter", 4.0), ("get", 3.0), ("save_many", 0.0)):
        labels = {"operation": operation, "storage_type": "memory"}
        assert registry.get_sample_value("ai_storage_operation_duration_seconds_sum", labels) == seconds, (
            operation
        )


def test_combinations_begin_at_0(registry: CollectorRegistry) -> None:
    """Of every operation with every status, or a rate would miss the first error."""
    MetricsStorage(open_storage("memory://"), registry=registry).close()
    found = [
        (sample.labels["operation"], sample.labels["status"], sample.value)
        for metric in registry.collect()
        for sample in metric.samples
        if sample.name == "ai_storage_operations_total"
    ]
    assert sorted(found) == sorted(
        (operation, status, 0.0) for operation in OPERATIONS for status in STATUSES
    )
    labels = {"operation": "get", "storage_type": "memory"}
    for bound in (*map(str, BUCKETS), "+Inf"):
        bucket = "ai_storage_operation_duration_seconds_bucket"
        assert registry.get_sample_value(bucket, {**labels, "le": bound}) == 0


def test_threads_lose_no_count(registry: CollectorRegistry) -> None:
    """Two wrappers of one registry count into the same counters."""
    storages = [MetricsStorage(open_storage("memory://"), registry=registry) for _ in range(2)]

    def work(storage: AIStorage) -> None:
        for _ in range(500):
            storage.get_progress("resnet")

    threads = [threading.Thread(target=work, args=(storage,)) for storage in storages * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert counts(registry) == {("get", "success"): 4000}


@pytest.mark.ai_storage("memory", "sqlite", "redis")
def test_each_of_several_tasks_is_counted(
    ai_storage_opener: Callable[[], AIStorage], registry: CollectorRegistry
) -> None:
    """Though their saves and gets are done as one; a batch of one caller's own is one operation."""

    async def work() -> None:
        async with AsyncAIStorage(MetricsStorage(ai_storage_opener(), registry=registry)) as storage:
            names = [f"m{number}" for number in range(100)]
            await asyncio.gather(
                *(storage.save_progress(AIProgress(model_name=name, mse=1.0)) for name in names)
            )
            found = await asyncio.gather(*(storage.get_progress(name) for name in names))
            assert [record.version for record in found if record is not None] == [1] * 100
            await storage.save_many([AIProgress(model_name=name, mse=2.0) for name in names])

    asyncio.run(work())
    assert counts(registry) == {
        ("save", "success"): 100,
        ("get", "success"): 100,
        ("save_many", "success"): 1,
    }


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (CorruptStorageError("one of them"), {("get", "success"): 99, ("get", "corrupt"): 1}),
        (StorageUnavailableError("no server"), {("get", "unavailable"): 100}),
    ],
    ids=["one of several", "all"],
)
def test_tasks_that_fail_together(
    error: Exception, expected: dict[tuple[str, str], int], registry: CollectorRegistry
) -> None:
    """What is done again by itself after that is counted once; what is not, was each one's failure."""

    class Torn(MemoryStorage):
        def _at_once(self) -> None:
            return None

        def _get_many(self, model_names: list[str]) -> list[AIProgress | None]:
            if len(model_names) > 1:
                raise error
            return super()._get_many(model_names)

        def _get(self, model_name: str) -> AIProgress | None:
            if model_name == "m7" or isinstance(error, StorageUnavailableError):
                raise error
            return super()._get(model_name)

    async def work() -> None:
        async with AsyncAIStorage(MetricsStorage(Torn(), registry=registry), max_concurrency=1) as storage:
            gets = (storage.get_progress(f"m{number}") for number in range(100))
            await asyncio.gather(*gets, return_exceptions=True)

    asyncio.run(work())
    assert counts(registry) == expected


def test_every_hook_is_observed() -> None:
    """A hook that a wrapper passes on is looked at, or has nothing to count."""
    nothing_to_count = {"_at_once", "_server", "_location", "_translate", "_close", "_operation"}
    hooks = {
        name
        for name, found in vars(WrapperStorage).items()
        if inspect.isfunction(found) and name.startswith("_") and not name.startswith("__")
    }
    assert hooks - nothing_to_count == hooks & set(vars(ObservedStorage))


def test_name_that_is_taken(registry: CollectorRegistry) -> None:
    """An application that counts by hand, as the guide does, is told that two can't have the name."""
    Counter("ai_storage_operations_total", "mine", ["operation", "storage_type", "status"], registry=registry)
    with (
        open_storage("memory://") as storage,
        pytest.raises(ConfigurationError, match="ai_storage_operations"),
    ):
        MetricsStorage(storage, registry=registry)


@pytest.mark.parametrize("accept", ["", "application/openmetrics-text; version=1.0.0"])
def test_page(accept: str, registry: CollectorRegistry) -> None:
    """What Prometheus reads, in both of its formats: counts, latencies and health, and no line that nobody needs."""
    storage_metrics(registry).operations.labels("save", "hybrid", "success").inc()
    page, media_type = exposed(HEALTHY, accept, registry=registry)
    assert media_type.startswith(accept.partition(";")[0] or "text/plain")
    if not accept:
        families = {family.name: family for family in text_string_to_metric_families(page.decode())}
        assert {name: len(family.samples) for name, family in families.items()} == {
            "ai_storage_operations": 1,
            "ai_storage_operation_duration_seconds": 0,
            "ai_storage_healthy": 1,
            "ai_storage_degraded": 1,
            "ai_storage_models": 1,
        }
        assert families["ai_storage_models"].samples[0].value == 3
    assert b"ai_storage_operations_total{" in page
    assert b"_created" not in page


PROCESSES, SAVES, GETS = 8, 25, 100
SEVERAL = f"""
import os, signal, sys
from pytest_aistorage import AIProgress, open_storage
from pytest_aistorage.health import HealthProbe
from pytest_aistorage.metrics import MetricsStorage, exposed

children = []
for number in range({PROCESSES}):
    if (child := os.fork()):
        children.append(child)
        continue
    storage = MetricsStorage(open_storage(sys.argv[1]))
    for turn in range({SAVES}):
        storage.save_progress(AIProgress(model_name=f"m{{number}}", mse=1.0))
    for turn in range({GETS}):
        storage.get_progress("m0")
    if number % 2:
        os.kill(os.getpid(), signal.SIGKILL)
    storage.close()
    os._exit(0)
for child in children:
    os.waitpid(child, 0)
with open_storage(sys.argv[1]) as storage:
    sys.stdout.write(exposed(HealthProbe(storage, timeout={PATIENCE}).check())[0].decode())
"""


@pytest.mark.skipif(
    sys.platform == "win32", reason="needs os.fork, which Windows lacks; run on Linux or macOS"
)
@pytest.mark.ai_storage("redis")
def test_processes_are_added_up(ai_storage_url: str, tmp_path: Path) -> None:
    """The operations of 8 processes, of which every second one was killed, are all there."""
    directory = tmp_path / "counts"
    directory.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", SEVERAL, ai_storage_url],
        env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(directory)},
        capture_output=True,
        text=True,
        timeout=3 * PATIENCE,
        check=True,
    )
    found: dict[tuple[str, str], float] = {}
    for family in text_string_to_metric_families(done.stdout):
        for sample in family.samples:
            if sample.name == "ai_storage_operations_total" and sample.value:
                found[sample.labels["operation"], sample.labels["status"]] = sample.value
            if sample.name == "ai_storage_models":
                assert sample.value == PROCESSES
    assert found == {("save", "success"): PROCESSES * SAVES, ("get", "success"): PROCESSES * GETS}
