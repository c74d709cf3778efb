"""Saving and reading beside what a user would pick instead: MLflow's tracking store, and Optuna's storages."""

from __future__ import annotations

from .measuring import run

__all__ = ["run"]
