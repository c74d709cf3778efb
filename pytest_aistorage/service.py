"""A storage's health and metrics by HTTP, as an ASGI application."""

from __future__ import annotations

import functools
from importlib.util import find_spec
from typing import TYPE_CHECKING

from .aio import AsyncAIStorage
from .errors import ConfigurationError
from .health import DEFAULT_TIMEOUT, HealthProbe
from .storage import AIStorage

try:
    import anyio.to_thread
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import JSONResponse, Response
    from starlette.routing import Route
except ImportError as missing:
    raise ConfigurationError(
        "the service needs starlette, which is not installed: pip install 'pytest-aistorage[service]'"
    ) from missing

from . import metrics

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

__all__ = ["create_app", "instrumented"]

_FRESH = {"cache-control": "no-store"}


def instrumented(storage: AIStorage) -> AIStorage:
    """Return a storage that is counted and timed, and traced where OpenTelemetry's SDK is installed.

    Args:
        storage: what to wrap; closing the wrapper closes it.

    Raises:
        ConfigurationError: as `MetricsStorage` does.
    """
    counted: AIStorage = metrics.MetricsStorage(storage)
    if find_spec("opentelemetry") is None or find_spec("opentelemetry.sdk") is None:
        return counted
    from .tracing import TracedStorage

    return TracedStorage(counted)


def create_app(
    storage: AIStorage | AsyncAIStorage,
    *,
    timeout: float = DEFAULT_TIMEOUT,
    registry: CollectorRegistry | None = None,
) -> Starlette:
    """Return an application that tells of a storage; to be served, or mounted in the application's own.

    ======================  =====================================================================================
    ``/health/ai-storage``  200 if the storage answers in time, 500 if not, with the guide's JSON
    ``/health/ready``       200 or 503: whether to send requests here
    ``/health/live``        200 as long as the process serves, whatever the storage does
    ``/metrics``            for Prometheus
    ======================  =====================================================================================

    Args:
        storage: never closed. `MetricsStorage` makes it one whose operations are counted.
        timeout: seconds that a check may take, whatever the storage's own timeout is.
        registry: whose metrics are shown; by default prometheus-client's own, and where
            ``PROMETHEUS_MULTIPROC_DIR`` is set those of all processes.

    Raises:
        ConfigurationError: no storage, no time in seconds, ``PROMETHEUS_MULTIPROC_DIR`` is no directory.
    """
    if registry is None:
        metrics.check_directory()
    probe = HealthProbe(storage.storage if isinstance(storage, AsyncAIStorage) else storage, timeout=timeout)

    async def health(request: Request) -> Response:
        found = await probe.check_async()
        return JSONResponse(dict(found.as_document()), 200 if found.healthy else 500, _FRESH)

    async def ready(request: Request) -> Response:
        found = await probe.check_async(counting=False)
        said = "ready" if found.healthy else "not ready"
        return JSONResponse({"status": said}, 200 if found.healthy else 503, _FRESH)

    async def live(request: Request) -> Response:
        return JSONResponse({"status": "alive"}, 200, _FRESH)

    async def exposed(request: Request) -> Response:
        found = await probe.check_async()
        # In a thread: the counts of other processes are files.
        page, media_type = await anyio.to_thread.run_sync(
            functools.partial(metrics.exposed, found, request.headers.get("accept", ""), registry=registry)
        )
        return Response(page, 200, {**_FRESH, "content-type": media_type})

    return Starlette(
        routes=[
            Route("/health/ai-storage", health),
            Route("/health/ready", ready),
            Route("/health/live", live),
            Route("/metrics", exposed),
        ]
    )
