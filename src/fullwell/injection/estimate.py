"""`effective_gain`: K of a frame, by the best way that its provenance or its pixels allow.

Order        1. the flat that the frame names, fetched from a repository by its id ("stored"), or none where none was
             divided out; 2. a flat that is given ("flat"); 3. closed form with background and read noise known
             ("closed"); 4. closed form calibrated on the frame itself ("self-calibrated"). A coadd or resampled image
             goes by its bright pixels ("bright"). "window" and "region", the slopes of V against I, are worse by a
             factor of fifty and taken only where asked for; the gain of a header ("header") only where insisted on.
References   injection note A.4.
"""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from fullwell.base.errors import DataError, UnitError, UsageError
from fullwell.frames import Frame
from fullwell.injection.convention import convention_of
from fullwell.injection.effective_gain import Convention, EffectiveGain
from fullwell.injection.from_planes import from_planes, planes_of
from fullwell.injection.known import as_map, check_flat, fetch_flat, from_calibration, noise_of, recorded_flat
from fullwell.products import Flat

if TYPE_CHECKING:
    from fullwell.repo import Repository

__all__ = ["METHODS", "effective_gain"]

METHODS = ("auto", "stored", "flat", "closed", "self-calibrated", "window", "bright", "region", "header")


def effective_gain(
    frame: Frame,
    *,
    flat: Flat | Literal["auto"] | None = "auto",
    repo: Repository | str | os.PathLike[str] | None = None,
    photo: Any = None,
    read_noise: Any = None,
    background: Any = None,
    method: str = "auto",
    accept_header: bool = False,
    convention: Convention | None = None,
    accept: Collection[str] = (),
    limit: float | None = None,
) -> EffectiveGain:
    """K of each pixel [image unit per collected electron], with its error and what it cannot know.

    Parameters
    ----------
    frame : with its variance; in adu, electron, nJy or any other unit.
    flat : the one that was divided out; "auto": the one that the frame names, from `repo`; None: none is used, K is
        found from the planes.
    repo : repository, or its path, that holds the flat which the frame names.
    photo : image unit per electron (or adu) after the flat, where the unit is neither: number, (ny, nx), or function
        of (x, y); None: that of the frame. It is not looked at where K comes from the planes.
    read_noise : [electron] number, (ny, nx), or amplifier -> number; None: that of the history or the detector.
    background : [image unit] what was taken off after the variance was formed: number or (ny, nx). None: that of the
        frame; where K comes from the planes, it is found too.
    method : one of `METHODS`.
    accept_header : whether the header's gain may stand for K, on a frame that is in adu.
    convention : "realised" or "expected" where it is known; None: as recorded, else as the planes show.
    accept : differences of a given flat that are accepted: "flat" (id), "detector", "filter".
    limit : largest relative error of a K found from the planes; None: 0.005 of realised planes, 0.02 of expected ones
        and coadds.

    Raises
    ------
    UsageError
        an unknown method; a flat that is not that of the frame.
    MissingProduct
        the repository does not hold the flat that the frame names.
    UnitError
        no photometric scale where one is needed.
    DataError
        no variance, or the pixels do not determine K; says what does.
    GeometryError
        a map or flat of another size.
    """
    if method not in METHODS:
        raise UsageError(f"there is no method '{method}' for the effective gain", remedy=f"one of {', '.join(METHODS)}")
    if not isinstance(flat, Flat) and flat not in (None, "auto"):
        raise UsageError(
            f"a {type(flat).__name__} was given for the flat: {str(flat)[:40] if isinstance(flat, str) else ''}",
            remedy='a Flat, None, or "auto"',
        )
    common: dict[str, Any] = {"photo": photo, "read_noise": read_noise, "background": background}
    found: EffectiveGain | None = None
    if method in ("auto", "stored", "flat"):
        found = _known(frame, flat, repo, method, accept, common, convention)
    elif method == "header":
        found = _header(frame, accept_header, common, convention)
    if found is None:
        found = from_planes(frame, method, read_noise, background, convention, limit)
    return found


def _known(
    frame: Frame,
    flat: Flat | Literal["auto"] | None,
    repo: Any,
    method: str,
    accept: Collection[str],
    common: Mapping[str, Any],
    convention: Convention | None,
) -> EffectiveGain | None:
    """K of what was applied; None where that is not known and another way may be tried."""
    kind = convention or _convention(frame)
    where = frame.source or frame.observation.obs_id
    if isinstance(flat, Flat):
        if method == "stored":
            raise UsageError('a flat is given: the method is then "flat"', where=where)
        check_flat(frame, flat, accept)
        found = from_calibration(frame, flat, method="flat", convention=kind, **common)
        if accept:
            note = f"a flat that differs in {', '.join(accept)} was accepted: how far K is off is not known"
            found = replace(found, rms=math.nan, notes=(*found.notes, note))
        return found
    if flat == "auto" and repo is not None and recorded_flat(frame):
        product = fetch_flat(frame, repo)
        return from_calibration(frame, product, method="stored", convention=kind, **common)
    if flat == "auto" and frame.gain_map is not None and not recorded_flat(frame):
        return from_calibration(
            frame, None, method="stored", convention=kind, notes=("no flat was divided out",), **common
        )
    if method != "auto":
        ids = recorded_flat(frame)
        raise DataError(
            f"the flat of this frame{f', {ids[0]},' if ids else ''} is not at hand",
            where=where,
            remedy="give flat=, or repo= with a frame that names its flat"
            if method == "stored" or not ids
            else "give flat=, or the repository that holds it: repo=",
        )
    return None


def _convention(frame: Frame) -> Convention:
    """As recorded, else as the planes show, else realised."""
    if frame.gain_map is not None:
        return "expected" if frame.gain_map.convention == "expected" else "realised"
    try:
        return convention_of(planes_of(frame))[0]
    except DataError:
        return "realised"


def _header(frame: Frame, accepted: bool, common: Mapping[str, Any], convention: Convention | None) -> EffectiveGain:
    """The gain of the header for all pixels, of a frame in adu, where the caller insists."""
    where = frame.source or frame.observation.obs_id
    if not accepted or frame.unit != "adu":
        raise UsageError(
            "the gain of the header knows neither the flat nor what was done since",
            where=where,
            remedy="give the flat, or flat=None to find K from the planes"
            + ("; accept_header=True insists" if frame.unit == "adu" else ""),
        )
    gain = frame.observation.header_gain
    if not (math.isfinite(gain) and gain > 0):
        raise UnitError("the header states no gain", where=f"{where}, keyword GAIN", remedy="give the flat")
    return EffectiveGain(
        np.full(frame.shape, 1 / gain, np.float32),
        frame.box,
        frame.unit,
        "header",
        convention or _convention(frame),
        background=as_map(common["background"] or 0.0, frame, "background"),
        read_noise=noise_of(frame, common["read_noise"]),
        notes=("the gain of the header: the flat is not in it, and its noise is wrong by the flat",),
    )
