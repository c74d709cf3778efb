"""A report as a file: its suffix says in which form."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ...races.page import write_whole
from .as_html import report_to_html
from .as_json import report_to_json
from .as_markdown import report_to_markdown
from .results import Report

__all__ = ["FORMS", "write"]

FORMS: dict[str, Callable[[Report], str]] = {
    ".json": report_to_json,
    ".md": report_to_markdown,
    ".html": report_to_html,
}
"""What makes the text, by suffix."""


def write(report: Report, path: Path) -> None:
    """Write a report whole, or leave what was there.

    Args:
        report: what to write.
        path: ends in one of `FORMS`.

    Raises:
        OSError: it could not be written.
    """
    write_whole(path, FORMS[path.suffix](report))
