"""What another process finds that opens the store: whether it can, what it sees, and whether there is a server."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from ... import model
from ...capabilities import Capability
from ...errors import AIStorageError, UnsupportedOperationError
from ...races.pool import clients_of
from ..sockets import Sockets
from ..steps import Steps, Told
from .clients import Clients, inconclusive

__all__ = ["has_server", "in_another_process"]


def has_server(clients: Clients) -> bool:
    """Whether a client of the store connects a socket, or has one open: where it can't be told, it is taken to."""
    if Capability.SHARED_BETWEEN_PROCESSES not in clients.capabilities:
        return False
    return bool(_called(clients, [Sockets()]))


def in_another_process(
    clients: Clients, *turns: Sequence[model.Operation], killed: bool = False
) -> list[Told] | None:
    """What another process is told in the last of its turns; None: it can't be given the opener.

    Args:
        clients: of the test.
        turns: operations; for each turn it opens the store anew.
        killed: whether it is killed after each turn, and the next one is another process's.
    """
    told: list[Told] | None = _called(clients, [Steps(tuple(turn)) for turn in turns], killed=killed)
    return told


def _called(clients: Clients, works: Sequence[Callable[[Any], Any]], *, killed: bool = False) -> Any:
    try:
        pickle.dumps(clients.opener)
    except Exception:  # whatever pickle or the opener says: it can't be given away
        return None
    came: Any = None
    try:
        for work in works:
            with clients_of(clients.opener, 1, processes=True) as (client,):
                outcome = client.call(work)
                if outcome.kind != "ok":
                    pytest.fail(f"another process that opens the store {outcome.kind}: {outcome.error!r}")
                came = outcome.value
                if killed:
                    client.end()
    except UnsupportedOperationError as error:
        inconclusive(str(error))
    except AIStorageError:
        return [Told(model.Get(""), None, "it can't open the store", "none")]
    return came
