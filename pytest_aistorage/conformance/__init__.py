"""The conformance suite: subclass `AIStorageContract`, say how to open your storage, and run pytest.

::

    class TestMyStorage(AIStorageContract):
        @pytest.fixture
        def ai_storage_opener(self, tmp_path):
            return functools.partial(MyStorage, tmp_path / "db")

Or, with no code, ``aistorage conformance package.module:factory``, where ``factory(store_id: str)`` returns an open
storage; or, for a registered backend, ``pytest --pyargs pytest_aistorage.conformance --ai-storage=NAME``.

Needs the extra ``conformance``. The names are imported when they are first used: the processes of a race
import this package as well, and need neither pytest nor Hypothesis.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .contract import AIStorageContract, Crashable, RawReader, deviation

__all__ = ["AIStorageContract", "Crashable", "RawReader", "deviation"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import sys

    if f"{__name__}.contract" not in sys.modules:
        import pytest

        # Before the import: only then a failed assertion shows the values that it compared.
        pytest.register_assert_rewrite(f"{__name__}.contract")
    try:
        from . import contract
    except ModuleNotFoundError as error:
        if error.name != "hypothesis":
            raise
        raise ImportError(
            "the conformance suite needs Hypothesis: pip install 'pytest-aistorage[conformance]'"
        ) from error
    return getattr(contract, name)
