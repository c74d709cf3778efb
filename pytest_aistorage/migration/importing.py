"""Records into a storage that may hold some of them already: what it holds is never overwritten."""

from __future__ import annotations

from collections.abc import Iterable

from .. import codec
from ..errors import VersionConflictError
from ..progress import AIProgress
from ..storage import AIStorage
from ..validation import checked_progress

__all__ = ["import_records"]


def import_records(storage: AIStorage, records: Iterable[AIProgress]) -> int:
    """Save records that the storage does not hold yet; what it holds is never overwritten.

    A record that is there already, equal but for its stamps, is passed over, so an import that was interrupted is
    taken up by importing again. Each record is saved by itself, with ``expected_version=0``.

    Returns:
        How many records were saved.

    Raises:
        VersionConflictError: another record of a model is there. Nothing was written, unless somebody else wrote it
            meanwhile.
        StorageUnavailableError, OutcomeUnknownError: as for `AIStorage.save_progress`; the records before were saved.
    """
    missing = [record for record in records if not _is_there(storage, record)]
    saved = 0
    for record in missing:
        try:
            storage.save_progress(record, expected_version=0)
        except VersionConflictError:
            if not _is_there(storage, record):
                raise
        else:
            saved += 1
    return saved


def _is_there(storage: AIStorage, record: AIProgress) -> bool:
    found = storage.get_progress(record.model_name)
    if found is None:
        return False
    # As text, in which 1 is not True.
    if codec.fields_to_text(found) != codec.fields_to_text(checked_progress(record)):
        raise VersionConflictError(record.model_name, 0, found.version)
    return True
