"""psycopg's connection with a time limit on the client's side: a stopped server never answers, nor hangs up."""

from __future__ import annotations

import contextlib
from typing import Any

import psycopg
from psycopg import generators, waiting

__all__ = ["TimedConnection", "cancel", "cancellation_of"]


class TimedConnection(psycopg.Connection[Any]):
    """A connection on which no single wait for the server outlasts ``time_limit``.

    When a wait does, the connection is closed: a late answer must not be taken for that of the next statement.
    """

    time_limit: float = 5.0
    """Seconds."""

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """Wait for the server, no longer than the time limit.

        Raises:
            psycopg.OperationalError: the limit was reached; the connection is closed.
        """
        if timeout is not None:
            return super().wait(gen, interval, timeout)
        try:
            return super().wait(gen, interval, self.time_limit)
        except psycopg.errors._WaitTimeout as error:
            self.close()
            raise psycopg.OperationalError(f"no answer within {self.time_limit:g} s") from error


def cancellation_of(connection: Any) -> Any:
    """Return what a connection's statement can be called off by, when the connection is gone; None: nothing can.

    Takes no time, and may be called while another thread waits on the connection.
    """
    with contextlib.suppress(psycopg.Error):  # closed by now, or an older libpq
        return connection.pgconn.cancel_conn()
    return None


def cancel(cancellation: Any, seconds: float) -> None:
    """Call a statement off, as far as the server can be reached within so many seconds."""
    with contextlib.suppress(psycopg.Error, psycopg.errors._WaitTimeout, OSError):
        cancellation.start()
        waiting.wait_conn(generators.cancel(cancellation), interval=0.1, timeout=seconds)
