"""The conformance suite's recorder: what came of each contract test, on which backend; and the report of it.

It is registered when a contract test was collected, or when pytest-xdist sets up a worker. What a test has to say
travels by its report's ``user_properties``, as dicts of plain values under one name.
"""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from .choice import Choice
from .compared import compared
from .state import state_of

if TYPE_CHECKING:
    from ..conformance.report.assembly import Ran
    from ..conformance.report.results import Report, Status

__all__ = ["Recorder", "check_paths", "recorder_of"]

PROPERTY = "aistorage"
"""The name of the contract tests' user properties."""

_PLACES = "aistorage_places"  # in the output of a worker: where contract tests were collected
_SUFFIXES = (".json", ".md", ".html")
_ATTEMPTS = 3  # a storage that can't describe itself after so many tests is not asked again
_KEY = pytest.StashKey["Recorder"]()


def check_paths(config: pytest.Config) -> None:
    """See before the first test that the reports can be written after the last.

    Raises:
        pytest.UsageError: they can't.
    """
    for path in _paths(config):
        where = f"--ai-storage-report={path}"
        if path.suffix not in _SUFFIXES:
            raise pytest.UsageError(f"{where}: the name must end in {', '.join(_SUFFIXES)}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise pytest.UsageError(f"{where}: {error.strerror}: {path.parent}") from error
        if path.is_dir():
            raise pytest.UsageError(f"{where}: this is a directory")
        if not os.access(path if path.exists() else path.parent, os.W_OK):
            raise pytest.UsageError(f"{where}: may not be written")


def recorder_of(config: pytest.Config) -> Recorder:
    """Return the recorder of a run; it is registered by the first call."""
    found = config.stash.get(_KEY, None)
    if found is None:
        found = config.stash[_KEY] = Recorder(config)
        config.pluginmanager.register(found, "aistorage-conformance")
    return found


def _paths(config: pytest.Config) -> list[Path]:
    return [config.invocation_params.dir / name for name in config.getoption("--ai-storage-report") or ()]


@dataclasses.dataclass(slots=True)
class _Test:
    """What is known of one test so far."""

    facts: dict[str, Any] = dataclasses.field(default_factory=dict)
    seconds: float = 0.0
    failures: list[str] = dataclasses.field(default_factory=list)
    skipped: str | None = None
    called: bool = False


class Recorder:
    """Listens to pytest, in the process where tests run as well as in a controller of several."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._tests: dict[str, _Test] = {}
        self._places: dict[tuple[str, str], None] = {}
        self._described: dict[tuple[str, str], int] = {}
        self._report: Report | None = None
        self._lines: list[tuple[str, bool]] = []

    @property
    def _is_worker(self) -> bool:
        return hasattr(self._config, "workerinput")

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Let each contract test say where it belongs, so that one which never ran is counted, too."""
        for item in session.items:
            if (place := place_of(item)) is not None:
                home, backend, test = place
                self._places[home, backend] = None
                item.user_properties.append((PROPERTY, {"home": home, "backend": backend, "test": test}))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        """Ask the storage of a test that has passed what it is, once a backend."""
        result = yield
        place = next((facts for facts in _facts(item.user_properties) if "home" in facts), None)
        opener = getattr(item, "funcargs", {}).get("ai_storage_opener")
        if place is not None and opener is not None:
            key = (place["home"], place["backend"])
            if self._described.get(key, 0) < _ATTEMPTS:
                self._described[key] = self._described.get(key, 0) + 1
                found = {"simulated": getattr(opener, "simulated", False), **_description(opener)}
                found["provider"] = self._provider(place["backend"])
                if found["type"] is not None:
                    self._described[key] = _ATTEMPTS
                item.user_properties.append((PROPERTY, found))
        return result

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take what came of a test's setup, body or teardown."""
        facts = _facts(report.user_properties)
        if not any("home" in one for one in facts) and not self._is_lost(report):
            return
        test = self._tests.setdefault(report.nodeid, _Test())
        for one in facts:
            test.facts.update(one)
        test.seconds += report.duration
        if hasattr(report, "wasxfail"):
            test.failures.append(
                f"marked as expected to fail ({report.wasxfail or 'without a reason'}): "
                "write the reason as a deviation instead"
            )
        elif report.outcome == "skipped":
            test.skipped = _reason(report)
        elif report.outcome != "passed":
            test.failures.append(_message(report))
        elif report.when == "call":
            test.called = True

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Tell the controller where tests were collected; there, write the reports."""
        if self._is_worker:
            self._config.workeroutput[_PLACES] = [list(place) for place in self._places]  # type: ignore[attr-defined]  # pytest-xdist's
        elif not self._config.option.collectonly and (self._places or self._tests):
            self._finish(session)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take what a worker tells."""
        for home, backend in getattr(node, "workeroutput", {}).get(_PLACES, ()):
            self._places[home, backend] = None

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the matrix, the verdicts, and where the reports are."""
        if self._report is None or not self._report.backends:
            return
        from ..conformance.report.as_text import report_to_text

        terminalreporter.section("aistorage conformance")
        width = self._config.get_terminal_writer().fullwidth
        text = report_to_text(self._report, width=width, colour=terminalreporter.hasmarkup)
        for line in text.splitlines():
            terminalreporter.write_line(line)
        for line, is_error in self._lines:
            terminalreporter.write_line(line, red=is_error)

    def _is_lost(self, report: pytest.TestReport) -> bool:
        """Whether a worker died in a contract test: the report that its controller makes up knows no properties."""
        if report.outcome != "failed" or report.user_properties:
            return False
        return "::" in report.nodeid and report.when not in ("setup", "call", "teardown")

    def _provider(self, backend: str) -> str | None:
        run = state_of(self._config).run
        found = None if run is None else run.record.servers.get(backend)
        return None if found is None else found[1]

    def _finish(self, session: pytest.Session) -> None:
        from ..conformance.report.assembly import Place, assemble
        from ..conformance.report.writing import write

        self._report = assemble(
            [Place(home, backend) for home, backend in self._places],
            list(self._runs()),
            effort=self._config.getoption("--ai-storage-effort"),
            seed=self._config.getoption("--ai-storage-seed"),
        )
        self._lines += compared(self._config, self._report)
        if any(is_worse for _, is_worse in self._lines) and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        for path in _paths(self._config):
            try:
                write(self._report, path)
            except OSError as error:
                self._lines.append((f"the report could not be written: {error}", True))
                session.exitstatus = pytest.ExitCode.TESTS_FAILED
            else:
                self._lines.append((f"report: {path}", False))

    def _runs(self) -> Iterator[Ran]:
        from ..conformance.report.assembly import Place, Ran

        for nodeid, test in self._tests.items():
            facts = test.facts if "home" in test.facts else self._facts_of_lost(nodeid)
            if facts is None:
                continue
            status, message = _judged(test)
            yield Ran(
                place=Place(facts["home"], facts["backend"]),
                test=facts["test"],
                status=status,
                message=message,
                seconds=test.seconds,
                facts=facts,
            )

    def _facts_of_lost(self, nodeid: str) -> dict[str, Any] | None:
        """What the name of a test tells whose worker died; None: other tests do not show that it is a contract's."""
        path, _, parameter = nodeid.partition("[")
        home, _, test = path.rpartition("::")
        backend = parameter.removesuffix("]")
        known = {one.facts["home"] for one in self._tests.values() if "home" in one.facts}
        return {"home": home, "backend": backend, "test": test} if home in known else None


def place_of(item: pytest.Item) -> tuple[str, str, str] | None:
    """Return class, backend and name of a contract test; None: the item is none.

    The backend is the one that the plugin chose, or else what a parameter says that is not the test's own.
    """
    contract = sys.modules.get("pytest_aistorage.conformance.contract.clients")
    cls = getattr(item, "cls", None)
    if contract is None or cls is None or not issubclass(cls, contract.ContractBase):
        return None
    from ..conformance.report.specification import specified

    test = getattr(item, "originalname", item.name)
    if test not in specified() or item.parent is None:
        return None
    return item.parent.nodeid, _backend_of(item), test


def _backend_of(item: Any) -> str:
    callspec = getattr(item, "callspec", None)
    if callspec is None:
        return ""
    for value in callspec.params.values():
        if isinstance(value, Choice):
            return value.name
    own = {
        name.strip()
        for mark in item.iter_markers("parametrize")
        for name in (mark.args[0].split(",") if isinstance(mark.args[0], str) else mark.args[0])
        if mark in getattr(item.function, "pytestmark", ())
    }
    named = [
        str(value) if isinstance(value, (str, int, float)) else f"{name}{callspec.indices[name]}"
        for name, value in callspec.params.items()
        if name not in own
    ]
    return "-".join(named)


def _facts(properties: Iterable[tuple[str, object]]) -> list[dict[str, Any]]:
    return [value for name, value in properties if name == PROPERTY and isinstance(value, dict)]


def _description(opener: Callable[[], Any]) -> dict[str, str | None]:
    """What a storage says of itself; nothing where it can't, which its own contract tests find."""
    try:
        client = opener()
        try:
            info = client.get_storage_info()
            found = {"type": info.type, "server": info.server}
        finally:
            client.close()
    except Exception:
        found = {}
    return {
        name: found.get(name) if isinstance(found.get(name), str) else None for name in ("type", "server")
    }


def _judged(test: _Test) -> tuple[Status, str]:
    """The status of a test, and the reason of what is not passed."""
    from ..conformance.excuses import excuse_in
    from ..conformance.report.results import Status

    if test.failures:
        return Status.FAILED, "\n\n".join(test.failures)
    if test.skipped is not None:
        found = excuse_in(test.skipped)
        return (Status.SKIPPED, test.skipped) if found is None else (Status(found[0]), found[1])
    if not test.called:
        return Status.SKIPPED, "did not end: the run was broken off"
    deviation = test.facts.get("deviation")
    return (Status.PASSED, "") if deviation is None else (Status.DEVIATION, str(deviation))


def _reason(report: pytest.TestReport) -> str:
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longreprtext
    return str(text).removeprefix("Skipped: ")


def _message(report: pytest.TestReport) -> str:
    """What a failure says, without the traceback, which pytest shows."""
    crash = getattr(report.longrepr, "reprcrash", None)
    text = crash.message if crash is not None else report.longreprtext
    text = str(text).removeprefix("Failed: ")  # pytest.fail says no more by its name
    return f"{report.when}: {text}" if report.when in ("setup", "teardown") else text
