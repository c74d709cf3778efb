"""The small storages that the mutants of races and crashes are made of keep what they declare."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from mutants.small import DictStorage, FileOfJSON, Small, SQLiteStorage

from pytest_aistorage import Capability
from pytest_aistorage.conformance.contract import Clients, not_applicable
from pytest_aistorage.conformance.contract.crashes import CrashContract
from pytest_aistorage.conformance.contract.interleavings import InterleavingContract
from pytest_aistorage.conformance.contract.stress import StressContract
from pytest_aistorage.conformance.contract.undeclared import UndeclaredContract

CONTRACTS = (InterleavingContract, StressContract, CrashContract, UndeclaredContract)
CASES = [
    pytest.param(storage, contract, test, id=f"{storage.__name__}-{test.removeprefix('test_')}")
    for storage in (DictStorage, FileOfJSON, SQLiteStorage)
    for contract in CONTRACTS
    for test in vars(contract)
    if test.startswith("test_") and not not_applicable(getattr(contract, test), storage.capabilities)
]


@pytest.mark.parametrize(("storage", "contract", "test"), CASES)
def test_small_storage_is_green(storage: type[Small], contract: Any, test: str, tmp_path: Path) -> None:
    """Nothing is found where no fault is planted, in storages that share no line with ours."""
    method = getattr(contract(), test)
    opener: Any = functools.partial(storage, f"{storage.scheme}://{tmp_path}/{uuid4().hex}")
    with Clients(opener) as clients:
        given = {"storage": clients.open, "clients": lambda: clients, "ai_storage_crashable": lambda: None}
        wanted = method.__code__.co_varnames[1 : method.__code__.co_argcount]
        method(**{name: given[name]() for name in wanted})


@pytest.mark.parametrize(
    ("storage", "test"),
    [
        (DictStorage, "test_undeclared_linearizability_is_not_there"),
        (SQLiteStorage, "test_undeclared_survival_of_client_crash_is_not_there"),
    ],
)
@pytest.mark.parametrize("said_by", ["class", "storage"])
def test_a_reason_withholds_a_guarantee(
    storage: type[Small], test: str, said_by: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is kept and not declared for a written reason is inconclusive, with the reason."""
    capability = Capability.LINEARIZABLE if storage is DictStorage else Capability.SURVIVES_CLIENT_CRASH
    monkeypatch.setattr(storage, "capabilities", storage.capabilities - {capability})
    contract = UndeclaredContract()
    holder = contract if said_by == "class" else storage
    monkeypatch.setattr(holder, "withheld", {capability: "a failover loses writes"}, raising=False)
    opener: Any = functools.partial(storage, f"{storage.scheme}://{tmp_path}/{uuid4().hex}")
    method = getattr(contract, test)
    wanted = method.__code__.co_varnames[1 : method.__code__.co_argcount]
    with Clients(opener) as clients:
        given = {name: clients.open() if name == "storage" else clients for name in wanted}
        with pytest.raises(pytest.skip.Exception, match="a failover loses writes"):
            method(**given)


def test_an_opener_that_returns_nothing_is_named() -> None:
    """A forgotten ``return`` is told as that, not as a None without attributes."""
    forgetful: Any = dict[str, Any]().get
    with Clients(functools.partial(forgetful, "")) as clients:
        with pytest.raises(pytest.fail.Exception, match="ai_storage_opener: opening returned None"):
            clients.open()
        clients.close()  # there is nothing to close
