"""Parts of a repository to a folder and back: what anyone can open, what comes twice, what contradicts."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import pytest
from nights import Night
from repos import CAMERA, Make, enter, exposure, fresh, product_of, raw_file

from fullwell import io
from fullwell.base.errors import FileError, MissingProduct, UsageError
from fullwell.products import Bias, Flat
from fullwell.repo.calibs import Entry, certify, decertify, enter_files, new_run, prepend, validity
from fullwell.repo.importing import EXPORT
from fullwell.repo.ingest import ingest
from fullwell.repo.layout import file_path
from fullwell.repo.provenance import cards
from fullwell.repo.repository import Repository, create
from fullwell.repo.transport import export, import_


def ids(repo: Repository) -> set[UUID]:
    return {ref.id for ref in repo.butler.query_all_datasets("*", find_first=False, limit=None)}


def spans(repo: Repository) -> set[tuple[UUID, str]]:
    found = repo.butler.registry.queryDatasetAssociations("flat", f"{CAMERA}/calib")
    return {(one.ref.id, str(one.timespan)) for one in found}


@pytest.fixture
def other(tmp_path: Path) -> Repository:
    return create(tmp_path / "other")


READER = """
import json
from lsst.daf.butler import Butler
b = Butler(sys.argv[1], collections=sys.argv[2])
e = int(sys.argv[3])
flat = b.get("flat", detector=0, instrument=sys.argv[4], exposure=e)
raw = b.get("raw", detector=0, instrument=sys.argv[4], exposure=e)
refs = b.query_all_datasets("*", find_first=False, limit=None)
print(json.dumps({"flat": float(flat.image.array[3, 4]), "raw": int(raw.image.array.astype("int64").sum()),
                  "ids": sorted(str(r.id) for r in refs), "collections": sorted(b.collections.query("*"))}))
"""


def test_the_library_alone_opens_an_export(calibrated: Repository, tmp_path: Path, night: Path) -> None:
    """In a fresh interpreter, from a folder with a dot and a blank in its name that was moved."""
    done = export(calibrated, tmp_path / "night of 2025.01.15")
    assert done.ok and done.datasets == {"bias": 1, "flat": 2, "raw": 6}
    assert done.size == sum(p.stat().st_size for p in done.folder.rglob("*.fits"))
    moved = tmp_path / "elsewhere"
    done.folder.rename(moved)
    number = exposure(calibrated, band="g")
    told = json.loads(fresh(READER, moved, f"{CAMERA}/defaults", number, CAMERA).stdout)
    assert told["flat"] == 0.5
    assert told["raw"] == int(io.read(raw_file(night, "sky_g")).image.array.astype(np.int64).sum())
    assert told["ids"] == sorted(map(str, ids(calibrated)))
    assert told["collections"] == sorted(done.collections)
    assert done.to_dict()["folder"] == str(done.folder)
    assert not [p for p in tmp_path.iterdir() if p.name.startswith("fullwell_export")]


@pytest.mark.parametrize("transfer", ["copy", "link", "direct"])
def test_there_and_back(calibrated: Repository, other: Repository, tmp_path: Path, transfer: str) -> None:
    """Ids, validity, pixels, chains; and nothing changes the second time."""
    flat = next(iter(calibrated.butler.query_datasets("flat", "*", find_first=False)))
    decertify(calibrated, "flat", CAMERA)
    certify(calibrated, [flat], "2025-01-01", "2025-02-01T12:00:00")
    prepend(calibrated, "u/me/isr", f"{CAMERA}/calibgen/a", CAMERA)
    folder = export(calibrated, tmp_path / "out").folder
    came = import_(other, folder, transfer)
    assert (came.entered, came.known, came.certified) == ({"bias": 1, "flat": 2, "raw": 6}, 0, 2)
    assert ids(other) == ids(calibrated)
    assert spans(other) == spans(calibrated) and len(spans(other)) == 1
    for name in ("u/me/isr", f"{CAMERA}/defaults"):
        chains = [r.butler.collections.get_info(name).children for r in (calibrated, other)]
        assert chains[0] == chains[1], name
    for ref in calibrated.butler.query_all_datasets("*", find_first=False, limit=None):
        assert io.file_digest(other.file_of(ref)) == io.file_digest(calibrated.file_of(ref))
        inside = other.root in other.file_of(ref).parents
        assert inside == (transfer != "direct") and other.file_of(ref).is_symlink() == (transfer == "link")
    again = import_(other, folder, transfer)
    assert (again.entered, again.known, again.certified, again.collections) == ({}, 9, 0, [])
    assert spans(other) == spans(calibrated)


def test_an_export_meets_what_is_there(calibrated: Repository, other: Repository, night: Path, tmp_path: Path) -> None:
    """Raws that were entered at both sites have the same ids; chains of the other site keep their order, and grow."""
    prepend(calibrated, "u/me/isr", f"{CAMERA}/calibgen/a", CAMERA)
    prepend(other, "u/me/isr", f"{CAMERA}/calibgen/x")
    folder = export(calibrated, tmp_path / "out").folder
    ingest(other, [night])
    prepend(other, "u/they/isr", f"{CAMERA}/calibgen/x", CAMERA)
    before = other.butler.collections.get_info(f"{CAMERA}/defaults").children
    came = import_(other, folder)
    assert came.known == 6 and came.entered == {"bias": 1, "flat": 2}
    assert other.butler.collections.get_info(f"{CAMERA}/defaults").children == (*before, "u/me/isr")
    assert other.butler.collections.get_info("u/me/isr").children == (f"{CAMERA}/calibgen/x", f"{CAMERA}/calibgen/a")
    assert other.get("flat", exposure=exposure(other, band="r"), detector=0).image.array[0, 0] == 2.0


def test_a_condition_takes_the_calibrations_that_are_valid(calibrated: Repository, night: Path, tmp_path: Path) -> None:
    number = exposure(calibrated, band="r")
    enter(calibrated, raw_file(night, "bias"), Bias, 5.0, "unused", certified=False)
    done = export(calibrated, tmp_path / "out", where=f"instrument='{CAMERA}' AND exposure={number}")
    assert done.datasets == {"bias": 1, "flat": 1, "raw": 1}
    opened = Repository(done.folder)
    assert opened.get("flat", exposure=number, detector=0).image.array[0, 0] == 2.0
    only = export(calibrated, tmp_path / "raws", where=f"exposure={number}", datasets=["raw"])
    assert only.datasets == {"raw": 1}
    run = export(calibrated, tmp_path / "run", collections=[f"{CAMERA}/calibgen/unused"])
    assert run.datasets == {"bias": 1}


def grown(repo: Repository, night: Path, *more: dict[str, Any]) -> UUID:
    """Enter a flat that was made of a bias, which was made of a raw; gives its id."""
    raw = sorted(repo.butler.query_datasets("raw", f"{CAMERA}/raw/all"))[0]
    inputs: list[dict[str, Any]] = [{"id": raw.id, "dataset_type": "raw", "run": raw.run}, *more]
    run = new_run(repo, CAMERA, "deep")
    for kind, name in ((Bias, "bias"), (Flat, "flat_g")):
        data_id: dict[str, Any] = {"instrument": CAMERA, "detector": 0}
        data_id |= {"physical_filter": "g"} if kind is Flat else {}
        ident, path = uuid4(), repo.root / file_path(kind.kind, run, data_id)
        path.parent.mkdir(parents=True, exist_ok=True)
        product = product_of(raw_file(night, name), kind, 1.0)
        told = cards(ident, run, kind.kind, data_id, inputs)
        io.write_product(kind(**{**vars(product), "metadata": told}), path)
        enter_files(repo, [Entry(kind.kind, data_id, run, path, ident)])
        inputs = [{"id": ident, "dataset_type": kind.kind, "run": run}]
    return ident


def test_inputs_go_along(filled: Repository, night: Path, tmp_path: Path) -> None:
    ident = grown(filled, night)
    assert export(filled, tmp_path / "alone", ids=[ident], with_inputs=False).datasets == {"flat": 1}
    done = export(filled, tmp_path / "all", ids=[str(ident)])
    assert done.ok and done.datasets == {"bias": 1, "flat": 1, "raw": 1}
    assert done.collections == [f"{CAMERA}/calibgen/deep", f"{CAMERA}/defaults", f"{CAMERA}/raw/all"]


def test_what_is_left_out_is_named(filled: Repository, night: Path, tmp_path: Path) -> None:
    gone = uuid4()
    ident = grown(filled, night, {"id": gone, "dataset_type": "dark"}, {"id": "x", "dataset_type": "defects"})
    bias = filled.butler.query_datasets("bias", f"{CAMERA}/calibgen/deep")[0]
    done = export(filled, tmp_path / "out", ids=[ident])
    assert not done.ok and set(done.missing) == {str(gone), "x"}
    assert "not in this repository" in done.missing[str(gone)]
    filled.file_of(bias).unlink()
    lost = export(filled, tmp_path / "more", ids=[ident])
    assert lost.datasets == {"flat": 1} and "gone" in lost.missing[str(bias.id)]


def test_nothing_half_is_left(calibrated: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is full in the middle: an error, no folder."""
    from lsst.daf.butler.transfers import RepoExportContext

    def full(self: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(RepoExportContext, "_finish", full)
    with pytest.raises(FileError, match="cannot write: No space left"):
        export(calibrated, tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["repo"]


def test_errors_of_an_export(calibrated: Repository, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    with pytest.raises(UsageError, match="not empty"):
        export(calibrated, tmp_path / "full")
    with pytest.raises(UsageError, match="no dataset type 'flats'"):
        export(calibrated, tmp_path / "out", datasets=["flats"])
    with pytest.raises(UsageError, match="nothing to export"):
        export(calibrated, tmp_path / "out", where=f"instrument='{CAMERA}' AND exposure=1")
    with pytest.raises(UsageError):
        export(calibrated, tmp_path / "out", where="exposure IS")
    with pytest.raises(MissingProduct, match="not in this repository"):
        export(calibrated, tmp_path / "out", ids=[uuid4()])
    with pytest.raises(UsageError, match="no id"):
        export(calibrated, tmp_path / "out", ids=["flat"])
    assert not (tmp_path / "out").exists()


def test_the_same_exposure_with_other_pixels_is_a_clash(
    calibrated: Repository, other: Repository, night: Path, tmp_path: Path
) -> None:
    """Its id is the same: only the bytes tell."""
    folder = export(calibrated, tmp_path / "out").folder
    raws = tmp_path / "raws"
    raws.mkdir()
    for path in night.iterdir():
        (raws / path.name).write_bytes(path.read_bytes())
    path = sorted(raws.iterdir())[0]
    data = bytearray(path.read_bytes())
    data[-3000] ^= 1
    path.write_bytes(data)
    ingest(other, [raws])
    with pytest.raises(UsageError, match="other content"):
        import_(other, folder)
    assert not other.butler.query_datasets("flat", "*", find_first=False, explain=False)


def test_clashes_with_what_is_there(calibrated: Repository, other: Repository, night: Path, tmp_path: Path) -> None:
    folder = export(calibrated, tmp_path / "out").folder
    ingest(other, [night])
    mine = enter(other, raw_file(night, "flat_g"), Flat, 9.0, "mine")
    with pytest.raises(UsageError, match="overlaps with that of") as caught:
        import_(other, folder)
    assert str(mine.id) in str(caught.value)
    decertify(other, "flat", CAMERA)
    there = enter(other, raw_file(night, "flat_g"), Flat, 9.0, "a", certified=False)
    with pytest.raises(UsageError, match=f"the repository has another one there, of id {there.id}"):
        import_(other, folder)
    assert not validity(other, mine)
    assert other.get(mine).image.array[0, 0] == 9.0


def test_other_exposures_of_the_same_number_are_a_clash(
    calibrated: Repository, other: Repository, tmp_path: Path
) -> None:
    folder = export(calibrated, tmp_path / "out").folder
    night = Night(tmp_path / "raws", cards={"EXPTIME": 77.0})
    night.bias(6)
    ingest(other, [night.folder])
    with pytest.raises(UsageError, match=r"exposure .* differs from the one in the repository in"):
        import_(other, folder)


def spoil_files(folder: Path) -> None:
    sorted(folder.rglob("*.fits"))[0].unlink()


def spoil_yaml(folder: Path) -> None:
    text = (folder / EXPORT).read_text()
    (folder / EXPORT).write_text(text[: len(text) // 2] + "\n}{")


def escape(folder: Path) -> None:
    text = (folder / EXPORT).read_text()
    first = next(line for line in text.splitlines() if "path: " in line)
    (folder / EXPORT).write_text(text.replace(first, first.split("path: ")[0] + "path: ../../secret.fits"))


def name_code(folder: Path) -> None:
    text = (folder / EXPORT).read_text()
    (folder / EXPORT).write_text(text.replace("fullwell.repo.ondisk.RawFormatter", '"os.path.join"'))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (spoil_files, "1 files of the export are missing"),
        (spoil_yaml, "the export cannot be read"),
        (escape, "a file outside of its folder: ../../secret.fits"),
        (name_code, r"names code that fullwell does not know.*os\.path\.join"),
        (lambda folder: os.unlink(folder / EXPORT), "no folder of an export"),
    ],
)
def test_a_bad_export_enters_nothing(
    calibrated: Repository, other: Repository, tmp_path: Path, spoil: Callable[[Path], None], said: str
) -> None:
    folder = export(calibrated, tmp_path / "out").folder
    spoil(folder)
    before = other.butler.collections.query("*")
    with pytest.raises((FileError, UsageError), match=said):
        import_(other, folder)
    assert not ids(other) and other.butler.collections.query("*") == before


def test_errors_of_an_import(calibrated: Repository, make: Make, tmp_path: Path) -> None:
    folder = export(calibrated, tmp_path / "out").folder
    with pytest.raises(UsageError, match="transfer 'teleport' is unknown"):
        import_(calibrated, folder, "teleport")
    with pytest.raises(UsageError, match="open for reading only"):
        import_(Repository(calibrated.path), folder)
