"""What ``pytest --pyargs pytest_aistorage.conformance --ai-storage=NAME`` runs: the contract, on what NAME opens."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any
from uuid import uuid4

import pytest

from pytest_aistorage.conformance import AIStorageContract, Crashable, RawReader
from pytest_aistorage.conformance.contract import Clients, contract_tests
from pytest_aistorage.conformance.contract.deviations import check_reasons
from pytest_aistorage.conformance.factories import Supplied, find_factory, is_reference
from pytest_aistorage.conformance.preflight import preflight
from pytest_aistorage.errors import ConfigurationError
from pytest_aistorage.registry import backend_class, backend_names

_UNFIT = set[str]()  # the backends that failed their preflight in this process


@pytest.fixture
def supplied(request: pytest.FixtureRequest, ai_storage_opener: Any) -> Supplied:
    """What the author of the backend supplies beside the storage."""
    try:
        return Supplied.by(
            _author(ai_storage_opener.backend), request.config.getoption("--ai-storage-capability")
        )
    except ConfigurationError as error:
        raise pytest.UsageError(str(error)) from None


@functools.cache  # finding the registered names reads the metadata of all that is installed
def _author(name: str) -> Any:
    if is_reference(name):
        return find_factory(name)
    return backend_class(name) if name in backend_names() else None


def test_preflight(ai_storage_opener: Any, supplied: Supplied) -> None:
    """The storage has the contract's methods, declares capabilities, and two clients share one store."""
    try:
        check_reasons(ai_storage_opener.backend, supplied.deviations, contract_tests())
    except TypeError as error:
        pytest.fail(str(error), pytrace=False)
    if problems := preflight(ai_storage_opener, supplied.capabilities):
        _UNFIT.add(ai_storage_opener.backend)
        pytest.fail("\n".join(problems), pytrace=False)


class TestConformance(AIStorageContract):
    """The contract, with what the author supplies for each backend instead of for a class."""

    @pytest.fixture
    def clients(self, ai_storage_opener: Any, supplied: Supplied) -> Iterator[Clients]:
        """The clients of a fresh store."""
        if ai_storage_opener.backend in _UNFIT:
            pytest.skip(f"{ai_storage_opener.backend} can't be tested: see what test_preflight says")
        self.__dict__.update(deviations=supplied.deviations, withheld=supplied.withheld)
        with Clients(ai_storage_opener, supplied.capabilities) as clients:
            yield clients

    @pytest.fixture
    def ai_storage_raw(
        self, ai_storage_opener: Any, ai_storage_raw: RawReader | None, supplied: Supplied
    ) -> RawReader | None:
        """Reads of the same store that go around the storage: the author's, or the plugin's of a built-in backend."""
        if supplied.raw is None:
            return ai_storage_raw
        reader: RawReader = supplied.raw(ai_storage_opener.store_id)
        return reader

    @pytest.fixture
    def ai_storage_crashable(
        self, ai_storage_crashable: Crashable | None, supplied: Supplied
    ) -> Iterator[Crashable | None]:
        """A fresh store on a server that can be killed; the author's is closed in the end, if it has a close."""
        if supplied.crashable is None:
            yield ai_storage_crashable
            return
        crashable: Any = supplied.crashable(f"s{uuid4().hex[:15]}")
        with ExitStack() as stack:
            if hasattr(crashable, "close"):
                stack.callback(crashable.close)
            yield crashable
