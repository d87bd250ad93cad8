"""What the benchmarks work on: 16 amplifiers of 4k x 4k with overscans, a raw frame, masters."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fullwell.cameras import Amplifier, Box, Detector, Orientation
from fullwell.conductor import STEPS, Exposure, Layout, Program, Stage, StepConfig, rows_of
from fullwell.conductor.placement import Placement
from fullwell.conductor.store import ArraySource, Source
from fullwell.frames import Observation
from fullwell.kernels import transfer
from fullwell.products import Bias, Crosstalk, Dark, Defects, Flat, Gain, Linearity, Product

COLUMNS, PRESCAN, WIDTH = 576, 3, 509
ROWS, HEIGHT = 2048, 2000
AMPS = 16
SKIP = 3
GAIN, NOISE, FULL, TIME = 1.5, 6.0, 60000.0, 30.0
SQUARE, CUBE = 1e-7, 1e-13


def detector(rows: int = ROWS, extensions: bool = True) -> Detector:
    """Two rows of eight amplifiers; the upper ones are read from the upper right corner."""
    height = rows - (ROWS - HEIGHT)
    amps = []
    for i in range(AMPS):
        top = i < AMPS // 2
        col = i if top else AMPS - 1 - i
        turn = Orientation(flip_x=top, flip_y=top)
        amps.append(
            Amplifier(
                f"C{i:02d}",
                (rows, COLUMNS),
                Box(PRESCAN, 0, WIDTH, height),
                Box(COLUMNS * col, rows * top, COLUMNS, rows),
                Box(WIDTH * col, height * top, WIDTH, height),
                Box(0, 0, PRESCAN, rows),
                Box(PRESCAN + WIDTH, 0, COLUMNS - PRESCAN - WIDTH, rows),
                Box(PRESCAN, height, WIDTH, rows - height),
                turn,
                turn,
                hdu=i + 1 if extensions else None,
                gain=GAIN,
                read_noise=NOISE,
                saturation=FULL,
            )
        )
    return Detector("bench", 0, tuple(amps))


@dataclass
class Scene:
    """A raw frame and its masters, made once per run; `rows` of a segment fewer for slow yardsticks."""

    rows: int = ROWS

    @cached_property
    def detector(self) -> Detector:
        return detector(self.rows)

    @property
    def height(self) -> int:
        return self.rows - (ROWS - HEIGHT)

    @cached_property
    def raw(self) -> NDArray[np.uint16]:
        """(16, rows, columns) in read-out order: sky, stars, level and noise."""
        rng = np.random.default_rng(1)
        out = rng.normal(1000, 5, (AMPS, self.rows, COLUMNS)).astype(np.float32)
        data = out[:, : self.height, PRESCAN : PRESCAN + WIDTH]
        data += rng.normal(800, 30, data.shape)
        data.reshape(-1)[rng.integers(0, data.size, data.size // 2000)] += 20000
        return out.astype(np.uint16)

    @cached_property
    def stored(self) -> NDArray[np.uint16]:
        """The raw as it stands in a FITS file: big-endian with BZERO 32768."""
        return (self.raw ^ np.uint16(0x8000)).astype(">u2").view(np.uint16)

    @cached_property
    def products(self) -> dict[str, Product]:
        """Masters of the electronics and the sensor."""
        rng = np.random.default_rng(2)
        shape, names = self.detector.box.shape, self.detector.names
        bad = np.zeros(shape, bool)
        bad.reshape(-1)[rng.integers(0, bad.size, 2000)] = True
        f4 = np.float32
        return {
            "bias": Bias(image=rng.normal(0, 1, shape).astype(f4), unit="electron", id="bias"),
            "dark": Dark(image=rng.normal(0.1, 0.01, shape).astype(f4), unit="electron", id="dark"),
            "flat": Flat(image=rng.normal(1, 0.01, shape).astype(f4), id="flat"),
            "defects": Defects.from_mask(bad, id="defects"),
            "gain": Gain.of_detector(self.detector),
            "linearity": Linearity(
                amps=names,
                models=("Polynomial",) * AMPS,
                coefficients=tuple(np.array([SQUARE * GAIN, CUBE * GAIN**2]) for _ in names),
                id="linearity",
            ),
            "crosstalk": Crosstalk(amps=names, coefficients=rng.normal(0, 1e-4, (AMPS, AMPS)), unit="electron"),
        }

    def exposure(self) -> Exposure:
        """What all blocks of the frame share."""
        det = self.detector
        return Exposure(
            det, Observation(), gain=det.values("gain"), read_noise=det.values("read_noise"), dark_time=TIME, seed=7
        )

    def source(self) -> ArraySource:
        """The stored raw as blocks."""
        size, n = self.rows * COLUMNS, AMPS
        place = Placement(
            (self.rows * n, COLUMNS), np.arange(n) * size, np.full(n, COLUMNS), np.ones(n, np.int64),
            np.full(n, self.rows),
        )  # fmt: skip
        return ArraySource(self.stored.reshape(-1), place, transfer.SWAP16U)

    @cached_property
    def digested(self) -> dict[str, Any]:
        """Masters in read-out order, by step."""
        layout, out = Layout(self.detector, "data"), {}
        for name, product in self.products.items():
            make = STEPS[name].digest
            exposure = replace(self.exposure(), unit="electron")
            out[name] = make(product, layout, exposure) if make is not None else product
        out["overscan_parallel"] = out["saturation"] = self.products["gain"]
        return out

    @cached_property
    def bad_assembled(self) -> NDArray[np.uint32]:
        """Defects in the assembled image, 0 or 1."""
        defects = self.products["defects"]
        assert isinstance(defects, Defects)
        return defects.mask(self.detector.box.shape).astype(np.uint32)

    @cached_property
    def bad(self) -> NDArray[np.uint8]:
        """Defects in read-out order, 0 or 1."""
        return rows_of(self.bad_assembled.astype(np.uint8), Layout(self.detector, "data"))

    def program(self, steps: dict[str, StepConfig], source: Source, rows: int, exposure: Exposure) -> Program:
        """The steps made ready for this frame, in blocks of `rows`."""
        stages = [Stage(STEPS[name], cfg) for name, cfg in steps.items()]
        program = Program(stages, Layout(self.detector), rows)
        program.prepare(source, exposure, self.digested)
        return program

    def write_raw(self, path: Path) -> None:
        """The raw as a FITS file of one HDU per amplifier, with a header of ordinary length."""
        from astropy.io import fits

        primary = fits.PrimaryHDU()
        for key, value in {"INSTRUME": "bench", "EXPTIME": TIME, "DARKTIME": TIME, "IMAGETYP": "object"}.items():
            primary.header[key] = value
        hdus = [primary]
        for amp, segment in zip(self.detector, self.raw, strict=True):
            hdu = fits.ImageHDU(segment, name=f"Segment{amp.name}")
            for i in range(90):
                hdu.header[f"KEY{i}"] = (i * 1.5, "a value of the read-out electronics")
            hdus.append(hdu)
        fits.HDUList(hdus).writeto(path, overwrite=True)
