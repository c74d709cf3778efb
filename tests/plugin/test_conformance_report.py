"""The conformance suite's recorder: what it counts, on which backend, with and without pytest-xdist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

# An inner run in this process must not be the first to import them, see conftest.py.
import pytest_aistorage.conformance.contract
import pytest_aistorage.conformance.report.writing
import pytest_aistorage.plugin.conformance
from pytest_aistorage.conformance.report import Report, Status, report_from_json

pytest.importorskip("hypothesis", reason="hypothesis is missing: pip install 'pytest-aistorage[conformance]'")

SUITE = """
    import pytest
    from pytest_aistorage import open_storage
    from pytest_aistorage.conformance import AIStorageContract
    from pytest_aistorage.conformance.contract import deviation
"""
OURS = f"""{SUITE}
    class TestOurs(AIStorageContract):
        pass
"""
# Quick ones, of which each stands for a way to end.
FEW = "first_version_is_one or latencies_are_measured or expire_now_is_refused or info_counts_models"
FIRST = "test_first_version_is_one"


def _report(path: Path) -> Report:
    return report_from_json(path.read_text(encoding="utf-8"))


def _statuses(report: Report, backend: str) -> dict[str, Status]:
    (found,) = (one for one in report.backends if one.name == backend)
    return {test.name: test.status for test in found.tests}


def _messages(report: Report) -> dict[str, str]:
    return {test.name: test.message for one in report.backends for test in one.tests}


def test_ordinary_tests_are_not_reported(pytester, run):
    """Nothing is printed or written for them, also where a report was asked for."""
    pytester.makepyfile("def test_it(ai_storage): ...")
    result = run("--ai-storage=memory", "--ai-storage-report=report.json")
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*conformance*")
    assert not (pytester.path / "report.json").exists()


def test_listing_the_tests_is_not_reported(pytester, run):
    """Nor is a run that only collects."""
    pytester.makepyfile(OURS)
    result = run("--collect-only", "-q", "--ai-storage=memory", "--ai-storage-report=report.json")
    result.stdout.no_fnmatch_line("*aistorage conformance*")
    assert not (pytester.path / "report.json").exists()


def test_run_is_printed_and_written(pytester, run):
    """Every backend with what ran, what did not, what it declares, and what it is; in each form."""
    pytester.makepyfile(OURS)
    names = [f"out/report{suffix}" for suffix in (".json", ".md", ".html")]
    result = run(
        *("-k", FEW, "--ai-storage=memory,sqlite", "--ai-storage-effort=quick", "--ai-storage-seed=5"),
        *(f"--ai-storage-report={name}" for name in names),
    )
    result.assert_outcomes(passed=7, skipped=1, deselected=result.parseoutcomes()["deselected"])
    report = _report(pytester.path / names[0])
    assert (report.effort, report.seed) == ("quick", 5)
    assert [(one.name, one.type, one.simulated) for one in report.backends] == [
        ("memory", "memory", False),
        ("sqlite", "database", False),
    ]
    memory, sqlite = report.backends
    assert "linearizable" in (memory.declared or ())
    assert re.match(r"SQLite 3\.", sqlite.server or "")
    found = _statuses(report, "memory")
    assert found[FIRST] is Status.PASSED
    assert found["test_expire_now_is_refused"] is Status.NOT_APPLICABLE
    assert found["test_delete_takes_the_next_version"] is Status.SKIPPED
    measured = next(test for test in sqlite.tests if test.latencies)
    assert measured.latencies["save"].count == 30
    assert measured.seconds > 0
    for line in ("guarantee *memory *sqlite*", "[?] memory: incomplete, level 0 (none)"):
        result.stdout.fnmatch_lines([line])
    for name in names:
        result.stdout.fnmatch_lines([f"report: {pytester.path / name}"])
        assert (pytester.path / name).stat().st_size > 1000


def test_server_is_described(pytester, run, local_redis):
    """Its product, its version, and where it came from."""
    pytester.makepyfile(OURS)
    run("-k", FIRST, "--ai-storage=redis", "--ai-storage-report=report.json").assert_outcomes(
        passed=1, deselected=len(_ALL) - 1
    )
    (redis,) = _report(pytester.path / "report.json").backends
    assert re.match(r"(Redis|Valkey) \d", redis.server or "")
    assert redis.provider in ("process", "embedded")


def test_fake_is_marked(pytester, run):
    """A simulated server is said to be one."""
    pytester.makepyfile(OURS)
    run("-k", FIRST, "--ai-storage=redis-fake", "--ai-storage-report=report.json")
    (fake,) = _report(pytester.path / "report.json").backends
    assert fake.simulated


ENDS = f"""{SUITE}
    class TestEnds(AIStorageContract):
        deviations = {{"test_unknown_model_is_none": "left out"}}

        @pytest.fixture
        def ai_storage_opener(self, request, tmp_path):
            name = request.function.__name__
            if name == "test_reads_take_no_version":
                raise RuntimeError("no setup: postgresql://me:geheim@host/db")
            yield lambda: open_storage(f"sqlite:///{{tmp_path}}/db")
            if name == "test_created_at_stays":
                raise RuntimeError("no teardown")

        @deviation("another way")
        def test_first_version_is_one(self, storage):
            pass

        @deviation("another way")
        def test_floats_are_64_bit(self, storage):
            assert False, "nor this"

        def test_absent_values_stay_absent(self):
            pass

        @pytest.mark.xfail(reason="some day")
        @deviation("another way")
        def test_negative_zero_is_stored_as_zero(self):
            assert False

        @pytest.mark.xfail(reason="some day", strict=False)
        @deviation("another way")
        def test_save_replaces_every_field(self):
            pass

        @deviation("another way")
        def test_models_count_versions_apart(self):
            pytest.skip("inconclusive: no luck")

        @deviation("another way")
        def test_stamps_in_the_input_are_ignored(self):
            pytest.skip("not today")

        def test_of_our_own(self):
            assert False
"""


def test_every_end_is_told(pytester, run):
    """Errors and what is expected to fail are failures; deviations, and what chance left open, are no passes."""
    pytester.makepyfile(ENDS)
    run(
        *("--ai-storage-report=report.json", "-k"),
        "first_version or floats_are or absent_values or negative_zero or save_replaces or models_count or stamps_in "
        "or unknown_model or reads_take or created_at_stays or our_own",
    )
    report = _report(pytester.path / "report.json")
    found, said = _statuses(report, "TestEnds"), _messages(report)
    assert "test_of_our_own" not in found
    for test, status, message in (
        ("test_first_version_is_one", Status.DEVIATION, "another way"),
        ("test_unknown_model_is_none", Status.DEVIATION, "left out"),
        ("test_floats_are_64_bit", Status.FAILED, "nor this"),
        ("test_absent_values_stay_absent", Status.FAILED, "without saying why"),
        ("test_negative_zero_is_stored_as_zero", Status.FAILED, "expected to fail (some day)"),
        ("test_save_replaces_every_field", Status.FAILED, "expected to fail (some day)"),
        ("test_models_count_versions_apart", Status.INCONCLUSIVE, "no luck"),
        ("test_stamps_in_the_input_are_ignored", Status.SKIPPED, "not today"),
        (
            "test_reads_take_no_version",
            Status.FAILED,
            "setup: RuntimeError: no setup: postgresql://me:***@host",
        ),
        ("test_created_at_stays", Status.FAILED, "teardown: RuntimeError: no teardown"),
        ("test_metadata_keeps_types", Status.SKIPPED, "did not run"),
    ):
        assert found[test] is status, test
        assert message in said[test]
    assert "geheim" not in (pytester.path / "report.json").read_text(encoding="utf-8")


def test_run_that_ends_early(pytester, run):
    """What comes after ``-x`` did not run, on the other backends, too."""
    pytester.makepyfile(
        f"""{SUITE}
    class TestOurs(AIStorageContract):
        def test_first_version_is_one(self):
            pass
    """
    )
    run("-x", "-k", FIRST, "--ai-storage=memory,sqlite", "--ai-storage-report=report.json")
    report = _report(pytester.path / "report.json")
    assert _statuses(report, "memory")[FIRST] is Status.FAILED
    assert _statuses(report, "sqlite")[FIRST] is Status.SKIPPED


def test_missing_server_is_counted(pytester, run):
    """A backend whose server can't be had is in the report, with all of its tests skipped for that reason."""
    pytester.makepyfile(OURS)
    run("-k", FIRST, "--ai-storage=postgres", "--ai-storage-servers=url", "--ai-storage-report=report.json")
    report = _report(pytester.path / "report.json")
    assert set(_statuses(report, "postgres").values()) == {Status.SKIPPED}
    assert "no postgres server" in _messages(report)[FIRST]


def test_broken_storage_is_described_as_far_as_it_goes(pytester, run):
    """One that can't tell what it is keeps no test from being counted."""
    pytester.makepyfile(
        f"""{SUITE}
    class Mute:
        def __init__(self, inner):
            self.inner = inner

        def __getattr__(self, name):
            if name == "get_storage_info":
                raise RuntimeError("never heard of it")
            return getattr(self.inner, name)

    class TestMute(AIStorageContract):
        @pytest.fixture
        def ai_storage_opener(self, tmp_path):
            return lambda: Mute(open_storage(f"sqlite:///{{tmp_path}}/db"))
    """
    )
    run("-k", FIRST, "--ai-storage-report=report.json").assert_outcomes(passed=1, deselected=len(_ALL) - 1)
    (mute,) = _report(pytester.path / "report.json").backends
    assert (mute.name, mute.type, mute.server) == ("TestMute", None, None)


def test_own_parameters_are_backends(pytester, run):
    """A class whose opener has parameters is as many backends; a contract test's own parameters are none."""
    pytester.makepyfile(
        f"""{SUITE}
    class TestTwo(AIStorageContract):
        @pytest.fixture(params=["a", object()])
        def ai_storage_opener(self, request, tmp_path):
            return lambda: open_storage(f"sqlite:///{{tmp_path}}/db")

        @pytest.mark.parametrize("number", [1, 2])
        @deviation("another way")
        def test_first_version_is_one(self, number):
            assert number == 1
    """
    )
    run("-k", FIRST, "--ai-storage-report=report.json").assert_outcomes(
        passed=2, failed=2, deselected=2 * len(_ALL) - 2
    )
    report = _report(pytester.path / "report.json")
    assert [one.name for one in report.backends] == ["a", "ai_storage_opener1"]
    assert all(_statuses(report, one.name)[FIRST] is Status.FAILED for one in report.backends)


def test_workers_report_to_their_controller(pytester, run):
    """With pytest-xdist the controller prints and writes what its workers saw."""
    pytest.importorskip("xdist", reason="pytest-xdist is missing: pip install pytest-xdist")
    pytester.makepyfile(OURS)
    result = run(
        *("-n", "2", "-k", FEW, "--ai-storage=memory,sqlite", "--ai-storage-effort=quick"),
        "--ai-storage-report=report.json",
        subprocess=True,
    )
    result.stdout.fnmatch_lines(["guarantee *memory *sqlite*"])
    report = _report(pytester.path / "report.json")
    assert [one.type for one in report.backends] == ["memory", "database"]
    for one, passed in zip(report.backends, (3, 4), strict=True):
        assert list(_statuses(report, one.name).values()).count(Status.PASSED) == passed


def test_worker_that_dies_fails_its_test(pytester, run):
    """A contract test that takes its process along has failed; the others go on."""
    pytest.importorskip("xdist", reason="pytest-xdist is missing: pip install pytest-xdist")
    pytester.makepyfile(
        f"""{SUITE}
    import os

    class TestDeadly(AIStorageContract):
        @deviation("another way")
        def test_first_version_is_one(self, storage):
            os._exit(1)
    """
    )
    run(
        *("-n", "1", "-k", f"{FIRST} or reads_take_no_version or created_at_stays", "--ai-storage=memory"),
        "--ai-storage-report=report.json",
        subprocess=True,
    )
    report = _report(pytester.path / "report.json")
    found = _statuses(report, "memory")
    assert found[FIRST] is Status.FAILED
    assert "crashed" in _messages(report)[FIRST]
    assert found["test_created_at_stays"] is Status.PASSED


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("report.txt", "must end in .json, .md, .html"),
        ("report", "must end in .json, .md, .html"),
        ("file/report.json", "file"),
        ("directory.json", "this is a directory"),
    ],
)
def test_impossible_report_is_an_error_at_once(pytester, run, path, said):
    """What can't be written after the last test is refused before the first."""
    pytester.makepyfile("def test_it(): ...")
    (pytester.path / "file").touch()
    (pytester.path / "directory.json").mkdir()
    result = run(f"--ai-storage-report={path}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: --ai-storage-report=*{path}: *{said}*"])


def test_report_that_fails_in_the_end_fails_the_run(pytester, run):
    """A directory that went away during the run is an error in one line."""
    pytester.makepyfile(
        f"""{SUITE}
    import os

    class TestOurs(AIStorageContract):
        def test_zz_of_our_own(self):
            os.rmdir("out")
    """
    )
    result = run(
        *("-k", f"{FIRST} or zz", "--ai-storage=memory", "--ai-storage-report=out/report.json"),
    )
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["the report could not be written: *"])


_ALL = pytest_aistorage.conformance.contract.contract_tests()


def _compared(run, *arguments):
    """A run of a few tests, and what it says of an earlier one."""
    given = ("--ai-storage=memory", "--ai-storage-effort=quick", "-k", FEW)
    result = run(*given, *arguments)
    lines = result.outlines
    first = next((n for n, line in enumerate(lines) if line.startswith("compared with")), len(lines))
    return result, [line for line in lines[first:] if not line.startswith(("report:", "="))]


def test_same_run_differs_in_nothing(pytester, run):
    """The report that is compared with may be the one that is replaced."""
    pytester.makepyfile(OURS)
    _compared(run, "--ai-storage-report=r.json")
    result, lines = _compared(run, "--ai-storage-report=r.json", "--ai-storage-compare=r.json")
    assert (result.ret, lines) == (0, ["compared with r.json: nothing differs"])


def test_difference_is_told_and_changes_no_status(pytester, run):
    """A test that was passed and is a deviation, where no guarantee was kept before."""
    pytester.makepyfile(OURS)
    _compared(run, "--ai-storage=memory,file", "--ai-storage-report=r.json")
    pytester.makepyfile(f'{OURS.rstrip()[:-4]}deviations = {{"{FIRST}": "it is two"}}\n')
    result, lines = _compared(run, "--ai-storage-compare=r.json")
    assert result.ret == 0
    assert lines == [
        "compared with r.json:",
        f"  memory: {FIRST}: passed -> deviation",
        "  not tested now: file",
    ]


def test_guarantee_that_stands_worse_fails_the_run(pytester, run):
    """Also where no test failed: what was kept has not been shown this time."""
    pytester.makepyfile(OURS)
    _compared(run, "--ai-storage-report=r.json")
    path = pytester.path / "r.json"
    text = path.read_text().replace('"status": "skipped"', '"status": "passed"')
    path.write_text(text)
    result, lines = _compared(run, "--ai-storage-compare=r.json")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert result.parseoutcomes().keys().isdisjoint({"failed", "errors"})
    assert "  memory: linearizable: kept -> not shown" in lines
    assert lines[-1].startswith("worse than in r.json: memory: core: kept -> not shown; memory: linearizable")


@pytest.mark.parametrize(
    ("text", "said"),
    [(None, "No such file or directory"), ("{}", "no conformance report"), ("[", "Expecting value")],
)
def test_earlier_report_that_is_none(pytester, run, text, said):
    """One line before the first test."""
    pytester.makepyfile(OURS)
    if text is not None:
        (pytester.path / "r.json").write_text(text)
    result = run("--ai-storage=memory", "--ai-storage-compare=r.json")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: --ai-storage-compare=r.json: *{said}*"])
