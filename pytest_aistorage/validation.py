"""The rules of the record, alike on every backend: what breaks one is refused before anything is written."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from .errors import InvalidProgressError
from .progress import SCALAR_FIELDS, AIProgress, ProgressQuery

__all__ = [
    "MAX_LEVELS",
    "MAX_NAME_LENGTH",
    "checked_batch",
    "checked_batch_size",
    "checked_expected_version",
    "checked_name",
    "checked_progress",
    "checked_query",
    "checked_stored",
    "checked_ttl",
]

MAX_NAME_LENGTH = 255
MAX_LEVELS = 32
_INT32_MAX = 2**31 - 1
_LARGEST_BATCH = _INT32_MAX  # no server takes a larger LIMIT everywhere, and none has so many models
_INT64_MIN, _INT64_MAX = -(2**63), 2**63 - 1
_EARLIEST = datetime(1000, 1, 1, tzinfo=UTC)


def checked_progress(progress: AIProgress) -> AIProgress:
    """Return the record as it will be stored: UTC, floats as floats, -0.0 as 0.0, metadata copied, no stamps.

    Args:
        progress: the record as the caller gave it.

    Raises:
        InvalidProgressError: a field breaks its rule; the error names field and value.
    """
    if not isinstance(progress, AIProgress):
        raise InvalidProgressError("progress", progress, "must be an AIProgress")
    return AIProgress(
        model_name=checked_name(progress.model_name),
        mse=_float("mse", progress.mse),
        accuracy=_optional_float("accuracy", progress.accuracy),
        cross_validation_score=_optional_float("cross_validation_score", progress.cross_validation_score),
        training_samples=_samples("training_samples", progress.training_samples),
        training_start=_moment("training_start", progress.training_start),
        training_end=_moment("training_end", progress.training_end),
        metadata=_metadata("metadata", progress.metadata),
    )


def checked_batch(progresses: Iterable[AIProgress]) -> list[AIProgress]:
    """Return the records of a batch, each checked.

    Raises:
        InvalidProgressError: a record breaks a rule, or a model comes twice.
    """
    if isinstance(progresses, AIProgress) or not isinstance(progresses, Iterable):
        raise InvalidProgressError("progresses", progresses, "must be an iterable of AIProgress")
    records = [checked_progress(progress) for progress in progresses]
    seen: set[str] = set()
    for record in records:
        if record.model_name in seen:
            raise InvalidProgressError("model_name", record.model_name, "must not come twice in a batch")
        seen.add(record.model_name)
    return records


def checked_batch_size(value: object) -> int:
    """Return how many records to fetch at a time, no more than every server takes.

    Raises:
        InvalidProgressError: no int from 1 up.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InvalidProgressError("batch_size", value, "must be an int from 1 up")
    return min(value, _LARGEST_BATCH)


def checked_name(value: object) -> str:
    """Return the model's name as a plain str.

    Raises:
        InvalidProgressError: no str, empty, over 255 characters, or with a NUL or a lone surrogate.
    """
    name = _text("model_name", value)
    if not 1 <= len(name) <= MAX_NAME_LENGTH:
        raise InvalidProgressError("model_name", value, f"must have 1 to {MAX_NAME_LENGTH} characters")
    return name


def checked_expected_version(value: object) -> int | None:
    """Return the version of a compare-and-set; None means that any version will do.

    Raises:
        InvalidProgressError: neither None nor an int from 0 to 2**63 - 1.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _INT64_MAX:
        raise InvalidProgressError("expected_version", value, "must be None or an int from 0 to 2**63 - 1")
    return int(value)


def checked_ttl(value: object) -> timedelta | None:
    """Return the time to live.

    Raises:
        InvalidProgressError: neither None nor a timedelta from 1 ms to 100 years.
    """
    if value is None:
        return None
    if not isinstance(value, timedelta) or not timedelta(milliseconds=1) <= value <= timedelta(days=36525):
        # Redis counts milliseconds: what is shorter would expire at once there and not elsewhere.
        raise InvalidProgressError("ttl", value, "must be None or a timedelta from 1 ms to 100 years")
    return value


def checked_query(query: ProgressQuery) -> ProgressQuery:
    """Return the query with its bounds in stored form.

    Raises:
        InvalidProgressError: a bound has the wrong type, ``order_by`` names no scalar field, ``limit`` is negative.
    """
    if not isinstance(query, ProgressQuery):
        raise InvalidProgressError("query", query, "must be a ProgressQuery")
    order_by = query.order_by
    if not isinstance(order_by, str) or order_by.removeprefix("-") not in SCALAR_FIELDS:
        raise InvalidProgressError(
            "order_by", order_by, f"must be one of {', '.join(SCALAR_FIELDS)}, or -field"
        )
    limit = query.limit
    if limit is not None and (
        isinstance(limit, bool) or not isinstance(limit, int) or not 0 <= limit <= _INT64_MAX
    ):
        raise InvalidProgressError("limit", limit, "must be None or an int from 0 up")
    samples = query.min_training_samples
    if samples is not None:
        samples = _integer("min_training_samples", samples, _INT64_MIN, _INT64_MAX)
    if query.after is not None and not isinstance(query.after, AIProgress):
        raise InvalidProgressError("after", query.after, "must be None or an AIProgress")
    return ProgressQuery(
        name_prefix=None if query.name_prefix is None else _text("name_prefix", query.name_prefix),
        min_accuracy=_optional_float("min_accuracy", query.min_accuracy),
        max_mse=_optional_float("max_mse", query.max_mse),
        min_training_samples=samples,
        updated_since=_moment("updated_since", query.updated_since),
        metadata=None if query.metadata is None else _metadata("metadata", query.metadata),
        order_by=order_by,
        limit=limit,
        after=query.after and _checked_stamped(query.after),
    )


def checked_stored(record: AIProgress) -> AIProgress:
    """Return a record as a storage may return it: every rule kept, and its stamps there.

    Raises:
        InvalidProgressError: a field breaks its rule, or a stamp is missing.
    """
    stamped = _checked_stamped(record)
    for field in ("version", "created_at", "updated_at"):
        if not getattr(stamped, field):
            raise InvalidProgressError(field, getattr(stamped, field), "must be there in a stored record")
    return stamped


def _checked_stamped(record: AIProgress) -> AIProgress:
    """The record in stored form, with the stamps that it has."""
    return dataclasses.replace(
        checked_progress(record),
        version=_integer("version", record.version, 0, _INT64_MAX),
        created_at=_moment("created_at", record.created_at),
        updated_at=_moment("updated_at", record.updated_at),
    )


def _text(field: str, value: object, path: tuple[object, ...] = ()) -> str:
    if not isinstance(value, str):
        raise InvalidProgressError(field, value, "must be a str", path)
    if "\0" in value:
        raise InvalidProgressError(field, value, "must not contain NUL", path)
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise InvalidProgressError(field, value, "must not contain a lone surrogate", path) from None
    # A subclass (an enum's member, say) would come back as plain text anyway; str() might call its __str__.
    return value if type(value) is str else str.__str__(value)


def _float(field: str, value: object) -> float:
    if type(value) is not float:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise InvalidProgressError(field, value, "must be a float")
        try:
            value = float(value)
        except OverflowError:
            raise InvalidProgressError(field, value, "must lie within the range of a 64-bit float") from None
    if not math.isfinite(value):
        raise InvalidProgressError(field, value, "must be finite")
    return value + 0.0  # -0.0 + 0.0 is 0.0: JSONB has no negative zero


def _optional_float(field: str, value: object) -> float | None:
    return None if value is None else _float(field, value)


def _integer(field: str, value: object, least: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidProgressError(field, value, "must be an int")
    if not least <= value <= most:
        raise InvalidProgressError(field, value, f"must lie from {least} to {most}")
    return int(value)


def _samples(field: str, value: object) -> int | None:
    return None if value is None else _integer(field, value, 0, _INT32_MAX)


def _moment(field: str, value: object) -> datetime | None:
    if value is None:
        return None
    if not isinstance(value, datetime):
        raise InvalidProgressError(field, value, "must be a datetime")
    try:
        if value.utcoffset() is None:
            raise InvalidProgressError(field, value, "must be aware (have a time zone)")
        moment = value.astimezone(UTC)
    except OverflowError:
        raise InvalidProgressError(field, value, "must lie in the years 1000 to 9999") from None
    except InvalidProgressError:
        raise
    except Exception as error:  # a time zone is anybody's code
        raise InvalidProgressError(
            field, value, f"must have a time zone that works, not {error!r}"
        ) from error
    if moment < _EARLIEST:
        raise InvalidProgressError(field, value, "must lie in the years 1000 to 9999")
    if type(moment) is not datetime:  # a subclass, pandas.Timestamp say, has fields of its own
        moment = datetime.combine(moment.date(), moment.time(), UTC)
    return moment


def _metadata(field: str, value: object) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise InvalidProgressError(field, value, "must be a mapping with str keys")
    return _object(field, value, (), 1)


def _object(field: str, value: Mapping[Any, Any], path: tuple[object, ...], level: int) -> dict[str, Any]:
    copy: dict[str, Any] = {}
    for key, item in value.items():
        name = key if type(key) is str and key.isascii() and "\0" not in key else _text(field, key, path)
        # The commonest values in place: every save comes here, and a call for each would take twice as long.
        kind = type(item)
        if item is None or kind is bool or (kind is str and item.isascii() and "\0" not in item):
            copy[name] = item
        elif kind is float and math.isfinite(item):
            copy[name] = item + 0.0
        else:
            copy[name] = _json(field, item, (*path, key), level + 1)
    return copy


def _json(field: str, value: Any, path: tuple[object, ...], level: int) -> Any:
    kind = type(value)
    if kind is str:
        return _text(field, value, path)
    if value is None or kind is bool:
        return value
    if kind is int:
        if not _INT64_MIN <= value <= _INT64_MAX:
            raise InvalidProgressError(field, value, "must lie within signed 64 bits", path)
        return value
    if kind is float:
        if not math.isfinite(value):
            raise InvalidProgressError(field, value, "must be finite", path)
        return value + 0.0
    if kind is dict or kind is list:
        if level > MAX_LEVELS:
            raise InvalidProgressError(field, value, f"must have at most {MAX_LEVELS} levels", path)
        if kind is dict:
            return _object(field, value, path, level)
        return [_json(field, item, (*path, index), level + 1) for index, item in enumerate(value)]
    for plain, convert in _PLAIN.items():
        if isinstance(value, plain):
            # numpy.float64, OrderedDict, an enum's member: what comes back is the plain type.
            return _json(field, convert(value), path, level)
    raise InvalidProgressError(field, value, "must be str, bool, int, float, None, list or dict", path)


# The unbound methods: str(member) of an enum would give its name.
_PLAIN: dict[type, Callable[[Any], Any]] = {
    str: str.__str__,
    int: int.__int__,
    float: float.__float__,
    dict: dict,
    list: list,
}
