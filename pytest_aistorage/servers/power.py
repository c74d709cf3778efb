"""A private server's disk: its fsyncs counted and held, and whether its power can be cut at all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from pytest_aistorage.errors import UnsupportedOperationError
from pytest_aistorage.servers.base import ServerSpec
from pytest_aistorage.servers.supervisor.fsyncs import unsupported

__all__ = ["Fsyncs", "ServerDisk", "providers_with_power"]


class Fsyncs(NamedTuple):
    """How many fsyncs there were. `fdatasync`, `sync` and `msync` count as well.

    Attributes:
        passed: since the server was first started.
        held: those that stand still now.
    """

    passed: int
    held: int


class ServerDisk:
    """What a private server writes to, if it was started with ``power=True``.

    Args:
        command: has the server's supervisor do something.
    """

    def __init__(self, command: Callable[..., Any]) -> None:
        self._command = command

    def hold(self, after: int = 0) -> None:
        """Let so many more fsyncs pass, and hold those that come then: each stands still before it is done.

        That is a disk that takes its time, and a way to lose power at the very fsync that one wants. An orderly
        `PrivateServer.stop` waits for its fsyncs, too. After `PrivateServer.cut_power` none is held any more.

        Args:
            after: how many.
        """
        self._command("hold_fsyncs", after=after)

    def release(self) -> None:
        """Let the fsyncs that are held pass, and all that follow."""
        self._command("release_fsyncs")

    def count(self) -> Fsyncs:
        """Return how many have passed, and how many are held."""
        return Fsyncs(*self._command("count_fsyncs"))


def providers_with_power(spec: ServerSpec, order: tuple[str, ...]) -> tuple[str, ...]:
    """Return those providers whose servers' power can be cut.

    Args:
        spec: what is wanted.
        order: which providers may be used.

    Raises:
        UnsupportedOperationError: there is none, or the system can't do it.
    """
    reason = unsupported()
    if reason is not None:
        raise UnsupportedOperationError(f"the power of {spec} can't be cut here: {reason}")
    able = tuple(provider for provider in order if provider in ("process", "embedded"))
    if not able:
        raise UnsupportedOperationError(
            f"the power of {spec} can't be cut: only that of a server whose processes are started here can, and it "
            f"is to come by {' or '.join(order)}; allow the provider process or embedded, too"
        )
    return able
