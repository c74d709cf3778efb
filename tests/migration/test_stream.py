"""JSON files read piece by piece: every form, every damage, in bounded memory."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from pytest_aistorage import StorageUnavailableError
from pytest_aistorage.migration import stream
from pytest_aistorage.migration import text as window
from pytest_aistorage.migration.stream import Item, JSONFile

RECORDS: list[dict[str, Any]] = [
    {
        "modelName": f"m{number} – “{number}”\n",
        "mse": number / 7,
        "metadata": {"n": [number, -0.5e-3, "}],{"]},
    }
    for number in range(200)
]
BY_NAME = {record["modelName"]: record for record in RECORDS}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the application keeps its file."""
    return tmp_path / "training_metrics.json"


def items_of(path: Path) -> list[Item]:
    """Everything that is told of a file."""
    with JSONFile(path) as file:
        return list(file)


def values_of(path: Path) -> list[Any]:
    """What is read of a file without damage."""
    items = items_of(path)
    assert [item.problem for item in items] == [None] * len(items)
    assert [item.number for item in items] == list(range(1, len(items) + 1))
    return [item.value for item in items]


FORMS = {
    "list": json.dumps(RECORDS),
    "indented list": json.dumps(RECORDS, indent=2, ensure_ascii=False),
    "by name": json.dumps(BY_NAME),
    "indented by name": json.dumps(BY_NAME, indent=1),
    "lines": "\n".join(map(json.dumps, RECORDS)),
    "lines with blank ones": "\r\n\r\n".join(json.dumps(record, ensure_ascii=False) for record in RECORDS)
    + "\n",
    "indented objects": "\n".join(json.dumps(record, indent=2) for record in RECORDS),
    "by name on lines": "\n".join(json.dumps({record["modelName"]: record}) for record in RECORDS),
}


@pytest.mark.parametrize("chunk", [1, 2, 7, 100, 262144])
@pytest.mark.parametrize("form", FORMS)
def test_each_form_is_read_wherever_it_is_cut(
    path: Path, form: str, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A list, an object by name and JSON Lines give the same records, whatever the pieces that are read."""
    monkeypatch.setattr(window, "CHUNK", chunk)
    text = FORMS[form]
    if chunk < 100:  # each piece is a turn: fewer records do
        part = RECORDS[:3]
        monkeypatch.setattr(stream, "_UNDECIDED", 1)
        text = {
            "list": json.dumps(part),
            "by name": json.dumps({record["modelName"]: record for record in part}),
            "lines": "\n".join(map(json.dumps, part)),
        }.get(form, text)
        expected = part if text is not FORMS[form] else RECORDS
    else:
        expected = RECORDS
    path.write_text(text, encoding="utf-8")
    assert values_of(path) == expected


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_encodings(path: Path, encoding: str) -> None:
    """As Windows writes them, with a byte order mark and without."""
    path.write_text(FORMS["indented list"], encoding=encoding)
    assert values_of(path) == RECORDS


@pytest.mark.parametrize("key", ["mse", "metadata"])
def test_one_record_is_no_object_by_name(path: Path, key: str) -> None:
    """It has an mse of its own, wherever that stands; a model may be called so and have a record."""
    record = {"metadata": {"mse": {}}, "mse": 1, "modelName": "a"}
    path.write_text(json.dumps({key: record[key], **record}))
    assert values_of(path) == [record]
    path.write_text(json.dumps({"mse": {"mse": 1}}))
    assert [(item.name, item.value) for item in items_of(path)] == [("mse", {"mse": 1})]


def test_a_record_longer_than_a_piece_is_one(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its keys come one at a time, and are put together."""
    monkeypatch.setattr(window, "CHUNK", 64)
    record = {f"key{number}": number for number in range(50)} | {"mse": 1, "modelName": "a"}
    path.write_text(json.dumps(record, indent=2))
    assert values_of(path) == [record]


@pytest.mark.parametrize("form", ["list", "by name", "lines", "indented list"])
def test_what_is_whole_before_a_cut_is_read_and_nothing_is_guessed(path: Path, form: str) -> None:
    """Cut off at any byte, a file gives its whole records, and one item that says where it ends."""
    text = FORMS[form].encode()
    rng = random.Random(form)
    for cut in sorted(rng.sample(range(1, len(text) - 2), 150)):
        path.write_bytes(text[:cut])
        *whole, damage = items_of(path)
        if damage.problem is None:  # JSON Lines, cut between two of them
            assert form == "lines"
            whole.append(damage)
        else:
            assert damage.value is None
            assert damage.problem.startswith("no JSON: ")
            assert damage.last == (form != "lines") or "is no UTF-8" in damage.problem
        assert [item.value for item in whole] == RECORDS[: len(whole)]
        # None is missing that was there whole.
        ends = text[:cut].count(b'"}],{"')
        assert len(whole) in (ends, ends - 1)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "no JSON: the file is empty (line 1, column 1)"),
        (" \n ", "no JSON: the file is empty (line 2, column 2)"),
        ("nul", "no JSON: Expecting value (line 1, column 1)"),
        ("12", "a JSON int where a list or an object should be"),
        ('[{"mse": 1}', "no JSON: the list has no end (line 1, column 12)"),
        ('[{"mse": 1},]', "no JSON: no record behind a ',' (line 1, column 13)"),
        ('[{"mse": 1} {"mse": 2}]', "no JSON: no ',' between two records (line 1, column 13)"),
        ('[{"mse": 1}]]', "no JSON: more text behind the end (line 1, column 13)"),
        ('[{"mse": 1}]\n{"mse": 2}', "no JSON: more text behind the end (line 2, column 1)"),
        ('{"mse": 1}{"mse": 2}', "no JSON: more text behind the end (line 1, column 11)"),
        ('{"a": {"mse": 1},}', "no JSON: nothing behind a ',' (line 1, column 18)"),
        (
            '{"a": {"mse": 1} "b"',
            "no JSON: no ',' between two values (line 1, column 18, in the record of 'a')",
        ),
        ('{"a": {"mse": 1}, "b" 1}', "no JSON: no ':' behind a key (line 1, column 23)"),
        ('{"a": {"mse": 1}, b: 1}', "no JSON: no key in quotes (line 1, column 19)"),
        ('{"a": {"mse": 1}, "b": {"ms', "(line 1, column 25, in the record of 'b')"),
        ('{"modelName": "a", "mse": 1, "acc', "(line 1, column 30, in the record of 'a')"),
        ('[{"modelName": "a", "mse": 1x}]', '(line 1, column 29, in the record of "a")'),
        ('[{"a": "\n"}]', "no JSON: Invalid control character at (line 1, column 9)"),
        ("[" * 100_000, "no JSON: too deep to read (line 1, column 2)"),
        ('[{"mse": ' + "1" * 5000 + "}]", "no JSON: Exceeds the limit (4300 digits)"),
    ],
)
def test_damage_is_told_by_its_place(path: Path, text: str, problem: str) -> None:
    """By line and column, and by the model whose record it is in."""
    path.write_text(text)
    found = items_of(path)[-1]
    assert found.problem is not None
    assert problem in found.problem


def test_bytes_that_are_no_text(path: Path) -> None:
    """What stands before them is read; the byte is named."""
    path.write_bytes(b'[{"mse": 1},\n {"mse": 2, "x": "\xff"}, {"mse": 3}]')
    whole, damage = items_of(path)
    assert whole.value == {"mse": 1}
    assert damage.problem == "no JSON: byte 32 of the file is no UTF-8 (line 2, column 18)"
    path.write_bytes(b'[{"mse": 1}]\n\xff')
    assert items_of(path)[-1].problem == "no JSON: byte 14 of the file is no UTF-8 (line 2, column 1)"


def test_broken_lines_don_t_take_the_others_along(path: Path) -> None:
    """A line that a crash has torn, and to which the next was appended, is one item; no half of it is taken."""
    lines = [
        '{"modelName": "a", "mse": 1}',
        '{"modelName": "b", "m{"modelName": "c", "mse": 3}',
        '{"modelName": "d", "mse":',
        '{"modelName": "e", "mse": 5} {"modelName": "f", "mse": 6}',
        '{"modelName": "g", "mse": 7, "mse": 8}',
        "7",
        "[" * 100_000,
        '{"modelName": "h", "mse": 8}',
        '{"modelName": "i", "ms',
    ]
    path.write_text("\n".join(lines))
    found = items_of(path)
    assert [item.value for item in found if item.problem is None] == [
        json.loads(lines[0]),
        7,
        json.loads(lines[7]),
    ]
    problems = [item.problem for item in found if item.problem is not None]
    places = ['(line 2, column 24, in the record of "b")', '(line 3, column 26, in the record of "d")']
    for place, problem in zip(places, problems, strict=False):
        assert place in problem
    assert problems[2] == "no JSON: more text behind the record (line 4, column 29)"
    assert problems[3] == "the key 'mse' comes twice in one object"
    assert "too deep" in problems[4]
    assert not any(item.last for item in found)


def test_a_torn_first_line_is_a_line(path: Path) -> None:
    """The second line says what the file is."""
    path.write_text('{"modelName": "a", "ms\n{"modelName": "b", "mse": 1}\n')
    torn, whole = items_of(path)
    assert torn.problem is not None
    assert whole.value == {"modelName": "b", "mse": 1}


def test_a_key_that_comes_twice_in_a_record(path: Path) -> None:
    """One record is not to be used, and the next one is read; models that come twice both come."""
    path.write_text('[{"mse": 1, "mse": 2}, {"mse": 3}]')
    assert [(item.value, item.problem) for item in items_of(path)] == [
        (None, "the key 'mse' comes twice in one object"),
        ({"mse": 3}, None),
    ]
    path.write_text('{"a": {"mse": 1}, "a": {"mse": 2}}')
    assert [(item.name, item.value) for item in items_of(path)] == [("a", {"mse": 1}), ("a", {"mse": 2})]
    path.write_text('{"mse": 1, "modelName": "a", "modelName": "b"}')
    assert [item.problem for item in items_of(path)] == ["the key 'modelName' comes twice in one object"]


@pytest.mark.parametrize("text", ['[{"mse": 1, "x": "', '{"mse": 1}\n{"x": "'])
def test_a_quote_without_end_does_not_take_all_memory(
    path: Path, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is a limit to one record."""
    monkeypatch.setattr(window, "LONGEST", 1000)
    monkeypatch.setattr(stream, "LONGEST", 1000)
    monkeypatch.setattr(stream, "_LONG_LINE", 1000)
    monkeypatch.setattr(window, "CHUNK", 100)
    path.write_text(text + "y" * 100_000)
    with JSONFile(path) as file:
        *_, damage = file
        assert damage.problem is not None
        assert "1000 characters" in damage.problem
        assert damage.last
        assert file.position < 10_000


def test_what_was_consumed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It grows with each record, and is the file's size in the end."""
    monkeypatch.setattr(window, "CHUNK", 1000)
    path.write_text(FORMS["list"])
    with JSONFile(path) as file:
        seen = [file.consumed for _ in file]
    assert seen == sorted(set(seen))
    text = path.read_bytes()
    for number, place in enumerate(seen[:-1]):
        assert text[:place].count(b'"}],{"]}}') == number + 1
    assert file.consumed == file.size == len(text)


def test_a_file_that_can_t_be_read(tmp_path: Path) -> None:
    """An error of ours, which names it."""
    with pytest.raises(StorageUnavailableError, match="nowhere"):
        JSONFile(tmp_path / "nowhere.json")
    with pytest.raises(StorageUnavailableError, match="directory"):
        JSONFile(tmp_path)
