"""Private servers as a test's marker wants them."""

from __future__ import annotations

import pytest

from pytest_aistorage.servers.supervisor.fsyncs import unsupported


@pytest.mark.skipif(unsupported() is not None, reason=f"power can't be cut here: {unsupported()}")
def test_marker_gives_settings_and_power(pytester, run, local_redis):
    """What was acknowledged is lost by a loss of power, as the settings let it; the function's marker wins."""
    pytester.makepyfile(
        """
        import pytest
        from pytest_aistorage import AIProgress, open_storage

        pytestmark = pytest.mark.ai_storage_server(settings={"appendonly": "no"})

        def kept(server, harm):
            with open_storage(server.create_database()) as storage:
                storage.save_progress(AIProgress(model_name="m", mse=0.5))
                harm()
                server.restart()
                return storage.get_progress("m") is not None

        def test_module(private_redis_server):
            assert not kept(private_redis_server, private_redis_server.kill)

        @pytest.mark.ai_storage_server(power=True, settings={"appendfsync": "no"})
        def test_power(private_redis_server):
            assert not kept(private_redis_server, private_redis_server.cut_power)

        @pytest.mark.ai_storage_server(power=True)
        def test_durable(private_redis_server):
            assert kept(private_redis_server, private_redis_server.cut_power)
        """
    )
    run().assert_outcomes(passed=3)


def test_marker_is_checked(pytester, run, local_redis):
    """A word that it does not know is an error, and names those that it knows."""
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.ai_storage_server(appendonly="no")
        def test_it(private_redis_server): ...
        """
    )
    result = run()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*takes durable=, settings= and power=, not appendonly"])


def test_power_that_can_not_be_cut_is_skipped(pytester, run, local_redis):
    """With the reason, and what to do about it."""
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.ai_storage_server(power=True)
        def test_it(private_redis_server): ...
        """
    )
    result = run("-rs", "--ai-storage-servers=container")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["*the power of redis can't be cut*"])
