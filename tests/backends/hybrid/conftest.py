"""A hybrid store for each test."""

from __future__ import annotations

import contextlib

import pytest
from cached import Cached


@pytest.fixture
def cached(tmp_path, redis_server):
    """A fresh store whose cache is on the run's Redis."""
    with contextlib.closing(Cached(tmp_path, redis_server.create_database())) as made:
        yield made


@pytest.fixture
def killable(tmp_path, private_redis_server):
    """A fresh store whose cache can be killed and cut off."""
    with contextlib.closing(Cached(tmp_path, private_redis_server.create_database())) as made:
        yield made
