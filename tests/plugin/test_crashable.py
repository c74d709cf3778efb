"""Servers of the built-in backends that a test may kill, and reads around their storages."""

from __future__ import annotations

import pytest

from pytest_aistorage.servers.supervisor.fsyncs import unsupported

STORED = """
    from contextlib import closing

    from pytest_aistorage import AIProgress


    def kept(store):
        with closing(store.opener()) as storage:
            storage.save_progress(AIProgress(model_name="m", mse=0.5))
        store.kill()
        store.restart()
        with closing(store.opener()) as storage:
            return storage.get_progress("m") is not None
"""


def test_server_is_killed_and_comes_back(pytester, run, local_redis, local_postgres):
    """It is not the one that other tests use, and as durable as the backend declares."""
    pytester.makepyfile(
        stored=STORED,
        test_it="""
        from pytest_aistorage import AIProgress, Capability
        from stored import kept

        def test_it(ai_storage, ai_storage_crashable):
            before = ai_storage.save_progress(AIProgress(model_name="m", mse=0.5))
            survives = Capability.SURVIVES_SERVER_CRASH in ai_storage.capabilities
            assert kept(ai_storage_crashable) is survives
            assert ai_storage.get_progress("m") == before
        """,
    )
    run("--ai-storage=postgres,redis").assert_outcomes(passed=2)


def test_server_given_by_url_is_not_killed(pytester, run, redis_server):
    """Nor is another one killed in its place: the test says that it could show nothing."""
    pytester.makepyfile("def test_it(ai_storage_crashable): raise AssertionError")
    arguments = ("--ai-storage=redis", f"--ai-storage-url=redis={redis_server.url}")
    result = run("-rs", "--ai-storage-servers=auto", *arguments)
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["*inconclusive: the redis server was given by URL, *"])


def test_backends_without_a_server(pytester, run):
    """There is nothing to kill, neither for a storage of somebody else's."""
    pytester.makepyfile(
        """
        import pytest
        from pytest_aistorage import MemoryStorage

        def test_ours(ai_storage_crashable):
            assert ai_storage_crashable is None

        class TestTheirs:
            @pytest.fixture
            def ai_storage_opener(self):
                return MemoryStorage

            def test_it(self, ai_storage_crashable, ai_storage_raw):
                assert (ai_storage_crashable, ai_storage_raw) == (None, None)
        """
    )
    run("--ai-storage=memory,file,sqlite").assert_outcomes(passed=4)


def test_no_server_is_started_that_is_not_needed(pytester, run, local_redis):
    """A contract test that does not apply takes none; one that does is inconclusive where none can be had."""
    pytester.makeconftest(
        """
        from pytest_aistorage import ServerUnavailableError
        from pytest_aistorage.plugin import crashable

        def refuse(spec, options, **_):
            raise ServerUnavailableError(str(spec), ["it is asked for"], "Remedy: none.")

        crashable.private_server = refuse
        """
    )
    pytester.makepyfile(
        """
        from pytest_aistorage.conformance import AIStorageContract

        class TestIt(AIStorageContract): ...
        """
    )
    result = run("-rs", "--ai-storage=redis", "-k", "server_loses_nothing or server_crash", subprocess=True)
    result.assert_outcomes(skipped=2)
    result.stdout.fnmatch_lines_random(
        [
            "*not applicable: the storage does not declare SURVIVES_SERVER_CRASH*",
            "*inconclusive: there is no server to kill: no redis server: it is asked for. Remedy: none.*",
        ]
    )


def test_raw_reads(pytester, run, local_redis, local_postgres):
    """Out of the file, or by the server's own client; nothing leads around a storage in memory, or a fake."""
    pytester.makepyfile(
        """
        from pytest_aistorage import AIProgress

        def test_it(ai_storage, ai_storage_opener, ai_storage_raw):
            if ai_storage.type == "memory" or ai_storage_opener.simulated:
                assert ai_storage_raw is None
                return
            for name in ("m", "M ", "a'b%s", "\\u00e4"):
                saved = ai_storage.save_progress(AIProgress(model_name=name, mse=0.5, metadata={"k": [1, None]}))
                fields = ai_storage_raw(name)
                assert {field: getattr(saved, field) for field in fields} == fields
            ai_storage.delete_progress("m")
            assert ai_storage_raw("m") is None
        """
    )
    run("--ai-storage=memory,file,sqlite,postgres,redis,redis-fake").assert_outcomes(passed=6)


@pytest.mark.skipif(unsupported() is not None, reason=f"power can't be cut here: {unsupported()}")
def test_power_of_a_server_is_cut_where_its_backend_survives_that(pytester, run, local_redis, local_postgres):
    """PostgreSQL keeps what it acknowledged; Redis, which declares nothing, has no power to lose."""
    pytester.makepyfile(
        stored=STORED.replace("store.kill()", "store.cut_power()"),
        test_it="""
        import pytest
        from pytest_aistorage import Capability, UnsupportedOperationError
        from stored import kept

        def test_it(ai_storage, ai_storage_crashable):
            if Capability.SURVIVES_POWER_LOSS in ai_storage.capabilities:
                assert kept(ai_storage_crashable)
            else:
                with pytest.raises(UnsupportedOperationError):
                    kept(ai_storage_crashable)
        """,
    )
    run("--ai-storage=postgres,redis").assert_outcomes(passed=2)


def test_stores_without_a_server_say_where_they_are(pytester, run):
    """A directory of its own for each test: what loses its power is that."""
    pytester.makepyfile(
        """
        def test_it(ai_storage_opener, ai_storage):
            ai_storage.load_progress()
            assert ai_storage_opener.directory.is_dir()
        """
    )
    run("--ai-storage=file,sqlite").assert_outcomes(passed=2)
