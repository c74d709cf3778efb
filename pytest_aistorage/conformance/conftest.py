"""Keeps the suite out of runs that did not ask for it: an installed package may lie below a project's directory."""

from __future__ import annotations

from pathlib import Path

import pytest

_HERE = Path(__file__).parent
_SUITE = "pytest_aistorage.conformance"


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Ignore what lies here, unless an argument names this package or a path in it."""
    return None if any(_asks(argument, config) for argument in config.args) else True


def _asks(argument: str, config: pytest.Config) -> bool:
    named = argument.partition("::")[0]
    if named == _SUITE or named.startswith(f"{_SUITE}."):
        return True
    path = (config.invocation_params.dir / named).resolve()
    return path == _HERE.resolve() or _HERE.resolve() in path.parents
