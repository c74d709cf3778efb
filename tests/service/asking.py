"""How the tests of the service ask it: a client, and how long it is patient."""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import json
import time
from typing import Any

PATIENCE = 120.0
"""Seconds after which something hangs, however busy the machine is."""


@dataclasses.dataclass(frozen=True)
class Answer:
    """What came of one request."""

    status: int
    media_type: str
    text: str
    seconds: float

    @property
    def document(self) -> Any:
        """The body, as JSON."""
        return json.loads(self.text)


class Client:
    """Asks a service on a port of this machine, with a connection for each request."""

    def __init__(self, port: int) -> None:
        self.port = port

    def get(self, path: str, **headers: str) -> Answer:
        """Ask for a path."""
        started = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        with contextlib.closing(connection):
            connection.request("GET", path, headers=headers)
            response = connection.getresponse()
            text = response.read().decode()
        media_type = response.headers["content-type"]
        return Answer(response.status, media_type, text, time.monotonic() - started)

    def until(self, status: int, path: str = "/health/ai-storage") -> Answer:
        """Ask until the status is this one; fail if it does not come."""
        end = time.monotonic() + PATIENCE
        while (answer := self.get(path)).status != status:
            assert time.monotonic() < end, answer
            time.sleep(0.02)
        return answer
