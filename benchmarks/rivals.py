"""The same correction with numpy alone and with ccdproc: what users have today."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from scene import COLUMNS, CUBE, FULL, GAIN, NOISE, PRESCAN, SKIP, SQUARE, TIME, WIDTH, Scene


def numpy_chain(scene: Scene, raw: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The plain steps as array expressions in float32; image, variance, mask in the assembled frame."""
    raw = scene.raw if raw is None else raw
    det, h = scene.detector, scene.height
    image = np.empty(det.box.shape, np.float32)
    mask = np.zeros(det.box.shape, np.uint32)
    for amp, segment in zip(det, raw, strict=True):
        level = segment[:h, PRESCAN + WIDTH + SKIP : COLUMNS - SKIP].mean(axis=1, dtype=np.float32)
        data = segment[:h, PRESCAN : PRESCAN + WIDTH].astype(np.float32) - level[:, None]
        flag = np.where(data >= FULL, np.uint32(2), np.uint32(0))
        data *= np.float32(GAIN)
        data = data + data * data * (np.float32(SQUARE) + data * np.float32(CUBE))
        image[amp.trimmed.slices] = amp.orientation.apply(data)
        mask[amp.trimmed.slices] = amp.orientation.apply(flag)
    bias, dark, flat = (scene.products[k].image for k in ("bias", "dark", "flat"))
    image = image - bias
    charge = dark * np.float32(TIME)
    image = image - charge
    mask |= scene.bad_assembled
    variance = image + charge + np.float32(NOISE**2)
    variance = np.maximum(variance, np.float32(0.1 * NOISE**2))
    return image / flat, variance / (flat * flat), mask


def masters(scene: Scene) -> dict[str, Any]:
    """The masters as ccdproc takes them, by amplifier: in adu after the overscan, the dark as an exposure."""
    from astropy import units as u
    from astropy.nddata import CCDData

    out: dict[str, Any] = {}
    for name, unit in (("bias", "electron"), ("dark", "electron"), ("flat", "")):
        image = scene.products[name].image * (TIME if name == "dark" else 1)
        out[name] = [
            CCDData(amp.orientation.undo(image[amp.trimmed.slices]).copy(), unit=unit) for amp in scene.detector
        ]
        for ccd in out[name]:
            ccd.header["EXPTIME"] = TIME
    out["seconds"] = u.s
    return out


def ccdproc_amps(scene: Scene, made: dict[str, Any], raw: np.ndarray | None = None) -> list[Any]:
    """Overscan (mean), trim, uncertainty, gain, bias, dark, flat by amplifier; no saturation, no linearity."""
    import ccdproc
    from astropy import units as u
    from astropy.nddata import CCDData

    raw = scene.raw if raw is None else raw
    h, out = scene.height, []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for i, segment in enumerate(raw):
            ccd = CCDData(segment[:h].astype(np.float32), unit="adu", header={"EXPTIME": TIME})
            over = ccd[:, PRESCAN + WIDTH + SKIP : COLUMNS - SKIP]
            ccd = ccdproc.subtract_overscan(ccd, overscan=over, overscan_axis=1)
            ccd = ccdproc.trim_image(ccd[:, PRESCAN : PRESCAN + WIDTH])
            ccd = ccdproc.create_deviation(
                ccd, gain=GAIN * u.electron / u.adu, readnoise=NOISE * u.electron, disregard_nan=True
            )
            ccd = ccdproc.gain_correct(ccd, GAIN * u.electron / u.adu)
            ccd = ccdproc.subtract_bias(ccd, made["bias"][i])
            ccd = ccdproc.subtract_dark(ccd, made["dark"][i], exposure_time="EXPTIME", exposure_unit=u.s)
            out.append(ccdproc.flat_correct(ccd, made["flat"][i]))
    return out


def whole(scene: Scene) -> tuple[Any, dict[str, Any]]:
    """The same pixels as one frame of one amplifier, rows of eight segments with one overscan, and its masters."""
    from astropy.nddata import CCDData

    h, data = scene.height, slice(PRESCAN, PRESCAN + WIDTH)
    halves = []
    for first in (0, 8):
        parts = [scene.raw[i, :h, data] for i in range(first, first + 8)]
        halves.append(np.hstack([*parts, scene.raw[first, :h, PRESCAN + WIDTH :]]))
    image = np.vstack(halves).astype(np.float32)
    made = {}
    for name, unit in (("bias", "adu"), ("dark", "adu"), ("flat", "")):
        pixels = scene.products[name].image * (TIME if name == "dark" else 1)
        made[name] = CCDData(pixels, unit=unit, header={"EXPTIME": TIME})
    return CCDData(image, unit="adu", header={"EXPTIME": TIME}), made


def ccd_process(frame: Any, made: dict[str, Any]) -> Any:
    """ccdproc's single call, with errors, on one whole frame."""
    import ccdproc
    from astropy import units as u

    ny, nx = frame.shape
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ccdproc.ccd_process(
            frame,
            oscan=f"[{8 * WIDTH + SKIP + 1}:{nx - SKIP},1:{ny}]",
            trim=f"[1:{8 * WIDTH},1:{ny}]",
            error=True,
            gain=GAIN * u.electron / u.adu,
            readnoise=NOISE * u.electron,
            master_bias=made["bias"],
            dark_frame=made["dark"],
            master_flat=made["flat"],
            exposure_key="EXPTIME",
            exposure_unit=u.s,
            gain_corrected=False,
        )


def numpy_file(scene: Scene, source: Path, target: Path) -> None:
    """File to file with numpy and astropy, checksums written."""
    from astropy.io import fits

    with fits.open(source, memmap=False) as hdus:
        raw = np.stack([hdus[i + 1].data for i in range(len(scene.detector))])
    image, variance, mask = numpy_chain(scene, raw)
    _write(image, variance, mask, target)


def ccdproc_file(scene: Scene, made: dict[str, Any], source: Path, target: Path) -> None:
    """File to file with ccdproc and astropy, checksums written."""
    from astropy.io import fits

    with fits.open(source, memmap=False) as hdus:
        raw = np.stack([hdus[i + 1].data for i in range(len(scene.detector))])
    image, variance = (np.empty(scene.detector.box.shape, np.float32) for _ in range(2))
    for amp, ccd in zip(scene.detector, ccdproc_amps(scene, made, raw), strict=True):
        image[amp.trimmed.slices] = amp.orientation.apply(ccd.data)
        variance[amp.trimmed.slices] = amp.orientation.apply(ccd.uncertainty.array) ** 2
    _write(image, variance, scene.bad_assembled, target)


def _write(image: np.ndarray, variance: np.ndarray, mask: np.ndarray, target: Path) -> None:
    from astropy.io import fits

    target.unlink(missing_ok=True)
    planes = [("IMAGE", image), ("MASK", mask.view(np.int32)), ("VARIANCE", variance)]
    hdus = [fits.PrimaryHDU(), *(fits.ImageHDU(array, name=name) for name, array in planes)]
    fits.HDUList(hdus).writeto(target, checksum=True)
