"""`fullwell repo`: a repository from the command line, as a person would use it, and as a program would."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nights import Night
from repos import product_of, raw_file

from fullwell import io
from fullwell.products import Bias, Flat

Run = Callable[..., Any]


@pytest.fixture(scope="module")
def raws(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = Night(tmp_path_factory.mktemp("repo") / "raws")
    made.bias(2)
    made.flat("g", 1)
    made.science("g")
    return made.folder


@pytest.fixture
def repo(run: Run, raws: Path, tmp_path: Path) -> Path:
    assert run("repo", "create", tmp_path / "R").code == 0
    assert run("repo", "ingest", raws, "--repo", tmp_path / "R").code == 0
    return tmp_path / "R"


def number(run: Run, repo: Path, kind: str = "science") -> int:
    condition = f"exposure.observation_type = '{kind}'"
    rows = run("repo", "ls", "exposures", "--repo", repo, "--where", condition, "--json").data["exposures"]
    return int(rows[0]["exposure"])


def test_create_says_what_comes_next(run: Run, tmp_path: Path) -> None:
    done = run("repo", "create", tmp_path / "R")
    assert done.code == 0
    assert done.out.splitlines() == [
        f"repository {tmp_path / 'R'}, index in SQLite, files in {tmp_path / 'R'}",
        f"next: fullwell repo ingest FILES --repo {tmp_path / 'R'}",
    ]
    again = run("repo", "create", tmp_path / "R")
    assert again.code == 2
    assert "there is a repository already" in again.err


def test_a_folder_in_place(run: Run, raws: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "2025.01.15"
    shutil.copytree(raws, folder)
    done = run("repo", "create", "--folder", folder, "--json")
    assert done.data["repo"] == str(folder / ".fullwell" / "repo")
    assert run("repo", "ingest", folder, "--repo", folder).code == 0
    monkeypatch.chdir(folder)
    assert len(run("repo", "ls", "datasets", "--json").data["datasets"]) == 4
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FULLWELL_REPO", str(folder))
    assert "4 datasets" in run("repo", "ls", "datasets").err
    assert sorted(p.name for p in folder.iterdir()) == sorted([".fullwell", *(p.name for p in raws.iterdir())])


def test_dry_runs_change_nothing(run: Run, raws: Path, tmp_path: Path) -> None:
    assert "would make" in run("repo", "create", tmp_path / "R", "--dry-run").out
    assert not (tmp_path / "R").exists()
    run("repo", "create", tmp_path / "R")
    assert "would enter 4 frames of 4 files" in run("repo", "ingest", raws, "--repo", tmp_path / "R", "--dry-run").out
    assert run("repo", "ls", "--repo", tmp_path / "R", "--json").data["instruments"] == []


def test_ingest_counts_and_fails_for_bad_files_alone(run: Run, raws: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.fits"
    bad.write_text("no FITS")
    run("repo", "create", tmp_path / "R")
    done = run("repo", "ingest", raws, bad, "--repo", tmp_path / "R", "--json")
    assert done.code == 1
    assert len(done.data["entered"]) == 4
    assert [one["name"] for one in done.data["failures"]] == [str(bad)]
    again = run("repo", "ingest", raws, "--repo", tmp_path / "R", "-v")
    assert again.code == 0
    assert "entered 0 frames of 0 files; 4 files known already" in again.out
    assert again.err.count("known already") == 4


def test_ls(run: Run, repo: Path) -> None:
    (one,) = run("repo", "ls", "--repo", repo, "--json").data["instruments"]
    assert one == {"instrument": "simulated", "detectors": 1, "exposures": 4, "filters": ["g", "unknown"]}
    rows = run("repo", "ls", "exposures", "--repo", repo, "--json").data["exposures"]
    assert sorted(r["kind"] for r in rows) == ["bias", "bias", "flat", "science"]
    assert {r["frames"] for r in rows} == {1}
    table = run("repo", "ls", "exposures", "--repo", repo, "--where", "exposure.seq_num = 4").out.splitlines()
    assert table[0].split()[:4] == ["instrument", "exposure", "day_obs", "seq_num"]
    assert len(table) == 2
    names = [c["collection"] for c in run("repo", "ls", "collections", "--repo", repo, "--json").data["collections"]]
    assert names == ["simulated/calib", "simulated/defaults", "simulated/raw/all"]
    assert len(run("repo", "ls", "datasets", "--type", "raw", "--repo", repo, "--json").data["datasets"]) == 4


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["ls", "frames"], "nothing to list by the name 'frames'"),
        (["ls", "collections", "--where", "a = 1"], "listed without a condition"),
        (["ls", "exposures", "--type", "raw"], "choose among datasets"),
        (["ls", "exposures", "--where", "exposure.foo = 1"], "Unrecognized field 'foo'"),
        (["ls", "--instrument", "Other"], "no instrument 'Other'"),
        (["find", "raw", "detector"], "'detector' is no part of a data id"),
        (["find", "raw", "detector=a"], "detector 'a' is no number"),
        (["find", "52101f38-3247-589b-9fa5-b97fa8815ec8"], "there is no dataset 52101f38"),
        (["certify", "nothing.fits"], "no such file, id or dataset type"),
        (["certify", "bias"], "of which run"),
        (["certify", "bias", "--run", "none"], "none"),
        (["certify", "bias", "--begin", "soon"], "'soon' is no time"),
        (["decertify", "raw"], "there is no calibration 'raw'"),
        (["check", "--repair", "--undo", "x"], "contradict each other"),
        (["history", "nothing"], "no id of a dataset"),
    ],
)
def test_mistakes(run: Run, repo: Path, words: list[str], wanted: str) -> None:
    done = run("repo", *words, "--repo", repo, "--json")
    assert done.code == 2
    assert wanted in done.err
    assert wanted in done.data["failures"][-1]["error"]


def test_a_condition_is_answered_with_one_that_can_be_read(run: Run, repo: Path) -> None:
    done = run("repo", "ls", "exposures", "--where", "kind = 'bias'", "--repo", repo)
    assert done.code == 2 and "Unrecognized identifier 'kind'" in done.err
    shown = done.err.partition("write it as: ")[2].splitlines()[0]
    assert run("repo", "ls", "exposures", "--where", shown, "--repo", repo).code == 0


def test_without_a_repository(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = run("repo", "ls")
    assert done.code == 2
    assert "name one with --repo, or in the variable FULLWELL_REPO" in done.err
    assert str(tmp_path) in done.err


def test_calibrations_from_files_to_exposures(run: Run, repo: Path, raws: Path, tmp_path: Path) -> None:
    flat, bias = tmp_path / "flat.fits", tmp_path / "bias.fits"
    io.write_product(product_of(raw_file(raws, "flat"), Flat, 0.5), flat)
    io.write_product(product_of(raw_file(raws, "bias"), Bias, 9.0), bias)
    dry = run("repo", "certify", flat, bias, "--repo", repo, "--dry-run")
    assert dry.out.count("would certify") == 2
    done = run("repo", "certify", flat, bias, "--begin", "2025-01-01", "--repo", repo, "--json")
    assert done.code == 0
    assert sorted(one["dataset"] for one in done.data["certified"]) == ["bias", "flat"]
    science = number(run, repo)
    found = run("repo", "find", "flat", f"exposure={science}", "detector=0", "--repo", repo, "--json").data
    assert found["data_id"] == {"instrument": "simulated", "detector": 0, "physical_filter": "g"}
    assert found["valid"] == [{"collection": "simulated/calib", "begin": "2025-01-01T00:00:00", "end": None}]
    assert np.all(io.read_product(found["path"]).image == 0.5)
    told = run("repo", "find", found["id"], "--repo", repo).out
    assert "valid            2025-01-01T00:00:00 to … in simulated/calib" in told
    overlap = run("repo", "certify", found["id"], "--begin", "2025-01-10", "--repo", repo, "--json")
    assert overlap.code == 2
    assert overlap.data["failures"][0]["code"] == "FW612"
    ended = run("repo", "decertify", "flat", "physical_filter=g", "--begin", "2025-01-10", "--repo", repo)
    assert "ended the validity of flat instrument=simulated, detector=0, physical_filter=g" in ended.out
    miss = run("repo", "find", "flat", f"exposure={science}", "detector=0", "--repo", repo)
    assert miss.code == 2
    assert "valid at other times: 2025-01-01T00:00:00 to 2025-01-10T00:00:00" in miss.err
    assert "nothing to end" in run("repo", "decertify", "flat", "--begin", "2026-01-01", "--repo", repo).err
    run_name = found["run"]
    again = run("repo", "certify", "flat", "--run", run_name, "--begin", "2025-01-10", "--repo", repo)
    assert again.code == 0
    assert run("repo", "find", "flat", f"exposure={science}", "detector=0", "--repo", repo).code == 0


def test_a_refused_certification_leaves_no_file_behind(run: Run, repo: Path, raws: Path, tmp_path: Path) -> None:
    for i in range(2):
        io.write_product(product_of(raw_file(raws, "bias"), Bias, float(i)), tmp_path / f"bias{i}.fits")
    assert run("repo", "certify", tmp_path / "bias0.fits", "--repo", repo).code == 0
    before = set(repo.rglob("*.fits"))
    assert run("repo", "certify", tmp_path / "bias1.fits", "--repo", repo).code == 2
    assert set(repo.rglob("*.fits")) == before
    assert len(run("repo", "ls", "datasets", "--type", "bias", "--repo", repo, "--json").data["datasets"]) == 1


def test_history_export_import_check(run: Run, repo: Path, tmp_path: Path) -> None:
    science = number(run, repo)
    ident = run("repo", "find", "raw", f"exposure={science}", "detector=0", "--repo", repo, "--json").data["id"]
    drawn = run("repo", "history", ident, "--repo", repo)
    assert drawn.out.startswith("raw")
    assert run("repo", "history", ident, "--repo", repo, "--json").data["history"]["id"] == ident
    dry = run("repo", "export", tmp_path / "out", "--repo", repo, "--where", "exposure.seq_num < 3", "--dry-run")
    assert "would export 2 datasets" in dry.out
    done = run("repo", "export", tmp_path / "out", "--repo", repo, "--where", "exposure.seq_num < 3", "--json")
    assert done.data["datasets"] == {"raw": 2}
    assert len(run("repo", "ls", "datasets", "--repo", tmp_path / "out", "--json").data["datasets"]) == 2
    run("repo", "create", tmp_path / "other")
    assert "entered 2 raw" in run("repo", "import", tmp_path / "out", "--repo", tmp_path / "other").out
    assert run("repo", "import", tmp_path / "out", "--repo", tmp_path / "other", "--json").data["known"] == 2
    whole = run("repo", "check", "--repo", tmp_path / "other", "--json")
    assert (whole.code, whole.data["ok"]) == (0, True)
    next((tmp_path / "other").rglob("*.fits")).unlink()
    broken = run("repo", "check", "--repo", tmp_path / "other", "--json")
    assert (broken.code, broken.data["counts"]) == (1, {"missing": 1})
    assert broken.data["failures"][0]["code"] == "missing"


def test_a_stranger_must_be_trusted(run: Run, repo: Path) -> None:
    config = repo / "butler.yaml"
    text = config.read_text()
    config.write_text(text.replace("storageClasses:\n", "storageClasses:\n  Odd:\n    pytype: stranger.Thing\n"))
    done = run("repo", "ls", "--repo", repo, "--json")
    assert done.code == 2
    assert done.data["failures"][0]["code"] == "FW613"
    assert "stranger.Thing" in done.err
    assert run("repo", "ls", "--repo", repo, "--trust").code == 0
    assert json.loads(run("repo", "ls", "--repo", repo, "--trust", "--json").out)["instruments"]


def test_exposures_are_listed_in_the_order_of_time(run: Run, tmp_path: Path) -> None:
    night = Night(tmp_path / "raws")
    for n in (5, 3, 1, 4, 2):
        night.bias(1, DATE_OBS=f"2025-01-15T0{n}:00:00.000", OBSID=f"at_{n}", SEQNUM=n)
    assert run("repo", "create", tmp_path / "R").code == 0
    assert run("repo", "ingest", night.folder, "--repo", tmp_path / "R").code == 0
    rows = run("repo", "ls", "exposures", "--repo", tmp_path / "R", "--json").data["exposures"]
    assert [r["seq_num"] for r in rows] == [1, 2, 3, 4, 5]


def test_failures_in_json_say_what_to_try(run: Run, repo: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.fits").write_bytes(b"nothing")
    (failed,) = run("repo", "ingest", tmp_path / "bad.fits", "--repo", repo, "--json").data["failures"]
    assert failed["remedy"] and failed["code"].startswith("FW")
