"""The terms of the variance of a corrected frame, pixel by pixel, in the unit of its variance.

Model        with K the unit per collected electron and b what was taken off after the variance was made,

                 V = K (I + b) + K^2 (r^2 + rows + t D + t^2 V_dark + f V_bias) + phi^2 (I + b)^2
                     + K^2 (s^2 - 1)(r^2 + rows):

             light (sky and signal), read noise, quantisation and overscan (rows), shot noise of the dark charge, the
             errors of the masters, and what the slope s of the linearity correction does to the noise.
Kept         a frame reduced with the parts kept says each of them; the quantisation is taken out of the overscan's
             by the settings of the dither.
Recomputed   otherwise from the products that were used; the overscan's from the noise that its record states, the same
             in all rows of an amplifier.
References   reference ISR, section 3; injection note A.3.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fullwell.base.errors import DataError, UnitError
from fullwell.frames import Frame
from fullwell.measure.noise_products import part_of, plane_of, where_of
from fullwell.products import Bias, Dark, Flat, Gain, Linearity, Product, Ptc

__all__ = ["Law", "kept_terms", "law_of", "recomputed_terms"]

F8 = NDArray[np.float64]
PER_ROW = {"median_per_row": math.pi / 2, "mean_per_row": 1.0}
"""Variance of the level of a row times the pixels used, in units of theirs."""


@dataclass(frozen=True)
class Law:
    """What ties the planes of a frame to electrons.

    Parameters
    ----------
    k : (ny, nx) [unit/electron], NaN where it is not known. gain : (ny, nx) [electron/adu], NaN where unknown.
    read_noise : (ny, nx) [electron], 0 where it is not in the variance. background : b [unit].
    """

    k: F8
    gain: F8
    read_noise: F8
    background: F8


def law_of(frame: Frame, products: Mapping[str, Product]) -> Law:
    """K, gain and read noise of each pixel: of the flat that was divided out, or of the kept part of the read noise.

    Raises
    ------
    UnitError
        the image is in neither adu nor electron, and no photometric scale is known.
    """
    gain = by_amp(frame, gains_of(frame, products), math.nan)
    noise = by_amp(frame, _stated(frame, "variance", "read_noise"), 0.0)
    flat, kept = products.get("flat"), frame.components.get("read_noise")
    if kept is not None and (noise > 0).any():
        with np.errstate(divide="ignore", invalid="ignore"):
            k = np.sqrt(kept.array.astype(np.float64)) / noise
    else:
        k = np.full(frame.shape, _scale(frame))
        if frame.unit == "adu" or (frame.gain_map is not None and frame.gain_map.gain):
            k = k / gain
        if isinstance(flat, Flat):
            response = np.asarray(flat.image[part_of(flat, frame)], np.float64)
            k = k / np.where(response > 0, response, np.nan)
        elif any(r.step == "flat" and r.state == "done" for r in frame.history):
            k[:] = np.nan
    k[~np.isfinite(k)] = np.nan
    return Law(k, gain, noise, _background(frame))


def _background(frame: Frame) -> F8:
    """[unit] b of each pixel: a number, plane, array or function of (x, y) that the frame carries; 0 for none."""
    found = 0.0 if frame.background is None else frame.background
    if callable(found):
        x, y = np.meshgrid(np.arange(frame.box.x0, frame.box.x1), np.arange(frame.box.y0, frame.box.y1))
        found = found(x, y)
    return np.broadcast_to(np.asarray(getattr(found, "array", found), np.float64), frame.shape)


def _scale(frame: Frame) -> float:
    """Unit per flat-corrected electron (or adu)."""
    if frame.unit in ("adu", "electron"):
        return 1.0
    scale = frame.gain_map.scale if frame.gain_map is not None else 1.0
    if scale == 1.0 and isinstance(frame.photo_calib, (int, float)):
        scale = float(frame.photo_calib)
    if scale == 1.0:
        raise UnitError(
            f"the frame is in {frame.unit!r}, and nothing says how many {frame.unit} an electron became",
            where=where_of(frame),
            remedy="take the frame as the reduction left it, in electron",
        )
    return float(scale)


def _stated(frame: Frame, step: str, key: str) -> dict[str, float]:
    record = frame.last(step)
    found = record.numbers.get(key) if record is not None else None
    return {k: float(v) for k, v in (found or {}).items() if v is not None}


def gains_of(frame: Frame, products: Mapping[str, Product]) -> dict[str, float]:
    """Gain by amplifier [electron/adu]: of the history, of the gain map, or of the product."""
    stated = _stated(frame, "gain", "gain") or dict(frame.gain_map.gain if frame.gain_map else {})
    product = products.get("gain", products.get("ptc"))
    if not stated and isinstance(product, (Gain, Ptc)):
        stated = dict(zip(product.amps, map(float, product.gain), strict=True))
    return stated


def by_amp(frame: Frame, values: Mapping[str, float], fill: float) -> F8:
    """(ny, nx) plane of one number per amplifier, `fill` where there is none."""
    out = np.full(frame.shape, fill)
    for name, value in values.items():
        if frame.detector is not None and name in frame.detector.names:
            out[amp_slices(frame, name)] = value
        elif frame.detector is None and len(values) == 1:
            out[:] = value
    return out


def amp_slices(frame: Frame, name: str) -> tuple[slice, slice]:
    """The pixels of an amplifier in the frame."""
    assert frame.detector is not None
    return frame.detector[name].trimmed.intersection(frame.box).shifted(-frame.box.x0, -frame.box.y0).slices


def kept_terms(frame: Frame, law: Law) -> dict[str, F8]:
    """Name -> plane of the parts that the frame kept; "light" is what is of the counts of the pixels."""
    parts = {name: plane.array.astype(np.float64) for name, plane in frame.components.items()}
    out = {"light": parts.pop("poisson", np.zeros(frame.shape))}
    rows = sum((parts.pop(name) for name in sorted(parts) if name.startswith("overscan")), np.zeros(frame.shape))
    quantisation = np.nan_to_num(law.k**2 * _quantisation(frame, law))
    out["quantisation"] = np.minimum(quantisation, rows)
    out["overscan"] = rows - out["quantisation"]
    names = {"bias": "bias_frame"}
    out.update({names.get(name, name): plane for name, plane in parts.items()})
    return out


def _quantisation(frame: Frame, law: Law) -> F8:
    """[electron**2] rounding and dither, as the record of the dither counts them."""
    record = frame.last("dither")
    done = record is not None and record.state == "done"
    return float(record.numbers.get("variance", 0.0)) * law.gain**2 if record is not None and done else 0 * law.gain


def recomputed_terms(frame: Frame, law: Law, products: Mapping[str, Product]) -> tuple[dict[str, F8], list[str]]:
    """(name -> plane, sentences on what could not be recomputed).

    Raises
    ------
    DataError
        the unit per electron is known of no pixel.
    """
    if not np.isfinite(law.k).any():
        raise DataError(
            "nothing says how many electrons a pixel holds: no kept parts, no flat and gains that were used",
            where=where_of(frame),
            remedy="reduce the frame with --variance-components, or give --repo, or --flat and --gain",
        )
    signal = frame.image.array.astype(np.float64) + law.background
    square, notes = law.k**2, []
    out = {"light": law.k * signal * _counted(frame), "read_noise": square * law.read_noise**2}
    rows = _quantisation(frame, law), _overscan(frame, law)
    out["quantisation"], out["overscan"] = square * np.nan_to_num(rows[0]), square * np.nan_to_num(rows[1])
    if _settings(frame, "overscan_serial") and not np.nan_to_num(rows[1]).any():
        notes.append("the error of the overscan is not recomputed: its method is no level of single rows")
    charge = _dark(frame, law, products, out)
    bias = products.get("bias")
    if isinstance(bias, Bias) and _settings(frame, "bias").get("propagate_variance", True):
        found = plane_of(bias, frame, "variance")
        if found is not None:
            out["bias_frame"] = square * _electrons(found, bias.unit, law, 2) * _bias_factor(frame, bias, products)
        charge = charge + _electrons(_plane(bias, frame), bias.unit, law, 1)
    flat = products.get("flat")
    if isinstance(flat, Flat) and _settings(frame, "flat").get("propagate_variance", True):
        found = plane_of(flat, frame, "variance")
        if found is not None:
            out["flat"] = signal**2 * found / _plane(flat, frame) ** 2
    linear, record = products.get("linearity"), frame.last("linearity")
    if isinstance(linear, Linearity) and record is not None and record.numbers.get("slope_in_variance", True):
        before = signal / law.k + charge
        noise = law.read_noise**2 + np.nan_to_num(rows[0]) + np.nan_to_num(rows[1])
        out["linearity"] = square * (_slope(frame, linear, before / law.gain) ** 2 - 1) * noise
    return out, notes


def _plane(product: Any, frame: Frame) -> F8:
    found = plane_of(product, frame)
    assert found is not None
    return found


def _counted(frame: Frame) -> float:
    return float(_settings(frame, "variance").get("poisson", True))


def _settings(frame: Frame, step: str) -> Mapping[str, Any]:
    record = frame.last(step)
    return record.config if record is not None and record.state == "done" else {}


def _electrons(values: F8, unit: str, law: Law, power: int) -> F8:
    """Values of a product in adu (per second, squared …) as electrons."""
    return values if unit.startswith("electron") else values * law.gain**power


def _dark(frame: Frame, law: Law, products: Mapping[str, Product], out: dict[str, F8]) -> F8:
    """Put in the terms of the dark; [electron] the dark charge."""
    dark, settings = products.get("dark"), _settings(frame, "dark")
    if not isinstance(dark, Dark):
        return np.zeros(frame.shape)
    time = frame.observation.collecting_time
    charge = _electrons(_plane(dark, frame), dark.unit, law, 1) * time
    if settings.get("shot_noise", True):
        out["dark"] = law.k**2 * charge
    found = plane_of(dark, frame, "variance")
    if found is not None and settings.get("propagate_variance", True):
        out["dark_frame"] = law.k**2 * _electrons(found, dark.unit, law, 2) * time**2
    return charge


def _bias_factor(frame: Frame, bias: Bias, products: Mapping[str, Product]) -> float:
    """How often the variance of the bias counts: less than once where the dark was made with the same bias."""
    dark = products.get("dark")
    if (
        not isinstance(dark, Dark)
        or dark.variance is None
        or not _settings(frame, "dark").get("propagate_variance", True)
    ):
        return 1.0
    same = dark.statistics.get("bias", "") == bias.id.split("[")[0]
    share = float(dark.statistics.get("bias_share", 0.0)) if same else 0.0
    return 1.0 - 2.0 * frame.observation.collecting_time * share


def _overscan(frame: Frame, law: Law) -> F8:
    """[electron**2] error of the level of a row, from the recorded noise and the columns used; 0 for other methods."""
    record, settings = frame.last("overscan_serial"), _settings(frame, "overscan_serial")
    factor = PER_ROW.get(str(settings.get("method", "")), 0.0)
    if record is None or frame.detector is None or not factor:
        return np.zeros(frame.shape)
    if settings.get("method") == "mean_per_row":
        from fullwell.effects.overscan_numbers import mean_factor

        factor = mean_factor(float(settings.get("clip", 0.0)))
    skip = int(settings.get("skip_leading", 0)) + int(settings.get("skip_trailing", 0))
    values = {
        name: factor * noise**2 / max(frame.detector[name].serial_overscan.width - skip, 1)
        for name, noise in _stated(frame, "overscan_serial", "noise").items()
    }
    return by_amp(frame, values, 0.0) * law.gain**2


def _slope(frame: Frame, product: Linearity, corrected: F8) -> F8:
    """dL/dv of the correction at the corrected counts [adu]."""
    from fullwell.conductor import Exposure, Layout
    from fullwell.effects import linearity

    slope = np.ones(frame.shape)
    if frame.detector is None:
        return slope
    n = len(frame.detector)
    curves = linearity.digest(product, Layout(frame.detector, "data"), Exposure(frame.detector))
    counts = np.concatenate((np.linspace(-1000, -1, 20), [0.0], np.geomspace(1, 4e5, 2000))).astype(np.float32)
    image = np.tile(counts, n)[None, :]
    start, width, one = np.arange(n) * counts.size, np.full(n, counts.size), np.ones(n, np.float32)
    slopes = np.ones_like(image)
    for curve in curves.curves:
        where = start[curve.index], width[curve.index], one[curve.index]
        curve.slopes(image, *where, slopes)
        curve.correct(image, *where)
    for a, name in enumerate(frame.detector.names):
        at, one_amp = amp_slices(frame, name), slice(a * counts.size, (a + 1) * counts.size)
        slope[at] = np.interp(corrected[at], image[0, one_amp], slopes[0, one_amp])
    return slope
