"""Headers of the Rubin cameras: ids, filters, types, times, and the detector behind a file.

Rules as published for the Rubin raw files (spec of raw headers, section 6.6); the geometry is in
``rubin_sensors.toml``. DETSEC of files from the real cameras counts y from the other end than the camera's
description does, so amplifiers are placed by their names, never by DETSEC.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from fullwell.base.errors import HeaderError
from fullwell.cameras import Detector
from fullwell.frames import Observation
from fullwell.instruments.described import build_amplifiers
from fullwell.instruments.headers import FileHeaders
from fullwell.instruments.maps import blank, number
from fullwell.instruments.sections import parse_section
from fullwell.instruments.times import parse_moment, to_mjd, to_tai
from fullwell.instruments.translate import translate

if TYPE_CHECKING:
    from fullwell.instruments.instrument import Instrument

__all__ = [
    "controller_index",
    "detector",
    "detector_exposure_id",
    "detector_name",
    "exposure_id",
    "join_filters",
    "observation",
    "observation_type",
    "teststand_exposure_id",
    "vendor",
    "visit_id",
]

CONTROLLERS = "OCHPQS"
_TS8_FILTERS = {2: "g", 3: "r", 4: "i", 5: "z", 6: "y"}
_TYPES = {"OBJECT": "science", "SKYEXP": "science", "ENGTEST": "unknown", "ACQ": "science", "STUTTERED": "science"}


def controller_index(controller: str, day_obs: int) -> int:
    """Place of the controller in the ids: O 0, C 1, H 2, P 3, Q 4, S 5.

    C counts as O after 2023-10-04, and P, Q, S after 2025-04-17.
    """
    index = CONTROLLERS.find(controller) if len(controller) == 1 else 0
    if (controller == "C" and day_obs > 20231004) or (controller in ("P", "Q", "S") and day_obs > 20250417):
        return 0
    return max(index, 0)


def exposure_id(day_obs: int, seq_num: int, controller: str = "O") -> int:
    """``YYYYMMDD * 100000 + seq_num``, the year moved on by 1000 for each step of the controller.

    >>> exposure_id(20260315, 51), exposure_id(20240321, 720, "S")
    (2026031500051, 7024032100720)
    """
    return (day_obs + 10_000_000 * controller_index(controller, day_obs)) * 100_000 + seq_num


def detector_exposure_id(day_obs: int, seq_num: int, detector: int, controller: str = "O") -> int:
    """Id of one detector of one exposure.

    8 bits detector, 15 bits sequence number, 14 bits days since 2010-01-01, then the controller.

    >>> hex(detector_exposure_id(20260315, 51, 1))
    '0xb8e803301'
    """
    year, month, day = day_obs // 10000, day_obs // 100 % 100, day_obs % 100
    days = date(year, month, day).toordinal() - date(2010, 1, 1).toordinal()
    return detector + 256 * (seq_num + 32768 * (days + 16384 * controller_index(controller, day_obs)))


def teststand_exposure_id(exposure: int, detector: int) -> int:
    """The same of old TS8 files, where the exposure id is the digits of the date: ``exposure * 1000 + detector``."""
    return exposure * 1000 + detector


def visit_id(group: str) -> int:
    """The number of a visit from its group's name.

    A number is kept. An ISO time becomes seconds since 2015-01-01, three digits of milliseconds and a four-digit
    counter ("#n" or "+n"). Any other text becomes the first 63 bits of its BLAKE2b hash, which fit a
    signed integer.

    >>> visit_id("2026-03-15T22:50:34.110")
    3535446341100000
    """
    text = group.strip()
    if text.isdigit():
        return int(text)
    found = re.match(r"^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,3})\d*)?(?:[#+](\d+))?$", text)
    if found:
        seconds = round((datetime.fromisoformat(found.group(1)) - datetime(2015, 1, 1)).total_seconds())
        return int(f"{seconds}{(found.group(2) or '').ljust(3, '0')}{int(found.group(3) or 0):04d}")
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def join_filters(header: Mapping[str, Any], instrument: str) -> str:
    """The physical filter: FILTER (and FILTER1, FILTER2) joined by "~", empty positions at the end dropped.

    LATISS adds its GRATING and keeps "empty" ("empty~holo4_003"); TS8 tells g r i z y by FILTPOS 2 to 6
    where FILTER is absent.
    """
    names = [str(header[k]).strip() for k in ("FILTER", "FILTER1", "FILTER2") if not blank(header.get(k))]
    if instrument == "latiss":
        names += [str(header["GRATING"]).strip()] if not blank(header.get("GRATING")) else []
        return "~".join(re.sub(r"^empty_\d+$", "empty", name) for name in names)
    if instrument == "lsst-ts8" and not names:
        position = number(header.get("FILTPOS"))
        return _TS8_FILTERS.get(int(position), "") if math.isfinite(position) else ""
    while names and re.match(r"^(empty|none)(_\d+)?$", names[-1], re.IGNORECASE):
        names.pop()
    return "~".join(names)


def observation_type(header: Mapping[str, Any], instrument: str = "lsstcam") -> tuple[str, str]:
    """(type, keyword): IMGTYPE, then OBSTYPE and IMAGETYP; LATISS OBSTYPE first. OBJECT and SKYEXP are science."""
    keys = ["IMGTYPE", "OBSTYPE", "IMAGETYP"]
    if instrument == "latiss":
        keys = ["OBSTYPE", "IMGTYPE", "IMAGETYP"]
    for keyword in keys:
        value = header.get(keyword)
        if not blank(value) and str(value).strip().upper() != "UNKNOWN":
            word = str(value).strip()
            return _TYPES.get(word.upper(), word.lower()), keyword
    return "unknown", ""


def _names(header: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(keyword, candidate) for the detector's name."""
    raft, slot = str(header.get("RAFTBAY", "")).strip(), str(header.get("CCDSLOT", "")).strip()
    out = [("RAFTBAY, CCDSLOT", f"{raft}_{slot}")] if raft and slot else []
    for keyword in ("DETNAME", "CHIPID", "CCDSLOT", "SENSNAME", "DETECTOR"):
        if not blank(header.get(keyword)):
            out.append((keyword, str(header[keyword]).strip()))
    return out


def detector_name(header: Mapping[str, Any], instrument: Instrument) -> tuple[str, int, str]:
    """(name, id, keywords) of the detector; a camera of one detector needs no keyword.

    Raises
    ------
    HeaderError
        the header names no detector of the camera.
    """
    camera = instrument.camera
    assert camera is not None
    by_name = {det.name: det for det in camera} | {str(det.id): det for det in camera}
    candidates = _names(header)
    for keyword, name in candidates:
        if name in by_name:
            return by_name[name].name, by_name[name].id, keyword
    if len(camera) == 1:
        return camera.detectors[0].name, camera.detectors[0].id, "only detector"
    if instrument.name == "lsst-ts8":
        serial = str(header.get("LSST_NUM", "")).strip()
        return serial or "S00", 0, "LSST_NUM"
    said = ", ".join(f"{k}={v}" for k, v in candidates) or "nothing"
    raise HeaderError(
        f"no detector of {instrument.name} is named in the header ({said})",
        where="keywords RAFTBAY and CCDSLOT, DETNAME, DETECTOR",
        remedy="name it with --detector, e.g. R22_S11",
    )


def vendor(headers: FileHeaders) -> tuple[str, str]:
    """("ITL" or "E2V", keyword); ("", "") where nothing tells: CCD_MANU, LSST_NUM, DETSIZE, DATASEC in this order."""
    header = headers.primary
    segment = headers.images[0].header if headers.images else {}
    for keyword in ("CCD_MANU", "LSST_NUM"):
        text = str(header.get(keyword, "")).upper()
        for maker in ("ITL", "E2V"):
            if text.startswith(maker):
                return maker, keyword
    marks = {"DETSIZE": {"4072,1:4000": "ITL", "4096,1:4004": "E2V"}, "DATASEC": {"4:512": "ITL", "11:522": "E2V"}}
    for keyword, texts in marks.items():
        value = str(header.get(keyword, segment.get(keyword, ""))).replace(" ", "")
        for mark, maker in texts.items():
            if mark in value:
                return maker, keyword
    return "", ""


def _times(header: Mapping[str, Any]) -> tuple[datetime | None, str]:
    """Begin of the exposure (TAI) and its keyword. DATE-BEG is TAI; DATE-OBS as TIMESYS says, UTC without it."""
    system = str(header.get("TIMESYS", "")).strip().upper()
    for keyword, scale in (("DATE-BEG", system or "TAI"), ("DATE-OBS", system or "UTC"), ("DATE", system or "UTC")):
        moment = parse_moment(header.get(keyword))
        if moment is not None:
            return to_tai(moment, scale), f"{keyword} ({scale})"
    return None, ""


def _exposure_time(header: Mapping[str, Any], instrument: str) -> tuple[float, str]:
    """EXPTIME; for LSSTCam and ComCam SHUTTIME where it is positive."""
    shutter = number(header.get("SHUTTIME"))
    if instrument in ("lsstcam", "lsstcomcam") and shutter > 0:
        return shutter, "SHUTTIME"
    return number(header.get("EXPTIME")), "EXPTIME"


def _ids(header: Mapping[str, Any], begin: datetime | None) -> dict[str, Any]:
    """exposure_id, day_obs, seq_num; old files without DAYOBS count by the digits of the date instead."""
    day, seq = number(str(header.get("DAYOBS", "")).replace("-", "")), number(header.get("SEQNUM"))
    obs_id = str(header.get("OBSID", "")).strip()
    found = re.match(r"^[A-Z0-9]+_([A-Z])_(\d{8})_(\d+)$", obs_id)
    controller = str(header.get("CONTRLLR", found.group(1) if found else "O")).strip() or "O"
    if found and not math.isfinite(day):
        day, seq = float(found.group(2)), float(found.group(3))
    if math.isfinite(day) and math.isfinite(seq):
        number_of = exposure_id(int(day), int(seq), controller)
        return {"exposure_id": number_of, "day_obs": int(day), "seq_num": int(seq)}
    out: dict[str, Any] = {"seq_num": int(seq) if math.isfinite(seq) else -1}
    if obs_id.isdigit():
        return {**out, "exposure_id": int(obs_id), **_day_of(begin)}
    stamp = str(header.get("DATE-OBS", ""))
    digits = re.sub(r"\D", "", stamp)[:15]
    if len(digits) == 15:
        out["exposure_id"] = int(digits)
    return {**out, **_day_of(begin)}


def _day_of(begin: datetime | None) -> dict[str, int]:
    """day_obs of a moment: the date twelve hours before."""
    return {} if begin is None else {"day_obs": int((begin - timedelta(hours=12)).strftime("%Y%m%d"))}


def observation(instrument: Instrument, headers: FileHeaders) -> Observation:
    """The observation of a Rubin file; fields without a rule here come from the header map."""
    header = {k: v for k, v in headers.merged("REB_COND").items() if not blank(v)}
    base = translate(headers, instrument.map, name=instrument.name, bands=dict(instrument.bands))
    sources = dict(base.sources)
    sources.pop("hint", None)
    begin, sources["begin"] = _times(header)
    kind, sources["kind"] = observation_type(header, instrument.name)
    exposure, sources["exposure_time"] = _exposure_time(header, instrument.name)
    dark = number(header.get("DARKTIME"))
    sources["dark_time"] = "DARKTIME"
    if not math.isfinite(dark) or (instrument.name == "latiss" and dark < exposure):
        dark, sources["dark_time"] = exposure, sources["exposure_time"]
    try:
        name, number_of, sources["detector"] = detector_name(header, instrument)
    except HeaderError:
        name, number_of = "", -1
        sources["detector"] = "not named"
    optics = join_filters(header, instrument.name)
    ids = _ids(header, begin)
    word = sources["kind"]
    sources["kind"] = f"{word}={header.get(word)}" if word else "no keyword says it"
    return replace(
        base,
        instrument=instrument.name,
        detector=name,
        detector_id=number_of,
        kind=kind,
        filter=optics,
        band=instrument.band(optics),
        exposure_time=exposure,
        dark_time=dark,
        begin="" if begin is None else begin.isoformat(timespec="milliseconds"),
        mjd=math.nan if begin is None else to_mjd(begin),
        header_gain=math.nan,
        header_read_noise=math.nan,
        sources={k: v for k, v in sources.items() if v and k not in ("header_gain", "header_read_noise")},
        **ids,
    )


def detector(instrument: Instrument, headers: FileHeaders, name: str | int | None = None) -> Detector:
    """The detector of a Rubin file: layout by maker (from the header), overscan as wide and high as the segments are.

    Raises
    ------
    HeaderError
        not a full read-out (guider stamps), segments of unequal size, or a DATASEC that fits no known sensor.
    """
    assert instrument.camera is not None
    header = headers.merged("REB_COND")
    if name is not None and str(name) not in {str(d.id) for d in instrument.camera} | {
        d.name for d in instrument.camera
    }:
        raise HeaderError(
            f"{instrument.name} has no detector '{name}'", where=headers.path, remedy="e.g. R22_S11 or 94"
        )
    if name is None:
        found, _, _ = detector_name(header, instrument)
        known = {d.name for d in instrument.camera}
        base = instrument.camera[found] if found in known else replace(instrument.camera.detectors[0], name=found)
    else:
        base = instrument.camera[int(name) if str(name).isdigit() else name]
    segments = {hdu.name: hdu for hdu in headers.images if re.match(r"^Segment[01][0-7]$", hdu.name, re.IGNORECASE)}
    if not segments:
        stamps = not blank(header.get("N_STAMPS")) or str(header.get("DAQPART", "")) == "guider"
        what = (
            "guider stamps, not a read-out of the whole sensor"
            if stamps
            else "no segment (HDUs Segment00 to Segment17)"
        )
        raise HeaderError(
            f"the file holds {what}", where=headers.path,
            remedy="'fullwell show FILE' lists its HDUs; single images can be read with --camera generic --hdu NAME",
        )  # fmt: skip
    maker, source = vendor(headers)
    key = base.physical_type
    if maker and key in ("ITL", "E2V"):
        key = maker
    shapes = {hdu.shape for hdu in segments.values()}
    if len(shapes) > 1:
        raise HeaderError(f"segments of different sizes: {sorted(map(str, shapes))}", where=headers.path,
                          remedy="the file is damaged or no raw file of this camera")  # fmt: skip
    kind = instrument.types[key]
    kept = tuple(amp for amp in kind.amplifiers if str(amp.hdu).lower() in {n.lower() for n in segments})
    if len(kept) < len(kind.amplifiers):
        missing = ", ".join(sorted(str(a.hdu) for a in kind.amplifiers if a not in kept))
        raise HeaderError(f"HDU {missing} is missing", where=headers.path, remedy="the file is damaged or cut")
    ny, nx = next(iter(shapes))  # type: ignore[misc]
    amps = build_amplifiers(kind, segment=(int(ny), int(nx)), where=headers.path)
    for hdu in segments.values():
        said = parse_section(hdu.header.get("DATASEC"), keyword="DATASEC", where=f"{headers.path}, HDU {hdu.name}")
        if said is not None and said.box != amps[0].data:
            raise HeaderError(
                f"DATASEC {hdu.header['DATASEC']} is not that of an {key} sensor {amps[0].data}",
                where=f"{headers.path}, HDU {hdu.name}; maker from {source or 'the camera description'}",
                remedy="correct CCD_MANU or DATASEC, or describe the sensor in a camera file (--camera FILE)",
            )
    serial = str(header.get("LSST_NUM", "") or base.serial).strip()
    return replace(base, amplifiers=amps, physical_type=key, serial=serial)
