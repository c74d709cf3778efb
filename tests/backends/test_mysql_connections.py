"""Connections to MySQL and MariaDB: what is costly is done once, and what a URL asks for is done each time."""

from __future__ import annotations

import ssl
from typing import Any

import pytest

from pytest_aistorage.backends._pymysql import Connection


def _context(**options: Any) -> ssl.SSLContext:
    context: ssl.SSLContext = Connection(host="127.0.0.1", defer_connect=True, **options).ctx
    return context


def test_certificates_are_loaded_once_where_none_is_verified() -> None:
    """PyMySQL calls what is replaced here: two connections have one context, which is willing to meet any server."""
    first = _context()
    assert _context() is first
    assert (first.verify_mode, first.check_hostname) == (ssl.CERT_NONE, False)


@pytest.mark.parametrize("option", ["ssl_verify_cert", "ssl_verify_identity"])
def test_what_is_to_be_verified_gets_a_context_of_its_own(option: str) -> None:
    """A connection that verifies its server shares nothing with those that don't."""
    verifying = _context(**{option: True})
    assert verifying is not _context()
    assert verifying.verify_mode is ssl.CERT_REQUIRED
