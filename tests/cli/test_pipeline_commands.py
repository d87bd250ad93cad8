"""`plan`, `run`, `resume`, `rerun` on the line: tables, documents, exit codes, what is written and what is not."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from carry import CAMERA, carry, filled, plan
from nines import Nines, damage

from fullwell.repo.repository import open_repo

Run = Callable[..., Any]


@pytest.fixture(scope="session")
def nine_night(tmp_path_factory: pytest.TempPathFactory) -> Nines:
    """A night of one detector: calibrations and two science exposures."""
    made = Nines(tmp_path_factory.mktemp("nine") / "raws", detectors=(3,)).calibrations()
    made.add("science", 2)
    return made


@pytest.fixture
def repo(tmp_path: Path, nine_night: Nines, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with a copy of those raw frames."""
    monkeypatch.setenv("FULLWELL_USER", "ann")
    folder = Path(shutil.copytree(nine_night.folder, tmp_path / "raws"))
    with filled(tmp_path / "repo", Nines(folder, detectors=(3,))) as made:
        return made.path


@pytest.fixture
def calibrated(repo: Path) -> Path:
    with open_repo(repo, writeable=True) as opened:
        assert carry(opened, plan(opened, "calibs")).ok
    return repo


def everything(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_plan_says_what_would_be_done_and_writes_nothing(repo: Path, run: Run) -> None:
    before = everything(repo)
    told = run("plan", "all", "--repo", repo)
    assert told.code == 0 and "new  stale  exists  missing" in told.out
    data = run("plan", "all", "--repo", repo, "--json").data["plan"]
    assert [j["task"] for j in data["jobs"]] == ["gain", "bias", "dark", "flat", "defects", "isr", "isr"]
    assert data["jobs"][1]["inputs"] == {"bias_frames": 4, "gain": 1}
    assert data["jobs"][1]["data_id"] == {"instrument": CAMERA, "detector": 3} and data["recipe"] == "all"
    assert everything(repo) == before


def test_plan_of_what_is_missing_ends_with_1(repo: Path, run: Run) -> None:
    told = run("plan", "isr", "--repo", repo)
    assert told.code == 1 and "missing: isr detector=3" in told.out and "and 1 more: no bias" in told.out


def test_plan_says_which_frames_go_without(calibrated: Path, run: Run) -> None:
    """A frame that no flat is valid for comes out all the same, and must not pass for one that was flattened."""
    assert "without" not in run("plan", "isr", "--repo", calibrated).out
    assert run("repo", "decertify", "flat", "--repo", calibrated).code == 0
    with open_repo(calibrated) as opened:
        first = min(r.id for r in opened.butler.query_dimension_records("exposure") if r.observation_type == "science")
    told = run("run", "isr", "--repo", calibrated)
    assert told.code == 0 and f"without flat: 2 of 2 frames, the first detector=3, exposure={first}\n" in told.out


def test_a_flat_that_is_not_valid_for_a_frame_is_missing(calibrated: Path, run: Run) -> None:
    assert run("repo", "decertify", "flat", "--end", "2025-03-01", "--repo", calibrated).code == 0
    told = run("run", "isr", "--repo", calibrated, "--json")
    assert told.code == 1 and told.data["nothing_to_do"]
    assert {j["state"] for j in told.data["plan"]["jobs"]} == {"missing"}
    reason = told.data["plan"]["jobs"][0]["reason"]
    assert "the nearest flat of detector 3 is valid 2025-03-01" in reason and reason.endswith("--accept flat")
    told = run("run", "isr", "--accept", "flat", "--repo", calibrated, "--json")
    assert told.code == 0 and told.data["summary"]["states"]["done"] == 2
    assert told.data["plan"]["jobs"][0]["inputs"]["flat"] == 1
    assert told.data["plan"]["notes"][0].startswith("accepted for 2 jobs: the flat of run")


def test_what_is_missing_is_in_the_summary(calibrated: Path, run: Run) -> None:
    with open_repo(calibrated) as opened:
        found = opened.butler.query_dimension_records("exposure", where="exposure.observation_type = 'science'")
        last = max(found, key=lambda r: r.timespan.nsec)
    begin = last.timespan.begin.isot
    assert run("repo", "decertify", "flat", "--begin", begin, "--repo", calibrated).code == 0
    told = run("run", "isr", "--repo", calibrated, "--json")
    assert told.code == 1
    summary = told.data["summary"]
    assert not summary["ok"] and summary["states"]["done"] == 1
    (one,) = summary["missing"]
    assert one["data_id"]["exposure"] == last.id and "--accept flat" in one["reason"]
    assert "missing: 1 jobs" in told.err and "go on with" not in told.err, "to resume would not help"


def test_no_science_frame_is_said(calibrated: Path, run: Run) -> None:
    where = ["--where", "exposure.observation_type = 'bias'"]
    told = run("run", "isr", *where, "--repo", calibrated)
    text = "nothing for task 'isr': of 4 raw frames none is a science frame"
    assert told.code == 0 and text in told.out and "nothing to do" in told.out
    data = run("run", "isr", *where, "--repo", calibrated, "--json").data
    assert data["plan"]["notes"] == [text] and data["nothing_to_do"]


def test_the_repository_is_that_of_the_folder(calibrated: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FULLWELL_REPO", raising=False)
    monkeypatch.chdir(calibrated)
    assert run("plan", "isr").code == 0 and run("run", "isr", "-q").code == 0 and run("resume").code == 0
    assert run("rerun", next(calibrated.rglob("post_isr_image_*.fits"))).code == 0
    monkeypatch.chdir(calibrated.parent)
    told = run("plan", "isr")
    assert told.code == 2 and "name one with --repo, or in the variable FULLWELL_REPO" in told.err


def test_calibrations_of_a_set_up(repo: Path, run: Run) -> None:
    assert run("run", "calibs", "--setup", "fast", "--repo", repo, "-q").code == 0
    assert run("plan", "isr", "--repo", repo).code == 1
    assert run("run", "isr", "--setup", "fast", "--trust", "--repo", repo, "-q").code == 0


def test_a_camera_file_of_a_recipe_lies_beside_it(
    repo: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "recipes"
    folder.mkdir()
    (folder / "mine.toml").write_text('[config]\ncamera = "cam.toml"\n[[task]]\ntask = "bias"\n')
    told = run("plan", folder / "mine.toml", "--repo", repo)
    assert told.code == 2 and str(folder / "cam.toml") in told.err


def test_the_way_on_can_be_pasted(calibrated: Path, run: Run) -> None:
    moved = calibrated.rename(calibrated.with_name("my repo"))
    for bad in calibrated.parent.glob("raws/science_*"):
        damage(bad)
    assert f"--repo '{moved}'" in run("run", "isr", "--repo", moved).err


def test_dry_run_writes_nothing(repo: Path, run: Run) -> None:
    before = everything(repo)
    told = run("run", "all", "--repo", repo, "--dry-run", "--json")
    assert told.code == 0 and len(told.data["plan"]["jobs"]) == 7 and "summary" not in told.data
    assert everything(repo) == before


@pytest.mark.parametrize("executor", ["inline", "processes"])
def test_run_all_then_nothing_to_do(repo: Path, run: Run, executor: str) -> None:
    told = run("run", "all", "--repo", repo, "--executor", executor, "-j", 2, "--json")
    assert told.code == 0, told.err
    summary = told.data["summary"]
    assert summary["states"] == {"done": 7, "kept": 0, "failed": 0, "lost": 0} and summary["ok"]
    assert (Path(told.data["folder"]) / "record.json").exists() and told.data["run"] in told.data["folder"]
    again = run("run", "all", "--repo", repo)
    assert again.code == 0 and "nothing to do" in again.out


def test_a_frame_that_fails_ends_with_1_and_is_resumed(calibrated: Path, run: Run) -> None:
    bad = next(calibrated.parent.glob("raws/science_*"))
    whole = bad.read_bytes()
    damage(bad)
    told = run("run", "isr", "--repo", calibrated, "--json")
    assert told.code == 1 and told.data["summary"]["states"]["failed"] == 1
    (failure,) = told.data["summary"]["failures"]
    assert str(bad) in failure["where"] and Path(failure["record"]).exists()
    assert "failed: isr" in told.err and f"go on with: fullwell resume {told.data['run']} --repo" in told.err
    dry = run("resume", "--repo", calibrated, "--dry-run", "--json")
    assert dry.code == 0 and (dry.data["finished"], dry.data["remaining"]) == (1, 1)
    assert run("resume", told.data["run"], "--repo", calibrated, "-q").code == 1, "it is still damaged"
    bad.write_bytes(whole)
    again = run("resume", "--repo", calibrated, "--json")
    assert again.code == 0 and again.data["summary"]["states"]["done"] == 1
    assert "0 remain" in run("resume", "--repo", calibrated).out


def test_stop_at_the_first_failure(calibrated: Path, run: Run) -> None:
    for bad in calibrated.parent.glob("raws/science_*"):
        damage(bad)
    told = run("run", "isr", "--repo", calibrated, "--fail-fast", "--json")
    assert told.code == 1 and told.data["summary"]["states"]["failed"] == 1 and told.data["summary"]["left"] == 1
    assert "the run stopped: a job failed" in told.err


def test_what_is_missing_ends_with_1_though_the_rest_is_done(repo: Path, run: Run) -> None:
    assert run("run", "isr", "--repo", repo).code == 1
    with open_repo(repo) as opened:
        assert not list(opened.butler.query_datasets("run_record", "*", find_first=False, explain=False))


def test_settings_from_the_line(calibrated: Path, run: Run) -> None:
    options = ["--set", "overscan_serial.method=median", "--off", "dark"]
    told = run("run", "isr", "--repo", calibrated, *options, "--where", "detector = 3", "--json")
    assert told.code == 0
    jobs = run("plan", "isr", "--repo", calibrated, *options, "--json").data["plan"]["jobs"]
    assert {j["state"] for j in jobs} == {"exists"}
    plain = run("plan", "isr", "--repo", calibrated)
    assert plain.code == 0 and "stale: isr detector=3" in plain.out and "the settings changed" in plain.out


def test_a_recipe_of_the_user(calibrated: Path, run: Run, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('name = "mine"\n[[task]]\ntask = "isr"\ntakes = ["gain"]\n')
    told = run("run", "recipe", file, "--repo", calibrated, "--json")
    assert told.code == 0 and told.data["plan"]["recipe"] == "mine"
    assert told.data["plan"]["jobs"][0]["inputs"] == {"raw": 1, "bias": 1, "gain": 1}
    with open_repo(calibrated) as opened:
        assert "u/ann/mine" in opened.butler.collections.query("*")


def test_certification_from_the_line(repo: Path, run: Run) -> None:
    from fullwell.repo.calibs import certified, moment_text

    assert run("run", "calibs", "--repo", repo, "--no-certify", "-q").code == 0
    with open_repo(repo) as opened:
        assert not certified(opened, "bias")
    told = run("run", "calibs", "--repo", repo, "--off", "dark", "--end", "2025-02-01", "-q")
    assert told.code == 0
    with open_repo(repo) as opened:
        assert [moment_text(v.span.end) for v in certified(opened, "bias")] == ["2025-02-01T00:00:00"]


def test_rerun(calibrated: Path, run: Run, tmp_path: Path) -> None:
    from astropy.io import fits

    assert run("run", "isr", "--repo", calibrated, "-q").code == 0
    path = next(calibrated.rglob("post_isr_image_*.fits"))
    told = run("rerun", path, "--repo", calibrated)
    assert told.code == 0 and "the same came out" in told.out
    data = run("rerun", path, "--repo", calibrated, "--json", "-o", tmp_path / "kept").data
    assert data["ok"] and data["source"] == "plan" and (tmp_path / "kept" / path.name).exists()
    with fits.open(path, mode="update") as hdus:
        hdus["IMAGE"].data[0, 0] += 1
    changed = run("rerun", data["id"], "--repo", calibrated)
    assert changed.code == 1 and "something else came out" in changed.out and "IMAGE" in changed.out
    raw = next(calibrated.parent.glob("raws/*"))
    assert run("rerun", raw, "--repo", calibrated).code == 2


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (["plan", "nothing"], "there is no recipe 'nothing'"),
        (["plan", "isr", "--where", "colour = 1"], "colour"),
        (["plan", "isr", "--where", "detector = 77"], "no raw frame of ninecam fulfils"),
        (["plan", "isr", "--set", "overscan_serial.metod=median"], "metod"),
        (["run", "isr", "--set", "overscan.method=median"], "there is no step 'overscan'"),
        (["plan", "all", "--off", "darks"], "did you mean 'dark'?"),
        (["plan", "isr", "--accept", "flats"], "there is no calibration 'flats' to accept"),
        (["plan", "isr", "--instrument", "other"], "the repository has no instrument 'other'"),
        (["run", "all", "--executor", "cloud"], "there is no executor named 'cloud'"),
        (["run", "all", "--executor", "inline", "--scheduler", "tcp://127.0.0.1:1"], "is for the executor dask"),
        (["resume"], "nothing was run in this repository"),
        (["resume", "20200101"], "there is no run in"),
        (["rerun", "nonsense"], "this is no id of a dataset"),
    ],
)
def test_calls_that_cannot_be_meant(repo: Path, run: Run, call: list[str], text: str) -> None:
    told = run(*call, "--repo", repo)
    assert told.code == 2 and text in told.err and "try:" in told.err and "Traceback" not in told.err


def test_no_repository(tmp_path: Path, run: Run) -> None:
    told = run("run", "all", "--repo", tmp_path)
    assert told.code == 2 and "this is no repository" in told.err
