"""Databases by TLS: what a URL demands is verified, and what fails it gets no password and no record."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from certificates import Authority

from pytest_aistorage import (
    AIProgress,
    ConfigurationError,
    DatabaseStorage,
    StorageUnavailableError,
    config,
)
from pytest_aistorage.servers import ServerOptions, ServerSpec, private_server
from pytest_aistorage.servers.process import _owner

_KINDS = {
    "postgres": ("sslrootcert", {"sslmode": "verify-full"}),
    "mysql": ("ssl_ca", {"ssl_verify_identity": "true"}),
}


@dataclasses.dataclass(frozen=True)
class TLSServer:
    """A server with a certificate for ``localhost``.

    Attributes:
        kind: ``postgres`` or ``mysql``.
        url: of a database on it, by the host ``localhost``.
        trusted: the file of the authority that signed its certificate.
        other: the file of one that did not.
        plain: the URL of a database on a server without TLS.
    """

    kind: str
    url: config.StorageURL
    trusted: Path
    other: Path
    plain: config.StorageURL

    def verified(self, ca: Path, *, url: config.StorageURL | None = None, host: str = "localhost") -> str:
        """A URL that demands a certificate of this authority and for this host."""
        parameter, demands = _KINDS[self.kind]
        query = {**demands, parameter: str(ca)}
        return dataclasses.replace(url or self.url, host=host, query=query).render()


@pytest.fixture(scope="module", params=["postgres", "mysql"])
def tls(request: pytest.FixtureRequest) -> Iterator[TLSServer]:
    """One server with a certificate and one without, of each product."""
    kind = request.param
    directory = Path(tempfile.mkdtemp(prefix="aistls"))
    directory.chmod(0o755)
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, directory)
        trusted, other = Authority(directory, "trusted"), Authority(directory, "other")
        certificate, key = trusted.sign("localhost", owner=_owner())
        if kind == "postgres":
            on = {"ssl": "on", "ssl_cert_file": str(certificate), "ssl_key_file": str(key)}
            off = {"ssl": "off"}
        else:
            on = {"ssl-ca": str(trusted.file), "ssl-cert": str(certificate), "ssl-key": str(key)}
            off = {"skip-ssl": "1"}
        options = ServerOptions(
            run_dir=directory,
            providers={kind: ("process",)},
        )
        urls = []
        for settings in (on, off):
            server = stack.enter_context(
                private_server(ServerSpec.parse(kind), options, durable=False, settings=settings)
            )
            urls.append(config.StorageURL.parse(server.create_database()))
        yield TLSServer(kind, urls[0], trusted.file, other.file, urls[1])


def _refusal(url: str, password: str | None) -> str:
    assert password
    with DatabaseStorage(url, timeout=5) as storage:
        with pytest.raises(StorageUnavailableError) as raised:
            storage.save_progress(AIProgress(model_name="m", mse=0.5))
        assert storage.health_check() is False
    assert password not in str(raised.value)
    return str(raised.value)


def test_a_server_that_proves_who_it_is_serves(tls: TLSServer) -> None:
    """The right authority and the right name; the connection is encrypted, which the server says."""
    with DatabaseStorage(tls.verified(tls.trusted)) as storage:
        assert storage.save_progress(AIProgress(model_name="m", mse=0.5)).version == 1
        with storage._engine.connect() as connection:
            asked: Any = {
                "postgres": "SELECT ssl::text FROM pg_stat_ssl WHERE pid = pg_backend_pid()",
                "mysql": "SELECT variable_value <> '' FROM information_schema.session_status "
                "WHERE variable_name = 'Ssl_cipher'",
            }
            assert connection.exec_driver_sql(asked[tls.kind]).scalar_one() in ("true", 1)


def test_a_certificate_of_another_authority_is_refused(tls: TLSServer) -> None:
    """Anybody can sign a certificate for localhost."""
    assert "certificate" in _refusal(tls.verified(tls.other), tls.url.password)


def test_a_certificate_for_another_host_is_refused(tls: TLSServer) -> None:
    """The same server by another name: a certificate says whose it is."""
    assert "127.0.0.1" in _refusal(tls.verified(tls.trusted, host="127.0.0.1"), tls.url.password)


def test_a_server_without_tls_is_refused_where_tls_is_demanded(tls: TLSServer) -> None:
    """No fallback to a connection that anybody can read."""
    said = _refusal(tls.verified(tls.trusted, url=tls.plain), tls.plain.password)
    assert "SSL" in said


# -- what a MySQL URL may say -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("ssl_ca=/nowhere/ca.pem", "ssl_"),
        ("ssl_verify_identity=perhaps", "ssl_verify_identity: must be true or false"),
        ("ssl_verify_identity=true&ssl_verify_cert=false", "contradicts"),
        ("ssl_disabled=true&ssl_verify_identity=true", "contradicts"),
    ],
)
def test_a_url_that_can_not_be_obeyed_is_an_error_at_once(query: str, said: str) -> None:
    """Before the first connection, and without the password."""
    with pytest.raises(ConfigurationError, match=said) as raised:
        DatabaseStorage(f"mysql://user:hidden@localhost/db?{query}")
    assert "hidden" not in str(raised.value)
