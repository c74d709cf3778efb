"""What the tests of the measuring code share: stores on whatever this machine offers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pytest_aistorage.bench.settings import Settings
from pytest_aistorage.bench.stores import Stores


@pytest.fixture
def quick() -> Iterator[Settings]:
    """Settings by which little is measured, with stores that are gone afterwards."""
    with Stores() as stores:
        yield Settings(stores=stores, quick=True, budget=0.0)
