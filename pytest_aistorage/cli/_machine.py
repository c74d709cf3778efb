"""The backends that this machine offers, as subjects of a proof: local ones at once, servers in the background."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import click

from ..backends.file import FileStorage
from ..errors import AIStorageError, ConfigurationError
from ..races.subjects import Subject
from ..registry import backend_class, backend_names
from ..servers.base import ServerOptions, ServerSpec
from ..servers.resolve import shared_server
from ..servers.run_directory import RunDirectory
from ..servers.server import Server
from ._servers import SERVERS, server_options

__all__ = ["DEFAULT", "Machine", "Wanted", "wanted"]

DEFAULT = ("file", "memory", "sqlite", *SERVERS)
"""What is proven where no backend is named."""

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


class _Starting:
    """A server on its way, in a thread of its own.

    A daemon: Ctrl-C does not wait for it, and what it has started ends when it finds our process gone.
    """

    def __init__(self, spec: ServerSpec, options: ServerOptions) -> None:
        self._server: Server | None = None
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._start, args=(spec, options), daemon=True)
        self._thread.start()

    def _start(self, spec: ServerSpec, options: ServerOptions) -> None:
        try:
            self._server = shared_server(spec, options)
        except Exception as error:  # raised again where the server is asked for
            self._error = error

    def result(self) -> Server:
        self._thread.join()
        if self._error is not None:
            raise self._error
        assert self._server is not None  # one of the two
        return self._server

    def close(self, database: str | None) -> None:
        if self._server is not None:
            if database is not None and not self._server.owned:
                self._server.drop_database(database)
            self._server.close()


class Machine:
    """What a proof needs of this machine, for the length of a ``with`` block.

    Args:
        backends: what will be asked for; their servers start at once, all of them.
        providers: where servers may come from.
        urls: of servers to use.
    """

    def __init__(
        self, backends: Sequence[Wanted], providers: tuple[str, ...], urls: Mapping[str, str]
    ) -> None:
        specs = [backend.spec for backend in backends if backend.spec is not None]
        self._directory = RunDirectory()
        self.options = server_options(self._directory.path, specs, providers, urls)
        self._starting = {spec: _Starting(spec, self.options) for spec in specs}
        self._databases: dict[ServerSpec, str] = {}

    def subject(self, backend: Wanted) -> tuple[Subject, str | None]:
        """Return the subject of a backend, and where its server came from.

        Raises:
            ServerUnavailableError: no provider could supply its server.
            ConfigurationError: a registered backend that can't be opened.
        """
        if backend.spec is not None:
            server = self._starting[backend.spec].result()
            url = self._databases[backend.spec] = server.create_database()
            return Subject.of_url(backend.name, url), server.provider
        place = self._directory.path / backend.name
        place.mkdir(exist_ok=True)
        if backend.name == "file":
            return Subject.of_files(backend.name, place, FileStorage), None
        return Subject.of_url(backend.name, self._fresh_url(backend.name, place)), None

    def _fresh_url(self, name: str, place: Path) -> str:
        return backend_class("database" if name == "sqlite" else name).fresh_url(place)

    def close(self) -> None:
        """End the servers, and remove what was made."""
        try:
            for spec, starting in self._starting.items():
                try:
                    starting.close(self._databases.get(spec))
                except AIStorageError as error:
                    click.echo(f"{spec}: {error}", err=True)
        finally:
            self._directory.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
