"""What the documentation shows of the files in ``deploy/`` stands there."""

from __future__ import annotations

import re

from compose_project import ROOT

EXCERPT = re.compile(r'^```\w+ title="(deploy/[^"]+)"\n(.*?)^```$', re.MULTILINE | re.DOTALL)


def test_each_excerpt_is_one() -> None:
    """Line by line: who copies from the page gets what the tests have run."""
    shown = [
        (page.name, *found.groups())
        for page in (ROOT / "docs" / "guide").glob("*.md")
        for found in EXCERPT.finditer(page.read_text(encoding="utf-8"))
    ]
    assert {file for _, file, _ in shown} >= {"deploy/compose.yaml", "deploy/kubernetes/deployment.yaml"}
    for page, file, excerpt in shown:
        assert excerpt in (ROOT / file).read_text(encoding="utf-8"), f"{page} shows of {file}:\n{excerpt}"
