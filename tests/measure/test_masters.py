"""Combined bias, dark and flat: frames left out by name, levels, pulls of the masters."""

from __future__ import annotations

import numpy as np
import pytest

from fullwell.base.errors import DataError, UsageError
from fullwell.cameras import Amplifier, Box, Detector
from fullwell.frames import Frame, Observation, bit
from fullwell.measure import build_bias, build_dark, build_flat

SHAPE = (100, 160)
HALF = Box(0, 0, 80, 100)
RIGHT = HALF.shifted(80, 0)
DETECTOR = Detector(
    "d", 0, (Amplifier("A", (100, 80), HALF, HALF, HALF), Amplifier("B", (100, 80), HALF, RIGHT, RIGHT))
)  # fmt: skip
NOISE = 5.0


def made(rng, mean, noise=NOISE, poisson=False, variance=True, name="", **obs):
    """An electron frame of the given mean (array or number), Gaussian read noise and, if asked for, shot noise."""
    level = np.broadcast_to(np.asarray(mean, float), SHAPE)
    image = (rng.poisson(level) if poisson else level) + rng.normal(0, noise, SHAPE)
    expected = noise**2 + (level if poisson else 0) + np.zeros(SHAPE)
    return Frame.from_arrays(
        image.astype(np.float32), expected.astype(np.float32) if variance else None, np.zeros(SHAPE, np.uint32),
        unit="electron", detector=DETECTOR, observation=Observation(obs_id=name, **obs), source=name,
    )  # fmt: skip


def width(pulls):
    return float(np.std(pulls[np.isfinite(pulls)]))


@pytest.mark.parametrize("variance", [True, False])
def test_bias_pulls(variance):
    """A pattern of 3 e-, 6 frames: pulls about the pattern have width 1 +- 4/sqrt(2 N), with V propagated or pooled."""
    rng = np.random.default_rng(1)
    pattern = rng.normal(0, 3, SHAPE)
    out = build_bias([made(rng, pattern, variance=variance, name=f"b{i}") for i in range(6)])
    pulls = (out.image - pattern) / np.sqrt(out.variance)
    n = pulls.size
    assert abs(pulls.mean()) < 4 / np.sqrt(n)
    assert abs(width(pulls) - 1) < 4 / np.sqrt(2 * n)
    assert out.unit == "electron" and out.inputs == tuple(f"b{i}" for i in range(6))
    assert out.mask is None and out.count.max() == 6 and out.detector is DETECTOR
    assert out.statistics["percents"] == [0, 5, 16, 50, 84, 95, 100] and len(out.statistics["inputs"]) == 6


def test_bias_pooled_variance_keeps_a_noisy_pixel():
    rng = np.random.default_rng(2)
    frames = [made(rng, 0, variance=False) for _ in range(6)]
    for k, f in enumerate(frames):
        f.image.array[7, 7] = (-1) ** k * 500
    out = build_bias(frames)
    assert out.variance[7, 7] > 1000 * np.median(out.variance)


def test_bias_outlier_is_left_out_with_the_reason():
    rng = np.random.default_rng(3)
    frames = [made(rng, 0, name=f"b{i}") for i in range(5)]
    frames[0].image.array[:, 80:] -= 4
    frames[3].image.array[:] += rng.normal(0, 10, SHAPE).astype(np.float32)
    out = build_bias(frames)
    assert out.inputs == ("b1", "b2", "b4")
    low, loud = [n for n in out.notes if n.startswith("Left out")]
    assert "b0" in low and "level" in low and "amplifier B" in low
    assert "b3" in loud and "noise" in loud
    assert build_bias(frames, drop=False).inputs == tuple(f"b{i}" for i in range(5))


def test_dark_rate_pulls_and_cosmic_rays():
    """Rates of 0.02 to 0.3 e-/s, 8 frames of 300 s with 100 hits each: pulls of width 1, hits gone."""
    rng = np.random.default_rng(4)
    rate = rng.uniform(0.02, 0.3, SHAPE)
    frames = [made(rng, rate * 300, poisson=True, dark_time=300.0, name=f"d{i}") for i in range(8)]
    for f in frames:
        f.image.array[rng.integers(0, 100, 100), rng.integers(0, 160, 100)] += 3000
    out = build_dark(frames)
    assert out.unit == "electron/s"
    pulls = (out.image - rate) / np.sqrt(out.variance)
    assert np.abs(pulls).max() < 6
    assert abs(pulls.mean()) < 4 / np.sqrt(pulls.size) + 0.03  # the median of few Poisson values lies below the mean
    assert abs(width(pulls) - 1) < 4 / np.sqrt(2 * pulls.size)


@pytest.mark.parametrize("number", [2, 3])
@pytest.mark.parametrize("variance", [True, False])
def test_dark_of_few_frames_loses_cosmic_rays_and_no_good_values(number, variance):
    """2 or 3 frames of 300 s: hits of 300 e- are gone, and less than 1 in 10 000 of the others with them."""
    rng = np.random.default_rng(14)
    frames = [made(rng, 30.0, poisson=True, variance=variance, dark_time=300.0, name=f"d{i}") for i in range(number)]
    hit = np.zeros((number, *SHAPE), bool)
    for f, own in zip(frames, hit, strict=True):
        own[rng.integers(0, 100, 40), rng.integers(0, 160, 40)] = True
        f.image.array[own] += 300
    hit[:, hit.all(axis=0)] = False
    out = build_dark(frames)
    assert (out.count[hit.any(axis=0)] < number).all()
    assert (out.count[~hit.any(axis=0)] < number).mean() < 1e-4
    assert abs(out.image - 0.1).max() < 0.15
    sigma = np.sqrt((NOISE**2 + 30) / number) / 300
    good = out.image[~hit.any(axis=0)]
    assert abs(good.mean() - 0.1) < 4 * sigma / np.sqrt(good.size)
    assert any("found by the noise" in n for n in out.notes)


def test_dark_of_unequal_times_with_intercept():
    """1.5 e- of bias drift and 0.36 e-/s: the rate is right with an intercept, too high without."""
    rng = np.random.default_rng(5)
    times = (10.0, 60.0, 150.0, 300.0)
    frames = [made(rng, 1.5 + 0.36 * t, poisson=True, dark_time=t, name=f"{t:g} s") for t in times]
    out, plain = build_dark(frames, intercept=True), build_dark(frames)
    weights = np.array([t**2 / (NOISE**2 + 0.36 * t) for t in times[1:]])
    error = 1 / np.sqrt(weights.sum() * SHAPE[0] * SHAPE[1])
    assert abs(out.image.mean() - 0.36) < 0.001
    assert plain.image.mean() - 0.36 > 4 * error + 0.003
    assert any("but for the intercept" in n and "10 s" in n for n in out.notes)
    assert out.inputs == ("60 s", "150 s", "300 s")


def test_dark_needs_a_time():
    rng = np.random.default_rng(6)
    with pytest.raises(DataError, match="dark time is nan") as caught:
        build_dark([made(rng, 1, name="x")])
    assert caught.value.where == "x"
    assert build_dark([made(rng, 20.0)], [10.0]).image.mean() == pytest.approx(2.0, abs=0.02)


def test_flat_pulls_and_relative_levels_of_amplifiers():
    """Amplifier B has 1.2 times the response of A: kept. Levels 1:2:1.5; mean 1; pulls of width 1."""
    rng = np.random.default_rng(7)
    response = 1 + 0.02 * rng.normal(size=SHAPE)
    response[:, 80:] *= 1.2
    response /= response.mean()
    frames = [
        made(rng, 10000 * f * response, poisson=True, name=f"f{i}", filter="g")
        for i, f in enumerate((1, 2, 1.5, 1.2, 1.8))
    ]
    out = build_flat(frames)
    assert abs(out.image.mean(dtype=np.float64) - 1) < 1e-6 and out.unit == ""
    ratio = [f[:, 80:].mean(dtype=np.float64) / f[:, :80].mean(dtype=np.float64) for f in (out.image, response)]
    assert abs(ratio[0] - ratio[1]) < 4 * 1.2 * np.sqrt(2 / (8000 * 75000))
    pulls = (out.image - response) / np.sqrt(out.variance)
    assert abs(width(pulls) - 1) < 4 / np.sqrt(2 * pulls.size)


def test_flats_that_cannot_be_used_are_named():
    rng = np.random.default_rng(8)
    levels = {"good": 20000, "alike": 19000, "faint": 300}
    frames = [made(rng, v, poisson=True, name=n) for n, v in levels.items()]
    frames.append(made(rng, -5.0, name="none"))
    full = made(rng, 60000, poisson=True, name="full")
    full.mask["SAT"] = rng.random(SHAPE) < 0.3
    out = build_flat([*frames, full])
    assert out.inputs == ("good", "alike")
    text = " ".join(out.notes)
    for name, reason in (("faint", "faint against"), ("none", "no light"), ("full", "saturated")):
        assert f"Left out {name}" in text and reason in text
    with pytest.raises(DataError, match="none of the 1 flats"):
        build_flat([full])


def test_stars_of_a_twilight_flat_are_masked():
    """One bright star with wings, moved by 15 pixels from frame to frame; four frames."""
    rng = np.random.default_rng(9)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    frames = []
    for i, level in enumerate((5000, 8000, 12000, 16000)):
        star = 0.3 * level * np.exp(-0.5 * ((y - 50) ** 2 + (x - 40 - 15 * i) ** 2) / 4.0**2)
        frames.append(made(rng, level + star, poisson=True, name=f"t{i}", object="SKY,FLAT"))
    with_mask, without = build_flat(frames), build_flat(frames, mask_stars=False)
    row = np.s_[48:53, 30:100]
    worst = [np.abs(f.image[row] - 1).mean() for f in (with_mask, without)]
    assert worst[0] < 0.6 * worst[1]
    assert abs(with_mask.image[row].mean() - 1) < 0.001
    assert any("Stars masked" in n for n in with_mask.notes)


def test_pixels_without_data():
    rng = np.random.default_rng(10)
    frames = [made(rng, 1000, poisson=True) for _ in range(4)]
    for f in frames:
        f.mask["BAD"] = np.pad(np.ones((1, 3), bool), ((0, SHAPE[0] - 1), (0, SHAPE[1] - 3)))
    out = build_flat(frames)
    assert np.isnan(out.image[0, :3]).all() and (out.mask[0, :3] == bit("NO_DATA")).all()
    assert np.count_nonzero(out.mask) == 3


def test_errors():
    rng = np.random.default_rng(11)
    with pytest.raises(UsageError, match="no bias frame"):
        build_bias([])
    raw = made(rng, 1)
    raw.raw = True
    with pytest.raises(UsageError, match="is raw"):
        build_bias([raw])
    with pytest.raises(UsageError, match="two filters, 'g' and 'r'"):
        build_flat([made(rng, 1000.0, filter="g"), made(rng, 1000.0, filter="r")])
