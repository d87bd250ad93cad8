"""Speed and memory (S17), and stars that are measured again."""

from __future__ import annotations

import math
import time
import tracemalloc
from typing import Any

import numpy as np
import pytest

from fullwell.frames import Frame
from fullwell.frames.psf import GaussianPsf, ImagePsf
from fullwell.injection import EffectiveGain, inject

SIDE = 4096


def whole() -> tuple[Frame, EffectiveGain, ImagePsf]:
    shape = (SIDE, SIDE)
    frame = Frame.from_arrays(
        np.full(shape, 100, np.float32), np.full(shape, 125, np.float32), np.zeros(shape, np.uint32), unit="electron"
    )
    gain = EffectiveGain(np.full(shape, 1.3, np.float32), frame.box, "electron", "flat")
    return frame, gain, ImagePsf(GaussianPsf(4.0).table(half=16)[::4, ::4])


def catalog_of(n: int) -> dict[str, Any]:
    rng = np.random.default_rng(n)
    return {"x": rng.uniform(0, SIDE, n), "y": rng.uniform(0, SIDE, n), "flux": 10 ** rng.uniform(2, 5, n)}


@pytest.mark.slow
def test_s17_cost_is_linear_and_memory_small() -> None:
    frame, gain, psf = whole()
    seconds = {}
    for n in (100, 10_000, 20_000):
        columns, best = catalog_of(n), math.inf
        for _ in range(4):
            begin = time.process_time()
            inject(frame, columns, gain=gain, psf=psf)
            best = min(best, time.process_time() - begin)
        seconds[n] = best
    print(f"CPU seconds of {seconds}")
    assert seconds[20_000] - seconds[10_000] < 1.5 * (seconds[10_000] - seconds[100])
    tracemalloc.start()
    inject(frame, catalog_of(10_000), gain=gain, psf=psf)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    planes = 3 * 4 * SIDE**2
    assert peak - planes < 100e6


def measured(per_bin: int) -> list[tuple[float, float, float, float]]:
    """(flux, mean relative bias, its error, width of the pulls) of stars in eight bins, by PSF-weighted fluxes."""
    cell, psf, level, noise = 31, GaussianPsf(3.5), 60.0, 36.0
    side = math.ceil(math.sqrt(per_bin))
    n, k = side**2, 1 / 0.75
    shape = (side * cell, side * cell)
    rng = np.random.default_rng(2)
    profile = psf.table(half=cell // 2)[::4, ::4]
    profile /= profile.sum()
    weight = profile / (profile**2).sum()
    peak = profile.max()
    out = []
    for i, flux in enumerate(np.geomspace(150.0, 0.8 * 1e5 * k / peak, 8)):
        electrons = rng.poisson(level, shape) + rng.normal(0, math.sqrt(noise), shape)
        image = (k * (electrons - level)).astype(np.float32)
        variance = (k**2 * (np.maximum(electrons, 0) + noise)).astype(np.float32)
        frame = Frame.from_arrays(image, variance, np.zeros(shape, np.uint32), unit="electron")
        gain = EffectiveGain(np.full(shape, k, np.float32), frame.box, "electron", "flat")
        at = (np.arange(side) * cell + cell // 2).astype(float)
        x, y = np.meshgrid(at, at)
        columns = {"x": x.ravel(), "y": y.ravel(), "flux": np.full(n, flux)}
        done = inject(frame, columns, gain=gain, psf=psf, seed=i, saturation="none").frame
        assert done.variance is not None
        cells, errors = (
            (plane.array.reshape(side, cell, side, cell).astype(float) * w[None, :, None, :]).sum(axis=(1, 3)).ravel()
            for plane, w in ((done.image, weight), (done.variance, weight**2))
        )
        mean_error = math.sqrt(errors.mean() / n)
        pulls = (cells - flux) / np.sqrt(errors)
        out.append((flux, cells.mean() - flux, mean_error, float(pulls.std())))
    return out


def judge(rows: list[tuple[float, float, float, float]], per_bin: int) -> None:
    for flux, bias, error, width in rows:
        assert abs(bias) < 4 * error, (flux, bias, error)
        if flux / (error * math.sqrt(per_bin)) > 50 and 4 * error < 1e-3 * flux:
            assert abs(bias) < 1e-3 * flux
        assert abs(width - 1) < max(0.03, 4 / math.sqrt(2 * per_bin)), (flux, width)


def test_stars_are_measured_again_without_bias() -> None:
    judge(measured(400), 400)


@pytest.mark.slow
def test_ten_thousand_stars_in_each_of_eight_bins() -> None:
    judge(measured(10_000), 10_000)
