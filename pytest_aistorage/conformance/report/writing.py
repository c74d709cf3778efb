"""A report as a file: its suffix says in which form."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

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
    text = FORMS[path.suffix](report)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        unfinished.write_text(text, encoding="utf-8", newline="\n")
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
