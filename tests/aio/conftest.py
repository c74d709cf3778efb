"""What the tests of asynchronous storages share."""

from __future__ import annotations

import pytest

from pytest_aistorage.servers import PrivateServer

KINDS = ("postgres", "mysql", "redis")


@pytest.fixture(params=KINDS)
def private(request: pytest.FixtureRequest) -> PrivateServer:
    """A durable server of this test's own, of each kind."""
    server: PrivateServer = request.getfixturevalue(f"private_{request.param}_server")
    return server
