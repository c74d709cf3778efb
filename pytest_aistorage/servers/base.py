"""What is asked for, what may be used to get it, and what comes back: specs, options, offers.

Nothing here imports a driver or starts anything.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast
from urllib.parse import quote, unquote, urlsplit

from pytest_aistorage.errors import ConfigurationError

__all__ = [
    "PROVIDERS",
    "Kind",
    "Offer",
    "ProviderUnavailableError",
    "ServerOptions",
    "ServerSpec",
    "redact",
    "redacted",
    "with_parts",
]

Kind = Literal["postgres", "redis", "mysql"]

PROVIDERS = ("url", "container", "process", "embedded")
"""Where a server can come from, in the order of ``auto``."""

_FLAVOURS: dict[str, tuple[str, ...]] = {
    "postgres": (),
    "redis": ("redis", "valkey"),
    "mysql": ("mysql", "mariadb"),
}
_VERSION = re.compile(r"[0-9]+(\.[0-9]+)*")


@dataclass(frozen=True, slots=True)
class ServerSpec:
    """Which server is wanted.

    Attributes:
        kind: the protocol that it speaks: ``postgres``, ``redis`` or ``mysql``.
        flavour: ``redis``, ``valkey``, ``mysql``, ``mariadb``; None: whichever there is (with a version: the
            one that the kind is named after).
        version: the leading parts of its version, ``"17"``, ``"11.8"``; None: the newest there is.
    """

    kind: Kind
    flavour: str | None = None
    version: str | None = None

    @classmethod
    def parse(cls, text: str) -> ServerSpec:
        """Read ``postgres``, ``postgres@17``, ``redis@valkey-8``, ``mysql@mariadb-11.8``, ``redis@valkey``.

        Raises:
            ConfigurationError: naming what is wrong with the text.
        """
        kind, at, rest = text.partition("@")
        if kind not in _FLAVOURS:
            known = ", ".join(_FLAVOURS)
            raise ConfigurationError(
                f"server {text!r}: no kind of server is called {kind!r}; there are {known}"
            )
        if at and not rest:
            raise ConfigurationError(f"server {text!r}: a version is missing after the @")
        flavour: str | None = None
        version: str | None = rest or None
        if rest in _FLAVOURS[kind]:
            flavour, version = rest, None
        elif "-" in rest:
            flavour, _, version = rest.partition("-")
        if flavour is not None and flavour not in _FLAVOURS[kind]:
            known = ", ".join(_FLAVOURS[kind]) or "none"
            raise ConfigurationError(f"server {text!r}: {kind} has no flavour {flavour!r}; it has {known}")
        if version is not None and not _VERSION.fullmatch(version):
            raise ConfigurationError(f"server {text!r}: {version!r} is no version such as 17 or 11.8")
        return cls(cast(Kind, kind), flavour, version)

    def __str__(self) -> str:
        rest = "-".join(part for part in (self.flavour, self.version) if part)
        return f"{self.kind}@{rest}" if rest else self.kind

    def accepts(self, product: str) -> bool:
        """Whether a server that calls itself ``"Valkey 9.1.0"`` is what is wanted."""
        name, _, version = product.partition(" ")
        flavour = self.flavour or (self.kind if self.version else None)
        names = {
            "PostgreSQL": "postgres",
            "Redis": "redis",
            "Valkey": "valkey",
            "MySQL": "mysql",
            "MariaDB": "mariadb",
        }
        if flavour is not None and names.get(name) != flavour:
            return False
        return self.version is None or f"{version}.".startswith(f"{self.version}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """Where servers may come from, and where what belongs to them goes.

    Attributes:
        run_dir: a private (0700) directory of this run, the same for all its processes.
        providers: the providers to try, in order, by kind (or by a spec's text); ``PROVIDERS`` where none are given.
        urls: URLs of servers to use, by a spec's text or by kind. A URL is never looked for anywhere else.
        cache_dir: for data directories ready to be copied; None: the user's cache directory.
        data_dir: for the data of servers that are processes; None: a memory file system with room, or the directory
            for temporary files.
        keep: leave the shared servers running for the next run.
        timeout: seconds within which a server process must answer. A container may take longer.
    """

    run_dir: Path
    providers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    urls: Mapping[str, str] = field(default_factory=dict)
    cache_dir: Path | None = None
    data_dir: Path | None = None
    keep: bool = False
    timeout: float = 30.0

    def providers_of(self, spec: ServerSpec) -> tuple[str, ...]:
        """The providers to try for a spec, ``auto`` spelled out.

        Raises:
            ConfigurationError: one of them does not exist.
        """
        named = self.providers.get(str(spec), self.providers.get(spec.kind, PROVIDERS))
        order: list[str] = []
        for name in named:
            if name != "auto" and name not in PROVIDERS:
                raise ConfigurationError(
                    f"no server provider {name!r}; there are auto, {', '.join(PROVIDERS)}"
                )
            order.extend(PROVIDERS if name == "auto" else (name,))
        return tuple(dict.fromkeys(order))

    def url_of(self, spec: ServerSpec) -> str | None:
        """The URL that was given for a spec, or for its kind."""
        return self.urls.get(str(spec), self.urls.get(spec.kind))


@dataclass(frozen=True, slots=True)
class Offer:
    """What one provider can do for a spec, found out without starting anything.

    Attributes:
        provider: one of ``PROVIDERS``.
        available: whether it looks as if it could supply the server.
        detail: version and path, image, or engine; where it is not available, the reason.
        remedy: what to do about it, None where it is available.
    """

    provider: str
    available: bool
    detail: str
    remedy: str | None = None


class ProviderUnavailableError(Exception):
    """One provider can't supply the server; the next one is asked.

    Attributes:
        reason: one line.
        remedy: one line, or None where there is nothing to be done.
    """

    def __init__(self, reason: str, remedy: str | None = None) -> None:
        super().__init__(reason, remedy)
        self.reason = " ".join(reason.split())
        self.remedy = remedy

    def __str__(self) -> str:
        return self.reason


def with_parts(url: str, **parts: str) -> str:
    """A URL with some of its parts (``scheme``, ``netloc``, ``path``, ``query``) replaced.

    Unlike `urllib.parse.urlunsplit`, it keeps the slashes of a URL without a host: ``postgresql:///db?host=/run``.
    """
    old = urlsplit(url)._replace(**parts)
    return f"{old.scheme}://{old.netloc}{old.path}{'?' if old.query else ''}{old.query}"


_SECRET_PARAMETER = re.compile(r"((?:^|[?&;])(?:password|passwd|pwd|sslpassword)=)[^&;]*", re.IGNORECASE)


def redacted(url: str) -> str:
    """A URL with ``***`` for its password."""
    try:
        parts = urlsplit(url)
        userinfo, at, host = parts.netloc.rpartition("@")
    except ValueError:
        return "***"
    user, colon, _ = userinfo.partition(":")
    netloc = f"{user}:***{at}{host}" if colon else parts.netloc
    query = _SECRET_PARAMETER.sub(r"\1***", parts.query)
    return with_parts(url, netloc=netloc, query=query)


def redact(text: str, url: str) -> str:
    """A text (a driver's message) without the password that a URL holds, however it is written."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return text.replace(url, "***")
    userinfo = parts.netloc.rpartition("@")[0]
    secrets = [userinfo.partition(":")[2]]
    secrets += [match.group().partition("=")[2] for match in _SECRET_PARAMETER.finditer(parts.query)]
    text = text.replace(url, redacted(url))
    for secret in secrets:
        for spelled in {secret, unquote(secret), quote(unquote(secret), safe="")}:
            if spelled:
                text = text.replace(spelled, "***")
    return text


def joined_remedy(remedies: Sequence[str | None]) -> str:
    """One line out of the remedies of several providers."""
    wanted = [remedy for remedy in dict.fromkeys(remedies) if remedy]
    return f"Remedy: {'; or '.join(wanted)}." if wanted else "There is no remedy here."


def private_directory(path: Path) -> Path:
    """Make a directory that only this user can enter, if it is not there.

    Raises:
        ProviderUnavailableError: it belongs to somebody else, or others can write to it.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if hasattr(os, "geteuid"):
        found = path.lstat()
        if path.is_symlink() or found.st_uid != os.geteuid() or found.st_mode & 0o022:
            raise ProviderUnavailableError(f"{path} is not a private directory of this user")
    return path
