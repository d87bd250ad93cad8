"""The variance without the pixel's own signal: that of the sky, and weights that do not bias."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fullwell.base.errors import DataError, GeometryError, UsageError
from fullwell.frames import Frame, GainMap, Plane
from fullwell.injection import EffectiveGain
from fullwell.measure import without_signal
from fullwell.products import Flat
from fullwell.reduction import isr
from fullwell.simulation import ScienceScene, masters, sensor_of, simulate

SKY, NOISE, K, PHI = 60.0, 5.0, 1.25, 1e-5


def star(n: int, flux: float, seed: int = 5) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """n images (15 n, 15) of one star, their variances (realised, with the flat's own), and the profile."""
    y, x = np.indices((15, 15)) - 7
    profile = np.exp(-(x**2 + y**2) / 8.0)
    profile /= profile.sum()
    mean = np.tile(SKY + flux * profile, (n, 1))
    image = K * np.random.default_rng(seed).poisson(mean / K) + np.random.default_rng(6).normal(
        0, K * NOISE, mean.shape
    )
    return image, K * image + K**2 * NOISE**2 + PHI * image**2, profile


def gain_of(frame: Frame, convention: str = "realised") -> EffectiveGain:
    k, phi = (np.full(frame.shape, v, np.float32) for v in (K, PHI))
    return EffectiveGain(k, frame.box, "electron", "stored", convention, read_noise=NOISE, flat_variance=phi)  # type: ignore[arg-type]


def test_what_is_left_is_the_variance_of_the_sky() -> None:
    image, variance, _ = star(20, 5000.0)
    frame = Frame.from_arrays(image, variance, unit="electron")
    out = without_signal(frame, gain_of(frame), sky=SKY)
    assert out.variance is not None
    want = K * SKY + K**2 * NOISE**2 + PHI * SKY**2
    np.testing.assert_allclose(out.variance.array, want, rtol=1e-4)
    assert out.history[-1].step == "without_signal" and out.image is frame.image
    assert frame.variance is not None and frame.variance.array.max() > 2 * want


def test_weights_from_it_do_not_bias_the_flux_and_those_of_the_whole_variance_do() -> None:
    """Flux by weights p / V over p**2 / V, 4000 stars of 2000 electrons."""
    n, flux = 4000, 2000.0
    image, variance, profile = star(n, flux)
    frame = Frame.from_arrays(image, variance, unit="electron")
    fixed = without_signal(frame, gain_of(frame), sky=SKY)
    assert fixed.variance is not None

    def fluxes(v: np.ndarray) -> np.ndarray:
        weight = profile / v.reshape(n, 15, 15)
        stars = image.reshape(n, 15, 15) - SKY
        return (weight * stars).sum((1, 2)) / (weight * profile).sum((1, 2))

    good, bad = fluxes(fixed.variance.array.astype(float)), fluxes(variance)
    assert abs(good.mean() - flux) < 4 * good.std() / np.sqrt(n)
    assert bad.mean() - flux < -20 * bad.std() / np.sqrt(n)


def test_the_frame_its_kept_parts_and_its_flat_agree() -> None:
    sensor = sensor_of("demo", 1, dark_rate=0.5, cosmic_rays=0.0)
    products = masters(sensor, seed=4)
    done = isr(simulate(ScienceScene(), sensor, seed=3).frame, products, keep_components=True)
    good = done.good(("BAD", "SAT", "NO_DATA", "INTRP"))
    one, two = without_signal(done), without_signal(replace(done, components={}), products=products)
    assert one.variance is not None and two.variance is not None and done.variance is not None
    a, b = one.variance.array[good], two.variance.array[good]
    np.testing.assert_allclose(a, b, rtol=1e-3)
    flat = products["flat"]
    assert isinstance(flat, Flat)
    response = flat.image[good]
    # what is left does not know the light: over pixels of one response it has no slope against the image
    slope = np.polyfit(done.image.array[good], b * response**2 - b.mean(), 1)[0]
    before = np.polyfit(done.image.array[good], done.variance.array[good] * response**2, 1)[0]
    assert abs(slope) < 1e-3 and before > 0.9


def test_an_expected_variance_needs_the_model() -> None:
    image, variance, _ = star(4, 100.0)
    frame = Frame.from_arrays(image, variance, unit="electron")
    gain = gain_of(frame, "expected")
    with pytest.raises(UsageError, match="made from a model"):
        without_signal(frame, gain)
    model = np.full(frame.shape, 10.0)
    out = without_signal(frame, gain, sky=SKY, signal=model)
    assert out.variance is not None
    taken = K * 10 + PHI * ((SKY + 10) ** 2 - SKY**2)
    np.testing.assert_allclose(variance - out.variance.array, taken, rtol=1e-3)


def test_bad_input_is_refused() -> None:
    image, variance, _ = star(4, 100.0)
    frame = Frame.from_arrays(image, variance, unit="electron")
    with pytest.raises(DataError, match="has no variance"):
        without_signal(replace(frame, variance=None))
    with pytest.raises(GeometryError, match="the sky has shape"):
        without_signal(frame, gain_of(frame), sky=np.zeros((2, 2)))
    small = gain_of(Frame.from_arrays(image[:9], variance[:9], unit="electron"))
    with pytest.raises(GeometryError, match="effective gain covers"):
        without_signal(frame, small)
    adu = replace(frame, image=Plane(image, unit="adu"), gain_map=GainMap())
    with pytest.raises(DataError, match="how many electrons"):
        without_signal(adu)
