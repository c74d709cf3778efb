"""Which backends a test runs on."""

from __future__ import annotations

import pytest

from pytest_aistorage import Capability
from pytest_aistorage.plugin.names import declared

ONE = """
    import pytest
    from pytest_aistorage import Capability

    {marker}
    def test_it(ai_storage):
        assert ai_storage.load_progress() == []
"""


@pytest.fixture
def collected(pytester, run):
    """The ids of the tests that would run."""

    def collected(marker="", *arguments):
        pytester.makepyfile(ONE.format(marker=marker))
        result = run("--collect-only", "-q", *arguments)
        names = [line.partition("::")[2] for line in result.outlines if "::" in line]
        return [name.partition("[")[2].rstrip("]") for name in names], result

    return collected


def test_default(collected):
    """Without a word, four backends."""
    assert collected()[0] == ["memory", "file", "postgres", "redis"]


def test_ini(pytester, collected):
    """The ini option names others, versions too."""
    pytester.makeini("[pytest]\nai_storage_backends = sqlite mysql@mariadb-11.8 redis@valkey-8 postgres@17")
    assert collected()[0] == ["sqlite", "mysql@mariadb-11.8", "redis@valkey-8", "postgres@17"]


def test_marker_replaces(collected):
    """A marker stands instead of the ini option."""
    assert collected('@pytest.mark.ai_storage("sqlite", "redis@8")')[0] == ["sqlite", "redis@8"]


def test_closest_marker_counts(pytester, run):
    """A test's marker stands instead of its class's; what both require, both require."""
    pytester.makepyfile(
        """
        import pytest
        from pytest_aistorage import Capability

        @pytest.mark.ai_storage("memory", "file", "sqlite", requires=Capability.LINEARIZABLE)
        class TestIt:
            def test_class(self, ai_storage): ...

            @pytest.mark.ai_storage(requires=Capability.EXPIRY)
            def test_both(self, ai_storage): ...

            @pytest.mark.ai_storage("sqlite")
            def test_own(self, ai_storage): ...
        """
    )
    result = run("--collect-only", "-q")
    names = [line.rpartition("::")[2] for line in result.outlines if "::" in line]
    assert names == ["test_class[memory]", "test_class[sqlite]", "test_both[memory]", "test_own[sqlite]"]


@pytest.mark.parametrize(
    ("marker", "filter_", "left", "deselected"),
    [
        ("", "sqlite,memory", ["sqlite", "memory"], 0),
        ("", "postgres@17", ["postgres@17"], 0),
        ('@pytest.mark.ai_storage("memory", "file")', "file", ["file"], 1),
        (
            '@pytest.mark.ai_storage("postgres@15", "postgres@17")',
            "postgres",
            ["postgres@15", "postgres@17"],
            0,
        ),
        ('@pytest.mark.ai_storage("postgres@15", "postgres@17")', "postgres@17", ["postgres@17"], 1),
        ('@pytest.mark.ai_storage("postgres")', "postgres@17", ["postgres@17"], 0),
        ('@pytest.mark.ai_storage("memory")', "file", [], 1),
    ],
)
def test_command_line(collected, marker, filter_, left, deselected):
    """--ai-storage replaces the ini option, and filters markers; a kind stands for its versions."""
    names, result = collected(marker, f"--ai-storage={filter_}")
    assert names == left
    assert (f"{deselected} deselected" in result.stdout.str()) == bool(deselected)


def test_requires(pytester, run):
    """What can't meet a requirement is deselected: neither skipped nor failed."""
    pytester.makepyfile(ONE.format(marker="@pytest.mark.ai_storage(requires={Capability.LINEARIZABLE})"))
    run("--ai-storage=memory,file,redis-fake").assert_outcomes(passed=1, deselected=2)


def test_all_deselected(pytester, run):
    """If nothing is left, pytest says so, as for any other filter."""
    pytester.makepyfile(ONE.format(marker='@pytest.mark.ai_storage("memory")'))
    result = run("--ai-storage=file")
    assert result.ret == pytest.ExitCode.NO_TESTS_COLLECTED
    result.assert_outcomes(deselected=1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--ai-storage=postgre"], "no backend is called 'postgre'; known are memory, file, sqlite"),
        (["--ai-storage=hybird"], "no backend is called 'hybird'; known are memory"),
        (["--ai-storage=file@2"], "backend 'file@2': only postgres, redis, mysql have versions"),
        (["--ai-storage=redis@mariadb-8"], "redis has no flavour 'mariadb'"),
        (["-o", "ai_storage_backends=memry"], "ini option ai_storage_backends: no backend is called 'memry'"),
        (["--ai-storage-require=typo"], "--ai-storage-require: no backend is called 'typo'"),
        (["--ai-storage-servers=docker"], "no provider is called 'docker'"),
        (["--ai-storage-servers=sqlite:url"], "no kind of server is called 'sqlite'"),
        (["--ai-storage-url=postgresql://me:secret@host/"], "--ai-storage-url: must be KIND=URL"),
        (["-o", "ai_storage_isolation=schema"], "'schema' is neither tables nor database"),
    ],
)
def test_usage_errors(pytester, run, arguments, message):
    """What is wrong is said in one line, before any test runs, and without a password."""
    pytester.makepyfile(ONE.format(marker=""))
    result = run(*arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    (line,) = [line for line in result.errlines if line.startswith("ERROR")]
    assert message in line
    assert "secret" not in line


@pytest.mark.parametrize(
    ("marker", "message"),
    [
        ('@pytest.mark.ai_storage("memry")', "no backend is called 'memry'; known are memory"),
        ('@pytest.mark.ai_storage("hybird")', "no backend is called 'hybird'"),
        ("@pytest.mark.ai_storage(5)", "the name of a backend is a str, not 5"),
        ("@pytest.mark.ai_storage(require=Capability.EXPIRY)", "unknown argument 'require'"),
        ('@pytest.mark.ai_storage(requires={"expiry"})', "requires={Capability.…}, got 'expiry'"),
    ],
)
def test_typo_in_marker(pytester, run, marker, message):
    """A marker's typo is an error of the collection, in one line."""
    pytester.makepyfile(ONE.format(marker=marker))
    result = run()
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(
        [f"*test_typo_in_marker.py::test_it: @pytest.mark.ai_storage: *{message}*".replace("[", "[[]")]
    )
    assert "Traceback" not in result.stdout.str()


def test_marker_is_registered(pytester, run):
    """Strict markers know it, and --markers explains it."""
    pytester.makepyfile(ONE.format(marker='@pytest.mark.ai_storage("memory")'))
    run("--strict-markers").assert_outcomes(passed=1)
    run("--markers").stdout.fnmatch_lines(["@pytest.mark.ai_storage(*"])


def test_same_backend_for_all_fixtures(pytester, run):
    """A test that asks for the storage and the factory gets each backend once."""
    pytester.makepyfile(
        """
        def test_it(ai_storage, ai_storage_opener, ai_storage_factory):
            assert ai_storage_opener.backend == ai_storage_factory.backend
        """
    )
    run("--ai-storage=memory,file,sqlite").assert_outcomes(passed=3)


def test_getfixturevalue_says_why_not(pytester, run):
    """A fixture that is asked for too late has no backend; the error says what to do."""
    pytester.makepyfile("def test_it(request):\n    request.getfixturevalue('ai_storage')")
    result = run("--ai-storage=memory")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*name it among a test function's arguments*"])


@pytest.mark.ai_storage("memory", "file", "sqlite", "postgres", "redis", "mysql", "hybrid")
def test_declared_is_what_the_storage_declares(ai_storage, ai_storage_opener):
    """Tests are deselected by what their storages would declare."""
    assert ai_storage.capabilities == declared(ai_storage_opener.backend)


@pytest.mark.ai_storage("redis-fake")
def test_a_fake_is_no_evidence(ai_storage, ai_storage_opener):
    """A fake is marked, and meets no required guarantee."""
    assert ai_storage_opener.simulated
    assert declared("redis-fake") == {Capability.EXPIRY}
    assert Capability.SHARED_BETWEEN_PROCESSES not in ai_storage.capabilities
