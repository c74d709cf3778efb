"""The contract, on our own backends."""

from pytest_aistorage.conformance import AIStorageContract


class TestOwnBackends(AIStorageContract):
    """Every backend that ``ai_storage_backends`` in the project's ini names."""
