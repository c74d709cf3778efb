"""TCP ports that nobody listens on."""

from __future__ import annotations

import errno
import os
import socket

__all__ = ["free_port"]

# Below every platform's ephemeral range, so that no outgoing connection takes a port while its server is down.
_LOWEST, _HIGHEST = 20000, 32000


def free_port() -> int:
    """A TCP port on which nobody listens on the loopback interface at this moment."""
    while True:
        port = _LOWEST + int.from_bytes(os.urandom(4), "big") % (_HIGHEST - _LOWEST)
        with socket.socket() as attempt:
            try:
                attempt.bind(("127.0.0.1", port))
            except OSError as error:
                if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                    raise
                continue
        return port
