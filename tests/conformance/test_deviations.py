"""A contract test that an author replaces: in silence it fails, with a written reason it is a deviation."""

from __future__ import annotations

import json
from collections.abc import Callable
from textwrap import dedent
from typing import Any

import pytest

import pytest_aistorage.conformance.contract  # noqa: F401  # an inner run in this process forgets what it imports

SUITE = """
    import functools
    import uuid

    import pytest

    from pytest_aistorage import MemoryStorage
    from pytest_aistorage.conformance import AIStorageContract, deviation


    class Good:
        @pytest.fixture
        def ai_storage_opener(self):
            return functools.partial(MemoryStorage, uuid.uuid4().hex)
"""
TEST = "test_close_is_idempotent"
Results = dict[str, dict[str, str]]


@pytest.fixture
def results(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Results]:
    """Runs the contract test on the classes of a module; gives what the report has of it, by class."""
    for name in ("CI", "PYTEST_ADDOPTS"):
        monkeypatch.delenv(name, raising=False)

    def run(source: str) -> Results:
        pytester.makepyfile(test_suite=dedent(SUITE) + dedent(source))
        pytester.runpytest_inprocess("-p", "no:cacheprovider", "-k", TEST, "--ai-storage-report=report.json")
        document = json.loads((pytester.path / "report.json").read_text())
        found = {}
        for backend in document["backends"]:
            tests: Any = backend["tests"]
            found[backend["name"]] = next(test for test in tests if test["name"] == TEST)
        return found

    return run


REPLACED = "replaces the contract test test_close_is_idempotent without saying why"


@pytest.mark.parametrize(
    "source",
    [
        """
        class TestIt(Good, AIStorageContract):
            def test_close_is_idempotent(self):
                pass
        """,
        """
        class Mixin:
            def test_close_is_idempotent(self):
                pass

        class TestIt(Good, Mixin, AIStorageContract):
            pass
        """,
        """
        class TestIt(Good, AIStorageContract):
            test_close_is_idempotent = None
        """,
        """
        class TestIt(Good, AIStorageContract):
            @property
            def test_close_is_idempotent(self):
                raise AttributeError
        """,
        """
        class TestIt(Good, AIStorageContract):
            test_close_is_idempotent = AIStorageContract.test_health_check_is_true
        """,
        """
        class TestIt(Good, AIStorageContract):
            @pytest.mark.skip(reason="not now")
            def test_close_is_idempotent(self):
                pass
        """,
        """
        class Base(Good, AIStorageContract):
            def test_close_is_idempotent(self):
                pass

        class TestIt(Base):
            pass
        """,
        """
        class Base(Good, AIStorageContract):
            pass

        class TestIt(Base):
            def test_close_is_idempotent(self, storage):
                super().test_close_is_idempotent(storage)
        """,
        """
        class Base(Good, AIStorageContract):
            @deviation("the base says why")
            def test_close_is_idempotent(self):
                pass

        class TestIt(Base):
            def test_close_is_idempotent(self):
                pass
        """,
    ],
    ids=[
        "plainly",
        "by a mixin",
        "by None",
        "by a property",
        "by another test",
        "by one that is skipped",
        "in the class between",
        "in a subclass of a subclass",
        "where only the class between says why",
    ],
)
def test_silent_override_fails(results: Callable[..., Results], source: str) -> None:
    """However a contract test is replaced, it fails and asks for the reason."""
    found = results(source)["TestIt"]
    assert found["status"] == "failed"
    assert REPLACED in found["message"]


@pytest.mark.parametrize(
    "source",
    [
        """
        class TestIt(Good, AIStorageContract):
            @deviation("closing twice is an error here")
            def test_close_is_idempotent(self, storage):
                storage.close()
        """,
        """
        class TestIt(Good, AIStorageContract):
            deviations = {"test_close_is_idempotent": "closing twice is an error here"}
        """,
        """
        class TestIt(Good, AIStorageContract):
            deviations = {"test_close_is_idempotent": "closing twice is an error here"}

            def test_close_is_idempotent(self):
                raise AssertionError("is not run")
        """,
        """
        class Mixin:
            deviations = {"test_close_is_idempotent": "closing twice is an error here"}

        class TestIt(Good, Mixin, AIStorageContract):
            pass
        """,
        """
        class Base(Good, AIStorageContract):
            @deviation("closing twice is an error here")
            def test_close_is_idempotent(self):
                pass

        class TestIt(Base):
            pass
        """,
    ],
    ids=[
        "by the method",
        "by the class",
        "by the class, with a method",
        "by a mixin",
        "in the class between",
    ],
)
def test_written_reason_is_a_deviation(results: Callable[..., Results], source: str) -> None:
    """The report shows the reason, and does not count the test as passed."""
    found = results(source)["TestIt"]
    assert (found["status"], found["message"]) == ("deviation", "closing twice is an error here")


def test_deviation_that_fails_is_a_failure(results: Callable[..., Results]) -> None:
    """The test that stands in for a contract test must pass, too."""
    found = results(
        """
        class TestIt(Good, AIStorageContract):
            @deviation("closing twice is an error here")
            def test_close_is_idempotent(self, storage):
                raise AssertionError("not even that")
        """
    )["TestIt"]
    assert found["status"] == "failed"
    assert "not even that" in found["message"]


def test_subclass_may_take_the_contract_test_back(results: Callable[..., Results]) -> None:
    """What a class between has replaced can be what it was."""
    found = results(
        """
        class Base(Good, AIStorageContract):
            @deviation("closing twice is an error here")
            def test_close_is_idempotent(self):
                pass

        class TestIt(Base):
            test_close_is_idempotent = AIStorageContract.test_close_is_idempotent
        """
    )["TestIt"]
    assert found["status"] == "passed"


def test_tests_of_the_author_are_no_overrides(pytester: pytest.Pytester) -> None:
    """A subclass may have tests of its own."""
    pytester.makepyfile(
        test_suite=dedent(SUITE)
        + dedent("""
        class TestIt(Good, AIStorageContract):
            def test_of_mine(self, storage):
                assert storage.load_progress() == []
        """)
    )
    done = pytester.runpytest_inprocess("-p", "no:cacheprovider", "-k", "test_of_mine")
    assert done.parseoutcomes()["passed"] == 1


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ({"test_that_is_none": "because"}, "there is no contract test 'test_that_is_none'"),
        ({TEST: ""}, f"{TEST} needs a written reason, got ''"),
        ({TEST: "  \n"}, f"{TEST} needs a written reason"),
        ({TEST: None}, f"{TEST} needs a written reason, got None"),
    ],
)
def test_reason_that_is_none(written: dict[str, Any], said: str) -> None:
    """An unknown name or an empty reason is an error when the class is defined."""
    from pytest_aistorage.conformance import AIStorageContract

    with pytest.raises(TypeError) as failure:
        type("TestIt", (AIStorageContract,), {"deviations": written})
    assert str(failure.value).startswith(f"TestIt.deviations: {said}")


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ({"quick": "because"}, "there is no capability 'quick'; there are "),
        ({"linearizable": " "}, "LINEARIZABLE needs a written reason, got ' '"),
        (["linearizable"], "a mapping of capabilities to reasons is expected"),
    ],
)
def test_withheld_that_is_none(written: Any, said: str) -> None:
    """What is withheld is a capability, by its name or itself, for a reason: wherever it is written."""
    from pytest_aistorage import ConfigurationError, MemoryStorage
    from pytest_aistorage.conformance import AIStorageContract
    from pytest_aistorage.conformance.factories import Supplied
    from pytest_aistorage.conformance.preflight import preflight

    with pytest.raises(TypeError) as failure:
        type("TestIt", (AIStorageContract,), {"withheld": written})
    assert str(failure.value).startswith(f"TestIt.withheld: {said}")
    with pytest.raises(ConfigurationError) as refused:
        Supplied.by(type("Factory", (), {"withheld": written}))
    assert str(refused.value).startswith(f"withheld: {said}")
    storage: Any = type("Withholding", (MemoryStorage,), {"withheld": written})
    (problem,) = preflight(lambda: storage("withholding"))
    assert problem.startswith(f"the Withholding's attribute withheld: {said}")


@pytest.mark.parametrize("reason", ["", " ", None, 1])
def test_empty_reason_of_a_method(reason: Any) -> None:
    """``@deviation`` asks for a text."""
    from pytest_aistorage.conformance import deviation

    with pytest.raises(TypeError, match="a deviation needs a written reason"):
        deviation(reason)
