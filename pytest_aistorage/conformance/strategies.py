"""Hypothesis strategies for records and queries: everything the contract allows, with a taste for the traps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from hypothesis import strategies as st

from ..progress import SCALAR_FIELDS, AIProgress, ProgressQuery

__all__ = [
    "ORDERS",
    "RESERVED_KEYS",
    "TRICKY_NAMES",
    "TRICKY_TEXTS",
    "corpora",
    "floats",
    "json_values",
    "metadata",
    "moments",
    "names",
    "progress",
    "queries",
    "texts",
]

ORDERS = tuple(sign + field for field in SCALAR_FIELDS for sign in ("", "-"))
"""Every ``order_by`` that a query can have."""

TRICKY_NAMES = (
    "a",
    "A",  # folded by a case-insensitive collation
    "ä",
    "a\u0308",  # the same letter in another normalization form
    "ß",
    "ss",
    "ſ",
    "İ",
    "ı",
    "a ",  # PAD SPACE collations ignore the blank
    "a\t",
    " a",
    "a\u00a0",
    "a\u200b",  # zero width: ignored by the Unicode collation algorithm
    "a-b",  # punctuation too, in many locales
    "ab",
    "a%",  # wildcards of LIKE, GLOB and Redis' KEYS
    "a_",
    "a*",
    "a?",
    "[a]",
    "a\\",
    "'a'",
    "' OR '1'='1",
    "a'; DROP TABLE ai_progress; --",
    '"a"',
    "a/b",
    "../a",
    "a:b",
    "a\nb",
    "a.",
    "a..",
    "a  b",
    "a b",
    "a+b",
    "a%20b",
    "a{}",
    "a#",
    "a.b",
    "A\u00df",
    "\u0130a",
    "a\r",
    "a\n",
    "\ta",
    "\x01a",
    "\x7f",
    "1",
    "01",
    "1.0",
    "-1",
    "１",
    ".",
    "..",
    "/",
    "null",
    "None",
    "\u00e9",
    "\uffff",  # by UTF-16 code units it comes behind the next one
    "\U00010000",
    "\U0010ffff",
    "\u05d0",
    "😀",
)
"""Names that one store or another takes for each other, or can't keep; all of them differ."""

TRICKY_TEXTS = (
    *("", " ", "  ", "a ", " a", "\t", "\n", "\r", "\r\n", "\x01", "\x0b", "\x1b", "\x1f", "\x7f", "\x85"),
    *(
        '"',
        "'",
        "''",
        "`",
        "\\",
        "\\\\",
        "\\n",
        "\\u0041",
        "\\ud800",
        "\\0",
        "/",
        "\\/",
        ";--",
        "$1",
        ":a",
        "?",
    ),
    *(
        "%",
        "%%",
        "%s",
        "%20",
        "{}",
        "{0}",
        "${a}",
        "&amp;",
        "<b>",
        "]]>",
        "*",
        "a,b",
        "\ufeff",
        "\u200b",
        "\u00ad",
    ),
    *(
        "é",
        "e\u0301",
        "ﬁ",
        "Å",
        "\u212b",
        "ß",
        "İ",
        "日本語",
        "עברית",
        "😀👩\u200d👩\u200d👧",
        "\u2028",
        "\u2029",
    ),
    *("\ue000", "\ufffd", "\uffff", "\U00010000", "\U0010ffff", "null", "true", "1", "1e5", "-0", "NaN"),
)
"""Texts that one encoding, parser or template or another changes."""

RESERVED_KEYS = (
    *(
        "version",
        "model_name",
        "mse",
        "metadata",
        "created_at",
        "id",
        "_id",
        "_private",
        "__proto__",
        "__type__",
    ),
    *(
        "$ref",
        "$set",
        "a.b",
        "a..b",
        "a[0]",
        "a-b",
        "a:b",
        "@type",
        "#",
        "*",
        "0",
        "-1",
        "k",
        "K",
        "k ",
        "type",
    ),
)
"""Keys that mean something to one store or another."""

_CHARACTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
_ZONES = (UTC, *(timezone(timedelta(minutes=minutes)) for minutes in (-720, -210, 60, 345, 840)))
_INT64 = st.integers(-(2**63), 2**63 - 1)


def texts(max_size: int = 12) -> st.SearchStrategy[str]:
    """Any text that a store keeps."""
    return st.text(_CHARACTERS, max_size=max_size)


def names() -> st.SearchStrategy[str]:
    """Model names."""
    return (
        st.sampled_from(TRICKY_NAMES)
        | st.text(_CHARACTERS, min_size=1, max_size=20)
        | st.builds("".join, st.lists(st.sampled_from("aA äß😀."), min_size=1, max_size=255))
    )


def floats() -> st.SearchStrategy[float]:
    """Finite 64-bit floats."""
    extremes = [
        0.0,
        -0.0,
        1.0,
        0.1,
        1 / 3,
        5e-324,
        2.2250738585072014e-308,
        1.7976931348623157e308,
        1e16,
        1e-7,
        16777217.0,
    ]
    return st.sampled_from(extremes) | st.floats(allow_nan=False, allow_infinity=False)


def moments() -> st.SearchStrategy[datetime]:
    """Aware datetimes in many zones; one day short of the limits, which are tested by example."""
    return st.datetimes(
        datetime(1000, 1, 2), datetime(9999, 12, 30), timezones=st.sampled_from(_ZONES), allow_imaginary=False
    )


def json_values() -> st.SearchStrategy[Any]:
    """What metadata may hold."""
    integers = _INT64 | st.sampled_from([0, 1, 2**53 + 1, 2**63 - 1, -(2**63)])
    leaves = st.none() | st.booleans() | integers | floats() | texts()
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts(4), inner, max_size=3),
        max_leaves=8,
    )


def metadata() -> st.SearchStrategy[dict[str, Any]]:
    """Whole metadata."""
    return st.dictionaries(texts(6), json_values(), max_size=4)


def progress(model_names: st.SearchStrategy[str] | None = None) -> st.SearchStrategy[AIProgress]:
    """Valid records.

    Args:
        model_names: their names; any name by default.
    """
    return st.builds(
        AIProgress,
        model_name=names() if model_names is None else model_names,
        mse=floats(),
        accuracy=st.none() | floats(),
        cross_validation_score=st.none() | floats(),
        training_samples=st.none() | st.sampled_from([0, 2**31 - 1]) | st.integers(0, 2**31 - 1),
        training_start=st.none() | moments(),
        training_end=st.none() | moments(),
        metadata=metadata(),
    )


# Few values, so that records tie, bounds meet values and conditions match.
_NUMBERS = (0.0, 0.1, 0.5, 0.5000000000000001, 1.0, -2.5, 1e300)
_SAMPLES = (0, 1, 1000, 2**31 - 1)
_MOMENTS = (
    datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
    datetime(2024, 2, 29, 12, 0, 0, 1, tzinfo=timezone(timedelta(hours=2))),
    datetime(2024, 2, 29, 10, 0, 0, 1, tzinfo=UTC),
    datetime(2038, 1, 19, 3, 14, 8, tzinfo=UTC),
)
_KEYS = ("k", "K", "a.b", 'q"', "ключ")
# Groups of values that one comparison or another takes for the same.
_ALIKE: tuple[tuple[Any, ...], ...] = (
    (1, 1.0, True, "1", [1], [True]),
    (0, 0.0, False, None, "", "null", [], {}),
    (10**16, 1e16),
    ([1, 2], [2, 1], [1], [1, 1], [1.0]),
    ({"x": 1}, {"x": 1.0}, {"x": 1, "y": None}, {"x": True}),
)
_VALUES = tuple(value for group in _ALIKE for value in group)
_QUERY_NAMES = ("a", "A", "a ", "ab", "aB", "a%b", "a_b", "b", "ä", "\uffff", "\U00010000", "\U0010ffff")


def corpora() -> st.SearchStrategy[list[AIProgress]]:
    """What a query is asked of: some records, of which many share values."""

    def maybe(values: Sequence[Any]) -> st.SearchStrategy[Any]:
        return st.none() | st.sampled_from(values)

    records = st.builds(
        AIProgress,
        model_name=st.sampled_from(_QUERY_NAMES),
        mse=st.sampled_from(_NUMBERS),
        accuracy=maybe(_NUMBERS),
        cross_validation_score=maybe(_NUMBERS),
        training_samples=maybe(_SAMPLES),
        training_start=maybe(_MOMENTS),
        training_end=maybe(_MOMENTS),
        metadata=st.dictionaries(st.sampled_from(_KEYS), st.sampled_from(_VALUES), max_size=3),
    )
    return st.lists(records, min_size=5, max_size=9, unique_by=lambda record: record.model_name)


@st.composite
def queries(draw: st.DrawFn, stored: Sequence[AIProgress]) -> ProgressQuery:
    """Queries of these records: most conditions are met by some of them and not by others.

    Args:
        stored: the records as the storage returned them, stamps included.
    """

    prefixes = sorted({name[:length] for name in _QUERY_NAMES for length in (0, 1, 2)})
    conditions: dict[str, st.SearchStrategy[Any]] = {
        "name_prefix": st.sampled_from(prefixes),
        "min_accuracy": st.sampled_from(_NUMBERS),
        "max_mse": st.sampled_from([record.mse for record in stored]),
        "min_training_samples": st.sampled_from([*_SAMPLES, -1, 2**40]),
        "updated_since": st.sampled_from([record.updated_at for record in stored]),
        "metadata": st.sampled_from(stored).flatmap(lambda record: _conditions(record.metadata)),
        "limit": st.integers(0, 5),
        "after": st.sampled_from(stored),
    }
    # Few at a time: what meets many conditions is mostly nothing, which every fault returns as well.
    # Metadata is the condition with the most ways to be wrong.
    some = st.lists(st.sampled_from(sorted(conditions)), max_size=2, unique=True)
    chosen = draw(some | some.map(lambda names: sorted({*names[:1], "metadata"})))
    given = {name: draw(conditions[name]) for name in chosen}
    return ProgressQuery(order_by=draw(st.sampled_from(ORDERS)), **given)


def _conditions(metadata: Mapping[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Conditions that this metadata meets, or nearly."""
    if not metadata:
        return st.dictionaries(st.sampled_from(_KEYS), st.sampled_from(_VALUES), max_size=2)

    def alike(value: Any) -> st.SearchStrategy[Any]:
        for group in _ALIKE:
            if any(type(value) is type(other) and value == other for other in group):
                return st.just(value) | st.sampled_from(group)
        return st.just(value)

    return st.sampled_from(sorted(metadata)).flatmap(
        lambda key: st.fixed_dictionaries({key: alike(metadata[key])})
    )
