"""The contract of a storage, one class a concern; `AIStorageContract` is all of them."""

from __future__ import annotations

from typing import Any

from .bad_input import BadInputContract
from .batches import BatchContract
from .clients import Clients, ContractBase, Opener, not_applicable
from .closing import ClosingContract
from .compare_and_set import CompareAndSetContract
from .crashes import CrashContract
from .describing import DescribingContract
from .deviations import deviation, guard_overrides
from .expiry import ExpiryContract
from .hooks import Crashable, RawReader
from .interleavings import InterleavingContract
from .latencies import LatencyContract
from .listings import ListingContract
from .names import NameContract
from .ownership import OwnershipContract
from .paging import PagingContract
from .queries import QueryContract
from .raw import RawContract
from .records import RecordContract
from .sequences import SequenceContract
from .sharing import SharingContract
from .stress import StressContract
from .undeclared import UndeclaredContract
from .updates import UpdateContract
from .versions import VersionContract

__all__ = [
    "AIStorageContract",
    "Clients",
    "ContractBase",
    "Crashable",
    "Opener",
    "RawReader",
    "contract_tests",
    "deviation",
    "not_applicable",
]


class AIStorageContract(
    RecordContract,
    NameContract,
    OwnershipContract,
    VersionContract,
    CompareAndSetContract,
    UpdateContract,
    BatchContract,
    ListingContract,
    QueryContract,
    PagingContract,
    ExpiryContract,
    BadInputContract,
    SharingContract,
    InterleavingContract,
    StressContract,
    CrashContract,
    UndeclaredContract,
    ClosingContract,
    SequenceContract,
    RawContract,
    DescribingContract,
    LatencyContract,
):
    """What every storage promises, as tests. Subclass it and supply the fixture ``ai_storage_opener``.

    The fixture returns a callable that opens one more client of the same store, which is fresh for every test;
    picklable if the storage declares `Capability.SHARED_BETWEEN_PROCESSES`. A test of a capability that is not
    declared does not apply, and is skipped with that reason.

    A subclass that replaces a contract test does so with a written reason (`deviation`, ``deviations``), which the
    report shows; without one the test fails.

    Attributes:
        capabilities: what the storage declares; None: the attribute of that name of its instances.
    """

    def __init_subclass__(cls, **arguments: Any) -> None:
        """See that no contract test was replaced without a reason."""
        super().__init_subclass__(**arguments)
        guard_overrides(cls, {name: getattr(AIStorageContract, name) for name in contract_tests()})


def contract_tests() -> list[str]:
    """Return the names of all contract tests, in the order of their definition."""
    return [
        name for base in AIStorageContract.__mro__[1:-1] for name in vars(base) if name.startswith("test_")
    ]
