"""Camera files: what a user writes, and what comes of it."""

from __future__ import annotations

import itertools
import tomllib
from typing import Any

import numpy as np
import pytest

from fullwell import instruments
from fullwell.base.errors import ConfigError, GeometryError, HeaderError
from fullwell.cameras import Box, Orientation

from .headers import one

ESIS = """
name = "esis1"
[[identify]]
CAM_ID = ["ESIS*"]
[types.ccd230]
segment = [520, 1076]
data = [520, 1024]
prescan = 50
pixel_size = 0.015
gain = 2.5
amplifiers = [
  { name = "LL", corner = "LL", tile = [0, 0] },
  { name = "LR", corner = "LR", tile = [1, 0] },
  { name = "UL", corner = "UL", tile = [0, 1] },
  { name = "UR", corner = "UR", tile = [1, 1], gain = 2.6 },
]
[headers]
exposure_time = "IMG_EXP|ms"
"""


def test_tiles() -> None:
    instrument = instruments.from_mapping(tomllib.loads(ESIS), "esis.toml")
    detector = instrument.detector(one({"CAM_ID": "ESIS1"}, (1040, 2152)))
    assert detector.box.shape == (1040, 2048) and detector.raw_box.shape == (1040, 2152)
    assert detector["LR"].raw_box("serial_overscan") == Box(1076, 0, 2, 520)
    assert detector["LR"].raw_box("data") == Box(1078, 0, 1024, 520)
    assert detector["UR"].raw_box("prescan") == Box(2102, 520, 50, 520)
    assert list(detector.values("gain")) == [2.5, 2.5, 2.5, 2.6]
    assert instrument.claims(one({"CAM_ID": "ESIS1"})) and not instrument.claims(one({"CAM_ID": "OTHER"}))
    assert instrument.observation(one({"IMG_EXP": 1999})).exposure_time == 1.999


def test_sections_of_unequal_amplifiers() -> None:
    text = """
    name = "odd"
    [types.odd]
    amplifiers = [
      { name = "A", corner = "LL", raw = "[1:60,1:40]", data = "[1:50,1:40]", serial_overscan = "[51:60,1:40]",
        trimmed = "[1:50,1:40]" },
      { name = "B", corner = "LR", raw = "[61:100,1:40]", data = "[71:100,1:40]", serial_overscan = "[61:70,1:40]",
        trimmed = "[51:80,1:40]" },
    ]
    """
    text = text.replace(",\n        trimmed", ", trimmed")
    detector = instruments.from_mapping(tomllib.loads(text)).detector(one({}, (40, 100)))
    assert [amp.data.width for amp in detector] == [50, 30]
    assert detector["B"].serial_overscan == Box(30, 0, 10, 40)  # read from the right: the data come first
    assert detector.box == Box(0, 0, 80, 40)


@pytest.mark.parametrize(("corner", "transpose"), list(itertools.product(("LL", "LR", "UL", "UR"), (False, True))))
def test_eight_orientations(corner: str, transpose: bool) -> None:
    """Read-out numbered 0, 1, 2 … along its rows lands with 0 in the corner and 1 along the read-out row."""
    kind = {
        "segment": [4, 7],
        "data": [4, 5],
        "amplifiers": [{"name": "A", "corner": corner, "transpose": transpose, "tile": [0, 0]}],
    }
    camera = instruments.from_mapping({"name": "x", "types": {"t": kind}}).camera
    assert camera is not None
    amp = camera.detectors[0].amplifiers[0]
    image = amp.orientation.apply(np.arange(20).reshape(4, 5))
    assert image.shape == ((5, 4) if transpose else (4, 5)) == amp.trimmed.shape
    y, x = (0 if corner[0] == "L" else -1), (0 if corner[1] == "L" else -1)
    assert image[y, x] == 0
    step_y, step_x = (1 if corner[0] == "L" else -1), (1 if corner[1] == "L" else -1)
    assert (image[y + step_y, x] if transpose else image[y, x + step_x]) == 1
    assert amp.raw.shape == amp.raw_orientation.shape((4, 7))
    assert amp.orientation == Orientation(corner[1] == "R", corner[0] == "U", transpose)


def spoiled(**change: Any) -> dict[str, Any]:
    table = tomllib.loads(ESIS)
    table.update(change)
    return table


def test_mistakes_in_camera_files_are_named() -> None:
    with pytest.raises(ConfigError, match="unknown key 'recipie'"):
        instruments.from_mapping(spoiled(recipie="generic"), "esis.toml")
    with pytest.raises(ConfigError, match="has no name"):
        instruments.from_mapping(spoiled(name=""))
    with pytest.raises(ConfigError, match="unknown key 'header'"):
        instruments.from_mapping(spoiled(header="rubin"))
    with pytest.raises(ConfigError, match="'exposuretime' is no field"):
        instruments.from_mapping(spoiled(headers={"exposuretime": "X"}))
    table = tomllib.loads(ESIS)
    table["types"]["ccd230"]["prescans"] = 3
    with pytest.raises(ConfigError) as err:
        instruments.from_mapping(table)
    assert "did you mean 'prescan'" in str(err.value)
    table = tomllib.loads(ESIS)
    table["types"]["ccd230"]["prescan"] = 60
    with pytest.raises(GeometryError, match="need 520 rows and 1084 columns, its segment has 520 and 1076"):
        instruments.from_mapping(table)
    table = tomllib.loads(ESIS)
    table["types"]["ccd230"]["amplifiers"][3]["tile"] = [0, 0]
    with pytest.raises(GeometryError, match="overlap"):
        instruments.from_mapping(table)


def test_an_image_of_another_size_is_refused() -> None:
    instrument = instruments.from_mapping(tomllib.loads(ESIS))
    with pytest.raises(GeometryError, match="has 1076 x 520 pixels, camera esis1 describes 2152 x 1040"):
        instrument.detector(one({}, (520, 1076)))


def test_stated_numbers_overrule_the_description() -> None:
    instrument = instruments.from_mapping(tomllib.loads(ESIS))
    options = instruments.CameraOptions(gain=2.0)
    assert set(instrument.detector(one({}, (1040, 2152)), options).values("gain")) == {2.0}
    with pytest.raises(HeaderError, match="describes its amplifiers"):
        instrument.detector(one({}, (1040, 2152)), instruments.CameraOptions(overscan="[1:2,1:3]"))
