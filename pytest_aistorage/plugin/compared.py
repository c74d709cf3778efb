"""A run of the conformance suite, compared with the report of an earlier one."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from ..conformance.report import Report

__all__ = ["compared", "read_earlier"]

_OPTION = "--ai-storage-compare"
_KEY = pytest.StashKey["Report"]()


def read_earlier(config: pytest.Config) -> None:
    """Read the earlier report, if one was named, before the first test: a report of this run may replace it.

    Raises:
        pytest.UsageError: it can't be read, or is none.
    """
    name = config.getoption(_OPTION)
    if name is None:
        return
    from ..conformance.report import report_from_json

    try:
        text = (config.invocation_params.dir / name).read_text(encoding="utf-8")
        config.stash[_KEY] = report_from_json(text)
    except OSError as error:
        raise pytest.UsageError(f"{_OPTION}={name}: {error.strerror}") from error
    except ValueError as error:
        raise pytest.UsageError(f"{_OPTION}={name}: {error}") from error


def compared(config: pytest.Config, report: Report) -> list[tuple[str, bool]]:
    """Say what differs from the earlier report; nothing, where none was named.

    Args:
        config: of the run.
        report: of the run.

    Returns:
        Lines, each with whether it says that a guarantee stands worse than it did.
    """
    earlier = config.stash.get(_KEY, None)
    if earlier is None:
        return []
    from ..conformance.report import differences, worsened

    name = config.getoption(_OPTION)
    here = {backend.name for backend in report.backends}
    left_out = [backend.name for backend in earlier.backends if backend.name not in here]
    earlier = dataclasses.replace(
        earlier, backends=tuple(backend for backend in earlier.backends if backend.name in here)
    )
    worse = worsened(earlier, report)
    found = [(line, line in worse) for line in differences(earlier, report)]
    lines = [(f"compared with {name}:{'' if found else ' nothing differs'}", False)]
    lines += [(f"  {line}", is_worse) for line, is_worse in found]
    if left_out:
        lines.append((f"  not tested now: {', '.join(left_out)}", False))
    if worse:
        lines.append((f"worse than in {name}: {'; '.join(worse)}", True))
    return lines
