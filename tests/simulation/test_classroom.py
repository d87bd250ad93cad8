"""The functions of the class, against the formulas that they teach."""

from __future__ import annotations

import numpy as np
import pytest

import fullwell as fw
from fullwell.base.errors import UsageError
from fullwell.simulation.classroom import gain_of_line, noise_and_signal, noise_slopes, signal_levels, simulated_image


def test_an_image_has_the_mean_and_the_noise_of_the_lesson() -> None:
    """10 000 e- at 1.5 e-/adu: 6666.7 adu, variance (10000 + 36) / 2.25 + 1/12."""
    image = fw.simulated_image(10000, 6.0, 1.5, np.random.default_rng(1), 200000)
    variance = 10036 / 2.25 + 1 / 12
    assert image.dtype == np.int32
    assert image.mean() == pytest.approx(10000 / 1.5, abs=4 * np.sqrt(variance / image.size))
    assert image.var() == pytest.approx(variance, rel=4 * np.sqrt(2 / image.size))
    again = simulated_image(10000, 6.0, 1.5, np.random.default_rng(1), 200000)
    np.testing.assert_array_equal(image, again)
    assert simulated_image(5, 1.0, 1.0).shape == (10000,)
    assert simulated_image(np.full((3, 4), 5.0), 1.0, 1.0).shape == (3, 4)
    assert simulated_image(1000.0, 0.0, 1.0, full_well=900.0).max() == 900
    for wrong in ((-1, 1, 1), (1, -1, 1), (1, 1, 0), (np.nan, 1, 1)):
        with pytest.raises(UsageError):
            simulated_image(*wrong)


def test_the_lesson_from_darkness_to_full_well() -> None:
    """Slopes 0 and 1/2; the reciprocal slope of the variance is the gain, its intercept the read noise and rounding."""
    rng, gain, read_noise = np.random.default_rng(5), 1.5, 6.0
    levels = signal_levels(100000.0)
    assert levels[0] == pytest.approx(0.3) and levels[-1] == pytest.approx(100000) and levels.size == 60
    images = [simulated_image(level, read_noise, gain, rng) for level in levels]
    noise, signal = noise_and_signal(images)
    assert noise[-1] == pytest.approx(images[-1].std(ddof=1)) and signal[-1] == images[-1].mean()
    dark, bright = noise_slopes(signal, noise, read_noise, gain)
    # 0.7 % error of each noise, levels that spread over 0.3 and 0.7 decades rms; light adds up to 5 % to the noise
    assert dark == pytest.approx(0.02, abs=0.03)
    assert bright == pytest.approx(0.49, abs=0.01)
    found, error, read = gain_of_line(signal, noise, 10000)
    assert error < 0.01 * gain
    assert found == pytest.approx(gain, abs=4 * error)
    assert read == pytest.approx(np.hypot(read_noise, gain / np.sqrt(12)), rel=4 * np.sqrt(1 / 2 / 10000 / 10))
    assert np.isnan(noise_slopes([1.0], [1.0], 5.0, 1.0)).all()
    with pytest.raises(UsageError):
        signal_levels(10.0, lowest=20.0)
