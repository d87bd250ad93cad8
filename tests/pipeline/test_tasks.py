"""Tasks: what a worker reads and writes."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from carry import carry, filled, of_task, plan
from nines import Nines, pixels, write

from fullwell import io
from fullwell.base.errors import DataError, HeaderError, MissingProduct
from fullwell.pipeline.executors.worker import Cache
from fullwell.pipeline.jobs import Job
from fullwell.pipeline.rerun import compare
from fullwell.pipeline.tasks import TASKS
from fullwell.repo.provenance import read_origin
from fullwell.repo.repository import Repository


def do(job: Job, folder: Path, cache: Cache | None = None) -> Path:
    """Carry out a job into another folder."""
    folder.mkdir(exist_ok=True)
    path = folder / Path(job.outputs[0].path).name
    TASKS[job.task](
        replace(job, outputs=(replace(job.outputs[0], path=str(path)),)), Cache() if cache is None else cache
    )
    return path


def first(repo: Repository, task: str, **more: Any) -> Job:
    return of_task(plan(repo, "isr" if task == "isr" else "all", **more), task)[0].job


@pytest.mark.parametrize("task", ["gain", "bias", "dark", "flat", "defects", "isr"])
def test_the_same_job_gives_the_same_wherever_its_inputs_lie(done: Repository, tmp_path: Path, task: str) -> None:
    job = first(done, task)
    made = do(job, tmp_path / "a")
    moved = shutil.copytree(done.root, tmp_path / "elsewhere")
    there = {str(p): str(moved / p.relative_to(done.root)) for p in done.root.rglob("*.*")}
    other = replace(job, inputs=tuple(replace(i, path=there.get(i.path, i.path)) for i in job.inputs))
    parts, cards = compare(made, do(other, tmp_path / "b"))
    assert all(p.same for p in parts) and not cards
    told = read_origin(made)
    assert (told.id, told.recipe, told.config) == (job.id, task, job.context["config"])
    assert [(s.id, s.role) for s in told.inputs] == [(i.id, i.role) for i in job.inputs]
    assert [p.name for p in made.parent.iterdir()] == [made.name]


def test_a_frame_names_its_calibrations(done: Repository, tmp_path: Path) -> None:
    """Id, run and date of each; the date is the time of the first frame that the calibration was made of."""
    job = first(done, "isr")
    header = io.read_headers(do(job, tmp_path / "a")).primary
    for one in job.inputs:
        if one.dataset_type != "raw":
            kind = one.dataset_type.upper()
            assert header[f"LSST CALIB UUID {kind}"] == one.id
            assert header[f"LSST CALIB RUN {kind}"] == job.context["inputs"][one.id]["run"]
            assert header[f"LSST CALIB DATE {kind}"] == io.read_product(one.path).observation.begin != ""


def test_calibrations_are_read_once(done: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = [j.job for j in of_task(plan(done), "isr") if j.job.batch == "3/g"]
    read, reads = io.read_product, []
    monkeypatch.setattr(io, "read_product", lambda path, kind: reads.append(kind) or read(path, kind))
    cache = Cache()
    for job in jobs:
        do(job, tmp_path / "a", cache)
    assert len(jobs) == 2 and sorted(reads) == ["bias", "dark", "defects", "flat", "gain"]


def test_a_raw_file_that_another_has_replaced(tmp_path: Path, night: Nines) -> None:
    """The pixels of another exposure or detector do not come under this one's name."""
    mine = replace(night, folder=Path(shutil.copytree(night.folder, tmp_path / "raws")))
    with filled(tmp_path / "repo", mine) as repo:
        assert carry(repo, plan(repo, "calibs")).ok
        jobs = [j.job for j in plan(repo, "isr").jobs]
        path = Path(jobs[0].path("raw"))
        number, detector = path.stem.split("_")[1:]
        others = {p.name: p for p in mine.folder.glob("science_*")}
        wrong = next(p for n, p in others.items() if n.endswith(f"_{detector}.fits") and number not in n)
        whole = path.read_bytes()
        for other in (wrong, mine.folder / f"science_{number}_{7 - int(detector)}.fits"):
            path.write_bytes(other.read_bytes())
            with pytest.raises(HeaderError, match="the repository has entered exposure") as caught:
                do(jobs[0], tmp_path / "out")
            assert caught.value.where == str(path) and not list((tmp_path / "out").iterdir())
        path.write_bytes(whole)
        do(jobs[0], tmp_path / "out")
        bias = of_task(plan(repo, "calibs"), "bias")[0].job
        Path(bias.inputs[0].path).write_bytes(whole)
        with pytest.raises(HeaderError, match="the repository has entered exposure"):
            do(bias, tmp_path / "out")


def test_a_windowed_frame_takes_its_part_of_the_calibrations(tmp_path: Path) -> None:
    night = Nines(tmp_path / "raws", detectors=(1,)).calibrations()
    (whole,) = night.add("science")
    image = fits.getdata(whole)[10:34]
    window = [image[:, 20:48], image[:, 48:]]
    cards = {k: v for k, v in fits.getheader(whole).items() if k in ("INSTRUME", "IMAGETYP", "EXPTIME", "FILTER")}
    write(night.folder / "window.fits", np.hstack(window), **cards, DETECTOR=1, OBSID="window", SEQNUM=77,
          DARKTIME=60.0, XORGSUBF=20, YORGSUBF=10, **{"DATE-OBS": "2025-01-15T06:00:00", "TIMESYS": "TAI"})  # fmt: skip
    with filled(tmp_path / "repo", night) as repo:
        assert carry(repo, plan(repo)).ok
        out = {io.read(j.job.outputs[0].path).box.shape: io.read(j.job.outputs[0].path) for j in plan(repo, "isr").jobs}
    part, full = out[24, 28], out[64, 48]
    bias = full.image.array[10:34, 20:48]
    rows = np.median(part.image.array - bias)
    assert abs(rows) < 2.0, "the same pixels, but for the overscan of fewer rows"
    assert np.array_equal(part.mask.array != 0, full.mask.array[10:34, 20:48] != 0)


def test_a_file_of_several_detectors(tmp_path: Path) -> None:
    folder = tmp_path / "raws"
    folder.mkdir()
    single = Nines(tmp_path / "single", detectors=(2, 5)).calibrations()
    single.add("science")
    exposures: dict[str, list[Path]] = {}
    for path in sorted(single.folder.iterdir()):
        exposures.setdefault(path.stem.rsplit("_", 1)[0], []).append(path)
    for name, paths in exposures.items():
        common = fits.getheader(paths[0])
        keys = ("INSTRUME", "OBSID", "SEQNUM", "IMAGETYP", "EXPTIME", "DARKTIME", "FILTER", "DATE-OBS", "TIMESYS")
        hdus = [fits.PrimaryHDU(header=fits.Header({k: common[k] for k in keys}))]
        for path in paths:
            data, header = fits.getdata(path), fits.getheader(path)
            more = {k: header[k] for k in ("DETECTOR", "DATASEC", "TRIMSEC", "BIASSEC")}
            detname = f"S{header['DETECTOR']:02d}"
            cards = fits.Header({**more, "DETNAME": detname})
            hdus.append(fits.ImageHDU(data, header=cards, name=detname))
        fits.HDUList(hdus).writeto(folder / f"{name}.fits")
    with filled(tmp_path / "repo", Nines(folder)) as repo, filled(tmp_path / "apart", single) as apart:
        for one in (repo, apart):
            assert carry(one, plan(one)).ok
        frames = {}
        for name, one in (("together", repo), ("apart", apart)):
            for job in plan(one, "isr").jobs:
                frame = io.read(job.job.outputs[0].path)
                frames[name, job.job.outputs[0].data_id["detector"]] = frame.image.array
    assert set(frames) == {(n, d) for n in ("together", "apart") for d in (2, 5)}
    for detector in (2, 5):
        assert np.array_equal(frames["together", detector], frames["apart", detector])
    assert not np.array_equal(frames["together", 2], frames["together", 5])


def test_flats_of_different_levels_give_no_gain(tmp_path: Path) -> None:
    night = Nines(tmp_path / "raws", detectors=(1,))
    night.add("bias", 2)
    for factor, path in zip((1, 2), night.add("flat", 2), strict=True):
        header = fits.getheader(path)
        cards = {k: header[k] for k in header if k in ("INSTRUME", "OBSID", "SEQNUM", "IMAGETYP", "EXPTIME", "DARKTIME",
                                                       "FILTER", "DATE-OBS", "TIMESYS", "DETECTOR")}  # fmt: skip
        image = pixels("flat", factor)
        image[:, :-16] = 1000 + (image[:, :-16] - 1000) // factor
        write(path, image, **cards)
    with filled(tmp_path / "repo", night) as repo:
        job = first(repo, "gain")
        with pytest.raises(DataError, match="no two of the 2 flats have the same level") as caught:
            do(job, tmp_path / "out")
        assert "in pairs of one level" in str(caught.value.remedy) and "flat_0000" in str(caught.value.where)


def test_defects_need_something_to_be_found_in(done: Repository, tmp_path: Path) -> None:
    job = first(done, "defects")
    poor = replace(job, inputs=tuple(i for i in job.inputs if i.role == "bias"))
    with pytest.raises(MissingProduct, match="neither a dark nor a flat"):
        do(poor, tmp_path / "out")


def test_settings_reach_the_steps_that_have_them(done: Repository, tmp_path: Path) -> None:
    config = {"settings": {"overscan_serial": {"method": "median"}}, "off": ["dark"]}
    made = do(first(done, "isr", config=config), tmp_path / "out")
    history = {r.step: r for r in io.read(made).history}
    assert history["overscan_serial"].config["method"] == "median"
    assert "dark" not in history or history["dark"].state != "done"
    plain = {r.step for r in io.read(do(first(done, "isr"), tmp_path / "plain")).history}
    assert "dark" in plain
