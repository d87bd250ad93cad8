"""Photon transfer points: a pair of flats of sixteen amplifiers from raw files to covariances, and a long series."""

from __future__ import annotations

import os
import tempfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import fullwell.effects as _effects
from fullwell.conductor import STEPS, Exposure, StepConfig, Workers
from fullwell.conductor.program import BLOCK_ROWS
from fullwell.conductor.store import ArraySource, MemorySink
from fullwell.frames import Frame, Mask, Plane
from fullwell.io.hot import MappedRaw
from fullwell.measure.ptc import ExtractConfig, measure_points
from harness import Result, at_least, at_most, informative, interleave, quietly
from scene import AMPS, HEIGHT, PRESCAN, WIDTH, Scene

__all__ = ["_effects", "family"]
LAGS, PAIRS = 9, 200
GAIN, LEVEL = 1.5, 30000.0


def flats(scene: Scene, folder: Path) -> list[Path]:
    """Two raw flats of 30 000 electron with an overscan, as files."""
    paths = []
    for k in (0, 1):
        rng = np.random.default_rng(20 + k)
        raw = rng.normal(1000, 5, (AMPS, scene.rows, 576)).astype(np.float32)
        raw[:, :HEIGHT, PRESCAN : PRESCAN + WIDTH] += rng.normal(LEVEL, np.sqrt(LEVEL), (AMPS, HEIGHT, WIDTH)) / GAIN
        one = Scene()
        one.__dict__["raw"] = np.rint(raw).astype(np.uint16)
        paths.append(folder / f"flat{k}.fits")
        one.write_raw(paths[-1])
    return paths


def loader(scene: Scene, path: Path, workers: Workers) -> Callable[[], Frame]:
    """The file, overscan subtracted per row, assembled."""
    steps: dict[str, StepConfig] = {
        "overscan_serial": STEPS["overscan_serial"].config(method="mean_per_row", clip=0.0),
        "assemble": STEPS["assemble"].config(),
    }

    def load() -> Frame:
        mapped = MappedRaw.open(path, scene.detector, ("EXPTIME",))
        blocks: ArraySource = ArraySource.of_mapped(mapped)
        exposure: Exposure = scene.exposure()
        sink = MemorySink(scene.detector, variance=False)
        scene.program(steps, blocks, BLOCK_ROWS, exposure).run(blocks, sink, exposure, workers)
        return Frame(Plane(sink.image, unit="adu"), mask=Mask(sink.mask), detector=scene.detector)

    return load


def by_transform(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float64]:
    """The covariances of one amplifier with NumPy's transforms in float64 and astropy's clip: the yardstick."""
    from astropy.stats import sigma_clipped_stats

    m1, m2 = (sigma_clipped_stats(i, sigma=5.5, maxiters=3)[0] for i in (a, b))
    d = (m2 * a - m1 * b) / ((m1 + m2) / 2)
    mean, _, sigma = sigma_clipped_stats(d, sigma=5.5, maxiters=3)
    w = (np.abs(d - mean) <= 5.5 * sigma).astype(np.float64)
    size = [2 ** (int(np.log2(n + LAGS)) + 1) for n in d.shape]
    f, g = np.fft.rfft2((d - mean) * w, size), np.fft.rfft2(w, size)
    p, m, n = (np.fft.irfft2(x, size) for x in (np.abs(f) ** 2, f * g.conj(), np.abs(g) ** 2))
    n = np.rint(n)[: LAGS + 1, : LAGS + 1]
    return np.asarray(0.5 * (p[: LAGS + 1, : LAGS + 1] / n - m[: LAGS + 1, : LAGS + 1] ** 2 / n**2))


def memory(pair: tuple[Callable[[], Frame], Callable[[], Frame]], config: ExtractConfig) -> Result:
    """Peak of the allocated memory of eight pairs over that of two: a series takes no more than a pair."""
    peaks = []
    for number in (2, 8):
        tracemalloc.start()
        measure_points((pair for _ in range(number)), config=config)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    return at_most("PTC: memory of 8 pairs", peaks[1] / peaks[0], "memory of 2 pairs", 1.02)


def family() -> list[Result]:
    """The figures of this family."""
    scene, config, workers = Scene(), ExtractConfig(lags=LAGS), Workers(1)
    out: list[Result] = []
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as name:
        one, two = (loader(scene, path, workers) for path in flats(scene, Path(name)))
        (point, *_) = measure_points([(one, two)], config=config)
        a, b = (f().amp(scene.detector.names[0]).image.array for f in (one, two))
        assert abs(by_transform(a, b)[0, 0] / point.covariance[0, 0, 0] - 1) < 1e-5

        def measure() -> Result:
            times = interleave(
                {
                    "pair": lambda: measure_points([(one, two)], config=config),
                    "NumPy": lambda: by_transform(a, b),
                },
                5,
            )
            cpu.update(pair=times["pair"].cpu, numpy=AMPS * times["NumPy"].cpu)
            return at_most(
                "T12 PTC pair of 16 amplifiers, raw files to 10 x 10 lags", cpu["pair"], "one second of CPU", 0.3
            )

        cpu: dict[str, float] = {}
        out.append(quietly(measure))
        out.append(at_least("T12 PTC pair", cpu["numpy"] / cpu["pair"], "NumPy transforms and astropy's clip", 8.0))
        note = f"extrapolated from one pair to {PAIRS}"
        out.append(informative("PTC of 200 pairs, CPU seconds over 60", PAIRS * cpu["pair"] / 60, "60 s of CPU", note))
        out.append(memory((one, two), config))
    return out
