"""A small detector for the effects: four amplifiers read at the four corners, with prescan and overscans."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fullwell.cameras import Amplifier, Box, Detector, Orientation
from fullwell.frames import Frame

ROWS, COLS = 6, 5


def quad_detector(**values: tuple[float, ...]) -> Detector:
    """Amplifiers LL, LR, UL, UR of 6 x 5 data pixels, 1 prescan and 2 overscan columns, 1 overscan row."""
    amps = []
    for i, corner in enumerate(("LL", "LR", "UL", "UR")):
        right, up = corner[1] == "R", corner[0] == "U"
        turn = Orientation(flip_x=right, flip_y=up)
        amps.append(
            Amplifier(
                corner,
                (ROWS + 1, COLS + 3),
                Box(1, 0, COLS, ROWS),
                Box((COLS + 3) * right, (ROWS + 1) * up, COLS + 3, ROWS + 1),
                Box(COLS * right, ROWS * up, COLS, ROWS),
                Box(0, 0, 1, ROWS + 1),
                Box(COLS + 1, 0, 2, ROWS + 1),
                Box(1, ROWS, COLS, 1),
                turn,
                turn,
                **{name: numbers[i] for name, numbers in values.items()},
            )
        )
    return Detector("quad", 0, tuple(amps))


@pytest.fixture
def quad() -> Callable[..., Detector]:
    """`quad_detector`."""
    return quad_detector


@pytest.fixture
def raw_frame() -> Callable[..., Frame]:
    """A raw frame made of segments in read-out order: ``raw_frame(detector, [segments])``."""

    def make(detector: Detector, segments: list[Any], unit: str = "adu", **more: Any) -> Frame:
        image = np.zeros(detector.raw_box.shape, np.float32)
        for amp, values in zip(detector, segments, strict=True):
            segment = np.broadcast_to(np.asarray(values, np.float32), amp.shape)
            image[amp.raw.slices] = amp.raw_orientation.apply(segment)
        return Frame.from_arrays(image, unit=unit, detector=detector, raw=True, **more)

    return make


@pytest.fixture
def segments_of() -> Callable[[Frame], list[np.ndarray]]:
    """The segments of a raw frame in read-out order."""

    def cut(frame: Frame, plane: np.ndarray | None = None) -> list[np.ndarray]:
        array = frame.image.array if plane is None else plane
        return [amp.raw_orientation.undo(array[amp.raw.slices]) for amp in frame.detector]

    return cut
