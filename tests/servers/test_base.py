"""Specs, options, and URLs without their passwords."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_aistorage.errors import ConfigurationError
from pytest_aistorage.servers import PROVIDERS, ServerOptions, ServerSpec
from pytest_aistorage.servers.base import ProviderUnavailableError, private_directory, redact, redacted


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("postgres", ServerSpec("postgres")),
        ("postgres@17", ServerSpec("postgres", None, "17")),
        ("postgres@17.2", ServerSpec("postgres", None, "17.2")),
        ("redis", ServerSpec("redis")),
        ("redis@8", ServerSpec("redis", None, "8")),
        ("redis@valkey", ServerSpec("redis", "valkey")),
        ("redis@valkey-8", ServerSpec("redis", "valkey", "8")),
        ("mysql@9", ServerSpec("mysql", None, "9")),
        ("mysql@mariadb-11.8", ServerSpec("mysql", "mariadb", "11.8")),
    ],
)
def test_a_spec_is_read_and_written_the_same(text: str, spec: ServerSpec) -> None:
    """Parsing gives kind, flavour and version; printing gives the text back."""
    assert ServerSpec.parse(text) == spec
    assert str(spec) == text


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("", "''"),
        ("oracle", "'oracle'"),
        ("Postgres", "'Postgres'"),
        ("postgres@", "missing"),
        ("postgres@new", "'new'"),
        ("postgres@17.", "'17.'"),
        ("postgres@valkey-8", "no flavour 'valkey'"),
        ("redis@mariadb-8", "no flavour 'mariadb'"),
        ("redis@valkey-", "''"),
        ("redis@-8", "no flavour ''"),
        ("mysql@mariadb-latest", "'latest'"),
    ],
)
def test_a_bad_spec_is_refused_by_name(text: str, wrong: str) -> None:
    """What is wrong with a spec is in the message."""
    with pytest.raises(ConfigurationError) as caught:
        ServerSpec.parse(text)
    assert wrong in str(caught.value)


@pytest.mark.parametrize(
    ("text", "product", "accepted"),
    [
        ("postgres", "PostgreSQL 15.14", True),
        ("postgres@15", "PostgreSQL 15.14", True),
        ("postgres@1", "PostgreSQL 15.14", False),
        ("postgres@15.1", "PostgreSQL 15.14", False),
        ("postgres@15.14", "PostgreSQL 15.14", True),
        ("redis", "Valkey 9.1.0", True),
        ("redis@9", "Valkey 9.1.0", False),
        ("redis@valkey-9", "Valkey 9.1.0", True),
        ("redis@valkey", "Redis 7.0.15", False),
        ("mysql", "MariaDB 10.11.6", True),
        ("mysql@9", "MySQL 9.4.0", True),
        ("mysql@10", "MariaDB 10.11.6", False),
        ("mysql@mariadb-10.11", "MariaDB 10.11.6", True),
    ],
)
def test_a_version_is_matched_part_by_part(text: str, product: str, accepted: bool) -> None:
    """A version without a flavour means the server that the kind is named after; 1 is not 15."""
    assert ServerSpec.parse(text).accepts(product) is accepted


def test_auto_is_every_provider_in_order(tmp_path: Path) -> None:
    """``auto`` may stand among others; each provider is tried once."""
    chosen = {"postgres": ("embedded", "auto"), "redis@valkey-8": ("container",)}
    options = ServerOptions(run_dir=tmp_path, providers=chosen)
    assert options.providers_of(ServerSpec.parse("postgres")) == ("embedded", "url", "container", "process")
    assert options.providers_of(ServerSpec.parse("redis@valkey-8")) == ("container",)
    assert options.providers_of(ServerSpec.parse("redis")) == PROVIDERS


def test_an_unknown_provider_is_refused(tmp_path: Path) -> None:
    """A misspelled provider is an error, not an empty list."""
    options = ServerOptions(run_dir=tmp_path, providers={"redis": ("docker",)})
    with pytest.raises(ConfigurationError, match="docker"):
        options.providers_of(ServerSpec.parse("redis"))


def test_a_url_is_found_by_spec_before_kind(tmp_path: Path) -> None:
    """The URL of ``redis@valkey-8`` is not that of ``redis``; without one, the kind's serves."""
    options = ServerOptions(run_dir=tmp_path, urls={"redis": "redis://a", "redis@valkey-8": "redis://b"})
    assert options.url_of(ServerSpec.parse("redis@valkey-8")) == "redis://b"
    assert options.url_of(ServerSpec.parse("redis@8")) == "redis://a"
    assert options.url_of(ServerSpec.parse("postgres")) is None


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://me:s3cret@host:5/db", "postgresql://me:***@host:5/db"),
        ("redis://:s3cret@host/0", "redis://:***@host/0"),
        ("redis://host/0?password=s3cret&db=1", "redis://host/0?password=***&db=1"),
        ("postgresql:///db?host=/run", "postgresql:///db?host=/run"),
        ("postgresql://[s3cret", "***"),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, shown: str) -> None:
    """Wherever the password stands in the URL."""
    assert redacted(url) == shown


def test_a_drivers_message_loses_the_password() -> None:
    """In its encoded and in its decoded spelling."""
    url = "postgresql://me:p%40ss%2Fword@host/db"
    said = redact(f"cannot connect to {url}: password 'p@ss/word' (p%40ss%2Fword) is wrong", url)
    assert "p@ss" not in said
    assert "p%40ss" not in said


def test_a_directory_that_others_can_write_to_is_not_private(tmp_path: Path) -> None:
    """Nothing secret goes where somebody else may have put a trap."""
    tmp_path.chmod(0o777)
    with pytest.raises(ProviderUnavailableError, match="private"):
        private_directory(tmp_path)
