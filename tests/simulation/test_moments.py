"""Means and variances of simulated frames against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from fullwell.simulation import BiasScene, DarkScene, FlatScene, SensorModel, grid_detector, sensor_of, simulate

DETECTOR = grid_detector(1, 1, (250, 400), prescan=4, serial=30, parallel=6, gain=2.0, read_noise=6.0)


def ideal(**changes: float) -> SensorModel:
    return sensor_of("ideal", 3, detector=DETECTOR, **changes)


def check_mean(values: np.ndarray, mean: float, variance: float) -> None:
    """Within 4 sigma: sigma of a mean is sqrt(V/n), of a variance V sqrt(2/n) plus the Poisson kurtosis, below 1/n."""
    n = values.size
    assert values.mean() == pytest.approx(mean, abs=4 * np.sqrt(variance / n))
    assert values.var() == pytest.approx(variance, abs=4 * variance * np.sqrt(3 / n))


def test_a_flat_has_poisson_and_read_noise_in_counts() -> None:
    """8000 e- at 2 e-/adu: mean 4000 adu above 1000, variance (8000 + 36)/4 + 1/12 adu2."""
    frame = simulate(FlatScene(level=8000), ideal(), seed=5).frame
    data = frame.amp("C00").image.array.astype(float)
    check_mean(data, 5000.0, 8036 / 4 + 1 / 12)


def test_the_overscan_shows_level_and_read_noise_only() -> None:
    """Level 1000 adu, variance 36/4 + 1/12 adu2, however bright the data are."""
    frame = simulate(FlatScene(level=80000), ideal(), seed=5).frame
    for part in ("serial_overscan", "prescan", "parallel_overscan"):
        check_mean(frame.amp("C00", part).image.array.astype(float), 1000.0, 9 + 1 / 12)


def test_dark_charge_enters_the_shot_noise() -> None:
    """2 e-/s for 500 s: 1000 e-, 500 adu, variance (1000 + 36)/4 + 1/12."""
    frame = simulate(DarkScene(time=500), ideal(dark_rate=2.0, dark_spread=0.0), seed=6).frame
    check_mean(frame.amp("C00").image.array.astype(float), 1500.0, 1036 / 4 + 1 / 12)


@pytest.mark.parametrize("level", [0.0, 1.0, 5.0])
def test_few_electrons_are_poisson(level: float) -> None:
    """Without read noise and rounding the counts are whole electrons: mean, variance and share of empty pixels."""
    sensor = ideal()
    frame = simulate(FlatScene(level=level), sensor, seed=7, off=["read_noise", "quantisation"]).frame
    electrons = (frame.amp("C00").image.array - 1000.0) * 2.0
    assert np.array_equal(electrons, np.rint(electrons))
    n = electrons.size
    if level == 0:
        assert not electrons.any()
        return
    assert electrons.mean() == pytest.approx(level, abs=4 * np.sqrt(level / n))
    assert electrons.var() == pytest.approx(level, abs=4 * level * np.sqrt((2 + 1 / level) / n))
    p = np.exp(-level)
    assert (electrons == 0).mean() == pytest.approx(p, abs=4 * np.sqrt(p * (1 - p) / n))


def test_the_converter_rounds_and_clips() -> None:
    """16 bits: nothing above 65535, nothing below 0, whole numbers."""
    bright = simulate(FlatScene(level=200000), ideal(), seed=1).frame.image.array
    assert bright.dtype == np.uint16
    assert (simulate(FlatScene(level=200000), ideal(), seed=1).frame.amp("C00").image.array == 65535).all()
    assert (simulate(BiasScene(), ideal(level=0.0), seed=1).frame.image.array == 0).mean() > 0.4
    assert simulate(BiasScene(), ideal(bits=18), seed=1).frame.image.array.dtype == np.int32


def test_a_ramp_is_in_data_and_overscan_alike() -> None:
    """8 exp(-y/40) + 4 y/255 adu along the 256 rows read."""
    sensor = ideal(ramp_exponential=8.0, ramp_linear=4.0)
    frame = simulate(BiasScene(), sensor, seed=1, off=["read_noise", "quantisation"]).frame
    y = np.arange(256)
    expected = 1000 + 8 * np.exp(-y / 40) + 4 * y / 255
    np.testing.assert_allclose(frame.image.array, np.repeat(expected[:, None], 434, axis=1), rtol=1e-6)


def test_a_parallel_pattern_is_in_the_parallel_overscan_and_not_in_the_serial_one() -> None:
    sensor = ideal(parallel_pattern=30.0)
    frame = simulate(BiasScene(), sensor, seed=1, off=["read_noise", "quantisation"]).frame
    expected = 1000 + sensor.columns[0] / 2
    for part in ("data", "parallel_overscan"):
        pixels = frame.amp("C00", part).image.array
        np.testing.assert_allclose(pixels, np.broadcast_to(expected, pixels.shape), rtol=1e-6)
    assert np.ptp(frame.amp("C00", "serial_overscan").image.array) == 0


def test_the_record_of_a_non_linear_channel_is_too_low_by_the_stated_fraction() -> None:
    """v + c v**2 = s with c = 0.02/50000: v = (sqrt(1 + 4 c s) - 1)/(2 c), 49038.11 and 24754.88."""
    sensor = ideal(nonlinearity=0.02, full_well=100000.0)
    off = ["read_noise", "quantisation", "shot_noise"]
    for level, count in ((100000.0, 49038.106), (50000.0, 24754.878)):
        frame = simulate(FlatScene(level=level), sensor, seed=1, off=off).frame
        np.testing.assert_allclose(frame.amp("C00").image.array - 1000.0, count, rtol=2e-6)


def test_the_noise_free_image_is_the_mean() -> None:
    sensor = sensor_of("demo", 2, cosmic_rays=0.0)
    done = simulate(FlatScene(level=3000, band="g"), sensor, seed=4)
    ramp = done.frame.image.array - done.truth.noise_free
    # per frame and amplifier the level drifts by 0.5 adu rms, so take each amplifier's own mean out
    for a, amp in enumerate(sensor.detector):
        part = ramp[amp.raw_box("data").slices]
        expected = (3000 / sensor.gain[a]) / sensor.gain[a] + (sensor.read_noise[a] / sensor.gain[a]) ** 2 + 1 / 12
        assert abs(part.mean()) < 4 * 0.5
        assert part.var() == pytest.approx(expected, rel=0.1)
