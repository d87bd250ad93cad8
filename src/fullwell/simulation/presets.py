"""Sensors that need no description: `sensor_of("demo")`, `sensor_of("lsst-e2v")` …

ideal       one amplifier of 256 x 256 without any fixed pattern: response 1, no dark, no bias pattern.
guide       one amplifier, the effects of the CCD data reduction guide: bad columns, dark with hot pixels,
            vignetting and dust.
demo        the small camera of four amplifiers read at the four corners.
ptc         the small camera with the brighter-fatter effect and a full well below the end of its converter.
ptc-16      16 amplifiers of 256 x 256 with overscan, alike but for gain, noise and a00, nothing but photon transfer:
            no dark, no pattern, response 1; the numbers of the photon-transfer note A.3.
lsst-e2v    16 amplifiers of 2002 x 512, 18 bits, detector R22_S11 of the instrument lsstcam;
            typical numbers of an e2v sensor of the LSST camera.
lsst-itl    16 amplifiers of 2000 x 509, R02_S11, the same for an ITL sensor.
lsst-comcam the same sensor in LSSTComCam, R22_S00 unless another of its nine is given; its files have the headers of
            the real camera, which the instrument lsstcomcam reads.
References  photon-transfer note 10.2 (gains, noise and turnoffs of both vendors).
"""

from __future__ import annotations

import math
from typing import Any

from fullwell.base.errors import UsageError
from fullwell.cameras import Amplifier, Box, Detector, Orientation
from fullwell.simulation.sensor import SensorConfig, SensorModel

__all__ = ["PRESETS", "grid_detector", "sensor_of"]

IDEAL: dict[str, Any] = {
    "spread": 0.0,
    "level_spread": 0.0,
    "level_drift": 0.0,
    "ramp_exponential": 0.0,
    "ramp_linear": 0.0,
    "bias_pattern": 0.0,
    "bias_columns": 0,
    "dark_rate": 0.0,
    "hot_fraction": 0.0,
    "vignetting": 0.0,
    "prnu": 0.0,
    "dust": 0,
    "rings": 0.0,
    "dead_pixels": 0,
    "dead_columns": 0,
    "bright_columns": 0,
    "full_well": 0.0,
    "cosmic_rays": 0.0,
}
RUBIN: dict[str, Any] = {
    "level": 24000.0,
    "level_spread": 1500.0,
    "level_drift": 2.0,
    "ramp_exponential": 20.0,
    "ramp_linear": 6.0,
    "ramp_rows": 150.0,
    "parallel_pattern": 2.0,
    "dark_rate": 0.02,
    "hot_fraction": 2e-5,
    "hot_rate": 10.0,
    "vignetting": 0.05,
    "prnu": 0.006,
    "dust": 8,
    "dead_pixels": 200,
    "dead_columns": 3,
    "bright_columns": 3,
    "nonlinearity": 0.004,
    "crosstalk": 3e-4,
    "bits": 18,
    "cosmic_rays": 0.012,
}


def grid_detector(
    columns: int,
    rows: int,
    data: tuple[int, int],
    *,
    prescan: int = 0,
    serial: int = 0,
    parallel: int = 0,
    name: str = "S00",
    gain: float = math.nan,
    read_noise: float = math.nan,
    saturation: float = math.nan,
    suspect: float = math.nan,
) -> Detector:
    """A sensor of `columns` x `rows` (1 or 2) equal amplifiers, one raw image.

    Parameters
    ----------
    data : (rows, columns) of data pixels of each amplifier.
    prescan, serial : columns before and after the data; parallel : rows after the data.
    gain, read_noise, saturation, suspect : of all amplifiers, NaN where the description states none.

    With two rows the upper amplifiers are read at the top. In a row of amplifiers the right half is read from
    the right when there are two of them, so that four amplifiers are read at the four corners.
    """
    if columns < 1 or rows not in (1, 2):
        raise UsageError(f"{columns} x {rows} amplifiers cannot be laid out", remedy="one or two rows of amplifiers")
    ny, nx = data
    shape = (ny + parallel, prescan + nx + serial)
    amps = []
    for j in range(rows):
        for i in range(columns):
            turn = Orientation(flip_x=columns == 2 and i == 1, flip_y=j == 1)
            amps.append(
                Amplifier(
                    f"C{j}{i}",
                    shape,
                    Box(prescan, 0, nx, ny),
                    Box(i * shape[1], j * shape[0], shape[1], shape[0]),
                    Box(i * nx, j * ny, nx, ny),
                    prescan=Box(0, 0, prescan, shape[0]),
                    serial_overscan=Box(prescan + nx, 0, serial, shape[0]),
                    parallel_overscan=Box(prescan, ny, nx, parallel),
                    raw_orientation=turn,
                    orientation=turn,
                    gain=gain,
                    read_noise=read_noise,
                    saturation=saturation,
                    suspect=suspect,
                )
            )
    return Detector(name, 0, tuple(amps))


def _rubin(name: str, gain: float, noise: float, full_well: float, camera_name: str = "lsstcam") -> Detector:
    from fullwell import instruments

    camera = instruments.get(camera_name).camera
    assert camera is not None
    detector = camera[name]
    values = {"gain": gain, "read_noise": noise, "saturation": full_well / gain}
    return detector.with_values(**{k: dict.fromkeys(detector.names, v) for k, v in values.items()})


def _detector(name: str) -> Detector:
    if name == "lsst-e2v":
        return _rubin("R22_S11", 1.48, 5.3, 133000.0)
    if name == "lsst-itl":
        return _rubin("R02_S11", 1.68, 6.3, 129000.0)
    if name == "lsst-comcam":
        return _rubin("R22_S00", 1.68, 6.3, 129000.0, "lsstcomcam")
    if name == "ptc-16":
        return grid_detector(8, 2, (256, 256), prescan=8, serial=32, parallel=16)
    if name in ("demo", "ptc"):
        from fullwell import instruments

        camera = instruments.get("demo").camera
        assert camera is not None
        return camera.detectors[0]
    return grid_detector(1, 1, (256, 256), serial=32)


def _cards(name: str, detector: Detector) -> dict[str, Any]:
    """Header cards by which the files of the preset's camera are recognised."""
    if name in ("demo", "ptc"):
        return {"INSTRUME": "demo"}
    if not name.startswith("lsst"):
        return {"INSTRUME": "simulated"}
    raft, _, slot = detector.name.partition("_")
    if name == "lsst-comcam":
        return {
            "INSTRUME": "LSSTComCam",
            "TELESCOP": "LSST",
            "TELCODE": "CC",
            "CONTRLLR": "O",
            "RAFTBAY": raft,
            "CCDSLOT": slot,
            "CCD_MANU": detector.physical_type,
            "CCD_TYPE": "3800C",
            "DETSIZE": f"[1:{detector.box.width},1:{detector.box.height}]",
        }
    return {
        "INSTRUME": "LSSTCamSim",
        "RAFTBAY": raft,
        "CCDSLOT": slot,
        "CCD_MANU": detector.physical_type,
        "CONTRLLR": "S",
    }


PRESETS: dict[str, dict[str, Any]] = {
    "ideal": IDEAL,
    "guide": {"bias_columns": 5, "bias_column_step": 80.0, "hot_fraction": 1e-4, "hot_rate": 500.0, "dust": 40},
    "demo": {"crosstalk": 2e-4, "full_well": 120000.0, "hot_fraction": 2e-4, "spread": 0.1},
    "ptc": {"crosstalk": 2e-4, "full_well": 65000.0, "spread": 0.05, "a00": -2.7e-6, "a_spread": 0.04},
    "ptc-16": {**IDEAL, "gain": 0.77, "read_noise": 5.2, "bits": 18, "spread": 0.06, "a00": -2.7e-6, "a_spread": 0.06},
    "lsst-e2v": {**RUBIN, "full_well": 133000.0},
    "lsst-itl": {**RUBIN, "full_well": 129000.0},
    "lsst-comcam": {**RUBIN, "full_well": 129000.0},
}
"""Settings by name of the preset; what is not stated is the default of `SensorConfig`."""


def sensor_of(name: str, seed: int = 0, *, detector: Detector | None = None, **changes: Any) -> SensorModel:
    """The sensor `name`, drawn with `seed`; `detector` replaces its geometry, `changes` its settings.

    The files of another geometry are those of no camera, except for the other sensors of "lsst-comcam".

    Raises
    ------
    UsageError
        there is no such preset.
    ConfigError
        an unknown setting.
    """
    if name not in PRESETS:
        raise UsageError(f"there is no sensor preset '{name}'", remedy=f"presets: {', '.join(PRESETS)}")
    from fullwell.base.config import load

    config = load(SensorConfig, {**PRESETS[name], **changes}, where=f"preset {name}")
    geometry = detector or _detector(name)
    own = detector is None or (name == "lsst-comcam" and _is_comcam(detector))
    return SensorModel.make(geometry, seed, config, cards=_cards(name, geometry) if own else {})


def _is_comcam(detector: Detector) -> bool:
    from fullwell import instruments

    return detector.name in {one.name for one in instruments.get("lsstcomcam").camera or ()}
