"""Runs in a repository: outputs, validity, records, failures, what is resumed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from carry import CAMERA, USER, carry, filled, of_task, plan, states
from nines import Nines, damage

from fullwell.base import faults
from fullwell.base.errors import FileError, UsageError
from fullwell.pipeline import runs
from fullwell.pipeline.driver import Options
from fullwell.pipeline.executors import open_executor
from fullwell.pipeline.journal import load, remaining, write_plan
from fullwell.repo.bulk import known_refs
from fullwell.repo.calibs import Entry, certified, certify_onward, enter_files, moment_text, new_run
from fullwell.repo.check import check
from fullwell.repo.layout import file_path
from fullwell.repo.provenance import read_origin
from fullwell.repo.repository import Repository


def test_all_of_a_night(fresh: Repository) -> None:
    made = plan(fresh)
    summary = carry(fresh, made)
    assert summary.ok and summary.count("done") == len(made.jobs) == 18
    for one in made.jobs:
        (ref,) = known_refs(fresh, [UUID(one.job.id)])
        path = fresh.file_of(ref)
        assert str(path) == one.job.outputs[0].path and path.exists()
        told = read_origin(path)
        assert (told.id, told.run, told.dataset_type) == (one.job.id, ref.run, ref.datasetType.name)
        assert [s.id for s in told.inputs] == [i.id for i in one.job.inputs]
        assert dict(ref.dataId.required) == dict(one.job.outputs[0].data_id)
    collections = fresh.butler.collections
    chain = f"u/{USER}/all"
    assert list(collections.get_info(chain).children) == [f"{chain}/{made.stamp}"]
    assert chain in collections.get_info(f"{CAMERA}/defaults").children
    assert {moment_text(v.span.begin) for v in certified(fresh, "flat")} == {"2025-01-14T12:00:00"}
    assert check(fresh).ok


def test_each_run_has_its_record(done: Repository) -> None:
    refs = list(done.butler.query_datasets("run_record", "*", find_first=False))
    assert sorted(r.run.split("/")[0] for r in refs) == [CAMERA, "u"]
    for ref in refs:
        told = done.butler.get(ref)
        assert (told["recipe"], told["user"], told["run"], told["LSST BUTLER ID"]) == (
            "all",
            USER,
            ref.run,
            str(ref.id),
        )
        isr = next(t for t in told["tasks"] if t["task"] == "isr")
        assert isr["config"] == {"recipe": "generic"} and isr["output"] == "post_isr_image"
    frame = of_task(plan(done), "isr")[0].job
    assert frame.context["config"] == isr["digest"] == read_origin(frame.outputs[0].path).config


def test_a_second_run_stands_before_the_first(done: Repository) -> None:
    made = plan(done, "all", {"off": ["dark"]})
    assert carry(done, made).ok
    children = done.butler.collections.get_info(f"u/{USER}/all").children
    assert len(children) == 2 and children[0].endswith(made.stamp)
    (one, *_) = of_task(made, "isr")
    ref = done.find("post_isr_image", **one.job.outputs[0].data_id)
    assert str(ref.id) == one.job.id


def test_a_frame_that_fails_does_not_stop_the_rest(fresh: Repository, night: Nines, tmp_path: Path) -> None:
    assert carry(fresh, plan(fresh, "calibs")).ok
    made = plan(fresh, "isr")
    bad = Path(made.jobs[2].job.path("raw"))
    whole = bad.read_bytes()
    damage(bad)
    try:
        summary = carry(fresh, made)
        assert summary.exit_code == 1 and (summary.count("done"), summary.count("failed")) == (5, 1)
        (failure,) = summary.failures
        assert failure["job"] == made.jobs[2].job.id and str(bad) in failure["where"] and failure["remedy"]
        record = json.loads(Path(failure["record"]).read_text())
        assert "Traceback (most recent call last)" in record["done"]["failure"]["traceback"]
        context = record["done"]["failure"]["context"]
        assert context["data_ids"] == [dict(made.jobs[2].job.outputs[0].data_id)]
        assert context["inputs"][str(bad)] == made.jobs[2].job.inputs[0].id and context["versions"]["fullwell"]
        assert [j.state for j in plan(fresh, "isr").jobs].count("new") == 1 and check(fresh).datasets
    finally:
        bad.write_bytes(whole)
    executor = open_executor("inline")
    again = runs.resume(fresh, executor)
    assert again.ok and again.total == 1 and not list((runs.run_folder(fresh, made.stamp) / "failures").iterdir())
    assert states(plan(fresh, "isr")) == {"isr": "exists"}


def test_what_needs_a_calibration_that_failed_fails_with_its_cause(fresh: Repository) -> None:
    made = plan(fresh, where="detector = 3")
    bad = Path(next(i.path for i in of_task(made, "dark")[0].job.inputs if i.role == "dark_frames"))
    whole = bad.read_bytes()
    damage(bad)
    try:
        summary = carry(fresh, made)
    finally:
        bad.write_bytes(whole)
    (lost,) = summary.failures
    assert lost["task"] == "dark" and {d["task"] for d in lost["dependants"]} == {"flat", "defects", "isr"}
    assert summary.count("done") == 2 and summary.count("failed") == 1 + len(lost["dependants"])
    last = json.loads((runs.run_folder(fresh, made.stamp) / "failures" / f"{made.jobs[-1].job.id}.json").read_text())
    told = last["done"]["failure"]["problem"]
    assert "an input was not made: job" in told and "(dark) failed" in told


def test_stop_at_the_first_failure(fresh: Repository) -> None:
    made = plan(fresh)
    bad = Path(of_task(made, "gain")[0].job.inputs[0].path)
    whole = bad.read_bytes()
    damage(bad)
    try:
        summary = carry(fresh, made, Options(fail_fast=True))
    finally:
        bad.write_bytes(whole)
    assert summary.exit_code == 1 and "was to stop at the first" in summary.stopped and summary.left > 0


@pytest.mark.parametrize("point", ["before-task", "before-ingest", "after-ingest", "after-journal"])
def test_an_interrupted_run_is_resumed(fresh: Repository, point: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = plan(fresh)
    monkeypatch.setattr(faults, "_passed", faults.Counter())
    monkeypatch.setenv("FULLWELL_FAULT", f"{point}:interrupt:{9 if point == 'before-task' else 3}")
    with_blocks = Options(block=3)
    try:
        summary = carry(fresh, made, with_blocks)
    except KeyboardInterrupt:
        summary = None
    monkeypatch.delenv("FULLWELL_FAULT")
    assert summary is None or summary.exit_code == 130
    todo, finished = remaining(load(runs.run_folder(fresh, made.stamp)))
    assert todo and finished
    again = runs.resume(fresh, open_executor("inline"))
    assert again.ok and again.total == len(todo)
    assert set(states(plan(fresh)).values()) == {"exists"} and check(fresh).ok
    assert len(certified(fresh, "bias")) == 2
    assert runs.resume(fresh, open_executor("inline")).total == 0, "nothing is left"


def test_two_runs_that_were_planned_alike(fresh: Repository) -> None:
    """What the other has entered meanwhile is the same: nothing fails, nothing is there twice."""
    one, other = plan(fresh), plan(fresh)
    assert carry(fresh, one).ok
    summary = carry(fresh, other)
    assert summary.ok, summary.failures
    for job in of_task(one, "flat"):
        (ref,) = known_refs(fresh, [UUID(job.job.id)])
        assert ref.run.endswith(one.stamp) and fresh.file_of(ref).exists()
    assert {v.run.rsplit("/", 1)[-1] for v in certified(fresh, "bias")} == {one.stamp}
    assert check(fresh).ok


def test_a_run_of_a_repository_that_was_moved_writes_nothing_at_its_old_place(fresh: Repository) -> None:
    executor = open_executor("inline")
    made = plan(fresh)
    write_plan(runs.run_folder(fresh, made.stamp), [p.job for p in made.jobs], {}, made.header())
    moved = fresh.path.with_name("moved")
    fresh.close()
    fresh.path.rename(moved)
    with Repository(moved, writeable=True) as repo, pytest.raises(UsageError, match="outside the repository") as error:
        runs.resume(repo, executor)
    assert "plan anew" in str(error.value.remedy)
    assert not fresh.path.exists()


def test_a_run_of_another_version_is_not_resumed(fresh: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    made = plan(fresh)
    write_plan(runs.run_folder(fresh, made.stamp), [p.job for p in made.jobs], {}, made.header())
    monkeypatch.setattr("fullwell.__version__", "99")
    with pytest.raises(UsageError, match=r"planned by fullwell [\d.]+, this is 99"):
        runs.resume(fresh, open_executor("inline"))


def test_what_a_killed_writer_left_is_swept_away(fresh: Repository) -> None:
    """Also in a folder in which nothing remains to be done."""
    assert carry(fresh, plan(fresh, "calibs")).ok
    target = next(fresh.root.rglob("bias_ninecam_3.fits"))
    code = "import sys\nfrom fullwell.io import atomic_path\nwith atomic_path(sys.argv[1]) as t: t.write_text('x')"
    call = [sys.executable, "-c", code, str(target)]
    subprocess.run(call, env={**os.environ, "FULLWELL_FAULT": "after-write:kill:1"})
    assert len(list(target.parent.iterdir())) == 3
    assert runs.resume(fresh, open_executor("inline")).total == 0
    assert sorted(p.name for p in target.parent.iterdir()) == ["bias_ninecam_3.fits", "bias_ninecam_4.fits"]


def test_nothing_to_resume(fresh: Repository) -> None:
    with pytest.raises(FileError, match="nothing was run in this repository"):
        runs.resume(fresh, open_executor("inline"))
    with pytest.raises(FileError, match="there is no run in"):
        runs.resume(fresh, open_executor("inline"), "2020")


def test_not_certified_where_that_is_not_wanted(fresh: Repository) -> None:
    assert carry(fresh, plan(fresh, "calibs"), certify=False).ok
    assert not certified(fresh, "bias")
    assert set(states(plan(fresh, "calibs")).values()) == {"exists"}


def test_an_end_of_validity(fresh: Repository) -> None:
    assert carry(fresh, plan(fresh, "calibs"), end="2025-02-01").ok
    assert {moment_text(v.span.end) for v in certified(fresh, "bias")} == {"2025-02-01T00:00:00"}


def test_a_dataset_that_is_refused_fails_alone(fresh: Repository) -> None:
    """Another dataset has the place of one output: that job fails with its name, the others are entered."""
    made = plan(fresh, "calibs")
    job = of_task(made, "bias")[0].job
    run, data_id = str(job.context["run"]), dict(job.outputs[0].data_id)
    new_run(fresh, CAMERA, made.stamp)
    other = fresh.root / "elsewhere.fits"
    other.write_bytes(b"x")
    enter_files(fresh, [Entry("bias", data_id, run, other, UUID(int=7))])
    summary = carry(fresh, made)
    assert [(f["task"], f["job"]) for f in summary.failures if f["task"] == "bias"] == [("bias", job.id)]
    assert summary.count("failed") == 1 and summary.count("done") == 11
    assert not known_refs(fresh, [UUID(job.id)])


def _model(items: list[tuple[int, int]], horizon: int) -> list[int | None]:
    """What is valid on each day where calibrations (number, first day) are made valid one after the other."""
    begins: dict[int, int] = {}
    for number, begin in items:
        begins[begin] = number
    order = sorted(begins)
    out: list[int | None] = []
    for day in range(horizon):
        before = [b for b in order if b <= day]
        out.append(begins[before[-1]] if before else None)
    return out


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> tuple[Repository, list[Any]]:
    """A repository with sixty biases, twelve of each of five detectors, none of them valid."""
    folder = tmp_path_factory.mktemp("shop")
    night = Nines(folder / "raws", detectors=range(5))
    night.add("bias", 1)
    repo = filled(folder / "repo", night)
    entries = []
    for number in range(60):
        data_id = {"instrument": CAMERA, "detector": number % 5}
        run = new_run(repo, CAMERA, f"s{number // 5}")
        path = repo.root / file_path("bias", run, data_id)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
        entries.append(Entry("bias", data_id, run, path, UUID(int=number + 1)))
    return repo, enter_files(repo, entries)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("together", [1, 7, 60])
def test_one_after_the_other_in_any_order(shop: tuple[Repository, list[Any]], seed: int, together: int) -> None:
    """Whether they are entered one by one or many at once, each is valid until the next one begins."""
    from fullwell.repo.calibs import decertify

    repo, refs = shop
    decertify(repo, "bias", CAMERA)
    random = np.random.default_rng(seed)
    order = [int(i) for i in random.permutation(60)]
    days = [int(d) for d in random.integers(1, 9, 60)]
    items = [(refs[i], f"2025-01-{days[i]:02d}") for i in order]
    for start in range(0, 60, together):
        certify_onward(repo, items[start : start + together])
    for detector in range(5):
        mine = [(i, days[i]) for i in order if i % 5 == detector]
        found: list[int | None] = []
        valid = certified(repo, "bias", {"detector": detector})
        for day in range(10):
            moment = f"2025-01-{day:02d}T06:00:00" if day else "2024-12-31T06:00:00"
            now = [v for v in valid if _holds(v.span, moment)]
            assert len(now) <= 1
            found.append(UUID(now[0].id).int - 1 if now else None)
        assert found == _model(mine, 10)
        ends = sorted((v.span for v in valid), key=lambda s: s.nsec)
        assert all(a.end == b.begin for a, b in pairwise(ends)), "no gaps"


def _holds(span: Any, moment: str) -> bool:
    from astropy.time import Time
    from lsst.daf.butler import Timespan

    return bool(span.overlaps(Timespan.fromInstant(Time(moment, scale="tai"))))


def test_what_is_certified_stays_where_it_is(shop: tuple[Repository, list[Any]]) -> None:
    from fullwell.repo.calibs import decertify

    repo, refs = shop
    decertify(repo, "bias", CAMERA)
    certify_onward(repo, [(refs[0], "2025-01-05")])
    certify_onward(repo, [(refs[5], "2025-01-07"), (refs[0], "2025-01-02")], "2025-01-20")
    assert sorted(str(v.span) for v in certified(repo, "bias", {"detector": 0})) == [
        "[2025-01-05T00:00:00, 2025-01-07T00:00:00)",
        "[2025-01-07T00:00:00, 2025-01-20T00:00:00)",
        "[2025-01-20T00:00:00, ∞)",
    ], "one that ends takes its span and no more"
    with pytest.raises(UsageError, match="'soon' is no time"):
        certify_onward(repo, [(refs[10], "2025-01-05"), (refs[15], "soon")])
    assert len(certified(repo, "bias", {"detector": 0})) == 3, "nothing is certified then"


@pytest.fixture
def no_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The flats of detector 3 make no pairs."""
    from fullwell import measure

    match = measure.match_pairs

    def pairs(flats: Any, how: str) -> Any:
        return [] if flats[0].observation.detector_id == 3 else match(flats, how)

    monkeypatch.setattr(measure, "match_pairs", pairs)


def test_a_gain_that_fails_fails_alone(fresh: Repository, no_pairs: None) -> None:
    """What only takes it goes on in adu, and says so."""
    from fullwell import io

    made = plan(fresh)
    summary = carry(fresh, made)
    assert (summary.count("done"), summary.count("failed"), summary.total) == (17, 1, 18) and not summary.missing
    assert summary.exit_code == 1 and [f["task"] for f in summary.failures] == ["gain"]
    assert not summary.failures[0]["dependants"] and len(summary.runs) == 2 and not summary.left
    assert summary.spared == [
        "the gain of detector 3 failed: 8 jobs go without it, with the values of the camera where it has them, else in "
        "adu"
    ]
    units = {}
    for ref in fresh.butler.query_datasets("post_isr_image", "*", find_first=False):
        frame = io.read(fresh.file_of(ref))
        units[int(ref.dataId["detector"])] = frame.unit
        told = {r.step: (r.state, r.note) for r in frame.history}
        assert told["gain"][0] == ("left out" if ref.dataId["detector"] == 3 else "done"), told["gain"]
    assert units == {3: "adu", 4: "electron"}
    assert check(fresh).ok


def test_what_went_on_without_a_gain_is_made_anew_when_there_is_one(
    fresh: Repository, no_pairs: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = plan(fresh)
    carry(fresh, first)
    again = carry(fresh, plan(fresh))
    assert (again.count("done"), again.count("kept"), again.count("failed")) == (0, 0, 1), "the rest is there"
    assert "8 jobs go without it (8 were done so before)" in again.spared[0]
    monkeypatch.undo()
    summary = carry(fresh, plan(fresh))
    assert summary.ok and summary.count("done") == 9
    assert set(states(plan(fresh)).values()) == {"exists"} and check(fresh).ok


def test_a_camera_file_that_was_changed_meanwhile_is_no_longer_the_one_of_the_run(
    fresh: Repository, tmp_path: Path
) -> None:
    camera = tmp_path / "mine.toml"
    camera.write_text('name = "mine"\n')
    made = plan(fresh, config={"camera": str(camera)})
    carry(fresh, made)
    camera.write_text('name = "mine"\n# moved\n')
    executor = open_executor("inline")
    with pytest.raises(UsageError, match=r"the camera file .*mine\.toml was changed after the run was planned"):
        runs.resume(fresh, executor, made.stamp)
