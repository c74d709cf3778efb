"""The whole conformance suite."""

import functools

import pytest
from aistorage_directory import DirectoryStorage

from pytest_aistorage.conformance import AIStorageContract


class TestDirectory(AIStorageContract):
    """Whatever the storage declares, it keeps."""

    @pytest.fixture
    def ai_storage_opener(self, tmp_path):
        """Opens one more client of the test's store."""
        return functools.partial(DirectoryStorage, tmp_path / "store")
