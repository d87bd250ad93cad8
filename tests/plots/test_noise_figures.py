"""Figures of the noise budget and of chi2: they draw what they were given, with units, and refuse the empty."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fullwell.base.errors import DataError
from fullwell.frames import Frame
from fullwell.measure import check_variance, noise_budget


@pytest.fixture(scope="module")
def frames() -> list[Frame]:
    rng = np.random.default_rng(3)
    signal = np.tile(np.concatenate((np.full(64, 100.0), np.geomspace(200, 20000, 32))), (64, 1))
    images = [rng.poisson(signal) + rng.normal(0, 5, signal.shape) for _ in range(3)]
    return [Frame.from_arrays(image, image + 25, unit="electron") for image in images]


def test_the_stack_fills_the_variance(frames: list[Frame]) -> None:
    budget = noise_budget(frames[0])
    left, right = budget.plot().axes
    tops = {}
    for bar in left.patches:
        tops[bar.get_x()] = max(tops.get(bar.get_x(), 0), bar.get_y() + bar.get_height())
    assert len(tops) == len(budget.levels)
    assert list(tops.values()) == pytest.approx([1.0] * len(tops), abs=1e-9)
    assert "[electron]" in left.get_xlabel() and right.get_xlabel() == "amplifier"


def test_brighter_fatter_is_a_line(frames: list[Frame]) -> None:
    budget = noise_budget(frames[0])
    levels = tuple(replace(s, outside={"brighter_fatter": -0.1 * s.variance}) for s in budget.levels)
    (line,) = replace(budget, levels=levels).plot().axes[0].lines
    assert line.get_ydata() == pytest.approx([0.9] * len(levels))


def test_the_maps_show_each_ratio(frames: list[Frame]) -> None:
    check = check_variance(frames)
    left, middle, right, bar = check.plot().axes
    assert left.lines[0].get_ydata() == pytest.approx([c.chi2 for c in check.levels])
    assert [t.get_text() for t in middle.get_xticklabels()] == ["all"]
    assert np.allclose(right.images[0].get_array(), (check.map - 1) / check.map_error)
    assert "error" in bar.get_ylabel() and "[electron]" in left.get_xlabel()


def test_nothing_to_draw_is_an_error(frames: list[Frame]) -> None:
    with pytest.raises(DataError, match="no pixels to draw"):
        replace(noise_budget(frames[0]), levels=()).plot()
    with pytest.raises(DataError, match="no tile"):
        replace(check_variance(frames), map=np.full((16, 16), np.nan)).plot()
