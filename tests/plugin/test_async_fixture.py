"""The fixture ``async_ai_storage`` in tests of pytest-asyncio and of AnyIO."""

from __future__ import annotations

import pytest

from pytest_aistorage import AIProgress, Capability

ASYNCIO = """
    import pytest
    from pytest_aistorage import AIProgress

    {marker}
    async def test_it(async_ai_storage, ai_storage_opener):
        assert await async_ai_storage.load_progress() == []
        await async_ai_storage.save_progress(AIProgress(model_name="m", mse=0.5))
        with ai_storage_opener() as other:
            assert other.get_progress("m").version == 1

    {marker}
    async def test_it_is_fresh_again(async_ai_storage):
        assert await async_ai_storage.get_progress("m") is None
"""
BACKENDS = ["memory", "file", "sqlite", "postgres", "redis", "hybrid"]


@pytest.mark.usefixtures("local_postgres", "local_redis")
@pytest.mark.parametrize("mode", ["strict", "auto"])
def test_pytest_asyncio(pytester: pytest.Pytester, run, mode: str) -> None:
    """In both of its modes, on each backend, isolated."""
    pytester.makeini(
        f"[pytest]\nai_storage_backends = {' '.join(BACKENDS)}\nasyncio_default_fixture_loop_scope = function\n"
        "filterwarnings = error"
    )
    pytester.makepyfile(ASYNCIO.format(marker="@pytest.mark.asyncio" if mode == "strict" else ""))
    result = run(f"--asyncio-mode={mode}", subprocess=True)
    result.assert_outcomes(passed=2 * len(BACKENDS))


@pytest.mark.usefixtures("local_postgres", "local_redis")
def test_anyio(pytester: pytest.Pytester, run) -> None:
    """On asyncio and on Trio."""
    pytester.makeini(f"[pytest]\nai_storage_backends = {' '.join(BACKENDS)}")
    pytester.makepyfile(ASYNCIO.format(marker="@pytest.mark.anyio"))
    result = run("-p", "no:asyncio", "-W", "error", subprocess=True)
    result.assert_outcomes(passed=2 * 2 * len(BACKENDS))


def test_chosen_as_its_sibling_is(pytester: pytest.Pytester, run) -> None:
    """Markers, requirements and the option of the command line count alike."""
    pytester.makepyfile(
        """
        import pytest
        from pytest_aistorage import Capability

        def test_default(async_ai_storage): ...

        @pytest.mark.ai_storage("sqlite", "memory")
        def test_named(async_ai_storage): ...

        @pytest.mark.ai_storage("sqlite", "memory", requires=Capability.EXPIRY)
        def test_required(async_ai_storage): ...
        """
    )
    result = run("--collect-only", "-q", "--ai-storage=memory", "-p", "no:asyncio")
    ids = [line.partition("::")[2] for line in result.outlines if "::" in line]
    assert ids == ["test_default[memory]", "test_named[memory]", "test_required[memory]"]


def test_neither_plugin_is_imported(pytester: pytest.Pytester, run) -> None:
    """A test that runs its own event loop needs none of them."""
    pytester.makepyfile(
        """
        import asyncio, sys
        import pytest
        from pytest_aistorage import AIProgress

        @pytest.mark.ai_storage("sqlite")
        def test_it(async_ai_storage):
            saved = asyncio.run(async_ai_storage.save_progress(AIProgress(model_name="m", mse=0.5)))
            assert saved.version == 1
            assert not {"anyio", "trio", "pytest_asyncio"} & set(sys.modules)
        """
    )
    result = run("-p", "no:asyncio", "-p", "no:anyio", subprocess=True)
    result.assert_outcomes(passed=1)


@pytest.mark.ai_storage("memory", "sqlite", requires=Capability.LINEARIZABLE)
def test_both_fixtures_lead_to_one_store(async_ai_storage, ai_storage) -> None:
    """What one saves the other reads."""
    ai_storage.save_progress(AIProgress(model_name="m", mse=0.5))
    assert async_ai_storage.storage.get_progress("m") == ai_storage.get_progress("m")
