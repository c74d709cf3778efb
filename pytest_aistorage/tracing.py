"""What a storage does, as spans of OpenTelemetry, by its semantic conventions for databases."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from .config import StorageURL
from .errors import ConfigurationError
from .observing import Observation, ObservedStorage
from .storage import AIStorage

try:
    from opentelemetry import context, trace
except ImportError as missing:
    raise ConfigurationError(
        "spans need opentelemetry-api, which is not installed: pip install 'pytest-aistorage[tracing]'"
    ) from missing

__all__ = ["TracedStorage"]

_SYSTEMS: Final = MappingProxyType(
    {
        "postgresql": "postgresql",
        "postgres": "postgresql",
        "mysql": "mysql",
        "mariadb": "mariadb",
        "sqlite": "sqlite",
        "redis": "redis",
        "rediss": "redis",
        "valkey": "redis",  # the conventions have no name of its own for what speaks Redis' protocol
        "valkeys": "redis",
        "unix": "redis",
    }
)
"""``db.system.name`` by a URL's scheme."""

_ERRORS: Final = frozenset({"unavailable", "unknown", "corrupt", "error"})
"""The statuses that are an error of the storage, not an answer to its caller."""


class _Spanning(Observation):
    """Makes the span of one operation."""

    __slots__ = ("_span", "_token")
    _storage: TracedStorage

    def begin(self) -> None:
        attributes = {**self._storage._attributes, "db.operation.name": self.operation}
        if self.count > 1:
            attributes["db.operation.batch.size"] = self.count
        self._span = self._storage._tracer.start_span(
            f"{self.operation} ai_progress", kind=self._storage._kind, attributes=attributes
        )
        self.resume()

    def pause(self) -> None:
        context.detach(self._token)

    def resume(self) -> None:
        self._token = context.attach(trace.set_span_in_context(self._span))

    def end(self, status: str, error: BaseException | None, *, repeated: bool) -> None:
        self.pause()
        span = self._span
        span.set_attribute("ai_storage.status", status)
        if error is not None:
            span.set_attribute("error.type", type(error).__qualname__)
            if status in _ERRORS:
                # By its class alone: the message of an error that is none of ours may hold anything.
                span.set_status(trace.Status(trace.StatusCode.ERROR, type(error).__qualname__))
        span.end()


class TracedStorage(ObservedStorage):
    """Makes a span of every operation of a storage; those of its driver, where they are traced, lie in it.

    A span is called ``get ai_progress`` and has ``db.system.name``, ``db.operation.name``, ``db.collection.name``,
    ``db.namespace``, ``server.address``, ``server.port``, ``db.operation.batch.size`` and ``error.type`` as the
    conventions want them, and ``ai_storage.type`` and ``ai_storage.status``. No span holds a password, a user's name,
    a model's name or anything of a record.

    An operation that `AsyncAIStorage` does together with others has one span for all of them, with no parent.

    Args:
        storage: what it is wrapped around; `close` closes it.
        tracer_provider: where spans go; by default what the application has set.

    Raises:
        ConfigurationError: no `AIStorage`.
    """

    _observation = _Spanning

    def __init__(self, storage: AIStorage, *, tracer_provider: trace.TracerProvider | None = None) -> None:
        super().__init__(storage)
        self._tracer = trace.get_tracer("pytest_aistorage", tracer_provider=tracer_provider)
        self._attributes = {**_whereabouts(storage), "ai_storage.type": storage.type}
        self._kind = (
            trace.SpanKind.CLIENT if "server.address" in self._attributes else trace.SpanKind.INTERNAL
        )


def _whereabouts(storage: AIStorage) -> Mapping[str, Any]:
    """The attributes that say where a storage is; of a hybrid, where its database is."""
    location = storage._location().partition(" with cache ")[0]
    found: dict[str, Any] = {"db.collection.name": "ai_progress"}
    try:
        url = StorageURL.parse(location)
    except ConfigurationError:  # a backend of a third party may say it in its own words
        return found
    if (system := _SYSTEMS.get(url.scheme.partition("+")[0])) is not None:
        found["db.system.name"] = system
    if url.host:
        found["server.address"] = url.host
        if url.port is not None:
            found["server.port"] = url.port
        if namespace := url.path.lstrip("/"):
            found["db.namespace"] = namespace
    return found
