"""The peers are no part of what the other tests install: these are run by ``tox -e peers``."""

from __future__ import annotations

from pytest_aistorage.bench.peers.peer import installed

# Not skipped, which would say that they ought to be there.
collect_ignore_glob = [] if installed("mlflow") and installed("optuna") else ["test_*.py"]
