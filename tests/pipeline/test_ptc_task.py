"""The task of photon transfer: pairs of flats of a night to a product that the other tasks take."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from carry import carry, filled, of_task, plan
from nines import GAIN, LEVEL, NOISE, Nines, write

from fullwell import io
from fullwell.base.errors import DataError
from fullwell.pipeline.executors.worker import Cache
from fullwell.pipeline.recipes import TASK_SPECS, Recipe
from fullwell.pipeline.tasks import TASKS
from fullwell.products import Ptc
from fullwell.repo.repository import Repository

SHAPE = (160, 176)
KEEP = ("INSTRUME", "OBSID", "SEQNUM", "IMAGETYP", "EXPTIME", "DARKTIME", "FILTER", "DATE-OBS", "TIMESYS", "DETECTOR")
LEVELS = (300, 1000, 3000, 8000, 16000, 30000)


def flats(night: Nines, levels: tuple[int, ...] = LEVELS, single: int | None = None) -> None:
    """Two flats of each level [electron], and one without a partner."""
    for k, light in enumerate(sorted([*levels, *levels, *([] if single is None else [single])])):
        time = light / 1000
        night.add("flat", EXPTIME=time, DARKTIME=time)
        for path in sorted(night.folder.glob(f"*{night.count:05d}*")):
            random = np.random.default_rng([k, int(path.stem.rsplit("_", 1)[1])])
            image = random.normal(LEVEL, NOISE, SHAPE)
            image[:, :-16] += random.poisson(light, (SHAPE[0], SHAPE[1] - 16)) / GAIN
            cards = {key: value for key, value in io.read_headers(path).primary.items() if key in KEEP}
            write(path, np.rint(image).astype(np.uint16), **cards)


@pytest.fixture
def repo(tmp_path: Path) -> Repository:
    night = Nines(tmp_path / "raws", detectors=(0, 3), shape=SHAPE)
    night.add("bias", 4)
    flats(night, single=50000)
    night.add("science")
    return filled(tmp_path / "repo", night)


def test_photon_transfer_of_a_night(repo: Repository) -> None:
    made = plan(repo, "ptc")
    assert [(j.job.task, j.state) for j in made.jobs] == [("ptc", "new")] * 2
    assert carry(repo, made).ok
    found = io.read_product(made.jobs[0].job.outputs[0].path, "ptc")
    assert isinstance(found, Ptc)
    assert len(found.points[0]) == len(LEVELS)
    # six pairs of 25 600 pixels know the gain to sqrt(2/N)/sqrt(6) = 0.4 %; 4 sigma of twice that, for a fit is freer
    assert found.gain[0] == pytest.approx(GAIN, rel=0.03)
    assert found.read_noise_adu[0] == pytest.approx(NOISE, rel=0.05)
    assert found.estimator and found.to_gain().has_method
    assert any("Left out" in note and "00017" in note for note in found.notes), found.notes
    assert all(one.isdecimal() or one.endswith(".fits") for pair in found.pairs for one in pair)
    assert found.metadata["FWRECIPE"] == "ptc"
    assert list(found.inputs) == [i.id for i in made.jobs[0].job.inputs]


def test_other_tasks_take_it_in_place_of_the_gain(repo: Repository) -> None:
    recipe = Recipe("mine", tuple(TASK_SPECS[n] for n in ("gain", "ptc", "bias", "isr")))
    made = plan(repo, recipe)
    kinds = {i.dataset_type for i in of_task(made, "isr")[0].job.inputs}
    assert kinds == {"raw", "bias", "ptc"}
    assert carry(repo, made).ok
    path = of_task(made, "isr")[0].job.outputs[0].path
    header = io.read_headers(path).primary
    ptc = of_task(made, "ptc")[0].job.id
    assert header["LSST CALIB UUID PTC"] == ptc
    assert "LSST CALIB UUID GAIN" not in header
    assert io.read(path).unit == "electron"


def test_flats_that_are_no_pairs(tmp_path: Path) -> None:
    night = Nines(tmp_path / "raws", detectors=(0,), shape=SHAPE)
    for time in (1.0, 2.0, 3.0):
        night.add("flat", EXPTIME=time, DARKTIME=time)
    made = plan(filled(tmp_path / "repo", night), "ptc")
    with pytest.raises(DataError, match=r"no two of the 3 flats are a pair: [\s\S]*take flats in pairs"):
        TASKS["ptc"](made.jobs[0].job, Cache())


def test_settings_of_the_measurement(repo: Repository) -> None:
    made = plan(repo, "ptc", {"points": {"lags": 3}, "solve": {"diagnose": False}})
    assert carry(repo, made).ok
    found = io.read_product(made.jobs[0].job.outputs[0].path, "ptc")
    assert found.points[0].lags == 3
    assert not any(found.diagnosis)
    wrong = plan(repo, "ptc", {"points": {"lag": 3}})
    done = carry(repo, wrong)
    assert not done.ok
