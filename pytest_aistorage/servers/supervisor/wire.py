"""Messages between a supervisor and whoever started it: dictionaries of plain values over two pipes."""

from __future__ import annotations

# Not JSON: importing it costs more than all the rest of the supervisor. Both ends run the same interpreter.
import marshal
import os
from typing import Any

__all__ = ["receive", "send"]


def send(fd: int, message: dict[str, Any]) -> None:
    """Write one message. Raises BrokenPipeError when the other end is gone."""
    body = marshal.dumps(message)
    data = len(body).to_bytes(4, "big") + body
    while data:
        data = data[os.write(fd, data) :]


def receive(fd: int) -> dict[str, Any] | None:
    """Read one message; None when the other end is gone."""
    head = _exactly(fd, 4)
    body = _exactly(fd, int.from_bytes(head, "big")) if head else None
    if body is None:
        return None
    message: dict[str, Any] = marshal.loads(body)
    return message


def _exactly(fd: int, count: int) -> bytes | None:
    data = b""
    while len(data) < count:
        piece = os.read(fd, count - len(data))
        if not piece:
            return None
        data += piece
    return data
