"""Real servers for tests: found, started, shared by a run, and gone with it."""

from __future__ import annotations

from pytest_aistorage.servers.base import PROVIDERS, Offer, ServerOptions, ServerSpec
from pytest_aistorage.servers.proxy import TCPProxy
from pytest_aistorage.servers.resolve import private_server, shared_server, stop_kept, survey
from pytest_aistorage.servers.run_directory import RunDirectory
from pytest_aistorage.servers.server import PrivateServer, Server

__all__ = [
    "PROVIDERS",
    "Offer",
    "PrivateServer",
    "RunDirectory",
    "Server",
    "ServerOptions",
    "ServerSpec",
    "TCPProxy",
    "private_server",
    "shared_server",
    "stop_kept",
    "survey",
]
