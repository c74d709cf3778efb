"""The backends that this machine offers, as subjects of a proof: local ones at once, servers in the background."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Generic, Self, TypeVar

import click

from ..backends.file import FileStorage
from ..errors import ConfigurationError
from ..progress import AIProgress
from ..races.subjects import Subject
from ..registry import backend_class, backend_names
from ..servers.base import ServerSpec
from ..servers.resolve import shared_server
from ..servers.run_directory import RunDirectory
from ..servers.server import Server
from ._servers import SERVERS, server_options

__all__ = ["DEFAULT", "Background", "Machine", "Wanted", "wanted"]

DEFAULT = ("file", "memory", "sqlite", *SERVERS)
"""What is proven where no backend is named."""

T = TypeVar("T")

_LOCAL = ("file", "memory", "sqlite")


@dataclass(frozen=True, slots=True)
class Wanted:
    """One backend to prove.

    Attributes:
        name: as it was given: ``"file"``, ``"redis@valkey-8"``, ``"my-backend"``.
        spec: which server it needs; None where it needs none.
    """

    name: str
    spec: ServerSpec | None


def wanted(names: Sequence[str]) -> list[Wanted]:
    """Read the names of backends.

    Raises:
        click.BadParameter: a name that nobody knows.
    """
    found = []
    for name in dict.fromkeys(names):
        if name.partition("@")[0] in SERVERS:
            try:
                found.append(Wanted(name, ServerSpec.parse(name)))
            except ConfigurationError as error:
                raise click.BadParameter(str(error)) from error
        elif name in _LOCAL or name in _registered():
            found.append(Wanted(name, None))
        else:
            known = ", ".join(dict.fromkeys((*DEFAULT, *_registered())))
            raise click.BadParameter(f"no backend is called {name!r}; known are {known}")
    return found


def _registered() -> list[str]:
    """The backends of others, without ours, which go by the names of their servers here."""
    return [name for name in backend_names() if name not in ("memory", "file", "database", "redis")]


class Background(Generic[T]):
    """Work in a thread of its own, begun at once.

    A daemon: Ctrl-C does not wait for it. Servers and containers that it has started end when they find our
    process gone.

    Args:
        work: what to do.
    """

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._done: list[T] = []
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def result(self) -> T:
        """Wait for the end; return what the work returned, or raise what it raised."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._done[0]

    def so_far(self) -> T | None:
        """Return the result if it is there already."""
        return self._done[0] if self._done else None

    def _run(self) -> None:
        try:
            self._done.append(self._work())
        except Exception as error:  # raised again where the result is asked for
            self._error = error


class Machine:
    """What a proof needs of this machine, for the length of a ``with`` block.

    Args:
        backends: what will be asked for; their servers start at once, all of them.
        providers: where servers may come from.
        urls: of servers to use.
        records: what the stores of the backend ``file`` begin with.
    """

    def __init__(
        self,
        backends: Sequence[Wanted],
        providers: tuple[str, ...],
        urls: Mapping[str, str],
        records: Sequence[AIProgress] = (),
    ) -> None:
        self._records = records
        specs = [backend.spec for backend in backends if backend.spec is not None]
        self._directory = RunDirectory()
        self.options = server_options(self._directory.path, specs, providers, urls)
        self._servers = {spec: Background(partial(shared_server, spec, self.options)) for spec in specs}
        self._databases: dict[ServerSpec, str] = {}

    def subject(self, backend: Wanted) -> tuple[Subject, str | None]:
        """Return the subject of a backend, and where its server came from.

        Raises:
            ServerUnavailableError: no provider could supply its server.
            ConfigurationError: a registered backend that can't be opened.
        """
        if backend.spec is not None:
            server = self._servers[backend.spec].result()
            url = self._databases[backend.spec] = server.create_database()
            return Subject.of_url(backend.name, url), server.provider
        place = self._directory.path / backend.name
        place.mkdir(exist_ok=True)
        if backend.name == "file":
            return Subject.of_files(backend.name, place, FileStorage, self._template()), None
        return Subject.of_url(backend.name, self._fresh_url(backend.name, place)), None

    def _template(self) -> Path | None:
        """Write the given records as `FileStorage` does, whatever the form of the file that they come from."""
        if not self._records:
            return None
        template = self._directory.path / "template.json"
        with FileStorage(template) as storage:
            storage.save_many(self._records)
        return template

    def _fresh_url(self, name: str, place: Path) -> str:
        return backend_class("database" if name == "sqlite" else name).fresh_url(place)

    def close(self) -> None:
        """End the servers, and remove what was made."""
        try:
            for spec, starting in self._servers.items():
                if (server := starting.so_far()) is not None:
                    self._close(server, self._databases.get(spec))
        finally:
            self._directory.close()

    def _close(self, server: Server, database: str | None) -> None:
        try:
            if database is not None and not server.owned:
                server.drop_database(database)
        except (
            Exception
        ) as error:  # a driver's: the server is gone, say; the others are to be closed all the same
            click.echo(f"{server.spec}: the database could not be dropped: {type(error).__name__}", err=True)
        finally:
            server.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
