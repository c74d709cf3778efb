"""The TCP proxy undisturbed: bytes pass in order and to the end, and it leaves nothing behind."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import socket
import threading
import time
from urllib.parse import urlsplit

import pytest
from echo import NO_LINGER, EchoServer, ask, connect, exchange, receive
from server_checks import PATIENCE, eventually

from pytest_aistorage.errors import ConfigurationError, UnsupportedOperationError
from pytest_aistorage.servers.proxy import TCPProxy

posix_only = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork, as POSIX systems have it")


# -- bytes --------------------------------------------------------------------------------------------


def test_bytes_pass_in_both_directions(client: socket.socket) -> None:
    """Every byte value, in order, more than any buffer holds, while neither side waits for the other."""
    sent = bytes(range(256)) * (1 << 16)  # 16 MiB
    found: list[bytes] = []
    reading = threading.Thread(target=lambda: found.append(receive(client, len(sent))))
    reading.start()
    client.sendall(sent)
    reading.join(PATIENCE)
    assert found == [sent]


def test_many_connections_at_once(proxy: TCPProxy) -> None:
    """A hundred connections get their own bytes back, and leave nothing behind when they end."""
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connect(proxy)) for _ in range(100)]
        for number, one in enumerate(clients):
            one.sendall(b"%03d" % number)
        assert [receive(one, 3) for one in clients] == [b"%03d" % number for number in range(100)]
        assert proxy.connections == 100
    eventually(lambda: proxy.connections == 0, "no connection is left")


def test_half_closed_connections_go_on(client: socket.socket, echo: EchoServer) -> None:
    """Who has ended sending still gets the answer to the end, and the server learns of the end."""
    client.sendall(b"last")
    client.shutdown(socket.SHUT_WR)
    assert receive(client, 100) == b"lastbye"
    assert echo.endings == ["end"]


def test_a_server_that_closes_is_seen(client: socket.socket, echo: EchoServer) -> None:
    """The end of the server's half reaches the client as an end."""
    echo.connections[0].shutdown(socket.SHUT_RDWR)
    assert client.recv(1) == b""


def test_a_reset_by_the_client_reaches_the_server(
    proxy: TCPProxy, client: socket.socket, echo: EchoServer
) -> None:
    """A RST passes as a RST, not as an orderly end."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
    client.close()
    eventually(lambda: bool(echo.endings), "the server sees the end")
    assert echo.endings == ["reset"]
    eventually(lambda: proxy.connections == 0, "no connection is left")


def test_small_messages_are_not_collected(client: socket.socket) -> None:
    """No delay by Nagle's algorithm: 200 round trips of two pieces each take no 40 ms apiece."""
    started = time.monotonic()
    for _ in range(200):
        client.sendall(b"a")
        client.sendall(b"b")
        assert receive(client, 2) == b"ab"
    assert time.monotonic() - started < 200 * 0.02


def test_a_server_that_is_not_there() -> None:
    """The connection is reset at once, and the proxy goes on: the server may come later, on the same port."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        host, port = taken.getsockname()
        with TCPProxy(host, port) as proxy:
            for _ in range(2):
                with pytest.raises(ConnectionResetError):  # while connecting, or later
                    ask(proxy, b"hello")
            taken.listen()
            with connect(proxy) as found:
                found.sendall(b"hello")
                server, _ = taken.accept()
                with server:
                    assert receive(server, 5) == b"hello"


def test_a_host_with_several_addresses(echo: EchoServer) -> None:
    """A name whose first address has no server there is tried with the next one (``localhost`` may be ``::1``)."""
    with TCPProxy("localhost", echo.address[1]) as proxy, connect(proxy) as client:
        assert exchange(client, b"hello") == b"hello"


# -- its own life -------------------------------------------------------------------------------------------


def test_close_leaves_nothing(echo: EchoServer) -> None:
    """No thread, no descriptor, no port: connections are closed, and the port is refused. Twice is once."""
    before = {thread.ident for thread in threading.enumerate()}
    proxy = TCPProxy(*echo.address)
    with connect(proxy) as client:
        assert exchange(client, b"hello") == b"hello"
        proxy.close()
        proxy.close()
        assert client.recv(1) == b""
    assert not [
        one for one in threading.enumerate() if one.name.startswith("tcp-proxy") and one.ident not in before
    ]
    with pytest.raises(ConnectionRefusedError):
        connect(proxy)
    with pytest.raises(UnsupportedOperationError, match="closed"):
        proxy.partition()
    del proxy
    gc.collect()  # a socket that is left open would be a ResourceWarning now


def test_close_during_a_partition(echo: EchoServer) -> None:
    """Close works in every state."""
    with TCPProxy(*echo.address) as proxy, connect(proxy) as client:
        assert exchange(client, b"hello") == b"hello"
        proxy.delay(60)
        client.sendall(b"late")
        proxy.partition()
        proxy.refuse()


def test_methods_may_be_called_by_many_threads(proxy: TCPProxy) -> None:
    """Faults from several threads while connections come and go: no deadlock, and the proxy works afterwards."""
    stop = threading.Event()
    errors: list[BaseException] = []

    def disturb(method: str) -> None:
        try:
            while not stop.is_set():
                getattr(proxy, method)()
        except BaseException as error:
            errors.append(error)

    def use() -> None:
        while not stop.is_set():
            with contextlib.suppress(OSError), connect(proxy) as client:
                client.settimeout(0.01)
                exchange(client, b"x")

    threads = [
        threading.Thread(target=disturb, args=(name,)) for name in ("partition", "heal", "reset", "refuse")
    ]
    threads += [
        threading.Thread(target=disturb, args=("accept",)),
        *(threading.Thread(target=use) for _ in range(3)),
    ]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    stop.set()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()
    assert not errors
    proxy.heal()
    proxy.accept()
    with connect(proxy) as client:
        assert exchange(client, b"fine") == b"fine"


@posix_only
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")  # that is what is tested
def test_a_forked_child_has_no_part_in_it(echo: EchoServer) -> None:
    """It holds neither the port nor a connection, can't command the proxy, and does not disturb the parent's."""
    reader, writer = os.pipe()
    with TCPProxy(*echo.address) as proxy, connect(proxy) as client:
        assert exchange(client, b"hello") == b"hello"
        child = os.fork()
        if not child:
            try:
                proxy.partition()
            except UnsupportedOperationError as error:
                os.write(writer, b"parent" if "parent" in str(error) else b"other")
            proxy.close()
            time.sleep(120)
            os._exit(0)
        try:
            assert os.read(reader, 10) == b"parent"
            assert exchange(client, b"goes on") == b"goes on"
            proxy.reset()
            # With a copy of the descriptors in the child there would be no RST.
            with pytest.raises(ConnectionResetError):
                client.recv(1)
            proxy.close()
            with pytest.raises(ConnectionRefusedError):
                connect(proxy)
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            os.close(reader)
            os.close(writer)


# -- URLs ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "target", "through"),
    [
        ("redis://:s3cret@127.0.0.1:6380/3", ("127.0.0.1", 6380), "redis://:s3cret@127.0.0.1:{port}/3"),
        ("rediss://cache.example/0", ("cache.example", 6379), "rediss://127.0.0.1:{port}/0"),
        (
            "postgresql+psycopg://u:p%40@localhost/db?sslmode=require",
            ("localhost", 5432),
            "postgresql+psycopg://u:p%40@localhost:{port}/db?sslmode=require",
        ),
        ("mysql://root@[::1]:3307/db", ("::1", 3307), "mysql://root@127.0.0.1:{port}/db"),
    ],
)
def test_a_proxy_before_a_url(url: str, target: tuple[str, int], through: str) -> None:
    """User, password, database and TLS parameters stay; the scheme's port is known; ``localhost`` keeps its name."""
    with TCPProxy.before(url) as proxy:
        assert proxy.url == through.format(port=proxy.port)
        assert urlsplit(proxy.url).port == proxy.port
        assert repr(proxy) == f"<TCPProxy 127.0.0.1:{proxy.port} -> {target[0]}:{target[1]}>"


@pytest.mark.parametrize(
    "url",
    [
        "unix:///run/redis.sock?db=0",
        "postgresql:///db?host=/run/postgresql",
        "postgresql://u:s3cret@one,two/db",
        "postgresql://u:s3cret@one:1,two:2/db",
        "mysql://u:s3cret@localhost/db?unix_socket=/run/mysqld.sock",
        "redis+cluster://:s3cret@127.0.0.1:7000",
        "sqlite:///file.db",
        "redis://:s3cret@[broken",
    ],
)
def test_urls_that_lead_elsewhere(url: str) -> None:
    """Unix sockets, several hosts, clusters and files are refused, and no password is told."""
    with pytest.raises(ConfigurationError) as caught:
        TCPProxy.before(url)
    assert "s3cret" not in str(caught.value)


def test_a_proxy_without_a_url(proxy: TCPProxy) -> None:
    """One that was made by host and port says how to get one with a URL."""
    with pytest.raises(UnsupportedOperationError, match="before"):
        _ = proxy.url
