"""The example of a third-party backend: built, installed apart from us, and tested as its README says."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "examples" / "aistorage-directory"
COMMANDS = re.findall(r"^\$ (?!pip install)(.+)$", (SOURCE / "README.md").read_text(), re.MULTILINE)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of packages with the example in it, as its wheel has it."""
    copy = tmp_path_factory.mktemp("source") / SOURCE.name
    shutil.copytree(SOURCE, copy, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", "dist"]
    subprocess.run(build, cwd=copy, check=True, capture_output=True, timeout=120)
    (wheel,) = (copy / "dist").glob("*.whl")
    site = tmp_path_factory.mktemp("site")
    # What an installer does with a wheel of plain Python.
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    return site


def test_it_is_a_distribution_of_its_own(site: Path) -> None:
    """It registers its backend by its own metadata, and holds nothing of ours."""
    (found,) = distributions(path=[str(site)])
    assert found.name == "aistorage-directory"
    (entry,) = found.entry_points
    assert (entry.group, entry.name) == ("pytest_aistorage.backends", "directory")
    assert {str(path).partition("/")[0] for path in found.files or ()} == {
        "aistorage_directory",
        "aistorage_directory-1.0.0.dist-info",
    }


def test_its_storage_inherits_from_nothing(site: Path) -> None:
    """It proves that any object with the contract's methods will do."""
    code = "from aistorage_directory import DirectoryStorage; print(DirectoryStorage.__mro__)"
    done = run([sys.executable, "-c", code], site, site)
    assert done.stdout == "(<class 'aistorage_directory.storage.DirectoryStorage'>, <class 'object'>)\n"


def test_open_storage_finds_it(site: Path, tmp_path: Path) -> None:
    """Its scheme leads to it."""
    code = (
        "import pytest_aistorage as p, sys; print(p.open_storage(f'directory://{sys.argv[1]}/a.json').type)"
    )
    assert run([sys.executable, "-c", code, str(tmp_path)], site, tmp_path).stdout == "directory\n"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A directory that is removed, in memory where that can be had: the storage syncs each file that it writes."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else tmp_path) as name:
        yield Path(name)


@pytest.mark.parametrize(
    ("command", "effort"), list(zip(COMMANDS, ("normal", "quick", "quick"), strict=True)), ids=COMMANDS
)
def test_it_passes_the_suite(site: Path, place: Path, command: str, effort: str) -> None:
    """Each command of its README runs the whole suite, which is green."""
    shutil.copytree(SOURCE / "tests", place / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    option = "--effort" if command.startswith("aistorage") else "--ai-storage-effort"
    done = run([*command.split(), f"{option}={effort}"], site, place)
    counted = re.search(r"(\d+) passed, (\d+) skipped in", done.stdout)
    assert counted is not None, done.stdout
    passed, skipped = map(int, counted.groups())
    assert passed > 100
    # Expiry is not declared, and what is declared need not be shown to be missing.
    assert passed > 3 * skipped
    assert "✓" in done.stdout


def run(command: list[str], site: Path, place: Path) -> subprocess.CompletedProcess[str]:
    """Run a command where the example is installed, and see that it succeeds."""
    foreign = ("PYTEST_", "AI_STORAGE_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment |= {"PYTHONPATH": str(site), "TMPDIR": str(place), "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(
        command, cwd=place, env=environment, capture_output=True, text=True, encoding="utf-8", timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def test_the_readme_names_three_ways() -> None:
    """Its own test file, the installed suite by the backend's name, and by its factory."""
    assert COMMANDS == [
        "pytest",
        "pytest --pyargs pytest_aistorage.conformance --ai-storage=directory",
        "aistorage conformance aistorage_directory:factory",
    ]
