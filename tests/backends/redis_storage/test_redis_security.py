"""Redis by TLS, and as a user who may do no more than the storage needs."""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

import pytest
from certificates import Authority
from real_cluster import PATIENCE, ClusterNode, Node, free_ports, until
from real_redis import COMMANDS, HOUR, SECRET, Server, plus_one, program_of, progress

from pytest_aistorage import (
    AIStorage,
    ConfigurationError,
    ProgressQuery,
    RedisStorage,
    StorageUnavailableError,
    open_storage,
)


class Secured(NamedTuple):
    """A server that speaks TLS alone, with a certificate for ``localhost``, and wants one from its clients."""

    scheme: str
    port: int
    parameters: dict[str, str]
    other_authority: Path

    def url(self, *, host: str = "localhost", password: str = SECRET, **instead: str | None) -> str:
        """Where a storage finds it; a parameter that is None is left out."""
        parameters = {name: value for name, value in (self.parameters | instead).items() if value is not None}
        return f"{self.scheme}://:{password}@{host}:{self.port}?{urlencode(parameters)}"


@pytest.fixture(scope="module", params=["rediss", "rediss+cluster"])
def secured(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """A server of its own, or the one node of a cluster; the Valkey of the wheel speaks no TLS."""
    program = program_of("redis")
    if program is None:
        pytest.skip("no redis-server on this machine: install it")
    authority = Authority(tmp_path_factory.mktemp("trusted"), "trusted")
    certificate, key = authority.sign("localhost")
    client_certificate, client_key = authority.sign("client")
    (port,) = free_ports(1)
    settings = [
        *("--tls-port", str(port), "--tls-ca-cert-file", str(authority.file), "--requirepass", SECRET),
        *("--tls-cert-file", str(certificate), "--tls-key-file", str(key)),
    ]
    if request.param == "rediss+cluster":
        settings += ["--tls-cluster", "yes", "--cluster-announce-hostname", "localhost"]
        settings += ["--cluster-preferred-endpoint-type", "hostname"]
        node: Node = ClusterNode(program, *settings)
        with node.client(password=SECRET) as client:
            client.execute_command("CLUSTER ADDSLOTSRANGE", 0, 16383)
            until(lambda: b"cluster_state:ok" in _raw(client, "CLUSTER", "INFO"), "the cluster is whole")
    else:
        node = Node(program, *settings)
    parameters = {
        "ssl_ca_certs": str(authority.file),
        "ssl_certfile": str(client_certificate),
        "ssl_keyfile": str(client_key),
    }
    other = Authority(tmp_path_factory.mktemp("other"), "other")
    yield Secured(request.param, port, parameters, other.file)
    node.close()


def _raw(client: Any, *command: str) -> bytes:
    connection = client.connection_pool.get_connection()
    try:
        connection.send_command(*command)
        reply: bytes = connection.read_response(disable_decoding=True)
        return reply
    finally:
        client.connection_pool.release(connection)


def test_by_tls_with_a_client_s_certificate(secured: Secured, prefix: str) -> None:
    """Server and client know each other; the location holds neither password nor files."""
    with open_storage(secured.url(), prefix=prefix, timeout=PATIENCE) as storage:
        saved = storage.save_progress(progress())
        assert storage.load_progress() == [saved]
        assert repr(storage).split()[1].startswith(f"{secured.scheme}://localhost:{secured.port}")
        assert SECRET not in repr(storage) + str(storage.get_storage_info())


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("an authority that did not sign it", "certificate verify failed"),
        ("a host that it is not for", "certificate verify failed"),
        ("no certificate of the client", "certificate required|closed|reset|EOF|Broken pipe"),
        ("the wrong password", "WRONGPASS|invalid username-password"),
    ],
)
def test_who_is_not_trusted_gets_nothing(secured: Secured, prefix: str, fault: str, said: str) -> None:
    """Each is an error that says that nothing was written; no secret is in it."""
    wrong = {
        "an authority that did not sign it": secured.url(ssl_ca_certs=str(secured.other_authority)),
        "a host that it is not for": secured.url(host="127.0.0.1"),
        "no certificate of the client": secured.url(ssl_certfile=None, ssl_keyfile=None),
        "the wrong password": secured.url(password=f"{SECRET}-not"),
    }
    with open_storage(wrong[fault], prefix=prefix, timeout=PATIENCE) as storage:
        operations: list[Callable[[], Any]] = [
            lambda: storage.save_progress(progress()),
            lambda: storage.get_progress("m"),
        ]
        for operation in operations:
            with pytest.raises(StorageUnavailableError, match=said) as caught:
                operation()
            assert SECRET not in "".join(traceback.format_exception(caught.value))
        assert not storage.health_check()
    with open_storage(secured.url(), prefix=prefix, timeout=PATIENCE) as storage:
        assert storage.load_progress() == []


@pytest.mark.parametrize("name", ["ssl_ca_certs", "ssl_certfile", "ssl_keyfile"])
def test_a_file_that_is_not_there(name: str, tmp_path: Path) -> None:
    """It is named when the storage is opened."""
    for scheme in ("rediss", "valkeys+cluster"):
        with pytest.raises(ConfigurationError, match=f"{name}: there is no file .*missing"):
            open_storage(f"{scheme}://localhost?{name}={tmp_path}/missing")


def everything(storage: AIStorage) -> None:
    """Every operation, on a store that is empty before and after."""
    storage.save_progress(progress(), ttl=HOUR)
    storage.save_progress(progress("expired"), ttl=HOUR)
    storage.save_many([progress("a"), progress("b")])
    storage.update_progress("m", plus_one)
    storage.get_progress("m")
    storage.query_progress(ProgressQuery())
    storage.get_storage_info()
    storage.expire_now("expired")
    storage.save_progress(progress("expired"), ttl=HOUR)
    for record in storage.load_progress():
        storage.delete_progress(record.model_name)


def allow(raw: Any, name: str, commands: tuple[str, ...], pattern: str) -> str:
    """Make a user who may send these commands, for keys of this pattern; return its name."""
    rights = [f"+{command}" for command in commands]
    raw.execute_command("ACL SETUSER", name, "reset", "on", f">{SECRET}", f"~{pattern}", *rights)
    return name


def test_a_user_needs_these_commands_and_keys_alone(shared: Server, raw: Any, prefix: str) -> None:
    """All operations work with them, and without any one of them some operation says that nothing was written."""
    user = allow(raw, prefix.rstrip(":"), COMMANDS, f"{prefix}*")
    with RedisStorage(f"unix://{user}:{SECRET}@{shared.socket}", prefix=prefix) as storage:
        everything(storage)
        assert storage.health_check()
    spare = []
    for command in COMMANDS:
        raw.script_flush()
        allow(raw, user, tuple(other for other in COMMANDS if other != command), f"{prefix}*")
        with RedisStorage(f"unix://{user}:{SECRET}@{shared.socket}", prefix=prefix) as storage:
            try:
                everything(storage)
            except StorageUnavailableError as error:
                said = "".join(traceback.format_exception(error))
                assert re.search("(?i)permission|can't run this command", said)
                assert SECRET not in said
            else:
                spare.append(command)
    assert spare == []


def test_a_user_of_other_keys_writes_nothing(
    shared: Server, raw: Any, storage: AIStorage, prefix: str
) -> None:
    """The refusal is typed, and it says what was refused."""
    user = allow(raw, prefix.rstrip(":"), COMMANDS, f"other-{prefix}*")
    with RedisStorage(f"unix://{user}:{SECRET}@{shared.socket}", prefix=prefix) as refused:
        for operation in (
            lambda: refused.save_progress(progress()),
            lambda: refused.save_many([progress()]),
            lambda: refused.get_progress("m"),
            lambda: refused.delete_progress("m"),
            refused.load_progress,
        ):
            with pytest.raises(StorageUnavailableError, match=r"(?i)permission|can't run this command|key"):
                operation()
    assert storage.load_progress() == []


def test_what_can_not_be_verified_is_not_promised(shared: Server, raw: Any, prefix: str) -> None:
    """Without INFO and WAIT the storage works; who asks for durability or replicas gets an error."""
    user = allow(raw, prefix.rstrip(":"), COMMANDS, f"{prefix}*")
    url = f"unix://{user}:{SECRET}@{shared.socket}"
    for promise in ("durability=append-only", "wait=1", "wait_aof=0"):
        with (
            RedisStorage(f"{url}?{promise}", prefix=prefix) as storage,
            pytest.raises(ConfigurationError, match=r"(?i)permission|unknown command"),
        ):
            storage.save_progress(progress())
    with RedisStorage(url, prefix=prefix) as storage:
        assert storage.save_progress(progress()).version == 1
        assert "does not tell" in storage.get_storage_info().server
