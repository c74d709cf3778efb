"""Sequences of operations by several clients, against the specification."""

from __future__ import annotations

import pytest

from ...capabilities import Capability
from ...storage import AIStorage
from ..machine import Disagreement, check_sequences
from .clients import Clients, ContractBase

__all__ = ["SequenceContract"]


class SequenceContract(ContractBase):
    """What no single operation shows."""

    area = "sequences"

    def test_any_sequence_of_operations_agrees_with_the_specification(
        self, storage: AIStorage, clients: Clients
    ) -> None:
        """Whatever several clients do one after another, each result is the one that the specification gives."""
        if Capability.SURVIVES_CLOSE in clients.capabilities:
            storage.close()  # so that a sequence can close the last client
        try:
            check_sequences(clients.opener, clients.capabilities)
        except Disagreement as disagreement:
            said = str(disagreement)
        else:
            return
        pytest.fail(f"clients of one store, one operation after another:\n{said}", pytrace=False)
