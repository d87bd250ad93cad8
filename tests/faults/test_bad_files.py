"""Bad files: each gives an error of ours that names the file, the HDU or keyword, and what to try."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

import fullwell.io as fio
from fullwell.base.errors import FileError, FullwellError, HeaderError
from fullwell.frames import Frame, Mask
from fullwell.products import Gain


def good(path: Path) -> Path:
    hdus = [fits.PrimaryHDU(), fits.ImageHDU(np.arange(5000, dtype=np.int16).reshape(50, 100), name="SEG")]
    fits.HDUList(hdus).writeto(path)
    return path


def card(key: str, value: object) -> bytes:
    return f"{key:8}= {value!s:>20}".ljust(80).encode()


def changed(path: Path, old: bytes, new: bytes) -> Path:
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new.ljust(len(old)), 1))
    return path


CASES: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "empty": (lambda p: p.write_bytes(b""), "empty", "fetch or write it again"),
    "text": (lambda p: p.write_text("observing log of 1 May\n"), "it is a text", "leave it out"),
    "binary": (lambda p: p.write_bytes(bytes(range(256))), "does not begin with SIMPLE", "leave it out"),
    "header cut": (lambda p: p.write_bytes(good(p).read_bytes()[:3300]), "no END card", "fetch or write"),
    "data cut": (lambda p: p.write_bytes(good(p).read_bytes()[:9000]), "cut off: 10000 bytes", "fetch or write"),
    "NAXIS": (
        lambda p: changed(good(p), b"NAXIS1  =                  100", b"NAXIS1  =               999999"),
        "cut off",
        "",
    ),
    "negative": (
        lambda p: changed(good(p), b"NAXIS1  =                  100", b"NAXIS1  =                 -100"),
        "negative",
        "",
    ),
    "word": (
        lambda p: changed(good(p), b"NAXIS1  =                  100", b"NAXIS1  = 'ten'"),
        "whole number",
        "damaged",
    ),
    "missing": (lambda p: changed(good(p), b"NAXIS1  =", b"NAXISX  ="), "NAXIS1 is missing", "damaged"),
    "BITPIX": (
        lambda p: changed(good(p), b"BITPIX  =                   16", b"BITPIX  =                   17"),
        "does not exist",
        "8, 16",
    ),
    "no image": (lambda p: fits.PrimaryHDU().writeto(p), "no image", "table or a header"),
    "not gzip": (lambda p: p.write_bytes(b"\x1f\x8b\x08garbage"), "cannot be decoded", "damaged"),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_files_are_named(tmp_path: Path, case: str) -> None:
    make, words, remedy = CASES[case]
    path = tmp_path / "x.fits"
    make(path)
    with pytest.raises((FileError, HeaderError)) as info:
        fio.read(path)
    assert words in str(info.value.problem)
    assert str(path) in str(info.value.where)
    assert remedy in str(info.value.remedy)


def test_missing_and_folder_and_unreadable(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="no such file"):
        fio.read(tmp_path / "none.fits")
    with pytest.raises(FileError, match="a folder, not a file"):
        fio.read(tmp_path)
    path = good(tmp_path / "x.fits")
    path.chmod(0)
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    with pytest.raises(FileError, match="Permission denied"):
        fio.read(path)


def test_a_size_that_cannot_be_true_takes_no_memory(tmp_path: Path) -> None:
    """A compressed image of a million by a million pixels is refused before memory is taken."""
    path = tmp_path / "x.fits"
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(np.ones((30, 40), np.int16))]).writeto(path)
    changed(path, card("ZNAXIS1", 40)[:30], card("ZNAXIS1", 1000000)[:30])
    changed(path, card("ZNAXIS2", 30)[:30], card("ZNAXIS2", 1000000)[:30])
    with pytest.raises(HeaderError, match="too large to be true"):
        fio.read(path)


def small_files(folder: Path) -> list[Path]:
    """A raw frame of two segments, a compressed one, a corrected frame, and a gain table in FITS."""
    rng = np.random.default_rng(5)
    raw, packed, frame, table = (folder / f"{name}.fits" for name in ("raw", "packed", "frame", "table"))
    pixels = rng.integers(0, 60000, (8, 12), np.uint16)
    parts = [fits.PrimaryHDU(), fits.ImageHDU(pixels, name="A"), fits.ImageHDU(pixels, name="B")]
    for i, part in enumerate(parts[1:]):
        part.header.update(DATASEC="[3:10,1:8]", BIASSEC="[11:12,1:8]", DETSEC=f"[{1 + 8 * i}:{8 + 8 * i},1:8]")
    parts[0].header.update(EXPTIME=3.0, IMAGETYP="flat", FILTER="g", **{"DATE-OBS": "2025-01-02T03:04:05"})
    fits.HDUList(parts).writeto(raw)
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(pixels, name="A")]).writeto(packed)
    image = np.ones((8, 12), np.float32)
    fio.write_frame(Frame.from_arrays(image, image, image.astype(np.uint32), unit="electron"), frame)
    one = np.ones(1)
    gain = Gain(amps=("A",), gain=one, gain_error=one, read_noise=one, read_noise_error=one)
    fio.write_product(gain, table)
    return [raw, packed, frame, table]


@pytest.mark.parametrize("seed", range(4))
def test_flipped_bytes_raise_nothing_but_our_errors(tmp_path: Path, seed: int) -> None:
    """Random bytes in headers, tables and data; reading succeeds or says what is wrong."""
    rng = np.random.default_rng(seed)
    bad = tmp_path / "bad.fits"
    outcomes = {True: 0, False: 0}
    for path in small_files(tmp_path):
        whole = np.frombuffer(path.read_bytes(), np.uint8)
        read = fio.read_product if path.stem == "table" else fio.read
        for trial in range(60):
            data = whole.copy()
            where = rng.integers(0, len(data), rng.integers(1, 30))
            data[where] = rng.integers(32, 127, len(where)) if trial % 2 else rng.integers(0, 256, len(where))
            bad.write_bytes(data.tobytes()[: int(rng.integers(1, len(data)))] if trial % 10 == 9 else data.tobytes())
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    read(bad)
                except FullwellError as err:
                    assert err.problem
                    outcomes[False] += 1
                else:
                    outcomes[True] += 1
    assert outcomes[True] > 20
    assert outcomes[False] > 20


def frame() -> Frame:
    image = np.ones((200, 200), np.float32)
    return Frame.from_arrays(image, image, np.zeros((200, 200), np.uint32), unit="electron")


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    """A limit on the size of files stands in for the full disk: the write fails half-way."""
    path = tmp_path / "x.fits"
    code = (
        "import resource, signal, sys; sys.path.insert(0, 'tests/faults')\n"
        "from test_bad_files import frame\nimport fullwell.io as io\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (200000, resource.RLIM_INFINITY))\n"
        f"io.write_frame(frame(), {str(path)!r})\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "FileError: FW110: cannot write: the disk is full, or a limit" in done.stderr
    assert "free some space" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_read_only_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(fits.HDUList, "writeto", refuse)
    with pytest.raises(FileError, match="Read-only file system") as info:
        fio.write_frame(frame(), tmp_path / "x.fits")
    assert "-o" in str(info.value.remedy)
    assert list(tmp_path.iterdir()) == []


def test_not_finite_pixels_survive(tmp_path: Path) -> None:
    image = np.array([[np.nan, np.inf, -np.inf, 1.0]], np.float32)
    for compress in (False, True):
        fio.write_frame(Frame.from_arrays(image, image, unit="electron"), tmp_path / "x.fits", compress=compress)
        assert np.array_equal(fio.read(tmp_path / "x.fits").image.array, image, equal_nan=True)


def test_damaged_provenance_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.fits"
    fio.write_frame(frame(), path)
    changed(path, b'"binning":', b'"binning" ')
    with pytest.raises(FileError, match="record cannot be read") as info:
        fio.read(path)
    assert "FULLWELL" in str(info.value.where)


def test_mask_bits_that_collide_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.fits"
    fio.write_frame(Frame(frame().image, None, Mask(np.zeros((200, 200), np.uint32))), path)
    changed(path, card("MP_SAT", 1)[:30], card("MP_SAT", 0)[:30])
    with pytest.raises(HeaderError, match="mask plane SAT cannot be 0"):
        fio.read(path)
