"""What the plugin keeps in the configuration of a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from .options import Settings

if TYPE_CHECKING:
    from .run import Record, Run, RunDirectory

__all__ = ["State", "state_of"]

_KEY = pytest.StashKey["State"]()


class State:
    """The plugin's state in one process.

    Attributes:
        settings: the options.
        run: what is open; None as long as no test needs anything.
        excluded: whether a test was generated that has to be deselected.
        excluded_functions: such tests without a parameter of ours: class and function.
        workers: what the workers of pytest-xdist reported, in their controller.
        workers_directory: the directory that the controller made for them.
    """

    def __init__(self, config: pytest.Config) -> None:
        self.settings = Settings.of(config)
        self.excluded = False
        self.excluded_functions: set[tuple[type | None, object]] = set()
        self.workers: Record | None = None
        self.workers_directory: RunDirectory | None = None
        self._config = config
        self._run: Run | None = None

    @property
    def run(self) -> Run | None:
        """What is open."""
        return self._run

    def needed_run(self) -> Run:
        """What is open, from now on."""
        if self._run is None:
            from .run import Run

            given = getattr(self._config, "workerinput", {}).get("ai_storage_run_dir")
            # A worker on another machine makes a directory of its own there.
            directory = Path(given) if given and Path(given).is_dir() else None
            self._run = Run(self.settings, directory)
        return self._run

    def record(self) -> Record | None:
        """What is to be reported, of this process and its workers; None where nothing was used."""
        if self.workers is None or self._run is None:
            return self.workers or (self._run.record if self._run is not None else None)
        from .run import Record

        both = Record()
        for record in (self.workers, self._run.record):
            both.add(record.as_plain())
        return both

    def close(self) -> None:
        """Close what is open."""
        if self._run is not None:
            self._run.close()
            self._run = None
        if self.workers_directory is not None:
            self.workers_directory.remove()
            self.workers_directory = None


def set_state(config: pytest.Config) -> None:
    """Read the options.

    Raises:
        pytest.UsageError: one of them can't be right.
    """
    config.stash[_KEY] = State(config)


def state_of(config: pytest.Config) -> State:
    """The plugin's state."""
    return config.stash[_KEY]


def drop_state(config: pytest.Config) -> None:
    """Close what is open; also where the configuration has failed before there was a state."""
    state = config.stash.get(_KEY, None)
    if state is not None:
        state.close()
