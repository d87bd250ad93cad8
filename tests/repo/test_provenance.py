"""Cards of origin as the LSST library writes them, read back from each kind of file, and the tree that follows."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4, uuid5

import numpy as np
import pytest
from repos import CAMERA, exposure, product_of, raw_file

from fullwell import io
from fullwell.base.errors import FileError, MissingProduct, UsageError
from fullwell.products import Bias, Flat, Gain
from fullwell.repo.calibs import Entry, enter_files, new_run
from fullwell.repo.layout import file_path
from fullwell.repo.ondisk import frame_of
from fullwell.repo.provenance import Node, Origin, cards, history, marked, read_cards, read_origin
from fullwell.repo.repository import Repository

SPACE = UUID(int=7)
RUN = f"{CAMERA}/calibgen/a"


def named(text: str) -> str:
    return str(uuid5(SPACE, text))


def raws(repo: Repository, kind: str) -> list[dict[str, Any]]:
    where = f"instrument='{CAMERA}' AND exposure.observation_type='{kind}'"
    refs = repo.butler.query_datasets("raw", f"{CAMERA}/raw/all", where=where, limit=None, explain=False)
    return [{"id": str(r.id), "dataset_type": "raw", "run": r.run} for r in sorted(refs)]


def made(
    repo: Repository, product: Any, inputs: list[dict[str, Any]], name: str = "", data_id: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Enter a product that was made of `inputs`; gives it as an input of others."""
    kind, run, ident = product.kind, new_run(repo, CAMERA, "a"), named(name or product.kind)
    data_id = {"instrument": CAMERA, "detector": 0, **(data_id or {})}
    path = repo.root / file_path(kind, run, data_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    told = cards(ident, run, kind, data_id, inputs, f"make {kind}", "c0ffee1234", "0.3.0")
    io.write_product(type(product)(**{**vars(product), "metadata": told}), path)
    enter_files(repo, [Entry(kind, data_id, run, path, UUID(ident))])
    return {"id": ident, "dataset_type": kind, "run": run, "date": "2025-01-16T00:00:00"}


def gain(**more: Any) -> Gain:
    one = np.ones(2)
    return Gain(amps=("A", "B"), gain=one, gain_error=one, read_noise=one, read_noise_error=one, **more)


@pytest.fixture
def grown(filled: Repository, night: Path) -> tuple[Repository, str]:
    """A bias of two raws, a flat of a raw and that bias, a corrected frame of a raw and both; the id of the frame."""
    bias = made(filled, product_of(raw_file(night, "bias"), Bias, 100.0), raws(filled, "bias"))
    kept = next(one for one in raws(filled, "flat"))
    flat = made(
        filled,
        product_of(raw_file(night, "flat_g"), Flat, 1.0),
        [{**kept, "role": "flat_frames"}, bias],
        data_id={"physical_filter": "g"},
    )
    frame = frame_of(product_of(raw_file(night, "flat_g"), Bias, 1.0))
    run, ident = "u/me/isr/a", named("frame")
    data_id = {"instrument": CAMERA, "detector": 0, "exposure": exposure(filled, band="g")}
    told = cards(
        ident, run, "post_isr_image", data_id, [raws(filled, "science")[0], bias, flat], "isr", "d1ce", "0.3.0"
    )
    path = filled.root / file_path("post_isr_image", run, data_id)
    path.parent.mkdir(parents=True)
    io.write_frame(replace(frame, metadata=marked(frame.metadata, told)), path)
    enter_files(filled, [Entry("post_isr_image", data_id, run, path, UUID(ident))])
    return filled, ident


@pytest.mark.parametrize("role", ["raw", "flat_frames"])
def test_cards_are_those_of_the_library(calibrated: Repository, role: str) -> None:
    """The library writes roles that are not the type as extras; cards of calibrations and of ours come on top."""
    from lsst.daf.butler import DatasetProvenance

    butler = calibrated.butler
    flat = butler.find_dataset("flat", collections=RUN, instrument=CAMERA, detector=0, physical_filter="g")
    bias = butler.find_dataset("bias", collections=RUN, instrument=CAMERA, detector=0)
    raw = butler.get_dataset(UUID(raws(calibrated, "flat")[0]["id"]))
    theirs = DatasetProvenance()
    theirs.add_input(raw)
    theirs.add_input(bias)
    if role != "raw":
        theirs.add_extra_provenance(raw.id, {"ROLE": role})
    inputs = [{"id": r.id, "dataset_type": r.datasetType.name, "run": r.run, "role": role} for r in (raw, bias)]
    inputs[1]["role"] = "bias"
    data_id = {**flat.dataId.required, "day_obs": 20250115}
    ours = cards(flat.id, flat.run, "flat", data_id, inputs)
    known = {k: v for k, v in ours.items() if not k.startswith("LSST CALIB")}
    assert known == theirs.to_flat_dict(flat, prefix="LSST BUTLER", sep=" ", simple_types=True)
    assert {k: v for k, v in ours.items() if k not in known} == {
        "LSST CALIB UUID BIAS": str(bias.id),
        "LSST CALIB RUN BIAS": RUN,
    }


def test_two_calibrations_of_one_type_are_told_by_their_roles() -> None:
    one, other = (
        {"id": named(t), "dataset_type": "flat", "role": t, "run": "r", "date": "2025"} for t in ("flat_g", "flat_r")
    )
    found = {k: v for k, v in cards("a", "r", "defects", {}, [one, other]).items() if " CALIB UUID" in k}
    assert found == {"LSST CALIB UUID FLAT_G": one["id"], "LSST CALIB UUID FLAT_R": other["id"]}


@pytest.mark.parametrize("suffix", [".fits", ".ecsv"])
def test_files_carry_the_cards(tmp_path: Path, suffix: str) -> None:
    """A long run, which takes a continued card, and fifty inputs come back from a table; astropy reads them too."""
    run = "u/somebody/with-a-long-name/and-a-recipe-of-their-own/20250115T120000Z-again"
    inputs = [{"id": named(str(i)), "dataset_type": "raw", "run": run, "role": "pairs"} for i in range(50)]
    inputs.append({"id": named("bias"), "dataset_type": "bias", "run": run, "date": "2025-01-16"})
    told = cards(named("g"), run, "gain", {"instrument": "it's", "detector": 3}, inputs, "gain", "abc", "0.3.0")
    path = tmp_path / f"gain{suffix}"
    io.write_product(gain(metadata=told), path)
    assert read_cards(path) == told
    origin = read_origin(path)
    assert (origin.id, origin.run, origin.dataset_type) == (named("g"), run, "gain")
    assert origin.data_id == {"instrument": "it's", "detector": 3}
    assert [s.id for s in origin.inputs] == [one["id"] for one in inputs]
    assert {s.role for s in origin.inputs} == {"pairs", "bias"}
    assert (origin.recipe, origin.config, origin.version) == ("gain", "abc", "0.3.0")
    assert origin.made.startswith("20")
    assert io.read_product(path).metadata == told
    assert io.read_product(path).version == Gain.version
    if suffix == ".fits":
        from astropy.io import fits

        assert fits.getheader(path)["LSST BUTLER INPUT 49 RUN"] == run


def test_an_image_product_carries_the_cards(tmp_path: Path, night: Path) -> None:
    told = cards(
        named("b"), "r", "bias", {"detector": 0}, [{"id": named("x"), "dataset_type": "raw", "run": "r"}], "bias"
    )
    path = tmp_path / "bias.fits"
    product = product_of(raw_file(night, "bias"), Bias, 1.0)
    io.write_product(type(product)(**{**vars(product), "metadata": told}), path)
    assert read_cards(path) == told


def test_files_without_cards(tmp_path: Path, night: Path) -> None:
    plain = tmp_path / "a.txt"
    plain.write_text("nothing")
    assert read_cards(plain) == {} == read_cards(raw_file(night, "bias"))
    with pytest.raises(FileError, match="cannot read: No such file"):
        read_cards(tmp_path / "gone.fits")


def test_a_calibration_that_is_numbered_counts_once() -> None:
    """The steps of a frame name products by ids of their content, the numbered inputs by those of the repository."""
    keys = cards("a", "r", "post_isr_image", {}, [{"id": named("f"), "dataset_type": "flat"}])
    sources = Origin.of({**keys, "LSST CALIB UUID FLAT": "67afd47da3965cf0a12668c660239bfd"}).inputs
    assert [(s.id, s.role) for s in sources] == [(named("f"), "flat")]


def test_marks_of_an_earlier_making_go() -> None:
    before = cards(
        "a", "r", "bias", {}, [{"id": "b", "dataset_type": "raw"}, {"id": "c", "dataset_type": "bias"}], "old"
    )
    after = marked({"OBJECT": "M31", "FWX0": 3, **before}, cards("n", "r", "flat", {}))
    assert after == {"OBJECT": "M31", "FWX0": 3, **cards("n", "r", "flat", {})}


def test_the_tree_goes_down_to_the_raws(grown: tuple[Repository, str]) -> None:
    repo, ident = grown
    top = history(repo, ident)
    assert (top.dataset_type, top.recipe, top.config, top.version) == ("post_isr_image", "isr", "d1ce", "0.3.0")
    assert [(c.role, len(c.children), c.repeated) for c in top.children] == [
        ("raw", 0, False),
        ("bias", 2, False),
        ("flat", 2, False),
    ]
    bias, flat = top.children[1:]
    assert {c.id for c in bias.children} == {r["id"] for r in raws(repo, "bias")}
    assert [(c.role, c.dataset_type, c.repeated) for c in flat.children] == [
        ("flat_frames", "raw", False),
        ("bias", "bias", True),
    ]
    assert not flat.children[1].children
    assert Path(bias.path).exists() and bias.run == RUN and bias.made
    assert history(repo, Path(top.path)).to_dict() == history(repo, UUID(ident)).to_dict() == top.to_dict()
    text = top.draw().split("\n")
    assert text[0].startswith("post_isr_image  instrument simulated, detector 0, exposure ")
    assert text[1] == "│   u/me/isr/a: made by isr (fullwell 0.3.0, settings d1ce)"
    assert [line[:4] for line in text if line[:1] in "├└"] == ["├── ", "├── ", "└── "]
    assert text[-1].startswith(f"    └── bias  instrument {CAMERA}, detector 0  {bias.id}  (shown above)")


def test_many_raws_stand_in_one_line() -> None:
    def raw(exposure: int, kind: str = "raw") -> Node:
        return Node(str(exposure), kind, kind, {"instrument": "C", "exposure": exposure}, "C/raw/all")

    top = Node("b", dataset_type="bias", children=(*(raw(n) for n in (5, 1, 2, 3, 9)), raw(4, "dark"), raw(5, "dark")))
    assert top.draw().split("\n") == [
        "bias  b",
        "├── raw × 5: instrument C, exposure 1 … 3, 5, 9",
        "├── dark  instrument C, exposure 4  4",
        "│       C/raw/all",
        "└── dark  instrument C, exposure 5  5",
        "        C/raw/all",
    ]


def test_ids_that_are_not_there(grown: tuple[Repository, str], night: Path) -> None:
    """What the tree names and the repository has not is said in the tree; an unknown id at the top is an error."""
    repo, _ = grown
    gone = {"id": named("elsewhere"), "dataset_type": "dark", "run": "x/y"}
    strange = {"id": "no id at all", "dataset_type": "defects"}
    made(repo, gain(), [gone, strange, raws(repo, "bias")[0]])
    top = history(repo, named("gain"))
    assert [(c.dataset_type, c.problem) for c in top.children] == [
        ("dark", "not in this repository"),
        ("defects", "not in this repository"),
        ("raw", ""),
    ]
    assert top.children[0].run == "x/y"
    assert f"dark  {gone['id']}  (not in this repository)" in top.draw()
    with pytest.raises(MissingProduct, match="not in this repository"):
        history(repo, uuid4())
    with pytest.raises(UsageError, match="no id of a dataset"):
        history(repo, "flat")
    with pytest.raises(UsageError, match="carries no id"):
        history(repo, raw_file(night, "bias"))


def test_ids_that_go_round_in_a_circle(filled: Repository, night: Path) -> None:
    first = {"id": named("bias"), "dataset_type": "bias", "run": RUN}
    second = made(filled, product_of(raw_file(night, "flat_g"), Flat, 1.0), [first], "flat", {"physical_filter": "g"})
    made(filled, product_of(raw_file(night, "bias"), Bias, 1.0), [second], "bias")
    top = history(filled, named("flat"))
    (bias,) = top.children
    (again,) = bias.children
    assert again.id == top.id and again.problem.startswith("made of itself") and not again.children
    assert "made of itself" in top.draw()


def test_a_file_that_is_gone_is_said(grown: tuple[Repository, str]) -> None:
    repo, ident = grown
    bias = history(repo, ident).children[1]
    Path(bias.path).unlink()
    (left,) = [one for one in history(repo, ident).children if one.role == "bias"]
    assert left.problem == "its file is gone" and not left.children


def test_frames_of_the_lsst_library_name_their_calibrations(grown: tuple[Repository, str], night: Path) -> None:
    """They have LSST CALIB UUID cards alone; the id is found though the file was not made here."""
    from astropy.io import fits

    repo, ident = grown
    path = Path(history(repo, ident).path)
    with fits.open(path, mode="update") as file:
        header = file[0].header
        for key in [k for k in header if k.startswith(("LSST BUTLER", "FW"))]:
            del header[key]
    top = history(repo, ident)
    assert [(c.role, c.id, len(c.children)) for c in top.children] == [
        ("bias", named("bias"), 2),
        ("flat", named("flat"), 2),
    ]


def test_the_cards_need_no_library() -> None:
    """Workers write them."""
    code = (
        "import sys; from fullwell.repo.provenance import cards; cards('a', 'r', 'bias', {});"
        "bad = [m for m in sys.modules if m.startswith(('lsst', 'astropy', 'sqlalchemy'))]; assert not bad, bad[:3]"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
