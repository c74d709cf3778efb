"""From a URL to a pool of connections to one Redis server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from .. import config
from ..errors import AIStorageError, ConfigurationError
from ..passwords import Passwords

try:
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry
except ImportError as missing:
    raise config.missing_extra("redis", "redis", "redis") from missing

__all__ = ["Credentials", "ProviderFailed", "is_tls", "pool_from_url", "pool_of"]

_TLS_PARAMETERS: Final = frozenset(
    {
        "ssl_ca_certs",
        "ssl_ca_path",
        "ssl_cert_reqs",
        "ssl_certfile",
        "ssl_check_hostname",
        "ssl_keyfile",
        "ssl_password",
    }
)
_TLS_FILES: Final = frozenset({"ssl_ca_certs", "ssl_certfile", "ssl_keyfile"})
_YES_OR_NO: Final = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


class ProviderFailed(redis.RedisError):
    """Carries an error of ours through the driver, which closes a half-open connection for its own errors only."""

    def __init__(self, failure: AIStorageError) -> None:
        super().__init__(str(failure))
        self.failure = failure


class Credentials(redis.CredentialProvider):
    """What the driver asks for a user's password with each new connection."""

    def __init__(self, username: str | None, passwords: Passwords) -> None:
        self._username = username
        self._passwords = passwords

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        """Return the password of the moment, behind the user if there is one.

        Raises:
            ProviderFailed: there is none.
        """
        try:
            password = self._passwords.current()
        except AIStorageError as failure:
            raise ProviderFailed(failure) from failure
        return (self._username, password) if self._username else (password,)

    def hide(self, text: str) -> str:
        """Return a text in which none of the passwords stands."""
        return self._passwords.hide(text)


def pool_from_url(
    url: config.StorageURL,
    *,
    timeout: float,
    max_connections: int,
    connect_timeout: float | None = None,
    on_connect: Callable[[Any], None] | None = None,
    passwords: Passwords | None = None,
) -> redis.BlockingConnectionPool:
    """Return a pool of connections, none of which is open yet.

    Args:
        url: without the storage's own options.
        timeout: seconds, for each of: a free connection, connecting, sending, the reply.
        max_connections: threads beyond so many wait for one another.
        connect_timeout: seconds for connecting, where it is less; there are other nodes to be tried.
        on_connect: greets the server on a new connection of the driver, in the place of the driver's own way.
        passwords: asked with each new connection, where they change; default: the URL's own.

    Raises:
        ConfigurationError: a part of the URL that can't be right.
    """
    tls, unix = is_tls(url.scheme), url.scheme == "unix"
    known = {"db", "client_name"} | (_TLS_PARAMETERS if tls else set())
    if unix:
        known |= {"password", "username"}  # as redis-py takes them, beside unix://user:password@/path.sock
    if unknown := sorted(set(url.query) - known):
        raise ConfigurationError(
            f"{url.scheme}:// URL: unknown parameter {unknown[0]!r}; known are {', '.join(sorted(known))}"
        )
    options: dict[str, Any] = dict(url.query)
    options["db"] = _database(url, unix=unix)
    if passwords is not None and passwords.changing:
        options["credential_provider"] = Credentials(url.username or options.pop("username", None), passwords)
    elif url.username or url.password:
        options |= {"username": url.username or None, "password": url.password}
    kind: type[Any]
    if unix:
        if url.host is not None or not url.path.strip("/"):
            raise ConfigurationError("a unix URL is unix:///absolute/path.sock?db=0, with three slashes")
        kind = redis.UnixDomainSocketConnection
        options["path"] = url.path
    else:
        kind = redis.SSLConnection if tls else redis.Connection
        options |= {"host": _host(url), "port": 6379 if url.port is None else url.port}
        if (checked := options.get("ssl_check_hostname")) is not None:
            if (flag := _YES_OR_NO.get(checked.lower())) is None:
                raise ConfigurationError("parameter ssl_check_hostname: must be true or false")
            options["ssl_check_hostname"] = flag
        elif tls:
            # Older drivers take any certificate of a trusted authority for anybody's.
            options["ssl_check_hostname"] = options.get("ssl_cert_reqs") != "none"
    options |= {
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout if connect_timeout is None else connect_timeout,
        # A write that is sent again by the driver may take effect twice.
        "retry": Retry(NoBackoff(), 0),
        # RESP 3 would bring a server's notifications into the replies, and nothing that is needed here.
        "protocol": 2,
    }
    if on_connect is not None:
        options["redis_connect_func"] = on_connect
    for name in _TLS_FILES & set(options):
        if not Path(options[name]).is_file():
            raise ConfigurationError(f"parameter {name}: there is no file {options[name]}")
    try:
        kind(**options)  # checks the TLS options; connects nowhere
    except (redis.RedisError, TypeError, ValueError) as error:
        raise ConfigurationError(f"{url.scheme}:// URL: {error}") from error
    return redis.BlockingConnectionPool(  # type: ignore[no-untyped-call]  # the driver's, without annotations
        max_connections=max_connections, timeout=timeout, connection_class=kind, **options
    )


def pool_of(client: Any) -> Any:
    """Return the pool of a client that the caller handed in.

    Raises:
        ConfigurationError: no synchronous client of one server, or one that caches replies.
    """
    if not isinstance(client, redis.Redis):
        raise ConfigurationError(f"option redis: must be a redis.Redis, not {type(client).__name__}")
    if getattr(client.connection_pool, "cache", None) is not None:
        raise ConfigurationError("option redis: a client that caches replies may return what is outdated")
    return client.connection_pool


def _database(url: config.StorageURL, *, unix: bool) -> int:
    path = "" if unix else url.path.strip("/")
    given = url.query.get("db")
    if path and given is not None:
        raise ConfigurationError(f"{url.scheme}:// URL: the database stands in the path and in ?db=")
    number = path or given or "0"
    if not (number.isascii() and number.isdigit()):
        raise ConfigurationError(f"{url.scheme}:// URL: a Redis database is a number, not {number!r}")
    return int(number)


def _host(url: config.StorageURL) -> str:
    host = url.host or "localhost"
    try:
        host.encode("idna")  # what the resolver will do, with an error that is no OSError
    except UnicodeError:
        raise ConfigurationError(f"{url.scheme}:// URL: its host is no host name") from None
    return host


def is_tls(scheme: str) -> bool:
    """Whether a URL's scheme asks for TLS, whatever stands behind a ``+`` in it."""
    return scheme.partition("+")[0] in ("rediss", "valkeys")
