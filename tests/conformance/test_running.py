"""The suite, run as it is installed: on a backend by its name, on a factory, and never by accident."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import ClassVar

import pytest

import pytest_aistorage
import pytest_aistorage.conformance.contract  # an inner run in this process forgets what it imports
from pytest_aistorage import Capability, ConfigurationError, MemoryStorage
from pytest_aistorage.conformance.factories import Supplied, capability, is_reference
from pytest_aistorage.conformance.preflight import preflight

SUITE = ("--pyargs", "pytest_aistorage.conformance")
Run = Callable[..., pytest.RunResult]


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run pytest as a user would, in the test's own directory."""
    for name in ("CI", "PYTEST_ADDOPTS", "PYTEST_XDIST_WORKER", "AI_STORAGE_REQUIRE"):
        monkeypatch.delenv(name, raising=False)
    pytester.syspathinsert()

    def run(*arguments: str, subprocess: bool = False) -> pytest.RunResult:
        given = ["-p", "no:cacheprovider", "--ai-storage-effort=quick", *arguments]
        if subprocess:
            return pytester.runpytest_subprocess(*given, timeout=120)
        return pytester.runpytest_inprocess(*given)

    return run


PLAIN = """
    from pytest_aistorage import {inner} as Inner


    class Plain:
        '''The methods of the contract and nothing else: no base class, no context manager.'''

        type = "plain"

        def __init__(self, argument):
            self._inner = Inner(argument)
            self.capabilities = self._inner.capabilities

        def save_progress(self, progress, expected_version=None, ttl=None):
            return self._inner.save_progress(progress, expected_version=expected_version, ttl=ttl)

        def save_many(self, progresses):
            return self._inner.save_many(progresses)

        def get_progress(self, model_name):
            return self._inner.get_progress(model_name)

        def load_progress(self):
            return self._inner.load_progress()

        def iter_progress(self, batch_size=1000):
            return self._inner.iter_progress(batch_size=batch_size)

        def update_progress(self, model_name, change):
            return self._inner.update_progress(model_name, change)

        def delete_progress(self, model_name, expected_version=None):
            return self._inner.delete_progress(model_name, expected_version=expected_version)

        def query_progress(self, query):
            return self._inner.query_progress(query)

        def health_check(self):
            return self._inner.health_check()

        def get_storage_info(self):
            import dataclasses
            return dataclasses.replace(self._inner.get_storage_info(), type=self.type)

        def close(self):
            self._inner.close()


    def factory(store_id):
        return Plain({argument})
"""


def test_plain_object_passes(pytester: pytest.Pytester, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test needs the base class, a context manager, or an attribute beyond those of the contract."""
    argument = "f'sqlite:///{tempfile.gettempdir()}/{store_id}.db'"
    source = dedent(PLAIN).format(inner="DatabaseStorage", argument=argument)
    pytester.makepyfile(plain=f"import tempfile\n{source}")
    monkeypatch.setenv("TMPDIR", str(pytester.mkdir("stores")))
    done = run(*SUITE, "--ai-storage=plain:factory", "-rfE", "-n", "2", subprocess=True)
    assert done.ret == 0, done.stdout.str()
    assert done.parseoutcomes()["passed"] > 100


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["alone", "with workers"])
def test_built_in_backend(run: Run, workers: tuple[str, ...]) -> None:
    """``--ai-storage`` names it."""
    done = run(
        *SUITE, "--ai-storage=memory,sqlite", "-k", "preflight or idempotent", *workers, subprocess=True
    )
    assert done.parseoutcomes()["passed"] == 4, done.stdout.str()


def test_backends_of_the_ini_file(pytester: pytest.Pytester, run: Run) -> None:
    """Without ``--ai-storage`` the suite runs on what the project's tests run on."""
    pytester.makeini("[pytest]\nai_storage_backends = memory sqlite")
    done = run(*SUITE, "-k", "preflight or idempotent")
    assert done.parseoutcomes()["passed"] == 4, done.stdout.str()


def test_registered_backend(pytester: pytest.Pytester, run: Run) -> None:
    """A backend that another distribution registers is tested by its name, with what its class supplies."""
    pytester.makepyfile(
        my_backend="""
        from pytest_aistorage import Capability, MemoryStorage

        class MyStorage(MemoryStorage):
            schemes = ("mine",)
            capabilities = frozenset(Capability) - {Capability.SHARED_BETWEEN_PROCESSES}
            deviations = {"test_close_is_idempotent": "a class may say so, too"}

            @classmethod
            def from_url(cls, url):
                return cls(url.partition("://")[2])

            @classmethod
            def fresh_url(cls, tmp_path):
                return f"mine://{tmp_path.name}"
        """
    )
    info = pytester.mkdir("my_backend-1.dist-info")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-backend\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[pytest_aistorage.backends]\nmine = my_backend:MyStorage\n")
    done = run(*SUITE, "--ai-storage=mine", "-k", "preflight or idempotent", "-rs")
    done.stdout.fnmatch_lines(["*deviation: a class may say so, too*"])
    assert done.parseoutcomes()["passed"] == 1
    assert done.ret == 0


def test_factory(pytester: pytest.Pytester, run: Run) -> None:
    """``--ai-storage`` takes a factory's reference, also for the tests of an application."""
    pytester.makepyfile(plain=dedent(PLAIN).format(inner="MemoryStorage", argument="store_id"))
    pytester.makepyfile(
        """
        import pytest

        def test_mine(ai_storage, ai_storage_opener):
            assert ai_storage.load_progress() == []
            assert ai_storage_opener().type == "plain"

        def test_factory(ai_storage_factory):
            assert ai_storage_factory().load_progress() == []

        def test_url(ai_storage_url):
            raise AssertionError("there is none")
        """
    )
    done = run("--ai-storage=plain:factory", "-rs")
    done.assert_outcomes(passed=2, skipped=1)
    done.stdout.fnmatch_lines(["*plain:factory has no URL: its factory opens a store by an id*"])


def test_factory_that_is_not_there(run: Run) -> None:
    """One line, and no test."""
    done = run(*SUITE, "--ai-storage=nowhere:factory")
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    done.stderr.fnmatch_lines(["ERROR: --ai-storage: nowhere:factory: there is no module 'nowhere'*"])


def test_unknown_capability(run: Run) -> None:
    """One line names it."""
    done = run(*SUITE, "--ai-storage=memory", "--ai-storage-capability=quick", "-k", "preflight")
    assert done.ret != 0
    done.stdout.fnmatch_lines(["*there is no capability 'quick'; there are *"])


def test_what_can_not_be_tested_fails_once(pytester: pytest.Pytester, run: Run) -> None:
    """The preflight says what is missing; the other tests are skipped, which is not passed."""
    pytester.makepyfile(other="factory = lambda store_id: object()")
    done = run(*SUITE, "--ai-storage=other:factory", "-k", "preflight or close")
    outcomes = done.parseoutcomes()
    assert outcomes["failed"] == 1
    assert "passed" not in outcomes
    assert outcomes["skipped"] > 1
    done.stdout.fnmatch_lines(["*opening returned a object, which is no storage: it has no save_progress, *"])


def test_wrong_deviations_fail_once(pytester: pytest.Pytester, run: Run) -> None:
    """A deviation from a contract test that does not exist is told by the preflight."""
    source = dedent(PLAIN).format(inner="MemoryStorage", argument="store_id")
    pytester.makepyfile(plain=f"{source}\nfactory.deviations = {{'test_that_is_none': 'because'}}\n")
    done = run(*SUITE, "--ai-storage=plain:factory", "-k", "preflight")
    assert done.parseoutcomes()["failed"] == 1
    done.stdout.fnmatch_lines(["*plain:factory.deviations: there is no contract test 'test_that_is_none'*"])


def test_what_the_author_supplies_reaches_the_tests(pytester: pytest.Pytester, run: Run) -> None:
    """Attributes of the factory are what class attributes and fixtures are to a subclass."""
    source = dedent(PLAIN).format(inner="MemoryStorage", argument="store_id")
    pytester.makepyfile(
        plain=f"""{source}
from pytest_aistorage import Capability

dropped, closed = [], []

class Crashing:
    def __init__(self, store_id):
        self.store_id = store_id

    def close(self):
        closed.append(self.store_id)

factory.capabilities = ["linearizable", Capability.EXPIRY]
factory.deviations = {{"test_close_is_idempotent": "it is not"}}
factory.withheld = {{Capability.ATOMIC_BATCH: "who knows"}}
factory.raw = lambda store_id: lambda model_name: {{"model_name": model_name, "store": store_id}}
factory.crashable = Crashing
factory.drop = dropped.append
""",
        test_supplied="""
        import plain
        from pytest_aistorage import Capability
        from pytest_aistorage.conformance.test_conformance import TestConformance, supplied

        class TestSupplied(TestConformance):
            def test_hooks(self, ai_storage_opener, clients, ai_storage_raw, ai_storage_crashable):
                assert clients.capabilities == {Capability.LINEARIZABLE, Capability.EXPIRY}
                assert self.deviations == {"test_close_is_idempotent": "it is not"}
                assert self.withheld == {Capability.ATOMIC_BATCH: "who knows"}
                assert ai_storage_raw("m")["store"] == ai_storage_opener.store_id
                assert ai_storage_crashable.store_id != ai_storage_opener.store_id
                assert not plain.closed

        def test_afterwards():
            assert len(plain.dropped) == len(plain.closed) == 1
        """,
    )
    done = run("--ai-storage=plain:factory", "test_supplied.py", "-k", "hooks or afterwards")
    assert done.parseoutcomes()["passed"] == 2, done.stdout.str()


@pytest.mark.parametrize(
    ("arguments", "collected"),
    [
        ([], False),
        (["."], False),
        (["pytest_aistorage"], False),
        (["pytest_aistorage/conformance"], True),
        (["pytest_aistorage/conformance/test_conformance.py"], True),
        (["--pyargs", "pytest_aistorage.conformance"], True),
        (["--pyargs", "pytest_aistorage.conformance.test_conformance"], True),
        (["--pyargs", "pytest_aistorage.conformance", "test_mine.py"], True),
    ],
)
def test_collected_only_if_asked_for(
    pytester: pytest.Pytester, run: Run, arguments: list[str], collected: bool
) -> None:
    """A package that is installed below a project's directory does not add its suite to the project's tests."""
    shutil.copytree(Path(pytest_aistorage.__file__).parent, pytester.path / "pytest_aistorage")
    pytester.makepyfile(test_mine="def test_mine(): pass")
    pytester.makeini("[pytest]\npythonpath = .")
    done = run("--collect-only", "-q", "--ai-storage=memory", *arguments, subprocess=True)
    assert ("TestConformance" in done.stdout.str()) is collected, done.stdout.str()


def test_capability_by_name() -> None:
    """By the name of the member or by its value, in any case."""
    for name in ("LINEARIZABLE", "linearizable", Capability.LINEARIZABLE):
        assert capability(name) is Capability.LINEARIZABLE
    assert capability("Survives-Client-Crash") is Capability.SURVIVES_CLIENT_CRASH
    for name in ("", "quick", None, 3):
        with pytest.raises(ConfigurationError, match="there is no capability"):
            capability(name)


def test_references() -> None:
    """A name with a colon, which no URL is."""
    assert is_reference("module:factory")
    assert not any(map(is_reference, ("postgres@17", "sqlite:///x.db", "memory://")))


def test_class_as_a_factory() -> None:
    """Its methods are not taken for what an author supplies, nor is a property for a declaration."""

    class Storage:
        deviations: ClassVar = {"test": "because"}

        @property
        def capabilities(self) -> None: ...

        def drop(self, model_name: str) -> None: ...

    found = Supplied.by(Storage)
    assert (found.capabilities, found.drop, found.deviations) == (None, None, {"test": "because"})


def test_preflight_finds_an_opener_that_can_not_be_pickled() -> None:
    """Where the storage declares to be shared between processes, and only there."""

    class Shared(MemoryStorage):
        def __init__(self, name: str) -> None:
            super().__init__(name)
            self.capabilities |= {Capability.SHARED_BETWEEN_PROCESSES}

    (problem,) = preflight(lambda: Shared("preflight"))
    assert problem.startswith(
        "SHARED_BETWEEN_PROCESSES is declared, and the opener can't be given to another process"
    )
    assert preflight(lambda: MemoryStorage("preflight")) == []


def test_preflight_leaves_to_the_tests_what_they_find() -> None:
    """A save that raises, and a client that sees only what was there when it was opened, can be tested."""

    class Refusing(MemoryStorage):
        def _save(self, *_: object) -> None:  # type: ignore[override]
            raise OSError

    class Stale(MemoryStorage):
        def __init__(self, name: str) -> None:
            super().__init__(name)
            self.seen = {record.model_name: record for record in self.load_progress()}

        def _get(self, model_name: str) -> object:  # type: ignore[override]
            return self.seen.get(model_name)

    keeper = MemoryStorage("stale")
    assert preflight(lambda: Refusing("refusing")) == []
    assert preflight(lambda: Stale("stale")) == []
    keeper.close()
