"""Races between clients of one store: chosen interleavings, stress runs, and the ledger of what was lost.

`run_schedule` runs one interleaving by its name, `explore` judges all there are, `explore_functions` those of an
application's functions; `run_race` lets many clients loose at once and compares what they were told with what was
kept. `check_linearizable` judges a recorded `History`.
"""

from __future__ import annotations

from .calls import StorageCalls
from .checker import Check, Verdict, Violation, check_linearizable
from .clients import Client, ClientPool
from .controller import LockProbe, Run, Scenario, run_schedule
from .enumeration import schedules
from .errors import NotSharedError, RaceError, StuckError
from .exploration import Bound, Exploration, explore
from .faults import FAULTS, Faults, PlannedFault
from .functions import explore_functions
from .history import Fault, History, Operation, Part
from .judging import linearizable
from .ledger import Balance, balance
from .outcomes import Outcome
from .probes import probe_for
from .schedule import Schedule, Step
from .schedule_history import Recording
from .seams import Failpoints, FileSeams, Seams
from .stress import RaceResult, run_race
from .workloads import (
    BatchesUnderReads,
    Churn,
    Counter,
    DistinctModels,
    Functions,
    ListingUnderWrites,
    Register,
    SameModel,
    Workload,
)

__all__ = [
    "FAULTS",
    "Balance",
    "BatchesUnderReads",
    "Bound",
    "Check",
    "Churn",
    "Client",
    "ClientPool",
    "Counter",
    "DistinctModels",
    "Exploration",
    "Failpoints",
    "Fault",
    "Faults",
    "FileSeams",
    "Functions",
    "History",
    "ListingUnderWrites",
    "LockProbe",
    "NotSharedError",
    "Operation",
    "Outcome",
    "Part",
    "PlannedFault",
    "RaceError",
    "RaceResult",
    "Recording",
    "Register",
    "Run",
    "SameModel",
    "Scenario",
    "Schedule",
    "Seams",
    "Step",
    "StorageCalls",
    "StuckError",
    "Verdict",
    "Violation",
    "Workload",
    "balance",
    "check_linearizable",
    "explore",
    "explore_functions",
    "linearizable",
    "probe_for",
    "run_race",
    "run_schedule",
    "schedules",
]
