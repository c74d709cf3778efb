"""``aistorage serve``: a storage's health and metrics by HTTP, in a process of its own."""

from __future__ import annotations

import logging
import signal
import socket
import sys
from types import FrameType
from typing import TYPE_CHECKING

import click

from ..errors import AIStorageError, ConfigurationError

if TYPE_CHECKING:
    from starlette.applications import Starlette

__all__ = ["command"]

_log = logging.getLogger("pytest_aistorage.serve")


@click.command("serve")
@click.argument("url", required=False)
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="Where to listen; 0.0.0.0 for everybody."
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8000,
    show_default=True,
    help="0: any that is free.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(0, 86400, min_open=True),
    default=None,
    help="Seconds that a health check may take.  [default: 1.5]",
)
def command(url: str | None, host: str, port: int, timeout: float | None) -> None:
    """Tell of a storage's health by HTTP, and serve metrics to Prometheus.

    URL names the storage; without it the environment does, as for get_storage_config(). A password is better kept
    there: others on the machine see the arguments of a command.

    \b
    /health/ai-storage  200 if the storage answers in time, 500 if not
    /health/ready       200 or 503
    /health/live        200 as long as the process serves
    /metrics            counts, latencies and health, for Prometheus

    The counts are those of all processes that share PROMETHEUS_MULTIPROC_DIR. SIGTERM and Ctrl-C end it in order,
    with exit status 0.
    """
    try:
        from ..service import create_app, instrumented
    except ConfigurationError as error:
        raise click.ClickException(str(error)) from None
    from ..environment import get_storage_config
    from ..health import DEFAULT_TIMEOUT
    from ..production import ProductionAIStorage
    from ..registry import open_storage

    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", force=True
    )
    try:
        if url is not None:
            opened = open_storage(url)
        else:
            config = get_storage_config()
            opened = ProductionAIStorage(config.type, config.options)
        with instrumented(opened) as storage:
            app = create_app(storage, timeout=DEFAULT_TIMEOUT if timeout is None else timeout)
            _serve(app, storage._location(), _listening(host, port))
    except AIStorageError as error:
        raise click.ClickException(str(error)) from None


def _listening(host: str, port: int) -> socket.socket:
    """A socket on which connections are accepted from now on."""
    try:
        return socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=128
        )
    except OSError as error:
        raise click.ClickException(f"can't listen on {host}:{port}: {error.strerror or error}") from None


def _serve(app: Starlette, location: str, listener: socket.socket) -> None:
    """Answer requests until a signal comes; those under way are answered first."""
    import uvicorn

    host, port = listener.getsockname()[:2]
    server = uvicorn.Server(
        uvicorn.Config(app, log_config=None, log_level="warning", access_log=False, lifespan="off")
    )
    ended_by: list[str] = []

    def end(number: int, frame: FrameType | None) -> None:
        # Also what uvicorn raises once more when it has ended: its own way to pass the signal on.
        ended_by.append(signal.Signals(number).name)
        server.should_exit = True

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        _log.info("serving %s on http://%s:%d", location, f"[{host}]" if ":" in host else host, port)
        server.run(sockets=[listener])
        _log.info("ended by %s", ended_by[0] if ended_by else "nobody")
    finally:
        listener.close()
        for number, handler in before.items():
            signal.signal(number, handler)
