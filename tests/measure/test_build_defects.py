"""Defects by hand: thresholds, votes, columns, edges, codes."""

from __future__ import annotations

import numpy as np
import pytest

from fullwell.base.errors import GeometryError, UsageError
from fullwell.cameras import Amplifier, Box, Detector
from fullwell.frames import Frame, Observation
from fullwell.measure import build_defects
from fullwell.measure.defects import DefectRules, bad_in_dark, fill_columns
from fullwell.products import Bias, Dark, Flat

SHAPE = (100, 80)


def noise(seed, level=0.0, sigma=1.0):
    return np.random.default_rng(seed).normal(level, sigma, SHAPE).astype(np.float32)


def codes_at(defects, x, y):
    return [c for b, c in zip(defects.boxes, defects.codes, strict=True) if b.contains(Box(x, y, 1, 1))]


def test_hot_cold_and_bias():
    dark, flat, bias = noise(1, 0.1, 0.2), noise(2, 1.0, 0.01), noise(3, 0, 5)
    dark[10, 20] = 6.0
    dark[11, 21] = 4.5
    flat[30, 40], flat[31, 41], flat[32, 42] = 0.7, 0.85, 2.1
    bias[50, 60] = -1500
    out = build_defects([Dark(image=dark, unit="electron/s")], [Flat(image=flat)], [Bias(image=bias, unit="electron")])
    assert codes_at(out, 20, 10) == ["hot"] and codes_at(out, 40, 30) == ["cold"]
    assert codes_at(out, 42, 32) == ["bright"] and codes_at(out, 60, 50) == ["bias"]
    assert out.mask(SHAPE).sum() == 4


def test_a_gradient_makes_no_defects_but_a_dead_pixel_on_it_does():
    x = np.linspace(1.0, 0.3, SHAPE[1], dtype=np.float32)
    flat = np.tile(x, (SHAPE[0], 1))
    flat[50, 70] *= 0.5
    out = build_defects(flats=[Flat(image=flat)])
    assert [(b.x0, b.y0, b.area) for b in out.boxes] == [(70, 50, 1)]


def test_votes_a_hit_in_one_dark_of_three_is_no_defect():
    frames = []
    for i in range(3):
        image = noise(i, 2, 1)
        image[5, 5] = 400
        if i == 0:
            image[7, 7] = 5000
        frames.append(Frame.from_arrays(image, unit="electron", observation=Observation(dark_time=10.0)))
    out = build_defects(frames)
    assert codes_at(out, 5, 5) == ["hot"] and not codes_at(out, 7, 7)
    every = build_defects(frames, rules=DefectRules(intermittent=0.2))
    assert codes_at(every, 7, 7) == ["intermittent"]


def test_darks_in_adu_use_the_gain_of_the_amplifier():
    box = Box.from_shape(SHAPE)
    amp = Amplifier("A", SHAPE, box, box, box, gain=2.0)
    image = np.zeros(SHAPE, np.float32)
    image[0, 0], image[0, 1] = 2.6, 2.4
    dark = Dark(image=image, unit="adu/s", detector=Detector("d", 0, (amp,)))
    bad = bad_in_dark(dark, DefectRules())
    assert bad[0, 0] and not bad[0, 1]


def test_dark_without_gain_says_what_it_did():
    dark = noise(4, 0, 1)
    dark[3, 3] = 9
    out = build_defects([Dark(image=dark, unit="adu/s")])
    assert codes_at(out, 3, 3) == ["hot"] and "4.8 sigma" in out.notes[0]


def test_columns_are_filled_but_not_across_good_runs():
    bad = np.zeros((200, 3), bool)
    bad[0:100:2, 0] = True  # 50 bad, gaps of 1
    bad[150:160, 0] = True  # beyond a gap of 51
    bad[0:98:2, 1] = True  # 49 bad
    filled, columns = fill_columns(bad, DefectRules())
    assert filled[:99, 0].all() and not filled[99:150, 0].any() and filled[150:160, 0].all()
    assert np.array_equal(filled[:, 1], bad[:, 1]) and not columns[:, 1].any()
    gap = np.zeros((200, 1), bool)
    gap[:50] = gap[79:90] = True  # 29 good pixels: filled
    assert fill_columns(gap, DefectRules())[0][:90].all()
    gap[79] = False  # 30 good pixels: not
    assert not fill_columns(gap, DefectRules())[0][50:80].any()
    split, _ = fill_columns(bad, DefectRules(), (51,))
    assert split[:51, 0].all() and split[52:99, 0].all()


def test_edges_manual_and_codes_are_disjoint():
    flat = noise(5, 1, 0.01)
    out = build_defects(
        flats=[Flat(image=flat)], manual=[Box(40, 40, 3, 2)], rules=DefectRules(edge_rows=2, edge_columns=1)
    )
    assert out.mask(SHAPE).sum() == SHAPE[0] * SHAPE[1] - 96 * 78 + 6
    assert sum(b.area for b in out.boxes) == out.mask(SHAPE).sum()
    assert set(out.codes) == {"edge", "manual"}


def test_errors():
    with pytest.raises(UsageError, match="need darks"):
        build_defects()
    with pytest.raises(GeometryError, match="covers"):
        build_defects([Dark(image=noise(1), unit="electron/s")], [Flat(image=noise(2)[:50])])
