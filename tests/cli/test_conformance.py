"""``aistorage conformance``: what it runs, what it says of a storage that can't be tested, and its exit status."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from textwrap import dedent

import pytest
from click.testing import CliRunner

from pytest_aistorage.cli import _suite, conformance, main
from pytest_aistorage.conformance.preflight import METHODS

GOOD = """
    from pytest_aistorage import Capability, MemoryStorage


    def factory(store_id):
        return MemoryStorage(store_id)


    class Spoilt:
        missing = None

        def __init__(self, store_id):
            self.inner = MemoryStorage(store_id)

        def __getattr__(self, name):
            if name == self.missing:
                raise AttributeError(name)
            return getattr(self.inner, name)


    def without(name):
        return type("Without", (Spoilt,), {"missing": name})
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An author's own directory, which is the current one; with the modules that a test writes into it."""
    monkeypatch.chdir(tmp_path)

    def write(**modules):
        for name, source in modules.items():
            (tmp_path / f"{name}.py").write_text(dedent(source), encoding="utf-8")

    before = set(sys.modules)
    write.path = tmp_path
    write(storages=GOOD)
    yield write
    for name in set(sys.modules) - before:
        if Path(getattr(sys.modules[name], "__file__", None) or "/").is_relative_to(tmp_path):
            del sys.modules[name]


def refused(*arguments):
    """What the command says of a storage that it can't test."""
    done = CliRunner().invoke(main, ["conformance", *arguments])
    assert done.exit_code == 2, done.output
    assert "pytest_aistorage/" not in done.output, "a traceback of ours"
    return done.output


def test_factory_is_tested(place, aistorage):
    """Tests of the contract run on what the factory of a module in the current directory opens."""
    done = aistorage(
        "conformance", "storages:factory", "-k", "preflight or close", "--effort", "quick", cwd=place.path
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^storages:factory: \d+ passed, .* seed 0", done.stdout, re.MULTILINE)
    assert [path.name for path in place.path.iterdir() if path.is_file()] == ["storages.py"]


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("nowhere:factory", "there is no module 'nowhere'"),
        ("storages.inner:factory", "there is no module 'storages.inner'"),
        ("storages:nothing", "storages has no attribute 'nothing'"),
        ("storages:GOOD.x", "storages has no attribute 'GOOD.x'"),
        ("storages:Capability.EXPIRY", "can't be called"),
        ("storages:factory()", "expected is package.module:factory"),
        (":factory", "expected is package.module:factory"),
    ],
)
def test_factory_that_is_not_there(place, reference, said):
    """One line names the module or attribute, and the signature that is expected."""
    (line,) = refused(reference).splitlines()
    assert said in line
    assert "factory(store_id: str)" in line


def test_factory_of_another_signature(place):
    """The signature that there is, and the one that is expected, in one line."""
    place(other="def factory(path, mode):\n    pass\n")
    (line,) = refused("other:factory").splitlines()
    assert "factory(path, mode)" in line
    assert "factory(store_id: str)" in line


def test_module_that_can_not_be_imported(place):
    """The author's own traceback, from their code on."""
    place(other="from needs import nothing\n", needs="import no_such_module\n")
    first, *rest = refused("other:factory").splitlines()
    assert "importing other raised ModuleNotFoundError: No module named 'no_such_module'" in first
    assert [line for line in rest if line.startswith("  File")] == [
        f'  File "{place.path}/other.py", line 1, in <module>',
        f'  File "{place.path}/needs.py", line 1, in <module>',
    ]


def test_module_that_ends_the_process(place):
    """A script that exits when it is imported is told like any other error."""
    place(other="raise SystemExit('run me alone')\n")
    assert "importing other raised SystemExit: run me alone" in refused("other:factory")


def test_factory_that_raises(place):
    """The author's own traceback, with the cause."""
    place(
        other="""
        def factory(store_id):
            try:
                {}["host"]
            except KeyError as error:
                raise RuntimeError("no host") from error
        """
    )
    said = refused("other:factory")
    assert said.startswith("Error: other:factory: opening a store raised RuntimeError: no host\n")
    assert "KeyError: 'host'" in said
    assert said.count("  File") == 2


@pytest.mark.parametrize("method", METHODS)
def test_storage_without_a_method(place, method):
    """What is missing is named."""
    place(other=f"from storages import without\nfactory = without({method!r})\n")
    assert refused("other:factory").endswith(f"which is no storage: it has no {method}\n")


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("def factory(store_id): ...", "opening returned None instead of an open storage"),
        (
            "async def factory(store_id): ...",
            "opening returned a coroutine: the suite tests storages without async",
        ),
        ("from storages import without; factory = without('type')", "has no attribute `type`"),
        ("from storages import without; factory = without('capabilities')", "no capabilities are declared"),
        (
            "from storages import *\nclass Eager(Spoilt):\n  capabilities = frozenset({Capability.EXPIRY})\n"
            "  expire_now = None\nfactory = Eager",
            "EXPIRY is declared, and the Eager has no expire_now",
        ),
        (
            "from storages import MemoryStorage\ndef factory(store_id): return MemoryStorage()",
            "two clients of one store don't see the same records",
        ),
        (
            "from storages import factory\nfactory.deviations = {'test_that_is_none': 'because'}",
            "factory.deviations: there is no contract test 'test_that_is_none'",
        ),
        (
            "from storages import factory\nfactory.withheld = {'quick': 'because'}",
            "withheld: there is no capability 'quick'; there are ",
        ),
    ],
)
def test_what_is_no_storage(place, source, said):
    """Clear words before the first test, instead of a failure of every test."""
    place(other=source)
    (line,) = refused("other:factory").splitlines()
    assert said in line


def test_capabilities_may_be_named(place, aistorage):
    """A storage whose instances declare nothing is tested as declaring what the command says."""
    place(other="from storages import without\nfactory = without('capabilities')\n")
    arguments = [
        "other:factory",
        "--capability",
        "linearizable",
        "--capability",
        "EXPIRY",
        "--report",
        "r.json",
    ]
    done = aistorage("conformance", *arguments, "-k", "preflight or idempotent", cwd=place.path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert set(json.loads((place.path / "r.json").read_text())["backends"][0]["declared"]) == {
        "expiry",
        "linearizable",
    }


def test_unknown_capability(place):
    """It is named, with those that there are."""
    (line,) = refused("storages:factory", "--capability", "quick").splitlines()
    assert "'quick'" in line
    assert "linearizable" in line


@pytest.mark.parametrize("name", ["oracle", "sqlite@3", "postgres@x"])
def test_unknown_backend(name):
    """One line."""
    (line,) = refused(name).splitlines()
    assert name.partition("@")[0] in line


def test_url_is_refused():
    """It names one store, and every test needs a fresh one; a password in it is not repeated."""
    (line,) = refused("postgresql://user:secret@host/db").splitlines()
    assert "a URL names one store" in line
    assert "secret" not in line


def test_missing_extra(monkeypatch):
    """One line names it."""
    monkeypatch.setattr(conformance.importlib.util, "find_spec", lambda name: None)
    (line,) = refused("memory").splitlines()
    assert "pytest-aistorage[conformance]" in line


def test_failure(place, aistorage):
    """The exit status is 1, and the failed test says what was done, expected and got."""
    place(
        other="""
        from storages import MemoryStorage, Spoilt


        class Forgetful(Spoilt):
            def close(self):
                pass


        factory = Forgetful
        """
    )
    done = aistorage("conformance", "other:factory", "-k", "after_close", "--effort", "quick", cwd=place.path)
    assert done.returncode == 1
    assert "save_progress after close: returned AIProgress(" in done.stdout
    assert "failed: test_operations_after_close_raise\n" in done.stdout
    assert re.search(r"^other:factory: \d failed, .*seed 0", done.stdout, re.MULTILINE)


def test_runs(place, aistorage):
    """Each run takes the next seed, and says in one line what came of it."""
    arguments = ["storages:factory", "--runs", "2", "--seed", "7", "-k", "idempotent"]
    done = aistorage("conformance", *arguments, cwd=place.path)
    assert done.returncode == 0, done.stdout + done.stderr
    first, second, last = done.stdout.splitlines()
    assert first.startswith("run 1 of 2, seed 7: 1 passed, ")
    assert second.startswith("run 2 of 2, seed 8: 1 passed, ")
    assert last == "2 of 2 runs were green, seeds 7 to 8."


def test_runs_stop_at_the_first_failure(place, aistorage):
    """The run that failed is shown, and how many before it were green."""
    place(
        other="""
        import sys
        from storages import MemoryStorage, Spoilt


        class Odd(Spoilt):
            def close(self):
                if "--ai-storage-seed=1" in sys.argv:
                    raise LookupError("the second run")
                self.inner.close()


        factory = Odd
        """
    )
    arguments = ["other:factory", "--runs", "5", "-k", "idempotent"]
    done = aistorage("conformance", *arguments, cwd=place.path)
    assert done.returncode == 1
    assert "LookupError: the second run" in done.stdout
    assert "run 2 of 5, seed 1: 1 failed, " in done.stdout
    assert "run 3" not in done.stdout
    assert "1 of 5 runs were green; the one with --seed 1 was not." in done.stderr


def test_comparison(place, aistorage):
    """What differs from an earlier report; the exit status is 1 where a guarantee stands worse."""
    few = ["storages:factory", "--", "-k", "preflight or first_version_is_one"]
    assert aistorage("conformance", "--report", "r.json", *few, cwd=place.path).returncode == 0
    same = aistorage("conformance", "--compare", "r.json", *few, cwd=place.path)
    assert (same.returncode, same.stderr) == (0, "")
    assert "compared with r.json: nothing differs" in same.stdout
    path = place.path / "r.json"
    path.write_text(path.read_text().replace('"status": "skipped"', '"status": "passed"'))
    worse = aistorage("conformance", "--compare", "r.json", *few, cwd=place.path)
    assert (worse.returncode, worse.stderr) == (1, "pytest ended with status 1, and says above why.\n")
    assert "worse than in r.json: storages:factory: core: kept -> not shown; " in worse.stdout


def test_comparison_of_a_part():
    """A part of the tests shows no guarantee."""
    said = refused("memory", "--compare", "r.json", "-k", "close")
    assert "--compare is about a whole run: leave out -k" in said


def test_nothing_that_runs_is_no_success(place, aistorage):
    """An expression that matches no test."""
    done = aistorage("conformance", "storages:factory", "-k", "no_such_test", cwd=place.path)
    assert (done.returncode, done.stderr) == (1, "No test ran.\n")


def test_server_that_can_not_be_had(aistorage):
    """The exit status is 2, with the reasons and the remedy."""
    done = aistorage("conformance", "redis", "--servers", "url", "-k", "idempotent")
    assert done.returncode == 2
    assert "No test could run: no redis server: url: no URL was given" in done.stderr


def test_the_callers_configuration_is_left_alone(place, aistorage):
    """Neither the ini file, the conftest nor the environment of the place where the command is called matter."""
    (place.path / "pytest.ini").write_text("[pytest]\naddopts = --no-such-option\npython_files = none.py\n")
    place(conftest="raise RuntimeError('not for you')\n", test_mine="def test_mine(): assert False\n")
    environment = {"PYTEST_ADDOPTS": "--no-such-option", "PYTEST_PLUGINS": "no_such_plugin", "CI": "true"}
    done = aistorage("conformance", "storages:factory", "-k", "idempotent", cwd=place.path, **environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not (place.path / ".pytest_cache").exists()
    assert not (place.path / ".hypothesis").exists()


def test_arguments_of_pytest(place, aistorage):
    """What stands behind the dashes goes to pytest, and a plugin can be named there."""
    done = aistorage(
        "conformance", "storages:factory", "-n", "2", "-k", "idempotent", "--", "-vv", cwd=place.path
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "PASSED" in done.stdout
    assert "2 workers" in done.stdout


def test_stores_of_a_factory_leave_no_file(place, aistorage):
    """What a factory puts into the directory for temporary files is removed; ``drop`` gets each id."""
    place(
        other="""
        import functools, os, tempfile
        from pathlib import Path
        from pytest_aistorage import FileStorage


        def factory(store_id):
            return FileStorage(Path(tempfile.gettempdir()) / f"{store_id}.json")


        def drop(store_id):
            with open("dropped", "a") as file:
                print(store_id, file=file)


        factory.drop = drop
        """
    )
    done = aistorage("conformance", "other:factory", "-k", "preflight or idempotent", cwd=place.path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert list(aistorage.place.iterdir()) == []
    dropped = (place.path / "dropped").read_text().split()
    assert len(dropped) == len(set(dropped)) == 3, "the check's, and one a test"
    assert all(store_id.isalnum() and len(store_id) <= 16 for store_id in dropped)


def test_what_counts(tmp_path):
    """Passed is only what ran and passed; what was skipped without an excuse is a failure of the whole."""

    def judged(code=0, **counts):
        found = dict.fromkeys(("failed", "passed", "skipped", "inconclusive"), 0) | counts
        return _suite._judged(code, found, "why")

    assert judged(passed=3, inconclusive=2) == (0, None)
    assert judged(passed=3, failed=1, code=1) == (1, None)
    assert judged(inconclusive=2)[0] == 1
    assert judged(passed=3, skipped=1) == (1, "1 tests did not run, which is not passed: why")
    assert judged(skipped=1) == (2, "No test could run: why")
    assert judged(passed=3, code=4)[0] == 2
    assert judged(passed=3, code=2)[0] == 1


def test_stores_lie_in_memory_where_they_can(tmp_path, monkeypatch):
    """Unless the user has named a place, or memory is short."""
    monkeypatch.delenv("TMPDIR", raising=False)
    monkeypatch.setattr(_suite, "_MEMORY", str(tmp_path))
    monkeypatch.setattr(_suite, "_ENOUGH", 1)
    assert _suite.quickest_place() == str(tmp_path)
    monkeypatch.setattr(_suite, "_ENOUGH", 2**80)
    assert _suite.quickest_place() is None
    monkeypatch.setattr(_suite, "_MEMORY", str(tmp_path / "none"))
    assert _suite.quickest_place() is None
    monkeypatch.undo()
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert _suite.quickest_place() is None
