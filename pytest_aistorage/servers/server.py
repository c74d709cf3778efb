"""A server as its users see it: where it is, what it is, and databases on it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pytest_aistorage.errors import ConfigurationError, ServerUnavailableError, UnsupportedOperationError
from pytest_aistorage.servers.base import Kind, ProviderUnavailableError, ServerSpec, redacted
from pytest_aistorage.servers.kind import ServerKind
from pytest_aistorage.servers.redis import DATABASES
from pytest_aistorage.servers.supervised import Lease, Supervisor

__all__ = ["PrivateServer", "Server"]


class Numbers:
    """Numbers that no two processes of a run hold at the same time: those of the databases on one server.

    In a file, not on the server: an application under test may flush that.

    Args:
        path: the file, shared by all who use the server.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def take(self) -> int:
        """The smallest number, from 1, that was given back, or else the next."""
        return self._locked(_take)

    def give_back(self, number: int) -> None:
        """Let somebody else have it."""

        def put(state: dict[str, Any]) -> int:
            state["free"] = sorted({*state["free"], number})
            return number

        self._locked(put)

    def reset(self) -> None:
        """Nobody holds any."""
        self._path.unlink(missing_ok=True)

    def _locked(self, change: Callable[[dict[str, Any]], int]) -> int:
        from filelock import FileLock

        with FileLock(f"{self._path}.lock", timeout=30):
            state = (
                json.loads(self._path.read_text("utf-8")) if self._path.exists() else {"next": 1, "free": []}
            )
            number = change(state)
            unfinished = self._path.with_suffix(".new")
            unfinished.write_text(json.dumps(state), "utf-8")
            unfinished.replace(self._path)
        return number


def _take(state: dict[str, Any]) -> int:
    if state["free"]:
        return int(state["free"].pop(0))
    state["next"] += 1
    return int(state["next"]) - 1


class Server:
    """A server to use; it is shared, so nothing here can break it for others.

    Attributes:
        spec: what was asked for.
        url: the administrator's URL, with the password where there is one.
        version: what the server says it is: ``"PostgreSQL 17.2"``, ``"Valkey 9.1.0"``.
        provider: where it came from, one of ``PROVIDERS``.
        owned: whether this package started it; a server given by URL it did not.
    """

    def __init__(
        self,
        kind: ServerKind,
        spec: ServerSpec,
        *,
        url: str,
        version: str,
        provider: str,
        run_id: str,
        numbers: Numbers,
        lease: Lease | None = None,
        kept: bool = False,
    ) -> None:
        self.spec = spec
        self.url = url
        self.version = version
        self.provider = provider
        self.owned = provider != "url"
        self._kind = kind
        self._run_id = run_id
        self._numbers = numbers
        self._lease = lease
        self._kept = kept

    @property
    def kind(self) -> Kind:
        """``postgres``, ``redis`` or ``mysql``."""
        return self._kind.kind

    @property
    def redacted_url(self) -> str:
        """The URL with ``***`` for the password."""
        return redacted(self.url)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.spec}: {self.version}, {self.provider}, {self.redacted_url}>"

    def create_database(self) -> str:
        """Create a database that nobody else has, and return its URL.

        PostgreSQL and MySQL: a database ``aistorage_<run id>_<number>``. Redis: a logical database of its own; on
        a server that was given by URL, a ``prefix`` parameter that the keys must begin with.

        Raises:
            ServerUnavailableError: the logical databases of a Redis are all in use.
            Exception: the driver's, when the server refuses.
        """
        number = self._numbers.take()
        if self.kind == "redis" and self.owned and number >= DATABASES:
            self._numbers.give_back(number)
            raise ServerUnavailableError(
                str(self.spec),
                [f"all {DATABASES - 1} logical databases are in use"],
                "Drop those not used any more.",
            )
        try:
            return self._kind.create(self.url, self._name(number), owned=self.owned, number=number)
        except BaseException:
            self._numbers.give_back(number)
            raise

    def drop_database(self, url: str) -> None:
        """Drop a database that `create_database` made, in this process or another of the run.

        Args:
            url: what `create_database` returned.

        Raises:
            ConfigurationError: the URL leads to something that it did not make; nothing is touched.
        """
        number = self._number_of(url)
        self._kind.drop(self.url, url)
        self._numbers.give_back(number)

    def close(self) -> None:
        """Give up the server. When its last user has, it ends (unless it is kept), and all its data with it."""
        if self._lease is not None:
            self._lease.release(wait=not self._kept)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def kill(self) -> None:
        """Refused: others use this server. Raises UnsupportedOperationError."""
        self._refuse("kill")

    def stop(self) -> None:
        """Refused: others use this server. Raises UnsupportedOperationError."""
        self._refuse("stop")

    def restart(self) -> None:
        """Refused: others use this server. Raises UnsupportedOperationError."""
        self._refuse("restart")

    def pause(self) -> None:
        """Refused: others use this server. Raises UnsupportedOperationError."""
        self._refuse("pause")

    def resume(self) -> None:
        """Refused: others use this server. Raises UnsupportedOperationError."""
        self._refuse("resume")

    def _refuse(self, operation: str) -> None:
        raise UnsupportedOperationError(
            f"{operation}() of a shared server would break it for others: use private_{self.kind}_server"
        )

    def _name(self, number: int) -> str:
        return f"aistorage_{self._run_id}_{number}"

    def _number_of(self, url: str) -> int:
        name = self._kind.name_in(url, owned=self.owned)
        text = name if self.kind == "redis" and self.owned else name.removeprefix(self._name(0)[:-1])
        same_server = url.split("://")[-1].split("/")[0] == self.url.split("://")[-1].split("/")[0]
        if not same_server or not text.isascii() or not text.isdigit() or text.startswith("0"):
            raise ConfigurationError(
                f"{redacted(url)} is no database that create_database() of {self.spec} made"
            )
        return int(text)


class PrivateServer(Server):
    """A server of one's own, with settings that survive a crash, that can be crashed.

    Its URL and its data stay the same over `kill`, `stop` and `restart`. Each operation raises
    `ServerUnavailableError` when the server does not do it in time.

    Attributes:
        data_dir: its data directory; None in a container.
    """

    data_dir: Path | None
    _supervisor: Supervisor

    @classmethod
    def over(cls, supervisor: Supervisor, data_dir: Path | None, **fields: Any) -> Self:
        """The server of a supervisor; `fields` are those of `Server`."""
        server = cls(**fields)
        server._supervisor = supervisor
        server.data_dir = data_dir
        return server

    def kill(self) -> None:
        """SIGKILL to all its processes; returns when they are gone."""
        self._command("kill")

    def stop(self) -> None:
        """Shut it down in order; returns when it is down."""
        self._command("stop")

    def restart(self) -> None:
        """Start it again on the same URL and data, after `kill`, `stop` or neither; returns when it answers."""
        self._command("restart")

    def pause(self) -> None:
        """SIGSTOP to all its processes: connections stay open, nothing is answered."""
        self._command("pause")

    def resume(self) -> None:
        """SIGCONT after `pause`."""
        self._command("resume")

    def close(self) -> None:
        """End it, and remove its data."""
        self._supervisor.hang_up()
        super().close()

    def _command(self, name: str) -> None:
        try:
            self._supervisor.command(name)
        except ProviderUnavailableError as error:
            raise ServerUnavailableError(
                str(self.spec), [f"{self.provider}: {name}: {error.reason}"], "See the reason."
            ) from error
