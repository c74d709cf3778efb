"""Reads a page as a browser does, as far as its structure goes, and fails where it is not well-formed."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from typing import Any

__all__ = ["Page"]

_VOID = {"meta", "input", "br"}


class Page(HTMLParser):
    """A page that is well-formed, and what is in it.

    Attributes:
        found: every tag with its attributes.
        text: all that is neither tag nor script nor style.
        data: what the script is given.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = self._script = ""
        self.data: Any = None
        self._is_data = False
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        """Open an element."""
        self.found.append((tag, dict(attrs)))
        if tag not in _VOID:
            self.open.append(tag)
            self._script = ""
            self._is_data = ("type", "application/json") in attrs

    def handle_endtag(self, tag):
        """Close the one that was opened last, and no other."""
        assert self.open.pop() == tag
        if tag == "script" and self._is_data:
            self.data = json.loads(self._script)

    def handle_startendtag(self, tag, attrs):
        """Note an element that has nothing in it."""
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data):
        """Note a text."""
        if self.open and self.open[-1] in ("script", "style"):
            self._script += data
        else:
            self.text += data

    def tags(self, name: str, **wanted: str) -> list[dict[str, str | None]]:
        """Return the attributes of the tags of a name; ``class_`` has to be one of their classes."""
        found = [attributes for tag, attributes in self.found if tag == name]
        if "class_" in wanted:
            found = [one for one in found if wanted["class_"] in (one.get("class") or "").split()]
        return found
