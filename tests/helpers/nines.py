"""Many small raw frames of a camera of several detectors, written in a moment: 64 x 64 pixels, 16 of them overscan."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

LEVEL, NOISE, GAIN = 1000.0, 4.0, 1.5
"""Bias level [adu], read noise [adu], gain [electron/adu] of every detector."""

_LIGHT = {"bias": 0.0, "dark": 30.0, "flat": 20000.0, "science": 600.0}
_TIME = {"bias": 0.0, "dark": 100.0, "flat": 5.0, "science": 60.0}


def pixels(kind: str, seed: int, shape: tuple[int, int] = (64, 64)) -> NDArray[np.uint16]:
    """Counts of one exposure [adu]: the last 16 columns are overscan."""
    random = np.random.default_rng(seed)
    image = random.normal(LEVEL, NOISE, shape)
    image[:, :-16] += random.poisson(_LIGHT[kind], (shape[0], shape[1] - 16)) / GAIN
    return np.asarray(np.clip(np.rint(image), 0, 65535), np.uint16)


def _header(cards: dict[str, Any]) -> bytes:
    lines = []
    for key, value in cards.items():
        text = f"'{value:<8}'" if isinstance(value, str) else f"{'T' if value is True else value:>20}"
        lines.append(f"{key:<8}= {text}".ljust(80))
    whole = "".join([*lines, "END".ljust(80)]).encode()
    return whole + b" " * (-len(whole) % 2880)


def damage(path: Path) -> None:
    """A disk that forgets: the header of a raw file is lost, its size and time are as they were."""
    before = path.stat()
    path.write_bytes(bytes(4000) + path.read_bytes()[4000:])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def write(path: Path, image: NDArray[np.uint16], **cards: Any) -> Path:
    """A raw file of one detector as a camera would write it."""
    height, width = image.shape
    data = f"[1:{width - 16},1:{height}]"
    every = {
        "SIMPLE": True, "BITPIX": 16, "NAXIS": 2, "NAXIS1": width, "NAXIS2": height, "BZERO": 32768, "BSCALE": 1,
        "BUNIT": "adu", "DATASEC": data, "TRIMSEC": data, "BIASSEC": f"[{width - 15}:{width},1:{height}]", **cards,
    }  # fmt: skip
    stored = (image.astype(np.int32) - 32768).astype(">i2").tobytes()
    path.write_bytes(_header(every) + stored + b"\0" * (-len(stored) % 2880))
    return path


@dataclass
class Nines:
    """Writes exposures of a camera into a folder, a file for each detector, numbered in the order of time.

    Parameters
    ----------
    camera : what the headers call it. detectors : their numbers. start : time of the first exposure,
        one every two minutes.
    """

    folder: Path
    detectors: Iterable[int] = range(9)
    camera: str = "ninecam"
    start: str = "2025-01-15T00:00:00"
    shape: tuple[int, int] = (64, 64)
    count: int = field(default=0)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)

    def add(self, kind: str, number: int = 1, band: str = "g", **more: Any) -> list[Path]:
        """`number` exposures of a kind ("bias", "dark", "flat", "science")."""
        made = []
        for _ in range(number):
            self.count += 1
            begin = datetime.fromisoformat(self.start) + timedelta(minutes=2 * self.count)
            cards = {
                "INSTRUME": self.camera, "OBSID": f"{self.camera}_{begin:%Y%m%d}_{self.count:05d}",
                "SEQNUM": self.count, "IMAGETYP": kind, "EXPTIME": _TIME[kind], "DARKTIME": _TIME[kind],
                "FILTER": band, "DATE-OBS": begin.isoformat(), "TIMESYS": "TAI",
            }  # fmt: skip
            for detector in self.detectors:
                seed = int(f"{begin:%d}{self.count:05d}{detector:02d}")
                path = self.folder / f"{kind}_{self.count:05d}_{detector}.fits"
                made.append(write(path, pixels(kind, seed, self.shape), DETECTOR=detector, **(cards | more)))
        return made

    def calibrations(self, bands: Iterable[str] = ("g",)) -> Nines:
        """Four biases, three darks, and four flats of each band."""
        self.add("bias", 4)
        self.add("dark", 3)
        for band in bands:
            self.add("flat", 4, band)
        return self
