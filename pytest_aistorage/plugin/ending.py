"""The end of a run: what workers report, what was required, what the user is told."""

from __future__ import annotations

from typing import Any

import pytest

from .report import summary_lines, unmet_line
from .state import state_of

__all__ = ["finish", "prepare_worker", "worker_is_done", "write_summary"]

_KEY = "ai_storage"


def prepare_worker(node: Any) -> None:
    """Make the run's directory when the first worker is set up, and hand it over."""
    from .run import RunDirectory

    state = state_of(node.config)
    if state.workers_directory is None:
        state.workers_directory = RunDirectory()
    node.workerinput["ai_storage_run_dir"] = str(state.workers_directory.path)


def worker_is_done(node: Any) -> None:
    """Add a worker's record to the controller's."""
    plain = getattr(node, "workeroutput", {}).get(_KEY)
    if plain is not None:
        from .run import Record

        state = state_of(node.config)
        if state.workers is None:
            state.workers = Record()
        state.workers.add(plain)


def finish(session: pytest.Session) -> None:
    """Send a worker's record, or set the exit status where a required backend took no part."""
    config = session.config
    state = state_of(config)
    output = getattr(config, "workeroutput", None)
    if output is not None:
        if state.run is not None:
            output[_KEY] = state.run.record.as_plain()
    elif _unmet(config) and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def write_summary(reporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Write what did not run and why, and the error where a required backend took no part."""
    state = state_of(config)
    record = state.record()
    if record is not None:
        for line in summary_lines(record, with_servers=state.workers is not None):
            reporter.write_line(line)
    if unmet := _unmet(config):
        reporter.write_line(unmet_line(unmet), red=True)


def _unmet(config: pytest.Config) -> list[str]:
    """What was required by name and took no part; what was only selected is not required to be there."""
    state = state_of(config)
    required = state.settings.required
    if not required or config.option.collectonly:
        return []
    record = state.record()
    if record is None:
        return list(required)
    return record.unmet(required)
