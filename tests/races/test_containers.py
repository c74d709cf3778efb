"""A container's restart: the file is gone with it, what PostgreSQL keeps is not."""

from __future__ import annotations

import pytest
from race_machine import required

from pytest_aistorage.races import containers
from pytest_aistorage.races.proof import Verdict
from pytest_aistorage.servers.base import ProviderUnavailableError, ServerOptions, ServerSpec
from pytest_aistorage.servers.run_directory import RunDirectory


def shown(evidence):
    """The evidence; skips (or fails, where containers are required) when there is none."""
    if evidence.verdict is Verdict.NOT_SHOWN:
        said = f"no container's restart: {evidence.what}. Remedy: a Docker engine that has the images"
        (pytest.fail if required("container") else pytest.skip)(said)
    return evidence


def test_the_file_is_gone_with_its_container():
    """Three records were acknowledged, and none is there in the container that replaces the first."""
    evidence = shown(containers.file_in_container())
    assert (evidence.lost, evidence.of, evidence.promised) == (3, 3, False)
    assert evidence.verdict is Verdict.AS_DECLARED


def test_postgres_keeps_what_it_has():
    """Neither the application's new container nor a restart of the server's loses anything."""
    with RunDirectory() as directory:
        options = ServerOptions(run_dir=directory.path)
        evidence = shown(containers.postgres_in_container(options, ServerSpec.parse("postgres")))
    assert (evidence.lost, evidence.of, evidence.promised) == (0, 3, True)
    assert "was restarted" in evidence.what


def test_without_an_engine_it_is_not_shown(monkeypatch, tmp_path):
    """The reason is given, and nothing is claimed."""

    def none():
        raise ProviderUnavailableError("no Docker engine answers")

    monkeypatch.setattr(containers, "engine_version", none)
    options = ServerOptions(run_dir=tmp_path)
    for evidence in (
        containers.file_in_container(),
        containers.postgres_in_container(options, ServerSpec.parse("postgres")),
    ):
        assert (evidence.verdict, evidence.lost, evidence.of) == (Verdict.NOT_SHOWN, 0, 0)
        assert evidence.what.startswith(("no Docker engine answers", "the library testcontainers is missing"))
