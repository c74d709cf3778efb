"""The proof: what is declared, beside what is shown."""

from __future__ import annotations

import functools
import subprocess
import sys

import pytest
from race_machine import KEEPING
from race_stores import BoastingFileStorage, ModestStorage, RenameStorage

from pytest_aistorage.capabilities import Capability
from pytest_aistorage.races import Failpoints, NotSharedError, proof
from pytest_aistorage.races.proof import Evidence, Proof, Verdict, prove
from pytest_aistorage.races.subjects import Store, Subject

SMALL = {"runs": 3, "operations": 200}


def verdicts(found):
    """Every demonstration's verdict."""
    return {name: evidence.verdict for name, evidence in found.evidence.items()}


def test_the_file_loses_every_time(pool, subject_of):
    """20 of 20 runs of each schedule, as it declares."""
    found = prove(subject_of("file"), pool, operations=500)
    for name in ("lost update", "torn read", "crash half-way"):
        evidence = found.evidence[name]
        assert (evidence.lost, evidence.of, evidence.unit) == (20, 20, "runs")
        assert not evidence.promised
        assert evidence.verdict is Verdict.AS_DECLARED
    assert found.evidence["lost update"].what == "version 1 and version 1 acknowledged, version 1 kept"
    assert found.evidence["torn read"].what == "the reader got CorruptStorageError"
    assert found.evidence["crash half-way"].example == "P1:read,P1:truncate,P1:killed"
    assert "all 3 acknowledged records are gone" in found.evidence["crash half-way"].what
    assert found.evidence["stress"].lost > 0
    assert found.as_declared


@pytest.mark.parametrize("name", KEEPING)
def test_the_others_lose_nothing(pool, subject_of, name):
    """No schedule, no crash and no race loses anything of what is declared to be kept."""
    found = prove(subject_of(name), pool, **SMALL)
    assert found.problem is None
    assert found.as_declared
    assert list(found.evidence) == ["lost update", "torn read", "crash half-way", "stress"]
    assert all(evidence.lost == 0 for evidence in found.evidence.values())
    expected = Verdict.NOT_SHOWN if name == "memory" else Verdict.AS_DECLARED
    assert found.evidence["crash half-way"].verdict is expected
    assert found.evidence["stress"].of == 200 + 40 + 40
    assert found.server != ""


def test_a_file_that_boasts_is_caught(pool, tmp_path):
    """Declaring what it can't keep, the naive file contradicts itself in every column."""
    with Subject.of_files("boasting", tmp_path, BoastingFileStorage) as subject:
        found = prove(subject, pool, **SMALL)
    assert set(verdicts(found).values()) == {Verdict.CONTRADICTED}
    assert not found.as_declared


def test_a_storage_that_has_stopped_losing_is_caught(pool):
    """What must lose and doesn't turns red, so that the declaration is mended; luck under stress does not."""
    store = Store(functools.partial(ModestStorage, "modest"), Failpoints())
    with Subject("modest", lambda: store) as subject:
        found = prove(subject, pool, **SMALL)
    assert verdicts(found) == {
        "lost update": Verdict.CONTRADICTED,
        "torn read": Verdict.CONTRADICTED,
        "crash half-way": Verdict.NOT_SHOWN,
        "stress": Verdict.INCONCLUSIVE,
    }
    assert not found.as_declared


def test_a_store_that_is_renamed_is_never_torn(pool, tmp_path):
    """It declares no more than the file, and is caught keeping more: its reads are whole and it survives crashes."""
    with Subject.of_files("rename", tmp_path, RenameStorage) as subject:
        found = verdicts(prove(subject, pool, **SMALL))
    assert found["lost update"] is Verdict.AS_DECLARED
    assert found["torn read"] is found["crash half-way"] is Verdict.CONTRADICTED


def test_a_race_that_can_not_be_run_is_no_pass(pool, subject_of, monkeypatch):
    """The proof breaks off with the reason, and does not count as shown."""

    def strangers(*_arguments, **_options):
        raise NotSharedError("client 2 does not see what client 1 wrote")

    monkeypatch.setattr(proof, "run_race", strangers)
    found = prove(subject_of("memory"), pool, **SMALL)
    assert found.problem == "stress: NotSharedError: client 2 does not see what client 1 wrote"
    assert not found.as_declared


@pytest.mark.parametrize(
    ("promised", "verdict", "as_declared"),
    [
        (True, Verdict.AS_DECLARED, True),
        (True, Verdict.NOT_SHOWN, True),
        (True, Verdict.INCONCLUSIVE, False),
        (False, Verdict.INCONCLUSIVE, True),
        (False, Verdict.CONTRADICTED, False),
    ],
)
def test_what_counts_as_declared(promised, verdict, as_declared):
    """A promise that is left open does not pass."""
    found = Proof(name="x", server="x", provider=None, capabilities=frozenset({Capability.LINEARIZABLE}))
    found.evidence["stress"] = Evidence(name="stress", promised=promised, verdict=verdict)
    assert found.as_declared is as_declared


def test_the_file_backend_needs_nothing_but_the_standard_library():
    """A container without pip can run it."""
    code = (
        "import sys; before = set(sys.modules); import pytest_aistorage.backends.file; "
        "from pytest_aistorage import open_storage, AIProgress; open_storage('file:///tmp/x.json'); "
        "new = {name.split('.')[0] for name in set(sys.modules) - before} - {'pytest_aistorage'}; "
        "print(sorted(new - set(sys.stdlib_module_names)))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "[]"
