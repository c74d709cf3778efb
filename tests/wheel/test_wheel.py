"""What an installed distribution must have; with no source tree beside it when tox runs it."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest

import pytest_aistorage
from pytest_aistorage import AIProgress, AIStorage

PACKAGE = Path(pytest_aistorage.__file__).parent


def test_the_package_carries_its_type_marker() -> None:
    """Type checkers believe the annotations of an installed package only with py.typed."""
    assert (PACKAGE / "py.typed").is_file()


def test_every_public_name_can_be_imported() -> None:
    """Each name of `__all__` is found in the module that the lazy import looks for it in."""
    assert all(getattr(pytest_aistorage, name).__name__ == name for name in pytest_aistorage.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    """The lazy import does not turn a typo into something else."""
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = pytest_aistorage.no_such_name


def test_the_distribution_says_what_it_is() -> None:
    """PyPI's classifier, the licence's text and both entry points are there."""
    distribution = importlib.metadata.distribution("pytest-aistorage")
    assert "Framework :: Pytest" in distribution.metadata.get_all("Classifier", [])
    assert any(path.name == "LICENSE" for path in distribution.files or [])
    groups = {entry.group: entry.value for entry in distribution.entry_points}
    assert groups == {"pytest11": "pytest_aistorage.plugin", "console_scripts": "pytest_aistorage.cli:main"}


def test_the_command_answers() -> None:
    """The console script is installed beside the interpreter and knows the distribution's version."""
    command = Path(sys.executable).with_name("aistorage")
    said = subprocess.run([command, "--version"], capture_output=True, text=True, timeout=60, check=True)
    assert importlib.metadata.version("pytest-aistorage") in said.stdout


@pytest.mark.ai_storage("memory", "file", "sqlite", "postgres", "redis")
def test_the_fixture_keeps_a_record(ai_storage: AIStorage) -> None:
    """The installed plugin hands out a storage on each backend, real servers included."""
    saved = ai_storage.save_progress(AIProgress(model_name="resnet", mse=0.1, accuracy=0.9))
    assert ai_storage.get_progress("resnet") == saved
