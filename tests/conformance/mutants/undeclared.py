"""Storages that keep what they do not declare, and one that declares what it does not do."""

# ruff: noqa: D102 -- the class says what is wrong with its method

from __future__ import annotations

from pytest_aistorage import AIProgress, Capability, ProgressQuery
from pytest_aistorage.queries import run_query

from .delegating import Delegating, turns_red
from .small import DictStorage, FileOfJSON, SQLiteStorage


@turns_red("undeclared_sharing_is_not_there")
class SilentlyShared(SQLiteStorage):
    """A database that any process may open, and that says it is of this one."""

    capabilities = SQLiteStorage.capabilities - {
        Capability.SHARED_BETWEEN_PROCESSES,
        Capability.SURVIVES_CLIENT_CRASH,
    }


@turns_red("undeclared_survival_of_close_is_not_there")
class SilentlyThereAfterClose(FileOfJSON):
    """A file that stays, and says that it goes."""

    capabilities = FileOfJSON.capabilities - {Capability.SURVIVES_CLOSE}


@turns_red("undeclared_memory_of_versions_is_not_there")
class SilentlyCounting(DictStorage):
    """Versions go on after a delete, and nobody is told."""

    capabilities = DictStorage.capabilities - {Capability.VERSIONS_NEVER_REUSED}


@turns_red("undeclared_linearizability_is_not_there")
class SilentlyLinearizable(DictStorage):
    """One lock around everything, and no word of it."""

    capabilities = DictStorage.capabilities - {Capability.LINEARIZABLE}


@turns_red("undeclared_atomicity_of_batches_is_not_there")
class SilentlyAtomic(DictStorage):
    """Batches are written under the lock, and nobody is told."""

    capabilities = DictStorage.capabilities - {Capability.ATOMIC_BATCH}


@turns_red("undeclared_snapshot_of_listings_is_not_there")
class SilentlyOfOneMoment(DictStorage):
    """Listings are taken under the lock, and nobody is told."""

    capabilities = DictStorage.capabilities - {Capability.SNAPSHOT_LISTING}


@turns_red("undeclared_survival_of_client_crash_is_not_there")
class SilentlyCrashProof(SQLiteStorage):
    """Transactions that SQLite rolls back when their client has died, and no word of it."""

    capabilities = SQLiteStorage.capabilities - {Capability.SURVIVES_CLIENT_CRASH}


@turns_red("query_fetches_no_more_than_it_returns")
class FetchesEverything(Delegating):
    """A query filters in the client what a listing has fetched."""

    def query_progress(self, query: ProgressQuery) -> list[AIProgress]:
        return list(run_query(query, self.load_progress()))
