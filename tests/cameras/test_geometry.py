"""Boxes and orientations, by hand and for all eight turns."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from fullwell.base.errors import GeometryError
from fullwell.cameras import Amplifier, Box, Detector, Orientation

TURNS = [Orientation(*flags) for flags in itertools.product((False, True), repeat=3)]


def test_box_slices_are_half_open() -> None:
    array = np.arange(20).reshape(4, 5)
    assert array[Box(1, 2, 3, 2).slices].tolist() == [[11, 12, 13], [16, 17, 18]]


def test_box_intersection_and_containment() -> None:
    a, b = Box(0, 0, 4, 4), Box(2, 3, 5, 5)
    assert a.intersection(b) == Box(2, 3, 2, 1)
    assert a.contains(Box(1, 1, 3, 3)) and not a.contains(b)
    assert a.intersection(Box(10, 10, 1, 1)).area == 0


def test_negative_size_is_refused() -> None:
    with pytest.raises(GeometryError, match="negative size"):
        Box(0, 0, -1, 2)


def test_flip_by_hand() -> None:
    readout = np.array([[1, 2, 3], [4, 5, 6]])
    assert Orientation(flip_x=True).apply(readout).tolist() == [[3, 2, 1], [6, 5, 4]]
    assert Orientation(flip_y=True).apply(readout).tolist() == [[4, 5, 6], [1, 2, 3]]
    assert Orientation(transpose=True, flip_x=True).apply(readout).tolist() == [[4, 1], [5, 2], [6, 3]]


@pytest.mark.parametrize("turn", TURNS)
def test_undo_is_the_inverse(turn: Orientation) -> None:
    readout = np.arange(6).reshape(2, 3)
    assert np.array_equal(turn.undo(turn.apply(readout)), readout)


@pytest.mark.parametrize("turn", TURNS)
def test_boxes_follow_the_pixels(turn: Orientation) -> None:
    readout = np.arange(35).reshape(5, 7)
    inner = Box(1, 2, 4, 2)
    outer = turn.box(inner, readout.shape)
    assert sorted(turn.apply(readout)[outer.slices].ravel()) == sorted(readout[inner.slices].ravel())
    assert turn.undo_box(outer, readout.shape) == inner


@pytest.mark.parametrize("turn", TURNS)
def test_points_follow_the_pixels(turn: Orientation) -> None:
    readout = np.arange(35).reshape(5, 7)
    y, x = turn.point(np.array([3.0]), np.array([5.0]), readout.shape)
    assert turn.apply(readout)[int(y[0]), int(x[0])] == readout[3, 5]


@pytest.mark.parametrize(
    ("turn", "corner"), [(TURNS[0], "LL"), (Orientation(True), "LR"), (Orientation(True, True), "UR")]
)
def test_readout_corner(turn: Orientation, corner: str) -> None:
    assert turn.corner == corner


def amplifier(name: str, x0: int) -> Amplifier:
    box = Box(x0, 0, 4, 3)
    return Amplifier(name, (3, 4), Box(0, 0, 4, 3), box, box)


def test_tiling_is_proved() -> None:
    Detector("d", 0, (amplifier("A", 0), amplifier("B", 4))).check_tiling()
    with pytest.raises(GeometryError, match=r"A .* and B .* overlap"):
        Detector("d", 0, (amplifier("A", 0), amplifier("B", 3))).check_tiling()
    with pytest.raises(GeometryError, match=r"3 pixels .* belong to no amplifier"):
        Detector("d", 0, (amplifier("A", 0), amplifier("B", 5))).check_tiling()


def test_data_outside_the_segment_is_refused() -> None:
    with pytest.raises(GeometryError, match=r"data .* of amplifier A lies outside"):
        Amplifier("A", (3, 4), Box(0, 0, 5, 3), Box(0, 0, 4, 3), Box(0, 0, 5, 3))


def test_unknown_amplifier_names_those_that_exist() -> None:
    with pytest.raises(GeometryError, match="it has A, B"):
        Detector("d", 0, (amplifier("A", 0), amplifier("B", 4)))["C"]


def test_focal_plane_round_trip_with_rotation() -> None:
    det = Detector("d", 0, (amplifier("A", 0),), centre=(10.0, -3.0), rotation=90.0, pixel_size=0.01)
    x, y = det.to_focal_plane(3.0, 1.0)
    assert (float(x), float(y)) == pytest.approx((10.0, -3.0 + 1.5 * 0.01))
    assert det.from_focal_plane(x, y) == pytest.approx((3.0, 1.0))


def test_values_replace_only_what_is_named() -> None:
    det = Detector("d", 0, (amplifier("A", 0), amplifier("B", 4))).with_values(gain={"B": 1.5})
    assert np.isnan(det["A"].gain) and det["B"].gain == 1.5
