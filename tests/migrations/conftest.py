"""What the tests of the migrations share: databases with the guide's own table in them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import guide_tables
import pytest
import sqlalchemy as sa

from pytest_aistorage import AIProgress, config
from pytest_aistorage.backends._engines import engine_from_url


@dataclasses.dataclass(frozen=True)
class GuideDatabase:
    """A database as the guide's reader has it.

    Attributes:
        product: ``postgres`` or ``mysql``.
        url: of the database.
        engine: the application's own way to it.
        records: what is in it, by name.
    """

    product: str
    url: str
    engine: sa.Engine
    records: dict[str, AIProgress]


@pytest.fixture(params=["postgres", "mysql"])
def guide_database(request: pytest.FixtureRequest) -> Iterator[GuideDatabase]:
    """The guide's table with 1100 records in it, which is more than are looked at in one statement."""
    url = request.getfixturevalue(f"{request.param}_server").create_database()
    engine = engine_from_url(config.StorageURL.parse(url), timeout=30, pool_size=5, max_overflow=5)
    with engine.connect().execution_options(isolation_level="READ COMMITTED") as connection:
        guide_tables.create(connection, request.param)
        records = guide_tables.fill(connection, 1100)
        connection.commit()
    yield GuideDatabase(request.param, url, engine, records)
    engine.dispose()
