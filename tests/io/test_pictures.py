"""PNG and TIFF images of camera tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

import fullwell.io as fio
from fullwell.base.errors import FileError, HeaderError

RNG = np.random.default_rng(11)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_grey_images_keep_their_bits(tmp_path: Path, dtype: str, suffix: str) -> None:
    pixels = RNG.integers(0, np.iinfo(dtype).max, (6, 9), dtype, endpoint=True)
    path = tmp_path / f"x.{suffix}"
    if suffix == "png":
        Image.fromarray(pixels).save(path)
    else:
        tifffile.imwrite(path, pixels)
    frame = fio.read(path)
    assert frame.raw and frame.unit == "adu"
    assert frame.image.dtype == np.dtype(dtype)
    assert np.array_equal(frame.image.array, pixels)
    assert fio.read_headers(path).hdus[0].shape == (6, 9)


def test_pages_of_a_tiff_are_a_series(tmp_path: Path) -> None:
    path = tmp_path / "x.tif"
    pages = RNG.integers(0, 4096, (3, 6, 9), np.uint16)
    with tifffile.TiffWriter(path) as writer:
        for page in pages:
            writer.write(page, description="Exposure 5 ms", metadata=None)
    with pytest.raises(HeaderError, match="series of 3") as info:
        fio.read(path)
    assert "read_series" in str(info.value.remedy)
    frames = fio.read_series(path)
    assert np.array_equal(np.stack([f.image.array for f in frames]), pages)
    assert frames[0].metadata["IMAGEDESCRIPTION"] == "Exposure 5 ms"


def test_colour_is_refused(tmp_path: Path) -> None:
    colour = RNG.integers(0, 255, (5, 6, 3), np.uint8)
    Image.fromarray(colour).save(tmp_path / "x.png")
    tifffile.imwrite(tmp_path / "x.tif", colour, photometric="rgb")
    for name in ("x.png", "x.tif"):
        with pytest.raises(HeaderError, match="colour image"):
            fio.read(tmp_path / name)


def test_damaged_images(tmp_path: Path) -> None:
    pixels = RNG.integers(0, 4096, (60, 90), np.uint16)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    tifffile.imwrite(tmp_path / "x.tif", pixels)
    for name in ("x.png", "x.tif"):
        path = tmp_path / name
        path.write_bytes(path.read_bytes()[:300])
        with pytest.raises(FileError) as info:
            fio.read(path)
        assert str(path) in str(info.value.where)


def test_texts_of_a_png_stand_for_a_header(tmp_path: Path) -> None:
    from PIL.PngImagePlugin import PngInfo

    texts = PngInfo()
    texts.add_text("exptime", "0.5")
    Image.fromarray(np.zeros((3, 3), np.uint8)).save(tmp_path / "x.png", pnginfo=texts)
    assert fio.read(tmp_path / "x.png").metadata["EXPTIME"] == "0.5"
