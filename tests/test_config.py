"""URLs and options: taken apart, checked at once, shown without their secrets."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_aistorage import ConfigurationError
from pytest_aistorage.config import (
    StorageURL,
    missing_extra,
    option_of,
    positive_int,
    redact,
    seconds,
    text,
    time_to_live,
)

_SECRET = "pa:s/s@w?r#d"  # every character that means something in a URL
_ESCAPED = "pa%3As%2Fs%40w%3Fr%23d"


def test_url_is_taken_apart_decoded() -> None:
    """Each part comes decoded, the password too."""
    url = StorageURL.parse(
        f"postgresql://us%40er:{_ESCAPED}@db.example:5433/my%20db?sslmode=require&timeout=3"
    )
    assert (url.scheme, url.username, url.password) == ("postgresql", "us@er", _SECRET)
    assert (url.host, url.port, url.path) == ("db.example", 5433, "/my db")
    assert url.query == {"sslmode": "require", "timeout": "3"}


@pytest.mark.parametrize(
    "url",
    [
        "memory://",
        "memory://name",
        "sqlite:////absolute/path.db",
        f"postgresql://user:{_ESCAPED}@host:5433/db?host=/run/pg",
        "redis://:pw@[::1]:6379/0",
        "redis://user@localhost/0?prefix=mine:",
        "unix:///run/redis.sock?db=2",
        "mysql://root:@localhost/db",
    ],
)
def test_rendered_url_means_the_same(url: str) -> None:
    """Rendering and parsing again gives the same parts."""
    parts = StorageURL.parse(url)
    assert StorageURL.parse(parts.render()) == parts


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
def test_password_comes_back_and_is_never_shown(password: str) -> None:
    """Any password survives rendering, and stands in no text that is shown."""
    marked = f"<{password}>"
    url = StorageURL("redis", "user", marked, "host", 6379, "/0", {"password": marked, "db": "1"})
    assert StorageURL.parse(url.render()).password == marked
    for shown in (str(url), repr(url), f"{url}", redact(url.render())):
        assert shown == "redis://user:***@host:6379/0?password=***&db=1"


@pytest.mark.parametrize("name", ["password", "PASSWORD", "passwd", "sslpassword", "token", "access_token"])
def test_secret_parameters_are_not_shown(name: str) -> None:
    """Passwords in the query are secrets as well."""
    assert "hunter2" not in redact(f"postgresql://host/db?{name}=hunter2&sslmode=require")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "no url",
        "/hunter2/path",
        "://hunter2",
        "hunter2",
        "postgresql://user:hunter2/x@host:port/db",
        "postgresql://user:hunter2@host:notaport/db",
        "redis://user:hunter2@host:99999/0",
        "redis://[hunter2/0",
        "ünicode://hunter2",
    ],
)
def test_bad_url_is_refused_without_repeating_it(url: str) -> None:
    """What can't be read raises ConfigurationError, and nothing of the URL stands in the message."""
    with pytest.raises(ConfigurationError) as caught:
        StorageURL.parse(url)
    assert "hunter2" not in f"{caught.value!s}{caught.value!r}"
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    assert "hunter2" not in redact(url)


def test_url_must_be_text() -> None:
    """Bytes, None and pathlib's paths are no URL."""
    no_urls: list[Any] = [None, b"memory://", 1]
    for url in no_urls:
        with pytest.raises(ConfigurationError, match=type(url).__name__):
            StorageURL.parse(url)


def test_options_come_from_both_places_and_keywords_win() -> None:
    """An option stands in the query or is a keyword; the rest of the query is the driver's."""
    url = StorageURL.parse("redis://host/0?timeout=3&ttl=60&ssl_ca_certs=/ca.pem")
    rest, options = option_of(url, {"timeout": 1.5}, {"timeout": seconds, "ttl": time_to_live})
    assert options == {"timeout": 1.5, "ttl": timedelta(minutes=1)}
    assert rest.query == {"ssl_ca_certs": "/ca.pem"}


def test_unknown_option_names_the_known() -> None:
    """A misspelt keyword is refused, and the message says what there is."""
    with pytest.raises(ConfigurationError, match=r"'timeot'.*timeout"):
        option_of(StorageURL.parse("memory://"), {"timeot": 1}, {"timeout": seconds})


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), 86401, "soon", "", None, True, [1]])
def test_bad_seconds_are_refused(value: Any) -> None:
    """A time-out is a positive number of seconds, a day at most."""
    with pytest.raises(ConfigurationError, match="timeout"):
        seconds("timeout", value)


@pytest.mark.parametrize(("value", "expected"), [(1, 1.0), ("0.5", 0.5), (86400, 86400.0)])
def test_good_seconds_are_floats(value: Any, expected: float) -> None:
    """Numbers and their texts will do."""
    assert seconds("timeout", value) == expected


@pytest.mark.parametrize("value", [0, -1, 1.5, "1.5", "many", None, True, [1]])
def test_bad_counts_are_refused(value: Any) -> None:
    """A count is an int from 1 up."""
    with pytest.raises(ConfigurationError, match="pool_size"):
        positive_int("pool_size", value)


def test_good_counts_are_ints() -> None:
    """Ints and their texts will do."""
    assert (positive_int("pool_size", 1), positive_int("pool_size", "12")) == (1, 12)


@pytest.mark.parametrize("value", ["", None, 1, b"x", "a\0b"])
def test_bad_text_is_refused(value: Any) -> None:
    """An option that is a text has one."""
    with pytest.raises(ConfigurationError, match="prefix"):
        text("prefix", value)


@pytest.mark.parametrize("value", [0, "0", "-1", "soon", 60, timedelta(0), timedelta(days=40000)])
def test_bad_time_to_live_is_refused(value: Any) -> None:
    """A time to live is a timedelta, or seconds in a URL."""
    with pytest.raises(ConfigurationError, match="ttl"):
        time_to_live("ttl", value)


def test_missing_driver_names_the_extra() -> None:
    """One line says what to install."""
    message = str(missing_extra("postgresql", "psycopg", "postgres"))
    assert "pip install 'pytest-aistorage[postgres]'" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user:1234/s3cret@127.0.0.1/db",
        "redis://:/s3cret@127.0.0.1/0",
        "redis://:1?s3cret@127.0.0.1/0",
        "redis://:12#s3cret@127.0.0.1/0",
        "mysql://u:s3cret%00x@127.0.0.1/db",
        "mysql://u:s3cret\ud800@127.0.0.1/db",
        "mysql://u:s3cret@a..b/db",
        f"postgresql://u:s3cret@{'h' * 70}/db",
        "file:///tmp/s3cret#y.json",
    ],
)
def test_a_password_that_is_cut_in_two_is_refused_and_not_shown(url: str) -> None:
    """What an unescaped character would turn into a port, a path or a parameter never gets that far."""
    with pytest.raises(ConfigurationError) as caught:
        StorageURL.parse(url)
    assert "s3cret" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    "parameter", ["password", "ssl_key_password", "sslpassword", "oauth_client_secret", "token"]
)
def test_secrets_in_the_query_are_not_shown(parameter: str) -> None:
    """A parameter whose name speaks of a secret is shown without its value."""
    assert str(StorageURL.parse(f"mysql://h/db?{parameter}=s3cret&ssl_key=/k")) == (
        f"mysql://h/db?{parameter}=***&ssl_key=/k"
    )
