"""Reads a page as a browser does, as far as its structure goes, and fails where it is not well-formed."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from typing import Any

__all__ = ["Page"]

_VOID = {"meta", "input", "br", "wbr"}


class Page(HTMLParser):
    """A page that is well-formed, and what is in it.

    Attributes:
        source: all of it.
        found: every tag with its attributes.
        text: all that is neither tag nor script nor style.
        data: what the script is given.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.source = text
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

    def check_self_contained(self) -> None:
        """Fail if it asks a host for anything, or has an attribute that its policy would have to allow."""
        loading = {"link", "img", "iframe", "base", "object", "embed", "a"}
        assert not loading & {tag for tag, _ in self.found}
        for _, attributes in self.found:
            assert not {"src", "href", "style"} & set(attributes)
            assert not any(name.startswith("on") for name in attributes)
        assert not re.search(r"https?:(?!//www\.w3\.org/2000/svg\")|@import|url\(", self.source)
        (policy,) = (one["content"] for one in self.tags("meta") if one.get("http-equiv"))
        assert policy is not None
        assert "unsafe" not in policy
        assert policy.startswith("default-src 'none';")
        for tag in ("style", "script"):
            (content,) = re.findall(rf"<{tag}>(.*?)</{tag}>", self.source, re.DOTALL)
            digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
            assert f"{tag}-src 'sha256-{digest}'" in policy

    def tags(self, name: str, **wanted: str) -> list[dict[str, str | None]]:
        """Return the attributes of the tags of a name; ``class_`` has to be one of their classes."""
        found = [attributes for tag, attributes in self.found if tag == name]
        if "class_" in wanted:
            found = [one for one in found if wanted["class_"] in (one.get("class") or "").split()]
        return found
