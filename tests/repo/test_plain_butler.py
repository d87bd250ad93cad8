"""The library's own Butler in a fresh interpreter: nothing of a repository needs our door."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from repos import CAMERA, Make, enter, exposure, fresh, product_of, raw_file

from fullwell import io
from fullwell.products import Bias, Flat
from fullwell.repo.ingest import ingest
from fullwell.repo.repository import Repository

READ = f"""
import json
from lsst.daf.butler import Butler
path, number = sys.argv[1], int(sys.argv[2])
b = Butler(path, collections="{CAMERA}/defaults")
out = {{}}
raw = b.get("raw", instrument="{CAMERA}", detector=0, exposure=number)
out["raw"] = [str(raw.image.array.dtype), list(raw.image.array.shape), raw.observation.filter]
flat = b.get("flat", instrument="{CAMERA}", detector=0, exposure=number)
out["flat"] = float(flat.image.array.mean())
flat.image.array = flat.image.array * 3
out["flat times 3"] = float(flat.image.array.mean())
out["datasets"] = len(list(b.query_datasets("raw")))
records = b.query_dimension_records("exposure", instrument="{CAMERA}", where=f"exposure = {{number}}")
out["record"] = [records[0].physical_filter, records[0].observation_type]
ref = b.find_dataset("raw", instrument="{CAMERA}", detector=0, exposure=number)
again = b.get(b.get_dataset(ref.id))
out["by id"] = b.get_dataset(ref.id) == ref and bool((again.image.array == raw.image.array).all())
deferred = b.getDeferred("raw", instrument="{CAMERA}", detector=0, exposure=number)
out["deferred"] = [list(deferred.get().image.array.shape), deferred.get(component="metadata")["SEQNUM"]]
span = records[0].timespan
where = dict(instrument="{CAMERA}", detector=0, physical_filter=records[0].physical_filter)
out["find flat"] = b.get(b.find_dataset("flat", timespan=span, **where)).image.array.mean().item()
out["components"] = sorted(ref.datasetType.storageClass.components)
print(json.dumps(out))
"""


def test_what_a_class_types_works(calibrated: Repository) -> None:
    number = exposure(calibrated, band="r")
    out = json.loads(fresh(READ, calibrated.path, number).stdout)
    assert out == {
        "raw": ["uint16", [48, 80], "r"],
        "flat": 2.0,
        "flat times 3": 6.0,
        "datasets": 6,
        "record": ["r", "science"],
        "by id": True,
        "deferred": [[48, 80], 6],
        "find flat": 2.0,
        "components": ["image", "mask", "metadata", "variance", "wcs"],
    }
    other = json.loads(fresh(READ, calibrated.path, exposure(calibrated, band="g")).stdout)
    assert (other["flat"], other["record"]) == (0.5, ["g", "science"])


def test_components_and_boxes(calibrated: Repository, night: Path) -> None:
    from lsst.daf.butler import Butler

    butler = Butler(str(calibrated.path), collections=f"{CAMERA}/defaults")
    where = {"instrument": CAMERA, "detector": 0, "exposure": exposure(calibrated, band="g")}
    part = butler.get("flat.image", parameters={"bbox": (3, 5, 10, 7)}, **where)
    assert part.array.shape == (7, 10)
    assert (part.box.x0, part.box.y0) == (3, 5)
    assert np.all(part.array == np.float32(0.5))
    whole = butler.get("raw", **where)
    piece = butler.get("raw", parameters={"bbox": (3, 5, 10, 7)}, **where)
    assert np.array_equal(piece.image.array, whole.image.array[5:12, 3:13])
    assert np.array_equal(
        butler.get("raw.image", parameters={"bbox": (3, 5, 10, 7)}, **where).array, whole.image.array[5:12, 3:13]
    )
    assert butler.get("raw.metadata", **where)["OBSID"] == "made_0005"
    assert butler.get("raw.wcs", **where) is None
    assert butler.get("flat.variance", **where).array.shape == (48, 64)
    assert butler.get("flat.mask", **where).array.dtype.kind in "iu"
    assert butler.get("flat.metadata", **where)["OBSTYPE"] == "flat"


def test_the_product_behind_a_frame(calibrated: Repository) -> None:
    from lsst.daf.butler import Butler

    number = exposure(calibrated, band="r")
    butler = Butler(str(calibrated.path), collections=f"{CAMERA}/defaults")
    where = {"instrument": CAMERA, "detector": 0, "exposure": number}
    product = butler.get("flat", storageClass="FullwellFlat", **where)
    ours = calibrated.product("flat", detector=0, exposure=number)
    assert type(product) is type(ours) is Flat
    assert product.id == ours.id
    assert np.all(product.image == 2.0)
    assert type(butler.get("bias", storageClass="FullwellBias", **where)) is Bias


def test_a_changed_frame_put_by_the_library_keeps_where_it_comes_from(calibrated: Repository, tmp_path: Path) -> None:
    from lsst.daf.butler import Butler, DatasetProvenance

    butler = Butler(str(calibrated.path), collections=f"{CAMERA}/defaults", run="u/me/changed", writeable=True)
    where = {"instrument": CAMERA, "detector": 0, "exposure": exposure(calibrated, band="r")}
    flat, source = butler.get("flat", **where), butler.find_dataset("raw", **where)
    assert source is not None
    flat.image.array = flat.image.array + 1
    flat.metadata["SMOOTHED"] = "by hand"
    made_of = DatasetProvenance()
    made_of.add_input(source)
    band = {"instrument": CAMERA, "detector": 0, "physical_filter": "r"}
    new = butler.put(flat, "flat", band, provenance=made_of)
    again = butler.get(new)
    assert np.all(again.image.array == 3.0)
    cards = again.metadata
    assert cards["SMOOTHED"] == "by hand"
    assert cards["LSST BUTLER ID"] == str(new.id)
    assert cards["LSST BUTLER RUN"] == "u/me/changed"
    assert cards["LSST BUTLER DATASETTYPE"] == "flat"
    assert cards["LSST BUTLER INPUT 0 ID"] == str(source.id)
    header = io.read_headers(calibrated.file_of(new)).merged()
    assert header["LSST BUTLER ID"] == str(new.id)
    assert np.all(butler.get(new, storageClass="FullwellFlat").image == 3.0)


def test_products_put_by_the_library_come_back(filled: Repository, night: Path) -> None:
    from lsst.daf.butler import Butler

    butler = Butler(str(filled.path), run="u/me/products", writeable=True)
    flat = product_of(raw_file(night, "flat_g"), Flat, 0.25)
    ref = butler.put(flat, "flat", instrument=CAMERA, detector=0, physical_filter="g")
    assert np.all(butler.get(ref).image.array == 0.25)
    back = butler.get(ref, storageClass="FullwellFlat")
    assert back.observation.filter == "g"
    assert np.array_equal(back.variance, flat.variance)


def test_tables_are_products(filled: Repository) -> None:
    from lsst.daf.butler import Butler

    from fullwell.products import Gain

    butler = Butler(str(filled.path), run="u/me/tables", writeable=True)
    gain = Gain(
        amps=("A1", "A2"), gain=np.array([1.5, 1.6]), gain_error=np.array([0.01, 0.02]),
        read_noise=np.array([6.0, 7.0]), read_noise_error=np.array([0.1, 0.1]),
    )  # fmt: skip
    ref = butler.put(gain, "gain", instrument=CAMERA, detector=0)
    back = butler.get(ref)
    assert (back.amps, list(back.gain)) == (gain.amps, [1.5, 1.6])
    assert back.metadata["LSST BUTLER ID"] == str(ref.id)
    assert filled.file_of(ref).suffix == ".ecsv"


@pytest.mark.parametrize("name", ["2024.11.08", "with space", "2024.11.08 night", "plain"])
def test_names_of_folders(make: Make, night: Path, tmp_path: Path, name: str) -> None:
    repo = make(tmp_path / name)
    assert repo.path == tmp_path / name
    assert sorted(p.name for p in tmp_path.iterdir()) == [name]
    ingest(repo, [raw_file(night, "sky_g")], transfer="copy")
    ref = enter(repo, raw_file(night, "flat_g"), Flat, 0.5)
    code = f"""
from lsst.daf.butler import Butler
b = Butler(sys.argv[1], collections="{CAMERA}/defaults")
number = int(sys.argv[2])
print(b.get("raw", instrument="{CAMERA}", detector=0, exposure=number).image.array.shape,
      b.get("flat", instrument="{CAMERA}", detector=0, exposure=number).image.array.mean())
"""
    out = fresh(code, repo.path, exposure(repo)).stdout
    assert out.split("\n")[0] == "(48, 80) 0.5"
    assert repo.file_of(ref).is_relative_to(tmp_path / name)
