"""What a storage does, counted and timed for Prometheus."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from .errors import ConfigurationError
from .health import Health
from .observing import OPERATIONS, STATUSES, Observation, ObservedStorage
from .storage import AIStorage

try:
    from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram, exposition, multiprocess
    from prometheus_client.core import GaugeMetricFamily, Metric
    from prometheus_client.registry import Collector
except ImportError as missing:
    raise ConfigurationError(
        "metrics need prometheus-client, which is not installed: pip install 'pytest-aistorage[service]'"
    ) from missing

__all__ = ["BUCKETS", "MetricsStorage", "StorageMetrics", "check_directory", "exposed", "storage_metrics"]

BUCKETS: Final = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
"""Upper bounds of the histogram, in seconds: from a get of Redis to the longest timeouts."""

_MULTIPROCESS: Final = "PROMETHEUS_MULTIPROC_DIR"


def check_directory() -> None:
    """Refuse a directory for the counts of several processes that is not there.

    Raises:
        ConfigurationError: ``PROMETHEUS_MULTIPROC_DIR`` names no directory.
    """
    if (directory := os.environ.get(_MULTIPROCESS)) and not Path(directory).is_dir():
        raise ConfigurationError(f"{_MULTIPROCESS}: {directory!r} is no directory")


class StorageMetrics:
    """The counter and the histogram, in one registry.

    Args:
        registry: where they are registered.

    Attributes:
        operations: ``ai_storage_operations_total``, by ``operation``, ``storage_type`` and ``status``.
        duration: ``ai_storage_operation_duration_seconds``, by ``operation`` and ``storage_type``.

    Raises:
        ConfigurationError: somebody else has registered one of these names, or as `check_directory` does.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        check_directory()
        try:
            self.operations = Counter(
                "ai_storage_operations",
                "Total AI storage operations",
                ["operation", "storage_type", "status"],
                registry=registry,
            )
            self.duration = Histogram(
                "ai_storage_operation_duration_seconds",
                "Seconds that an AI storage operation took",
                ["operation", "storage_type"],
                buckets=BUCKETS,
                registry=registry,
            )
        except ValueError as error:
            raise ConfigurationError(f"registry: {error}") from error


_metrics: weakref.WeakKeyDictionary[CollectorRegistry, StorageMetrics] = weakref.WeakKeyDictionary()
# Held by whoever counts, and while the process forks: in a child nobody would ever release the client's own locks.
_counting = threading.RLock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_counting.acquire, after_in_parent=_counting.release, after_in_child=_counting.release
    )


def storage_metrics(registry: CollectorRegistry = REGISTRY) -> StorageMetrics:
    """Return the metrics of a registry; they are made when they are first asked for.

    Raises:
        ConfigurationError: as `StorageMetrics` does.
    """
    with _counting:
        if (known := _metrics.get(registry)) is None:
            known = _metrics[registry] = StorageMetrics(registry)
        return known


class _Timing(Observation):
    """Counts an operation and adds its time up."""

    __slots__ = ("_seconds", "_since")
    _storage: MetricsStorage

    def begin(self) -> None:
        self._seconds = 0.0
        self._since = time.perf_counter()

    def pause(self) -> None:
        self._seconds += time.perf_counter() - self._since

    def resume(self) -> None:
        self._since = time.perf_counter()

    def end(self, status: str, error: BaseException | None, *, repeated: bool) -> None:
        self.pause()
        if repeated and self.count > 1:
            return  # each of them is counted when it is done by itself
        timer = self._storage._timers[self.operation]
        with _counting:
            self._storage._counters[self.operation, status].inc(self.count)
            for _ in range(self.count):  # each of them took as long
                timer.observe(self._seconds)


class MetricsStorage(ObservedStorage):
    """Counts and times every operation of a storage, and takes nothing away from it.

    ``operation`` is one of `observing.OPERATIONS`, ``status`` one of `observing.STATUSES`, and ``storage_type`` the
    backend's name. Every combination begins at 0. Operations that `AsyncAIStorage` does together
    are one each. What is refused by the checks of the arguments is no operation.

    Where ``PROMETHEUS_MULTIPROC_DIR`` is set before prometheus-client is imported, the counts of all processes are
    added up, those of processes that have ended or were killed included.

    Args:
        storage: what it is wrapped around; `close` closes it.
        registry: where the metrics are; the client's own by default.

    Raises:
        ConfigurationError: as `StorageMetrics` does, or no `AIStorage`.
    """

    _observation = _Timing

    def __init__(self, storage: AIStorage, *, registry: CollectorRegistry = REGISTRY) -> None:
        super().__init__(storage)
        metrics = storage_metrics(registry)
        with _counting:
            self._counters = {
                (operation, status): metrics.operations.labels(operation, storage.type, status)
                for operation in OPERATIONS
                for status in STATUSES
            }
            self._timers = {
                operation: metrics.duration.labels(operation, storage.type) for operation in OPERATIONS
            }


class _Page(Collector):
    """What a registry has, and what a check has found as metrics of the moment."""

    def __init__(self, registry: CollectorRegistry, health: Health) -> None:
        self._registry = registry
        self._health = health

    def collect(self) -> Iterator[Metric]:
        for metric in self._registry.collect():
            if metric.name.startswith("ai_storage_"):
                # When a series was made is of no use to anybody, and twice as many lines.
                metric.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
            yield metric
        found = self._health
        for name, said, value in (
            ("healthy", "Whether the AI storage answers in time", found.healthy),
            (
                "degraded",
                "Whether a hybrid AI storage goes by its database alone",
                found.degraded is not None,
            ),
            ("models", "Models in the AI storage", found.model_count),
            (
                "pending_writes",
                "Models whose last change only the cache of a hybrid has",
                found.pending_writes,
            ),
        ):
            if value is not None:
                gauge = GaugeMetricFamily(f"ai_storage_{name}", said, labels=["storage_type"])
                gauge.add_metric([found.storage_type], float(value))
                yield gauge


def exposed(
    health: Health, accept: str = "", *, registry: CollectorRegistry | None = None
) -> tuple[bytes, str]:
    """Return a page of metrics, and its media type.

    Args:
        health: what a check has just found; shown as gauges.
        accept: the header of that name: the client may ask for OpenMetrics.
        registry: whose metrics; by default the client's own, or where ``PROMETHEUS_MULTIPROC_DIR`` is set those of
            all processes.
    """
    if registry is None and (directory := os.environ.get(_MULTIPROCESS)):
        own = CollectorRegistry()
        multiprocess.MultiProcessCollector(own, path=directory)  # type: ignore[no-untyped-call]
        registry = own
    encode, media_type = exposition.choose_encoder(accept)
    return encode(_Page(registry or REGISTRY, health)), media_type
