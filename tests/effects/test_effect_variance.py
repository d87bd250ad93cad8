"""Variance: its terms in electron and adu, the floor of the total, its parts."""

from __future__ import annotations

import numpy as np
import pytest

from fullwell.conductor import Block, Buffers, Exposure, Layout
from fullwell.conductor.verbs import plain_detector
from fullwell.effects import assembly, bias, dark, flat, linearity, variance
from fullwell.frames import Frame
from fullwell.products import Linearity
from fullwell.recipes import RECIPES

SHAPE = (1, 4)


def flagged(values, unit: str = "electron", gain: float = np.nan, noise: float = np.nan, before=None, **settings):
    image = np.asarray([values], np.float32)
    detector = plain_detector(image.shape).with_values(gain={"A": gain}, read_noise={"A": noise})
    planes = None if before is None else np.full(image.shape, before, np.float32)
    return variance.flag(Frame.from_arrays(image, planes, unit=unit, detector=detector), **settings)


def test_electron_signal_plus_read_noise_plus_what_was_there() -> None:
    assert flagged([100.0, 0.0, -5.0], gain=2.0, noise=6.0).variance.array[0].tolist() == [136.0, 36.0, 31.0]
    assert flagged([100.0], gain=2.0, noise=6.0, before=7.0).variance.array[0].tolist() == [143.0]


def test_adu_with_a_known_gain() -> None:
    # 100 adu at 2 electron/adu: 100/2 + (6/2)**2 = 59.
    assert flagged([100.0], "adu", gain=2.0, noise=6.0).variance.array[0].tolist() == [59.0]


def test_a_frame_that_collected_nothing_has_no_poisson_term() -> None:
    """The level of an amplifier without overscan, here 1000 electron, is no charge."""
    assert flagged([1000.0], gain=2.0, noise=6.0, poisson=False).variance.array[0].tolist() == [36.0]
    assert RECIPES["bias"].settings["variance"] == {"poisson": False}
    assert "variance" not in RECIPES["dark"].settings and "variance" not in RECIPES["flat"].settings


def test_adu_without_a_gain_has_no_poisson_term_and_says_so() -> None:
    out = flagged([100.0], "adu", noise=6.0)
    assert out.variance.array[0].tolist() == [36.0]
    assert out.history[-1].numbers["without_gain"] == ["A"]


def test_an_unknown_read_noise_is_in_the_record() -> None:
    assert flagged([100.0], gain=1.0).history[-1].numbers["without_read_noise"] == ["A"]
    assert flagged([100.0], gain=1.0, noise=5.0).history[-1].numbers["without_read_noise"] == []


def test_the_total_is_floored_not_the_signal() -> None:
    out = flagged([-34.0, -40.0, -10.0], gain=1.0, noise=6.0).variance.array[0]
    assert out.tolist() == pytest.approx([3.6, 3.6, 26.0])
    assert flagged([-40.0], gain=1.0, noise=6.0, floor=0.5).variance.array[0, 0] == 18.0


def test_the_mean_in_the_dark_is_the_read_noise() -> None:
    """With the signal floored the mean would be 36 + sigma/sqrt(2 pi) = 38.4."""
    signal = np.random.default_rng(3).normal(0, 6, 100_000)
    mean = flagged(signal, gain=1.0, noise=6.0).variance.array.mean()
    # Four sigma of the mean of 1e5 values of scatter 6: 0.076. The floor lifts values below -32.4 (5.4 sigma): nothing.
    assert abs(mean - 36) < 4 * 6 / np.sqrt(1e5)


def test_nan_gives_nan() -> None:
    assert np.isnan(flagged([np.nan], gain=1.0, noise=6.0).variance.array[0, 0])


def test_the_parts_add_up_through_bias_dark_variance_and_flat() -> None:
    detector = plain_detector(SHAPE).with_values(gain={"A": 1.0}, read_noise={"A": 5.0})
    exposure = Exposure(
        detector,
        unit="electron",
        gain=np.ones(1),
        read_noise=np.full(1, 5.0),
        dark_time=10.0,
        keep_components=True,
    )
    block = Block(exposure, Layout(detector, "data"), 0, 1, Buffers())
    block.image[:] = [[100.0, 200.0, 0.0, 1000.0]]
    block.add_row_variance(0.25)
    one = np.ones(SHAPE, np.float32)
    bias.remove_block(block, bias.BiasRows(one, 2 * one, None), bias.BiasConfig())
    dark.remove_block(block, dark.DarkRows(one, 0.01 * one, None), dark.DarkConfig())
    cfg = variance.VarianceConfig()
    variance.flag_block(block, variance.prepare(_Rows(exposure), None, cfg), cfg)
    flat.remove_block(block, flat.FlatRows(2 * one, 1e-4 * one, None), flat.FlatConfig())
    parts = {name: plane[0, 0] for name, plane in block.components.items()}
    # signal 100 - 1 - 10 = 89, all times 4 for a flat of 0.5; flat (2 * 89)**2 * 1e-4.
    want = {
        "bias": 8.0,
        "dark": 40.0,
        "dark_frame": 4.0,
        "poisson": 356.0,
        "read_noise": 100.0,
        "overscan": 1.0,
        "flat": 3.1684,
    }
    assert parts == pytest.approx(want)
    np.testing.assert_allclose(sum(block.components.values()), block.variance, rtol=1e-6)


class _Rows:
    """What `prepare` reads of the rows: the exposure alone."""

    def __init__(self, exposure: Exposure) -> None:
        self.exposure = exposure


def test_parts_made_before_assembly_are_trimmed_with_the_image(quad) -> None:
    detector = quad(gain=(1.0,) * 4, read_noise=(5.0,) * 4)
    exposure = Exposure(detector, gain=np.ones(4), read_noise=np.full(4, 5.0), keep_components=True)
    layout = Layout(detector)
    block = Block(exposure, layout, 0, 6, Buffers())
    block.image[:] = 10000.0 * (np.arange(layout.columns) % 8)
    curves = linearity.digest(Linearity.same(detector.names, "Squared", [1e-6]), layout, exposure)
    linearity.remove_block(block, curves, linearity.LinearityConfig())
    assembly.remove_block(block, None, assembly.AssembleConfig())
    # Slope 1 + 2e-6 v, v = 10000 for the first data column, 50000 for the last.
    slope = 1 + 2e-6 * np.tile(10000.0 * np.arange(1, 6), 4)
    want = np.broadcast_to((slope**2 - 1) * 25, (6, 20))
    np.testing.assert_allclose(block.components["linearity"], want, rtol=1e-4)
    np.testing.assert_allclose(block.variance, want, rtol=1e-4)


def test_the_read_noise_taken_is_in_the_record_in_electron() -> None:
    assert flagged([100.0], gain=1.5, noise=6.0).history[-1].numbers["read_noise"] == {"A": 6.0}
    assert flagged([100.0], "adu", noise=6.0).history[-1].numbers["read_noise"] == {}
