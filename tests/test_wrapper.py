"""What every wrapper shares: it passes everything on, and takes nothing away."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from pytest_aistorage import (
    AIProgress,
    AIStorage,
    ConfigurationError,
    StorageUnavailableError,
    open_storage,
)
from pytest_aistorage.wrapper import WrapperStorage


def test_every_hook_is_forwarded() -> None:
    """A hook that the contract gains must not fall back to its default in the wrapper."""
    hooks = {
        name
        for name, found in vars(AIStorage).items()
        if inspect.isfunction(found) and name.startswith("_") and not name.startswith("__")
    }
    own = {"_need", "_checked_ttl", "_operation", "_guarded"}  # no hooks: what the public methods share
    assert own < hooks
    assert hooks - own <= set(vars(WrapperStorage))


def test_what_a_hybrid_says_is_passed_on() -> None:
    """Whether it goes by its database alone, and what only its cache has; of another storage there is nothing."""
    with WrapperStorage(open_storage("memory://")) as plain:
        assert (plain.degraded, plain.pending_writes, plain.flush()) == (None, 0, 0)
    behind = open_storage("memory://")
    vars(behind).update(degraded="no cache", pending_writes=3, flush=lambda timeout: timeout)
    with WrapperStorage(behind) as wrapper:
        assert (wrapper.degraded, wrapper.pending_writes, wrapper.flush(4.0)) == ("no cache", 3, 4.0)


@pytest.mark.parametrize("scheme", ["memory", "file", "sqlite"])
def test_what_is_closed_behind_it_is_closed(scheme: str, tmp_path: Path) -> None:
    """Nothing is connected anew, in a storage that says it is closed, and health doesn't say that all is well."""
    behind = open_storage("memory://" if scheme == "memory" else f"{scheme}:///{tmp_path}/records")
    wrapper = WrapperStorage(WrapperStorage(behind))
    records = wrapper.iter_progress()
    wrapper.save_progress(AIProgress(model_name="resnet", mse=0.12))
    behind.close()
    assert not wrapper.health_check()
    with pytest.raises(StorageUnavailableError, match="closed"):
        wrapper.save_progress(AIProgress(model_name="resnet", mse=0.11))
    with pytest.raises(StorageUnavailableError, match="closed"):
        next(records)
    wrapper.close()


def test_only_a_storage_is_wrapped() -> None:
    """Anything else is named by its type, not shown."""
    with pytest.raises(ConfigurationError, match="must be an AIStorage, not str"):
        WrapperStorage("redis://:hunter2@host")  # type: ignore[arg-type]
