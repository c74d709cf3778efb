"""When two values are the same one, for tiers that tell writes apart by what they wrote."""

from __future__ import annotations

import json
from typing import Any

__all__ = ["identity"]

_encode = json.JSONEncoder(sort_keys=True, default=repr).encode


def identity(value: Any) -> str:
    """Return a text that values share if they are equal and of one type: ``1``, ``1.0`` and ``"1"`` have three.

    Args:
        value: anything that JSON can say; an object of another type stands for its repr.
    """
    return _encode(value)
