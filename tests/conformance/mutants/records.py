"""Faults in what is kept of a record."""

# ruff: noqa: D102 -- the class says what is wrong with its method

from __future__ import annotations

import dataclasses
import struct
import unicodedata
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from pytest_aistorage import AIProgress, InvalidProgressError

from .delegating import Change, Delegating, turns_red

Leaf = Callable[[Any], Any]


def changed_leaves(value: Any, change: Leaf) -> Any:
    """Metadata with every text (keys too) and number passed through a function."""
    if isinstance(value, dict):
        return {change(key): changed_leaves(item, change) for key, item in value.items()}
    if isinstance(value, list):
        return [changed_leaves(item, change) for item in value]
    return change(value)


class ChangedMetadata(Delegating):
    """Metadata whose leaves are not kept as they are."""

    def leaf(self, value: Any) -> Any:
        """What is kept of a text, a number, a bool or None."""
        return value

    def kept(self, record: AIProgress) -> AIProgress:
        return dataclasses.replace(record, metadata=changed_leaves(dict(record.metadata), self.leaf))


@turns_red("floats_are_64_bit", "any_record_comes_back_exactly")
class Floats32(Delegating):
    """MySQL's FLOAT: 32 bits."""

    def kept(self, record: AIProgress) -> AIProgress:
        def narrow(value: float | None) -> float | None:
            if value is None:
                return None
            largest = 3.4028234663852886e38
            return float(struct.unpack("f", struct.pack("f", max(-largest, min(value, largest))))[0])

        return dataclasses.replace(record, mse=narrow(record.mse) or 0.0, accuracy=narrow(record.accuracy))


@turns_red("negative_zero_is_stored_as_zero", "ints_given_for_floats_become_floats")
class EchoesInput(Delegating):
    """Returns the numbers as they were given instead of as they are stored."""

    def save_progress(self, progress: AIProgress, **options: Any) -> AIProgress:
        return dataclasses.replace(super().save_progress(progress, **options), mse=progress.mse)


@turns_red("training_samples_reach_the_limits")
class Samples24Bits(Delegating):
    """MySQL's MEDIUMINT."""

    def kept(self, record: AIProgress) -> AIProgress:
        samples = record.training_samples
        return dataclasses.replace(
            record, training_samples=samples if samples is None else samples & 0x7FFFFF
        )


@turns_red("absent_values_stay_absent", "any_record_comes_back_exactly")
class NoneIsZero(Delegating):
    """None comes back as 0."""

    def shown(self, record: AIProgress) -> AIProgress:
        return dataclasses.replace(
            record, accuracy=record.accuracy or 0.0, training_samples=record.training_samples or 0
        )


@turns_red("save_replaces_every_field")
class KeepsOldFields(Delegating):
    """An absent value leaves the stored one as it was: an UPDATE of the given columns only."""

    def kept(self, record: AIProgress) -> AIProgress:
        old = self.inner.get_progress(record.model_name)
        if old is None or record.accuracy is not None:
            return record
        return dataclasses.replace(record, accuracy=old.accuracy)


@turns_red("metadata_is_replaced_not_merged")
class MergesMetadata(Delegating):
    """JSONB's || instead of an assignment."""

    def kept(self, record: AIProgress) -> AIProgress:
        old = self.inner.get_progress(record.model_name)
        merged = {**(old.metadata if old else {}), **record.metadata}
        return dataclasses.replace(record, metadata=merged)


@turns_red("metadata_keeps_types")
class LargeIntsAreFloats(ChangedMetadata):
    """JavaScript's numbers, and MySQL's JSON beyond 64 bits."""

    def leaf(self, value: Any) -> Any:
        return float(value) if type(value) is int and abs(value) > 2**53 else value


@turns_red("metadata_keeps_types", "any_record_comes_back_exactly")
class WholeFloatsAreInts(ChangedMetadata):
    """JSONB's numeric: 1e16 comes back as an int."""

    def leaf(self, value: Any) -> Any:
        whole = type(value) is float and value.is_integer() and abs(value) < 2**63
        return int(value) if whole else value


@turns_red("metadata_keeps_types")
class BoolsAreInts(ChangedMetadata):
    """SQLite knows no bool."""

    def leaf(self, value: Any) -> Any:
        return int(value) if isinstance(value, bool) else value


@turns_red("metadata_keeps_every_text", "any_record_comes_back_exactly")
class NonAsciiMangled(ChangedMetadata):
    """A connection that speaks ASCII."""

    def leaf(self, value: Any) -> Any:
        return value.encode("ascii", "replace").decode() if isinstance(value, str) else value


@turns_red("metadata_keeps_every_text")
class TextsNormalized(ChangedMetadata):
    """Texts come back in one normalization form."""

    def leaf(self, value: Any) -> Any:
        return unicodedata.normalize("NFC", value) if isinstance(value, str) else value


@turns_red("metadata_keeps_every_text")
class EmptyTextIsTrimmed(ChangedMetadata):
    """Blanks around a text are lost."""

    def leaf(self, value: Any) -> Any:
        return value.strip() if isinstance(value, str) else value


@turns_red("metadata_keeps_32_levels")
class FlattensDeepMetadata(Delegating):
    """What is nested deeply is kept as its repr."""

    def kept(self, record: AIProgress) -> AIProgress:
        def flat(value: Any, level: int) -> Any:
            if level > 16:
                return repr(value)
            if isinstance(value, dict):
                return {key: flat(item, level + 1) for key, item in value.items()}
            return [flat(item, level + 1) for item in value] if isinstance(value, list) else value

        return dataclasses.replace(record, metadata=flat(dict(record.metadata), 1))


@turns_red("metadata_may_be_large")
class TruncatesLargeTexts(ChangedMetadata):
    """MySQL's TEXT, not in strict mode."""

    def leaf(self, value: Any) -> Any:
        return value[:65535] if isinstance(value, str) else value


@turns_red("moments_come_back_in_utc_to_the_microsecond", "any_record_comes_back_exactly")
class MicrosecondsDropped(Delegating):
    """MySQL's DATETIME without a precision."""

    def kept(self, record: AIProgress) -> AIProgress:
        start = record.training_start
        return dataclasses.replace(record, training_start=start and start.replace(microsecond=0))


@turns_red("moments_come_back_in_utc_to_the_microsecond")
class ZoneDropped(Delegating):
    """What is stored without its zone comes back naive."""

    def shown(self, record: AIProgress) -> AIProgress:
        end = record.training_end
        return dataclasses.replace(record, training_end=end and end.replace(tzinfo=None))


@turns_red("moments_come_back_in_utc_to_the_microsecond")
class LocalTimeTakenForUtc(Delegating):
    """The wall clock's time is stored, and taken for UTC."""

    def kept(self, record: AIProgress) -> AIProgress:
        start = record.training_start
        return dataclasses.replace(record, training_start=start and start.replace(tzinfo=UTC))


@turns_red("moments_come_back_in_utc_to_the_microsecond")
class OtherZoneShown(Delegating):
    """The same moment, but not in UTC."""

    def shown(self, record: AIProgress) -> AIProgress:
        end = record.training_end
        return dataclasses.replace(record, training_end=end and _in_a_zone(end))


def _in_a_zone(moment: datetime) -> datetime:
    try:
        return moment.astimezone(timezone(timedelta(hours=2)))
    except OverflowError:
        return moment


@turns_red("moments_reach_the_limits")
class MomentsEndIn2038(Delegating):
    """MySQL's TIMESTAMP."""

    def kept(self, record: AIProgress) -> AIProgress:
        start, last = record.training_start, datetime(2038, 1, 19, 3, 14, 7, tzinfo=UTC)
        return dataclasses.replace(record, training_start=start and min(start, last))


class ChangedNames(Delegating):
    """Names that are not kept as they are."""

    def named(self, model_name: str) -> str:
        return self.name(model_name) if isinstance(model_name, str) and model_name else model_name

    def name(self, model_name: str) -> str:
        """What a name is taken for."""
        return model_name

    def kept(self, record: AIProgress) -> AIProgress:
        return dataclasses.replace(record, model_name=self.named(record.model_name))


@turns_red("names_are_compared_exactly", "any_two_names_are_two_models")
class CaseFolded(ChangedNames):
    """MySQL's default collation."""

    def name(self, model_name: str) -> str:
        return model_name.casefold()[:255]


@turns_red("names_are_compared_exactly", "any_two_names_are_two_models")
class TrailingBlanksFolded(ChangedNames):
    """PAD SPACE."""

    def name(self, model_name: str) -> str:
        return model_name.rstrip(" ") or model_name


@turns_red("names_are_compared_exactly")
class NamesNormalized(ChangedNames):
    """The file system of macOS, used as a key-value store."""

    def name(self, model_name: str) -> str:
        return unicodedata.normalize("NFC", model_name)


@turns_red("names_of_255_characters_are_kept_whole")
class NamesCutTo255Bytes(ChangedNames):
    """A column that counts bytes."""

    def name(self, model_name: str) -> str:
        return model_name.encode(errors="surrogatepass")[:255].decode(errors="ignore") or model_name


@turns_red("unknown_model_is_none")
class UnknownIsEmptyRecord(Delegating):
    """A model that was never saved is taken for an empty record."""

    def get_progress(self, model_name: str) -> AIProgress | None:
        return super().get_progress(model_name) or AIProgress(model_name=model_name, mse=0.0)


@turns_red("unknown_model_is_none", by=(KeyError,))
class UnknownRaises(Delegating):
    """A model that was never saved is a KeyError."""

    def get_progress(self, model_name: str) -> AIProgress | None:
        record = super().get_progress(model_name)
        if record is None:
            raise KeyError(model_name)
        return record


@turns_red("changing_the_input_does_not_reach_the_store")
class KeepsTheCallersMetadata(Delegating):
    """The dict that was given is the one that is stored."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._given: dict[str, Any] = {}

    def kept(self, record: AIProgress) -> AIProgress:
        self._given[record.model_name] = record.metadata
        return record

    def shown(self, record: AIProgress) -> AIProgress:
        return dataclasses.replace(record, metadata=self._given.get(record.model_name, record.metadata))


@turns_red("changing_the_output_does_not_reach_the_store", "update_gets_a_record_of_its_own")
class ReturnsItsOwnMetadata(Delegating):
    """The dict that is stored is the one that is returned, to every caller."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._returned: dict[tuple[str, int], AIProgress] = {}

    def shown(self, record: AIProgress) -> AIProgress:
        return self._returned.setdefault((record.model_name, record.version), record)


@turns_red("subclasses_of_plain_types_come_back_plain", by=(InvalidProgressError,))
class RefusesSubclasses(Delegating):
    """Only the plain types will do: no numpy.float64, no enum."""

    def kept(self, record: AIProgress) -> AIProgress:
        if type(record.mse) not in (float, int):
            raise InvalidProgressError("mse", record.mse, "must be a float")
        return record


@turns_red("listings_return_records_exactly")
class ListsWithoutMetadata(Delegating):
    """The listing selects the narrow columns only."""

    def load_progress(self) -> list[AIProgress]:
        return [dataclasses.replace(record, metadata={}) for record in super().load_progress()]


@turns_red("save_returns_what_is_stored")
class SaveReturnsItsOwnClock(Delegating):
    """The client's clock is returned, and the server's is stored."""

    def save_progress(self, progress: AIProgress, **options: Any) -> AIProgress:
        saved = super().save_progress(progress, **options)
        assert saved.updated_at is not None
        return dataclasses.replace(saved, updated_at=saved.updated_at + timedelta(microseconds=3))


@turns_red("change_gets_the_record_and_its_result_is_stored")
class DropsTheResultOfChange(Delegating):
    """update_progress calls the change and returns its result, and stores nothing."""

    def update_progress(self, model_name: str, change: Change) -> AIProgress:
        current = self.inner.get_progress(model_name)
        if current is None or not callable(change):
            return super().update_progress(model_name, change)
        result: AIProgress = change(current)
        return dataclasses.replace(result, version=current.version + 1)
