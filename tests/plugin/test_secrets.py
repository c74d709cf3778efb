"""What pytest prints of a failure has no password in it: it shows the arguments of the frames that it shows."""

from __future__ import annotations

import pytest

SUITE = """
import os
from pytest_aistorage import open_storage


def test_use():
    open_storage(os.environ["APP_STORAGE"]).get_progress("resnet")
"""


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user:HUNTER2@127.0.0.1:1/db",
        "mysql://user:HUNTER2@127.0.0.1:1/db",
        "redis://user:HUNTER2@127.0.0.1:1/0",
        "rediss://user:HUNTER2@127.0.0.1:1/0",
        "postgresql://user:HUNTER2@host:99999999/db",
        "postgresql://user:HUNTER2@host/db?nosuchoption=1",
        "mysql://user:HUNTER2@host/",
        "redis://user:HUNTER2@host/x",
        "nosuch://user:HUNTER2@host/db",
    ],
)
def test_failure_shows_no_password(pytester, run, monkeypatch, url):
    """Whether the server is down or the URL is wrong, and however long the traceback."""
    monkeypatch.setenv("APP_STORAGE", url)
    pytester.makepyfile(test_app=SUITE)
    result = run("--tb=long")
    result.assert_outcomes(failed=1)
    assert "HUNTER2" not in result.stdout.str()
