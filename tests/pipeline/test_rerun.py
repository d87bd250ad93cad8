"""Datasets made again: the same comes out, and what does not is told."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from carry import carry, of_task, plan

from fullwell.base.errors import FileError, FullwellError, MissingProduct, UsageError
from fullwell.pipeline.rerun import VOLATILE, compare, rerun
from fullwell.pipeline.runs import run_folder
from fullwell.repo.repository import Repository, open_repo
from fullwell.repo.transport import export

TASKS = ("gain", "bias", "dark", "flat", "defects", "isr")


def files(repo: Repository) -> dict[str, Path]:
    """Task -> a file that it made."""
    made = plan(repo)
    return {task: Path(of_task(made, task)[0].job.outputs[0].path) for task in TASKS}


@pytest.mark.parametrize("task", TASKS)
def test_the_same_comes_out(done: Repository, tmp_path: Path, task: str) -> None:
    path = files(done)[task]
    before = path.read_bytes()
    planned = rerun(done, path, tmp_path / "a")
    shutil.rmtree(run_folder(done))
    rebuilt = rerun(done, planned.id, tmp_path / "b")
    for found, source in ((planned, "plan"), (rebuilt, "record")):
        assert found.ok, [(k, a, b) for _, k, a, b in found.cards]
        assert found.source == source and found.task == task and found.version == found.now
        assert [p.name for p in found.parts][:2] == (["table"] if path.suffix == ".ecsv" else ["PRIMARY", "IMAGE"])
        assert not found.cards and found.to_dict()["ok"]
    assert path.read_bytes() == before and (tmp_path / "a" / path.name).exists()


def test_from_an_exported_repository(done: Repository, tmp_path: Path) -> None:
    path = files(done)["isr"]
    ident = rerun(done, path, tmp_path / "a").id
    export(done, tmp_path / "part", ids=[ident])
    with open_repo(tmp_path / "part") as part:
        kinds = {t.name for t in part.butler.registry.queryDatasetTypes() if list(part.butler.query_datasets(
            t.name, "*", find_first=False, explain=False))}  # fmt: skip
        assert "run_record" in kinds and "raw" in kinds
        found = rerun(part, ident, tmp_path / "b")
    assert found.ok and found.source == "record" and found.path.is_relative_to(tmp_path / "part")


def test_settings_of_two_runs_are_told_apart(done: Repository, tmp_path: Path) -> None:
    first = files(done)["isr"]
    assert carry(done, plan(done, config={"settings": {"overscan_serial": {"method": "median"}}})).ok
    shutil.rmtree(run_folder(done))
    second = next(p for p in done.root.rglob(first.name) if p != first)
    for path in (first, second):
        assert rerun(done, path, tmp_path / path.parts[-4]).ok


def test_pixels_and_keywords_that_differ_are_told(done: Repository, tmp_path: Path) -> None:
    path = files(done)["isr"]
    with fits.open(path, mode="update") as hdus:
        hdus["IMAGE"].data[3, 4] += 2.5
        hdus["IMAGE"].data[5, 6] = np.nan
        hdus["VARIANCE"].data[:2, :2] *= 2
        hdus[0].header["EXPTIME"] = 61.0
        hdus[0].header["EXTRA"] = "mine"
    found = rerun(done, path, tmp_path / "a")
    assert not found.ok
    parts = {p.name: p for p in found.parts}
    assert (parts["IMAGE"].same, parts["IMAGE"].differ) == (False, 2)
    assert parts["VARIANCE"].differ == 4 and parts["MASK"].same
    cards = {(hdu, key): (old, new) for hdu, key, old, new in found.cards}
    assert cards["PRIMARY", "EXPTIME"] == (61.0, 60.0) and cards["PRIMARY", "EXTRA"] == ("mine", None)
    assert ("IMAGE", "DATASUM") in cards or "DATASUM" not in fits.getheader(path, "IMAGE")


def test_values_of_tables_that_differ_are_told(done: Repository, tmp_path: Path) -> None:
    path = files(done)["gain"]
    other = tmp_path / path.name
    text = path.read_text()
    last = text.rstrip().splitlines()[-1]
    changed = " ".join("9.25" if w.replace(".", "").isdigit() and "." in w else w for w in last.split(" "))
    other.write_text(text.replace(last, changed))
    parts, cards = compare(path, other)
    assert not parts[0].same and parts[0].differ >= 1 and not cards
    other.write_text(text.replace(last, f"{last}\n{last}"))
    assert compare(path, other)[0][0].note == "other columns or another number of rows"


def test_what_differs_each_time_is_listed() -> None:
    assert set(VOLATILE) >= {"CHECKSUM", "CALIB_CREATION_DATE", "CALIB_CREATION_TIME"} and all(VOLATILE.values())


def test_arrays_of_other_shape_or_number(tmp_path: Path) -> None:
    one, two = tmp_path / "1.fits", tmp_path / "2.fits"
    image = np.zeros((3, 4), np.float32)
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(image, name="A"), fits.ImageHDU(image, name="B")]).writeto(one)
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(image[:2], name="A")]).writeto(two)
    notes = {p.name: (p.same, p.note) for p in compare(one, two)[0]}
    assert notes["A"] == (False, "(3, 4) >f4 before, (2, 4) >f4 now")
    assert notes["B"] == (False, "the new file does not have it")
    assert {p.name: p.note for p in compare(two, one)[0]}["B"] == "the old file does not have it"


def test_what_cannot_be_made_again(done: Repository, tmp_path: Path) -> None:
    path = files(done)["isr"]
    raw = next(iter(done.butler.query_datasets("raw", limit=1)))
    cases: list[tuple[object, type[FullwellError], str]] = [
        (raw, UsageError, "this raw was not made by a task"),
        ("00000000-0000-0000-0000-000000000001", MissingProduct, "is not in this repository"),
        ("nonsense", UsageError, "this is no id of a dataset"),
    ]
    for dataset, kind, problem in cases:
        with pytest.raises(kind, match=problem):
            rerun(done, dataset, tmp_path / "a")
    ident = rerun(done, path, tmp_path / "a").id
    aside = path.rename(path.with_suffix(".aside"))
    with pytest.raises(FileError, match="nothing to compare with"):
        rerun(done, ident, tmp_path / "a")
    aside.rename(path)
    bias = files(done)["bias"]
    aside = bias.rename(bias.with_suffix(".aside"))
    with pytest.raises(FileError, match=r"the file of the bias .* is gone") as caught:
        rerun(done, ident, tmp_path / "a")
    assert caught.value.where == str(bias)
    aside.rename(bias)
    shutil.rmtree(run_folder(done))
    for record in done.root.rglob("run_record_*.json"):
        record.write_text("{}")
    with pytest.raises(UsageError, match="settings of this post_isr_image are not known any more"):
        rerun(done, ident, tmp_path / "a")
