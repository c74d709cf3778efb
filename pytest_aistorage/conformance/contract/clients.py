"""What every contract test stands on: clients of one fresh store, and which of the tests apply to it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from types import MappingProxyType, TracebackType
from typing import Any, ClassVar, NoReturn, Self, TypeVar

import pytest

from ...capabilities import Capability
from ...errors import AIStorageError
from ...storage import AIStorage
from .. import effort
from ..excuses import DEVIATION, INCONCLUSIVE, NOT_APPLICABLE, excused
from . import patience
from .deviations import deviation_of

__all__ = ["Clients", "ContractBase", "Opener", "inapplicable", "inconclusive", "not_applicable", "requires"]

Opener = Callable[[], AIStorage]
"""Opens one more client of the same store. Picklable where the store is shared between processes."""

Test = TypeVar("Test", bound=Callable[..., None])


class Clients:
    """The clients that a test opens, all of one store; closed when it ends.

    Args:
        opener: opens a client.
        capabilities: what the storage declares; None: as its instances say.

    Attributes:
        opener: the same, for other processes.
        facts: what the report is to know of the test, beside its outcome: plain values.
    """

    def __init__(self, opener: Opener, capabilities: frozenset[Capability] | None = None) -> None:
        self.opener = opener
        self.facts: dict[str, Any] = {}
        self._capabilities = capabilities
        self._open: list[AIStorage] = []
        self._numbers = itertools.count(1)

    def open(self) -> AIStorage:
        """Open one more client."""
        client = self.opener()
        if client is None:
            pytest.fail("ai_storage_opener: opening returned None instead of an open storage")
        self._open.append(client)
        return client

    @property
    def first(self) -> AIStorage:
        """The client that was opened first; now, if there is none."""
        return self._open[0] if self._open else self.open()

    def new_name(self) -> str:
        """Return a model name that this test has not used."""
        return f"model-{next(self._numbers)}"

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What the storage declares."""
        if self._capabilities is None:
            client = self.first
            found = getattr(client, "capabilities", None)
            if not isinstance(found, frozenset):
                pytest.fail(
                    f"{client!r} declares no capabilities: give it, or the test class, an attribute "
                    f"`capabilities`, a frozenset of Capability; found {found!r}"
                )
            self._capabilities = found
        return self._capabilities

    def close(self) -> None:
        """Close those that are open."""
        while self._open:
            with suppress(AIStorageError):  # what the test found wrong is the news, not what came of it
                self._open.pop().close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def requires(
    *capabilities: Capability,
    unless: Capability | None = None,
    evidence_for: Collection[Capability] | None = None,
) -> Callable[[Test], Test]:
    """Let a contract test apply only to storages that declare these capabilities.

    Args:
        capabilities: all of them.
        unless: the test says what holds where this one is *not* declared.
        evidence_for: the guarantees that the test is about; None: those of ``capabilities`` that are not there only
            because it takes them to show the others.
    """

    def mark(test: Test) -> Test:
        test.__dict__.update(
            aistorage_requires=frozenset(capabilities),
            aistorage_unless=unless,
            aistorage_evidence_for=evidence_for,
        )
        return test

    return mark


def not_applicable(test: Callable[..., Any], declared: frozenset[Capability]) -> str | None:
    """Say why a contract test does not apply to a storage; None: it does.

    Args:
        test: a method of the contract.
        declared: what the storage declares.
    """
    missing = sorted(c.name for c in getattr(test, "aistorage_requires", frozenset()) - declared)
    if missing:
        return excused(NOT_APPLICABLE, f"the storage does not declare {', '.join(missing)}")
    unless = getattr(test, "aistorage_unless", None)
    if unless in declared:
        return excused(NOT_APPLICABLE, f"the storage declares {unless.name}")
    return None


def inconclusive(reason: str) -> NoReturn:
    """End a contract test that could show neither that a guarantee holds nor that it doesn't.

    Args:
        reason: why, and what would make it conclusive.
    """
    pytest.skip(excused(INCONCLUSIVE, reason))


def inapplicable(reason: str) -> NoReturn:
    """End a contract test that turns out to be about something that the storage does not have.

    Args:
        reason: what it is.
    """
    pytest.skip(excused(NOT_APPLICABLE, reason))


class ContractBase:
    """The fixtures of the contract. A subclass, or a conftest.py, supplies ``ai_storage_opener``.

    Attributes:
        area: what the tests of the class are about, for the report.
        capabilities: what the storage declares; None: what its instances say.
        deviations: by a contract test's name, the reason why the storage can't keep that promise. The test is
            not run, and the report shows the reason.
        withheld: by a guarantee that is not declared and yet kept in all that the suite tries, the reason why it
            is not declared: a failover that loses acknowledged writes, say. Without one, that is a failure.
    """

    area: ClassVar[str] = ""
    capabilities: frozenset[Capability] | None = None
    deviations: ClassVar[Mapping[str, str]] = MappingProxyType({})
    withheld: ClassVar[Mapping[Capability, str]] = MappingProxyType({})

    @pytest.fixture
    def clients(self, request: pytest.FixtureRequest, ai_storage_opener: Opener) -> Iterator[Clients]:
        """The clients of a fresh store; a test that waits for one of them for ever fails."""
        limit = patience.LIMITS[request.config.getoption("--ai-storage-effort", "normal")]
        with patience.bounded(limit), Clients(ai_storage_opener, self.capabilities) as clients:
            yield clients

    @pytest.fixture
    def storage(self, clients: Clients) -> AIStorage:
        """A client of a fresh store."""
        return clients.open()

    @pytest.fixture(autouse=True)
    def _applies(self, request: pytest.FixtureRequest, clients: Clients) -> None:
        level = request.config.getoption("--ai-storage-effort", "normal")
        seed = request.config.getoption("--ai-storage-seed", None)
        replayed = request.config.getoption("--ai-storage-replay", None)
        effort.set_active(effort.EFFORTS[level], 0 if seed is None else seed, replayed)
        facts = clients.facts
        facts["declared"] = sorted(one.value for one in clients.capabilities)
        # Plain values: with pytest-xdist they travel to the process that writes the report.
        request.node.user_properties.append(("aistorage", facts))
        name = request.function.__name__
        if (reason := deviation_of(self, name, request.function)) is not None:
            facts["deviation"] = reason
            if name in self.deviations:
                pytest.skip(excused(DEVIATION, reason))
        if (reason := not_applicable(request.function, clients.capabilities)) is not None:
            pytest.skip(reason)
