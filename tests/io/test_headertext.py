"""Cards, headers and tables as text against astropy, byte for byte."""

from __future__ import annotations

import io
import string
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fullwell.base.errors import HeaderError
from fullwell.base.provenance import Record
from fullwell.cameras import Amplifier, Box, Detector
from fullwell.frames import Frame, GainMap, Mask, Observation, Plane
from fullwell.io.headertext import PlainHdu, ascii_text, cards_of, odd_card, plain_card, text_cards
from fullwell.io.hotwrite import MappedWriter
from fullwell.io.layout import frame_hdus, plain_hdus

LETTERS = string.ascii_uppercase + string.digits + "_-"
SHORT = st.text(LETTERS, min_size=1, max_size=8)
LONG = st.lists(st.text(LETTERS, min_size=1, max_size=9), min_size=1, max_size=4).map(" ".join)
TEXTS = st.text("".join(chr(c) for c in range(32, 127)), max_size=80)
VALUES = st.one_of(
    st.booleans(), st.integers(), st.integers(-9999, 9999), st.floats(allow_nan=False, allow_infinity=False), TEXTS
)


@settings(max_examples=600, deadline=None)
@given(st.one_of(SHORT, LONG), VALUES, TEXTS)
def test_ordinary_cards_are_astropys(key: str, value: Any, comment: str) -> None:
    ours = plain_card(key, value, comment)
    if ours:
        assert ours == odd_card(key, value, comment)
        assert len(ours) == 80


@pytest.mark.parametrize(
    ("key", "value", "card"),
    [
        ("EXPTIME", 30.0, "EXPTIME =                 30.0 / why"),
        ("SHUT", True, "SHUT    =                    T / why"),
        ("SMALL", 1e-7, "SMALL   =                1E-07 / why"),
        ("ZERO", -0.0, "ZERO    =                 -0.0 / why"),
        ("OBJECT", "M31", "OBJECT  = 'M31     '           / why"),
        ("ESO DET GAIN", 1.5, "HIERARCH ESO DET GAIN = 1.5 / why"),
        ("ESO DET CHIP", "A", "HIERARCH ESO DET CHIP = 'A       ' / why"),
    ],
)
def test_what_is_ordinary(key: str, value: Any, card: str) -> None:
    """Written out by hand, so that the ordinary ones do not all fall to astropy."""
    assert plain_card(key, value, "why").rstrip() == card


@pytest.mark.parametrize(("key", "value"), [("A", ""), ("A", "it's"), ("A", None), ("lower", 1), ("A", "x" * 70)])
def test_what_is_left_to_astropy(key: str, value: Any) -> None:
    assert plain_card(key, value, "") == ""
    cards, _ = cards_of({key: value})
    assert cards and len(cards) % 80 == 0
    assert fits.Header.fromstring(cards)[key] == value


def test_values_of_numpy_and_what_is_not_finite() -> None:
    cards, texts = cards_of({"A": np.float32(0.5), "B": np.int16(3), "C": float("nan"), "NAXIS1": 7, "D": np.True_})
    header = fits.Header.fromstring(cards)
    assert (header["A"], header["B"], header["D"], list(header), texts) == (0.5, 3, True, ["A", "B", "C", "D"], {})
    assert header["C"] is None


def test_comments_and_history() -> None:
    """One card a line; long lines go on in the next card; without a keyword it is a comment."""
    cards, texts = cards_of({"HISTORY": "one\n" + "y" * 100, "A": 1, "": "said\n\nmore"})
    assert cards == "A       =                    1".ljust(80)
    assert texts["HISTORY"] == "HISTORY one".ljust(80) + ("HISTORY " + "y" * 72) + ("HISTORY " + "y" * 28).ljust(80)
    assert texts["COMMENT"] == "COMMENT said".ljust(80) + "COMMENT".ljust(80) + "COMMENT more".ljust(80)
    header = fits.Header()
    header.add_history("one")
    header.add_history("y" * 100)
    assert header.tostring(endcard=False, padding=False) == texts["HISTORY"]


@pytest.mark.parametrize(
    ("text", "want"), [("Kä\tf", "K\\xe4 f"), ("a\rb", "a\\x0db"), ("±", "\\xb1"), ("∞", "\\u221e")]
)
def test_what_fits_cannot_write_is_escaped(text: str, want: str) -> None:
    assert ascii_text(text) == want
    assert text_cards("HISTORY", text) == f"HISTORY {want}".ljust(80)


def test_keyword_that_fits_cannot_hold() -> None:
    with pytest.raises(HeaderError, match="FITS cannot hold") as error:
        cards_of({"BAD\nKEY": 1})
    assert "BAD" in str(error.value.where) and "frame.metadata" in str(error.value)


@settings(max_examples=50, deadline=None)
@example([("", " ", "   "), ("a ", "b", "  ")])
@given(st.lists(st.tuples(TEXTS, TEXTS, TEXTS), max_size=5))
def test_table_is_astropys(rows: list[tuple[str, str, str]]) -> None:
    columns = {name: [row[i] for row in rows] for i, name in enumerate(("step", "note", "record"))}
    ours = PlainHdu.table("HISTORY", columns)
    made = []
    for name, texts in columns.items():
        width = max(map(len, texts), default=1) or 1
        made.append(fits.Column(name, format=f"{width}A", array=np.array(texts, f"S{width}")))
    theirs = fits.BinTableHDU.from_columns(made, name="HISTORY")
    assert ours.cards == theirs.header.tostring(endcard=False, padding=False)
    file = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), theirs]).writeto(file)
    assert ours.data == file.getvalue()[2880 + len(theirs.header.tostring()) :]


def frame(**more: Any) -> Frame:
    """A frame whose header has every kind of card."""
    rng = np.random.default_rng(1)
    amp = Amplifier("A", (12, 10), Box(0, 0, 8, 12), Box(0, 0, 10, 12), Box(0, 0, 8, 12), gain=1.5, read_noise=5.0)
    image, variance = (rng.normal(size=(12, 8)).astype(np.float32) for _ in range(2))
    given: dict[str, Any] = {
        "detector": Detector("d", 3, (amp,)),
        "observation": Observation(instrument="demo", exposure_time=30.0),
        "metadata": {
            "OBJECT": "Käfer", "LONG KEY WORD": "x" * 100, "QUOTED": "it's", "EMPTY": "", "NONE": None, "lower": 1,
            "HISTORY": "older line\nand one more", "COMMENT": "said", "ESO DET NAME": "e2v", "CRVAL1": 1e-7,
            "CTYPE1": "RA---TAN", "CRPIX1": 3.5, "CD1_1": -1.25e-5, "BIG": 2**70, "BIASSEC": "[9:10,1:12]",
        },
        "comments": {"OBJECT": "what was looked at", "QUOTED": "c" * 90},
        "history": (
            Record("overscan", config={"method": "median"}, note="level 1000 ± 2, " + "and " * 30),
            Record("dark", "left out", note="no dark given"),
            Record("flat", inputs={"flat": "abc123"}),
        ),
        "components": {"poisson": Plane(np.full((12, 8), 2, np.float32), unit="electron2")},
        "gain_map": GainMap(1.0, "abc123", {"A": 1.5}),
    }  # fmt: skip
    mask = Mask(rng.integers(0, 2**15, (12, 8)).astype(np.uint32))
    return Frame(Plane(image, unit="electron"), Plane(variance, unit="electron2"), mask, **{**given, **more})


def bare(path: Path) -> bytes:
    """The file without what depends on the moment of writing."""
    data = path.read_bytes()
    cards = [data[i : i + 80] for i in range(0, len(data), 80)]
    return b"".join(c for c in cards if not c.startswith((b"CHECKSUM", b"DATASUM ")))


@pytest.mark.parametrize("cards", [0, 19, 20, 21, 22, 23, 60])
@pytest.mark.parametrize("parts", ["all", "image", "raw"])
def test_a_frame_is_byte_for_byte_astropys(tmp_path: Path, cards: int, parts: str) -> None:
    """Headers on either side of a full block among them."""
    less = {"all": {}, "image": {"history": (), "components": {}, "detector": None, "gain_map": None},
            "raw": {"raw": True, "wcs": fits_wcs()}}  # fmt: skip
    given = frame(**less[parts])
    given.metadata.update({f"KEY{i}": i * 1.5 for i in range(cards)})
    if parts == "image":
        given = replace(given, mask=None, variance=None)
    hdus = frame_hdus(given)
    hdus.writeto(tmp_path / "astropy.fits", checksum=True)
    plain = plain_hdus(given)
    with MappedWriter(tmp_path / "ours.fits", plain) as writer:
        for hdu in hdus:
            if hdu.is_image and hdu.data is not None:
                words = np.ascontiguousarray(hdu.data).view(np.uint32)
                writer.write_tile(hdu.name, 0, words.byteswap(), int(words.sum(dtype=np.uint64)))
        writer.commit(plain)
    assert bare(tmp_path / "ours.fits") == bare(tmp_path / "astropy.fits")
    with fits.open(tmp_path / "ours.fits") as a, fits.open(tmp_path / "astropy.fits") as b:
        assert [h.header["DATASUM"] for h in a] == [h.header["DATASUM"] for h in b]
        assert all(h.verify_checksum() == 1 and h.verify_datasum() == 1 for h in a)


def fits_wcs() -> Any:
    from astropy.wcs import WCS

    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval, wcs.wcs.crpix = ["RA---TAN", "DEC--TAN"], [10.0, 20.0], [3.0, 4.0]
    return wcs


def test_tables_that_shrink_leave_nothing_behind(tmp_path: Path) -> None:
    """The file is preallocated for what was expected; it ends where the last HDU does."""
    given = frame(components={})
    final = plain_hdus(replace(given, history=()))
    with MappedWriter(tmp_path / "a.fits", plain_hdus(given)) as writer:
        for hdu in final:
            if hdu.shape is not None:
                writer.write_tile(hdu.name, 0, np.zeros(hdu.shape, np.uint32), 0)
        writer.commit(final)
    with fits.open(tmp_path / "a.fits", checksum=True) as hdus:
        assert [h.name for h in hdus] == ["PRIMARY", "IMAGE", "MASK", "VARIANCE", "FULLWELL"]
        end = hdus[-1].fileinfo()
    assert (tmp_path / "a.fits").stat().st_size == end["datLoc"] + end["datSpan"]
