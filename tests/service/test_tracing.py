"""Spans: one an operation, by the semantic conventions, and nothing in them that is nobody's business."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.semconv.attributes import (
    db_attributes,
    error_attributes,
    server_attributes,
)

from pytest_aistorage import (
    AIProgress,
    AIStorage,
    AsyncAIStorage,
    StorageUnavailableError,
    VersionConflictError,
    open_storage,
)
from pytest_aistorage.backends.memory import MemoryStorage
from pytest_aistorage.tracing import TracedStorage

RESNET = AIProgress(model_name="resnet", mse=0.12, metadata={"note": "hunter2"})


class Spans:
    """What was exported, and where to."""

    def __init__(self) -> None:
        self.provider = TracerProvider()
        self._exporter = InMemorySpanExporter()
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))

    @property
    def finished(self) -> tuple[ReadableSpan, ...]:
        """In the order in which they ended."""
        return self._exporter.get_finished_spans()


@pytest.fixture
def spans() -> Spans:
    """A provider of the test's own."""
    return Spans()


@pytest.mark.ai_storage("postgres", "redis", "sqlite")
def test_attributes_follow_the_conventions(ai_storage: AIStorage, spans: Spans) -> None:
    """Which system, where, what was done; by the names that the conventions' own package has."""
    storage = TracedStorage(ai_storage, tracer_provider=spans.provider)
    saved = storage.save_progress(RESNET)
    assert storage.get_progress("resnet") == saved
    save, get = spans.finished
    assert (save.name, get.name) == ("save ai_progress", "get ai_progress")
    found: dict[str, Any] = dict(get.attributes or {})
    assert found.pop(db_attributes.DB_OPERATION_NAME) == "get"
    assert found.pop(db_attributes.DB_COLLECTION_NAME) == "ai_progress"
    assert found.pop("ai_storage.type") == ai_storage.type
    assert found.pop("ai_storage.status") == "success"
    system = found.pop(db_attributes.DB_SYSTEM_NAME)
    assert system in ("postgresql", "redis", "sqlite")
    if system == "sqlite":
        assert get.kind is trace.SpanKind.INTERNAL
    else:
        assert get.kind is trace.SpanKind.CLIENT
        assert found.pop(server_attributes.SERVER_ADDRESS)
        assert isinstance(found.pop(server_attributes.SERVER_PORT, 1), int)
        assert found.pop(db_attributes.DB_NAMESPACE)
    assert not found
    assert get.status.status_code is trace.StatusCode.UNSET


def test_nothing_secret_in_a_span(spans: Spans) -> None:
    """No password, user, model's name or metadata, also where it fails."""
    url = "postgresql://hunter1:hunter2@127.0.0.1:1/imf"
    with (
        TracedStorage(open_storage(url), tracer_provider=spans.provider) as storage,
        pytest.raises(StorageUnavailableError),
    ):
        storage.save_progress(RESNET)
    (span,) = spans.finished
    assert not {word for word in ("hunter1", "hunter2", "resnet") if word in span.to_json()}
    attributes = dict(span.attributes or {})
    assert attributes[server_attributes.SERVER_ADDRESS] == "127.0.0.1"
    assert attributes[server_attributes.SERVER_PORT] == 1
    assert attributes[db_attributes.DB_NAMESPACE] == "imf"
    assert attributes[error_attributes.ERROR_TYPE] == "StorageUnavailableError"
    assert span.status.status_code is trace.StatusCode.ERROR


def test_conflict_is_no_error_of_the_storage(spans: Spans) -> None:
    """It is an answer; it has a status of its own."""
    with (
        TracedStorage(open_storage("memory://"), tracer_provider=spans.provider) as storage,
        pytest.raises(VersionConflictError),
    ):
        storage.save_progress(RESNET, expected_version=3)
    (span,) = spans.finished
    attributes = dict(span.attributes or {})
    assert (attributes["ai_storage.status"], attributes["error.type"]) == ("conflict", "VersionConflictError")
    assert span.status.status_code is trace.StatusCode.UNSET


def test_error_of_a_change_is_the_callers_own(spans: Spans) -> None:
    """Under its own name, and not that of what carries it past the backend."""

    def change(current: AIProgress | None) -> AIProgress:
        raise LookupError("hunter2")

    with (
        TracedStorage(open_storage("memory://"), tracer_provider=spans.provider) as storage,
        pytest.raises(LookupError),
    ):
        storage.update_progress("resnet", change)
    (span,) = spans.finished
    attributes = dict(span.attributes or {})
    assert (attributes["ai_storage.status"], attributes["error.type"]) == ("refused", "LookupError")
    assert span.status.status_code is trace.StatusCode.UNSET


def test_spans_nest(spans: Spans) -> None:
    """Below that of the caller, and above what the driver traces; between two records the caller is its own."""
    tracer = spans.provider.get_tracer("application")

    class Driven(MemoryStorage):
        def _get(self, model_name: str) -> AIProgress | None:
            with tracer.start_as_current_span("driver"):
                return super()._get(model_name)

    with (
        TracedStorage(Driven(), tracer_provider=spans.provider) as storage,
        tracer.start_as_current_span("request") as request,
    ):
        storage.get_progress("resnet")
        storage.save_many([RESNET, AIProgress(model_name="bert", mse=1.0)])
        for _ in storage.iter_progress():
            assert trace.get_current_span() is request
        assert trace.get_current_span() is request
    by_name = {span.name: span for span in spans.finished}
    assert list(by_name) == [
        "driver",
        "get ai_progress",
        "save_many ai_progress",
        "iter ai_progress",
        "request",
    ]

    def parent(name: str) -> Any:
        found = by_name[name].parent
        return None if found is None else found.span_id

    assert parent("driver") == by_name["get ai_progress"].context.span_id
    for name in ("get ai_progress", "save_many ai_progress", "iter ai_progress"):
        assert parent(name) == request.get_span_context().span_id


def test_span_of_a_task(spans: Spans) -> None:
    """A thread does what the task asked for, and the span lies below the task's."""
    tracer = spans.provider.get_tracer("application")

    class Waits(MemoryStorage):
        def _at_once(self) -> None:
            return None

    async def work() -> None:
        async with AsyncAIStorage(
            TracedStorage(Waits(), tracer_provider=spans.provider), combine=False
        ) as storage:
            with tracer.start_as_current_span("task"):
                await storage.save_progress(RESNET)

    asyncio.run(work())
    save, task = spans.finished
    assert save.parent is not None
    assert save.parent.span_id == task.context.span_id


def test_operations_done_as_one_have_one_span(spans: Spans) -> None:
    """And it says how many they are."""
    with TracedStorage(open_storage("memory://"), tracer_provider=spans.provider) as storage:
        storage._get_many(["a", "b", "c"])
    (span,) = spans.finished
    assert dict(span.attributes or {})[db_attributes.DB_OPERATION_BATCH_SIZE] == 3


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("mysql://user:***@db:3306/imf", {"db.system.name": "mysql", "server.port": 3306}),
        ("mariadb://db/imf", {"db.system.name": "mariadb"}),
        (
            "postgresql://h/d with cache redis://c:6379/0",
            {"db.system.name": "postgresql", "server.address": "h"},
        ),
        ("rediss://[::1]:6380/2", {"db.system.name": "redis", "server.address": "::1", "db.namespace": "2"}),
        ("valkey+cluster://a:1,b:2", {"db.system.name": "redis", "server.address": "a"}),
        ("unix:///run/redis.sock?db=1", {"db.system.name": "redis"}),
        ("my own place", {}),
    ],
)
def test_whereabouts(location: str, expected: dict[str, Any], spans: Spans) -> None:
    """Of each kind of server, as far as its storage says it."""

    class Somewhere(MemoryStorage):
        def _location(self) -> str:
            return location

    with TracedStorage(Somewhere(), tracer_provider=spans.provider) as storage:
        storage.get_progress("resnet")
    (span,) = spans.finished
    found = dict(span.attributes or {})
    assert {name: found.get(name) for name in expected} == expected
    assert ("db.system.name" in found) == bool(expected)


HIDDEN = """
import sys
sys.modules.update(dict.fromkeys(sys.argv[2].split(",")))
import importlib
from pytest_aistorage import ConfigurationError
try:
    importlib.import_module(sys.argv[1])
except ConfigurationError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("module", "library", "extra"),
    [
        ("pytest_aistorage.tracing", "opentelemetry", "tracing"),
        ("pytest_aistorage.metrics", "prometheus_client", "service"),
        ("pytest_aistorage.service", "starlette", "service"),
    ],
)
def test_missing_library_is_named(module: str, library: str, extra: str) -> None:
    """With the extra that brings it."""
    done = subprocess.run(
        [sys.executable, "-c", HIDDEN, module, library],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.endswith(f"is not installed: pip install 'pytest-aistorage[{extra}]'\n")


UNTRACED = """
import importlib.util
import sys

found = importlib.util.find_spec
importlib.util.find_spec = lambda name: None if name == "opentelemetry" else found(name)
from pytest_aistorage import open_storage
from pytest_aistorage.service import create_app, instrumented
with instrumented(open_storage("memory://")) as storage:
    create_app(storage)
    print(type(storage).__name__, [name for name in sys.modules if name.startswith("opentelemetry")])
"""


def test_without_opentelemetry_nothing_of_it_is_imported() -> None:
    """And the storage is counted all the same."""
    done = subprocess.run(
        [sys.executable, "-c", UNTRACED], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "MetricsStorage []\n"
