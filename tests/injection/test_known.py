"""K from what was applied: S9 for the closed form of it, the flat of the provenance, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fullwell.base.errors import DataError, GeometryError, MissingProduct, UnitError, UsageError
from fullwell.frames import Frame
from fullwell.injection import effective_gain
from fullwell.products import Flat
from fullwell.reduction import isr
from fullwell.simulation import ScienceScene, SensorModel, exact_products, grid_detector, sensor_of, simulate


@pytest.fixture(scope="module")
def sensor() -> SensorModel:
    detector = grid_detector(2, 2, (48, 64), prescan=4, serial=16, gain=1.5, read_noise=6.0)
    return sensor_of("ideal", 5, detector=detector, spread=0.2, vignetting=0.3, prnu=0.01)


@pytest.fixture(scope="module")
def products(sensor: SensorModel) -> dict[str, Any]:
    made: dict[str, Any] = exact_products(sensor, "u")
    made["flat"] = replace(made["flat"], variance=np.full(made["flat"].image.shape, 1e-6, np.float32))
    return made


@pytest.fixture(scope="module")
def raw(sensor: SensorModel) -> Frame:
    return simulate(ScienceScene(band="u", stars=(), sky=3.0), sensor, seed=1, workers=1).frame


@pytest.fixture(scope="module")
def frame(raw: Frame, products: dict[str, Any]) -> Frame:
    return isr(raw, products)


def test_electrons(frame: Frame, products: dict[str, Any]) -> None:
    """K = 1/F, pixel by pixel; the law V = K I + K^2 r^2 + phi^2 I^2 holds in every pixel of the real ISR."""
    flat = products["flat"]
    gain = effective_gain(frame, flat=flat)
    assert (gain.method, gain.unit, gain.convention, gain.rms) == ("flat", "electron", "realised", 0.0)
    np.testing.assert_allclose(gain.k, 1 / flat.image, rtol=2e-7)
    assert gain.flat_variance is not None
    np.testing.assert_allclose(gain.flat_variance, 1e-6 / flat.image**2, rtol=2e-6)
    assert gain.background == 0.0 and frame.variance is not None
    image = frame.image.array
    law = gain.k * image + gain.k**2 * gain.read_noise**2 + gain.flat_variance * image**2
    rows = np.pi / 2 * gain.read_noise**2 / 16
    excess = (frame.variance.array - law) / gain.k**2
    assert np.all(np.abs(excess) < 2 * rows), "what is left is the overscan's error"


def test_adu_with_amplifiers_of_different_gain(raw: Frame, products: dict[str, Any], sensor: SensorModel) -> None:
    done = isr(raw, products, off=("gain", "bias", "dark", "crosstalk", "linearity"))
    assert done.unit == "adu"
    gain = effective_gain(done, flat=products["flat"])
    for amp, value in zip(sensor.detector, sensor.gain, strict=True):
        part = amp.trimmed.slices
        np.testing.assert_allclose(gain.k[part], 1 / (value * products["flat"].image[part]), rtol=3e-7)
    assert np.ptp(sensor.gain) > 0.05


def scaled(frame: Frame, c: Any, unit: str = "nJy") -> Frame:
    """The frame as a photometric calibration leaves it."""
    assert frame.variance is not None
    out = Frame.from_arrays(
        (frame.image.array * c).astype(np.float32), (frame.variance.array * c**2).astype(np.float32), unit=unit
    )
    return replace(out, gain_map=frame.gain_map, observation=frame.observation, history=frame.history,
                   detector=frame.detector)  # fmt: skip


def test_nanojansky(frame: Frame, products: dict[str, Any]) -> None:
    """A number, a map or a function; without one, an error."""
    flat = products["flat"]
    calibrated = scaled(frame, 3.0)
    np.testing.assert_allclose(effective_gain(calibrated, flat=flat, photo=3.0).k, 3 / flat.image, rtol=3e-7)
    attached = effective_gain(replace(calibrated, photo_calib=3.0), flat=flat)
    np.testing.assert_allclose(attached.k, 3 / flat.image, rtol=3e-7)
    ny, nx = frame.shape
    y, x = np.mgrid[:ny, :nx]
    law = 2 + x / nx + 0.1 * y / ny
    for photo in (law, lambda x, y: 2 + x / nx + 0.1 * y / ny):
        np.testing.assert_allclose(effective_gain(scaled(frame, law), flat=flat, photo=photo).k,
                                   law / flat.image, rtol=3e-7)  # fmt: skip
    with pytest.raises(UnitError, match="how many nJy an electron became"):
        effective_gain(calibrated, flat=flat)
    with pytest.raises(GeometryError, match="photometric scale has shape"):
        effective_gain(calibrated, flat=flat, photo=np.ones((3, 3)))


def test_a_part_of_the_frame(frame: Frame, products: dict[str, Any]) -> None:
    assert frame.detector is not None
    amp = frame.detector.amplifiers[3].trimmed
    part = effective_gain(frame[amp], flat=products["flat"])
    np.testing.assert_array_equal(part.k, effective_gain(frame, flat=products["flat"]).of(amp))
    assert part.box == amp


def test_no_flat_was_divided_out(raw: Frame, products: dict[str, Any]) -> None:
    done = isr(raw, products, off=("flat",))
    gain = effective_gain(done)
    assert gain.method == "stored" and np.all(gain.k == 1)
    with pytest.raises(UsageError, match="was not divided by a flat"):
        effective_gain(done, flat=products["flat"])


def test_a_pixel_without_light(raw: Frame, products: dict[str, Any]) -> None:
    image = products["flat"].image.copy()
    image[5, 6] = 0
    flat = replace(products["flat"], image=image)
    gain = effective_gain(isr(raw, {**products, "flat": flat}), flat=flat)
    assert np.isnan(gain.k[5, 6]) and np.isfinite(gain.k).sum() == gain.k.size - 1


def test_another_flat_is_refused_unless_accepted(frame: Frame, products: dict[str, Any]) -> None:
    flat: Flat = products["flat"]
    other = replace(flat, image=(flat.image * 1.01).astype(np.float32))
    with pytest.raises(UsageError, match=r"(?s)its id is .*accept=\(\"flat\",\)"):
        effective_gain(frame, flat=other)
    gain = effective_gain(frame, flat=other, accept=("flat",))
    assert np.isnan(gain.rms) and "accepted" in gain.notes[-1]
    wrong = replace(other, observation=replace(other.observation, filter="z", detector="S11"))
    with pytest.raises(UsageError, match=r"(?s)detector S11.*filter z"):
        effective_gain(frame, flat=wrong, accept=("flat",))
    assert effective_gain(frame, flat=wrong, accept=("flat", "detector", "filter")).method == "flat"
    with pytest.raises(UsageError, match="no difference that can be accepted"):
        effective_gain(frame, flat=other, accept=("colour",))


def test_flat_of_another_size(frame: Frame, products: dict[str, Any]) -> None:
    small = replace(products["flat"], image=products["flat"].image[:40], variance=None, box=None)
    with pytest.raises(GeometryError, match="the flat covers"):
        effective_gain(frame, flat=small, accept=("flat",))


def test_gain_unknown(frame: Frame, products: dict[str, Any]) -> None:
    adu = replace(scaled(frame, 1.0, "adu"), gain_map=None, detector=None, history=())
    with pytest.raises(DataError, match="the gain is not known"):
        effective_gain(adu, flat=products["flat"])


def test_header_gain_only_where_insisted(frame: Frame) -> None:
    with pytest.raises(UsageError, match="knows neither the flat"):
        effective_gain(frame, method="header", accept_header=True)
    adu = scaled(frame, 1.0, "adu")
    with pytest.raises(UsageError, match="accept_header=True insists"):
        effective_gain(adu, method="header")
    adu = replace(adu, observation=replace(adu.observation, header_gain=1.6))
    gain = effective_gain(adu, method="header", accept_header=True)
    assert np.all(gain.k == np.float32(1 / 1.6)) and np.isnan(gain.rms)


def test_no_such_method(frame: Frame) -> None:
    with pytest.raises(UsageError, match="no method 'magic'"):
        effective_gain(frame, method="magic")
    with pytest.raises(DataError, match="not at hand"):
        effective_gain(frame, method="stored")


def test_the_flat_comes_from_the_repository_by_its_id(stored: tuple[Any, Frame, Flat]) -> None:
    """The frame of a pipeline names its flat; the one with that id is taken, not the one that is valid now."""
    repo, frame, flat = stored
    for place in (repo, repo.path):
        gain = effective_gain(frame, repo=place)
        assert gain.method == "stored"
        np.testing.assert_allclose(gain.k, 1 / flat.image, rtol=2e-7)
    lost = replace(frame, metadata={**frame.metadata, "LSST CALIB UUID FLAT": "52101f38-3247-589b-9fa5-b97fa8815ec8"})
    with pytest.raises(MissingProduct, match="52101f38"):
        effective_gain(lost, repo=repo)
    bias = replace(frame, metadata={**frame.metadata, "LSST CALIB UUID FLAT": frame.metadata["LSST CALIB UUID BIAS"]})
    with pytest.raises(UsageError, match="is a bias"):
        effective_gain(bias, repo=repo)
