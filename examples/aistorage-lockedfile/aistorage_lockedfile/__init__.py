"""Training progress in one JSON file, written so that nothing is lost."""

from .storage import LockedFileStorage, factory

__all__ = ["LockedFileStorage", "factory"]
