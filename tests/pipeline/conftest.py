"""A night of a camera with two detectors, and a repository in which all of it was reduced."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from carry import carry, copied, filled, plan
from nines import Nines

from fullwell.repo.repository import Repository


@pytest.fixture(scope="session")
def night(tmp_path_factory: pytest.TempPathFactory) -> Nines:
    """Calibrations in g and r, two science exposures in g, one in r; detectors 3 and 4."""
    made = Nines(tmp_path_factory.mktemp("night") / "raws", detectors=(3, 4)).calibrations("gr")
    made.add("science", 2, "g")
    made.add("science", 1, "r")
    return made


@pytest.fixture(scope="session")
def reduced(tmp_path_factory: pytest.TempPathFactory, night: Nines) -> Path:
    """A repository in which the whole night was reduced; it is not to be changed."""
    with filled(tmp_path_factory.mktemp("reduced") / "repo", night) as repo:
        assert carry(repo, plan(repo)).ok
    return repo.path


@pytest.fixture
def fresh(tmp_path: Path, night: Nines) -> Iterator[Repository]:
    """A repository with the raw frames of the night."""
    with filled(tmp_path / "repo", night) as repo:
        yield repo


@pytest.fixture
def done(tmp_path: Path, reduced: Path) -> Iterator[Repository]:
    """A copy of the repository in which the night was reduced."""
    with copied(reduced, tmp_path / "repo") as repo:
        yield repo
