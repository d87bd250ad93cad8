"""Headers of cameras that ``astro_metadata_translator`` knows: DECam, HSC, MegaPrime, SDSS, Suprime-Cam."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from fullwell.frames import Observation
from fullwell.instruments.headers import FileHeaders
from fullwell.instruments.kinds import band_of, kind_of
from fullwell.instruments.translate import header_of

__all__ = ["known", "observation"]

_CAMERAS = ("decam", "hyper suprime", "hsc", "megaprime", "suprimecam", "sdss")


def known(header: Mapping[str, Any]) -> bool:
    """Whether the header looks like one of these cameras; cheap: others never load the library."""
    text = f"{header.get('INSTRUME', '')} {header.get('DETECTOR', '')} {header.get('TELESCOP', '')}".lower()
    return any(name in text for name in _CAMERAS) or "ugriz" in str(header.get("FLAVOR", ""))


def _number(value: Any, unit: str) -> float:
    """A quantity as a plain number, NaN for None."""
    return math.nan if value is None else float(value.to_value(unit))


def observation(headers: FileHeaders, plain: Observation) -> Observation | None:
    """The observation as that library reads it, laid over `plain`, what our header map reads.

    None where the library does not know the header. Fields that it leaves open stay those of `plain`; a translation
    that fails is noted in ``sources["translator"]`` and `plain` returned.
    """
    header = header_of(headers)
    if not known(header):
        return None
    from astro_metadata_translator import MetadataTranslator, ObservationInfo

    try:
        translator = MetadataTranslator.determine_translator(header, filename=headers.path)
    except (ValueError, KeyError):
        return None
    try:
        info = ObservationInfo(header, filename=headers.path, translator_class=translator, pedantic=False)
    except (ValueError, KeyError, TypeError, AttributeError) as err:
        plain.sources["translator"] = f"{translator.name} could not read the header ({err}); generic map used"
        return plain
    kind = plain.kind if info.observation_type is None else kind_of(info.observation_type)[0]
    begin = None if info.datetime_begin is None else info.datetime_begin.tai
    texts: dict[str, Any] = {
        "instrument": info.instrument,
        "detector": info.detector_name if info.detector_name is not None else info.detector_unique_name,
        "detector_id": info.detector_num,
        "exposure_id": info.exposure_id,
        "obs_id": info.observation_id,
        "day_obs": info.observing_day,
        "filter": info.physical_filter,
        "object": info.object,
        "group": info.exposure_group,
        "reason": info.observation_reason,
    }
    values = {key: value for key, value in texts.items() if value is not None}
    numbers = {
        "exposure_time": _number(info.exposure_time, "s"),
        "dark_time": _number(info.dark_time, "s"),
        "temperature": math.nan,
    }
    values.update({key: value for key, value in numbers.items() if math.isfinite(value)})
    if begin is not None:
        values.update(begin=begin.isot, mjd=float(begin.mjd))
    changed = dict.fromkeys([*values, "kind"], f"translator {translator.name}")
    sources = {**plain.sources, **changed}
    sources.pop("hint", None)
    band = band_of(str(values.get("filter", plain.filter))) or plain.band
    return replace(plain, kind=kind, band=band, sources=sources, **values)
