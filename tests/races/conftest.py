"""What the tests of races share: one pool of clients, and the backends that this machine offers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from race_machine import SERVERS, required

from pytest_aistorage.backends.file import FileStorage
from pytest_aistorage.errors import ServerUnavailableError
from pytest_aistorage.races import ClientPool
from pytest_aistorage.races.subjects import Subject
from pytest_aistorage.registry import backend_class
from pytest_aistorage.servers.base import ServerOptions, ServerSpec
from pytest_aistorage.servers.resolve import shared_server
from pytest_aistorage.servers.run_directory import RunDirectory


@pytest.fixture(scope="session")
def pool() -> Iterator[ClientPool]:
    """Clients for all tests: what one test leaves in them must not trouble the next."""
    with ClientPool() as clients:
        yield clients


@pytest.fixture(scope="session")
def server_url() -> Iterator[Callable[[str], str]]:
    """Returns the URL of an empty database on a server, which is started when it is first asked for."""
    with RunDirectory() as directory:
        order = ("process", "embedded", "container")
        options = ServerOptions(run_dir=directory.path, providers=dict.fromkeys(SERVERS, order))
        servers = {}

        def url(name: str) -> str:
            if name not in servers:
                try:
                    servers[name] = shared_server(ServerSpec.parse(name), options)
                except ServerUnavailableError as error:
                    if required(name):
                        pytest.fail(str(error))
                    pytest.skip(str(error))
            return servers[name].create_database()

        yield url
        for server in servers.values():
            server.close()


@pytest.fixture
def subject_of(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Callable[[str], Subject]]:
    """Returns the subject of a backend by name, entered."""
    entered: list[Subject] = []

    def make(name: str) -> Subject:
        if name == "file":
            subject = Subject.of_files(name, tmp_path, FileStorage)
        elif name.partition("@")[0] in SERVERS:
            subject = Subject.of_url(name, request.getfixturevalue("server_url")(name))
        else:
            subject = Subject.of_url(
                name, backend_class("database" if name == "sqlite" else name).fresh_url(tmp_path)
            )
        entered.append(subject.__enter__())
        return subject

    yield make
    for subject in entered:
        subject.__exit__(None, None, None)
