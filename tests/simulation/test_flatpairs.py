"""Series of flat pairs: levels, faults and truth, and that raw and assembled frames tell the same story."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fullwell.base.errors import ConfigError, UsageError
from fullwell.frames import Frame
from fullwell.simulation import SensorModel, SeriesConfig, flat_pairs, grid_detector, sensor_of, write_series_truth


def small(side: int = 128, **changes: float) -> SensorModel:
    """Two amplifiers, 1.5 electron/adu and 6 electron."""
    detector = grid_detector(2, 1, (side, side), prescan=4, serial=16, parallel=4, gain=1.5, read_noise=6.0)
    return sensor_of("ptc-16", 2, detector=detector, **{"spread": 0.0, **changes})


def data(frame: Frame, amp: int) -> np.ndarray:
    assert frame.detector is not None
    part = frame.detector.amplifiers[amp].trimmed if not frame.raw else frame.detector.amplifiers[amp].raw_box("data")
    return frame.image.array[part.slices].astype(float)


def test_the_sheet_has_8_logarithmic_and_31_linear_levels() -> None:
    levels = SeriesConfig().steps()
    assert levels.size == 39
    np.testing.assert_allclose(np.diff(np.log(levels[:8])), np.log(2000 / 150) / 7)
    np.testing.assert_allclose(np.diff(levels[8:]), 97000 / 30)
    np.testing.assert_allclose(levels[[0, 7, 8, 38]], [150, 2000, 3000, 100000])
    assert SeriesConfig(levels=(5.0, 2.0)).steps().tolist() == [5.0, 2.0]
    np.testing.assert_allclose(SeriesConfig(n=3, spacing="log", e_min=1, e_max=100).steps(), [1, 10, 100])
    np.testing.assert_allclose(SeriesConfig(n=3, spacing="linear", e_min=1, e_max=3).steps(), [1, 2, 3])


@pytest.mark.parametrize("raw", [False, True])
def test_mean_and_variance_of_a_pair(raw: bool) -> None:
    """60 ke-: the variance of the brighter-fatter effect, 14 % below Poisson's, assembled and raw alike."""
    series = flat_pairs(small(), seed=4, raw=raw, levels=(60000.0,))
    first, second = series[0]
    assert (first.raw, first.unit, first.observation.kind) == (raw, "adu", "flat")
    assert first.observation.exposure_time == second.observation.exposure_time == 12.0
    assert second.observation.seq_num == first.observation.seq_num + 1
    expected = series.truth.covariance(0, 0)[0, 0, 0] + (1 / 12 if raw else 0)
    assert expected < 0.87 * (60000 / 1.5**2)
    for amp in (0, 1):
        d = data(first, amp) - data(second, amp)
        level = series.sensor.level[amp] if raw else 0.0
        assert data(first, amp).mean() - level == pytest.approx(40000, abs=4 * np.sqrt(60000 / 128**2) / 1.5)
        assert d.var() / 2 == pytest.approx(expected, rel=4 * np.sqrt(2 / d.size))


def test_a_pair_is_the_same_whatever_else_is_made() -> None:
    series = flat_pairs(small(), seed=4, n=12, e_max=5000)
    again = flat_pairs(small(), seed=4, n=12, e_max=5000, workers=1)
    pairs = list(series)
    assert len(pairs) == len(series) == 12
    np.testing.assert_array_equal(again[11][1].image.array, pairs[-1][1].image.array)
    assert not np.array_equal(pairs[3][0].image.array, pairs[3][1].image.array)
    assert not np.array_equal(flat_pairs(small(), seed=5, n=12, e_max=5000)[3][0].image.array, pairs[3][0].image.array)
    with pytest.raises(IndexError):
        series[12]


def test_mismatch_drift_and_pedestal() -> None:
    """The truth knows the light of each flat; the frames have it, and the pedestal on top."""
    series = flat_pairs(
        small(), seed=1, levels=(20000.0,) * 50, mismatch_rms=0.01, drift=-0.2, pedestal=30.0, dead=("C01",)
    )
    light = series.truth.light.ravel()
    lamp = 20000 * np.linspace(1, 0.8, 100)
    assert (light / lamp).std() == pytest.approx(0.01, rel=4 / np.sqrt(200))
    assert np.unique(series.truth.exposure_time).size == 1
    first, second = series[49]
    for frame, x in zip((first, second), light[-2:], strict=True):
        assert data(frame, 0).mean() == pytest.approx(x / 1.5 + 30, abs=4 * np.sqrt(x) / 1.5 / 128)
        assert data(frame, 1).mean() == pytest.approx(30, abs=4 * 4 / 128)
    assert data(first, 1).std() == pytest.approx(4.0, rel=4 / np.sqrt(2 * 128**2))


def test_above_the_full_well_the_variance_collapses() -> None:
    """Charge above it bleeds: well above, no pixel holds more and hardly one less; well below, nothing changes."""
    series = flat_pairs(small(full_well=50000.0), seed=3, levels=(40000.0, 60000.0))
    np.testing.assert_allclose(series.truth.turnoff, 50000 / 1.5)
    below, above = [np.var(data(a, 0) - data(b, 0)) / 2 for a, b in series]
    expected = series.truth.covariance(0, 0)[:, 0, 0]
    assert below == pytest.approx(expected[0], rel=4 * np.sqrt(2 / 128**2))
    assert above < 0.01 * expected[1]


def test_cosmic_rays_and_non_linearity_of_the_sensor_are_in_assembled_frames() -> None:
    quiet = flat_pairs(small(), seed=3, levels=(10000.0,))[0][0]
    hit = flat_pairs(small(cosmic_rays=300.0), seed=3, levels=(10000.0,))[0][0]
    rest = data(hit, 0) - data(quiet, 0)
    assert 0 < np.count_nonzero(rest > 1) < 0.3 * rest.size
    assert np.median(rest) == 0
    bent = flat_pairs(small(nonlinearity=0.02, full_well=100000.0), seed=3, levels=(50000.0,))[0][0]
    # s = v + c v^2 with c = 0.02 / 66667 adu: v = 33006.3 for s = 33333.3
    assert data(bent, 0).mean() == pytest.approx(33006.3, abs=4 * np.sqrt(50000) / 1.5 / 128)


def test_bias_pairs_have_read_noise_alone() -> None:
    first, second = flat_pairs(small(), seed=3, n=12).bias_pair()
    assert first.observation.kind == "bias"
    d = data(first, 0) - data(second, 0)
    assert d.std() / np.sqrt(2) == pytest.approx(4.0, rel=4 / np.sqrt(2 * d.size))


def test_what_cannot_be_meant_is_refused() -> None:
    for wrong in ({"e_min": 10.0, "e_max": 5.0}, {"e_min": 2500.0}, {"dead": ("C77",)}):
        with pytest.raises(UsageError):
            flat_pairs(small(), seed=1, **wrong)
    with pytest.raises(ConfigError):
        flat_pairs(small(), seed=1, mismatch=0.1)


def test_the_truth_of_a_series_in_a_file(tmp_path: Path) -> None:
    import json

    from astropy.io import fits

    series = flat_pairs(small(full_well=50000.0), seed=3, n=12)
    write_series_truth(series, tmp_path / "truth.fits")
    with fits.open(tmp_path / "truth.fits") as hdus:
        np.testing.assert_array_equal(hdus["LEVELS"].data["light2"], series.truth.light[:, 1])
        assert hdus["LEVELS"].header["TUNIT3"] == "s"
        numbers = {key: json.loads(value) for key, value in hdus["NUMBERS"].data}
    np.testing.assert_array_equal(numbers["a"], series.truth.a)
    assert numbers["gain"] == series.truth.gain.tolist()
    np.testing.assert_allclose(numbers["turnoff"], 50000 / 1.5)
