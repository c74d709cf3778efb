"""What a migration finds, to read and to keep: lines on the terminal, and a report in JSON."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Protocol, Self

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

__all__ = ["Findings", "byte_bar"]

_SHOWN = 20
"""Lines on a terminal; all the rest is for the report."""


class Finding(Protocol):
    """A problem or a difference."""

    def document(self) -> dict[str, Any]:
        """Return it as what JSON can say."""


class Findings:
    """Takes what is found, in bounded memory. Use it as a context manager.

    Args:
        path: where to write the report; None: nowhere. It is written beside first, so that whoever reads it finds a
            whole one.
        source: the file whose records they are of: no report takes its place.

    Raises:
        click.UsageError: the report's path is the file's.
        click.FileError: it can't be written.
    """

    def __init__(self, path: Path | None, source: Path) -> None:
        if path is not None and _is_same_file(path, source):
            raise click.UsageError(f"--report: {path} is the file itself")
        self._path = path
        self._beside = None if path is None else path.with_name(f"{path.name}.{os.getpid()}.part")
        self._file: IO[str] | None = None
        self._lines: list[str] = []
        self.count = 0

    def __enter__(self) -> Self:
        if self._beside is not None:
            try:
                self._file = open(self._beside, "w", encoding="utf-8")  # __exit__ closes it
            except OSError as error:
                raise click.FileError(str(self._path), error.strerror) from None
            self._file.write('{"findings": [')
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()
            assert self._beside is not None  # there is a file
            self._beside.unlink(missing_ok=True)

    def add(self, finding: Finding) -> None:
        """Take one."""
        if self._file is not None:
            self._file.write(f"{',' if self.count else ''}\n  {json.dumps(finding.document())}")
        self.count += 1
        if len(self._lines) < _SHOWN:
            self._lines.append(str(finding))

    def finish(self, summary: dict[str, Any]) -> None:
        """Put the report where it belongs, with what came of it all."""
        if self._file is not None:
            assert self._beside is not None  # there is a file
            assert self._path is not None
            self._file.write(f'], "summary": {json.dumps(summary)}}}\n')
            self._file.close()
            os.replace(self._beside, self._path)

    def print(self) -> None:
        """Print what was found first, and how much more there is."""
        for line in self._lines:
            click.echo(line)
        if self.count > len(self._lines):
            where = (
                "the report has them all" if self._path is not None else "--report FILE.json keeps them all"
            )
            click.echo(f"… and {self.count - len(self._lines)} more; {where}.")


def _is_same_file(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:  # one of them is not there
        return False


def byte_bar() -> Progress:
    """Return a bar on the standard error that counts a file's bytes; none where nobody looks."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        DownloadColumn(binary_units=True),
        TextColumn("{task.fields[records]} records"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )
