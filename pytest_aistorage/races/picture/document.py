"""The HTML around a page that needs nothing else: no network, no other file."""

from __future__ import annotations

import base64
import hashlib

from .escaping import escaped

__all__ = ["html_document"]


def html_document(title: str, body: str, *, style: str, script: str) -> str:
    """Return a page with one style sheet and one script, as text that ends with a line feed.

    The page asks nobody for anything, and its policy allows this style sheet and this script by their hashes: should
    something slip past the escaping, it can't run, either. So no element may have a ``style`` attribute.

    Args:
        title: as text; it is escaped here.
        body: as HTML.
        style: CSS, without the end of its element.
        script: JavaScript, without the end of its element; run when the body is there.
    """
    policy = f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'"
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>{escaped(title)}</title>
<style>{style}</style>
</head>
<body>
{body}
<script>{script}</script>
</body>
</html>
"""


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
