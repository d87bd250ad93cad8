"""T10 and T11: the clipped combination of 50 frames against reading them, ccdproc and astropy."""

from __future__ import annotations

import os
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from fullwell.measure import combine
from fullwell.measure.rejection import Clip
from harness import Result, at_least, at_most, interleave, quietly

FRAMES, SHAPE = 50, (4096, 4096)
"""Whole frames: a file smaller than the cache is read into a warm buffer five times faster than memory allows."""
SMALL = (512, 4096)


def write(folder: Path, shape: tuple[int, int]) -> list[Path]:
    """Frames of uint16 noise with cosmic rays, one HDU each."""
    from astropy.io import fits

    rng, paths = np.random.default_rng(4), []
    noise = rng.normal(20000, 60, shape[0] * shape[1]).astype(np.uint16)
    for i in range(FRAMES):
        image = np.roll(noise, 7919 * i)
        image[rng.integers(0, image.size, image.size // 1000)] += 5000
        paths.append(folder / f"f{shape[0]}-{i:02d}.fits")
        fits.PrimaryHDU(image.reshape(shape)).writeto(paths[-1])
    return paths


def deviation() -> Clip:
    """Three rounds about the median, in standard deviations."""
    return Clip(spread="std", low=3.0, high=3.0, iterations=3)


def others(folder: Path) -> list[Result]:
    """ccdproc and astropy on a few rows, where they take seconds and not minutes."""
    import ccdproc
    from astropy import units as u
    from astropy.nddata import CCDData
    from astropy.stats import mad_std, sigma_clip

    paths = write(folder, SMALL)
    ccds = [CCDData.read(p, unit=u.adu) for p in paths]
    stack = np.stack([c.data.astype(np.float32) for c in ccds])
    mad: dict[str, Any] = {
        "sigma_clip": True, "sigma_clip_low_thresh": 5, "sigma_clip_high_thresh": 5,
        "sigma_clip_func": np.ma.median, "sigma_clip_dev_func": mad_std,
    }  # fmt: skip

    def clipped() -> np.ndarray:
        return np.ma.mean(sigma_clip(stack, sigma=3, maxiters=3, cenfunc="median", stdfunc="std", axis=0), axis=0)

    ours = combine(paths, method="clipped", clip=deviation()).image
    np.testing.assert_allclose(ours, clipped().data, rtol=2e-6)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        times = interleave(
            {
                "std": lambda: combine(paths, method="clipped", clip=deviation()),
                "mad": lambda: combine(paths, method="clipped"),
                "default": lambda: ccdproc.combine(paths, unit="adu", sigma_clip=True),
                "guide": lambda: ccdproc.combine(paths, unit="adu", method="average", **mad),
                "astropy": clipped,
            },
            3,
            0,
        )
    cpu = {name: t.cpu for name, t in times.items()}
    note = f"50 frames of {SMALL[0]} rows"
    return [
        at_least("T11 combination, speed", cpu["default"] / cpu["std"], "ccdproc.combine, clipped", 20, note),
        at_least("T11 combination, speed", cpu["guide"] / cpu["mad"], "ccdproc.combine, median and MAD", 40, note),
        at_least("T11 combination, speed", cpu["astropy"] / cpu["std"], "astropy sigma_clip in memory", 10, note),
    ]


def family() -> list[Result]:
    """The figures of this family."""
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as name:
        folder = Path(name)
        paths = write(folder, SHAPE)
        held = bytearray(paths[0].stat().st_size)

        def read() -> None:
            for path in paths:
                with open(path, "rb", buffering=0) as file:
                    file.readinto(held)

        def ours(workers: int) -> None:
            combine(paths, method="clipped", clip=deviation(), workers=workers)

        times = interleave({"read": read, "one": lambda: ours(1)}, 5, 1)

        def both() -> Result:
            two = interleave({"read": read, "two": lambda: ours(2)}, 5, 1)
            return at_most("T10 combination, two workers", two["two"].wall / two["read"].wall, "warm read() (wall)", 3)

        first = at_most("T10 combination of 50 frames", times["one"].cpu / times["read"].cpu, "warm read()", 6)
        return [first, quietly(both, 1), *others(folder)]


if __name__ == "__main__":
    from harness import table

    print(table(family()))
