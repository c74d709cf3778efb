"""PyMySQL's connection, without its most expensive step."""

from __future__ import annotations

import functools
import ssl
from typing import Any

import pymysql.connections

__all__ = ["Connection"]


class Connection(pymysql.connections.Connection):  # type: ignore[misc]  # PyMySQL is untyped
    """A connection that is encrypted where the server can, as PyMySQL's are.

    PyMySQL loads the system's certificates for each of them, although it verifies none where the URL asks for no
    ``ssl_…``: 20 ms, forty times as long as all the rest. Here it does so once in a process.
    """

    def _create_ssl_ctx(self, sslp: Any) -> ssl.SSLContext:
        return _unverified() if sslp == {} else super()._create_ssl_ctx(sslp)


@functools.cache
def _unverified() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
