"""Training progress in a directory of JSON files that loses nothing."""

from .storage import DirectoryStorage, factory

__all__ = ["DirectoryStorage", "factory"]
