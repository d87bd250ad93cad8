"""Properties that hold for every effect: the inverse, any tiling of the rows, any order and turn of the amplifiers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fullwell.cameras import Amplifier, Box, Detector, Orientation
from fullwell.conductor import Exposure, Layout, Program, Stage, Workers
from fullwell.conductor.store import ArraySource, MemorySink
from fullwell.effects import assembly, bias, crosstalk, dark, defects, flat, gain, linearity, nan, saturation, variance
from fullwell.frames import Frame, Observation
from fullwell.products import Bias, Crosstalk, Dark, Defects, Flat, Gain, Linearity

SIZE = 12
TURNS = [Orientation(x, y, t) for x in (False, True) for y in (False, True) for t in (False, True)]
QUIET = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def detector(turns: list[Orientation]) -> Detector:
    """Four amplifiers of 12 x 12 data pixels, 1 prescan and 3 overscan columns, turned as asked."""
    amps, y = [], 0
    for i, turn in enumerate(turns):
        shape = (SIZE, SIZE + 4)
        ny, nx = turn.shape(shape)
        amps.append(
            Amplifier(
                f"A{i}",
                shape,
                Box(1, 0, SIZE, SIZE),
                Box(0, y, nx, ny),
                Box(SIZE * (i % 2), SIZE * (i // 2), SIZE, SIZE),
                Box(0, 0, 1, SIZE),
                Box(SIZE + 1, 0, 3, SIZE),
                raw_orientation=turn,
                orientation=turn,
                gain=1.0 + 0.25 * i,
                read_noise=5.0 + i,
                saturation=40000.0,
            )
        )
        y += ny
    return Detector("turned", 0, tuple(amps))


def products(det: Detector, seed: int) -> dict[str, Any]:
    """A product of each kind for the detector, by role."""
    rng = np.random.default_rng(seed)
    shape, n = det.box.shape, len(det)

    def plane(mean: float, sigma: float) -> np.ndarray:
        return rng.normal(mean, sigma, shape).astype(np.float32)

    nodes = [0, 500, 5000, 20000, 60000, 0, -3, 8, -20, 60]
    models = ("Polynomial", "Spline", "Squared", "None")
    sets = tuple(np.array(c, float) for c in ([2e-7, -1e-12], nodes, [-3e-7], [0.0]))
    return {
        "gain": Gain.of_detector(det),
        "crosstalk": Crosstalk(amps=det.names, coefficients=rng.uniform(-5e-4, 1e-3, (n, n)),
                               quadratic=rng.uniform(0, 1e-9, (n, n))),
        "linearity": Linearity(amps=det.names, models=models, coefficients=sets),
        "bias": Bias(image=plane(3, 2), variance=plane(1, 0.1), unit="electron"),
        "dark": Dark(image=plane(0.2, 0.05), variance=plane(0.01, 0.001), unit="electron/s"),
        "defects": Defects(boxes=(Box(3, 0, 1, 20), Box(10, 10, 5, 5))),
        "flat": Flat(image=plane(1, 0.05), variance=plane(1e-4, 1e-6)),
    }  # fmt: skip


RECIPE = (
    (saturation.flag_block, saturation.SaturationConfig(suspect=30000.0)),
    (gain.remove_block, gain.GainConfig()),
    (crosstalk.remove_block, crosstalk.CrosstalkConfig(threshold=5.0)),
    (linearity.remove_block, linearity.LinearityConfig(negligible=0.0)),
    (assembly.remove_block, assembly.AssembleConfig()),
    (bias.remove_block, bias.BiasConfig()),
    (dark.remove_block, dark.DarkConfig()),
    (defects.flag_block, defects.DefectsConfig()),
    (nan.flag_block, nan.NanConfig()),
    (variance.flag_block, variance.VarianceConfig()),
    (flat.remove_block, flat.FlatConfig()),
)


def run(det: Detector, raw: np.ndarray, made: dict[str, Any], rows: int, threads: int = 1) -> MemorySink:
    """All steps on a raw image in adu above the overscan."""
    exposure = Exposure(det, gain=det.values("gain"), read_noise=det.values("read_noise"), dark_time=7.0)
    layout = Layout(det)
    program = Program([Stage(step, cfg) for step, cfg in RECIPE], layout, rows)
    digested = {
        step.name: step.digest(made[step.needs], layout, exposure)
        for step, _ in RECIPE
        if step.digest is not None and step.needs
    }
    source, sink = ArraySource.of_image(raw, det), MemorySink(det)
    program.prepare(source, exposure, digested)
    with Workers(threads) as workers:
        program.run(source, sink, exposure, workers)
    return sink


def raw_of(det: Detector, seed: int) -> np.ndarray:
    """Counts up to beyond saturation, log-uniform, a few negative."""
    rng = np.random.default_rng(seed)
    raw = np.exp(rng.uniform(0, np.log(60000), det.raw_box.shape)) - 20
    return raw.astype(np.float32)


def same(a: MemorySink, b: MemorySink) -> None:
    for name in ("image", "variance", "mask"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)


@QUIET
@given(rows=st.integers(1, 15), threads=st.sampled_from([1, 2, 3]), seed=st.integers(0, 99))
def test_tiles_and_threads_change_no_bit(rows: int, threads: int, seed: int) -> None:
    det = detector([TURNS[(seed + 3 * i) % 8] for i in range(4)])
    raw, made = raw_of(det, seed), products(det, seed)
    same(run(det, raw, made, rows, threads), run(det, raw, made, SIZE))


@QUIET
@given(turns=st.lists(st.sampled_from(TURNS), min_size=4, max_size=4), seed=st.integers(0, 99))
def test_the_turn_of_an_amplifier_changes_where_pixels_are_and_nothing_else(turns, seed: int) -> None:
    straight, turned = detector([TURNS[0]] * 4), detector(turns)
    raw, made = raw_of(straight, seed), products(straight, seed)
    other = np.zeros(turned.raw_box.shape, np.float32)
    for a, b in zip(straight, turned, strict=True):
        other[b.raw.slices] = b.raw_orientation.apply(raw[a.raw.slices])

    def turn(plane: np.ndarray) -> np.ndarray:
        out = np.empty_like(plane)
        for amp in turned:
            out[amp.trimmed.slices] = amp.orientation.apply(plane[amp.trimmed.slices])
        return out

    mask = made["defects"].mask(straight.box.shape)
    moved = {
        **made,
        "bias": replace(made["bias"], image=turn(made["bias"].image), variance=turn(made["bias"].variance)),
        "dark": replace(made["dark"], image=turn(made["dark"].image), variance=turn(made["dark"].variance)),
        "flat": replace(made["flat"], image=turn(made["flat"].image), variance=turn(made["flat"].variance)),
        "defects": Defects.from_mask(turn(mask)),
    }
    want, got = run(straight, raw, made, 5), run(turned, other, moved, 5)
    for name in ("image", "variance", "mask"):
        np.testing.assert_array_equal(turn(getattr(want, name)), getattr(got, name), err_msg=name)


@QUIET
@given(order=st.permutations(range(4)), seed=st.integers(0, 99))
def test_the_order_of_amplifiers_does_not_matter(order: list[int], seed: int) -> None:
    det = detector([TURNS[i] for i in (0, 1, 2, 3)])
    other = replace(det, amplifiers=tuple(det.amplifiers[i] for i in order))
    raw, made = raw_of(det, seed), products(det, seed)
    a, b = run(det, raw, made, 4), run(other, raw, made, 4)
    # The sums over sources are taken in another order: a few roundings of 4 * 1e-3 * 1.2e5 electrons.
    np.testing.assert_allclose(a.image, b.image, rtol=1e-6, atol=1e-3)
    np.testing.assert_allclose(a.variance, b.variance, rtol=1e-5, atol=1e-3)
    assert np.mean(a.mask != b.mask) < 0.01


@pytest.mark.parametrize(
    ("effect", "role", "unit", "relative", "absolute"),
    [
        # one multiplication and one division: three roundings of 2**-24
        (gain, "gain", "adu", 2e-7, 0.0),
        # Newton to 1e-8, then the rounding of image and correction
        (linearity, "linearity", "adu", 4e-7, 1e-5),
        # second order: (sum of |C|)**2 = (4e-3)**2 of 60000, and the quadratic one 2 * 3 * 1e-9 * 60000 of 4e-3 * 60000
        (crosstalk, "crosstalk", "adu", 0.0, 1.2),
        # sum and difference: a rounding each
        (bias, "bias", "electron", 2e-7, 1e-6),
        (dark, "dark", "electron", 2e-7, 1e-6),
        (flat, "flat", "electron", 4e-7, 0.0),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_removing_what_was_added_gives_the_frame_back(
    effect: Any, role: str, unit: str, relative: float, absolute: float
) -> None:
    for seed in range(5):
        det = detector([TURNS[(seed + i) % 8] for i in range(4)])
        made = products(det, seed)[role]
        raw = effect.remove_block.area != "assembled"
        shape = det.raw_box.shape if raw else det.box.shape
        image = np.exp(np.random.default_rng(seed).uniform(0, np.log(60000), shape)).astype(np.float32)
        inside = np.ones(shape, bool)
        if raw:
            inside[:] = False
            for amp in det:
                inside[amp.raw.slices] = True
        start = unit if role != "gain" else "electron"
        frame = Frame.from_arrays(image, unit=start, detector=det, raw=raw, observation=Observation(dark_time=9.0))
        added = effect.add(frame, made)
        assert np.abs(added.image.array - image)[inside].max() > 0.1, "the effect does something"
        back = effect.remove(added, made)
        np.testing.assert_allclose(back.image.array[inside], image[inside], rtol=relative, atol=absolute)
        assert back.unit == start
