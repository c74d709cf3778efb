"""The contract, on our own backends."""

from collections.abc import Callable, Iterator

import pytest
from crashable import crashable_of
from raw import raw_reader

from pytest_aistorage import AIStorage
from pytest_aistorage.conformance import AIStorageContract
from pytest_aistorage.conformance.contract import Crashable, RawReader


class TestOwnBackends(AIStorageContract):
    """Every backend that ``ai_storage_backends`` in the project's ini names."""

    @pytest.fixture
    def ai_storage_raw(self, ai_storage_opener: Callable[[], AIStorage]) -> Iterator[RawReader | None]:
        """Reads by the server's own client, or out of the file."""
        with raw_reader(ai_storage_opener) as raw:
            yield raw

    @pytest.fixture
    def ai_storage_crashable(
        self, request: pytest.FixtureRequest, ai_storage_opener: Callable[[], AIStorage]
    ) -> Iterator[Crashable | None]:
        """A private server of the same kind; for SQLite the process that its library runs in."""
        with crashable_of(request, ai_storage_opener) as crashable:
            yield crashable
