"""Which calibration is found for an exposure: by filter and time; what is refused; what a miss says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from repos import CAMERA, enter, exposure, fresh, product_of, raw_file

from fullwell import io
from fullwell.base.errors import FileError, FullwellError, MissingProduct, UsageError
from fullwell.products import Bias, Flat
from fullwell.repo.calibs import certified, certify, decertify, shown, span, validity
from fullwell.repo.intake import enter_products
from fullwell.repo.repository import Repository, create, open_repo

NIGHT = "2025-01-15T00:05:00"
"""Begin of the science exposure in g."""


def level(repo: Repository, number: int) -> float:
    return float(repo.get("flat.image", exposure=number, detector=0).array.mean())


def test_the_edges_of_a_span_are_half_open(filled: Repository, night: Path) -> None:
    from astropy.time import Time, TimeDelta

    number = exposure(filled, band="g")
    (record,) = filled.butler.query_dimension_records("exposure", instrument=CAMERA, where=f"exposure = {number}")
    tick = TimeDelta(1, format="sec")
    begin, end = record.timespan.begin, record.timespan.end

    def text(moment: Time) -> str:
        moment.precision = 9
        return str(moment.tai.isot)

    before = enter(filled, raw_file(night, "flat_g"), Flat, 1.0, "before", None, text(begin))
    after = enter(filled, raw_file(night, "flat_g"), Flat, 3.0, "after", text(end))
    with pytest.raises(MissingProduct) as miss:
        filled.find("flat", exposure=number, detector=0)
    assert "valid at other times" in str(miss.value)
    during = enter(filled, raw_file(night, "flat_g"), Flat, 2.0, "during", text(begin), text(end))
    assert level(filled, number) == 2.0
    decertify(filled, "flat", CAMERA, data_ids=[{"detector": 0, "physical_filter": "g"}])
    certify(filled, [before], None, text(begin + tick))
    assert filled.find("flat", exposure=number, detector=0).id == before.id
    certify(filled, [during], text(begin + tick), text(end - tick))
    certify(filled, [after], text(end))
    assert [one.run.rsplit("/")[-1] for one in certified(filled, "flat")] == ["before", "during", "after"]


def test_the_right_one_of_two_epochs_and_two_filters(filled: Repository, night: Path) -> None:
    enter(filled, raw_file(night, "flat_g"), Flat, 1.0, "old", "2024-01-01", "2025-01-15")
    enter(filled, raw_file(night, "flat_g"), Flat, 2.0, "new", "2025-01-15")
    enter(filled, raw_file(night, "flat_r"), Flat, 3.0, "new_r", "2025-01-15")
    assert level(filled, exposure(filled, band="g")) == 2.0
    assert level(filled, exposure(filled, band="r")) == 3.0
    assert filled.find("flat", day_obs=20250115, seq_num=5, detector=0).run.endswith("/new")


def test_an_overlap_is_refused_with_names_and_leaves_all_as_it_was(filled: Repository, night: Path) -> None:
    enter(filled, raw_file(night, "bias"), Bias, 1.0, "first", "2025-01-01", "2025-02-01")
    other = enter(filled, raw_file(night, "bias"), Bias, 2.0, "second", certified=False)
    flat = enter(filled, raw_file(night, "flat_g"), Flat, 2.0, "second", certified=False)
    with pytest.raises(UsageError) as refused:
        certify(filled, [flat, other], "2025-01-31", "2025-03-01")
    error = refused.value
    assert error.code == "FW612"
    assert "2025-01-31T00:00:00 to 2025-03-01T00:00:00 overlaps" in error.problem
    assert f"bias of {CAMERA}/calibgen/first, valid 2025-01-01T00:00:00 to 2025-02-01T00:00:00" in error.problem
    assert error.where == f"{filled.path}, collection {CAMERA}/calib"
    assert "fullwell repo decertify" in str(error.remedy)
    assert certified(filled, "flat") == []
    certify(filled, [flat, other], "2025-02-01", "2025-03-01")
    assert [shown(one.span)[:10] for one in certified(filled, "bias")] == ["2025-01-01", "2025-02-01"]


def test_decertify_splits_a_span(calibrated: Repository) -> None:
    number = exposure(calibrated, band="g")
    ref = calibrated.find("flat", exposure=number, detector=0)
    decertify(
        calibrated, "flat", CAMERA, "2025-01-15", "2025-01-16", data_ids=[{"detector": 0, "physical_filter": "g"}]
    )
    with pytest.raises(MissingProduct, match="no flat"):
        calibrated.find("flat", exposure=number, detector=0)
    assert sorted(shown(when) for _, when in validity(calibrated, ref)) == [
        "2025-01-16T00:00:00 to …",
        "… to 2025-01-15T00:00:00",
    ]
    assert level(calibrated, exposure(calibrated, band="r")) == 2.0
    assert calibrated.butler.get_dataset(ref.id) is not None


def test_keys_that_are_wanting_or_unknown(calibrated: Repository) -> None:
    number = exposure(calibrated, band="g")
    with pytest.raises(UsageError) as error:
        calibrated.find("raw", exposure=number)
    assert error.value.problem == f"exposure={number} does not say which raw: detector is missing"
    assert error.value.remedy == "add detector=…"
    with pytest.raises(UsageError) as error:
        calibrated.find("flat", exposur=number, detector=0)
    assert "'exposur'" in str(error.value.problem)
    assert error.value.remedy == "keys of a flat: band, instrument, detector, physical_filter, exposure"
    with pytest.raises(MissingProduct) as miss:
        calibrated.find("flat", detector=0, physical_filter="g")
    assert str(miss.value.remedy).startswith("a calibration is found by the time of an exposure: add exposure=…; near")


def test_a_miss_names_the_nearest(calibrated: Repository, night: Path) -> None:
    decertify(calibrated, "flat", CAMERA, data_ids=[{"detector": 0, "physical_filter": "g"}])
    number = exposure(calibrated, band="g")
    with pytest.raises(MissingProduct) as miss:
        calibrated.get("flat", exposure=number, detector=0)
    text = str(miss.value)
    assert miss.value.code == "FW303"
    assert f"there is no flat for exposure={number}, detector=0" in text
    assert "physical_filter=r" in text
    assert "differs in physical_filter" in text
    with pytest.raises(MissingProduct) as other:
        calibrated.get("dark", exposure=number, detector=0)
    assert other.value.remedy == "the repository holds no dark at all"
    number = exposure(calibrated, band="r")
    with pytest.raises(MissingProduct) as beside:
        calibrated.get("raw", exposure=number + 1, detector=0)
    assert str(beside.value.remedy).startswith(f"nearest: raw instrument={CAMERA}, detector=0, exposure={number} of")


def test_what_is_not_known_is_said_plainly(calibrated: Repository) -> None:
    number = exposure(calibrated, band="g")
    cases = {
        "there is no dataset type 'flatt'": lambda: calibrated.get("flatt", exposure=number, detector=0),
        "the repository does not know exposure=17": lambda: calibrated.get("flat", exposure=17, detector=0),
        "the repository does not know day_obs=20250115, seq_num=99": lambda: calibrated.get(
            "flat", day_obs=20250115, seq_num=99, detector=0
        ),
        "a flat has no component 'pixels'": lambda: calibrated.get("flat.pixels", exposure=number, detector=0),
        "a raw is no calibration product": lambda: calibrated.product("raw", exposure=number, detector=0),
        "'tomorrow' is no time": lambda: span("tomorrow"),
        "ends (2024-01-01) before it begins (2025-01-01)": lambda: span("2025-01-01", "2024-01-01"),
        "there is no calibration 'raw'": lambda: certified(calibrated, "raw"),
        "a flat is not told apart by 'exposure'": lambda: certified(calibrated, "flat", {"exposure": 3}),
        "has no instrument 'Other'": lambda: open_repo(calibrated.path, instrument="Other"),
    }
    for wanted, call in cases.items():
        with pytest.raises(UsageError) as error:
            call()
        assert wanted in str(error.value), wanted
        assert not error.value.problem.endswith('"'), error.value.problem
    with pytest.raises(UsageError, match="a raw is no calibration"):
        certify(calibrated, [calibrated.find("raw", exposure=number, detector=0)])


def test_the_plain_library_finds_certified_calibrations(calibrated: Repository) -> None:
    code = f"""
from lsst.daf.butler import Butler
b = Butler(sys.argv[1], collections="{CAMERA}/defaults")
number = int(sys.argv[2])
with b.query() as q:
    span = next(iter(q.where(instrument="{CAMERA}", exposure=number).dimension_records("exposure"))).timespan
ref = b.find_dataset("bias", instrument="{CAMERA}", detector=0, timespan=span)
print(ref.run, b.get(ref).image.array.mean())
refs = b.query_datasets("flat", find_first=False)
print(len(refs), sorted(r.dataId["physical_filter"] for r in refs))
print(b.query_datasets("flat", instrument="{CAMERA}", exposure=number, find_first=False)[0].dataId["physical_filter"])
"""
    out = fresh(code, calibrated.path, exposure(calibrated, band="r")).stdout.splitlines()
    assert out == [f"{CAMERA}/calibgen/a 100.0", "2 ['g', 'r']", "r"]


def test_products_made_without_a_repository(filled: Repository, night: Path, tmp_path: Path) -> None:
    path = tmp_path / "flat_g.fits"
    io.write_product(product_of(raw_file(night, "flat_g"), Flat, 0.75), path)
    (ref,) = enter_products(filled, [path], "one")
    certify(filled, [ref], "2025-01-01")
    assert level(filled, exposure(filled, band="g")) == 0.75
    assert filled.file_of(ref).is_relative_to(filled.path)
    (again,) = enter_products(filled, [path], "two")
    assert (again.id, again.run) == (ref.id, ref.run)
    assert np.all(filled.product("flat", exposure=exposure(filled, band="g"), detector=0).image == 0.75)
    other = tmp_path / "another_g.fits"
    io.write_product(product_of(raw_file(night, "flat_g"), Flat, 0.5), other)
    with pytest.raises(UsageError, match="two files for the flat"):
        enter_products(filled, [path, other], "three")


def test_products_enter_an_empty_repository(night: Path, tmp_path: Path) -> None:
    path = tmp_path / "bias.fits"
    io.write_product(product_of(raw_file(night, "bias"), Bias, 1.0), path)
    repo = create(tmp_path / "empty")
    (ref,) = enter_products(repo, [path], "one")
    certify(repo, [ref])
    assert repo.instruments() == [CAMERA]
    assert [one.id for one in certified(repo, "bias")] == [str(ref.id)]


def test_a_file_that_is_gone_or_damaged(calibrated: Repository) -> None:
    number = exposure(calibrated, band="g")
    path = calibrated.file_of(calibrated.find("flat", exposure=number, detector=0))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FileError) as short:
        calibrated.get("flat", exposure=number, detector=0)
    assert short.value.code == "FW184"
    assert short.value.where == str(path)
    path.write_bytes(bytes(len(whole)))
    with pytest.raises(FullwellError) as damaged:
        calibrated.get("flat", exposure=number, detector=0)
    assert str(path) in str(damaged.value)
    path.unlink()
    with pytest.raises(FileError) as gone:
        calibrated.get("flat", exposure=number, detector=0)
    assert gone.value.code == "FW183"
    assert (gone.value.problem, gone.value.where) == ("the file of this flat is gone", str(path))
    assert "fullwell repo check" in str(gone.value.remedy)
