"""The conformance suite in a pytest of its own, which knows nothing of the caller's configuration."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from xml.etree import ElementTree

import pytest

from ..conformance import factories
from ..conformance.excuses import EXCUSES, excuse_in

__all__ = ["Result", "Suite", "environment", "quickest_place"]

_SUITE = Path(factories.__file__).with_name("test_conformance.py")
# What would load other plugins, give arguments that nobody gave here, or ask for backends that are not tested here.
_FOREIGN = ("PYTEST_ADDOPTS", "PYTEST_PLUGINS", "PYTEST_XDIST_WORKER", "AI_STORAGE_REQUIRE")
_MEMORY = "/dev/shm"  # a file system in memory on Linux; in a container perhaps of a few megabytes
_ENOUGH = 2**30


def quickest_place() -> str | None:
    """Where temporary files cost no disk; None: where Python puts them."""
    if "TMPDIR" not in os.environ and os.access(_MEMORY, os.W_OK):
        with suppress(OSError):
            if shutil.disk_usage(_MEMORY).free >= _ENOUGH:
                return _MEMORY
    return None


@contextmanager
def environment(directory: Path, *, stores: bool) -> Iterator[None]:
    """Let the block, and whatever it starts, find modules in the current directory, and no settings of pytest's.

    Args:
        directory: is there, and the caller's to remove.
        stores: whether temporary files go there: a factory may well put its stores among them, and is not asked
            to remove them. Servers are better off where the run's directories are.
    """
    here, before, path = str(Path.cwd()), dict(os.environ), list(sys.path)
    temporary, tempfile.tempdir = tempfile.tempdir, None
    for name in _FOREIGN:
        os.environ.pop(name, None)
    if stores:
        (directory / "t").mkdir()
        os.environ["TMPDIR"] = str(directory / "t")
    os.environ.update(
        PYTEST_DISABLE_PLUGIN_AUTOLOAD="1",
        HYPOTHESIS_STORAGE_DIRECTORY=str(directory / "hypothesis"),
        PYTHONPATH=os.pathsep.join(filter(None, (here, before.get("PYTHONPATH")))),
    )
    sys.path.insert(0, here)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
        sys.path[:], tempfile.tempdir = path, temporary


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of one run.

    Attributes:
        status: 0: tests ran and all passed; 1: not so; 2: nothing could be run.
        counts: tests by ``passed``, ``failed``, ``skipped``, ``not applicable``, ``inconclusive``, ``deviation``.
        failed: the names of the tests that failed.
        complaint: why the status is not 0, where no failed test tells.
        seconds: it took.
        output: what pytest printed, if that was asked for.
    """

    status: int
    counts: Mapping[str, int]
    failed: Sequence[str]
    complaint: str | None
    seconds: float
    output: str

    @property
    def summary(self) -> str:
        """The counts, in words."""
        return ", ".join(f"{count} {what}" for what, count in self.counts.items() if count) or "no test ran"


class Suite:
    """The suite on one backend.

    Args:
        backend: its name, or the reference of its factory.
        directory: for what pytest reads and writes; private, as a URL may hold a password.
        arguments: of pytest.
        urls: by a server's kind, where it is.
    """

    def __init__(
        self, backend: str, directory: Path, arguments: Sequence[str], urls: Mapping[str, str]
    ) -> None:
        self.backend = backend
        self._results = directory / "results.xml"
        ini = directory / "pytest.ini"
        # In a file: other users see a command's arguments.
        lines = ["[pytest]", "ai_storage_urls =", *(f"    {kind}={url}" for kind, url in urls.items())]
        ini.write_text("\n".join([*lines, ""]), encoding="utf-8")
        self._command = [
            *(sys.executable, "-m", "pytest", "-q", "--tb=short", "-rN"),
            *("-c", str(ini), f"--rootdir={_SUITE.parents[2]}", "--noconftest"),
            *("-p", "no:cacheprovider", "-p", "pytest_aistorage.plugin"),
            *(f"--junit-xml={self._results}", f"--ai-storage={backend}", "--no-ai-storage-strict"),
            *arguments,
        ]

    def run(self, seed: int, *, quiet: bool = False) -> Result:
        """Run it.

        Args:
            seed: of all that is drawn by chance.
            quiet: keep what pytest prints for the result.
        """
        self._results.unlink(missing_ok=True)
        started = time.monotonic()
        done = subprocess.run(
            [*self._command, f"--ai-storage-seed={seed}", str(_SUITE)],
            stdout=subprocess.PIPE if quiet else None,
            stderr=subprocess.STDOUT if quiet else None,
            text=True,
            check=False,
        )
        seconds = time.monotonic() - started
        counts, failed, reason = self._counted()
        status, complaint = _judged(done.returncode, counts, reason)
        return Result(
            status=status,
            counts=counts,
            failed=failed,
            complaint=complaint,
            seconds=seconds,
            output=done.stdout or "",
        )

    def _counted(self) -> tuple[dict[str, int], list[str], str]:
        """The tests by what came of them, which failed, and why the first was skipped that should have run."""
        counts = Counter[str]()
        failed: list[str] = []
        reason = ""
        if self._results.exists():
            for case in ElementTree.parse(self._results).iter("testcase"):
                if case.get("name") == "internal":  # pytest's word for an error of its own
                    continue
                skipped = case.find("skipped")
                if case.find("failure") is not None or case.find("error") is not None:
                    counts["failed"] += 1
                    failed.append(case.get("name", "").partition("[")[0])
                elif skipped is None:
                    counts["passed"] += 1
                else:
                    said = skipped.get("message", "")
                    excused = excuse_in(said)
                    counts["skipped" if excused is None else excused[0]] += 1
                    if excused is None:
                        reason = reason or said
        order = ("failed", "passed", "skipped", *EXCUSES)
        # A test that failed may have failed once more when its fixtures were torn down.
        failed = list(dict.fromkeys(failed))
        counts["failed"] = len(failed)
        return {what: counts[what] for what in order}, failed, reason


def _judged(code: int, counts: Mapping[str, int], reason: str) -> tuple[int, str | None]:
    """The exit status, and what to say about it that no failed test has said."""
    if code in (pytest.ExitCode.USAGE_ERROR, pytest.ExitCode.INTERNAL_ERROR):
        return 2, "pytest could not run, and says above why."
    if counts["failed"]:
        return 1, None
    if not counts["passed"]:
        return (2, f"No test could run: {reason}") if counts["skipped"] else (1, "No test ran.")
    if counts["skipped"]:
        return 1, f"{counts['skipped']} tests did not run, which is not passed: {reason}"
    return (0, None) if code == 0 else (1, f"pytest ended with status {code}, and says above why.")
