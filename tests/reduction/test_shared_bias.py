"""A bias that is taken off a frame and was taken off its dark too: the error of the difference, not of the sum."""

from __future__ import annotations

import numpy as np
import pytest

from fullwell.conductor.verbs import plain_detector
from fullwell.frames import Frame, Observation
from fullwell.measure import build_bias, build_dark
from fullwell.products import Bias, Dark, Gain
from fullwell.reduction import isr

NOISE = 6.0


def frame(rng: np.random.Generator, shape: tuple[int, int], kind: str, time: float = 0.0) -> Frame:
    """Read noise alone [electron], as it stands before the bias is taken off."""
    image = rng.normal(0.0, NOISE, shape).astype(np.float32)
    detector = plain_detector(shape).with_values(gain={"A": 1.0}, read_noise={"A": NOISE})
    obs = Observation(kind=kind, exposure_time=time, dark_time=time)
    return Frame.from_arrays(image, unit="electron", detector=detector, observation=obs)


def night(shape: tuple[int, int], darks: int = 2, seed: int = 5) -> tuple[np.random.Generator, Bias, Dark, Gain]:
    """One bias frame, `darks` darks of 10 s."""
    rng = np.random.default_rng(seed)
    gain = Gain.of_detector(frame(rng, (1, 1), "bias").detector)
    bias = build_bias([isr(frame(rng, shape, "bias"), {"gain": gain}, recipe="bias")])
    made = [isr(frame(rng, shape, "dark", 10.0), {"gain": gain, "bias": bias}, recipe="dark") for _ in range(darks)]
    return rng, bias, build_dark(made, biases=[bias], drop=False), gain


def settings() -> dict[str, dict[str, bool]]:
    return {"dark": {"shot_noise": False}, "variance": {"poisson": False}}


def test_the_terms_by_hand() -> None:
    """V_B = 36; dark: 36/2 of its frames and 36 of the bias, over 100 s2: 0.54; a frame of 5 s has half the bias left:
    36 (1 - 0.5)^2 + 25 * 36/200 + 36 = 49.5, and not 36 + 25 * 0.54 + 36 = 85.5."""
    rng, bias, dark, gain = night((20, 30))
    assert bias.variance is not None and dark.variance is not None
    assert dark.statistics["bias"] == bias.id and dark.statistics["bias_share"] == pytest.approx(0.1)
    exact = Dark(
        image=dark.image, variance=np.full_like(dark.variance, 0.54), unit="electron/s", statistics=dark.statistics
    )
    science = frame(rng, (20, 30), "science", 5.0)
    both = isr(science, {"gain": gain, "bias": bias, "dark": exact}, settings=settings())
    np.testing.assert_allclose(both.variance.array, 49.5, rtol=1e-5)
    other = Bias(image=bias.image + 1, variance=bias.variance, unit="electron")
    apart = isr(science, {"gain": gain, "bias": other, "dark": exact}, settings=settings())
    np.testing.assert_allclose(apart.variance.array, 85.5, rtol=1e-5)


@pytest.mark.parametrize("time", [5.0, 10.0, 20.0])
def test_the_scatter_is_what_the_variance_says(time: float) -> None:
    """One bias, two darks: (residual / sigma)^2 has mean 1 to sqrt(2/90000) = 0.5 %; counted apart it would
    be as far as 0.43 (time 10 s). The darks' own Poisson terms, of counts about zero, average out."""
    rng, bias, dark, gain = night((300, 300))
    out = isr(frame(rng, (300, 300), "science", time), {"gain": gain, "bias": bias, "dark": dark}, settings=settings())
    squared = out.image.array.astype(float) ** 2
    ratio = squared.mean() / out.variance.array.mean()
    assert abs(ratio - 1) < 4 * np.sqrt(2 / squared.size)


def test_a_window_of_the_bias_counts_as_the_bias() -> None:
    rng, bias, dark, gain = night((20, 30))
    from dataclasses import replace

    cut = replace(bias, id=f"{bias.id}[0,0,30,20]")
    science = frame(rng, (20, 30), "science", 5.0)
    one, two = (isr(science, {"gain": gain, "bias": b, "dark": dark}, settings=settings()) for b in (bias, cut))
    np.testing.assert_array_equal(one.variance.array, two.variance.array)
