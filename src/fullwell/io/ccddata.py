"""Frames and astropy's CCDData, both ways."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fullwell.cameras import Box
from fullwell.frames import Frame, Mask, Plane
from fullwell.io.codec import from_json, to_json
from fullwell.io.framefile import variance_of
from fullwell.io.keywords import unit_name
from fullwell.io.layout import header_of, mask_header, mask_of

if TYPE_CHECKING:
    from astropy.nddata import CCDData

__all__ = ["from_ccddata", "to_ccddata"]

BAD = ("BAD", "SAT", "NO_DATA", "UNMASKEDNAN")


def to_ccddata(frame: Frame, planes: tuple[str, ...] = BAD) -> CCDData:
    """A `CCDData` of a frame: its own pixels (copied), variance as `VarianceUncertainty`, bits as flags.

    Parameters
    ----------
    planes : mask planes that make a pixel bad there (True in ``mask``). All bits go to ``flags``, with their
        names as ``MP_<NAME>`` in ``meta``, so that `from_ccddata` gives the same mask back.
    """
    from astropy.nddata import CCDData, VarianceUncertainty

    names = [p for p in planes if frame.mask is not None and p in frame.mask.schema]
    meta = header_of({k: v for k, v in frame.metadata.items() if k != "BUNIT"}, frame.comments)
    for key, value in mask_header(frame.mask.schema).items() if frame.mask is not None else ():
        meta[key if len(key) <= 8 else f"HIERARCH {key}"] = value
    meta["FWX0"], meta["FWY0"] = frame.box.x0, frame.box.y0
    ccd = CCDData(
        frame.image.array.copy(),
        unit=frame.unit or "",
        uncertainty=None if frame.variance is None else VarianceUncertainty(frame.variance.array.copy()),
        mask=None if frame.mask is None else frame.mask.any_of(names),
        flags=None if frame.mask is None else frame.mask.array.copy(),
        meta=meta,
        wcs=frame.wcs,
    )
    extra = {"history": list(frame.history), "observation": frame.observation, "gain_map": frame.gain_map}
    ccd.fullwell = to_json({**extra, "detector": frame.detector})  # type: ignore[attr-defined]
    return ccd


def from_ccddata(ccd: CCDData) -> Frame:
    """A frame of a `CCDData`: pixels copied; std, variance or inverse variance to variance; mask to BAD.

    Where ``flags`` are integers with names (``MP_<NAME>`` in ``meta``), they are the mask, and BAD is added where
    ``mask`` is True and no bit is set.

    Raises
    ------
    HeaderError
        the kind of uncertainty is unknown.
    """
    unit = unit_name(str(ccd.unit)) if ccd.unit is not None else ""
    data = np.array(ccd.data)
    meta: dict[str, Any] = {str(k).upper(): v for k, v in dict(ccd.meta).items()}
    x0, y0 = meta.get("FWX0", 0), meta.get("FWY0", 0)
    box = Box(int(x0), int(y0), data.shape[1], data.shape[0])
    flags = getattr(ccd, "flags", None)
    mask = None
    if flags is not None and any(k.startswith("MP_") for k in meta):
        named = mask_of(np.array(flags), meta, "CCDData.flags")
        mask = Mask(named.array, box, schema=named.schema)
        if ccd.mask is not None:
            mask["BAD"] = mask["BAD"] | (np.asarray(ccd.mask, bool) & (mask.array == 0))
    elif ccd.mask is not None:
        mask = Mask(np.broadcast_to(np.asarray(ccd.mask, bool), data.shape).astype(np.uint32), box)
    variance = None
    if ccd.uncertainty is not None:
        values = variance_of(ccd.uncertainty.array, ccd.uncertainty.uncertainty_type, "CCDData.uncertainty")
        variance = Plane(values, box, f"{unit}2")
    meta = {k: v for k, v in meta.items() if not k.startswith("MP_")}
    extra = from_json(ccd.fullwell) if isinstance(getattr(ccd, "fullwell", None), str) else {}
    more = {k: v for k, v in extra.items() if k != "history" and v is not None}
    return Frame(
        Plane(data, box, unit),
        variance,
        mask,
        metadata=meta,
        wcs=ccd.wcs,
        history=tuple(extra.get("history", ())),
        **more,
    )
