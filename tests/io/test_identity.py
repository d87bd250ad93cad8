"""The id that a file carries: of frames, products and records, of what is damaged or not ours."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

import fullwell.io as fio
from fullwell.cameras import Box
from fullwell.frames import Frame, Plane
from fullwell.io.identity import KEY, embedded_id, same_id
from fullwell.products import Bias, Gain

ID = "3f2504e0-4f89-51d3-9a0c-0305e82c3301"
CARDS = {KEY: ID, "LSST BUTLER RUN": "u/ada/isr/20260101T000000Z", "LSST BUTLER INPUT 0 ID": ID.replace("3f", "00")}


def frame() -> Frame:
    image = np.ones((4, 6), np.float32)
    return Frame(Plane(image, Box(0, 0, 6, 4), "adu"), metadata={"OBSID": "a", **CARDS})


def gain() -> Gain:
    one = np.ones(2)
    return Gain(amps=("A", "B"), gain=one, gain_error=one, read_noise=one, read_noise_error=one, metadata=CARDS)


@pytest.mark.parametrize("compress", [False, True])
def test_of_a_frame(tmp_path: Path, compress: bool) -> None:
    fio.write_frame(frame(), tmp_path / "a.fits", compress=compress)
    assert embedded_id(tmp_path / "a.fits") == ID
    with gzip.open(tmp_path / "a.fits.gz", "wb") as out:
        out.write((tmp_path / "a.fits").read_bytes())
    assert embedded_id(tmp_path / "a.fits.gz") == ID


def test_of_products(tmp_path: Path) -> None:
    bias = Bias(image=np.ones((4, 6), np.float32), unit="adu", box=Box(0, 0, 6, 4), metadata=CARDS)
    fio.write_product(bias, tmp_path / "bias.fits")
    assert embedded_id(tmp_path / "bias.fits") == ID
    for name in ("gain.ecsv", "gain.fits"):
        fio.write_product(gain(), tmp_path / name)
        assert embedded_id(tmp_path / name) == ID, name


def test_of_a_table_behind_an_empty_primary(tmp_path: Path) -> None:
    table = fits.BinTableHDU.from_columns([fits.Column("a", "E", array=[1.0])])
    table.header[f"HIERARCH {KEY}"] = ID
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(tmp_path / "a.fits")
    assert embedded_id(tmp_path / "a.fits") == ID
    pixels = fits.PrimaryHDU(np.zeros(3))
    fits.HDUList([pixels, table]).writeto(tmp_path / "b.fits")
    assert embedded_id(tmp_path / "b.fits") == ""


def test_of_a_record(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps({KEY: ID}))
    assert embedded_id(path) == ID


def test_of_what_has_none(tmp_path: Path) -> None:
    fio.write_frame(replace(frame(), metadata={}), tmp_path / "a.fits")
    fio.write_product(replace(gain(), metadata={}), tmp_path / "a.ecsv")
    whole = (tmp_path / "a.fits").read_bytes()
    (tmp_path / "cut.fits").write_bytes(whole[:1000])
    (tmp_path / "cut.json").write_text('{"LSST BUTLER ID": "a')
    (tmp_path / "empty.fits").write_bytes(b"")
    (tmp_path / "text.txt").write_text(f"{KEY}: {ID}")
    for path in tmp_path.iterdir():
        assert embedded_id(path) == "", path
    with pytest.raises(FileNotFoundError):
        embedded_id(tmp_path / "none.fits")


def test_the_same_id_in_other_writing() -> None:
    assert same_id(ID, ID.replace("-", "").upper())
    assert not same_id(ID, ID[:-1] + "2")
    assert not same_id("", "")
