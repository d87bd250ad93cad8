"""A header as an `Observation`, by a header map. Nothing is guessed silently: `sources` names each field's keyword."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import PurePath
from typing import Any

from fullwell.base.errors import HeaderError
from fullwell.frames import Observation
from fullwell.instruments.headers import FileHeaders
from fullwell.instruments.kinds import band_of, hint_of, kind_of
from fullwell.instruments.maps import HeaderMap, blank, number
from fullwell.instruments.sections import parse_section
from fullwell.instruments.times import from_mjd, parse_moment, to_mjd, to_tai

__all__ = ["Reader", "binning_of", "header_of", "join_optics", "translate"]

OPEN = {"free", "open", "empty", "none", "clear", "air", "null", "hole", "no filter", "nofilter", "n/a", "-", "unknown"}
SOFTWARE_GAIN = re.compile(r"sharpcap|nina|n\.i\.n\.a|asiair|firecapture|ekos|kstars|indi|sgp|sequence generator", re.I)
CMOS = re.compile(r"\b(zwo|asi|qhy|toupcam|altair|player one|touptek)", re.I)


def header_of(headers: FileHeaders) -> dict[str, Any]:
    """The primary header over that of the first image HDU, keywords in upper case; undefined values left out."""
    out: dict[str, Any] = {}
    for source in [*(hdu.header for hdu in headers.images[:1]), headers.primary]:
        out.update({k.upper(): v for k, v in source.items() if not blank(v)})
    return out


def _text(value: Any) -> str:
    """A header value as a plain text; 48.0 as "48"."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return " ".join(str(value).split())


@dataclass
class Reader:
    """One header read through a map; `sources` collects the keyword of each field.

    Parameters
    ----------
    header : keyword -> value; map : see `HeaderMap`; comments : keyword -> comment; path : of the file.
    """

    header: Mapping[str, Any]
    map: HeaderMap
    comments: Mapping[str, str] = field(default_factory=dict)
    path: str = ""
    sources: dict[str, str] = field(default_factory=dict)

    def text(self, name: str) -> str:
        """Field `name` as text, "" where absent."""
        value, keyword, _ = self.map.find(name, self.header)
        if keyword:
            self.sources[name] = keyword
        return _text(value) if keyword else ""

    def number(self, name: str) -> float:
        """Field `name` as a number, NaN where no keyword of it holds one."""
        for entry in self.map.keywords.get(name, ()):
            keyword, _, unit = entry.partition("|")
            value = number(self.header.get(keyword), unit, self.comments.get(keyword, ""))
            if math.isfinite(value):
                self.sources[name] = keyword
                return value
        return math.nan

    def integer(self, name: str, default: int) -> int:
        """Field `name` as an integer, `default` where absent."""
        value = self.number(name)
        return int(value) if math.isfinite(value) else default


def join_optics(*names: str) -> str:
    """Filters and dispersers in the beam joined by "~"; open positions are dropped.

    >>> join_optics("g#782", "Free"), join_optics("Free", "Gr#3"), join_optics("g", "grism#7")
    ('g#782', 'Gr#3', 'g~grism#7')
    """
    real = [name.strip() for name in names if name.strip() and name.strip().lower() not in OPEN]
    return "~".join(dict.fromkeys(real))


def _filter(read: Reader) -> str:
    """All optics in the beam."""
    header, maps = read.header, read.map
    value, keyword, _ = maps.find("filter", header)
    used = [keyword] if keyword else []
    names = [_text(value)] if keyword else []
    more = [
        k
        for k in (*(maps.join if not keyword or keyword in maps.join else ()), *maps.optics)
        if not blank(header.get(k))
    ]
    used += [k for k in more if k not in used]
    names += [_text(header[k]) for k in used[len(names) :]]
    if used:
        read.sources["filter"] = "+".join(used)
    joined = join_optics(*names)
    if joined or not keyword:
        return joined
    return names[0] if names[0].lower() in ("clear", "open") and len(names) == 1 else ""


def _moment(read: Reader) -> datetime | None:
    """Begin of the exposure, TAI."""
    header, maps = read.header, read.map
    scale = str(header.get("TIMESYS", "UTC")) or "UTC"
    clock, clock_key, _ = maps.find("clock", header)
    for entry in maps.keywords.get("date", ()):
        value = header.get(entry)
        moment = None if blank(value) else parse_moment(value, clock)
        if moment is not None:
            alone = parse_moment(value) is not None
            read.sources["begin"] = f"{entry if alone else f'{entry}+{clock_key}'} ({scale.upper()})"
            return to_tai(moment, scale)
    for name, zero in (("mjd", 0.0), ("jd", 2400000.5)):
        value = read.number(name)
        if math.isfinite(value) and value - zero > 0:
            read.sources["begin"] = f"{read.sources.pop(name)} ({scale.upper()})"
            return to_tai(from_mjd(value - zero), scale)
    return None


def binning_of(header: Mapping[str, Any], maps: HeaderMap) -> tuple[tuple[int, int], str]:
    """Binning (x, y) and the keywords that say so; ((1, 1), "") where none does."""
    for first, second in maps.pairs:
        x, y = number(header.get(first)), number(header.get(second))
        if math.isfinite(x) and x >= 1:
            y = y if math.isfinite(y) and y >= 1 else x
            return (int(x), int(y)), f"{first}, {second}" if second in header else first
    value, keyword, _ = maps.find("binning", header)
    found = [int(n) for n in re.findall(r"\d+", _text(value))] if keyword else []
    if found and min(found) >= 1:
        return (found[0], found[1] if len(found) > 1 else found[0]), keyword
    return (1, 1), ""


def _window(header: Mapping[str, Any], shape: tuple[int, ...] | None, binning: tuple[int, int]) -> Any:
    """(window on the unbinned detector, keyword); (None, "") for a full frame or where nothing is said."""
    bx, by = binning
    for kx, ky in (("XORGSUBF", "YORGSUBF"), ("ROI_X", "ROI_Y")):
        x, y = number(header.get(kx)), number(header.get(ky))
        if shape is not None and (x > 0 or y > 0):
            x, y = (0.0 if math.isnan(v) else v for v in (x, y))
            return (int(x) * bx, int(y) * by, shape[-1] * bx, shape[-2] * by), f"{kx}, {ky}"
    keys = [f"ESO DET WIN1 {k}" for k in ("STRX", "STRY", "NX", "NY")]
    if all(math.isfinite(number(header.get(k))) for k in keys):
        x, y, nx, ny = (int(number(header[k])) for k in keys)
        if x > 1 or y > 1:
            return (x - 1, y - 1, nx * bx, ny * by), keys[0]
    try:
        size = parse_section(header.get("DETSIZE"), keyword="DETSIZE")
        ccd = parse_section(header.get("CCDSEC"), keyword="CCDSEC")
    except HeaderError:
        return None, ""
    if (
        size
        and ccd
        and "AMPSEC" not in header
        and "AMPNAME" not in header
        and ccd.box != size.box
        and "CCDSIZE" not in header
    ):
        return (ccd.box.x0, ccd.box.y0, ccd.box.width, ccd.box.height), "CCDSEC"
    return None, ""


def _temperature(read: Reader, name: str) -> float:
    """Celsius; values above 100 are Kelvin."""
    value = read.number(name)
    if value > 100:
        read.sources[name] += " (taken for kelvin)"
        return round(value - 273.15, 4)
    return value


def header_gain(header: Mapping[str, Any], maps: HeaderMap, comments: Mapping[str, str]) -> tuple[float, str, str]:
    """(gain [electron/adu] or NaN, what it came from, camera's setting).

    EGAIN and its like are taken when positive. GAIN is the setting of the camera in many amateur headers, so it counts
    only between 0.1 and 20, not as a whole number of 10 or more, and not from programs and cameras known to write
    settings, unless its comment names electrons. ESO's ``OUT1 GAIN`` is in adu per electron, ``CONAD`` the inverse.
    """
    value, keyword, _ = maps.find("header_gain", header)
    gain = number(value)
    if keyword and 0.01 < gain < 1000:
        return gain, keyword, ""
    inverse = number(header.get("ESO DET OUT1 GAIN"))
    if math.isfinite(inverse) and 0.01 < inverse < 100:
        return 1 / inverse, "1 / ESO DET OUT1 GAIN", ""
    raw = header.get("GAIN")
    if blank(raw):
        return math.nan, "", ""
    gain = number(raw)
    said = bool(re.search(r"e-|electron|e/|epadu", comments.get("GAIN", ""), re.IGNORECASE))
    makers = " ".join(str(header.get(k, "")) for k in ("SWCREATE", "CREATOR", "PROGRAM", "INSTRUME", "SOFTWARE"))
    setting = bool(SOFTWARE_GAIN.search(makers) or CMOS.search(makers) or "EGAIN" in header)
    plausible = 0.1 <= gain <= 20 and not (float(gain).is_integer() and gain >= 10)
    if plausible and (said or not setting):
        return gain, "GAIN" + (" (1.0 may be a placeholder)" if gain == 1 and not said else ""), ""
    return math.nan, f"GAIN={_text(raw)} not taken for electron/adu: a setting of the camera", _text(raw)


def _kind(read: Reader, path: str, exposure: float) -> tuple[str, dict[str, str]]:
    """Type of the frame, with the evidence."""
    notes = {}
    kind, weak = "unknown", True
    for keyword in read.map.keywords.get("kind", ()):
        value = read.header.get(keyword)
        if blank(value):
            continue
        table = read.map.values.get("kind", {})
        named = table.get(_text(value).lower())
        kind, weak = (named, False) if named else kind_of(value)
        notes["kind"] = f"{keyword}={_text(value)}" + ("" if kind != "unknown" else " (type not known)")
        if kind != "unknown":
            break
    if kind == "dark" and exposure == 0:
        kind = "bias"
        notes["kind"] += ", exposure 0 s: a bias"
    if weak:
        texts = [str(read.header[k]) for k in ("OBJECT",) if not blank(read.header.get(k))]
        hint, place = hint_of(path, *texts)
        if not hint and kind == "unknown" and exposure == 0:
            hint, place = "bias", "exposure of 0 s"
        if hint:
            notes["hint"] = f"{hint} ({place})"
            notes["kind"] = notes.get("kind", "no keyword") + f", but {place} says {hint}"
            kind = "unknown"
    notes.setdefault("kind", "no keyword says it")
    return kind, notes


def _stem(name: str) -> str:
    """A name without the endings of FITS files."""
    return re.sub(r"\.(fits?|fts)?(\.(gz|fz|bz2))?$", "", name, flags=re.IGNORECASE)


def translate(
    headers: FileHeaders, maps: HeaderMap, *, name: str = "generic", bands: Mapping[str, str] | None = None
) -> Observation:
    """The observation that the headers of a file describe.

    Parameters
    ----------
    headers : of all HDUs; maps : which keyword holds what; name : of the instrument;
    bands : physical filter -> band; without an entry the band is read off the filter's name.

    Returns
    -------
    Observation
        fields that no keyword tells keep their defaults; `sources` names the keyword of each, and holds under
        "hint" what file name or OBJECT say where the type in the header is missing or weak.
    """
    header = header_of(headers)
    read = Reader(header, maps, headers.comments, headers.path)
    exposure = read.number("exposure_time")
    dark = read.number("dark_time")
    if math.isnan(dark):
        dark, read.sources["dark_time"] = exposure, read.sources.get("exposure_time", "")
    kind, notes = _kind(read, headers.path, exposure)
    optics = _filter(read)
    moment = _moment(read)
    binning, read.sources["binning"] = binning_of(header, maps)
    first = headers.images[0].shape if headers.images else None
    window, read.sources["window"] = _window(header, first, binning)
    gain, read.sources["header_gain"], setting = header_gain(header, maps, headers.comments)
    day = read.integer("day_obs", 0)
    if not day and moment is not None:
        day = int((moment - timedelta(hours=12)).strftime("%Y%m%d"))
        read.sources["day_obs"] = "begin - 12 h"
    fields: dict[str, Any] = {
        "instrument": name if name != "generic" else (read.text("instrument") or "generic"),
        "detector": read.text("detector") or "0",
        "detector_id": read.integer("detector_id", 0),
        "exposure_id": read.integer("exposure_id", 0),
        "obs_id": _stem(read.text("obs_id") or PurePath(headers.path).name),
        "day_obs": day,
        "seq_num": read.integer("seq_num", -1),
        "kind": kind,
        "filter": optics,
        "band": (bands or {}).get(optics.split("~")[0]) or band_of(optics),
        "exposure_time": exposure,
        "dark_time": dark,
        "begin": "" if moment is None else moment.isoformat(timespec="milliseconds"),
        "mjd": math.nan if moment is None else to_mjd(moment),
        "temperature": _temperature(read, "temperature"),
        "set_temperature": _temperature(read, "set_temperature"),
        "binning": binning,
        "window": window,
        "readout_mode": read.text("readout_mode"),
        "gain_setting": setting or read.text("gain_setting"),
        "header_gain": gain,
        "header_read_noise": read.number("header_read_noise"),
        "object": read.text("object"),
        "group": read.text("group"),
        "reason": read.text("reason"),
    }
    sources = {key: text for key, text in {**read.sources, **notes}.items() if text}
    return Observation(**fields, sources=sources)
