"""EMVA 1288: values by hand, every number against the truth of simulated cameras, and what is said of bad sets."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cameratests import Camera, Truth

from fullwell.base.errors import DataError, GeometryError
from fullwell.measure.emva import characterise, high_pass, pair_moments, spatial_noise, split_variance, stack_moments
from fullwell.measure.emva.corrected import bend_of_response
from fullwell.measure.emva.levels import linearity, saturation_level, through_origin, with_ranges
from fullwell.measure.emva.sheet import Gains, Sheet
from fullwell.measure.emva.spatial import Stack
from fullwell.products.emva1288 import LevelSeries


def series(light, signal, variance=None, saturation=-1) -> LevelSeries:
    n = len(light)
    return LevelSeries(
        time=np.asarray(light, float) / 1000, photons=np.asarray(light, float), mean=np.asarray(signal, float) + 10,
        variance=np.full(n, 9.0) if variance is None else np.asarray(variance, float), variance_error=np.full(n, 0.1),
        dark_mean=np.full(n, 10.0), dark_variance=np.full(n, 4.0), dark_variance_error=np.full(n, 0.05), pixels=10_000,
        saturation=saturation, sensitivity=np.ones(n, bool), linearity=np.ones(n, bool),
    )  # fmt: skip


def test_moments_of_a_pair_by_hand() -> None:
    """Differences 2, -2, 6, 2 about their mean 2: squares 0, 16, 16, 0, half their sum over n - 1 is 16/3."""
    m = pair_moments(np.array([[12, 8], [18, 10]]), np.array([[10, 10], [12, 8]]))
    assert m.mean == 11 and m.delta == -2
    assert m.variance == pytest.approx(16 / 3)
    assert m.variance_error == pytest.approx(math.sqrt((128 - 64) / 4) / 2)
    assert (m.pixels, m.lowest, m.highest) == (4, 8, 18)


def test_a_copy_of_an_image_is_an_error_but_saturation_is_not() -> None:
    image = np.arange(100.0).reshape(10, 10)
    with pytest.raises(DataError, match="both images are the same") as caught:
        pair_moments(image, image)
    assert "not one file twice" in str(caught.value)
    full = np.full((10, 10), 4095)
    assert pair_moments(full, full).variance == 0
    full[3, 3] = 7
    assert pair_moments(full, full).variance == 0
    with pytest.raises(GeometryError, match=r"\(10, 10\) and \(4, 4\)"):
        pair_moments(full, full[:4, :4])


def test_saturation_is_looked_for_from_the_top() -> None:
    error = np.full(8, 0.5)
    assert saturation_level(np.array([1, 5, 10, 15, 20, 19, 3, 0.0]), error) == 4
    assert saturation_level(np.array([1, 5, 10, 15, 20, 25, 30, 35.0]), error) == -1
    # A last level that is lower by chance is no saturation.
    assert saturation_level(np.array([1, 5, 10, 15, 20, 25, 30, 28.0]), error) == -1
    # A bump of the fallen variance is not the largest of all.
    assert saturation_level(np.array([1, 5, 10, 15, 20, 0.1, 0.2, 0.0]), error) == 4


def test_line_through_the_origin_by_hand() -> None:
    x, y = np.array([1.0, 2.0, 3.0]), np.array([2.0, 4.0, 6.6])
    slope, error = through_origin(x, y, np.zeros(3))
    assert slope == pytest.approx((2 + 8 + 19.8) / 14)
    assert error == pytest.approx(math.sqrt(np.sum((y - slope * x) ** 2) / 2 / 14))
    assert through_origin(x, 2 * x, np.full(3, 0.7))[1] == pytest.approx(0.7 / math.sqrt(14))
    with pytest.raises(DataError, match="2 levels are too few"):
        through_origin(x[:2], y[:2], np.zeros(2))


def test_ranges_and_linearity_error() -> None:
    light = np.arange(1, 22) * 100.0
    exact = linearity(with_ranges(series(light, 3 + 0.5 * light)))
    assert exact.sensitivity.sum() == 14 and exact.signal[exact.sensitivity].max() <= 0.7 * exact.signal.max()
    inside = exact.signal[exact.linearity] / exact.signal.max()
    assert inside.min() >= 0.05 and inside.max() <= 0.95 and exact.linearity.sum() == 19
    assert exact.line == pytest.approx((3, 0.5))
    assert np.abs(exact.deviation[exact.linearity]).max() < 1e-9 and np.isnan(exact.deviation[-1])
    bent = linearity(with_ranges(series(light, 0.5 * light * (1 + 1e-5 * light))))
    x, y = light[bent.linearity], bent.signal[bent.linearity]
    expected = np.polyval(np.polyfit(x, y, 1, w=1 / y), x)
    assert bent.deviation[bent.linearity] == pytest.approx(100 * (y - expected) / expected, abs=1e-9)


def test_a_bent_response_feigns_brighter_fatter() -> None:
    """y = R h (1 + c h), V = K R h (1 + 2 c h)^2: V / y = K (1 + 3 c h), a00 = 3 c K / R."""
    light = np.linspace(100, 30_000, 30)
    c, r, k = -2e-7, 0.12, 0.3
    levels = with_ranges(series(light, r * light * (1 + c * light)))
    assert bend_of_response(levels, k) == pytest.approx(3 * c * k / r, rel=0.01)


def test_split_into_rows_columns_pixels_is_exact() -> None:
    """A sum of a row pattern, a column pattern and a checkerboard: 4, 1 and 9 DN2, and 0.5 DN2 of noise over L."""
    y, x = np.mgrid[:8, :6]
    image = 100 + 2.0 * (-1.0) ** (y // 4) + 1.0 * (-1.0) ** (x // 3) + 3.0 * (-1.0) ** (x + y)
    found = {k: v for k, (v, _) in split_variance(Stack(image, 0.0, 5)).items()}
    assert found["measured"] == pytest.approx(14)
    part = found["pixel"] * (1 - 1 / 8 - 1 / 6)
    assert part == pytest.approx(9) and found["column"] == pytest.approx(1 - found["pixel"] / 8)
    assert found["row"] == pytest.approx(4 - found["pixel"] / 6)
    noisy = {k: v for k, (v, _) in split_variance(Stack(image, 2.5, 5)).items()}
    assert noisy["measured"] == pytest.approx(14) and noisy["total"] == pytest.approx(13.5)
    assert noisy["row"] + noisy["column"] + noisy["pixel"] == pytest.approx(13.5)


def test_moments_of_a_stack_equal_those_of_numpy() -> None:
    rng = np.random.default_rng(3)
    cube = rng.normal(50, 4, (7, 20, 30)) + 6 * rng.standard_normal((7, 20, 1))
    stack = stack_moments(iter(cube))
    assert stack.images == 7 and stack.mean == pytest.approx(cube.mean(0))
    assert stack.temporal == pytest.approx(cube.var(0, ddof=1).mean())
    rows = cube.mean(2) - cube.mean((1, 2))[:, None]
    assert stack.rows == pytest.approx(rows.var(0, ddof=1).mean() - stack.temporal / 30)
    with pytest.raises(DataError, match="a stack of 1 images"):
        stack_moments(iter(cube[:1]))
    with pytest.raises(GeometryError, match="image 2 of the stack"):
        stack_moments(iter([cube[0], cube[0][:5]]))


def test_high_pass_keeps_white_noise_and_takes_a_slope() -> None:
    """The share left is that of the kernel; 200 x 200 pixels of noise agree with it to 4 sqrt(2 / 33124)."""
    noise = np.random.default_rng(4).normal(0, 1, (200, 200))
    out, rest = high_pass(noise)
    assert out.shape == (182, 182) and 0.95 < rest < 1
    assert out.var() == pytest.approx(rest, abs=4 * math.sqrt(2 / out.size) * 1.1)
    y, x = np.mgrid[:80, :80]
    assert np.abs(high_pass(3.0 * x - 2.0 * y)[0]).max() < 1e-9


def test_spectrograms_find_a_pattern_and_add_up_to_the_variance() -> None:
    rng = np.random.default_rng(5)
    x = np.arange(128)
    cube = rng.normal(10, 2, (4, 64, 128)) + 3 * np.sin(2 * np.pi * 16 * x / 128)
    noise = spatial_noise(stack_moments(cube))
    assert noise.horizontal[0, np.argmax(noise.horizontal[1])] == pytest.approx(16 / 128)
    twice = np.r_[1.0, np.full(63, 2.0), 1.0]
    assert np.sum(twice * noise.horizontal[1]) / 128 == pytest.approx(noise.measured)
    assert noise.nonwhiteness > 3 and abs(noise.white) < 0.2
    assert noise.counts.sum() == 64 * 128 and noise.accumulated[1, 0] == 1
    assert noise.profiles["horizontal"].shape == (4, 128) and noise.profiles["vertical"].shape == (4, 64)


def test_bins_of_the_histogram_hold_whole_steps() -> None:
    """Means of 10 integers lie on a comb of 0.1 DN; with bins of another width every other one would be empty."""
    rng = np.random.default_rng(6)
    noise = spatial_noise(stack_moments(np.rint(rng.normal(20, 3, (10, 60, 60)))))
    width = noise.edges[1] - noise.edges[0]
    assert round(width / 0.1, 6) == round(width / 0.1) and noise.counts.size <= 256
    middle = noise.counts[noise.counts.size // 4 : -noise.counts.size // 4]
    assert (middle > 0).all()
    assert noise.model.sum() == pytest.approx(3600, rel=0.01)


def test_numbers_of_the_sheet_by_hand() -> None:
    """K 0.5, sigma_y.dark2 4 DN2: sigma_d2 = (4 - 1/12) / 0.25, mu_e.min = sqrt(16.25) + 1/2, eta = 0.2 / 0.5."""
    light = np.arange(1, 11) * 100.0
    sheet = Sheet(series(light, 0.2 * light, saturation=8), Gains(0.5, 0.001, 0.2, 0.0, True), 0.5, 0.001)
    assert sheet.eta == pytest.approx(0.4) and sheet.eta_error == pytest.approx(0.4 * 0.002)
    value, error = sheet.noise()
    assert value == pytest.approx(math.sqrt((4 - 1 / 12) / 0.25))
    assert error == pytest.approx(math.hypot(value * 0.05 / 2 / (4 - 1 / 12), value * 0.002))
    assert sheet.threshold()[0] == pytest.approx(math.sqrt(16.25) + 0.5)
    assert sheet.threshold()[1] == pytest.approx(math.hypot(0.05 / 0.25, 32 * 0.002) / (2 * math.sqrt(16.25)))
    assert sheet.capacity() == pytest.approx((0.4 * 900, 360 * math.hypot(0.002, 50 / 900)))


KEYS = ("system_gain", "quantum_efficiency", "dark_noise", "dark_noise_dn", "threshold_e", "threshold_p", "dsnu_row",
        "dsnu_column", "dsnu_pixel", "prnu_row", "prnu_column", "prnu_pixel", "dark_current",
        "dark_current_variance")  # fmt: skip


def expected(t: Truth) -> dict[str, float]:
    """The numbers of a camera; its dark noise is that of the shortest exposure, dark charge included."""
    dark = t.noise**2 + t.dark * 320 / 3.2e6
    electrons = math.sqrt(dark + 1 / (12 * t.k**2) + 0.25) + 0.5
    row, column, pixel = t.prnu
    out = {"system_gain": t.k, "quantum_efficiency": 100 * t.eta, "dark_noise": math.sqrt(dark)}
    out |= {"dark_noise_dn": math.sqrt(t.k**2 * dark + 1 / 12), "threshold_e": electrons, "dark_current": t.dark}
    out |= {"threshold_p": electrons / t.eta, "prnu_row": 100 * row, "prnu_column": 100 * column}
    out |= {"prnu_pixel": 100 * pixel, "dark_current_variance": t.dark}
    return out | dict(zip(("dsnu_row", "dsnu_column", "dsnu_pixel"), t.dsnu, strict=True))


def test_pulls_of_every_number() -> None:
    """40 cameras: means of pulls within 4 / sqrt(40) of 0, widths within 4 / sqrt(78) of 1.

    The row, column and pixel patterns are drawn anew for each camera, as the errors suppose. Dark charge of 2000
    electron/s makes the dark current measurable.
    """
    truth = Truth(dark=2000.0)
    true = expected(truth)
    pulls = {key: [] for key in KEYS}
    for seed in range(40):
        camera = Camera(truth, seed=seed, levels=16, images=16)
        result = characterise(camera.test(), camera.load)
        for key in KEYS:
            pulls[key].append((result[key].value - true[key]) / result[key].error)
    for key, values in pulls.items():
        assert abs(np.mean(values)) < 4 / math.sqrt(40), (key, np.mean(values))
        assert abs(np.std(values, ddof=1) - 1) < 4 / math.sqrt(78), (key, np.std(values, ddof=1))


def test_brighter_fatter_is_taken_out_of_the_gain() -> None:
    """a00 -4e-6: the line of the standard is low by about 0.75 a00 x 0.7 of 14,000 e; the curve gives the true K.

    Pulls of 30 cameras: mean within 4 / sqrt(30), width within 4 / sqrt(58); the standard's K is off by many errors.
    """
    truth = Truth(a00=-4e-6)
    freed, low = [], []
    for seed in range(30):
        camera = Camera(truth, seed=seed, shape=(80, 80), levels=18, images=3)
        k = characterise(camera.test(), camera.load)["system_gain"]
        freed.append((k.corrected - truth.k) / k.corrected_error)
        low.append(k.value / truth.k - 1)
    assert abs(np.mean(freed)) < 4 / math.sqrt(30), np.mean(freed)
    assert abs(np.std(freed, ddof=1) - 1) < 4 / math.sqrt(58), np.std(freed, ddof=1)
    signal = 0.7 * (truth.white_level - truth.offset) / truth.k
    assert np.mean(low) == pytest.approx(0.75 * truth.a00 * signal, rel=0.15)


def test_saturation_is_found_within_its_step() -> None:
    """The converter clips at 4095 DN = 27,100 photons.

    Noise and PRNU of 50 DN bring pixels to the clip 150 DN = 1000 photons earlier, and the variance then falls; with
    the step of 1377 photons the level of the largest variance lies up to two steps below the clip.
    """
    camera = Camera()
    result = characterise(camera.test(), camera.load)
    true = (4095 - 30) / 0.3 / 0.5
    assert 0 < true - result["saturation_p"].value < 2 * 1377
    assert result["saturation_p"].error == pytest.approx(1377 / 2, rel=1e-3)
    assert result.levels.saturation == np.argmax(result.levels.variance)
    assert result["snr_max"].value == pytest.approx(math.sqrt(result["saturation_e"].value))
    assert result["dynamic_range"].value == pytest.approx(
        result["saturation_p"].value / result["threshold_p"].value, rel=1e-9
    )
    assert result["snr_max_db"].value == pytest.approx(10 * math.log10(result["saturation_e"].value))
    assert not result.notes


def test_without_photons_what_needs_them_is_left_open() -> None:
    camera = Camera()
    test = camera.test()
    dark = replace(test, bright=tuple(replace(b, photons=math.nan) for b in test.bright))
    result = characterise(dark, camera.load)
    whole = characterise(test, camera.load)
    for key in ("quantum_efficiency", "threshold_p", "saturation_p"):
        assert math.isnan(result[key].value) and "photons" in result[key].note
    assert result["responsivity"].unit == "DN/s"
    assert result["responsivity"].value == pytest.approx(0.15 * 3.2e6, rel=0.01)
    assert result["system_gain"].value == whole["system_gain"].value
    assert result["saturation_e"].value == pytest.approx(whole["saturation_e"].value, rel=0.01)
    assert any("quantum efficiency" in note for note in result.notes)


def test_what_a_set_lacks_is_said() -> None:
    camera = Camera(highest=20_000.0)
    test = camera.test()
    result = characterise(replace(test, bright_stack=None, dark=test.dark[:1]), camera.load)
    said = " | ".join(result.notes)
    assert "there is no stack of bright images at one level: PRNU cannot be given" in said
    assert "the series ends before saturation" in said and "23 bright levels have no dark images" in said
    assert result.bright is None and math.isnan(result["prnu"].value) and "no stack" in result["prnu"].note
    assert result["saturation_e"].note.startswith("a lower limit")
    # The dark level was taken for all times: there is no dark current to be had.
    assert math.isnan(result["dark_current"].value) or "not seen" in result["dark_current"].note


def test_noise_below_the_quantisation_is_an_upper_limit() -> None:
    camera = Camera(Truth(noise=0.8, dsnu=(0.0, 0.0, 0.2), dark=0.0))
    result = characterise(camera.test(), camera.load)
    assert result["dark_noise_dn"].value == pytest.approx(math.sqrt(0.24))
    assert "an upper limit" in result["dark_noise"].note and "0.24" in result["dark_noise"].note


def test_noise_of_whole_rows_is_told_from_a_pattern_of_rows() -> None:
    camera = Camera(Truth(dsnu=(0.0, 1.0, 1.0)))
    test = camera.test()

    def load(path: Path) -> np.ndarray:
        rng = np.random.default_rng([7, *map(ord, str(path))])
        return camera.load(path) + 2.0 * rng.standard_normal((camera.shape[0], 1))

    note = characterise(test, load)["dsnu_row"].note
    assert "noise of whole rows" in note
    assert characterise(test, camera.load)["dsnu_row"].note != note


def test_sets_that_cannot_be_used() -> None:
    camera = Camera()
    test = camera.test()
    with pytest.raises(DataError, match="no pairs of dark images"):
        characterise(replace(test, dark=()), camera.load)
    with pytest.raises(DataError, match="no pairs of bright images"):
        characterise(replace(test, bright=()), camera.load)
    with pytest.raises(DataError, match="levels are too few"):
        characterise(replace(test, bright=test.bright[:2]), camera.load)
    with pytest.raises(DataError, match="neither level nor variance") as caught:
        characterise(replace(test, bright=tuple(replace(d, photons=1.0) for d in test.dark)), camera.load)
    assert "exchanged" in str(caught.value)
    same = replace(test.bright[3], files=(test.bright[3].files[0],) * 2)
    with pytest.raises(DataError, match="the same") as caught:
        characterise(replace(test, bright=(*test.bright[:3], same)), camera.load)
    assert "b/3/0" in str(caught.value)
    with pytest.raises(GeometryError, match="pixels, those of the first level 10752") as caught:
        characterise(test, lambda p: camera.load(p)[:50] if p.parts[:2] == ("b", "5") else camera.load(p))
    assert "b/5/0" in str(caught.value)
    with pytest.raises(GeometryError, match="the descriptor says 10 x 10"):
        characterise(replace(test, width=10, height=10), camera.load)


def test_threads_do_not_change_the_numbers() -> None:
    camera = Camera(shape=(40, 40), levels=10, images=3)
    one, three = (characterise(camera.test(), camera.load, jobs=n) for n in (1, 3))
    assert [(q.key, q.value) for q in one.quantities if q.value == q.value] == [
        (q.key, q.value) for q in three.quantities if q.value == q.value
    ]


def test_a_lamp_that_drifts_is_told() -> None:
    camera = Camera()
    drift = characterise(camera.test(), lambda p: camera.load(p) * (1.05 if p.parts == ("b", "7", "1") else 1.0))
    assert any("differ by +4." in note and "drift" in note for note in drift.notes)
