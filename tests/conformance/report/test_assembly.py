"""From single results to a report: what did not run is there, and no password is."""

from __future__ import annotations

import pytest

from pytest_aistorage.conformance.report import SPEC, Status
from pytest_aistorage.conformance.report.assembly import NOT_RUN, Place, Ran, assemble, redacted
from pytest_aistorage.conformance.report.specification import specified

HERE = Place("tests/test_it.py::TestIt", "memory")
TEST = "test_first_version_is_one"


def _ran(status=Status.PASSED, test=TEST, place=HERE, message="", **facts) -> Ran:
    return Ran(place, test, status, message, 0.5, facts)


def _backend(*runs):
    (backend,) = assemble([], runs, effort="quick", seed=3).backends
    return backend


def _result(*runs):
    return next(test for test in _backend(*runs).tests if test.name == TEST)


def test_run_is_described() -> None:
    """Versions, effort, seed and time."""
    report = assemble([], [], effort="quick", seed=3)
    assert (report.spec, report.effort, report.seed, report.backends) == (SPEC, "quick", 3, ())
    assert report.python
    assert report.platform
    assert report.created.endswith("+00:00")


def test_tests_that_did_not_run_are_there() -> None:
    """All tests of the specification, in its order; of those that were not heard of it is said."""
    tests = _backend(_ran()).tests
    assert [test.name for test in tests] == list(specified())
    assert {test.message for test in tests if test.name != TEST} == {NOT_RUN}
    assert {test.status for test in tests if test.name != TEST} == {Status.SKIPPED}


def test_backend_that_never_ran_is_there() -> None:
    """A place without a result has nothing but skipped tests, and declares who knows what."""
    (backend,) = assemble([HERE], [], effort="quick", seed=0).backends
    assert backend.name == "memory"
    assert backend.declared is None
    assert {test.status for test in backend.tests} == {Status.SKIPPED}


def test_facts_of_the_backend_come_from_any_test() -> None:
    """What one test could not say, another did."""
    backend = _backend(
        _ran(declared=["linearizable", "expiry"], type=None, server=None),
        _ran(test="test_delete_takes_the_next_version", type="database", server="X 1", provider="url"),
    )
    assert backend.declared == ("expiry", "linearizable")
    assert (backend.type, backend.server, backend.provider) == ("database", "X 1", "url")


def test_area_and_guarantees_are_the_contracts() -> None:
    """They are looked up by the test's name."""
    found = _result(_ran())
    assert (found.area, found.requires, found.unless) == ("versions", (), None)
    assert specified()["test_versions_go_on_after_a_delete"].requires == ("versions-never-reused",)
    assert specified()["test_ttl_is_refused"].unless == "expiry"


def test_worst_of_several_counts() -> None:
    """A contract test that runs with several parameters has passed if it has with all."""
    found = _result(_ran(), _ran(Status.FAILED, message="no"), _ran(Status.SKIPPED, message="late"))
    assert (found.status, found.message, found.seconds) == (Status.FAILED, "no", 1.5)


def test_backends_of_one_name_are_told_apart() -> None:
    """Two classes that run on the same backend are two, named in full."""
    places = [HERE, Place("tests/test_other.py::TestOther", "memory"), Place("tests/a.py::TestOwn", "")]
    found = assemble(places, [], effort="quick", seed=0).backends
    names = ["tests/test_it.py::TestIt[memory]", "tests/test_other.py::TestOther[memory]", "TestOwn"]
    assert [backend.name for backend in found] == names


@pytest.mark.parametrize("end", [None, float("inf")])
def test_violation_is_taken_over(end) -> None:
    """With an operation that never returned; what is missing has a default."""
    steps = [{"client": "P1", "label": "save", "start": 1, "end": end}]
    found = _result(_ran(Status.FAILED, violation={"anomaly": "lost update", "steps": steps})).violation
    assert found is not None
    assert (found.anomaly, found.schedule, found.why) == ("lost update", None, "")
    assert [(step.client, step.start, step.end) for step in found.steps] == [("P1", 1.0, None)]


@pytest.mark.parametrize(
    "said",
    [
        "lost update",
        {"anomaly": "lost update"},
        {"anomaly": "a", "steps": [{"client": "P1", "label": "save", "start": None}]},
        {"anomaly": "a", "steps": [{"client": "P1", "label": "save", "start": float("nan")}]},
    ],
)
def test_violation_that_cannot_be_read(said) -> None:
    """A test that says it wrongly costs nobody the report."""
    found = _result(_ran(Status.FAILED, violation=said)).violation
    assert found is not None
    assert "could not be read" in found.why


def test_latencies_are_taken_over() -> None:
    """As they were measured."""
    measured = {"save": {"count": 2, "p50": 1.0, "p99": 2.0, "samples": [1.0, 2.0]}}
    assert _result(_ran(latencies=measured)).latencies["save"].samples == (1.0, 2.0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("at postgresql://me:geheim@host/db.", "at postgresql://me:***@host/db."),
        ("'redis://:geheim@h:6379/0'", "'redis://:***@h:6379/0'"),
        ("mysql://h/d?password=geheim, and", "mysql://h/d?password=***, and"),
        ("mysql://me:ge/heim@h/d", "mysql://***"),
        ("host=h password=geheim dbname=d", "host=h password=*** dbname=d"),
        ("see https://example.org/page", "see https://example.org/page"),
        ("pwd=***", "pwd=***"),
    ],
)
def test_no_password_is_reported(text, expected) -> None:
    """Neither of a URL, nor of a DSN; what holds none stays as it is."""
    assert redacted(text) == expected


def test_message_has_an_end() -> None:
    """A failure of megabytes is cut, and says so."""
    assert len(redacted("x" * 1_000_000)) < 21_000
    assert redacted("x" * 30_000).endswith("[10000 more characters]")


def test_message_is_text() -> None:
    """What no file can hold, or would move the cursor of a terminal, is written out."""
    assert redacted("a\nb\tc \x1b[31m \0 \ud800 ü") == "a\nb\tc \\x1b[31m \\x00 \\ud800 ü"


def test_passwords_are_taken_out_of_results() -> None:
    """Of messages, of the server's name and of a violation."""
    url = "redis://:geheim@h/0"
    steps = [{"client": "P1", "label": url, "start": 0, "end": 1}]
    backend = _backend(
        _ran(Status.FAILED, message=url, server=url, violation={"anomaly": "a", "why": url, "steps": steps})
    )
    assert "geheim" not in repr(backend)
