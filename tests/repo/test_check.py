"""Files against index: each fault is found and named, and repair loses nothing."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from astropy.io import fits
from repos import CAMERA, Make, product_of, raw_file

from fullwell import io
from fullwell.base.errors import FileError, UsageError
from fullwell.io.atomic import unfinished
from fullwell.products import Bias, Flat, Gain
from fullwell.repo.calibs import Entry, certify, enter_files, new_run, validity
from fullwell.repo.check import Report, check
from fullwell.repo.ingest import ingest
from fullwell.repo.layout import file_path
from fullwell.repo.mend import LOST, put_back
from fullwell.repo.provenance import cards
from fullwell.repo.repository import Repository, create

RUN = f"{CAMERA}/calibgen/a"


def product(night: Path, kind: type[Any]) -> Any:
    if kind is Gain:
        one = np.ones(2)
        return Gain(amps=("A", "B"), gain=one, gain_error=one, read_noise=one, read_noise_error=one)
    return product_of(raw_file(night, {"bias": "bias", "flat": "flat_g"}[kind.kind]), kind, 3.0)


def written(repo: Repository, night: Path, kind: type[Any], run: str = RUN) -> Entry:
    """A finished file with its cards in the folder of a run, not entered."""
    data_id: dict[str, Any] = {"instrument": CAMERA, "detector": 0}
    data_id |= {"physical_filter": "g"} if kind is Flat else {}
    ident, path = uuid4(), repo.root / file_path(kind.kind, run, data_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    told = cards(ident, run, kind.kind, data_id)
    io.write_product(kind(**{**vars(product(night, kind)), "metadata": told}), path)
    return Entry(kind.kind, data_id, run, path, ident)


@pytest.fixture
def stocked(make: Make, night: Path) -> Repository:
    """Raws by reference, and a bias, a flat and a gain with their cards, the bias certified."""
    repo = make()
    assert ingest(repo, [night]).ok
    new_run(repo, CAMERA, "a")
    refs = enter_files(repo, [written(repo, night, kind) for kind in (Bias, Flat, Gain)])
    certify(repo, refs[:1], "2025-01-01")
    return repo


def path_of(repo: Repository, name: str) -> Path:
    return repo.file_of(repo.butler.query_datasets(name, RUN, find_first=False)[0])


def tree(root: Path) -> dict[str, bytes]:
    """Name and content of every file, less the index."""
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file() and "sqlite" not in p.name}


def one(report: Report, kind: str) -> Any:
    """The only finding of a report, which is of that kind."""
    assert [f.kind for f in report.findings] == [kind], report.text()
    return report.findings[0]


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def test_a_sound_repository(stocked: Repository) -> None:
    before = tree(stocked.root)
    for deep in (True, False):
        report = check(Repository(stocked.path), deep=deep)
        assert report.ok and not report.findings and (report.datasets, report.files) == (9, 9)
        assert report.size == sum(
            stocked.file_of(r).stat().st_size for r in stocked.butler.query_all_datasets("*", find_first=False)
        )
        assert "nothing is wrong" in report.text()
    assert check(stocked, repair=True).saved is None
    assert tree(stocked.root) == before


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-2880])


def flip_pixel(path: Path) -> None:
    with fits.open(path) as file:
        at = file["IMAGE"].fileinfo()["datLoc"] + 13
    flip(path, at)


def flip_header(path: Path) -> None:
    flip(path, path.read_bytes().index(b"OBSTYPE =") + 12)


def change_cell(path: Path) -> None:
    text = path.read_text()
    path.write_text(text.replace("\nA 1.0", "\nA 1.5"))


def break_text(path: Path) -> None:
    text = path.read_text()
    path.write_text(text.replace("datatype:", "datatype;"))


def other_id(path: Path) -> None:
    text = path.read_bytes()
    at = text.index(b"LSST BUTLER ID = '") + 18
    path.write_bytes(text[:at] + str(uuid4()).encode() + text[at + 36 :])


@pytest.mark.parametrize(
    ("name", "spoil", "said", "shallow"),
    [
        ("bias", cut, "bytes, it had", True),
        ("flat", flip_pixel, r"HDU 1 \(IMAGE\): the data are not those", False),
        ("flat", flip_header, "HDU 0: the header is not the one", False),
        ("gain", change_cell, "edited after it was written", False),
        ("gain", break_text, "the table cannot be decoded", False),
        ("bias", other_id, "the file is another dataset: it carries the id", True),
    ],
)
def test_damage_is_found_and_put_aside(
    stocked: Repository, name: str, spoil: Callable[[Path], None], said: str, shallow: bool
) -> None:
    """The file is kept as it is; the dataset and its certification stay; a repair can be undone."""
    path = path_of(stocked, name)
    ref = stocked.butler.query_datasets(name, RUN, find_first=False)[0]
    certified = validity(stocked, ref)
    spoil(path)
    spoiled = path.read_bytes()
    assert bool(check(stocked, deep=False).findings) == shallow
    report = check(stocked)
    found = one(report, "damaged")
    assert not report.ok and found.path == path and not found.done
    assert path.read_bytes() == spoiled
    assert re.search(said, found.problem), found.problem
    report = check(stocked, repair=True)
    found = one(report, "damaged")
    assert report.ok and not path.exists() and "moved to" in found.done
    assert report.saved is not None
    kept = report.saved.parent / path.relative_to(stocked.root)
    assert kept.read_bytes() == spoiled and LOST in str(kept)
    assert stocked.butler.get_dataset(ref.id) == ref and validity(stocked, ref) == certified
    after = check(stocked)
    assert not after.findings and (after.unstored, after.files) == (1, 8)
    assert put_back(stocked, report.saved) == {"moved": 1, "entered": 1, "left": 0}
    assert path.read_bytes() == spoiled and stocked.file_of(ref) == path


def test_the_same_product_made_again_takes_its_place(stocked: Repository, night: Path) -> None:
    """What repair put aside is entered again under its id, and valid as before."""
    ref = stocked.butler.query_datasets("bias", RUN, find_first=False)[0]
    path, whole = path_of(stocked, "bias"), path_of(stocked, "bias").read_bytes()
    cut(path)
    check(stocked, repair=True)
    path.write_bytes(whole)
    enter_files(stocked, [Entry("bias", dict(ref.dataId.required), RUN, path, ref.id)])
    assert stocked.file_of(ref) == path and len(validity(stocked, ref)) == 1
    report = check(stocked)
    assert report.ok and report.unstored == 0


def test_a_file_that_is_gone(stocked: Repository) -> None:
    path = path_of(stocked, "bias")
    ref = stocked.butler.query_datasets("bias", RUN, find_first=False)[0]
    whole = path.read_bytes()
    path.unlink()
    found = one(check(stocked), "missing")
    assert (found.path, found.dataset_type, found.found, found.done) == (path, "bias", None, "")
    report = check(stocked, repair=True)
    assert "keeps the dataset" in one(report, "missing").done
    assert len(validity(stocked, ref)) == 1
    assert report.saved is not None
    stored = json.loads(report.saved.read_text())["records"]
    assert [(r["id"], r["dataset_type"], r["file_size"]) for r in stored] == [(str(ref.id), "bias", len(whole))]
    assert put_back(stocked, report.saved) == {"moved": 0, "entered": 0, "left": 1}
    path.write_bytes(whole)
    assert put_back(stocked, report.saved) == {"moved": 0, "entered": 1, "left": 0}
    assert stocked.get(ref).image.array[0, 0] == 3.0


def test_a_file_that_was_moved_is_followed(stocked: Repository) -> None:
    """By the id that it carries; not where it is damaged, or a file of the same id is in its place."""
    path = path_of(stocked, "flat")
    ref = stocked.butler.query_datasets("flat", RUN, find_first=False)[0]
    elsewhere = stocked.root / "sorted by hand" / "my flat.fits"
    elsewhere.parent.mkdir()
    path.rename(elsewhere)
    found = one(check(stocked), "missing")
    assert found.found == elsewhere and "it lies at" in check(stocked).text()
    report = check(stocked, repair=True)
    assert one(report, "missing").done == "the index follows the file"
    assert stocked.file_of(ref) == elsewhere and not check(stocked).findings
    inside = path.with_name("again.fits")
    elsewhere.rename(inside)
    assert one(check(stocked), "missing").found == inside
    flip_pixel(inside)
    kinds = {f.kind: f for f in check(stocked).findings}
    assert set(kinds) == {"missing", "foreign"} and kinds["missing"].found is None
    assert "not whole" in kinds["foreign"].problem


def test_a_raw_frame_that_was_moved_is_known_by_its_header(make: Make, night: Path) -> None:
    repo = make()
    raws = repo.root / "raws"
    shutil.copytree(night, raws)
    ingest(repo, [raws])
    old = raw_file(raws, "bias")
    new = repo.root / "other" / "renamed.fits"
    new.parent.mkdir()
    old.rename(new)
    assert one(check(repo), "missing").found == new
    assert one(check(repo, repair=True), "missing").done == "the index follows the file"
    assert not check(repo).findings
    cut(new)
    assert not one(check(repo, repair=True), "damaged").done and new.exists()


def test_raw_frames_stay_where_they_are(make: Make, night: Path, tmp_path: Path) -> None:
    """They cannot be made again: damaged ones are named; a disk that is not mounted loses nothing."""
    repo = make()
    disk = tmp_path / "disk"
    shutil.copytree(night, disk)
    ingest(repo, [disk])
    path = raw_file(disk, "bias")
    flip(path, path.stat().st_size - 2880 * 2)
    found = one(check(repo, repair=True), "damaged")
    assert found.done == "" and path.exists() and "the data are not those" in found.problem
    assert not check(repo, repair=True).ok
    disk.rename(tmp_path / "unmounted")
    report = check(repo, repair=True)
    assert report.counts == {"missing": 6} and not report.ok
    (tmp_path / "unmounted").rename(disk)
    assert check(repo).counts == {"damaged": 1}


def test_a_changed_header_of_a_raw_frame_is_no_damage(make: Make, night: Path, tmp_path: Path) -> None:
    """Observatories mend headers without new checksums; pixels are what counts."""
    repo = make()
    raws = tmp_path / "raws"
    shutil.copytree(night, raws)
    ingest(repo, [raws])
    path = raw_file(raws, "bias")
    flip(path, path.read_bytes().index(b"OBSID") + 12)
    assert not check(repo).findings
    assert fits.getheader(path)["SIMPLE"]


KILLED = """
import os
from pathlib import Path
from fullwell import io
source, target, moment = sys.argv[1:]
product = io.read_product(source)
if moment == "writing":
    with io.atomic_path(target) as temporary:
        temporary.write_bytes(b"half of it")
        os._exit(9)
io.write_product(product, target)
os._exit(9)
"""


@pytest.mark.parametrize("moment", ["writing", "written"])
def test_a_writer_that_was_killed(stocked: Repository, night: Path, tmp_path: Path, moment: str) -> None:
    """While it wrote: what it left is put aside. Between writing and entering: the product is entered."""
    made = written(stocked, night, Bias, "u/me/night/a")
    stocked.butler.collections.register("u/me/night/a")
    source = tmp_path / "made.fits"
    made.path.rename(source)
    done = subprocess.run([sys.executable, "-c", f"import sys\n{KILLED}", str(source), str(made.path), moment])
    assert done.returncode == 9
    report = check(stocked)
    found = one(report, "temporary" if moment == "writing" else "orphan")
    assert not report.ok
    report = check(stocked, repair=True)
    assert report.ok and not check(stocked).findings
    if moment == "writing":
        assert "no more" in found.problem and not made.path.exists() and not found.path.exists()
        (left,) = (stocked.root / LOST).rglob(".fw-*")
        assert left.read_bytes() == b"half of it"
    else:
        assert one(report, "orphan").done == "entered"
        ref = stocked.butler.get_dataset(made.id)
        assert ref is not None and stocked.file_of(ref) == made.path and ref.run == "u/me/night/a"


def test_a_living_writer_is_left_alone(stocked: Repository) -> None:
    with io.atomic_path(path_of(stocked, "bias").with_name("new.fits")) as temporary:
        temporary.write_bytes(b"so far")
        assert unfinished(temporary.name) == "writing"
        assert not check(stocked, repair=True).findings and temporary.exists()
        far = temporary.with_name(temporary.name.replace(temporary.name[4:12], "00000000"))
        far.write_bytes(b"of a cluster")
        found = one(check(stocked, repair=True), "temporary")
        assert "another machine" in found.problem and not found.done and far.exists()


def test_files_that_the_index_does_not_know(stocked: Repository, night: Path) -> None:
    """Notes, copies, half products, products of unknown runs or dimensions: all put aside under their paths."""
    folder = stocked.root / RUN
    (folder / "notes.txt").write_text("the lamp flickered")
    shutil.copy(path_of(stocked, "bias"), folder / "copy.fits")
    half = written(stocked, night, Bias, f"{RUN}/deeper").path
    half.write_bytes(half.read_bytes()[:-2880])
    stranger = written(stocked, night, Flat, "u/they/night/b")
    shutil.move(stranger.path, folder / "stranger.fits")
    (folder / ".hidden").write_text("of the file system")
    before = set(tree(folder).values())
    report = check(stocked)
    told = {p.path.name: p.problem for p in report.findings}
    assert {f.kind for f in report.findings} == {"foreign"}
    assert told.pop("notes.txt") == "it carries no id of a dataset"
    assert told.pop("copy.fits").startswith("it is another copy of the dataset in ")
    assert told.pop(half.name).startswith("it is not whole: the file is cut off")
    assert told == {"stranger.fits": "its run 'u/they/night/b' is not in the index"}
    report = check(stocked, repair=True)
    assert report.ok and report.saved is not None and not check(stocked).findings
    assert (report.saved.parent / RUN / "notes.txt").read_text() == "the lamp flickered"
    assert before <= set(tree(stocked.root).values())
    assert put_back(stocked, report.saved) == {"moved": 4, "entered": 0, "left": 0}
    assert set(tree(folder).values()) == before


def test_an_orphan_that_cannot_be_entered(stocked: Repository, night: Path) -> None:
    """Its place is taken by a dataset of another id."""
    taken = written(stocked, night, Bias, f"{RUN}/x")
    with fits.open(taken.path, mode="update", checksum=True) as file:
        file[0].header["LSST BUTLER RUN"] = RUN
        file[0].add_checksum()
    report = check(stocked)
    assert one(report, "orphan").run == RUN
    report = check(stocked, repair=True)
    assert "could not be entered" in one(report, "orphan").done and not taken.path.exists()
    assert not check(stocked).findings


def test_several_faults_at_once(stocked: Repository, night: Path) -> None:
    """Every one of them is found, and the report says so in text and JSON."""
    cut(path_of(stocked, "bias"))
    path_of(stocked, "flat").unlink()
    change_cell(path_of(stocked, "gain"))
    (stocked.root / RUN / "x").write_text("x")
    report = check(stocked, jobs=2)
    assert report.counts == {"damaged": 2, "missing": 1, "foreign": 1}
    content = json.loads(json.dumps(report.to_dict()))
    assert content["counts"] == report.counts and content["ok"] is False
    text = report.text()
    assert "damaged files: 2" in text and f"  {RUN}/x\n    it carries no id" in text
    report = check(stocked, repair=True)
    assert report.ok and check(stocked).unstored == 3
    assert json.loads(report.saved.read_text())["findings"] == report.to_dict()["findings"]  # type: ignore[union-attr]


def test_what_will_be_done_is_written_before(stocked: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed at the first move, the records are in the report already."""
    cut(path_of(stocked, "bias"))

    def killed(*args: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "move", killed)
    with pytest.raises(KeyboardInterrupt):
        check(stocked, repair=True)
    (saved,) = (stocked.root / LOST).glob("*/report.json")
    assert [r["dataset_type"] for r in json.loads(saved.read_text())["records"]] == ["bias"]
    monkeypatch.undo()
    assert check(stocked, repair=True).ok


def test_reading_only(stocked: Repository, tmp_path: Path) -> None:
    cut(path_of(stocked, "bias"))
    reader = Repository(stocked.path)
    assert check(reader).counts == {"damaged": 1}
    with pytest.raises(UsageError, match="reading only"):
        check(reader, repair=True)
    assert not (stocked.root / LOST).exists()
    with pytest.raises(FileError, match="no report of a repair"):
        put_back(stocked, tmp_path / "nothing.json")


def test_other_repositories_inside_are_left_alone(stocked: Repository) -> None:
    """One that was made in the folder of a run is not taken for stray files."""
    inner = create(stocked.root / RUN / "inner")
    (inner.path / "x.txt").write_text("x")
    assert not check(stocked, repair=True).findings
    assert (inner.path / "x.txt").exists()


def test_folder_mode_leaves_the_users_files_alone(night: Path, tmp_path: Path) -> None:
    """Only the folders of runs are looked into for strays."""
    folder = tmp_path / "my night"
    shutil.copytree(night, folder)
    (folder / "notes.txt").write_text("x")
    repo = create(folder / ".fullwell" / "repo", files=folder)
    ingest(repo, [folder])
    assert not check(repo, repair=True).findings
    os.rename(folder, tmp_path / "moved")
    assert not check(Repository(tmp_path / "moved")).findings
