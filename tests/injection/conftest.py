"""Frames of a repository, shared by the tests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from carry import carry, filled, plan
from nines import Nines

from fullwell import io
from fullwell.frames import Frame
from fullwell.products import Flat


@pytest.fixture(scope="session")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, Frame, Flat]]:
    """(repository, a frame that its pipeline made, the flat that it names)."""
    place = tmp_path_factory.mktemp("stored")
    night = Nines(place / "raws", detectors=(3,)).calibrations("g")
    night.add("science", 1, "g")
    repo = filled(place / "repo", night)
    carry(repo, plan(repo))
    (ref, *_) = repo.butler.query_datasets("post_isr_image", collections="*", find_first=False)
    frame = io.read(repo.file_of(ref))
    flats = repo.butler.query_datasets("flat", collections="*", find_first=False)
    flat = next(repo.product(f) for f in flats if str(f.id) == frame.metadata["LSST CALIB UUID FLAT"])
    assert isinstance(flat, Flat)
    yield repo, frame, flat
    repo.close()
