"""Openers, URLs, factories; backends of others."""

from __future__ import annotations

import gc
import pickle
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_aistorage import AIProgress, Capability, UnsupportedOperationError, open_storage

RECORD = AIProgress(model_name="m", mse=0.5)
OTHER_PROCESS = """
import pickle, sys
opener = pickle.load(sys.stdin.buffer)
with opener() as storage:
    assert storage.get_progress("m").version == 1
    storage.update_progress("m", lambda record: record)
assert "pytest" not in sys.modules
"""


@pytest.mark.ai_storage(
    "file", "sqlite", "postgres", "redis", "mysql", requires=Capability.SHARED_BETWEEN_PROCESSES
)
def test_opener_in_another_process(ai_storage, ai_storage_opener):
    """Pickled, it opens the same store elsewhere, and does not take pytest along."""
    ai_storage.save_progress(RECORD)
    code = [sys.executable, "-c", OTHER_PROCESS]
    subprocess.run(code, input=pickle.dumps(ai_storage_opener), check=True, timeout=60)
    assert ai_storage.get_progress("m").version == 2


@pytest.mark.ai_storage("memory", "file", "sqlite", "postgres", "redis", "mysql")
def test_one_store(ai_storage, ai_storage_opener, ai_storage_url):
    """The storage, each client of the opener, and the URL lead to the same store."""
    with ai_storage_opener() as first:
        first.save_progress(RECORD)
    for opened in (open_storage(ai_storage_url), pickle.loads(pickle.dumps(ai_storage_opener))()):
        with opened:
            assert opened.get_progress("m").version == 1
    ai_storage.close()
    with ai_storage_opener() as last:
        assert last.get_progress("m").version == 1


@pytest.mark.ai_storage("redis-fake")
def test_fake_stays_in_its_process(ai_storage_opener):
    """A fake has no URL and can't be pickled; its clients share it."""
    with pytest.raises(UnsupportedOperationError):
        pickle.dumps(ai_storage_opener)
    with pytest.raises(UnsupportedOperationError):
        _ = ai_storage_opener.url
    with ai_storage_opener() as one, ai_storage_opener() as two:
        one.save_progress(RECORD)
        assert two.get_progress("m").version == 1


@pytest.mark.ai_storage("postgres", "redis", "mysql")
def test_repr_shows_no_password(ai_storage, ai_storage_opener, ai_storage_url):
    """Whatever a failing assertion prints of them, it is no password."""
    password = ai_storage_url.partition("@")[0].rpartition(":")[2]
    assert password
    assert password not in f"{ai_storage!r} {ai_storage_opener!r}"


ALL = pytest.mark.ai_storage("memory", "file", "sqlite", "postgres", "redis", "mysql", "redis-fake")


@ALL
@settings(max_examples=20, deadline=None)
@given(name=st.text("ab", min_size=1))
def test_factory_with_hypothesis(ai_storage_factory, name):
    """Every example has an empty storage of its own."""
    with ai_storage_factory() as storage:
        assert storage.load_progress() == []
        storage.save_progress(AIProgress(model_name=name, mse=0.5))


@ALL
def test_factory_stores_are_apart(ai_storage_factory):
    """Stores that are in use at the same time don't share records; one that is given up is used again."""
    first, opener = ai_storage_factory(), ai_storage_factory.opener()
    second, third = opener(), opener()
    first.save_progress(RECORD)
    assert second.load_progress() == []
    second.save_progress(RECORD)
    second.close()
    del opener, second
    gc.collect()
    with ai_storage_factory() as fourth:
        assert fourth.load_progress() == []
    assert third.get_progress("m").version == 1
    assert first.get_progress("m").version == 1
    made = len(ai_storage_factory._run._others)
    for _ in range(5):
        with ai_storage_factory() as storage:
            assert storage.save_progress(RECORD).version == 1
    third.close()
    first.close()
    assert len(ai_storage_factory._run._others) == made


OVERRIDE = """
    import functools, pytest
    from pytest_aistorage import Capability, open_storage

    class TestMine:
        capabilities = frozenset({{Capability.LINEARIZABLE}})

        @pytest.fixture{params}
        def ai_storage_opener(self, {arguments}):
            return {value}

        def test_it(self, ai_storage):
            assert type(ai_storage).__name__ == "DatabaseStorage"

        @pytest.mark.ai_storage(requires=Capability.EXPIRY)
        def test_no(self, ai_storage): ...

    def test_other(ai_storage):
        assert ai_storage.type in ("memory", "file")
"""


@pytest.mark.parametrize(
    ("params", "arguments", "value", "passed"),
    [
        ("", "tmp_path", "functools.partial(open_storage, f'sqlite:///{tmp_path}/x.db')", 3),
        ("(params=['a', 'b'])", "tmp_path, request", "lambda: open_storage(f'sqlite:///{tmp_path}/x.db')", 4),
    ],
)
def test_overriding_the_opener(pytester, run, params, arguments, value, passed):
    """A class with an opener of its own runs once, on that; its capabilities decide what it can't meet."""
    pytester.makepyfile(OVERRIDE.format(params=params, arguments=arguments, value=value))
    run("--ai-storage=memory,file").assert_outcomes(passed=passed, deselected=passed - 2)


def test_wrapping_the_opener(pytester, run):
    """An opener that asks for ours runs on every backend."""
    pytester.makepyfile(
        """
        import pytest

        @pytest.fixture
        def ai_storage_opener(ai_storage_opener):
            return lambda: ai_storage_opener()

        def test_it(ai_storage):
            assert ai_storage.load_progress() == []

        def test_url(ai_storage_url): ...
        """
    )
    result = run("--ai-storage=memory,file")
    result.assert_outcomes(passed=2, errors=2)
    result.stdout.fnmatch_lines(["*has no attribute url: override ai_storage_url, too"])


def test_backend_by_entry_point(pytester, run, monkeypatch):
    """A registered backend is selected by its name, and says what it can do by an attribute of its class."""
    pytester.makepyfile(
        my_backend="""
        from pytest_aistorage import Capability, MemoryStorage

        class Mine(MemoryStorage):
            type = "mine"
            schemes = ("mine",)

            @classmethod
            def from_url(cls, url, **options):
                return cls(url.partition("://")[2])

            @classmethod
            def fresh_url(cls, tmp_path):
                assert tmp_path.is_dir()
                return f"mine://{tmp_path.name}"

        class Telling(Mine):
            capabilities = frozenset({Capability.EXPIRY})
        """
    )
    info = pytester.mkdir("my_backend-1.dist-info")
    (info / "METADATA").write_text("Name: my-backend\nVersion: 1\n")
    (info / "entry_points.txt").write_text(
        "[pytest_aistorage.backends]\nmine = my_backend:Mine\ntelling = my_backend:Telling\n"
    )
    pytester.makepyfile(
        """
        import pytest, pickle
        from pytest_aistorage import AIProgress, Capability

        @pytest.mark.parametrize("i", range(2))
        def test_it(i, ai_storage, ai_storage_opener):
            assert ai_storage.type == "mine"
            assert ai_storage.load_progress() == []
            ai_storage.save_progress(AIProgress(model_name="m", mse=0.5))
            assert pickle.loads(pickle.dumps(ai_storage_opener))().get_progress("m").version == 1

        @pytest.mark.ai_storage(requires=Capability.LINEARIZABLE)
        def test_linearizable(ai_storage): ...

        @pytest.mark.ai_storage(requires=Capability.SURVIVES_CLOSE)
        def test_survives(ai_storage): ...
        """
    )
    monkeypatch.setenv("PYTHONPATH", str(pytester.path))
    result = run("-rs", "--ai-storage=mine,telling", subprocess=True)
    result.assert_outcomes(passed=5, deselected=2, skipped=1)
    result.stdout.fnmatch_lines(["SKIPPED*needs SURVIVES_CLOSE, which * does not declare"])
    run("--ai-storage=theirs", subprocess=True).stderr.fnmatch_lines(
        ["*known are *, redis-fake, mine, telling"]
    )
