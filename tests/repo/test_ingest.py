"""Raw frames into a repository: every way of transfer, again, in place, and files that cannot be taken."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from carry import plan
from nights import Night
from nines import Nines
from repos import CAMERA, Make, enter, exposure, fresh, product_of, raw_file

import fullwell as fw
from fullwell import io
from fullwell.base.errors import FileError, FullwellError, UsageError
from fullwell.products import Flat
from fullwell.repo.ingest import ingest
from fullwell.repo.layout import FOLDER_REPO
from fullwell.repo.repository import Repository, create, open_repo
from fullwell.repo.transport import export, import_


def of(repo: Repository, number: int) -> Path:
    return repo.file_of(repo.find("raw", exposure=number, detector=0))


@pytest.mark.parametrize("transfer", ["direct", "link", "copy", "move"])
def test_transfers(make: Make, night: Path, tmp_path: Path, transfer: str) -> None:
    source = tmp_path / "source"
    shutil.copytree(night, source)
    before = {p.name: p.read_bytes() for p in source.iterdir()}
    repo = make()
    done = ingest(repo, [source], transfer=transfer)
    assert (len(done.entered), done.failed, done.known) == (6, {}, {})
    path = of(repo, exposure(repo, band="r"))
    inside = path.is_relative_to(repo.path)
    assert (inside, path.is_symlink()) == {
        "direct": (False, False), "link": (True, True), "copy": (True, False), "move": (True, False)
    }[transfer]  # fmt: skip
    assert path.read_bytes() == before["sky_r_0006.fits"]
    assert sorted(p.name for p in source.iterdir()) == ([] if transfer == "move" else sorted(before))
    frame = repo.raw(exposure(repo, band="r"), 0)
    assert frame.observation.obs_id == "made_0006"


def test_again_changes_nothing(filled: Repository, night: Path, tmp_path: Path) -> None:
    ids = {ref.id for ref in filled.butler.query_datasets("raw")}
    again = ingest(filled, [night])
    assert (again.entered, len(again.known), again.failed) == ({}, 6, {})
    copies = tmp_path / "copies"
    shutil.copytree(night, copies)
    elsewhere = ingest(filled, [copies])
    assert (elsewhere.entered, len(elsewhere.known)) == ({}, 6)
    assert {ref.id for ref in filled.butler.query_datasets("raw")} == ids


def test_ids_are_the_same_at_every_site(filled: Repository, night: Path, tmp_path: Path) -> None:
    other = create(tmp_path / "other")
    ingest(other, [raw_file(night, "sky_g")])
    number = exposure(other)
    assert other.find("raw", exposure=number, detector=0).id == filled.find("raw", exposure=number, detector=0).id


def test_a_dry_run_enters_nothing(make: Make, night: Path) -> None:
    repo = make()
    assert len(ingest(repo, [night], dry_run=True).entered) == 6
    assert repo.instruments() == []


def test_two_files_for_one_frame_clash(filled: Repository, night: Path, tmp_path: Path) -> None:
    changed = tmp_path / "changed.fits"
    shutil.copy(raw_file(night, "sky_g"), changed)
    with fits.open(changed, mode="update") as hdus:
        hdus[-1].data[0, 0] += 1
    done = ingest(filled, [changed])
    (error,) = done.failed.values()
    assert error.code == "FW611"
    assert "is there already, from another file" in error.problem
    assert str(changed) in str(error)
    assert str(raw_file(night, "sky_g")) in str(error)
    with pytest.raises(UsageError, match="from another file"):
        ingest(filled, [changed], fail_fast=True)


def test_two_new_files_for_one_frame_clash_as_well(make: Make, night: Path, tmp_path: Path) -> None:
    changed = tmp_path / "z_changed.fits"
    shutil.copy(raw_file(night, "sky_g"), changed)
    with fits.open(changed, mode="update") as hdus:
        hdus[-1].data[0, 0] += 1
    done = ingest(make(), [raw_file(night, "sky_g"), changed])
    assert list(done.entered) == [raw_file(night, "sky_g")]
    assert list(done.failed) == [changed]


def test_two_detectors_of_one_number_are_refused(filled: Repository, night: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.fits"
    shutil.copy(raw_file(night, "bias"), other)
    with fits.open(other, mode="update") as hdus:
        for hdu in hdus:
            for key in ("DETNAME", "DETECTOR", "CCDNAME", "EXTNAME"):
                if key in hdu.header and isinstance(hdu.header[key], str) and hdu.header[key]:
                    hdu.header[key] = "S99"
        hdus[0].header["OBSID"] = "made_0099"
    done = ingest(filled, [other])
    (error,) = done.failed.values()
    assert error.problem == f"detector 0 of {CAMERA} is 'S00', this file says 'S99'"


def test_bad_files_among_good_ones(make: Make, night: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mixed"
    shutil.copytree(night, folder)
    (folder / "cut.fits").write_bytes(raw_file(night, "bias").read_bytes()[:4000])
    (folder / "empty.fits").write_bytes(b"")
    (folder / "text.fits").write_text("this is no FITS file")
    (folder / "notes.txt").write_text("of the observer")
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns([fits.Column("a", "E", array=[1.0])])]).writeto(
        folder / "table.fits"
    )
    (folder / ".hidden.fits").write_bytes(b"")
    repo = make()
    done = ingest(repo, [folder])
    assert len(done.entered) == 6
    assert sorted(p.name for p in done.failed) == ["cut.fits", "empty.fits", "table.fits", "text.fits"]
    for path, error in done.failed.items():
        assert str(path) in str(error), error
        assert error.problem
    assert len(list(repo.butler.query_datasets("raw", f"{CAMERA}/raw/all"))) == 6


def test_fail_fast_enters_nothing(make: Make, night: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mixed"
    shutil.copytree(night, folder)
    (folder / "z.fits").write_bytes(b"")
    repo = make()
    with pytest.raises(FullwellError):
        ingest(repo, [folder], fail_fast=True)
    assert repo.instruments() == []


def test_results_are_no_raw_frames(make: Make, night: Path, tmp_path: Path) -> None:
    """Such as stand in a folder made a repository in place after a run."""
    folder = tmp_path / "mixed"
    shutil.copytree(night, folder)
    (folder / "out").mkdir()
    io.write_product(product_of(raw_file(night, "bias"), Flat, 1.0), folder / "out" / "flat.fits")
    io.write_frame(fw.isr(io.read(raw_file(night, "sky_g"))), folder / "out" / "sky.fits")
    repo = make()
    done = ingest(repo, [folder])
    assert (len(done.entered), done.failed) == (6, {})
    assert done.notes == [
        f"2 files are processed frames or calibrations, and were left out (the first: {folder / 'out' / 'flat.fits'})"
    ]
    for name in ("flat.fits", "sky.fits"):
        ((path, error),) = ingest(repo, [folder / "out" / name]).failed.items()
        assert path.name == name and error.code == "FW616" and "this is no raw frame" in error.problem


def test_a_folder_without_frames(make: Make, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileError, match="there are no raw files there") as error:
        ingest(make(), [tmp_path / "empty"])
    assert ".fits.gz" in str(error.value.remedy)


def test_names_that_are_not_there(make: Make, tmp_path: Path) -> None:
    repo = make()
    with pytest.raises(FileError, match="no such file or folder"):
        ingest(repo, [tmp_path / "none"])
    with pytest.raises(UsageError, match="transfer 'teleport' is unknown"):
        ingest(repo, [tmp_path], transfer="teleport")


def test_files_without_a_date(make: Make, night: Path, tmp_path: Path) -> None:
    path = tmp_path / "undated.fits"
    shutil.copy(raw_file(night, "sky_g"), path)
    with fits.open(path, mode="update") as hdus:
        for hdu in hdus:
            for key in [k for k in hdu.header if "DATE" in k or "MJD" in k or k in ("UT", "TIME-OBS", "DAYOBS")]:
                del hdu.header[key]
    repo = make()
    done = ingest(repo, [path])
    assert done.ok
    assert "1 files have no date (the first: undated.fits)" in done.notes[0]
    number = exposure(repo)
    (record,) = repo.butler.query_dimension_records("exposure", instrument=CAMERA)
    assert record.timespan.end.isot.startswith("1970-01-01T00:01:00")  # 60 s after the first moment that there is
    assert repo.raw(number, 0).image.array.shape == (48, 80)
    ref = enter(repo, raw_file(night, "flat_g"), Flat, 0.5)
    assert repo.find("flat", exposure=number, detector=0) == ref


def mosaic(night: Path, path: Path, names: tuple[str, ...] = ("east", "west")) -> Path:
    """A focal-plane file: two detectors, told apart by CCDNAME alone."""
    with fits.open(raw_file(night, "sky_g"), memmap=False) as hdus:
        image = next(h for h in hdus if h.data is not None)
        keep = hdus[0].header.copy()
        for key in ("EXTNAME", "DETNAME", "DETECTOR", "CCDNAME", "DETSEC", "CCDSEC", "NAXIS1", "NAXIS2"):
            keep.remove(key, ignore_missing=True)
        out = [fits.PrimaryHDU(header=fits.Header([c for c in keep.cards if c.keyword not in ("NAXIS", "BITPIX")]))]
        for i, name in enumerate(names):
            header = fits.Header([c for c in image.header.cards if c.keyword in ("DATASEC", "BIASSEC", "TRIMSEC")])
            header["CCDNAME"] = name
            out.append(fits.ImageHDU(image.data + np.uint16(1000 * i), header, name=name))
        fits.HDUList(out).writeto(path)
    return path


def test_a_file_with_several_detectors(make: Make, night: Path, tmp_path: Path) -> None:
    repo = make()
    path = mosaic(night, tmp_path / "mosaic.fits")
    done = ingest(repo, [path])
    assert done.ok, done.failed
    (ids,) = done.entered.values()
    assert [(i.detector, i.detector_name) for i in ids] == [(0, "east"), (1, "west")]
    east, west = (repo.get("raw", exposure=ids[0].exposure, detector=n) for n in (0, 1))
    assert np.all(west.image.array == east.image.array + 1000)
    part = repo.get("raw.image", exposure=ids[0].exposure, detector=1, box=(2, 3, 4, 5))
    assert np.array_equal(part.array, west.image.array[3:8, 2:6])
    assert ingest(repo, [path]).known == {path: ids}


NAMES = ("a#1.fits", "b%23 1.fits", "c%.fits")


@pytest.mark.parametrize("transfer", ["direct", "link", "copy"])
def test_names_that_a_uri_would_misread(make: Make, night: Path, tmp_path: Path, transfer: str) -> None:
    folder = tmp_path / "night #2"
    folder.mkdir()
    for name, source in zip(NAMES, ("bias", "sky_g", "sky_r"), strict=True):
        shutil.copy(raw_file(night, source), folder / name)
    repo = make()
    done = ingest(repo, [folder], transfer=transfer)
    assert (len(done.entered), done.failed) == (3, {})
    assert repo.raw(exposure(repo, band="r"), 0).observation.obs_id == "made_0006"
    assert repo.raw(exposure(repo, band="g"), 0).observation.obs_id == "made_0005"
    if transfer == "direct":
        assert of(repo, exposure(repo, band="g")) == folder / "b%23 1.fits"
    assert len(ingest(repo, [folder], transfer=transfer).known) == 3


def test_a_relative_path_that_cannot_be_kept(night: Path, tmp_path: Path) -> None:
    folder = tmp_path / "night #2"
    folder.mkdir()
    for name, source in zip(NAMES, ("bias", "sky_g", "sky_r"), strict=True):
        shutil.copy(raw_file(night, source), folder / name)
    with create(folder / FOLDER_REPO, files=folder) as repo:
        done = ingest(repo, [folder])
        assert {p.name for p in done.failed} == set(NAMES[:2])
        assert {e.code for e in done.failed.values()} == {"FW615"}
        assert of(repo, exposure(repo, band="r")) == folder / NAMES[2]
        assert ingest(repo, [folder], transfer="copy").ok
        assert repo.raw(exposure(repo, band="g"), 0).observation.obs_id == "made_0005"


def test_a_filter_with_a_hash(filled: Repository, night: Path, tmp_path: Path) -> None:
    """Of the EFOSC camera: 'g#782'."""
    path = tmp_path / "hash.fits"
    shutil.copy(raw_file(night, "flat_g"), path)
    with fits.open(path, mode="update") as hdus:
        hdus[0].header["FILTER"] = "g#782"
        hdus[0].header["OBSID"] = "made_0099"
    assert ingest(filled, [path]).ok
    ref = enter(filled, path, Flat, 0.5)
    assert ref.dataId["physical_filter"] == "g#782"
    assert filled.file_of(ref).name == "flat_simulated_gHASH782_0.fits"
    number = exposure(filled, "flat", "g#782")
    assert filled.get("flat", detector=0, exposure=number).image.array.mean() == 0.5


@pytest.mark.parametrize("name", ["2024.11.08", "my night"])
def test_a_folder_in_place_moves(night: Path, tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    shutil.copytree(night, folder)
    before = sorted(p.name for p in folder.iterdir())
    repo = create(folder / FOLDER_REPO, files=folder)
    assert ingest(repo, [folder]).ok
    assert repo.root == folder
    ref = enter(repo, raw_file(night, "flat_g"), Flat, 0.5)
    number = exposure(repo, band="g")
    repo.close()
    assert sorted(p.name for p in folder.iterdir() if p.is_file()) == before
    moved = tmp_path / "moved.away" / "here"
    moved.parent.mkdir()
    os.rename(folder, moved)
    again = open_repo(moved)
    assert again.file_of(ref).is_relative_to(moved)
    assert again.get("flat", exposure=number, detector=0).image.array.mean() == 0.5
    code = f"""
from lsst.daf.butler import Butler
b = Butler(sys.argv[1], collections="{CAMERA}/defaults")
print(b.get("raw", instrument="{CAMERA}", detector=0, exposure=int(sys.argv[2])).observation.obs_id)
"""
    assert fresh(code, moved / FOLDER_REPO, number).stdout.strip() == "made_0005"
    assert ingest(open_repo(moved, writeable=True), [moved]).known.keys() == {moved / n for n in before}


def test_a_second_instrument(filled: Repository, night: Path, tmp_path: Path) -> None:
    """It comes into a repository that has one already, opened anew; by its files, then by an export of another."""
    filled.close()
    other = Nines(tmp_path / "raw", detectors=(3,))
    other.add("science", 2)
    with open_repo(filled.path, writeable=True) as repo:
        assert ingest(repo, [other.folder]).ok
        assert repo.instruments() == ["ninecam", CAMERA]
        number = exposure(repo, band="g")
        assert repo.get("raw", instrument=CAMERA, exposure=number, detector=0).observation.obs_id == "made_0005"
        export(repo, tmp_path / "take", collections=["ninecam/raw/all"])
    with create(tmp_path / "third") as repo:
        assert ingest(repo, [night]).ok
    with open_repo(tmp_path / "third", writeable=True) as repo:
        assert import_(repo, tmp_path / "take").entered == {"raw": 2}
        assert repo.instruments() == ["ninecam", CAMERA]


def test_an_exposure_has_one_filter(make: Make, tmp_path: Path) -> None:
    """Flats are found by the filter of the exposure: one detector of another filter would get the wrong one."""
    for detector, band in ((3, "g"), (4, "r"), (5, "")):
        Nines(tmp_path / "raw", detectors=(detector,)).add("science", 1, band)
    repo = make()
    result = ingest(repo, [tmp_path / "raw"])
    ((path, error),) = result.failed.items()
    assert path.name == "science_00001_4.fits" and "with filter 'g', this file says 'r'" in str(error)
    assert {i.detector for ids in result.entered.values() for i in ids} == {3, 5}
    again = ingest(repo, [tmp_path / "raw"])
    assert again.failed.keys() == result.failed.keys() and len(again.known) == 2


@pytest.mark.parametrize(
    ("cards", "day", "dated"),
    [
        ({"DAYOBS": "20251341"}, 20250114, True),
        ({"DAYOBS": "20250116"}, 20250116, True),
        ({"DATE-OBS": "1969-12-31T23:00:00"}, 19700101, False),
        ({"DATE-OBS": "2025-02-30T23:00:00"}, 19700101, False),
    ],
)
def test_dates_that_are_none(make: Make, tmp_path: Path, cards: dict[str, str], day: int, dated: bool) -> None:
    """One file with a clock that was not set is entered as undated, beside the others."""
    night = Nines(tmp_path / "raw", detectors=(3,))
    night.add("bias", 1, **cards)
    night.add("bias", 1)
    repo = make()
    result = ingest(repo, [night.folder])
    assert result.ok and bool(result.notes) is not dated
    found = repo.butler.query_dimension_records("exposure", instrument="ninecam")
    assert sorted(r.day_obs for r in found) == sorted([day, 20250114])
    assert {j.state for j in plan(repo, "calibs").jobs} == {"new"}


def test_two_exposures_of_one_name_are_told_with_both_files(make: Make, tmp_path: Path) -> None:
    """A repository tells exposures apart by the name that the camera gives them."""
    night = Night(tmp_path / "raws")
    (first,), (second,) = night.bias(1, OBSID="twin"), night.bias(1, OBSID="twin")
    night.bias(1)
    repo = make()
    done = ingest(repo, [night.folder])
    assert len(done.entered) == 2 and list(done.failed) == [second]
    error = done.failed[second]
    assert "have one name (OBSID) 'twin'" in error.problem and error.where == f"{second} and {first}"
    (third,) = night.bias(1, OBSID="twin")
    done = ingest(repo, [third])
    assert done.failed[third].where == f"{third} and {first}", "also where the first is in the repository"
