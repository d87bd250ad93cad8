"""K from what was applied: the flat that was divided out, the gains, the photometric scale.

Model        K = c / F for a frame that was in electron when the flat was divided out, c / (g F) for one in adu, with
             c the calibrated unit per flat-corrected electron (or adu). Exact where F and c are those that were used.
Which flat   the header names it (``LSST CALIB UUID FLAT``), the gain map of a frame too; a repository gives it by that
             id. One that is given by hand must be that one, or at least of the same detector and filter.
References   injection note A.3, A.4 (1).
"""

from __future__ import annotations

import math
import os
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fullwell.base.errors import DataError, GeometryError, MissingProduct, UnitError, UsageError
from fullwell.cameras import Box
from fullwell.frames import Frame, Plane
from fullwell.injection.effective_gain import Convention, EffectiveGain
from fullwell.products import Flat

if TYPE_CHECKING:
    from fullwell.repo import Repository

__all__ = ["as_map", "check_flat", "fetch_flat", "from_calibration", "noise_of", "recorded_flat"]

F4 = NDArray[np.float32]
DARKEST = 1e-6
"""Response below which a pixel sees no light; the flat step leaves NaN there."""
ACCEPTABLE = ("flat", "detector", "filter")
_UUID = "LSST CALIB UUID FLAT"


def recorded_flat(frame: Frame) -> tuple[str, ...]:
    """Ids of the flat that was divided out, as header and gain map say; empty where none was or none is named."""
    found = [str(frame.metadata.get(_UUID) or "").strip(), frame.gain_map.flat_id if frame.gain_map else ""]
    return tuple(dict.fromkeys(ident for ident in found if ident))


def fetch_flat(frame: Frame, repo: Repository | str | os.PathLike[str]) -> Flat:
    """The flat that the frame names, from a repository (opened, or its path).

    Raises
    ------
    MissingProduct
        the frame names no flat, or the repository does not know it.
    UsageError
        the dataset of that id is no flat.
    """
    ids = recorded_flat(frame)
    where = frame.source or frame.observation.obs_id
    if not ids:
        raise MissingProduct(
            "the frame does not say which flat was divided out",
            where=f"{where}, keyword {_UUID}",
            remedy="give the flat: flat=fullwell.read_product(FILE)",
        )
    if isinstance(repo, (str, os.PathLike)):
        from fullwell.repo import open_repo

        with open_repo(repo) as opened:
            return fetch_flat(frame, opened)
    from fullwell.repo.lookup import by_id

    lacking: MissingProduct | None = None
    for ident in ids:
        try:
            ref = by_id(repo, ident.split("[")[0])
        except MissingProduct as error:
            lacking = lacking or error
            continue
        product = repo.product(ref)
        if not isinstance(product, Flat):
            raise UsageError(f"the dataset {ident} that the frame names as its flat is a {product.kind}", where=where)
        return product
    assert lacking is not None
    raise MissingProduct(
        f"the flat of this frame, {ids[0]}, is not in the repository",
        where=f"{where}; {repo.path}",
        remedy="name the repository that the frame was made in, give the flat, or flat=None to do without",
        code="FW303",
    ) from lacking


def check_flat(frame: Frame, flat: Flat, accept: Collection[str] = ()) -> None:
    """Whether a flat given by hand may be the one that was divided out.

    Parameters
    ----------
    accept : of "flat" (another id than the recorded one), "detector", "filter".

    Raises
    ------
    UsageError
        another id, detector or filter that is not accepted; `accept` has other names.
    """
    for name in accept:
        if name not in ACCEPTABLE:
            raise UsageError(f"'{name}' is no difference that can be accepted", remedy=f"use {', '.join(ACCEPTABLE)}")
    where = f"{flat.source or flat.id[:12]} for {frame.source or frame.observation.obs_id}"
    recorded = {ident.split("[")[0].replace("-", "") for ident in recorded_flat(frame)}
    mine = {flat.id.split("[")[0], str(flat.metadata.get("LSST BUTLER ID") or "")}
    same = bool(recorded & {ident.replace("-", "") for ident in mine if ident})
    wrong = []
    if "flat" not in accept and not same:
        if recorded:
            wrong.append(("flat", f"its id is {flat.id[:12]}, the frame was divided by {min(recorded)[:12]}"))
        elif frame.gain_map is not None:
            wrong.append(("flat", "the frame was not divided by a flat"))
    if not same:
        for name in ("detector", "filter"):
            have, want = getattr(flat.observation, name), getattr(frame.observation, name)
            if name not in accept and have != want:
                wrong.append((name, f"it is of {name} {have or 'none'}, the frame of {want or 'none'}"))
    if wrong:
        names = " and ".join(f'"{name}"' for name, _ in wrong)
        raise UsageError(
            "this flat is not that of the frame: " + "; ".join(text for _, text in wrong),
            where=where,
            remedy=f"give the flat that was divided out, or accept the difference with accept=({names},)",
        )


def from_calibration(
    frame: Frame,
    flat: Flat | None,
    *,
    method: str,
    photo: Any = None,
    read_noise: Any = None,
    background: Any = None,
    convention: Convention = "realised",
    notes: tuple[str, ...] = (),
) -> EffectiveGain:
    """K of the exact arrays that were applied.

    Parameters
    ----------
    flat : that was divided out, None where none was.
    method : "stored" or "flat", for the result.
    photo : image unit per electron (or adu) after the flat: number, (ny, nx), or function of (x, y) [pixel]; looked at
        where the frame is neither in adu nor in electron. None: that of the gain map, then of the frame.
    read_noise, background : as in `effective_gain`; None: the read noise of the history, no background.

    Returns
    -------
    EffectiveGain
        NaN where the flat is not above a millionth.

    Raises
    ------
    UnitError
        the unit needs a photometric scale and there is none.
    DataError
        the frame is in adu and the gain of an amplifier is not known.
    GeometryError
        the flat does not cover the frame.
    """
    box = frame.box
    k = np.full(box.shape, 1.0, np.float64)
    k *= _scale(frame, photo)
    for name, gain in _gains(frame).items():
        part = _inside(frame, name)
        k[part] /= gain
    phi = None
    if flat is not None:
        at = _part_of(flat, frame)
        response = np.asarray(flat.image[at], np.float64)
        seen = (response > DARKEST) & np.isfinite(response)
        inverse = np.divide(1.0, response, out=np.full(box.shape, np.nan), where=seen)
        k *= inverse
        if flat.variance is not None and _carries(frame):
            phi = (np.asarray(flat.variance[at], np.float64) * inverse**2).astype(np.float32)
    return EffectiveGain(
        k.astype(np.float32),
        box,
        frame.unit,
        method,
        convention,
        rms=0.0,
        background=as_map(background, frame, "background") if background is not None else _background(frame),
        read_noise=noise_of(frame, read_noise),
        flat_variance=phi,
        notes=notes,
    )


def noise_of(frame: Frame, given: Any = None) -> F4 | float:
    """Read noise [electron]: as given (number, map, or by amplifier), else of the history or detector; else NaN."""
    if given is not None and not isinstance(given, dict):
        return as_map(given, frame, "read noise")
    record = frame.last("variance")
    stated = given if given is not None else dict(record.numbers.get("read_noise", {})) if record else {}
    if not stated and frame.detector is not None:
        stated = {amp.name: amp.read_noise for amp in frame.detector}
    values = {name: float(v) for name, v in stated.items() if v is not None and math.isfinite(v)}
    if not values or frame.detector is None:
        return math.nan
    out = np.full(frame.shape, np.nan, np.float32)
    for name, value in values.items():
        out[_inside(frame, name)] = value
    return out


def as_map(value: Any, frame: Frame, what: str) -> Any:
    """A number, or an array (ny, nx), of a number, array, plane or function of (x, y) of the frame's pixels."""
    if callable(value):
        box = frame.box
        x, y = np.meshgrid(np.arange(box.x0, box.x1), np.arange(box.y0, box.y1))
        value = value(x, y)
    elif isinstance(value, Plane):
        value = value[frame.box].array if value.box != frame.box else value.array
    array = np.asarray(value)
    if array.ndim == 0:
        return float(array)
    if array.shape != frame.shape:
        raise GeometryError(
            f"the {what} has shape {array.shape}, the frame {frame.shape}",
            where=frame.source or frame.observation.obs_id,
            remedy="give one number, or one value for each pixel",
        )
    return array.astype(np.float32)


def _background(frame: Frame) -> Any:
    return 0.0 if frame.background is None else as_map(frame.background, frame, "background")


def _scale(frame: Frame, photo: Any) -> Any:
    """c [unit per flat-corrected electron or adu]: 1 in those units."""
    if frame.unit in ("adu", "electron"):
        return 1.0
    kept = frame.gain_map.scale if frame.gain_map is not None else 1.0
    if photo is None:
        photo = kept if kept != 1.0 else frame.photo_calib
    if photo is None:
        raise UnitError(
            f"the frame is in {frame.unit!r}, and nothing says how many {frame.unit} an electron became",
            where=frame.source or frame.observation.obs_id,
            remedy=f"give photo=, the {frame.unit} per electron (a number or a map), or flat=None to find K from the "
            "planes",
        )
    values = as_map(photo, frame, "photometric scale")
    if not np.all(np.asarray(values)[np.isfinite(values)] > 0):
        raise UsageError("a photometric scale is not above 0", where=frame.source or frame.observation.obs_id)
    return values


def _gains(frame: Frame) -> dict[str, float]:
    """Gain by amplifier [electron/adu] where the flat was divided out in adu; empty where it was in electron."""
    if frame.gain_map is not None and frame.gain_map.gain:
        gains = dict(frame.gain_map.gain)
    elif frame.unit != "adu":
        return {}
    elif frame.detector is not None:
        gains = {amp.name: amp.gain for amp in frame.detector}
    else:
        gains = {"": math.nan}
    bad = [name for name, value in gains.items() if not (math.isfinite(value) and value > 0)]
    if bad or frame.detector is None:
        raise DataError(
            "the frame is in adu and the gain is not known"
            + (f" of amplifier {', '.join(n for n in bad if n)}" if any(bad) else ""),
            where=frame.source or frame.observation.obs_id,
            remedy="reduce it with a gain, so that it is in electron; or flat=None to find K from the planes",
        )
    return gains


def _inside(frame: Frame, name: str) -> tuple[slice, slice]:
    """The pixels of an amplifier in the frame."""
    assert frame.detector is not None
    box = frame.detector[name].trimmed.intersection(frame.box)
    return box.shifted(-frame.box.x0, -frame.box.y0).slices


def _part_of(flat: Flat, frame: Frame) -> tuple[slice, slice]:
    cover: Box = flat.box if flat.box is not None else Box.from_shape(flat.image.shape)
    if not cover.contains(frame.box):
        raise GeometryError(
            f"the flat covers {cover}, the frame {frame.box}",
            where=f"{flat.source or flat.id[:12]} for {frame.source or frame.observation.obs_id}",
            remedy="give the flat that was divided out",
        )
    return frame.box.shifted(-cover.x0, -cover.y0).slices


def _carries(frame: Frame) -> bool:
    """Whether the variance holds that of the flat: as the record of the flat step says; without one, it does."""
    record = frame.last("flat")
    return True if record is None else bool(record.config.get("propagate_variance", True))
