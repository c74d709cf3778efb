"""PyMySQL's connection: encrypted as the URL says, limited by the server as well, without its costliest step."""

from __future__ import annotations

import functools
import ssl
from collections.abc import Mapping
from typing import Any

import pymysql.connections

from ..errors import ConfigurationError

__all__ = ["TLS_PARAMETERS", "Connection", "tls_context"]

TLS_PARAMETERS = frozenset(
    {
        "ssl_ca",
        "ssl_capath",
        "ssl_cert",
        "ssl_check_hostname",
        "ssl_cipher",
        "ssl_disabled",
        "ssl_key",
        "ssl_key_password",
        "ssl_verify_cert",
        "ssl_verify_identity",
    }
)
"""What a URL may say of TLS: PyMySQL's names, and SQLAlchemy's for it."""

_FLAGS = {
    **dict.fromkeys(("true", "1", "yes", "on"), True),
    **dict.fromkeys(("false", "0", "no", "off"), False),
}


class Connection(pymysql.connections.Connection):  # type: ignore[misc]  # PyMySQL is untyped
    """A connection that is encrypted where the server can, as PyMySQL's are.

    PyMySQL loads the system's certificates for each of them, although it verifies none where the URL asks for no
    ``ssl_…``: 20 ms, forty times as long as all the rest. Here it does so once in a process.
    """

    def _create_ssl_ctx(self, sslp: Any) -> ssl.SSLContext:
        return _unverified() if sslp == {} else super()._create_ssl_ctx(sslp)

    def limit_statements(self, seconds: float) -> None:
        """Have the server give up by itself: what it ends has a known outcome, and leaves no work behind.

        Args:
            seconds: that a statement may take. MySQL can limit only a SELECT so, MariaDB all; both count the
                wait for a lock in whole seconds.
        """
        wait = max(1, int(seconds))
        if "MariaDB" in self.server_version:
            limit = f"max_statement_time = {seconds:g}"
        else:
            limit = f"max_execution_time = {max(1, int(seconds * 1000))}"
        with self.cursor() as cursor:
            cursor.execute(
                f"SET SESSION {limit}, innodb_lock_wait_timeout = {wait}, lock_wait_timeout = {wait}"
            )


def tls_context(parameters: Mapping[str, str]) -> dict[str, Any]:
    """Return PyMySQL's arguments for what a URL says of TLS.

    Not left to SQLAlchemy and PyMySQL, which between them forget ``ssl_ca`` where ``ssl_verify_identity`` is given,
    take the text ``false`` for true, and check no host name against the system's certificates.

    Args:
        parameters: those of `TLS_PARAMETERS` that the URL has. A CA means that the server's certificate and its
            host's name are verified, unless the URL says otherwise.

    Raises:
        ConfigurationError: a file that can't be read, or a value that is neither true nor false.
    """
    flags = {name: _flag(name, value) for name, value in parameters.items() if name in _BOOLEAN}
    if flags.get("ssl_disabled"):
        if len(parameters) > 1:
            raise ConfigurationError("ssl_disabled=true contradicts the other ssl_… parameters")
        return {"ssl_disabled": True}
    if not parameters.keys() - {"ssl_disabled"}:
        return {}
    has_ca = "ssl_ca" in parameters or "ssl_capath" in parameters
    identity = flags.get("ssl_verify_identity", flags.get("ssl_check_hostname"))
    certificate = flags.get("ssl_verify_cert", has_ca or bool(identity))
    if identity and not certificate:
        raise ConfigurationError("ssl_verify_identity=true contradicts ssl_verify_cert=false")
    try:
        context = ssl.create_default_context(
            cafile=parameters.get("ssl_ca"), capath=parameters.get("ssl_capath")
        )
        # The certificates that MySQL makes for itself are not strict.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        context.check_hostname = certificate if identity is None else identity
        context.verify_mode = ssl.CERT_REQUIRED if certificate else ssl.CERT_NONE
        if "ssl_cert" in parameters:
            context.load_cert_chain(
                parameters["ssl_cert"],
                keyfile=parameters.get("ssl_key"),
                # Not None: OpenSSL would ask the terminal for it.
                password=parameters.get("ssl_key_password", ""),
            )
        if "ssl_cipher" in parameters:
            context.set_ciphers(parameters["ssl_cipher"])
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(f"ssl_…: what the URL names can't be used: {error}") from None
    return {"ssl": context}


_BOOLEAN = frozenset({"ssl_check_hostname", "ssl_disabled", "ssl_verify_cert", "ssl_verify_identity"})


def _flag(name: str, value: str) -> bool:
    try:
        return _FLAGS[value.lower()]
    except KeyError:
        raise ConfigurationError(f"{name}: must be true or false, got {value!r}") from None


@functools.cache
def _unverified() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
