"""Walking headers and decoding pixels: equal to astropy, on files that astropy wrote."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from fullwell.base.errors import FileError, FullwellWarning
from fullwell.io import read_headers
from fullwell.io.cards import parse
from fullwell.io.fitsfile import open_fits

RNG = np.random.default_rng(7)


def card(text: str) -> bytes:
    return text.ljust(80).encode()


def test_values_of_cards_by_hand() -> None:
    header, comments = parse(
        card("SIMPLE  =                    T / yes")
        + card("NAME    = 'O''Neill / two '    / who")
        + card("N       =                  -42")
        + card("D       =              1.5D+03")
        + card("EMPTY   =")
        + card("BAD     = 12:30:00")
        + card("UNDER   = 1_000")
        + card("HIERARCH ESO DET OUT1 GAIN = 0.91 / e-/adu")
        + card("LONG    = 'first &'")
        + card("CONTINUE  'second&'")
        + card("CONTINUE  'third' / end")
        + card("COMMENT one")
        + card("COMMENT two")
        + card("N       =                   43")
        + card("END")
    )
    assert header == {
        "SIMPLE": True,
        "NAME": "O'Neill / two",
        "N": -42,
        "D": 1500.0,
        "EMPTY": None,
        "BAD": "12:30:00",
        "UNDER": "1_000",
        "ESO DET OUT1 GAIN": 0.91,
        "LONG": "first secondthird",
        "COMMENT": "one\ntwo",
    }
    assert comments["ESO DET OUT1 GAIN"] == "e-/adu"
    assert comments["NAME"] == "who"


@pytest.mark.parametrize(
    "dtype", ["uint8", "int8", "int16", "uint16", "int32", "uint32", "int64", "float32", "float64"]
)
@pytest.mark.parametrize("compressed", [False, True])
def test_pixels_come_back_in_their_own_type(tmp_path: Path, dtype: str, compressed: bool) -> None:
    """Tile compression has no int8 and no int64: those are written plain in either case."""
    if np.dtype(dtype).kind == "f":
        pixels = RNG.normal(size=(7, 11)).astype(dtype)
    else:
        info = np.iinfo(dtype)
        pixels = RNG.integers(info.min, info.max, (7, 11), dtype, endpoint=True)
        pixels[0, :2] = info.min, info.max
    path = tmp_path / "x.fits"
    if compressed and dtype not in ("int8", "int64"):
        kind = "GZIP_2" if np.dtype(dtype).kind == "f" else "RICE_1"
        hdu: Any = fits.CompImageHDU(pixels, compression_type=kind, quantize_level=0.0)
        fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path)
    else:
        fits.PrimaryHDU(pixels).writeto(path)
    with open_fits(path) as file:
        hdu = file.images()[0]
        back = file.pixels(hdu)
        assert hdu.dtype == dtype
    assert back.dtype == np.dtype(dtype)
    assert back.dtype.isnative
    assert back.flags.writeable
    assert np.array_equal(back, pixels)


def test_scaled_integers_and_blank(tmp_path: Path) -> None:
    """BSCALE 0.5, BZERO 10: stored 4 is 12; BLANK -1 is NaN."""
    cards = {
        "SIMPLE": "T",
        "BITPIX": 16,
        "NAXIS": 2,
        "NAXIS1": 2,
        "NAXIS2": 1,
        "BSCALE": 0.5,
        "BZERO": 10.0,
        "BLANK": -1,
    }
    head = b"".join(card(f"{key:8}= {value!s:>20}") for key, value in cards.items()) + card("END")
    path = tmp_path / "x.fits"
    path.write_bytes(head.ljust(2880) + np.array([[4, -1]], ">i2").tobytes().ljust(2880, b"\0"))
    with open_fits(path) as file:
        back = file.pixels(file.images()[0])
    assert back[0, 0] == 12.0
    assert np.isnan(back[0, 1])


def test_one_gzip_member_after_another(tmp_path: Path) -> None:
    path = tmp_path / "x.fits.gz"
    plain = tmp_path / "x.fits"
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(np.ones((3, 4), np.int16), name="A")]).writeto(plain)
    data = plain.read_bytes()
    path.write_bytes(gzip.compress(data[:2880]) + gzip.compress(data[2880:]))
    assert [h.name for h in read_headers(path)] == ["", "A"]
    path.write_bytes(gzip.compress(data)[:-20])
    with pytest.raises(FileError, match="ends too early"):
        read_headers(path)


def test_what_follows_the_last_hdu_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.fits"
    fits.PrimaryHDU(np.ones((3, 4), np.int16)).writeto(path)
    with path.open("ab") as handle:
        handle.write(b"junk" * 720)
    with pytest.warns(FullwellWarning, match="2880 bytes after HDU 0"):
        assert len(read_headers(path).hdus) == 1


def test_padding_may_lack(tmp_path: Path) -> None:
    path = tmp_path / "x.fits"
    fits.PrimaryHDU(np.ones((3, 4), np.int16)).writeto(path)
    path.write_bytes(path.read_bytes()[: 2880 + 24])
    with open_fits(path) as file:
        assert file.pixels(file.images()[0]).sum() == 12


def test_compressed_headers_are_those_of_the_image(tmp_path: Path) -> None:
    path = tmp_path / "x.fits"
    hdu = fits.CompImageHDU(np.ones((30, 40), np.uint16), name="SCI")
    hdu.header["EXPTIME"] = 3.0
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path)
    found = read_headers(path).hdus[1]
    assert (found.name, found.shape, found.dtype) == ("SCI", (30, 40), "uint16")
    assert (found.header["NAXIS1"], found.header["BITPIX"], found.header["EXPTIME"]) == (40, 16, 3.0)
    assert not [k for k in found.header if k.startswith(("Z", "TFORM", "TTYPE"))]
