"""The whole conformance suite."""

import functools

import pytest
from aistorage_lockedfile import LockedFileStorage

from pytest_aistorage.conformance import AIStorageContract


class TestLockedFile(AIStorageContract):
    """Whatever the storage declares, it keeps."""

    @pytest.fixture
    def ai_storage_opener(self, tmp_path):
        """Opens one more client of the test's store."""
        return functools.partial(LockedFileStorage, tmp_path / "progress.json")
