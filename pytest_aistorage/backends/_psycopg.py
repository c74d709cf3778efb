"""psycopg's connection with a time limit on the client's side: a stopped server never answers, nor hangs up."""

from __future__ import annotations

from typing import Any

import psycopg

__all__ = ["TimedConnection"]


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
