"""Names of models and values are text, whatever they are made of."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import pytest

from pytest_aistorage.races.picture.escaping import clean, escaped, json_in_html

HOSTILE = [
    "</script><img src=x onerror=alert(1)>",
    "<!--",
    "]]>",
    "\" onload='alert(1)",
    "a\x00b\x1bc\x7f",
    "\ud800",
    "\u202egnirts",
    "two\nlines\u2028and more",
    "&lt;",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_text_is_content_and_attribute(text):
    """It can be parsed as both, and it can be encoded; what can't be shown is replaced."""
    found = ElementTree.fromstring(f'<a b="{escaped(text)}">{escaped(text)}</a>'.encode())
    assert found.text == found.get("b") == clean(text)


def test_what_can_be_shown_stays():
    """Only what no page can hold, or what turns the direction of the text around it, is replaced."""
    assert clean("resnet-50 · ärger 模型 🎉 </b>") == "resnet-50 · ärger 模型 🎉 </b>"
    assert clean("a\x00\u202e\ud800b") == "a���b"
    assert clean("a\r\nb") == "a  b"


@pytest.mark.parametrize("text", HOSTILE)
def test_json_can_not_end_its_element(text):
    """There is no bracket of a tag in it, and it is read back as it was."""
    found = json_in_html({"name": clean(text)})
    assert "<" not in found
    assert ">" not in found
    assert json.loads(found)["name"] == clean(text)
