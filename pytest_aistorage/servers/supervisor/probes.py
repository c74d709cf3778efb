"""Is it ready, and what is it: asked of each kind of server in its own protocol, with no driver."""

from __future__ import annotations

import os
import socket

from .trouble import NotReadyError

__all__ = [
    "mysql_text_version",
    "mysql_version",
    "postgres_run",
    "postgres_says_ready",
    "redis_info_version",
    "redis_version",
]

_PATIENCE = 2.0


def postgres_says_ready(data: str, pid: int) -> bool:
    """Whether this very server process wrote into its pid file that it accepts connections."""
    try:
        with open(os.path.join(data, "postmaster.pid"), encoding="utf-8", errors="replace") as file:
            lines = file.read().splitlines()
    except OSError:
        return False
    # A server that was killed leaves the file behind, with "ready" in it.
    return len(lines) >= 8 and lines[0].strip() == str(pid) and lines[7].strip() == "ready"


def postgres_run(path: str, statement: str) -> str:
    """Run a statement as the superuser over a Unix socket that trusts him; returns the server's version."""
    with _unix(path) as connection:
        body = b"\x00\x03\x00\x00user\x00postgres\x00database\x00postgres\x00\x00"
        connection.sendall((len(body) + 4).to_bytes(4, "big") + body)
        parameters = _postgres_reply(connection)
        query = statement.encode() + b"\x00"
        connection.sendall(b"Q" + (len(query) + 4).to_bytes(4, "big") + query)
        _postgres_reply(connection)
        connection.sendall(b"X\x00\x00\x00\x04")
    return parameters.get("server_version", "")


def _postgres_reply(connection: socket.socket) -> dict[str, str]:
    """Read up to ReadyForQuery; returns the parameters that the server reported."""
    parameters: dict[str, str] = {}
    with connection.makefile("rb") as stream:
        while True:
            head = stream.read(5)
            if len(head) < 5:
                raise NotReadyError("the server closed the connection")
            body = stream.read(int.from_bytes(head[1:], "big") - 4)
            kind = head[:1]
            if kind == b"S":
                name, value = body.split(b"\x00")[:2]
                parameters[name.decode()] = value.decode()
            elif kind == b"E":
                fields = {part[:1]: part[1:].decode(errors="replace") for part in body.split(b"\x00") if part}
                raise NotReadyError(fields.get(b"M", "an error without a message"))
            elif kind == b"Z":
                return parameters


def redis_version(port: int, password: str) -> str:
    """Log in over TCP and ask for the version: ``"Valkey 9.1.0"``."""
    with _tcp(port) as connection, connection.makefile("rb") as stream:
        # PING because INFO is answered while the data are still being loaded, and PING is not.
        for command in (f"AUTH {password}", "PING", "INFO server"):
            connection.sendall(command.encode() + b"\r\n")
            line = stream.readline()
            if not line or line.startswith(b"-"):
                raise NotReadyError(
                    line.decode(errors="replace").strip() or "the server closed the connection"
                )
        info = stream.read(int(line[1:])).decode(errors="replace")
    return redis_info_version(info)


def redis_info_version(info: str) -> str:
    """The name and version out of what ``INFO server`` says."""
    fields = dict(line.split(":", 1) for line in info.splitlines() if ":" in line)
    if "valkey_version" in fields:
        return f"Valkey {fields['valkey_version']}"
    return f"Redis {fields.get('redis_version', '')}"


def mysql_version(path: str) -> str:
    """The version out of a server's greeting: ``"MariaDB 10.11.19"``."""
    with _unix(path) as connection, connection.makefile("rb") as stream:
        head = stream.read(4)
        if len(head) < 4:
            raise NotReadyError("the server closed the connection")
        greeting = stream.read(int.from_bytes(head[:3], "little"))
    if greeting[:1] != b"\x0a":  # an error packet: too many connections, shutting down
        raise NotReadyError(greeting[3:].decode(errors="replace"))
    return mysql_text_version(greeting[1 : greeting.index(b"\x00")].decode(errors="replace"))


def mysql_text_version(text: str) -> str:
    """The name and version out of what the server says: ``"10.11.19-MariaDB-0+deb12u1"``, ``"9.4.0"``."""
    # MariaDB calls itself 5.5.5 in its greeting, for old replicas' sake.
    number, _, rest = text.removeprefix("5.5.5-").partition("-")
    return f"MariaDB {number}" if "mariadb" in rest.lower() else f"MySQL {number}"


def _unix(path: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    return _connected(connection, path)


def _tcp(port: int) -> socket.socket:
    return _connected(socket.socket(), ("127.0.0.1", port))


def _connected(connection: socket.socket, address: str | tuple[str, int]) -> socket.socket:
    connection.settimeout(_PATIENCE)
    try:
        connection.connect(address)
    except OSError as error:
        connection.close()
        raise NotReadyError(str(error)) from error
    return connection
