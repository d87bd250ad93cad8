"""Gain and read noise from pairs: closure with errors at the Cramér-Rao bound, and what must not disturb them."""

from __future__ import annotations

import numpy as np
import pytest

from fullwell.base.errors import DataError, UsageError
from fullwell.base.provenance import Record
from fullwell.cameras import Amplifier, Box, Detector
from fullwell.frames import Frame, Observation
from fullwell.measure import match_pairs, pair_gain, pair_noise, pair_transfer
from fullwell.measure.levels import clip_factor, statistics

GAIN, NOISE = 1.7, 4.0  # electron/adu, electron


def exposure(rng, level, shape=(120, 150), response=None, pedestal=0.0, source=""):
    """A frame in adu of `level` electrons."""
    light = np.full(shape, level) if response is None else level * response
    counts = rng.poisson(light) + rng.normal(0, NOISE, shape)
    return Frame.from_arrays((counts / GAIN + pedestal).astype(np.float32), unit="adu", source=source)


def test_clip_factors():
    """0.97334 for one clip at 3 sigma, 0.96997 after three rounds, 0.99893 at 4, 0.999985 at 5."""
    assert abs(clip_factor(3.0) - 0.97334) < 5e-6 and abs(clip_factor(3.0, 3) - 0.96997) < 5e-6
    assert abs(clip_factor(4.0) - 0.99893) < 5e-6 and abs(1 - clip_factor(5.0) - 1.5e-5) < 1e-6
    assert abs(1 - clip_factor(5.5) - 1.2e-6) < 1e-7


@pytest.mark.parametrize("sigma", [3.0, 4.0, 5.0])
def test_the_variance_does_not_depend_on_the_clip(sigma):
    """A million normal values: relative error sqrt(2/N) = 0.14 %, 4 sigma."""
    values = np.random.default_rng(1).normal(10, 2, 1_000_000)
    found = statistics(values, sigma=sigma)
    assert abs(found.variance / 4 - 1) < 4 * np.sqrt(2 / values.size)
    assert abs(found.variance_error / 4 / np.sqrt(2 / values.size) - 1) < 0.05


def test_statistics_by_hand():
    found = statistics(np.array([1.0, 2, 3, 4, 5, 600, np.nan]), np.array([0, 0, 0, 0, 0, 0, 0], bool), sigma=5)
    assert (found.median, found.mean, found.count, found.rejected, found.masked) == (3.5, 3.0, 5, 1, 1)
    assert abs(found.mean_error - np.sqrt(2.5 / 5)) < 1e-12


def test_pulls_of_read_noise_have_width_one():
    """300 pairs of 2000 pixels: mean 0 +- 4/sqrt(300), width 1 +- 4/sqrt(600)."""
    rng = np.random.default_rng(2)
    pulls = []
    for _ in range(300):
        got = pair_noise(exposure(rng, 0, (40, 50)), exposure(rng, 0, (40, 50)))["0"]
        pulls.append((got.value - NOISE / GAIN) / got.error)
    assert abs(np.mean(pulls)) < 4 / np.sqrt(300)
    assert abs(np.std(pulls) - 1) < 4 / np.sqrt(600)


def test_pulls_of_gain_have_width_one_and_the_error_is_the_bound():
    """300 pairs with a response that varies by 3 %, levels 4 % apart, and two pairs of bias frames each.

    The bound of a Gaussian of unknown variance: g sqrt(2/N) V/(V - 2 s^2), N pixels.
    """
    rng = np.random.default_rng(3)
    shape = (50, 60)
    response = 1 + 0.03 * rng.normal(size=shape)
    level, n = 4000.0, shape[0] * shape[1]
    pulls, errors = [], []
    for _ in range(300):
        biases = [exposure(rng, 0, shape, pedestal=100) for _ in range(4)]
        flats = [exposure(rng, level * f, shape, response, 100) for f in (1.0, 1.04)]
        out = pair_gain([tuple(flats)], biases)
        pulls.append((out.gain[0] - GAIN) / out.gain_error[0])
        errors.append(out.gain_error[0])
    assert abs(np.mean(pulls)) < 4 / np.sqrt(300)
    assert abs(np.std(pulls) - 1) < 4 / np.sqrt(600)
    bound = GAIN * np.sqrt(2 / n) * (level + NOISE**2) / level
    assert 0.9 * bound < np.mean(errors) < 1.2 * bound


def test_pairs_are_combined_by_inverse_variance():
    rng = np.random.default_rng(4)
    flats = [(exposure(rng, v), exposure(rng, v)) for v in (500.0, 5000.0, 20000.0)]
    noise = {"0": (NOISE / GAIN, 0.001)}
    single = [pair_gain([p], noise=noise) for p in flats]
    out = pair_gain(flats, noise=noise)
    weights = np.array([(s.gain[0] / s.gain_error[0]) ** 2 for s in single])
    assert abs(out.gain[0] - np.average([s.gain[0] for s in single], weights=weights)) < 1e-9
    assert abs(out.gain_error[0] - out.gain[0] / np.sqrt(weights.sum())) < 1e-9
    assert abs(out.gain[0] - GAIN) < 4 * out.gain_error[0]
    assert abs(out.read_noise[0] - NOISE) < 4 * out.read_noise_error[0] + 0.02
    assert out.range[0] < 300 < 11000 < out.range[1]


def test_a_cosmic_ray_is_clipped_and_a_mismatch_left_out():
    rng = np.random.default_rng(5)
    a, b = exposure(rng, 9000.0), exposure(rng, 9000.0)
    clean = pair_gain([(a, b)], noise={"0": 2.35})
    a.image.array[3, 5:15] += 6000
    hit = pair_gain([(a, b)], noise={"0": 2.35})
    assert abs(hit.gain[0] / clean.gain[0] - 1) < 0.002
    far = pair_gain([(a, b), (a, exposure(rng, 4000.0))], noise={"0": 2.35})
    assert far.gain[0] == hit.gain[0] and "levels differ" in far.notes[0]


def test_pixels_that_are_no_numbers_change_nothing_else():
    rng = np.random.default_rng(13)
    pair = exposure(rng, 9000.0), exposure(rng, 9000.0)
    pair[0].image.array[4, 4:7] = np.nan, np.inf, -np.inf
    (found,) = match_pairs(pair, "level")
    assert found == pair
    gain = pair_gain([pair], noise={"0": NOISE / GAIN})
    assert abs(gain.gain[0] - GAIN) < 4 * gain.gain_error[0]


def test_by_amplifier_and_region():
    left, right = Box(0, 0, 100, 120), Box(0, 0, 50, 120)
    amps = (
        Amplifier("L", (120, 100), left, left, left),
        Amplifier("R", (120, 50), right, right.shifted(100, 0), right.shifted(100, 0)),
    )
    rng = np.random.default_rng(6)
    flats = [exposure(rng, 3000.0) for _ in range(2)]
    for f in flats:
        f.detector = Detector("d", 0, amps)
        f.image.array[:, 100:] *= 2  # gain 0.85 there
    out = pair_gain([tuple(flats)], noise={"L": NOISE / GAIN, "R": 2 * NOISE / GAIN})
    assert out.amps == ("L", "R")
    assert abs(out.gain[0] - GAIN) < 4 * out.gain_error[0] and abs(out.gain[1] - GAIN / 2) < 4 * out.gain_error[1]
    part = pair_gain([tuple(flats)], noise={"L": 2.35, "R": 4.7}, region=Box(0, 0, 90, 100))
    assert np.isfinite(part.gain[0]) and np.isnan(part.gain[1]) and "no pixel in the region" in part.notes[0]


def test_brighter_fatter_shows_in_the_model_error():
    """Differences smoothed a little: the neighbour correlation is found, and noted."""
    rng = np.random.default_rng(7)
    flats = []
    for _ in range(2):
        f = exposure(rng, 20000.0, (300, 300)).image.array
        smooth = f + 0.02 * (np.roll(f, 1, 0) + np.roll(f, -1, 0) + np.roll(f, 1, 1) + np.roll(f, -1, 1) - 4 * f)
        flats.append(Frame.from_arrays(smooth.astype(np.float32), unit="adu"))
    out = pair_gain([tuple(flats)], noise={"0": 2.35})
    assert "brighter-fatter" in out.notes[0]
    rho = 4 * 2 * 0.02 * 0.92 / (0.92**2 + 4 * 0.02**2) + 8 * 0.02**2
    assert abs(out.gain_model_error[0] / out.gain[0] - rho) < 4 * np.sqrt(16 / 90000)


def test_matching():
    def flat(level, time, filt="g", mjd=float("nan")):
        obs = Observation(filter=filt, exposure_time=time, mjd=mjd)
        return Frame.from_arrays(np.full((4, 4), level, np.float32), unit="adu", observation=obs)

    frames = [flat(100, 1), flat(101, 1), flat(200, 2), flat(100.5, 1, "r"), flat(201, 2), flat(300, 1)]
    assert match_pairs(frames) == [(frames[0], frames[1]), (frames[2], frames[4])]
    late, early, mid = flat(100, 1, mjd=3.0), flat(100, 1, mjd=1.0), flat(100, 1, mjd=2.0)
    assert match_pairs([late, early, mid]) == [(early, mid)]


def test_matching_by_level_as_in_twilight():
    """Levels fall by 5 % from frame to frame and exposure times grow: consecutive ones of a filter, each used once."""

    def flat(level, filt="g"):
        obs = Observation(filter=filt, exposure_time=1e4 / max(level, 1))
        return Frame.from_arrays(np.full((4, 4), level, np.float32), unit="adu", observation=obs)

    a, b, c, r, d, e = flat(1000), flat(950), flat(900), flat(905, "r"), flat(700), flat(690)
    assert match_pairs([a, b, c, r, d, e], "level") == [(a, b), (d, e)]
    assert match_pairs([a, b, c, r, d, e]) == []
    assert match_pairs([a, b, c], "level", mismatch=0.04) == []
    dark = [flat(0), flat(0), flat(-3), flat(-3)]
    assert match_pairs(dark, "level") == match_pairs(dark) == []


def test_points_are_those_of_the_gain():
    """The pair that was left out is not among the points; mean and variance give the gain by hand."""
    rng = np.random.default_rng(12)
    a, b, far = exposure(rng, 9000.0), exposure(rng, 9100.0), exposure(rng, 4000.0)
    gain, points = pair_transfer([(a, b), (a, far)], noise={"0": (NOISE / GAIN, 0.0)})
    assert gain.gain == pair_gain([(a, b), (a, far)], noise={"0": (NOISE / GAIN, 0.0)}).gain
    (point,) = points["0"]
    assert point.mean == (point.mean1 + point.mean2) / 2
    shot = point.single_variance - (NOISE / GAIN) ** 2
    k = point.ratio
    assert point.gain == pytest.approx((point.mean1 + k**2 * point.mean2) / (1 + k**2) / shot, rel=1e-12)
    assert abs(point.single_variance - (9050 / GAIN**2 + (NOISE / GAIN) ** 2)) < 4 * point.variance_error / 2


def test_errors():
    rng = np.random.default_rng(8)
    a = exposure(rng, 100.0)
    with pytest.raises(UsageError, match="no pair of flat"):
        pair_gain([a])
    with pytest.raises(DataError, match="no noise"):
        pair_noise(a, a)
    with pytest.raises(UsageError, match="differ"):
        pair_noise(a, exposure(rng, 100.0, (10, 10)))
    electron = Frame.from_arrays(a.image.array, unit="electron")
    with pytest.raises(UsageError, match="measured in adu"):
        pair_gain([(electron, electron)])
    trimmed = a.with_history(Record("overscan_serial"))
    with pytest.raises(UsageError, match="flats only"):
        pair_gain([(trimmed, trimmed)], [a, exposure(rng, 100.0)])
    dark = pair_gain([(exposure(rng, 0.0), exposure(rng, 0.0))], noise={"0": 9.0})
    assert np.isnan(dark.gain[0]) and "Left out" in dark.notes[0]


def test_read_noise_is_taken_off_twice_at_low_light():
    """30 electrons and 4 of noise: without the right subtraction the gain would be a third too small."""
    rng = np.random.default_rng(9)
    pair = (exposure(rng, 30.0, (400, 400)), exposure(rng, 31.0, (400, 400)))
    out = pair_gain([pair], noise={"0": NOISE / GAIN})
    assert abs(out.gain[0] - GAIN) < 4 * out.gain_error[0]
    assert out.gain_error[0] < 0.02


def test_lines_with_a_level_of_their_own_are_centred():
    """Rows and columns that share an offset per frame: the noise of a pixel comes out, without them."""
    rng = np.random.default_rng(11)
    frames = []
    for _ in range(2):
        image = rng.normal(0, 4.0, (200, 300)) + rng.normal(0, 2.0, (200, 1)) + rng.normal(0, 2.0, (1, 300))
        frames.append(Frame.from_arrays(image.astype(np.float32), unit="adu"))
    error = 4.0 / np.sqrt(2 * 200 * 300)
    name = next(iter(pair_noise(*frames)))
    assert pair_noise(*frames)[name].value == pytest.approx(np.sqrt(16 + 8), rel=0.05)
    assert pair_noise(*frames, centre_rows=True)[name].value == pytest.approx(np.sqrt(20), rel=0.05)
    found = pair_noise(*frames, centre_rows=True, centre_columns=True)[name]
    assert abs(found.value - 4.0) < 4 * error
