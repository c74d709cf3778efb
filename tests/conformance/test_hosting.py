"""Storages without a server: what can crash is the process that their library runs in, and that is killed."""

from __future__ import annotations

import functools
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mutants.crashes import BufferedUntilClose
from mutants.small import SQLiteStorage

from pytest_aistorage import AIProgress, Capability, MemoryStorage, StorageUnavailableError
from pytest_aistorage.conformance.contract import Clients
from pytest_aistorage.conformance.contract.crashes import CrashContract
from pytest_aistorage.conformance.contract.elsewhere import has_server
from pytest_aistorage.conformance.hosting import Hosted

LOSES_NOTHING = CrashContract().test_killed_server_loses_nothing_acknowledged
OUTLIVES = CrashContract().test_client_outlives_its_server


class Promising(SQLiteStorage):
    """SQLite, which survives a crash of the process that it runs in and says so."""

    capabilities = SQLiteStorage.capabilities | {Capability.SURVIVES_SERVER_CRASH}


class PromisingTooMuch(BufferedUntilClose):
    """The same, but what was saved is written when the client closes."""

    capabilities = Promising.capabilities


class Calling(Promising):
    """Before each read it tells a server so, and hangs up."""

    port = 0

    def __init__(self, url: str, port: int) -> None:
        super().__init__(url)
        self.port = port

    def get_progress(self, model_name: str) -> AIProgress | None:
        """Call, and read."""
        with socket.create_connection(("127.0.0.1", self.port)):
            return super().get_progress(model_name)


def opener(tmp_path: Path, storage: type[Any], *arguments: object) -> Any:
    """Opens a client of a store of these."""
    return functools.partial(storage, f"sqlite://{tmp_path}/hosted", *arguments)


@pytest.fixture
def listening() -> Iterator[int]:
    """A port where somebody accepts connections."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as server:
        yield server.getsockname()[1]


def test_hosted_storage_is_killed_and_comes_back(tmp_path: Path) -> None:
    """What was saved before its process was killed is there afterwards; meanwhile clients are told."""
    with Hosted(opener(tmp_path, SQLiteStorage)) as host:
        storage = host.opener()
        saved = storage.save_progress(AIProgress(model_name="m", mse=0.5))
        host.kill()
        with pytest.raises(StorageUnavailableError):
            storage.get_progress("m")
        host.restart()
        assert storage.get_progress("m") == saved


def test_promise_is_tested_without_a_server(tmp_path: Path) -> None:
    """Nothing has to be supplied for it."""
    with Clients(opener(tmp_path, Promising)) as clients:
        LOSES_NOTHING(clients, None)


def test_loss_is_found_without_a_server(tmp_path: Path) -> None:
    """What is acknowledged too early is lost with the process."""
    with (
        Clients(opener(tmp_path, PromisingTooMuch)) as clients,
        pytest.raises(pytest.fail.Exception, match="the server was killed: version"),
    ):
        LOSES_NOTHING(clients, None)


def test_no_client_outlives_what_it_is_a_part_of(tmp_path: Path) -> None:
    """That a client connects again is no promise of a storage without a server."""
    with (
        Clients(opener(tmp_path, Promising)) as clients,
        pytest.raises(pytest.skip.Exception, match="not applicable: the storage has no server"),
    ):
        OUTLIVES(clients, None)


@pytest.mark.parametrize("test", [LOSES_NOTHING, OUTLIVES])
def test_client_is_not_taken_for_its_server(tmp_path: Path, listening: int, test: Any) -> None:
    """A storage that talks to a server is not tested by killing the client, even if it hangs up each time."""
    with (
        Clients(opener(tmp_path, Calling, listening)) as clients,
        pytest.raises(pytest.skip.Exception, match="inconclusive: no server may be killed here"),
    ):
        test(clients, None)


def test_servers_are_heard(tmp_path: Path, listening: int) -> None:
    """Of one that hangs up, too; a file is none."""
    with Clients(opener(tmp_path, Calling, listening)) as clients:
        assert has_server(clients)
    with Clients(opener(tmp_path, Promising)) as clients:
        assert not has_server(clients)


def test_store_that_nobody_else_can_open() -> None:
    """Where the opener can't be given to the process, the promise rests on the declaration."""
    with (
        Clients(lambda: MemoryStorage("hosted")) as clients,
        pytest.raises(pytest.skip.Exception, match="inconclusive: the store can't be opened by a process"),
    ):
        LOSES_NOTHING(clients, None)
