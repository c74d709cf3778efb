"""When a value that came is the value that was expected: types count, and so does what Python calls equal."""

from __future__ import annotations

from datetime import datetime
from typing import Any

__all__ = ["same_value"]


def same_value(expected: Any, actual: Any) -> bool:
    """Compare two values of a record with their types; 0.0 is not -0.0, and a moment in UTC not one elsewhere."""
    if type(expected) is not type(actual):
        return False
    if isinstance(expected, dict):
        return expected.keys() == actual.keys() and all(
            same_value(expected[key], actual[key]) for key in expected
        )
    if isinstance(expected, list):
        return len(expected) == len(actual) and all(map(same_value, expected, actual))
    if isinstance(expected, datetime):
        return bool(expected == actual and expected.utcoffset() == actual.utcoffset())
    return bool(expected == actual) and (expected != 0 or str(expected) == str(actual))
