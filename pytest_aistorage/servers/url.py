"""Servers that somebody else runs, used by the URL that was given for them and by no other."""

from __future__ import annotations

from pytest_aistorage.errors import ConfigurationError
from pytest_aistorage.servers.base import (
    Offer,
    ProviderUnavailableError,
    ServerOptions,
    ServerSpec,
    redact,
    redacted,
)
from pytest_aistorage.servers.kind import ServerKind

__all__ = ["connect", "offer"]

_SCHEMES = {
    "postgres": ("postgresql", "postgres"),
    "redis": ("redis", "rediss", "valkey", "valkeys", "unix", "redis+cluster", "rediss+cluster"),
    "mysql": ("mysql", "mariadb"),
}


def connect(kind: ServerKind, spec: ServerSpec, options: ServerOptions) -> tuple[str, str]:
    """The URL that was given, and the version of the server there.

    Raises:
        ProviderUnavailableError: there is none, nobody answers, or it is another server.
        ConfigurationError: it is no URL of this kind.
    """
    url = _given(kind, spec, options)
    try:
        version = kind.version(url, options.timeout)
    except Exception as error:  # a driver's, of which each has its own hierarchy, or of the URL's parts
        said = redact(str(error), url) or type(error).__name__
        raise ProviderUnavailableError(f"{redacted(url)}: {said}", "check the URL and the server") from error
    if not spec.accepts(version):
        raise ProviderUnavailableError(
            f"{redacted(url)} is {version}, not {spec}", f"give the URL of a {spec}"
        )
    return url, version


def offer(kind: ServerKind, spec: ServerSpec, options: ServerOptions) -> Offer:
    """Whether a URL was given; nobody is called."""
    try:
        url = _given(kind, spec, options)
        kind.require_driver()
    except ProviderUnavailableError as error:
        return Offer("url", False, error.reason, error.remedy)
    return Offer("url", True, redacted(url))


def _given(kind: ServerKind, spec: ServerSpec, options: ServerOptions) -> str:
    url = options.url_of(spec)
    if url is None:
        raise ProviderUnavailableError("no URL was given")
    scheme = url.partition("://")[0]
    known = _SCHEMES[kind.kind]
    if scheme not in known and scheme.partition("+")[0] not in known:
        raise ConfigurationError(
            f"{redacted(url)} is no URL of a {kind.kind} server: those begin with {known[0]}://"
        )
    return url
