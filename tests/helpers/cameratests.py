"""Camera tests with a known truth: levels and stacks of images in memory, behind names of files that do not exist."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from fullwell.io import CameraTest
from fullwell.io.cameratest import TestLevel


@dataclass(frozen=True)
class Truth:
    """A camera: photons to DN.

    Parameters
    ----------
    eta : electrons per photon; k [DN/electron]; noise [electron]; offset [DN]; dark [electron/s].
    a00 [1/electron] : variance of m electrons is (exp(2 a00 m) - 1) / (2 a00).
    prnu, dsnu : (rows, columns, pixels), of 1 and in electrons. white_level [DN] : clips there.
    """

    eta: float = 0.5
    k: float = 0.3
    noise: float = 8.0
    offset: float = 30.0
    dark: float = 20.0
    a00: float = 0.0
    prnu: tuple[float, float, float] = (0.004, 0.003, 0.006)
    dsnu: tuple[float, float, float] = (2.0, 1.0, 3.0)
    white_level: float = 4095.0


@dataclass
class Camera:
    """Images of a camera with `truth`, drawn when a file is loaded, the same for the same name."""

    truth: Truth = field(default_factory=Truth)
    seed: int = 1
    shape: tuple[int, int] = (96, 112)
    levels: int = 24
    highest: float = 32000.0
    images: int = 20
    rate: float = 3.2e6

    def __post_init__(self) -> None:
        rng = np.random.default_rng([self.seed, 0])
        self.response = 1 + self._pattern(rng, self.truth.prnu)
        self.fixed = self._pattern(rng, self.truth.dsnu)

    def _pattern(self, rng: np.random.Generator, sizes: tuple[float, float, float]) -> np.ndarray:
        m, n = self.shape
        row, column, pixel = sizes
        out = row * rng.standard_normal((m, 1)) + column * rng.standard_normal(n) + pixel * rng.standard_normal((m, n))
        return out - out.mean()

    def test(self) -> CameraTest:
        """The series; files are named KIND/LEVEL/NUMBER."""
        photons = np.linspace(0.01, 1, self.levels) * self.highest

        def level(kind: str, light: float, name: int, count: int) -> TestLevel:
            files = tuple(Path(f"{kind}/{name}/{i}") for i in range(count))
            return TestLevel(light / self.rate, light if kind == "b" else 0.0, files)

        half = float(photons[self.levels // 2])
        self.light = {("b", i): p for i, p in enumerate(photons)} | {("b", 999): half}
        return CameraTest(
            bright=tuple(level("b", p, i, 2) for i, p in enumerate(photons)),
            dark=tuple(level("d", p, i, 2) for i, p in enumerate(photons)),
            bright_stack=level("b", half, 999, self.images),
            dark_stack=level("d", half, 999, self.images),
            source="simulated",
        )

    def load(self, path: Path) -> np.ndarray:
        """One image [DN], in whole numbers."""
        t = self.truth
        kind, level, number = path.parts
        rng = np.random.default_rng([self.seed, 1 + (kind == "b"), int(level), int(number)])
        light = self.light["b", int(level)]
        charge = np.full(self.shape, t.dark * light / self.rate)
        if kind == "b":
            charge += t.eta * light * self.response
        variance = charge if t.a00 == 0 else np.expm1(2 * t.a00 * charge) / (2 * t.a00)
        electrons = charge + np.sqrt(variance) * rng.standard_normal(self.shape)
        electrons += self.fixed + t.noise * rng.standard_normal(self.shape)
        return np.clip(np.rint(t.offset + t.k * electrons), 0, t.white_level)
