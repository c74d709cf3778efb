"""The fixture ``ai_storage_race``: races on the test's store, with the options of the run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ..races.pool import shared_pool
from ..races.racing import Racing

__all__ = ["racing"]


def racing(request: pytest.FixtureRequest, opener: Callable[[], Any], directory: Path) -> Racing:
    """Return what races on a store.

    Args:
        request: the fixture's.
        opener: opens one more client.
        directory: where to write what a failure is about.
    """
    option = request.config.option
    return Racing(
        opener,
        shared_pool(),
        directory,
        name=getattr(opener, "backend", ""),
        seed=option.ai_storage_seed,
        replay=option.ai_storage_replay,
        test=request.node.nodeid,
    )
