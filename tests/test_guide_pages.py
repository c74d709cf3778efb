"""The pages of the guide: what they show in TypeScript, they say in Python as well."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGES = sorted((Path(__file__).parent.parent / "docs" / "guide").glob("*.md"))


def test_there_are_pages() -> None:
    """Each example of the guide is on its page; a directory that was renamed must not pass with nothing."""
    examples = {
        page.stem: count
        for page in PAGES
        if (count := page.read_text(encoding="utf-8").count("```typescript\n"))
    }
    assert examples == {"aws": 1, "configuration": 2, "migration": 2, "monitoring": 2, "storages": 7}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.stem))
def test_each_example_has_its_twin(page: Path) -> None:
    """Behind each block of TypeScript, and before the next, stands one of Python; docs/conftest.py runs those."""
    languages = re.findall(r"^```(typescript|python)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    pairs = list(zip(languages, [*languages[1:], None], strict=True))
    assert all(following == "python" for language, following in pairs if language == "typescript")
