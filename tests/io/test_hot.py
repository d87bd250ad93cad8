"""The mapped reader and the tile writer against astropy, byte for byte."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from fullwell.base.errors import FileError, GeometryError, UsageError
from fullwell.cameras import Amplifier, Box, Detector, Orientation
from fullwell.conductor import Block, Buffers, Exposure, Layout
from fullwell.conductor.hotsink import HotSink, why_not_tiles
from fullwell.conductor.store import ArraySource, MemorySink
from fullwell.io import atomic, hot
from fullwell.io.headertext import PlainHdu, checksum_text, fold
from fullwell.io.hotwrite import MappedWriter, blank_plane

RNG = np.random.default_rng(20)
TURNS = [Orientation(x, y) for x in (False, True) for y in (False, True)]


def detector(nx: int = 4, extensions: bool = False, turns: list[Orientation] | None = None) -> Detector:
    """Two rows of `nx` amplifiers of 7 x 11 with 6 x 5 data pixels; the upper row is read downwards."""
    amps = []
    for i in range(2 * nx):
        top, col = i >= nx, i % nx
        turn = turns[i % len(turns)] if turns else Orientation(flip_x=bool(i % 2), flip_y=top)
        amps.append(
            Amplifier(
                f"A{i}",
                (7, 11),
                Box(2, 0, 5, 6),
                Box(11 * col, 7 * top, 11, 7),
                Box(5 * col, 6 * top, 5, 6),
                serial_overscan=Box(8, 0, 3, 7),
                raw_orientation=turn,
                orientation=Orientation(flip_x=bool(i % 2), flip_y=top),
                hdu=f"Seg{i:02d}" if extensions else None,
                hdu_orientation=TURNS[i % 4] if extensions else Orientation(),
            )
        )
    return Detector("T", 0, tuple(amps))


def segments_of(mapped: hot.MappedRaw, det: Detector) -> np.ndarray:
    """All segments in read-out order through the conductor's source: (rows, amplifiers x columns)."""
    layout = Layout(det)
    block = Block(Exposure(det), layout, 0, det.amplifiers[0].shape[0], Buffers())
    ArraySource.of_mapped(mapped).load(block)
    return block.image.copy()


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "float32"])
def test_image_equals_astropy(tmp_path: Path, dtype: str) -> None:
    image = RNG.integers(0, 250, (13, 17)).astype(dtype)
    if dtype == "uint16":
        image[0, :2] = 0, 65535
    if dtype in ("int16", "int32"):
        image[0, :2] = np.iinfo(dtype).min, np.iinfo(dtype).max
    path = tmp_path / "a.fits"
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(image, name="X")]).writeto(path)
    out = hot.read_image(path)
    assert out.dtype == image.dtype and out.dtype.isnative
    assert np.array_equal(out, image)
    again = np.zeros_like(image)
    assert hot.read_image(path, "x", out=again) is again
    assert np.array_equal(again, image)


@pytest.mark.parametrize("dtype", ["uint16", "int16", "int32", "float32", "uint8"])
@pytest.mark.parametrize("turns", [None, TURNS, [Orientation(True, False, True)] * 8])
def test_single_hdu_segments(tmp_path: Path, dtype: str, turns: list[Orientation] | None) -> None:
    det = detector()
    if turns and turns[0].transpose:
        amps = [
            Amplifier(
                a.name, (7, 11), a.data, Box(7 * (i % 4), 11 * (i // 4), 7, 11), a.trimmed, raw_orientation=turns[0]
            )
            for i, a in enumerate(det)
        ]
        det = Detector("T", 0, tuple(amps))
    elif turns:
        det = detector(turns=turns)
    raw = RNG.integers(0, 200, det.raw_box.shape).astype(dtype)
    path = tmp_path / "raw.fits"
    fits.PrimaryHDU(raw).writeto(path)
    got = segments_of(hot.MappedRaw.open(path, det), det)
    want = [amp.raw_orientation.undo(raw[amp.raw.slices]) for amp in det]
    assert np.array_equal(got, np.hstack(want).astype(np.float32))


def test_one_hdu_per_amplifier_with_flips(tmp_path: Path) -> None:
    det = detector(extensions=True)
    arrays = {amp.name: RNG.integers(0, 65535, (7, 11)).astype(np.uint16) for amp in det}
    hdus = [fits.ImageHDU(amp.hdu_orientation.apply(arrays[amp.name]), name=amp.hdu) for amp in det]
    path = tmp_path / "mef.fits"
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(path)
    mapped = hot.MappedRaw.open(path, det)
    assert np.array_equal(segments_of(mapped, det), np.hstack([arrays[a.name] for a in det]).astype(np.float32))


def test_index_values(tmp_path: Path) -> None:
    primary = fits.PrimaryHDU()
    primary.header["EXPTIME"] = 15.5
    primary.header["OBJECT"] = "it's M31"
    primary.header["SHUT"] = True
    primary.header["SEQNUM"] = (12, "number / of the day")
    for i in range(60):
        primary.header[f"K{i}"] = i
    table = fits.BinTableHDU.from_columns([fits.Column("a", "J", array=np.arange(5))], name="T")
    image = fits.ImageHDU(np.zeros((3, 4), np.uint16), name="IM")
    path = tmp_path / "a.fits"
    fits.HDUList([primary, table, image]).writeto(path)
    first, second, third = hot.index(path, ("EXPTIME", "OBJECT", "SHUT", "SEQNUM", "K59", "ABSENT"))
    assert first.values == {"EXPTIME": 15.5, "OBJECT": "it's M31", "SHUT": True, "SEQNUM": 12, "K59": 59}
    assert (second.kind, second.name, third.name) == ("BINTABLE", "T", "IM")
    assert third.shape == (3, 4) and third.bzero == 32768 and third.image
    with fits.open(path) as hdus:
        for i, hdu in enumerate((first, second, third)):
            info = hdus[i].fileinfo()
            assert (hdu.header, hdu.data) == (info["hdrLoc"], info["datLoc"])


def test_files_that_are_not_plain_say_why(tmp_path: Path) -> None:
    scaled = fits.PrimaryHDU(np.zeros((13, 44), np.float32))
    scaled.scale("int16", bscale=0.5)
    scaled.writeto(tmp_path / "scaled.fits")
    with pytest.raises(hot.NotPlain, match=r"BSCALE 0\.5") as error:
        hot.read_image(tmp_path / "scaled.fits")
    assert "fullwell.io.read" in str(error.value)
    fits.CompImageHDU(np.zeros((20, 20), np.int16)).writeto(tmp_path / "rice.fits")
    with pytest.raises(hot.NotPlain, match="tile-compressed"):
        hot.read_image(tmp_path / "rice.fits")
    mixed = [fits.ImageHDU(np.zeros((7, 11), np.int16 if i else np.int32), name=f"Seg{i:02d}") for i in range(8)]
    fits.HDUList([fits.PrimaryHDU(), *mixed]).writeto(tmp_path / "mixed.fits")
    with pytest.raises(hot.NotPlain, match="differ in pixel type"):
        hot.MappedRaw.open(tmp_path / "mixed.fits", detector(extensions=True))


def test_broken_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.fits"
    fits.PrimaryHDU(np.zeros((100, 100), np.uint16)).writeto(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:10000])
    with pytest.raises(FileError, match="need 20000 bytes, 7120 are there"):
        hot.read_image(path)
    path.write_bytes(b"SIMPLE  =" + b" " * 4000)
    with pytest.raises(FileError, match="no END card"):
        hot.index(path)
    path.write_bytes(b"some text\n" * 1000)
    with pytest.raises(FileError, match="not a FITS file"):
        hot.index(path)
    path.write_bytes(b"")
    with pytest.raises(FileError, match="too short"):
        hot.index(path)
    with pytest.raises(FileError, match="cannot be read"):
        hot.index(tmp_path / "absent.fits")
    path.write_bytes(whole)
    with pytest.raises(GeometryError, match="amplifier W needs"):
        hot.MappedRaw.open(path, Detector("T", 0, (*detector(nx=4).amplifiers[3:4], _wide())))
    with pytest.raises(FileError, match="no HDU 'Seg00'"):
        hot.MappedRaw.open(path, detector(extensions=True))


def _wide() -> Amplifier:
    return Amplifier("W", (7, 200), Box(0, 0, 5, 6), Box(0, 0, 200, 7), Box(0, 0, 5, 6))


def template(det: Detector, cards: int = 20) -> fits.HDUList:
    """Primary with cards, three planes, a table behind."""
    primary = fits.PrimaryHDU()
    for i in range(cards):
        primary.header[f"KEY{i}"] = (i * 1.5, "a comment")
    primary.header["LONGTEXT"] = "x" * 100
    image = fits.ImageHDU(blank_plane(det.box.shape, np.float32), name="IMAGE")
    image.header["BUNIT"] = "electron"
    mask = fits.ImageHDU(blank_plane(det.box.shape, np.int32), name="MASK")
    mask.header["MP_BAD"] = 0
    variance = fits.ImageHDU(blank_plane(det.box.shape, np.float32), name="VARIANCE")
    table = fits.BinTableHDU.from_columns([fits.Column("step", "8A", array=["bias", "dark"])], name="HISTORY")
    return fits.HDUList([primary, image, mask, variance, table])


def plain(hdus: fits.HDUList) -> list[PlainHdu]:
    """The same HDUs as text; images come in tiles."""
    out = []
    for hdu in hdus:
        text = hdu.header.tostring(endcard=False, padding=False)
        at = next((i for i in range(0, len(text), 80) if text.startswith("HISTORY ", i)), len(text))
        shape = hdu.data.shape if hdu.is_image and hdu.data is not None else None
        data = hdu.data.view(np.ndarray).tobytes() if hdu.data is not None and shape is None else b""
        out.append(PlainHdu(hdu.name, text[:at], text[at:], data.ljust(-(-len(data) // 2880) * 2880, b"\0"), shape))
    return out


def filled(template: fits.HDUList, sink: MemorySink) -> fits.HDUList:
    """The same HDUs with the planes of a sink."""
    planes = {"IMAGE": sink.image, "MASK": sink.mask.view(np.int32), "VARIANCE": sink.variance}
    return fits.HDUList(
        [fits.ImageHDU(planes[h.name], h.header, name=h.name) if h.name in planes else h.copy() for h in template]
    )


def stripped(data: bytes) -> bytes:
    """The file without the checksum cards, whose comments hold the time of day."""
    cards = [data[i : i + 80] for i in range(0, len(data), 80)]
    return b"".join(c for c in cards if not c.startswith((b"CHECKSUM", b"DATASUM ")))


def blocks(det: Detector, rows: int = 4):
    """Blocks of random numbers, negative zero, NaN and high mask bits among them."""
    layout = Layout(det, "data")
    rng = np.random.default_rng(3)
    buffers = Buffers()
    first, last = layout.data_rows
    for r0 in range(first, last, rows):
        block = Block(Exposure(det), layout, r0, min(r0 + rows, last), buffers)
        block.image[:] = rng.normal(0, 1e4, block.image.shape)
        block.image[0, :3] = np.nan, -0.0, np.inf
        block.start_variance()[:] = rng.random(block.image.shape)
        block.start_mask()[:] = rng.integers(0, 2**31, block.image.shape)
        yield block


def write_both(path: Path, det: Detector, hdus: fits.HDUList, final: fits.HDUList | None = None) -> MemorySink:
    memory = MemorySink(det)
    with MappedWriter(path, plain(hdus)) as writer:
        sink = HotSink(det, writer)
        for block in blocks(det):
            sink.store(block)
            memory.store(block)
        writer.commit(plain(final or hdus))
    return memory


@pytest.mark.parametrize("cards", [0, 20, 70])
def test_written_file_is_byte_for_byte_astropys(tmp_path: Path, cards: int) -> None:
    det = detector()
    hdus = template(det, cards)
    memory = write_both(tmp_path / "hot.fits", det, hdus)
    filled(hdus, memory).writeto(tmp_path / "astropy.fits", checksum=True)
    ours, theirs = (tmp_path / "hot.fits").read_bytes(), (tmp_path / "astropy.fits").read_bytes()
    assert stripped(ours) == stripped(theirs)
    with fits.open(tmp_path / "hot.fits") as a, fits.open(tmp_path / "astropy.fits") as b:
        assert [h.header["DATASUM"] for h in a] == [h.header["DATASUM"] for h in b]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with fits.open(tmp_path / "hot.fits", checksum=True) as a:
            assert np.array_equal(a["IMAGE"].data, memory.image, equal_nan=True)
    assert os.listdir(tmp_path) and not [n for n in os.listdir(tmp_path) if "tmp" in n]


def test_history_that_outgrows_its_header_is_moved(tmp_path: Path) -> None:
    det = detector()
    hdus = template(det)
    final = template(det, cards=90)
    final["IMAGE"].header["HISTORY"] = "y" * 4000
    memory = write_both(tmp_path / "hot.fits", det, hdus, final)
    filled(final, memory).writeto(tmp_path / "astropy.fits", checksum=True)
    assert stripped((tmp_path / "hot.fits").read_bytes()) == stripped((tmp_path / "astropy.fits").read_bytes())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fits.open(tmp_path / "hot.fits", checksum=True).close()


def test_headers_that_shrink_are_filled_with_blank_cards(tmp_path: Path) -> None:
    det = detector()
    memory = write_both(tmp_path / "hot.fits", det, template(det, cards=70), template(det, cards=5))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with fits.open(tmp_path / "hot.fits", checksum=True) as hdus:
            hdus.verify("exception")
            assert np.array_equal(hdus["VARIANCE"].data, memory.variance)
            assert "KEY4" in hdus[0].header and "KEY6" not in hdus[0].header


@pytest.mark.parametrize("seed", range(40))
def test_checksum_text_is_astropys(seed: int) -> None:
    value = int(np.random.default_rng(seed).integers(0, 2**32))
    assert checksum_text(value) == fits.PrimaryHDU()._char_encode(value)


def test_fold_by_hand() -> None:
    assert fold(0xFFFFFFFF + 1) == 1
    assert fold(0x3_00000002) == 5
    assert fold(0xFFFF_FFFF_FFFF_FFFF) == 0xFFFFFFFF


def test_nothing_is_left_of_a_failed_run_and_the_old_file_stays(tmp_path: Path) -> None:
    det = detector()
    path = tmp_path / "out.fits"
    path.write_bytes(b"old")
    with pytest.raises(RuntimeError), MappedWriter(path, plain(template(det))) as writer:
        HotSink(det, writer).store(next(iter(blocks(det))))
        raise RuntimeError("stop")
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["out.fits"]
    with pytest.raises(UsageError, match="8 of 12 rows"), MappedWriter(path, plain(template(det))) as writer:
        HotSink(det, writer).store(next(iter(blocks(det))))
        writer.commit(plain(template(det)))
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["out.fits"]
    with pytest.raises(FileError, match="exists"):
        MappedWriter(path, plain(template(det)), overwrite=False)
    with pytest.raises(FileError, match="cannot write"):
        MappedWriter(tmp_path / "absent" / "x.fits", plain(template(det)))


def test_a_failed_rename_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(old: Path, new: Path, overwrite: bool) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(atomic, "_commit", refuse)
    with pytest.raises(FileError, match="No space left"):
        write_both(tmp_path / "x.fits", detector(), template(detector()))
    assert os.listdir(tmp_path) == []


def test_killed_writer_leaves_no_file_under_the_final_name(tmp_path: Path) -> None:
    script = f"""
        import sys, time
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        import test_hot as t
        det = t.detector()
        writer = t.MappedWriter({str(tmp_path / "x.fits")!r}, t.plain(t.template(det)))
        sink = t.HotSink(det, writer)
        for block in t.blocks(det):
            sink.store(block)
        print("written", flush=True)
        time.sleep(60)
    """
    child = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE)
    assert child.stdout is not None and child.stdout.readline().strip() == b"written"
    time.sleep(0.05)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert not (tmp_path / "x.fits").exists()
    assert len(os.listdir(tmp_path)) == 1
    atomic.sweep(tmp_path)
    assert os.listdir(tmp_path) == []


def test_geometries_that_are_no_tiles_are_refused() -> None:
    box = Box(0, 0, 6, 5)
    turned = Amplifier("A", (6, 5), Box(0, 0, 5, 6), box, box, raw_orientation=Orientation(transpose=True),
                       orientation=Orientation(transpose=True))  # fmt: skip
    det = Detector("T", 0, (turned,))
    assert "along columns" in why_not_tiles(det)
    with pytest.raises(GeometryError, match="MemorySink"):
        HotSink(det, None)  # type: ignore[arg-type]
    quarter = Amplifier("A", (6, 5), Box(0, 0, 5, 6), Box(0, 0, 5, 6), Box(0, 0, 5, 6))
    other = Amplifier("B", (6, 5), Box(0, 0, 5, 5), Box(5, 0, 5, 6), Box(5, 0, 5, 5))
    assert "edge to edge" in why_not_tiles(Detector("T", 0, (quarter, other)))
    assert why_not_tiles(detector()) == ""
