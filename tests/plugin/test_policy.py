"""What happens where a server can't be had, and what is reported."""

from __future__ import annotations

import re

import pytest

TWO = """
    def test_one(ai_storage): ...
    def test_two(ai_storage): ...
"""
NO_SERVER = ("--ai-storage-servers=url", "--ai-storage=memory,postgres")


@pytest.fixture
def two(pytester):
    """Two tests on each backend."""
    pytester.makepyfile(TWO)


def test_skipped_with_reason_and_remedy(two, run):
    """Each test is skipped, and the end of the run says in one line why and what to do, without being asked."""
    result = run(*NO_SERVER)
    result.assert_outcomes(passed=2, skipped=2)
    (line,) = [line for line in result.outlines if line.startswith("aistorage:")]
    assert line.startswith("aistorage: 2 tests not run on postgres: no postgres server: url: ")
    assert "Remedy: " in line
    assert result.ret == pytest.ExitCode.OK


def test_every_provider_gives_its_reason(two, run, monkeypatch):
    """Where nothing is to be had, the line names each place that was looked at."""
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    result = run("-rs", "--ai-storage=mysql@mysql-9", "--ai-storage-servers=auto")
    result.assert_outcomes(skipped=2)
    line = next(line for line in result.outlines if line.startswith("SKIPPED"))
    for provider in ("url: ", "container: ", "process: ", "embedded: "):
        assert provider in line


def test_fake_without_its_package(two, run, monkeypatch):
    """A missing extra is skipped with the line that installs it."""
    import builtins

    original = builtins.__import__

    def refuse(name, *arguments, **options):
        if name == "fakeredis":
            raise ImportError("no fakeredis", name="fakeredis")
        return original(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", refuse)
    result = run("--ai-storage=redis-fake")
    result.assert_outcomes(skipped=2)
    result.stdout.fnmatch_lines(["*fakeredis is not installed*pip install 'pytest-aistorage[[]fake]'*"])


@pytest.mark.parametrize(
    ("arguments", "environment", "fails"),
    [
        (["--ai-storage-strict"], {}, True),
        ([], {"CI": "true"}, True),
        ([], {"CI": "false"}, False),
        (["--no-ai-storage-strict"], {"CI": "true"}, False),
        (["--ai-storage-strict", "--ai-storage-require=memory"], {}, False),
        (["--ai-storage-require=postgres"], {}, True),
        ([], {"AI_STORAGE_REQUIRE": "memory,postgres"}, True),
        ([], {"CI": "true", "AI_STORAGE_REQUIRE": "memory"}, False),
        (["--ai-storage-require=memory"], {"AI_STORAGE_REQUIRE": "postgres"}, False),
        ([], {"CI": "true", "AI_STORAGE_REQUIRE": ""}, False),
    ],
)
def test_strict(two, run, monkeypatch, arguments, environment, fails):
    """Under CI, and where it is asked for, what is required fails instead of being skipped."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    result = run(*NO_SERVER, *arguments)
    result.assert_outcomes(passed=2, errors=2 * fails, skipped=2 * (not fails))
    if fails:
        result.stdout.fnmatch_lines(["postgres is required: no postgres server: *"])
        assert result.ret == pytest.ExitCode.TESTS_FAILED


@pytest.mark.parametrize(
    ("require", "arguments", "line"),
    [
        ("memory", [], None),
        ("memory,file", ["--ai-storage=memory"], "required, but no test ran on file"),
        (
            "redis-fake,memory,file",
            ["-k", "nothing"],
            "required, but no test ran on redis-fake, memory, file",
        ),
        ("postgres@17", [], "required, but no test ran on postgres@17"),
        ("file", ["--collect-only"], None),
    ],
)
def test_required_but_not_run(two, run, require, arguments, line):
    """A required backend that no test asked for is an error at the end, in one line."""
    result = run("--ai-storage=memory", f"--ai-storage-require={require}", *arguments)
    lines = [text for text in result.outlines if text.startswith("aistorage: ERROR")]
    assert lines == ([f"aistorage: ERROR: {line}"] if line else [])
    assert result.ret == (pytest.ExitCode.TESTS_FAILED if line else pytest.ExitCode.OK)


def test_required_kind_is_met_by_a_version(pytester, run, local_redis):
    """``redis`` is required: a test on any version of it will do, and one by the server's own fixture."""
    pytester.makepyfile("def test_it(redis_server): assert redis_server.kind == 'redis'")
    result = run("--ai-storage-require=redis")
    result.assert_outcomes(passed=1)
    assert result.ret == pytest.ExitCode.OK


def test_servers_are_named(two, run, local_postgres, local_redis):
    """Which server, which version, from where: said before the tests run, and without a password."""
    result = run("--ai-storage=postgres,redis,memory")
    result.assert_outcomes(passed=6)
    (line,) = [line for line in result.outlines if line.startswith("aistorage:")]
    assert re.fullmatch(
        r"aistorage: postgres: PostgreSQL [\d.]+ \((process|embedded)\), "
        r"redis: (Redis|Valkey) [\d.]+ \((process|embedded)\)",
        line,
    )
    assert result.outlines.index(line) < next(
        i for i, text in enumerate(result.outlines) if "named.py" in text
    )


def test_collecting_starts_nothing(two, run, tmp_path, monkeypatch):
    """--collect-only starts no server and makes no directory."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    result = run("--collect-only", "--ai-storage=postgres", subprocess=True)
    assert "aistorage:" not in result.stdout.str()
    assert not list(tmp_path.glob("aistorage*"))


def test_server_fixture_follows_the_selection(pytester, run, local_redis):
    """``redis_server`` is the server that is selected, and what can't be had is skipped like a backend."""
    pytester.makepyfile("def test_it(redis_server): ...")
    result = run("-rs", "--ai-storage=redis@1.2")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["*no redis@1.2 server: *"])


def test_shared_server_refuses_faults(pytester, run, local_redis):
    """A shared server can't be killed; a private one can, and comes back with its data."""
    pytester.makepyfile(
        """
        import time, pytest
        from pytest_aistorage import AIProgress, StorageUnavailableError, UnsupportedOperationError, open_storage

        def test_shared(redis_server):
            with pytest.raises(UnsupportedOperationError):
                redis_server.kill()

        def test_private(private_redis_server, redis_server):
            assert private_redis_server.url != redis_server.url
            with open_storage(private_redis_server.url, durability="append-only") as storage:
                storage.save_progress(AIProgress(model_name="m", mse=0.5))
                private_redis_server.kill()
                with pytest.raises(StorageUnavailableError):
                    storage.get_progress("m")
                private_redis_server.restart()
                deadline = time.monotonic() + 10
                while not storage.health_check() and time.monotonic() < deadline:
                    time.sleep(0.01)
                assert storage.get_progress("m").version == 1
        """
    )
    run().assert_outcomes(passed=2)


def test_url_touches_only_its_own(pytester, run, redis_server, postgres_server, monkeypatch):
    """On a server given by URL, what was there stays, and nothing of ours does."""
    import psycopg
    import redis

    with psycopg.connect(postgres_server.url, autocommit=True) as admin:
        before = {row[0] for row in admin.execute("SELECT datname FROM pg_database")}
        admin.execute("CREATE TABLE IF NOT EXISTS somebodys (id int)")
        admin.execute("INSERT INTO somebodys VALUES (1)")
    client = redis.Redis.from_url(redis_server.create_database())
    url = redis_server.url.rpartition("/")[0] + f"/{client.connection_pool.connection_kwargs['db']}"
    client.set("somebodys", "1")
    monkeypatch.setenv("AI_STORAGE_URL_REDIS", url)
    pytester.makepyfile(
        """
        import pytest
        from pytest_aistorage import AIProgress

        @pytest.mark.parametrize("i", range(2))
        def test_it(i, ai_storage, ai_storage_opener, ai_storage_factory):
            assert ai_storage.load_progress() == []
            ai_storage.save_progress(AIProgress(model_name="m", mse=0.5))
            with ai_storage_opener() as other:
                assert other.get_progress("m").version == 1
            assert ai_storage_factory().load_progress() == []
        """
    )
    result = run(
        "--ai-storage=postgres,redis",
        "--ai-storage-servers=url",
        f"--ai-storage-url=postgres={postgres_server.url}",
    )
    result.assert_outcomes(passed=4)
    assert "(url)" in result.stdout.str()
    assert client.keys() == [b"somebodys"]
    with psycopg.connect(postgres_server.url, autocommit=True) as admin:
        assert {row[0] for row in admin.execute("SELECT datname FROM pg_database")} == before
        assert admin.execute("DELETE FROM somebodys RETURNING id").fetchall() == [(1,)]
        admin.execute("DROP TABLE somebodys")
    client.flushdb()
    client.close()
