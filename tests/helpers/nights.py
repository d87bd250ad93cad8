"""Small made-up nights: raw files of simulated sensors of a few thousand pixels, as a camera would write them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fullwell import io
from fullwell.cameras import Detector
from fullwell.simulation import (
    BiasScene,
    DarkScene,
    FlatScene,
    Scene,
    ScienceScene,
    SensorModel,
    grid_detector,
    sensor_of,
    simulate,
)

STARLESS: dict[str, Any] = {"stars": ()}


def in_hdus(detector: Detector) -> Detector:
    """The same detector with one HDU per amplifier."""
    amps = tuple(replace(amp, hdu=i + 1) for i, amp in enumerate(detector))
    return Detector(detector.name, detector.id, amps)


def sensor(detector: Detector | None = None, *, seed: int = 3, **changes: Any) -> SensorModel:
    """An ideal sensor of 48 x 64 pixels with 16 columns of overscan: gain 1.5 e-/adu, noise 6 e-, level 1000 adu."""
    detector = detector or grid_detector(1, 1, (48, 64), serial=16)
    return sensor_of("ideal", seed, detector=detector, **{"gain": 1.5, "read_noise": 6.0, **changes})


@dataclass
class Night:
    """Writes raw files into `folder`, numbered in the order of time.

    Parameters
    ----------
    cards : put into every header; a value None removes the card.
    sections : whether the header says where data and overscan are (one amplifier in one HDU).
    """

    folder: Path
    sensor: SensorModel = field(default_factory=sensor)
    sections: bool = True
    cards: Mapping[str, Any] = field(default_factory=dict)
    count: int = 0

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)

    def add(
        self, name: str, scene: Scene, n: int = 1, *, sensor: SensorModel | None = None, **cards: Any
    ) -> list[Path]:
        """`n` exposures of `scene`, as ``name_0001.fits`` …"""
        made, sensor = [], sensor or self.sensor
        for _ in range(n):
            self.count += 1
            frame = simulate(scene, sensor, seed=1000 + self.count, workers=1).frame
            moment = f"2025-01-15T{self.count // 60:02d}:{self.count % 60:02d}:00.000"
            every = {"DATE-OBS": moment, "SEQNUM": self.count, "OBSID": f"made_{self.count:04d}"}
            if self.sections and len(sensor.detector) == 1:
                every |= sections(sensor.detector)
            for key, value in {**every, **self.cards, **{k.replace("_", "-"): v for k, v in cards.items()}}.items():
                frame.metadata[key] = value
                if value is None:
                    del frame.metadata[key]
            path = self.folder / f"{name}_{self.count:04d}.fits"
            io.write_raw(frame, path)
            made.append(path)
        return made

    def bias(self, n: int = 4, **cards: Any) -> list[Path]:
        """Bias frames."""
        return self.add("bias", BiasScene(), n, **cards)

    def dark(self, n: int = 3, time: float = 100.0, **cards: Any) -> list[Path]:
        """Darks of `time` seconds."""
        return self.add("dark", DarkScene(time=time), n, **cards)

    def flat(self, band: str = "g", n: int = 4, level: float = 20000.0, **cards: Any) -> list[Path]:
        """Flats of `level` electrons."""
        return self.add(f"flat_{band}", FlatScene(level=level, band=band, time=5.0), n, **cards)

    def science(self, band: str = "g", n: int = 1, sky: float = 10.0, **cards: Any) -> list[Path]:
        """Exposures of 60 s of an empty sky of `sky` electron/s."""
        scene = ScienceScene(sky=sky, band=band, time=60.0, **STARLESS)
        return self.add(f"sky_{band}", scene, n, **cards)

    def all(self, bands: Iterable[str] = ("g",), **cards: Any) -> Night:
        """Four biases, three darks, four flats and one science frame of each band."""
        self.bias(**cards)
        self.dark(**cards)
        for band in bands:
            self.flat(band, **cards)
        for band in bands:
            self.science(band, **cards)
        return self


def sections(detector: Detector) -> dict[str, str]:
    """DATASEC, TRIMSEC and BIASSEC of a detector of one amplifier without flips."""
    (amp,) = detector
    data, over = amp.data, amp.serial_overscan
    cards = {"DATASEC": f"[{data.x0 + 1}:{data.x1},{data.y0 + 1}:{data.y1}]"}
    cards["TRIMSEC"] = cards["DATASEC"]
    if over.area:
        cards["BIASSEC"] = f"[{over.x0 + 1}:{over.x1},{over.y0 + 1}:{over.y1}]"
    return cards


def pixels(path: Path) -> dict[str, bytes]:
    """HDU -> the bytes of its data as stored in the file."""
    from astropy.io import fits

    out = {}
    with fits.open(path, memmap=False, disable_image_compression=True, do_not_scale_image_data=True) as hdus:
        for i, hdu in enumerate(hdus):
            out[f"{i} {hdu.name}"] = b"" if hdu.data is None else hdu.data.tobytes()
    return out


def listing(folder: Path) -> dict[str, tuple[int, int]]:
    """File -> (size, time of change in ns), of everything below `folder`."""
    return {str(p.relative_to(folder)): (p.stat().st_size, p.stat().st_mtime_ns) for p in sorted(folder.rglob("*"))}
