"""The words that tell a test which need not have run from one that should have."""

from __future__ import annotations

import pytest

from pytest_aistorage.conformance.excuses import EXCUSES, excuse_in, excused
from pytest_aistorage.conformance.report import Status


@pytest.mark.parametrize("excuse", EXCUSES)
def test_excuse_and_reason_are_read_as_they_were_written(excuse: str) -> None:
    """Whatever the reason has in it; and each excuse is a status of the report."""
    reason = "deviation: a reason\nof two lines"
    assert excuse_in(excused(excuse, reason)) == (excuse, reason)
    assert Status(excuse) is not Status.SKIPPED


@pytest.mark.parametrize(
    "text", ["", "no Docker", "skipped: no Docker", "inconclusive", "Inconclusive: no", "an inconclusive: no"]
)
def test_another_reason_is_no_excuse(text: str) -> None:
    """Such a test should have run."""
    assert excuse_in(text) is None
