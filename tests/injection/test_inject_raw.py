"""Injection into raw frames: what the corrections then find."""

from __future__ import annotations

import numpy as np
import pytest

import fullwell as fw
from fullwell import simulation as sim
from fullwell.base.errors import UsageError
from fullwell.frames import Frame
from fullwell.frames.psf import GaussianPsf
from fullwell.injection import inject_raw
from fullwell.products import Flat


def test_corrections_find_what_was_put_in() -> None:
    sensor = sim.sensor_of("demo", 0)
    frame = sim.simulate(sim.SCENES["dark"](), sensor, seed=4).frame
    box = frame.detector.box
    response = np.linspace(0.7, 1.1, box.width, dtype=np.float32) * np.ones(box.shape, np.float32)
    flat = Flat(image=response)
    x, y = np.meshgrid(np.linspace(40, box.width - 40, 5) + 0.3, np.linspace(40, box.height - 40, 4))
    catalog = {"x": x.ravel(), "y": y.ravel(), "flux": np.full(x.size, 2e4), "id": np.arange(x.size)}
    done = inject_raw(frame, catalog, flat=flat, psf=GaussianPsf(3.5))
    assert done.frame.image.dtype == frame.image.dtype
    names = frame.detector.names
    gain = {name: amp.gain for name, amp in zip(names, frame.detector, strict=True)}
    steps = ("linearity", "crosstalk", "bias", "dark")
    before, after = (
        fw.isr(f, {"flat": flat, "gain": _gain(gain)}, off=[s for s in steps if s in _all()])
        for f in (frame, done.frame)
    )
    light = after.image.array.astype(float) - before.image.array
    expected = done.electrons / response
    assert light.sum() == pytest.approx(expected.sum(), rel=1e-3)
    assert np.abs(light - expected).max() < 3 * max(gain.values())
    assert np.corrcoef(light.ravel(), expected.ravel())[0, 1] > 0.999
    assert after.variance is not None and before.variance is not None
    grown = after.variance.array.astype(float) - before.variance.array
    assert grown.sum() == pytest.approx((expected / response).sum(), rel=2e-3)


def _all() -> set[str]:
    from fullwell.recipes import RECIPES

    return set(RECIPES["generic"].steps)


def _gain(values: dict[str, float]) -> fw.Gain:
    nan = np.full(len(values), np.nan)
    numbers = np.array(list(values.values()))
    return fw.Gain(
        amps=tuple(values),
        gain=numbers,
        gain_error=nan,
        read_noise=np.full(len(values), 5.0),
        read_noise_error=nan,
        estimator="nominal",
    )


def test_a_corrected_frame_is_refused() -> None:
    frame = Frame.from_arrays(np.zeros((9, 9), np.float32), unit="electron")
    with pytest.raises(UsageError, match="no raw frame"):
        inject_raw(frame, {"x": [1.0], "y": [1.0], "flux": [1.0]}, psf=GaussianPsf(3.0))
