"""What the tests of health, metrics and the service share: an application on a real port."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import uvicorn
from asking import PATIENCE, Client


@pytest.fixture
def served() -> Iterator[Callable[[Any], Client]]:
    """Yields what serves an ASGI application on a free port, in a thread, until the test is over."""
    with contextlib.ExitStack() as stack:

        def serve(app: Any) -> Client:
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, lifespan="off"))
            thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
            thread.start()

            def end() -> None:
                server.should_exit = True
                thread.join(PATIENCE)
                assert not thread.is_alive()

            stack.callback(end)
            return Client(listener.getsockname()[1])

        yield serve
