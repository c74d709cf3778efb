"""A server as its users see it: where it is, what it is, and databases on it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from pytest_aistorage.errors import ConfigurationError, ServerUnavailableError, UnsupportedOperationError
from pytest_aistorage.servers.base import Kind, ProviderUnavailableError, ServerSpec, redacted, with_parts
from pytest_aistorage.servers.kind import ServerKind
from pytest_aistorage.servers.power import Fsyncs
from pytest_aistorage.servers.proxy import Direction, TCPProxy
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
            return self._kind.create(self._way(), self._name(number), owned=self.owned, number=number)
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
        self._kind.drop(self._way(), self._way(url))
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

    def partition(self, direction: Direction = "both") -> None:
        """Refused: others use this server. Raises UnsupportedOperationError."""
        self._refuse("partition")

    def heal(self) -> None:
        """Refused: others use this server. Raises UnsupportedOperationError."""
        self._refuse("heal")

    def reset(self) -> None:
        """Refused: others use this server. Raises UnsupportedOperationError."""
        self._refuse("reset")

    def delay(self, seconds: float) -> None:
        """Refused: others use this server. Raises UnsupportedOperationError."""
        self._refuse("delay")

    def cut_power(self) -> None:
        """Refused: others use this server. Raises UnsupportedOperationError."""
        self._refuse("cut_power")

    def _refuse(self, operation: str) -> None:
        raise UnsupportedOperationError(
            f"{operation}() of a shared server would break it for others: use private_{self.kind}_server"
        )

    def _way(self, url: str | None = None) -> str:
        """A URL of this server as we go there ourselves."""
        return self.url if url is None else url

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
    """A server of one's own, with settings that survive a crash, that can be crashed and cut off.

    Its URL and its data stay the same over `kill`, `stop` and `restart`. Each of these, `pause` and `resume` raise
    `ServerUnavailableError` when the server does not do it in time.

    ``url``, and the URLs of its databases, lead through a `TCPProxy` in this process, so that `partition`, `reset`
    and `delay` can reach connections of any client. That makes a round trip some 30 µs longer on an idle machine
    (a GET of Redis 65 µs instead of 40), and more while other threads of this process keep the interpreter busy:
    a benchmark takes `direct`.

    Attributes:
        data_dir: its data directory; None in a container.
        direct_url: its URL without the proxy: no network fault reaches what goes there.
    """

    data_dir: Path | None
    direct_url: str
    _fsyncs: Fsyncs | None
    _supervisor: Supervisor
    _proxy: TCPProxy
    _commanding: threading.Lock  # the supervisor's answers come in order, and are not told apart

    @classmethod
    def over(
        cls, supervisor: Supervisor, data_dir: Path | None, *, url: str, power: bool = False, **fields: Any
    ) -> Self:
        """The server of a supervisor, behind a proxy of its own.

        Args:
            supervisor: of the server.
            data_dir: the attribute.
            url: where the server itself is.
            power: whether its power can be cut.
            fields: those of `Server`.
        """
        proxy = TCPProxy.before(url)
        server = cls(url=proxy.url, **fields)
        server.direct_url = url
        server.data_dir = data_dir
        server._supervisor = supervisor
        server._proxy = proxy
        server._commanding = threading.Lock()
        server._fsyncs = Fsyncs(server._command_fsyncs) if power else None
        return server

    def direct(self, url: str) -> str:
        """Return the URL of a database on this server, leading to it without the proxy.

        Args:
            url: what `create_database` returned, or ``url``.
        """
        return with_parts(url, netloc=urlsplit(self.direct_url).netloc)

    def create_database(self) -> str:
        """Create a database that nobody else has, also while the network is cut; its URL leads through the proxy.

        Raises:
            ServerUnavailableError: the logical databases of a Redis are all in use.
            Exception: the driver's, when the server refuses or is down.
        """
        return self._proxy.through(super().create_database())

    def kill(self) -> None:
        """SIGKILL to all its processes; returns when they are gone."""
        self._command("kill")
        self._proxy.refuse()

    def stop(self) -> None:
        """Shut it down in order; returns when it is down."""
        self._command("stop")
        self._proxy.refuse()

    def restart(self) -> None:
        """Start it again on the same URL and data, after `kill`, `stop` or neither; returns when it answers."""
        self._proxy.refuse()
        self._command("restart")
        self._proxy.accept()

    def pause(self) -> None:
        """SIGSTOP to all its processes: connections stay open, nothing is answered."""
        self._command("pause")

    def resume(self) -> None:
        """SIGCONT after `pause`."""
        self._command("resume")

    def cut_power(self) -> None:
        """Do what a loss of power does, at the worst: SIGKILL, and all that was not fsynced is gone.

        Each file is put back to what was in it at its last fsync, and is empty if there was none; names stay as they
        are. `restart` starts the server on what is left. If it was killed or stopped before, it loses now what the
        operating system would not have written yet. An fsync that is under way counts as done, unless it is held
        (`Fsyncs.hold`). Returns when all that is done.

        Raises:
            UnsupportedOperationError: it was not started with ``power=True``.
        """
        self.fsyncs  # noqa: B018 - says why not
        self._command("cut_power")
        self._proxy.refuse()

    @property
    def fsyncs(self) -> Fsyncs:
        """Its fsyncs, to be counted and held. Raises UnsupportedOperationError if it has no ``power=True``."""
        if self._fsyncs is None:
            raise UnsupportedOperationError(
                f"{self!r} was not started as one whose power can be cut: that takes private_server(…, power=True), "
                "or in a test @pytest.mark.ai_storage_server(power=True)"
            )
        return self._fsyncs

    def _command_fsyncs(self, name: str, **arguments: int) -> Any:
        return self._command(f"{name}_fsyncs", **arguments)

    def partition(self, direction: Direction = "both") -> None:
        """Cut the network: connections stay open, nothing passes until `heal`, which delivers what was sent.

        Args:
            direction: ``"both"``; ``"from server"``: requests arrive and are carried out, their answers are lost;
                ``"from client"``.

        Raises:
            ConfigurationError: no such direction.
        """
        self._proxy.partition(direction)

    def heal(self) -> None:
        """End `partition` and `delay`."""
        self._proxy.heal()

    def reset(self) -> None:
        """Break all connections by a RST; new ones are welcome."""
        self._proxy.reset()

    def delay(self, seconds: float) -> None:
        """Deliver all that is sent from now on that much later, in each direction, until `heal`.

        Args:
            seconds: a round trip takes twice as much longer.

        Raises:
            ConfigurationError: no number from 0 up.
        """
        self._proxy.delay(seconds)

    def close(self) -> None:
        """End it, and remove its data."""
        self._proxy.close()
        self._supervisor.hang_up()
        super().close()

    def _way(self, url: str | None = None) -> str:
        return self.direct(self.url if url is None else url)

    def _command(self, name: str, **arguments: int) -> Any:
        try:
            with self._commanding:
                return self._supervisor.command(name, **arguments)
        except ProviderUnavailableError as error:
            raise ServerUnavailableError(
                str(self.spec), [f"{self.provider}: {name}: {error.reason}"], "See the reason."
            ) from error
