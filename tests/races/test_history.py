"""Histories and their text form."""

from __future__ import annotations

import json

import pytest

from pytest_aistorage.errors import ConfigurationError
from pytest_aistorage.races import Fault, History, Operation, Part


def test_history_survives_its_text_form(tmp_path):
    """What is written as JSON Lines is read back as it was, faults, parts and all."""
    history = History(
        [
            Operation(1, "save", "ärger", 0, 5, version=1, base=0, value={"mse": 0.5}),
            Operation(2, "get", "ärger", 1, None, "unknown"),
            Operation(2, "save", "m", 1, 2, "failed", base=3, actual=0, error="VersionConflictError"),
            Operation(3, "load", "", 6, 7, parts=(Part("ärger", 1, {"mse": 0.5}),), source="cache"),
        ],
        [Fault("kill", 3)],
    )
    path = tmp_path / "race.jsonl"
    history.dump(path)
    again = History.load(path)
    assert again.operations == history.operations
    assert again.faults == history.faults
    assert len(again) == 4


def test_history_of_others_needs_few_fields(tmp_path):
    """Process, kind, model, times and what was seen: the rest has defaults, and the first line may be missing."""
    path = tmp_path / "theirs.jsonl"
    line = {"process": 0, "kind": "get", "model_name": "m", "called": 1, "returned": 2, "value": "x"}
    path.write_text(json.dumps(line) + "\n\n")
    assert History.load(path).operations == [Operation(0, "get", "m", 1, 2, value="x")]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[1]", "line 1: an object is expected"),
        ("{", "line 1:"),
        ('{"history": 9}', "format 9 is not known"),
        ('{"process": 0, "kind": "get"}', "called is missing"),
        ('{"process": 0, "kind": "get", "called": 1.5}', "called must be an integer"),
        (f'{{"process": 0, "kind": "get", "called": {10**400}}}', "called must be a 64-bit integer"),
        ('{"process": 0, "kind": "get", "called": 1, "colour": 2}', "'colour'"),
        ('{"process": 0, "kind": "read", "model_name": "m", "called": 1}', "kind 'read'"),
        (
            '{"process": 0, "kind": "get", "model_name": "m", "called": 5, "returned": 4}',
            "returned before it was",
        ),
        ('{"process": 0, "kind": "get", "called": 1}', "model_name is missing"),
        ('{"process": 0, "kind": "get", "model_name": null, "called": 1}', "model_name must be a string"),
        ('{"process": 0, "kind": "get", "model_name": ["m"], "called": 1}', "model_name must be a string"),
        ('{"process": 0, "kind": ["get"], "model_name": "m", "called": 1}', "kind must be a string"),
        (
            '{"process": 0, "kind": "get", "model_name": "m", "called": 1, "version": -1}',
            "must not be negative",
        ),
        ('{"process": 0, "kind": "get", "model_name": "m", "called": 1, "value": NaN}', "NaN is no JSON"),
        (f'{{"process": 0, "kind": "get", "called": 1, "value": {"[" * 100_000}', "recursion"),
        ('{"process": 0, "kind": "load", "called": 1, "parts": "ab"}', "parts must be a list"),
        ('{"process": 0, "kind": "load", "called": 1, "parts": ["ab"]}', r"a part must be \[model_name"),
        (
            '{"process": 0, "kind": "load", "called": 1, "parts": [[7, 1, "a"]]}',
            r"a part must be \[model_name",
        ),
        (
            '{"process": 0, "kind": "load", "called": 1, "parts": [["m", "1", "a"]]}',
            "version must be an integer",
        ),
        ('{"process": 0, "kind": "load", "called": 1, "parts": [["m", -1]]}', "must not be negative"),
        ('{"process": 0, "kind": "load", "called": 1, "parts": [["m", 1], ["m", 2]]}', "a model twice"),
    ],
)
def test_bad_history_is_refused(tmp_path, text, said):
    """What can't be a history raises ConfigurationError with the file, and the line where there is one."""
    path = tmp_path / "bad.jsonl"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=said) as refused:
        History.load(path)
    assert str(path) in str(refused.value)
