"""The contract, on our own backends."""

from collections.abc import Callable, Iterator

import pytest
from raw import raw_reader

from pytest_aistorage import AIStorage
from pytest_aistorage.conformance import AIStorageContract
from pytest_aistorage.conformance.contract import RawReader


class TestOwnBackends(AIStorageContract):
    """Every backend that ``ai_storage_backends`` in the project's ini names."""

    @pytest.fixture
    def ai_storage_raw(self, ai_storage_opener: Callable[[], AIStorage]) -> Iterator[RawReader | None]:
        """Reads by the server's own client, or out of the file."""
        with raw_reader(ai_storage_opener) as raw:
            yield raw
