"""URLs and options of storages: taken apart once, checked at once, shown without their secrets."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlencode, urlsplit

from .errors import ConfigurationError, InvalidProgressError
from .validation import checked_ttl

__all__ = [
    "OptionChecks",
    "SecretText",
    "StorageURL",
    "count",
    "missing_extra",
    "nothing_left",
    "option_of",
    "positive_int",
    "redact",
    "seconds",
    "shown",
    "snake_case",
    "text",
    "time_to_live",
]

OptionChecks = Mapping[str, Callable[[str, Any], Any]]
"""A backend's options: each name with its check, called with the name and the value, a str from a URL."""

# What the name of a query parameter holds whose value is a secret.
_SECRET_WORDS = ("pass", "pwd", "secret", "token", "scram")

# Schemes with these endings may name several hosts, any of which leads to all of them.
_SEVERAL_HOSTS = ("+cluster", "+sentinel")


@dataclasses.dataclass(frozen=True, slots=True, repr=False)
class StorageURL:
    """A URL in its parts, each decoded. Its repr holds no password.

    Attributes:
        scheme: in lower case.
        host: None where there is none; without the brackets of an IPv6 address.
        port: None where there is none.
        path: as it stands in the URL, decoded.
        query: the parameters, in the URL's order.
        more_hosts: host and port of the others, where the URL names several: ``redis+cluster://a:7000,b:7001``.
    """

    scheme: str
    username: str | None
    password: str | None
    host: str | None
    port: int | None
    path: str
    query: Mapping[str, str]
    more_hosts: tuple[tuple[str, int | None], ...] = ()

    @classmethod
    def parse(cls, url: str) -> StorageURL:
        """Take a URL apart.

        Raises:
            ConfigurationError: no URL; the message never repeats the URL, in which a password may hide.
        """
        __tracebackhide__ = True  # pytest would print the argument
        if not isinstance(url, str):
            raise ConfigurationError(f"a storage URL must be a str, not {type(url).__name__}")
        if ":" not in url:
            raise ConfigurationError(
                "a storage URL needs a scheme, such as memory:// or postgresql://host/db"
            )
        scheme = url.partition(":")[0].lower()
        if not scheme.isascii() or not scheme or not scheme.replace("+", "").replace("-", "").isalnum():
            raise ConfigurationError("a storage URL begins with a scheme, such as memory:// or postgresql://")
        try:
            first, others = _hosts_apart(url) if scheme.endswith(_SEVERAL_HOSTS) else (url, [])
            parts = urlsplit(first)
            host, port = parts.hostname, parts.port
            more_hosts = tuple((unquote(other.hostname or ""), other.port) for other in others)
        except ValueError:
            # urllib's message shows what it took for the port: part of a password with an unescaped '/'.
            raise ConfigurationError(
                f"{scheme}:// URL: its host or port can't be read "
                "(a password with special characters must be percent-encoded)"
            ) from None
        if "#" in url or (parts.netloc and "@" in parts.path + parts.query):
            # Whatever is behind the '#' would be dropped, and a '@' there is most likely the end of a password
            # that an unescaped '/' or '?' has cut in two; the rest of it would be shown as path or parameter.
            raise ConfigurationError(
                f"{scheme}:// URL: '#' must be written %23 and '@' %40; in a password also '/' %2F and '?' %3F"
            )
        if "\0" in unquote(url) or not _is_text(url):
            raise ConfigurationError(f"{scheme}:// URL: holds a NUL or a lone surrogate")
        if not all(_is_host(name) for name in (unquote(host or ""), *(name for name, _ in more_hosts))):
            raise ConfigurationError(f"{scheme}:// URL: its host is no host's name")
        return cls(
            scheme=scheme,
            username=None if parts.username is None else unquote(parts.username),
            password=None if parts.password is None else unquote(parts.password),
            host=None if host is None else unquote(host),
            port=port,
            path=unquote(parts.path),
            query=dict(parse_qsl(parts.query, keep_blank_values=True)),
            more_hosts=more_hosts,
        )

    def without(self, *names: str) -> StorageURL:
        """Return the URL without these query parameters."""
        return dataclasses.replace(self, query={k: v for k, v in self.query.items() if k not in names})

    def render(self, *, password: bool = True) -> str:
        """Return the URL as text.

        Args:
            password: whether to write secrets out; otherwise ``***`` stands for each.
        """
        netloc = ""
        if self.username is not None or self.password is not None:
            netloc = quote(self.username or "", safe="")
            if self.password is not None:
                netloc += ":" + (quote(self.password, safe="") if password else "***")
            netloc += "@"
        if self.host is not None:
            netloc += f"[{self.host}]" if ":" in self.host else quote(self.host, safe="")
        if self.port is not None:
            netloc += f":{self.port}"
        for host, port in self.more_hosts:
            netloc += "," + (f"[{host}]" if ":" in host else quote(host, safe=""))
            netloc += "" if port is None else f":{port}"
        query = {key: value if password else str(shown(key, value)) for key, value in self.query.items()}
        tail = "?" + urlencode(query, safe="/*:") if query else ""
        return f"{self.scheme}://{netloc}{quote(self.path, safe='/:')}{tail}"

    def __str__(self) -> str:
        return self.render(password=False)

    __repr__ = __str__


def _hosts_apart(url: str) -> tuple[str, list[SplitResult]]:
    """The URL with the first of its hosts alone, and each of the others as a URL's parts."""
    head, slashes, rest = url.partition("://")
    end = next((place for place, letter in enumerate(rest) if letter in "/?#"), len(rest))
    user, at, hosts = rest[:end].rpartition("@")
    first, *others = hosts.split(",")
    if not all(others):
        raise ValueError("an empty host")
    return f"{head}{slashes}{user}{at}{first}{rest[end:]}", [urlsplit(f"//{other}") for other in others]


def _is_text(url: str) -> bool:
    try:
        url.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_host(host: str) -> bool:
    """Whether a resolver could take it: it encodes a name by IDNA, and raises what is no OSError."""
    if host.startswith("/"):  # a socket's directory, as libpq takes it
        return True
    try:
        host.encode("idna")
    except UnicodeError:
        return False
    return True


def redact(url: str) -> str:
    """Return the URL without its secrets; only its scheme, where it can't be read."""
    try:
        return str(StorageURL.parse(url))
    except ConfigurationError:
        scheme = url.partition("://")[0] if "://" in url else ""
        return f"{scheme}://***" if scheme.replace("+", "").isalnum() else "***"


def shown(name: str, value: object) -> object:
    """Return an option's value as it may be shown: a URL without its secrets, a client by its class.

    Args:
        name: the option's; what its name calls a password or a token is not shown.
        value: what it is set to.
    """
    if any(word in name.lower() for word in _SECRET_WORDS):
        return "***"
    if isinstance(value, str):
        return redact(value) if "://" in value else value
    if value is None or isinstance(value, (bool, int, float, timedelta)):
        return value
    return f"<{type(value).__name__}>"


class SecretText(str):
    """A text that is shown without its secrets wherever its repr is: in a dict, a traceback, a log.

    It is whole as a str, as a driver needs it; ``f"{text}"`` shows all of it.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return repr(redact(str(self)) if "://" in self else "***")


def snake_case(name: str) -> str:
    """Return a name of a TypeScript or JSON document as Python writes it: ``redisUrl`` as ``redis_url``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def option_of(
    url: StorageURL, options: Mapping[str, Any], known: OptionChecks
) -> tuple[StorageURL, dict[str, Any]]:
    """Collect a backend's options out of keyword arguments and of the URL's query.

    Args:
        url: what the options may stand in, as ``?name=value``.
        options: keyword arguments; they win over the URL's.
        known: each option's name and its check.

    Returns:
        The URL without the options, which are no business of a driver; and the checked options.

    Raises:
        ConfigurationError: an unknown keyword, or a value that fails its check.
    """
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise ConfigurationError(
            f"{url.scheme}: unknown option {unknown[0]!r}; known are {', '.join(sorted(known)) or 'none'}"
        )
    given = {name: value for name, value in url.query.items() if name in known} | dict(options)
    return url.without(*known), {name: known[name](name, value) for name, value in given.items()}


def nothing_left(url: StorageURL) -> None:
    """Refuse what is still in the query of a URL that leads to no driver: it is a misspelt option.

    Raises:
        ConfigurationError: there is such a parameter.
    """
    if url.query:
        raise ConfigurationError(f"{url.scheme}: unknown option {min(url.query)!r} in the URL")


def seconds(name: str, value: object) -> float:
    """Check an option that is a time in seconds, above 0 and at most a day."""
    try:
        number = float(value)  # type: ignore[arg-type]  # whatever it is, float() says
    except (TypeError, ValueError):
        number = math.nan
    if isinstance(value, bool) or not 0 < number <= 86400:
        raise ConfigurationError(f"option {name}: must be seconds, above 0 and at most 86400, got {value!r}")
    return number


def positive_int(name: str, value: object) -> int:
    """Check an option that is a count from 1 up."""
    return _int_from(1, name, value)


def count(name: str, value: object) -> int:
    """Check an option that is a count from 0 up."""
    return _int_from(0, name, value)


def _int_from(least: int, name: str, value: object) -> int:
    try:
        number = int(value)  # type: ignore[call-overload]  # whatever it is, int() says
    except (TypeError, ValueError):
        number = -1
    if isinstance(value, (bool, float)) or number < least:
        raise ConfigurationError(f"option {name}: must be an int from {least} up, got {value!r}")
    return int(number)


def text(name: str, value: object) -> str:
    """Check an option that is a non-empty text."""
    if not isinstance(value, str) or not value or "\0" in value:
        raise ConfigurationError(f"option {name}: must be a non-empty str without NUL")
    return value


def time_to_live(name: str, value: object) -> timedelta | None:
    """Check an option that is a time to live: a timedelta, or seconds in a URL."""
    if isinstance(value, str):
        value = timedelta(seconds=seconds(name, value))
    try:
        return checked_ttl(value)
    except InvalidProgressError as error:
        raise ConfigurationError(f"option {error}") from error


def missing_extra(scheme: str, driver: str, extra: str) -> ConfigurationError:
    """Return the error for a driver that is not installed; one line that names the remedy."""
    return ConfigurationError(
        f"{scheme}:// needs the driver {driver}, which is not installed: pip install 'pytest-aistorage[{extra}]'"
    )
