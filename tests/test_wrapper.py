"""What every wrapper shares: it passes everything on, and takes nothing away."""

from __future__ import annotations

import inspect

import pytest

from pytest_aistorage import AIStorage, ConfigurationError, open_storage
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


def test_only_a_storage_is_wrapped() -> None:
    """Anything else is named by its type, not shown."""
    with pytest.raises(ConfigurationError, match="must be an AIStorage, not str"):
        WrapperStorage("redis://:hunter2@host")  # type: ignore[arg-type]
