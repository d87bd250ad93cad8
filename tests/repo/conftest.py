"""Repositories on both databases, and small nights to fill them with."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from nights import Night
from repos import Make, drop, enter, raw_file

from fullwell.products import Bias, Flat
from fullwell.repo.ingest import ingest
from fullwell.repo.repository import Repository, create


@pytest.fixture(scope="session")
def postgres() -> str:
    """URL of the PostgreSQL server of the tests; the password is in PGPASSWORD."""
    url = os.environ.get("FULLWELL_TEST_POSTGRES")
    if url:
        return url
    if os.environ.get("CI"):
        pytest.fail("CI must have a PostgreSQL server: .ci/run starts one and sets FULLWELL_TEST_POSTGRES")
    pytest.skip("needs a PostgreSQL server: set FULLWELL_TEST_POSTGRES to its URL (see .ci/postgres)")


@pytest.fixture(params=["sqlite", "postgres"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Make]:
    """Makes a repository on SQLite and on PostgreSQL; each test sees both."""
    if request.param == "sqlite":
        yield lambda place=tmp_path / "repo", **more: create(place, **more)
        return
    url, schemas = request.getfixturevalue("postgres"), []

    def on_server(place: Path = tmp_path / "repo", **more: Any) -> Repository:
        schemas.append(f"t{uuid4().hex[:12]}")
        return create(place, db=url, namespace=schemas[-1], **more)

    yield on_server
    drop(url, schemas)


@pytest.fixture(scope="session")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two biases, a flat and a science frame in g and in r; the science frames last."""
    made = Night(tmp_path_factory.mktemp("night") / "raws")
    made.bias(2)
    made.flat("g", 1)
    made.flat("r", 1)
    made.science("g")
    made.science("r")
    return made.folder


@pytest.fixture
def filled(make: Make, night: Path) -> Repository:
    """A repository with the frames of `night`."""
    repo = make()
    assert ingest(repo, [night]).ok
    return repo


@pytest.fixture
def calibrated(filled: Repository, night: Path) -> Repository:
    """`filled` with a bias of 100 and flats of 0.5 in g, 2.0 in r, valid for ever."""
    enter(filled, raw_file(night, "bias"), Bias, 100.0)
    enter(filled, raw_file(night, "flat_g"), Flat, 0.5)
    enter(filled, raw_file(night, "flat_r"), Flat, 2.0)
    return filled
