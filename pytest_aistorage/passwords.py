"""Passwords that change: asked for anew with every connection, and shown nowhere.

A provider is any callable without arguments that returns the password of the moment. Where only text can be said, in
a URL or a variable of the environment, it is one of these:

==================================  =======================================================================
``file:/run/secrets/password``      what the file holds: a secret that Docker or Kubernetes mounts, and rotates
``aws-rds``                         a token of AWS IAM for Amazon RDS and Aurora, by the URL's host and user
``aws-elasticache:NAME``            the same for the replication group of this name of Amazon ElastiCache
``aws-elasticache-serverless:NAME``  the same for a serverless cache
==================================  =======================================================================
"""

from __future__ import annotations

import collections
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from .config import StorageURL
from .errors import AIStorageError, ConfigurationError, StorageUnavailableError

__all__ = ["OPTION", "PasswordProvider", "Passwords", "checked_provider", "hiding"]

PasswordProvider = Callable[[], str]
"""Returns the password of the moment. Several threads may call it at once; what it raises ends the operation, and
nothing but itself limits how long it takes."""

OPTION: Final = "password_provider"
"""What the option is called, of every backend that has a server."""

_FILE: Final = "file"
_RDS: Final = "aws-rds"
_ELASTICACHE: Final = "aws-elasticache"
_SERVERLESS: Final = "aws-elasticache-serverless"

# Passwords that may still stand in an error's text: those of connections that are opened at the same time.
_REMEMBERED: Final = 64


def checked_provider(name: str, value: object) -> PasswordProvider | str:
    """Check an option that is a provider of passwords, or names one.

    Raises:
        ConfigurationError: neither a callable nor one of the texts of this module.
    """
    if callable(value):
        return value
    if isinstance(value, str):
        kind, _, rest = value.partition(":")
        if value == _RDS or (kind in (_FILE, _ELASTICACHE, _SERVERLESS) and rest and "\0" not in rest):
            return value
    # What was given may be the password itself.
    raise ConfigurationError(
        f"option {name}: must be a callable without arguments, {_FILE}:PATH, {_RDS}, {_ELASTICACHE}:NAME or "
        f"{_SERVERLESS}:NAME"
    )


class Passwords:
    """What connections to one server are opened with: one password, or a new one each time.

    Args:
        url: of the server, without the storage's own options.
        provider: as `checked_provider` returns it; None: the URL's own password, if it has one.

    Raises:
        ConfigurationError: a password in the URL as well; a file that is missing; a token for a connection that does
            not verify its server; the extra ``aws`` is not installed.
    """

    def __init__(self, url: StorageURL, provider: PasswordProvider | str | None) -> None:
        self._url = url
        self._issued: collections.deque[str] = collections.deque(maxlen=_REMEMBERED)
        if provider is None:
            self.changing = False
            if url.password:
                self._issued.append(url.password)
            return
        self.changing = True
        """Whether each connection asks for its own."""
        if url.password is not None or "password" in url.query:
            raise ConfigurationError(f"option {OPTION}: the URL has a password as well")
        self._provider: PasswordProvider = _named(provider, url) if isinstance(provider, str) else provider

    def current(self) -> str:
        """Ask for the password of the moment; only where it is `changing`.

        Raises:
            StorageUnavailableError: the provider failed; its error is the cause.
            ConfigurationError: what it returned is no password.
        """
        try:
            password: Any = self._provider()
        except AIStorageError:
            raise
        except Exception as error:
            raise StorageUnavailableError(
                f"{self._url}: the provider of its password failed: {type(error).__name__}"
            ) from error
        if not isinstance(password, str) or not password or "\0" in password:
            raise ConfigurationError(
                f"{self._url}: the provider of its password must return a non-empty str without NUL, "
                f"not {'such a str' if isinstance(password, str) else type(password).__name__}"
            )
        if password not in self._issued:
            self._issued.append(password)
        return password

    def hide(self, text: str) -> str:
        """Return a text in which none of the passwords stands."""
        for password in sorted(self._issued, key=len, reverse=True):  # one may begin as another does
            text = text.replace(password, "***")
        return text


def hiding(password: str | None) -> Callable[[str], str]:
    """Return what takes one password out of a text."""
    return (lambda text: text.replace(password, "***")) if password else (lambda text: text)


def _named(provider: str, url: StorageURL) -> PasswordProvider:
    kind, _, rest = provider.partition(":")
    if kind == _FILE:
        return _PasswordFile(Path(rest))
    from . import aws

    if kind == _RDS:
        return aws.rds_password_for(url)
    return aws.elasticache_password_for(url, rest, serverless=kind == _SERVERLESS)


class _PasswordFile:
    """The password that stands in a file now, without the newline at its end."""

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise ConfigurationError(f"option {OPTION}: there is no file {path}")
        self._path = path

    def __call__(self) -> str:
        try:
            password = self._path.read_text(encoding="utf-8").rstrip("\r\n")
        except OSError as error:  # while it is replaced
            raise StorageUnavailableError(f"the password's file can't be read: {error}") from error
        except UnicodeDecodeError:
            raise ConfigurationError(f"the password's file is no UTF-8: {self._path}") from None
        if not password:  # while another one is written into it
            raise StorageUnavailableError(f"the password's file is empty: {self._path}")
        return password
