"""The TCP proxy disturbing connections: partition, reset, delay and refusal do what a network does."""

from __future__ import annotations

import socket
import time

import pytest
from echo import NO_LINGER, EchoServer, connect, exchange, receive, stays_silent
from server_checks import eventually

from pytest_aistorage.errors import ConfigurationError
from pytest_aistorage.servers.proxy import TCPProxy

# -- partition ----------------------------------------------------------------------------------------------


def test_a_partition_holds_everything_back_and_heal_delivers_it(
    proxy: TCPProxy, client: socket.socket, echo: EchoServer
) -> None:
    """No byte passes, no connection closes; what was sent meanwhile arrives after heal, once and in order."""
    proxy.partition()
    client.sendall(b"during")
    assert stays_silent(client)
    assert bytes(echo.received) == b"hello"
    client.sendall(b" partition")
    proxy.heal()
    assert receive(client, 16) == b"during partition"
    assert bytes(echo.received) == b"helloduring partition"


def test_new_connections_during_a_partition_wait(proxy: TCPProxy, echo: EchoServer) -> None:
    """They are accepted, as by a kernel, and answered only after heal; the server hears nothing before."""
    proxy.partition()
    with connect(proxy) as late:
        late.sendall(b"late")
        assert stays_silent(late)
        assert not echo.connections
        proxy.heal()
        assert receive(late, 4) == b"late"


def test_what_a_client_sent_before_it_gave_up_arrives_after_heal(
    proxy: TCPProxy, client: socket.socket, echo: EchoServer
) -> None:
    """A client that timed out and closed must not take its write for undone."""
    proxy.partition()
    client.sendall(b" given up")
    client.close()
    proxy.heal()
    eventually(lambda: bytes(echo.received) == b"hello given up", "the server got all of it")
    eventually(lambda: proxy.connections == 0, "no connection is left")


def test_cut_answers(proxy: TCPProxy, client: socket.socket, echo: EchoServer) -> None:
    """What clients send arrives, on old and on new connections, and no answer comes before heal."""
    proxy.partition("from server")
    client.sendall(b" request")
    with connect(proxy) as late:
        late.sendall(b" late")
        eventually(lambda: len(echo.received) == 18, "the server got both requests")
        assert stays_silent(client)
        assert stays_silent(late)
        proxy.heal()
        assert receive(client, 8) == b" request"
        assert receive(late, 5) == b" late"


def test_cut_requests(proxy: TCPProxy, client: socket.socket, echo: EchoServer) -> None:
    """What the server sends arrives, and what clients send does not before heal."""
    proxy.partition("from client")
    client.sendall(b" request")
    echo.connections[0].sendall(b"news")
    assert receive(client, 4) == b"news"
    assert stays_silent(client)
    assert bytes(echo.received) == b"hello"
    proxy.heal()
    assert receive(client, 8) == b" request"


def test_a_partition_hides_the_end_of_the_other_side(
    proxy: TCPProxy, client: socket.socket, echo: EchoServer
) -> None:
    """Neither an end nor a reset of the server is seen before heal, as no packet of it arrives."""
    with connect(proxy) as other:
        assert exchange(other, b"!") == b"!"
        proxy.partition()
        echo.connections[0].shutdown(socket.SHUT_RDWR)
        reset = echo.connections[1]
        reset.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
        reset.shutdown(socket.SHUT_RD)  # wakes the thread that reads, which closes: that is the RST
        assert stays_silent(client)
        assert stays_silent(other)
        proxy.heal()
        assert client.recv(1) == b""
        with pytest.raises(ConnectionResetError):
            receive(other, 100)


def test_one_partition_follows_another(proxy: TCPProxy, client: socket.socket) -> None:
    """The direction of the last one holds; healing twice does no harm."""
    proxy.partition("from client")
    client.sendall(b"request")
    proxy.partition("from server")
    assert stays_silent(client)
    proxy.heal()
    proxy.heal()
    assert receive(client, 7) == b"request"


def test_an_idle_partition_costs_nothing(proxy: TCPProxy, client: socket.socket, echo: EchoServer) -> None:
    """A connection that both sides have left during a partition keeps the thread asleep."""
    proxy.partition()
    echo.connections[0].shutdown(socket.SHUT_RDWR)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
    client.close()
    before = time.process_time()
    time.sleep(0.2)
    # A loop that spins takes all of the 0.2 s.
    assert time.process_time() - before < 0.1


# -- reset, delay, refuse -----------------------------------------------------------------------------------


def test_reset_breaks_both_sides_and_nothing_else(
    proxy: TCPProxy, client: socket.socket, echo: EchoServer
) -> None:
    """Client and server get a RST; the next connection works."""
    proxy.reset()
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    eventually(lambda: bool(echo.endings), "the server sees the end")
    assert echo.endings == ["reset"]
    assert proxy.connections == 0
    with connect(proxy) as following:
        assert exchange(following, b"again") == b"again"


def test_reset_loses_what_a_partition_holds(proxy: TCPProxy, client: socket.socket, echo: EchoServer) -> None:
    """A connection that is reset during a partition delivers nothing after it, one that waits neither."""
    proxy.partition()
    client.sendall(b"lost")
    with connect(proxy) as waiting:
        waiting.sendall(b"lost")
        proxy.reset()
        for one in (client, waiting):
            with pytest.raises(ConnectionResetError):
                one.recv(1)
    proxy.heal()
    with connect(proxy) as following:
        assert exchange(following, b" kept") == b" kept"
    assert bytes(echo.received) == b"hello kept"


def test_delay_in_both_directions_and_in_order(proxy: TCPProxy, client: socket.socket) -> None:
    """A round trip takes at least twice the delay, also on a new connection; nothing is overtaken, ends neither."""
    proxy.delay(0.05)
    started = time.monotonic()
    for piece in (b"a", b"b", b"c"):
        client.sendall(piece)
    client.shutdown(socket.SHUT_WR)
    assert receive(client, 100) == b"abcbye"
    assert time.monotonic() - started >= 0.1
    with connect(proxy) as other:
        started = time.monotonic()
        assert exchange(other, b"x") == b"x"
        assert time.monotonic() - started >= 0.1
        # What is under way keeps its time; what is sent without a delay must not overtake it.
        other.sendall(b"slow")
        eventually(lambda: bool(proxy._rules.waiting), "the proxy has read it")
        proxy.delay(0)
        other.sendall(b"fast")
        assert receive(other, 8) == b"slowfast"
        started = time.monotonic()
        for _ in range(100):
            assert exchange(other, b"x") == b"x"
        assert time.monotonic() - started < 100 * 0.1


def test_refuse_and_accept(proxy: TCPProxy, client: socket.socket) -> None:
    """New connections are refused, old ones go on; then the same port welcomes again."""
    port = proxy.port
    for _ in range(3):
        proxy.refuse()
        with pytest.raises(ConnectionRefusedError):
            connect(proxy)
        assert exchange(client, b"old") == b"old"
        proxy.accept()
        with connect(proxy) as new:
            assert exchange(new, b"new") == b"new"
    assert proxy.port == port


def test_a_partition_does_not_refuse(proxy: TCPProxy) -> None:
    """No refusal comes through a cut network; after heal it does."""
    proxy.refuse()
    proxy.partition()
    with connect(proxy) as waiting:
        assert stays_silent(waiting)
    proxy.heal()
    with pytest.raises(ConnectionRefusedError):
        connect(proxy)
    proxy.accept()


@pytest.mark.parametrize("seconds", [-1.0, float("nan"), float("inf")])
def test_a_delay_that_is_none(proxy: TCPProxy, seconds: float) -> None:
    """Refused at once, with the value."""
    with pytest.raises(ConfigurationError, match=str(seconds)):
        proxy.delay(seconds)


def test_a_direction_that_is_none(proxy: TCPProxy) -> None:
    """Refused at once, naming the directions there are."""
    with pytest.raises(ConfigurationError, match="from server"):
        proxy.partition("sideways")  # type: ignore[arg-type]
