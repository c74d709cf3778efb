"""The contract tests, tested: a planted fault turns the test red that is named for it, and nothing else does."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import Phase, settings
from mutants import MUTANTS, Delegating, Mutant

from pytest_aistorage import open_storage
from pytest_aistorage.conformance import shrinking
from pytest_aistorage.conformance.contract import (
    AIStorageContract,
    Clients,
    contract_tests,
    crashes,
    describing,
    expiry,
    killing,
    not_applicable,
    undeclared,
)
from pytest_aistorage.conformance.hosting import Hosted

NEVER_RED = {
    "test_undeclared_survival_of_server_crash_is_not_there",  # a server that loses nothing may have been lucky
}
"""Contract tests that can only be passed or inconclusive."""


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let Hypothesis find a fault without making it small or keeping it, and wait briefly for an expiry."""
    monkeypatch.setattr(expiry, "_PATIENCE", 0.3)
    monkeypatch.setattr(describing, "_PATIENCE", 1.0)
    monkeypatch.setattr(killing, "PATIENCE", 3.0)
    monkeypatch.setattr(crashes, "PATIENCE", 3.0)
    monkeypatch.setattr(crashes, "_RESTART", 3.0)
    # Every place of one operation shows as much as every place of three.
    monkeypatch.setattr(undeclared, "CRASHES", killing.CRASHES[2:])
    monkeypatch.setattr(shrinking, "_BUDGET", 0)
    before = settings.get_current_profile_name()
    settings.register_profile("mutants", settings(), phases=[Phase.explicit, Phase.generate])
    settings.load_profile("mutants")
    yield
    settings.load_profile(before)


def _run(test: str, storage: type[Delegating], tmp_path: Path) -> None:
    """Run a contract test on a storage around a good one to which the test applies."""
    method: Any = getattr(AIStorageContract(), test)
    url = _good_url(method, getattr(storage, "scheme", None), tmp_path)
    opener: Any = functools.partial(storage, url)
    opener.directory = tmp_path
    with ExitStack() as stack, open_storage(url) as stored, Clients(opener) as clients:

        def raw(model_name: str) -> dict[str, Any] | None:
            record = stored.get_progress(model_name)
            return None if record is None else dataclasses.asdict(record)

        storage_under_test = clients.open()
        assert not_applicable(method, clients.capabilities) is None
        wanted = method.__code__.co_varnames[1 : method.__code__.co_argcount]
        # By itself the contract hosts what has no server, where that tells something.
        unhosted = "killed_server" in test or "power_loss" in test
        hosted: Any = getattr(storage, "crashable", None if unhosted else Hosted)
        given: dict[str, Callable[[], object]] = {
            "storage": lambda: storage_under_test,
            "clients": lambda: clients,
            "ai_storage_raw": lambda: raw,
            "ai_storage_crashable": lambda: hosted and stack.enter_context(hosted(opener)),
        }
        method(**{name: given[name]() for name in wanted})


def _good_url(method: Any, scheme: str | None, tmp_path: Path) -> str:
    """The URL of a good storage to which the test applies; of a scheme, if one is given."""
    urls = (f"memory://{uuid4().hex}", f"sqlite:///{tmp_path}/good.db", f"file://{tmp_path}/good.json")
    if scheme is not None:
        return next(url for url in urls if url.startswith(scheme))
    for url in urls:
        with open_storage(url) as good:
            if not not_applicable(method, good.capabilities):
                return url
    return urls[0]  # the mutant declares what the test applies to


@pytest.mark.parametrize("test", contract_tests())
def test_good_storage_is_green(test: str, tmp_path: Path) -> None:
    """Without a fault every contract test passes, on an object that inherits nothing from the package."""
    _run(test, Delegating, tmp_path)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.id)
def test_mutant_turns_its_test_red(mutant: Mutant, tmp_path: Path) -> None:
    """The planted fault fails the contract test that is named for it, by an assertion."""
    with pytest.raises((AssertionError, pytest.fail.Exception, *mutant.errors)) as failure:
        _run(mutant.test, mutant.storage, tmp_path)
    assert str(failure.value).strip(), "the test fails without a word"


def test_every_contract_test_has_a_mutant() -> None:
    """No contract test is without a fault that it was seen to find, and no fault without its test."""
    tests = set(contract_tests())
    planted = {mutant.test for mutant in MUTANTS}
    assert tests - planted == NEVER_RED, "contract tests that no mutant turns red"
    assert planted - tests == set(), "mutants for tests that do not exist"


def test_mutants_are_told_apart() -> None:
    """Each pair of a mutant and a test comes once, and each mutant says what its fault is."""
    ids = [mutant.id for mutant in MUTANTS]
    assert len(ids) == len(set(ids))
    assert all(mutant.storage.__doc__ for mutant in MUTANTS)
