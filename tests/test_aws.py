"""Tokens of AWS IAM: signed as AWS verifies them, for servers that are verified themselves. No network is needed."""

from __future__ import annotations

import hashlib
import hmac
import sys
from typing import Any
from urllib.parse import parse_qsl, quote

import botocore.session
import pytest
from botocore.credentials import Credentials

from pytest_aistorage import ConfigurationError, aws, open_storage

KEY_ID, KEY = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
HOST = "imf.abc123.eu-central-1.rds.amazonaws.com"
TLS = "sslmode=verify-full&sslrootcert=system"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """AWS's own example of credentials, and nothing of the machine's."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_DEFAULT_REGION", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", KEY)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def _verified(token: str, *, service: str, region: str) -> dict[str, str]:
    """Verify a token as AWS's server does, by its own description of Signature Version 4; return what it asks for."""
    host, _, query = token.partition("/?")
    given = dict(parse_qsl(query, strict_parsing=True))
    signature = given.pop("X-Amz-Signature")
    key_id, day, *scope = given["X-Amz-Credential"].split("/")
    assert (key_id, scope) == (KEY_ID, [region, service, "aws4_request"])
    assert given["X-Amz-Date"].startswith(day)
    in_order = "&".join(f"{quote(name, safe='')}={quote(given[name], safe='')}" for name in sorted(given))
    empty = hashlib.sha256(b"").hexdigest()
    asked = "\n".join(["GET", "/", in_order, f"host:{host}", "", given["X-Amz-SignedHeaders"], empty])
    text = "\n".join(
        [
            "AWS4-HMAC-SHA256",
            given["X-Amz-Date"],
            "/".join([day, *scope]),
            hashlib.sha256(asked.encode()).hexdigest(),
        ]
    )
    key = f"AWS4{KEY}".encode()
    for part in (day, *scope):
        key = hmac.digest(key, part.encode(), "sha256")
    assert hmac.compare_digest(hmac.digest(key, text.encode(), "sha256").hex(), signature)
    return {
        "host": host,
        **{name: value for name, value in given.items() if not name.startswith("X-Amz-")},
    } | {"seconds": given["X-Amz-Expires"]}


def test_rds_gets_a_token_that_aws_would_take() -> None:
    """For this host, port and user, for 15 minutes; the region is the one in the host's name."""
    token = aws.rds_password(HOST, 5432, "imf@app")()
    assert _verified(token, service="rds-db", region="eu-central-1") == {
        "host": f"{HOST}:5432",
        "Action": "connect",
        "DBUser": "imf@app",
        "seconds": "900",
    }


@pytest.mark.parametrize(("serverless", "more"), [(False, {}), (True, {"ResourceType": "ServerlessCache"})])
def test_elasticache_gets_a_token_that_aws_would_take(
    serverless: bool, more: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """For the cache's name in lower case, not for its endpoint."""
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    token = aws.elasticache_password("Imf-Cache", "imf-user", serverless=serverless)()
    assert _verified(token, service="elasticache", region="us-east-1") == {
        "host": "imf-cache",
        "Action": "connect",
        "User": "imf-user",
        "seconds": "900",
        **more,
    }


def test_a_token_that_was_changed_is_not_taken() -> None:
    """The check above is one: another user's name in a token breaks its signature."""
    token = aws.rds_password(HOST, 5432, "imf")()
    with pytest.raises(AssertionError):
        _verified(token.replace("DBUser=imf", "DBUser=root"), service="rds-db", region="eu-central-1")


def test_each_token_is_signed_with_the_credentials_of_the_moment() -> None:
    """A role's credentials are renewed every few hours, and with them what a new connection is opened with."""
    session = botocore.session.get_session()
    session._credentials = first = Credentials("AKIAFIRST", "first")
    provider = aws.elasticache_password("imf", "imf", region="eu-west-1", session=session)
    assert "AKIAFIRST" in provider()
    first.access_key = "AKIASECOND"
    assert "AKIASECOND" in provider()


@pytest.mark.parametrize("variable", ["AWS_REGION", "AWS_DEFAULT_REGION"])
def test_the_region_is_said_by_the_environment_and_by_an_argument_before_it(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """botocore knows the second variable alone; containers get the first."""
    with pytest.raises(ConfigurationError, match="set AWS_REGION"):
        aws.elasticache_password("imf", "imf")
    monkeypatch.setenv(variable, "us-east-2")
    _verified(aws.elasticache_password("imf", "imf")(), service="elasticache", region="us-east-2")
    _verified(aws.rds_password("an.alias", 3306, "imf")(), service="rds-db", region="us-east-2")
    token = aws.rds_password(HOST, 5432, "imf", region="eu-west-3")()
    _verified(token, service="rds-db", region="eu-west-3")


@pytest.mark.parametrize(
    ("url", "provider", "said"),
    [
        (f"postgresql://imf@{HOST}/imf", "aws-rds", "sslmode=verify-full"),
        (f"postgresql://imf@{HOST}/imf?sslmode=require", "aws-rds", "sslmode=verify-full"),
        (f"mysql://imf@{HOST}/imf", "aws-rds", "ssl_ca"),
        (f"mysql://imf@{HOST}/imf?ssl_ca=/ca.pem&ssl_verify_identity=false", "aws-rds", "ssl_ca"),
        (f"mysql://imf@{HOST}/imf?ssl_ca=/ca.pem&ssl_verify_cert=0", "aws-rds", "ssl_ca"),
        (f"mysql://imf@{HOST}/imf?ssl_ca=/ca.pem&ssl_check_hostname=no", "aws-rds", "ssl_ca"),
        (f"mariadb://imf@{HOST}/imf?ssl_capath=/ca&ssl_verify_identity=off", "aws-rds", "ssl_ca"),
        (f"postgresql://{HOST}/imf?{TLS}", "aws-rds", "a host and a user"),
        ("redis://imf@cache", "aws-elasticache:imf", "rediss://"),
        ("redis+cluster://imf@cache", "aws-elasticache:imf", "rediss://"),
        ("rediss://imf@cache?ssl_cert_reqs=none", "aws-elasticache:imf", "rediss://"),
        ("rediss://imf@cache?ssl_check_hostname=false", "aws-elasticache:imf", "rediss://"),
        ("rediss://cache", "aws-elasticache:imf", "a user"),
    ],
)
def test_a_token_goes_to_no_server_that_is_not_verified(
    url: str, provider: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever stands between could use it for 15 minutes; MySQL's is sent as it is."""
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    with pytest.raises(ConfigurationError, match=said):
        open_storage(url, password_provider=provider)


@pytest.mark.parametrize(
    ("url", "service"),
    [
        (f"postgresql://imf@{HOST}/imf?{TLS}&password_provider=aws-rds", "rds-db"),
        (f"rediss://imf@{HOST}/0?password_provider=aws-elasticache:imf", "elasticache"),
        (
            f"valkeys+cluster://imf@{HOST}:6379?password_provider=aws-elasticache-serverless:imf",
            "elasticache",
        ),
    ],
)
def test_a_url_alone_opens_a_storage_on_aws(url: str, service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the drivers would send is a token of this service; nothing is connected."""
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    with open_storage(url) as storage:
        token = _password_of(storage)
        assert _verified(token, service=service, region="eu-central-1")["Action"] == "connect"


def _password_of(storage: Any) -> str:
    """What the storage's driver is handed with its next connection."""
    if storage.type == "database":
        import psycopg

        handed: list[Any] = []

        def connect(**arguments: Any) -> Any:
            handed.append(arguments)
            raise psycopg.OperationalError("not connected")

        from pytest_aistorage.backends._psycopg import TimedConnection

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(TimedConnection, "connect", connect)
            assert storage.health_check() is False
        return str(handed[0]["password"])
    link = storage._link
    pool = next(iter(link._links.values()))._pool if hasattr(link, "_links") else link._pool
    user, password = pool.connection_kwargs["credential_provider"].get_credentials()
    assert user == "imf"
    return str(password)


def test_without_credentials_an_operation_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pod without its role: the cause is botocore's own error, and it may be there the next moment."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    with (
        open_storage(f"postgresql://imf@{HOST}/imf?{TLS}", password_provider="aws-rds") as storage,
        pytest.raises(Exception, match="NoCredentialsError") as raised,
    ):
        storage.load_progress()
    assert type(raised.value.__cause__).__name__ == "NoCredentialsError"


def test_the_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """botocore is nothing that an application needs elsewhere."""
    monkeypatch.setitem(sys.modules, "botocore.session", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'pytest-aistorage\[aws\]'"):
        open_storage(f"postgresql://imf@{HOST}/imf?{TLS}", password_provider="aws-rds")
