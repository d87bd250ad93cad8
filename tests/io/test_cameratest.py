"""Series of camera tests: descriptors, folders told by headers, and what is said of those that are damaged."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from PIL import Image

from fullwell.base.errors import FileError, HeaderError
from fullwell.io import find_camera_test, read_descriptor

TEXT = """# comment
v 4.0
l Model AnyCam 640
n 12 8 6
b 2000000.0 200.0
i images\\b1_0.png
i images\\b1_1.png
b 1000000 100
i images/b0_0.png
i images/b0_1.png
b 3000000 300
i images/gone_0.png
i images/gone_1.png
b 4000000 400
i images/b3_0.png
i images/gone_2.png
b 1500000 150
i images/s_0.png
i images/s_1.png
i images/s_2.png
d 1000000
i images/d_0.png
i images/d_1.png
"""


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.arange(48, dtype=np.uint16).reshape(6, 8)).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b0_0", "b0_1", "b1_0", "b1_1", "b3_0", "s_0", "s_1", "s_2", "d_0", "d_1"):
        picture(tmp_path / "images" / f"{name}.png")
    (tmp_path / "set.txt").write_text(TEXT)
    return tmp_path


def test_a_descriptor_is_read(folder: Path) -> None:
    test = read_descriptor(folder / "set.txt")
    assert (test.bits, test.width, test.height, test.release) == (12, 8, 6, "4.0")
    assert test.texts == {"Model": "AnyCam 640"}
    assert [(level.time, level.photons) for level in test.bright] == [(0.001, 100), (0.002, 200)]
    assert [f.name for f in test.bright[1].files] == ["b1_0.png", "b1_1.png"]
    assert [level.time for level in test.dark] == [0.001] and test.dark[0].photons == 0
    assert test.bright_stack is not None and len(test.bright_stack.files) == 3
    assert test.dark_stack is None
    assert test.notes == (
        "1 levels are left out: none of their images is there",
        "bright level of 0.004 s is left out: 'gone_2.png' is not there",
    )


def test_the_folder_leads_to_its_descriptor_and_the_rate_overrules_it(folder: Path) -> None:
    assert find_camera_test(folder).bright[1].photons == 200
    test = find_camera_test(folder, rate=5e4)
    assert [level.photons for level in test.bright] == [50, 100]
    assert test.bright_stack is not None and test.bright_stack.photons == 75
    assert find_camera_test(folder / "set.txt").bits == 12


@pytest.mark.parametrize(
    ("line", "said", "remedy"),
    [
        ("b 100", "'100' is not what the line is to hold", "b TIME_NS PHOTONS"),
        ("d ten", "'ten' is not what the line is to hold", "d TIME_NS"),
        ("b -4 7", "'-4 7' is not", "b TIME_NS PHOTONS"),
        ("b inf 7", "'inf 7' is not", "b TIME_NS PHOTONS"),
        ("n 12 8", "'12 8' is not", "n BITS WIDTH HEIGHT"),
        ("n 99 8 6", "99 bits, 8 x 6 pixels cannot be true", "n BITS WIDTH HEIGHT"),
        ("i x.png", "an image stands before the first level", "begin with a line b or d"),
        ("q 4", "a line begins with 'q'", "#, v, n, b, d, i or l"),
    ],
)
def test_a_line_that_cannot_be_read_is_named(tmp_path: Path, line: str, said: str, remedy: str) -> None:
    path = tmp_path / "set.txt"
    path.write_text(f"v 4.0\n{line}\n")
    with pytest.raises(HeaderError) as caught:
        read_descriptor(path)
    assert said in caught.value.problem and caught.value.where == f"{path}, line 2"
    assert remedy in (caught.value.remedy or "")


def test_descriptors_that_are_none(tmp_path: Path, folder: Path) -> None:
    path = tmp_path / "none.txt"
    path.write_text("# nothing\n")
    with pytest.raises(HeaderError, match="has no level"):
        read_descriptor(path)
    path.write_text("d 10\ni a.png\ni b.png\n")
    with pytest.raises(FileError, match="none of the images that the descriptor names is there"):
        read_descriptor(path)
    path.write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(FileError, match="is no text"):
        read_descriptor(path)
    with pytest.raises(FileError, match="cannot be read: No such file"):
        read_descriptor(tmp_path / "gone.txt")
    with pytest.raises(FileError, match="there is no folder"):
        find_camera_test(tmp_path / "gone")
    (folder / "other.txt").write_text(TEXT)
    with pytest.raises(HeaderError, match=r"there are 2 descriptors: other.txt, set.txt"):
        find_camera_test(folder)


def frame(path: Path, kind: str, time: float | None, **more: object) -> None:
    header = fits.Header({"IMAGETYP": kind, **more})
    if time is not None:
        header["EXPTIME"] = time
    fits.writeto(path, np.zeros((6, 8), np.uint16), header)


def test_a_folder_is_told_by_headers(tmp_path: Path) -> None:
    for i in range(2):
        frame(tmp_path / f"a{i}.fits", "flat", 1.0)
        frame(tmp_path / f"b{i}.fits", "flat", 2.0, PHOTONS=777)
        frame(tmp_path / f"d{i}.fits", "dark", 2.0)
        frame(tmp_path / f"z{i}.fits", "bias", 0.0)
    for i in range(4):
        frame(tmp_path / f"s{i}.fits", "dark", 5.0)
    frame(tmp_path / "lone.fits", "flat", 9.0)
    frame(tmp_path / "sky.fits", "object", 9.0)
    test = find_camera_test(tmp_path, rate=100.0)
    assert [(level.time, level.photons) for level in test.bright] == [(1.0, 100.0), (2.0, 777.0)]
    assert [level.time for level in test.dark] == [0.0, 2.0]
    assert test.dark_stack is not None and len(test.dark_stack.files) == 4
    assert any("sky.fits is left out: its kind is 'science'" in note for note in test.notes)
    assert any("bright level of 9 s is left out: it has fewer than two images" in note for note in test.notes)
    assert math.isnan(find_camera_test(tmp_path).bright[0].photons)


def test_a_folder_that_tells_nothing(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="there is no descriptor and no image"):
        find_camera_test(tmp_path)
    picture(tmp_path / "a.png")
    picture(tmp_path / "b.png")
    with pytest.raises(FileError, match="no image of the folder says its exposure time") as caught:
        find_camera_test(tmp_path)
    assert "a.png" in str(caught.value) and "EMVA1288_Data.txt" in str(caught.value)
