"""What a history says, as text that can't be anything else: names of models and values are somebody else's."""

from __future__ import annotations

import json
import re
from html import escape
from typing import Any

__all__ = ["clean", "escaped", "json_in_html"]

# What XML does not allow, what UTF-8 can't encode, and what turns the direction of the text around it.
_FORBIDDEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff\u202a-\u202e\u2066-\u2069]"
)


def clean(text: str) -> str:
    """Replace what can't be shown by U+FFFD, and line feeds by spaces."""
    return _FORBIDDEN.sub("\ufffd", re.sub(r"[\r\n\t\u2028\u2029]", " ", text))


def escaped(text: str) -> str:
    """Return a text for the content, or a quoted attribute, of HTML and XML."""
    return escape(clean(text))


def json_in_html(value: Any) -> str:
    """Return JSON for a script element: nothing in it can end the element, or begin a comment in it."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e")
