"""Storage for AI training progress that does not lose data, and the means to prove it.

The public names, nothing else. They are imported when they are first used: an installed but unused package
costs a test session nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .aio import AsyncAIStorage, open_async_storage
    from .backends.database import DatabaseStorage
    from .backends.file import FileStorage
    from .backends.hybrid import HybridStorage
    from .backends.memory import MemoryStorage
    from .backends.redis import RedisStorage
    from .backends.redis_cluster import RedisClusterStorage
    from .backends.redis_sentinel import RedisSentinelStorage
    from .capabilities import Capability
    from .environment import StorageConfig, get_storage_config
    from .errors import (
        AIStorageError,
        ConfigurationError,
        CorruptStorageError,
        CutoverStepError,
        InvalidProgressError,
        OutcomeUnknownError,
        ServerUnavailableError,
        StorageUnavailableError,
        UnsupportedOperationError,
        VersionConflictError,
    )
    from .migration.dual_write import DualWriteStorage
    from .production import ProductionAIStorage, get_ai_storage
    from .progress import AIProgress, ProgressQuery, StorageInfo
    from .registry import open_storage
    from .storage import AIStorage

__all__ = [
    "AIProgress",
    "AIStorage",
    "AIStorageError",
    "AsyncAIStorage",
    "Capability",
    "ConfigurationError",
    "CorruptStorageError",
    "CutoverStepError",
    "DatabaseStorage",
    "DualWriteStorage",
    "FileStorage",
    "HybridStorage",
    "InvalidProgressError",
    "MemoryStorage",
    "OutcomeUnknownError",
    "ProductionAIStorage",
    "ProgressQuery",
    "RedisClusterStorage",
    "RedisSentinelStorage",
    "RedisStorage",
    "ServerUnavailableError",
    "StorageConfig",
    "StorageInfo",
    "StorageUnavailableError",
    "UnsupportedOperationError",
    "VersionConflictError",
    "get_ai_storage",
    "get_storage_config",
    "open_async_storage",
    "open_storage",
]

_HOMES = {
    **dict.fromkeys(("AIProgress", "ProgressQuery", "StorageInfo"), "progress"),
    "AIStorage": "storage",
    **dict.fromkeys(("AsyncAIStorage", "open_async_storage"), "aio"),
    "Capability": "capabilities",
    **dict.fromkeys(("StorageConfig", "get_storage_config"), "environment"),
    **dict.fromkeys(("ProductionAIStorage", "get_ai_storage"), "production"),
    "open_storage": "registry",
    "DualWriteStorage": "migration.dual_write",
    "DatabaseStorage": "backends.database",
    "FileStorage": "backends.file",
    "HybridStorage": "backends.hybrid",
    "MemoryStorage": "backends.memory",
    "RedisClusterStorage": "backends.redis_cluster",
    "RedisSentinelStorage": "backends.redis_sentinel",
    "RedisStorage": "backends.redis",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{_HOMES.get(name, 'errors')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
