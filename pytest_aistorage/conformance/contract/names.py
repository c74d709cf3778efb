"""Names are compared exactly: each is a model of its own."""

from __future__ import annotations

import unicodedata

from hypothesis import strategies as st

from ...progress import AIProgress
from ...storage import AIStorage
from .. import strategies
from .checks import check_names, check_same, explore, found
from .clients import ContractBase
from .ways import WAYS_IN, check_read, saved_by

__all__ = ["NameContract"]


class NameContract(ContractBase):
    """``model_name``, by every way in and out."""

    area = "records"

    def test_names_are_compared_exactly(self, storage: AIStorage) -> None:
        """Names that differ in case, accents, blanks or normalization form are models of their own, every way."""
        names = strategies.TRICKY_NAMES
        for version, way in enumerate(WAYS_IN, start=1):
            records = [
                AIProgress(model_name=name, mse=index + version / 8) for index, name in enumerate(names)
            ]
            for record in records:
                saved = saved_by(way, storage, [record])[0]
                check_same(f"{way} of model {record.model_name!r} returned", record, saved)
                assert saved.version == version, (
                    f"each of {len(names)} models was saved once by each of {list(WAYS_IN)[:version]}: "
                    f"expected version {version} of {record.model_name!r}, got {saved.version!r}; "
                    "if it is too high, another name was taken for this one"
                )
            check_read(storage, records, f"{way} of", f" and {len(names) - 1} others")

    def test_delete_takes_exactly_that_name(self, storage: AIStorage) -> None:
        """A delete of one of many similar names deletes that model and no other."""
        left = sorted(strategies.TRICKY_NAMES)
        storage.save_many(AIProgress(model_name=name, mse=0.5) for name in left)
        for name in strategies.TRICKY_NAMES:
            done = f"delete_progress({name!r}) of a model with version 1"
            taken = storage.delete_progress(name)
            assert taken == 2, f"{done} returned {taken!r}, expected 2"
            left.remove(name)
            check_names(f"load_progress after {done}", left, storage.load_progress())

    def test_names_of_255_characters_are_kept_whole(self, storage: AIStorage) -> None:
        """A name is counted in characters: 255 of four bytes each fit, and differ in the last or in the first."""
        names = [
            *("😀" * 255, "😀" * 254 + "😁", "😁" + "😀" * 254, "a" * 255, "a" * 254, "a" * 254 + "b"),
            *("a" * 190 + "b", "a" * 63, "a" * 64, "a" * 127 + "é", "b" + "a" * 254, "é" * 128, "é" * 127),
        ]
        for way in WAYS_IN:
            records = [AIProgress(model_name=name, mse=float(index)) for index, name in enumerate(names)]
            saved_by(way, storage, records)
            check_read(storage, records, f"{way} of", f" and {len(names) - 1} others")
        assert len(storage.load_progress()) == len(names), "names that differ at their end were taken for one"

    def test_any_two_names_are_two_models(self, storage: AIStorage) -> None:
        """Two names that differ in any way are two models."""

        def check(first: str, second: str) -> None:
            storage.save_progress(AIProgress(model_name=first, mse=1.0))
            if first != second:
                storage.save_progress(AIProgress(model_name=second, mse=2.0))
                kept = found(storage, first, f"saving {first!r} and then {second!r}")
                assert kept.mse == 1.0, f"saving {second!r} changed {first!r}"
                storage.delete_progress(second)
                found(storage, first, f"saving {first!r} and {second!r}, then deleting {second!r}")
            storage.delete_progress(first)

        similar = strategies.names().flatmap(
            lambda name: st.tuples(st.just(name), st.sampled_from(_alike(name)))
        )
        explore(lambda pair: check(*pair), similar)


def _alike(name: str) -> list[str]:
    """Names that a sloppy comparison takes for this one."""
    forms = [unicodedata.normalize(form, name) for form in ("NFC", "NFD", "NFKC", "NFKD")]
    alike = [
        name.upper(),
        name.lower(),
        name.casefold(),
        name.strip(),
        f"{name} ",
        f" {name}",
        name[:-1],
        *forms,
    ]
    usable = {other for other in alike if 1 <= len(other) <= 255 and other != name}
    return sorted(usable) or ["other"]
