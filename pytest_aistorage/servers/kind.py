"""What differs between PostgreSQL, Redis and MySQL: one class each, behind this one."""

from __future__ import annotations

import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from pytest_aistorage.servers.base import Kind, ProviderUnavailableError, ServerSpec
from pytest_aistorage.servers.binaries import Binaries

__all__ = ["ContainerPlan", "LaunchPlan", "ServerKind"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchPlan:
    """How to start a server out of binaries; the fields are explained in ``supervisor/engine.py``."""

    argv: list[str]
    first_argv: list[str] = field(default_factory=list)
    env: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    passing_files: list[str] = field(default_factory=list)
    setup: str = ""
    death_signal: int = 9
    end_signal: int = 9
    shutdown_signal: int = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerPlan:
    """How to start a server as a container."""

    image: str
    port: int
    command: list[str]
    env: dict[str, str]
    tmpfs: list[str] = field(default_factory=list)
    """Where data goes that may vanish with the container's process: memory is quicker than any disk."""


class ServerKind(ABC):
    """What the providers need to know about one kind of server. Stateless."""

    kind: ClassVar[Kind]
    driver: ClassVar[str]
    """The module of the Python driver."""
    extra: ClassVar[str]
    """The extra of this distribution that brings the driver."""
    has_template: ClassVar[bool]
    """Whether a server needs a data directory that was made beforehand."""
    fsyncs_in_memory: ClassVar[bool] = True
    """Whether a server whose data are on ``/dev/shm`` calls fsync as on a disk."""

    def require_driver(self) -> None:
        """Raise ProviderUnavailableError where the driver is not installed."""
        if importlib.util.find_spec(self.driver) is None:
            raise ProviderUnavailableError(
                f"the driver {self.driver} is missing", f"pip install 'pytest-aistorage[{self.extra}]'"
            )

    # --- binaries

    @abstractmethod
    def programs(self, spec: ServerSpec) -> list[Path]:
        """The server programs of this kind on the machine."""

    @abstractmethod
    def wheel_program(self) -> Path:
        """The server program out of a wheel. Raises ProviderUnavailableError."""

    @abstractmethod
    def install_remedy(self, spec: ServerSpec) -> str:
        """How to get the server onto this machine."""

    @abstractmethod
    def roots(self, server: Path) -> tuple[Path, ...]:
        """The directories that a server program needs to have around it."""

    @abstractmethod
    def launch(
        self, binaries: Binaries, password: str, *, durable: bool, settings: Mapping[str, str]
    ) -> LaunchPlan:
        """How to start the server."""

    @property
    def template_flags(self) -> str:
        """What else a template depends on, besides the installation."""
        return ""

    def make_template(self, binaries: Binaries, data: Path, work: Path, run: Any, timeout: float) -> None:
        """Make an empty data directory at `data`, which exists and belongs to the server's user.

        Args:
            binaries: the installation.
            data: the directory.
            work: a directory of our own for what is needed on the way.
            run: ``subprocess.run`` under the server's user.
            timeout: seconds.

        Raises:
            ProviderUnavailableError: with the reason.
        """
        raise NotImplementedError(f"{self.kind} has no template")

    # --- containers

    @abstractmethod
    def container(
        self, spec: ServerSpec, password: str, *, durable: bool, settings: Mapping[str, str]
    ) -> ContainerPlan:
        """How to start the server as a container."""

    # --- by URL

    @abstractmethod
    def url(self, host: str, port: int, password: str) -> str:
        """The URL for the superuser of a server of our own."""

    @abstractmethod
    def version(self, url: str, timeout: float) -> str:
        """Ask the server for its name and version. Raises the driver's errors."""

    @abstractmethod
    def create(self, url: str, name: str, *, owned: bool, number: int) -> str:
        """Create an empty database; returns its URL. `number` is unique among those in use on this server."""

    @abstractmethod
    def drop(self, url: str, database_url: str) -> None:
        """Drop a database that `create` made."""

    @abstractmethod
    def name_in(self, database_url: str, *, owned: bool) -> str:
        """The name (or the number) of the database that a URL leads to."""

    @abstractmethod
    def clear(self, url: str) -> None:
        """Drop whatever databases dead runs have left on a server of our own."""
