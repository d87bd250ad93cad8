"""Planes, masks and frames: views, units, named bits."""

from __future__ import annotations

import numpy as np
import pytest

from fullwell.base.errors import GeometryError, UsageError
from fullwell.base.provenance import Record
from fullwell.cameras import Amplifier, Box, Detector, Orientation
from fullwell.frames import PLANES, Frame, Mask, Plane


def test_setting_array_casts_into_the_same_buffer() -> None:
    pixels = np.zeros((2, 3), np.float32)
    plane = Plane(pixels, unit="adu")
    view = plane[Box(1, 0, 2, 2)]
    plane.array = np.full((2, 3), 7.9, np.float64)
    assert pixels[0, 0] == np.float32(7.9)
    assert view.array[1, 1] == np.float32(7.9)


def test_setting_a_wrong_shape_is_an_error() -> None:
    with pytest.raises(GeometryError, match=r"shape \(3, 3\) cannot replace one of shape \(2, 3\)"):
        Plane(np.zeros((2, 3))).array = np.zeros((3, 3))


def test_a_plane_is_an_array_for_numpy() -> None:
    plane = Plane(np.array([[1.0, 2.0], [3.0, 4.0]]))
    assert np.median(plane) == 2.5
    assert (plane * 2 + plane).tolist() == [[3, 6], [9, 12]]
    plane += 1
    assert isinstance(plane, Plane) and plane.array[0, 0] == 2.0


def test_subframe_keeps_the_parents_coordinates() -> None:
    frame = Frame.from_arrays(np.arange(20.0).reshape(4, 5), np.ones((4, 5)), np.zeros((4, 5)), unit="adu")
    part = frame[Box(1, 2, 3, 2)]
    again = part[Box(2, 3, 1, 1)]
    assert again.image.array.tolist() == [[17.0]]
    again.image.array[0, 0] = -1
    assert frame.image.array[3, 2] == -1
    with pytest.raises(GeometryError, match="reaches outside"):
        part[Box(0, 0, 2, 2)]


def test_mask_planes_by_name() -> None:
    mask = Mask(np.zeros((2, 2), np.uint32))
    mask["SAT"] = np.array([[True, False], [False, True]])
    mask["BAD"] = [[1, 1], [0, 0]]
    assert mask.array.tolist() == [[3, 1], [0, 2]]
    mask["SAT"] = np.zeros((2, 2), bool)
    assert mask.array.tolist() == [[1, 1], [0, 0]]
    assert mask.counts() == {"BAD": 2}


def test_unknown_plane_proposes_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'SUSPECT'"):
        Mask(np.zeros((1, 1), np.uint32))["SUSPEKT"]


def test_new_planes_take_free_bits() -> None:
    mask = Mask(np.zeros((1, 1), np.uint32), schema={"BAD": 0, "ODD": 2})
    mask["MINE"] = [[True]]
    assert mask.schema["MINE"] == 1 and mask.array[0, 0] == 2


def test_every_plane_has_a_sentence_and_its_own_bit() -> None:
    assert len({p.bit for p in PLANES}) == len(PLANES)
    assert all(p.meaning.endswith(".") and len(p.meaning) > 15 for p in PLANES)
    assert [p.bit for p in PLANES if p.name in ("BAD", "SAT", "INTRP", "CR", "EDGE", "SUSPECT", "NO_DATA")] == [
        0, 1, 2, 3, 4, 7, 8,
    ]  # fmt: skip


def test_planes_of_different_boxes_are_refused() -> None:
    with pytest.raises(GeometryError, match="the variance covers"):
        Frame(Plane(np.zeros((2, 2))), Plane(np.zeros((3, 3))))


def test_amplifier_view_of_a_raw_frame() -> None:
    turn = Orientation(flip_x=True)
    amp = Amplifier(
        "A",
        (2, 5),
        Box(0, 0, 3, 2),
        Box(0, 0, 5, 2),
        Box(0, 0, 3, 2),
        serial_overscan=Box(3, 0, 2, 2),
        raw_orientation=turn,
        orientation=turn,
    )
    raw = Frame.from_arrays(np.arange(10).reshape(2, 5), unit="adu", raw=True, detector=Detector("d", 0, (amp,)))
    assert raw.amp("A", "serial_overscan").image.array.tolist() == [[0, 1], [5, 6]]
    assert raw.amp("A").image.array.tolist() == [[2, 3, 4], [7, 8, 9]]


def test_history_and_copy_do_not_touch_the_original() -> None:
    frame = Frame.from_arrays(np.zeros((2, 2)), unit="adu")
    other = frame.copy().with_history(Record("bias"), Record("bias", note="second"))
    other.image.array[0, 0] = 5
    assert frame.history == () and frame.image.array[0, 0] == 0
    found = other.last("bias")
    assert found is not None and found.note == "second"
    assert other.last("flat") is None


def test_good_pixels() -> None:
    frame = Frame.from_arrays(np.array([[1.0, np.nan], [2.0, 3.0]]), None, np.array([[0, 0], [1, 4]]), unit="adu")
    assert frame.good().tolist() == [[True, False], [False, True]]


def test_a_notebook_shows_picture_table_and_history() -> None:
    frame = Frame.from_arrays(np.arange(90000.0).reshape(300, 300), None, np.eye(300), unit="electron")
    html = frame.with_history(Record("bias", note="<none> given", state="left out"))._repr_html_()
    assert "300 x 300 float64, electron" in html and "BAD 300" in html
    assert "bias: left out (&lt;none&gt; given)" in html
    assert "<script" not in html and len(html) < 60_000


def test_thumbnail_is_small_and_upright() -> None:
    import io

    from PIL import Image

    from fullwell.frames.html import thumbnail

    image = np.zeros((400, 200), np.float32)
    image[300:] = np.nan
    image[:100] = 9.0
    picture = np.asarray(Image.open(io.BytesIO(thumbnail(image))))
    assert picture.shape == (100, 50)
    assert picture[-1, 0] == 255 and picture[0, 0] == 0


def test_dark_charge_collects_for_the_dark_time_else_the_exposure() -> None:
    from fullwell.frames import Observation

    assert Observation(exposure_time=10.0, dark_time=12.0).collecting_time == 12.0
    assert Observation(exposure_time=10.0).collecting_time == 10.0
    assert np.isnan(Observation().collecting_time)
