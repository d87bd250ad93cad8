"""The geometry of a detector out of its headers alone: sections, their directions, one HDU or many.

Rules, in this order:

- Data: TRIMSEC, else DATASEC, else (with an overscan section) the rest beside the overscan, else the whole image.
- Serial overscan: a BIASSEC (BIASSEC1 …, BIASSECA …, OVERSEC, POSTSEC) beside the data; above or below the data it
  is parallel overscan. PRESEC is prescan. ESO files count prescan and overscan pixels instead.
- Place in the assembled image: DETSEC, else CCDSEC, else LTM and LTV, divided by the binning, counted from the
  lowest; limits that run down mirror the axis.
- Read-out corner: ATM1_1 and ATM2_2 where given; else, of a detector with several amplifiers, the side of the overscan;
  else, of an image with two columns (rows) of amplifiers, the outer sides; else the first pixel stored.

What a header says that cannot be true is an error that names the keyword; what it does not say is noted.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from fullwell.base.errors import GeometryError, HeaderError
from fullwell.cameras import Amplifier, Box, Detector, Orientation
from fullwell.instruments.headers import FileHeaders, HduHeader
from fullwell.instruments.maps import HeaderMap, blank, number
from fullwell.instruments.options import CameraOptions
from fullwell.instruments.sections import parse_section
from fullwell.instruments.translate import binning_of, header_gain

__all__ = ["derive_detector", "detector_key", "geometry_note", "regrid"]

EMPTY = Box(0, 0, 0, 0)
OPTIONS = "give --overscan and --trim (sections, or 'none'), or describe the camera in a file (--camera FILE)"
_ROOTS = {
    "DATASEC": "data", "TRIMSEC": "trim", "BIASSEC": "bias", "OVERSEC": "bias", "OVRSEC": "bias",
    "POSTSEC": "bias", "PRESEC": "prescan", "DETSEC": "place", "CCDSEC": "ccd", "DSEC": "data",
    "TSEC": "trim", "BSEC": "bias", "CSEC": "ccd",
}  # fmt: skip
_KEY = re.compile(rf"^({'|'.join(_ROOTS)})([A-Z]|\d{{1,2}})?$")
_NAMES = ("CCDNAME", "CCDNUM", "DETNAME", "CHIPID", "CCDID", "DETECTOR")


@dataclass
class Piece:
    """What one amplifier's keywords say, in pixels of the array that holds it."""

    name: str
    hdu: HduHeader
    header: Mapping[str, Any]
    where: str
    suffix: str = ""
    segment: Box = EMPTY
    data: Box = EMPTY
    serial: Box = EMPTY
    parallel: Box = EMPTY
    prescan: Box = EMPTY
    place: Box = EMPTY
    stored: Orientation = Orientation()
    placed: Orientation = Orientation()
    found: dict[str, Any] = field(default_factory=dict)


def _sections(header: Mapping[str, Any]) -> dict[str, dict[str, tuple[str, Any]]]:
    """Suffix ("" for none) -> role -> (keyword, text), of sections that say something."""
    out: dict[str, dict[str, tuple[str, Any]]] = {}
    for keyword, value in header.items():
        match = _KEY.match(keyword)
        if match and isinstance(value, str) and not blank(value):
            roles = out.setdefault(match.group(2) or "", {})
            role = _ROOTS[match.group(1)]
            if role not in roles or match.group(1) == "BIASSEC":
                roles[role] = (keyword, value)
    return out


def geometry_note(headers: FileHeaders) -> str:
    """A sentence on what the headers say of data and overscan, for people."""
    image = headers.images[0] if headers.images else None
    header = {**headers.primary, **(image.header if image is not None else {})}
    roles = [role for found in _sections(header).values() for role in found]
    keys = [key for found in _sections(header).values() for key, _ in found.values()]
    counts = [k for k in ("PRSCX", "OVSCX", "PRSCY", "OVSCY") if number(header.get(f"ESO DET OUT1 {k}")) > 0]
    if not roles and counts:
        return f"ESO DET OUT1 {', '.join(counts)}"
    if not roles:
        return "no section keywords: the whole image is taken for data, without overscan"
    missing = "" if "bias" in roles else "; no BIASSEC: pixels outside the data are cut, no overscan is used"
    return ", ".join(keys) + missing


def _parse(piece: Piece, roles: Mapping[str, tuple[str, Any]]) -> None:
    """Read the sections of one amplifier into `piece.found`: role -> (keyword, Section)."""
    for role, (keyword, text) in roles.items():
        shape = piece.hdu.shape if role in ("data", "trim", "bias", "prescan") else None
        section = parse_section(text, keyword=keyword, where=piece.where, shape=shape)
        if section is not None:
            piece.found[role] = (keyword, section)


def _beside(inner: Box, outer: Box) -> str:
    """How `inner` lies to `outer`: "x" beside it, "y" above or below, "" overlapping or at a corner."""
    apart_x = inner.x1 <= outer.x0 or inner.x0 >= outer.x1
    apart_y = inner.y1 <= outer.y0 or inner.y0 >= outer.y1
    return ("x" if apart_x else "y") if apart_x != apart_y else ""


def _remainder(whole: Box, overscan: Box) -> Box:
    """The larger part of `whole` beside an overscan strip, in the direction in which the strip is thin."""
    if overscan.width / whole.width <= overscan.height / whole.height:
        left = Box(whole.x0, whole.y0, overscan.x0 - whole.x0, whole.height)
        right = Box(overscan.x1, whole.y0, whole.x1 - overscan.x1, whole.height)
        return max(left, right, key=lambda box: box.width)
    low = Box(whole.x0, whole.y0, whole.width, overscan.y0 - whole.y0)
    high = Box(whole.x0, overscan.y1, whole.width, whole.y1 - overscan.y1)
    return max(low, high, key=lambda box: box.height)


def _option(text: str, label: str, piece: Piece) -> Box | None:
    """An option's section; None for "auto", an empty box for "none"."""
    if text == "auto":
        return None
    section = parse_section(text, keyword=f"option {label}", where=piece.where, shape=piece.hdu.shape)
    return EMPTY if section is None else section.box


def _fill(piece: Piece, options: CameraOptions, whole: Box) -> None:
    """Data and overscan boxes of one amplifier, from options and sections.

    Raises
    ------
    HeaderError
        overscan and data overlap, or the overscan lies at a corner of the data.
    """
    found = {role: section.box for role, (_, section) in piece.found.items()}
    trim, serial, parallel = (
        _option(getattr(options, key), key, piece) for key in ("trim", "overscan", "parallel_overscan")
    )
    bias = found.get("bias", EMPTY) if serial is None else serial
    data = found.get("trim") or found.get("data") if trim is None else (trim if trim.area else whole)
    if data is not None and bias.area and data.intersection(bias).area and trim is None and "trim" in found:
        data = None if found["trim"] == whole else data
    if data is None:
        data = _remainder(whole, bias) if bias.area else whole
    keys = {role: key for role, (key, _) in piece.found.items()}
    if bias.area:
        side = _beside(bias, data)
        if not side:
            raise HeaderError(
                f"overscan {bias} and data {data} overlap or do not lie side by side",
                where=f"{piece.where}, {keys.get('bias', 'option overscan')} and "
                f"{keys.get('trim', keys.get('data', 'option trim'))}",
                remedy=OPTIONS,
            )
        if side == "x" or serial is not None:
            piece.serial = bias
        else:
            piece.parallel = bias
    if parallel is not None:
        piece.parallel = parallel
    piece.data, piece.prescan = data, found.get("prescan", EMPTY)


def _eso(piece: Piece) -> None:
    """Prescan and overscan counts of ESO files (pixels of the stored image) for one output.

    The output's place on the chip (``OUT1 X``, ``OUT1 Y``) says at which side the prescan was read. Overscan rows are
    used only where there are overscan columns as well: without a serial overscan the level of a row is not known, and
    such rows hold light in real files (EFOSC2), so they are cut off only.
    """
    head = piece.header
    counts = [number(head.get(f"ESO DET OUT1 {k}")) for k in ("PRSCX", "OVSCX", "PRSCY", "OVSCY")]
    if piece.hdu.shape is None or all(math.isnan(c) for c in counts) or number(head.get("ESO DET OUTPUTS", 1)) > 1:
        return
    px, ox, py, oy = (0 if math.isnan(c) else int(c) for c in counts)
    ny, nx = piece.hdu.shape[-2:]
    if px + ox >= nx or py + oy >= ny:
        return
    place = [number(head.get(f"ESO DET OUT1 {k}")) for k in ("X", "Y")]
    size = [number(head.get(f"ESO DET CHIP1 {k}")) for k in ("NX", "NY")]
    turn = Orientation(flip_x=place[0] > size[0] / 2, flip_y=place[1] > size[1] / 2)
    put = {label: turn.box(box, (ny, nx)) for label, box in {
        "data": Box(px, py, nx - px - ox, ny - py - oy), "prescan": Box(0, 0, px, ny),
        "serial": Box(nx - ox, 0, ox, ny), "parallel": Box(px, ny - oy, nx - px - ox, oy),
    }.items()}  # fmt: skip
    piece.stored, piece.data = turn, put["data"]
    piece.prescan = put["prescan"] if px else EMPTY
    piece.serial = put["serial"] if ox else EMPTY
    piece.parallel = put["parallel"] if ox and oy else EMPTY


def _place(piece: Piece, binning: tuple[int, int]) -> None:
    """Place and mirroring on the detector, in stored (binned) pixels."""
    mirrored = [piece.found[role][1] for role in ("trim", "data") if role in piece.found][:1]
    for role in ("place", "ccd"):
        if role in piece.found:
            keyword, section = piece.found[role]
            box = section.box
            size = (round(box.height / binning[1]), round(box.width / binning[0]))
            if size != piece.data.shape and box.shape != piece.data.shape:
                declared = piece.found.get("data")
                if declared is None or declared[1].box.shape not in (size, box.shape):
                    raise HeaderError(
                        f"{keyword} has {box.width} x {box.height} pixels, the data {piece.data.width} x "
                        f"{piece.data.height} with binning {binning[0]} x {binning[1]}",
                        where=piece.where,
                        remedy=OPTIONS,
                    )
            scale = (1, 1) if box.shape == piece.data.shape else binning
            x0, y0 = round(box.x0 / scale[0]), round(box.y0 / scale[1])
            piece.place = Box(x0, y0, piece.data.width, piece.data.height)
            flips = [section, *mirrored]
            piece.placed = Orientation(
                flip_x=sum(s.flip_x for s in flips) % 2 == 1, flip_y=sum(s.flip_y for s in flips) % 2 == 1
            )
            return
    spots = []
    for axis, (start, length, step) in enumerate(
        ((piece.data.x0, piece.data.width, binning[0]), (piece.data.y0, piece.data.height, binning[1])), 1
    ):
        unit, shift = number(piece.header.get(f"LTM{axis}_{axis}")), number(piece.header.get(f"LTV{axis}"))
        if not math.isfinite(unit) or unit == 0 or not math.isfinite(shift):
            spots.append((start, False))
            continue
        ends = sorted((p - shift) / unit for p in (start + 0.5, start + length + 0.5))
        spots.append((round((ends[0] - 0.5) / (step if abs(unit) < 0.75 else 1)), unit < 0))
    piece.place = Box(max(spots[0][0], 0), max(spots[1][0], 0), piece.data.width, piece.data.height)
    piece.placed = Orientation(flip_x=spots[0][1], flip_y=spots[1][1])


def _corner(piece: Piece, pieces: Sequence[Piece], shared: bool) -> None:
    """How read-out order lies in the stored array (`stored`)."""
    flips = []
    for axis, label in ((1, "x"), (2, "y")):
        said = number(piece.header.get(f"ATM{axis}_{axis}{piece.suffix}", piece.header.get(f"ATM{axis}_{axis}")))
        strip = piece.serial if label == "x" else piece.parallel
        starts = sorted({getattr(p.data, f"{label}0") for p in pieces})
        if math.isfinite(said) and said != 0:
            flips.append(said < 0)
        elif len(pieces) > 1 and strip.area:
            flips.append(getattr(strip, f"{label}0") < getattr(piece.data, f"{label}0"))
        elif shared and len(starts) == 2:
            flips.append(getattr(piece.data, f"{label}0") == starts[1])
        else:
            flips.append(False)
    piece.stored = Orientation(flip_x=flips[0], flip_y=flips[1])


def _bounding(boxes: Sequence[Box]) -> Box:
    real = [box for box in boxes if box.area]
    x0, y0 = min(b.x0 for b in real), min(b.y0 for b in real)
    return Box(x0, y0, max(b.x1 for b in real) - x0, max(b.y1 for b in real) - y0)


def _amplifier(piece: Piece, raw: Box, multi: bool, values: Mapping[str, float]) -> Amplifier:
    """The amplifier of a complete piece; `raw` is its place in the raw image."""
    size, origin = piece.segment.shape, piece.segment
    inner = {}
    for label, box in (
        ("data", piece.data),
        ("prescan", piece.prescan),
        ("serial_overscan", piece.serial),
        ("parallel_overscan", piece.parallel),
    ):
        inner[label] = piece.stored.undo_box(box.shifted(-origin.x0, -origin.y0), size) if box.area else EMPTY
    shown = Orientation(piece.stored.flip_x != piece.placed.flip_x, piece.stored.flip_y != piece.placed.flip_y)
    return Amplifier(
        name=piece.name,
        shape=size,
        raw=raw,
        trimmed=piece.place,
        raw_orientation=shown if multi else piece.stored,
        orientation=shown,
        hdu=(piece.hdu.name or piece.hdu.index) if multi else None,
        hdu_orientation=piece.stored if multi else Orientation(),
        **inner,  # type: ignore[arg-type]
        **values,  # type: ignore[arg-type]
    )


def regrid(places: Sequence[Box], sizes: Sequence[tuple[int, int]]) -> list[Box]:
    """Boxes for segments of `sizes` (rows, columns) in a raw mosaic, in the arrangement of their `places`.

    Segments in one column of places share their x; where the grid is irregular they are set side by side.
    """
    xs, ys = sorted({b.x0 for b in places}), sorted({b.y0 for b in places})
    cells = {(xs.index(b.x0), ys.index(b.y0)) for b in places}
    if len(cells) < len(places):
        out, x = [], 0
        for ny, nx in sizes:
            out.append(Box(x, 0, nx, ny))
            x += nx
        return out
    columns, rows = [0] * len(xs), [0] * len(ys)
    for box, (ny, nx) in zip(places, sizes, strict=True):
        i, j = xs.index(box.x0), ys.index(box.y0)
        columns[i], rows[j] = max(columns[i], nx), max(rows[j], ny)
    return [
        Box(sum(columns[: xs.index(b.x0)]), sum(rows[: ys.index(b.y0)]), nx, ny)
        for b, (ny, nx) in zip(places, sizes, strict=True)
    ]


def detector_key(header: Mapping[str, Any]) -> str:
    """The name of the detector that a header belongs to, "" where it does not say."""
    for keyword in _NAMES:
        value = header.get(keyword)
        if not blank(value):
            return str(int(value) if isinstance(value, float) and value.is_integer() else value).strip()
    return ""


def _chosen(headers: FileHeaders, options: CameraOptions) -> tuple[str, list[HduHeader]]:
    """The detector's name and the HDUs that belong to it.

    Raises
    ------
    HeaderError
        no image, several detectors without a choice, or several images whose relation is not told.
    """
    images = [hdu for hdu in headers.images if hdu.shape is not None and len(hdu.shape) == 2]
    if options.hdu is not None:
        images = [h for h in images if options.hdu in (h.name, h.index, str(h.index))]
    if not images:
        wanted = f"no HDU {options.hdu!r} with a two-dimensional image" if options.hdu is not None else "no image"
        raise HeaderError(wanted, where=headers.path, remedy="'fullwell show FILE' lists the HDUs of a file")
    groups: dict[str, list[HduHeader]] = {}
    for hdu in images:
        groups.setdefault(detector_key(hdu.header) or detector_key(headers.primary), []).append(hdu)
    if options.detector is not None and len(groups) > 1:
        for name, members in groups.items():
            numbers = {str(m.header.get("CCDNUM", "")) for m in members} | {m.name for m in members}
            if str(options.detector) == name or str(options.detector) in numbers:
                return name, members
        raise HeaderError(
            f"no detector '{options.detector}'", where=headers.path, remedy=f"the file holds {', '.join(groups)}"
        )
    if len(groups) > 1:
        raise HeaderError(
            f"the file holds {len(groups)} detectors: {', '.join(list(groups)[:8])}",
            where=headers.path,
            remedy="choose one with --detector NAME",
            code="FW134",
        )
    name, members = next(iter(groups.items()))
    placed = [h for h in members if any({"place", "ccd"} & set(s) for s in _sections(h.header).values())]
    if len(members) > 1 and len(placed) < len(members):
        if len(placed) == 1:
            return name, placed
        raise HeaderError(
            f"{len(members)} images without DETSEC or CCDSEC: how they belong together is not told",
            where=f"{headers.path}, HDUs {', '.join(h.name or str(h.index) for h in members[:6])}",
            remedy="choose one with --hdu NAME, or describe the camera in a file (--camera FILE)",
        )
    return name, members


def _pieces(headers: FileHeaders, hdus: Sequence[HduHeader]) -> list[Piece]:
    """One piece per amplifier."""
    out = []
    for hdu in hdus:
        header = {**{k: v for k, v in headers.primary.items() if not _KEY.match(k)}, **hdu.header}
        if len(hdus) == 1:
            header = {**headers.primary, **hdu.header}
        where = f"{headers.path}, HDU {hdu.name or hdu.index}"
        sections = _sections(header)
        several = sorted(s for s, roles in sections.items() if s and {"data", "trim", "ccd", "place"} & set(roles))
        suffixes = several if len(several) > 1 else [several[0] if several and "" not in sections else ""]
        for suffix in suffixes:
            name = hdu.name if len(hdus) > 1 and suffixes == [""] else suffix or "0"
            if len(hdus) > 1 and suffix:
                name = f"{hdu.name}{suffix}"
            piece = Piece(name or str(hdu.index), hdu, header, where, suffix)
            roles = dict(sections.get(suffix, {}))
            if suffix and len(suffixes) == 1:
                roles = {**sections.get("", {}), **roles}
            _parse(piece, roles)
            out.append(piece)
    return out


def _electronics(piece: Piece, maps: HeaderMap, comments: Mapping[str, str]) -> dict[str, float]:
    """Gain and read noise of one amplifier as stated: per-amplifier keywords first (GAINA, GTGAIN11 …)."""
    s, header = piece.suffix, piece.header
    gain = number(header.get(f"GAIN{s}")) if s else math.nan
    noise = number(header.get(f"RDNOISE{s}")) if s else math.nan
    if s and not math.isfinite(gain):
        gain, noise = number(header.get(f"GTGAIN{s}")), number(header.get(f"GTRON{s}"))
    if not math.isfinite(gain) or not 0.01 < gain < 100:
        gain, _, _ = header_gain(header, maps, comments)
    if not math.isfinite(noise):
        _, keyword, _ = maps.find("header_read_noise", header)
        noise = number(header.get(keyword)) if keyword else math.nan
    return {"gain": gain, "read_noise": noise if noise > 0 else math.nan}


def derive_detector(headers: FileHeaders, options: CameraOptions | None = None, *, maps: HeaderMap) -> Detector:
    """The detector that the headers and the options describe.

    Parameters
    ----------
    headers : all HDUs of the file; options : statements of the user, which overrule the headers; maps : header map.

    Returns
    -------
    Detector
        amplifiers of one HDU have ``hdu`` None where the raw image is the file's only image, its name otherwise.

    Raises
    ------
    HeaderError
        sections that cannot be true, several detectors without a choice, or no image.
    """
    options = options or CameraOptions()
    name, hdus = _chosen(headers, options)
    pieces = _pieces(headers, hdus)
    multi = len(hdus) > 1
    shared = not multi and len(pieces) > 1
    if shared and options.states_geometry:
        raise HeaderError(
            f"sections given as options hold for one amplifier, the headers tell of {len(pieces)}",
            where=headers.path,
            remedy="describe the camera in a file (--camera FILE)",
        )
    binning, _ = binning_of(pieces[0].header, maps)
    for piece in pieces:
        assert piece.hdu.shape is not None
        whole = Box.from_shape(piece.hdu.shape)
        if shared and not {"data", "trim"} & set(piece.found):
            raise HeaderError(f"amplifier {piece.suffix} has no DATASEC or TRIMSEC", where=piece.where, remedy=OPTIONS)
        if not piece.found and not options.states_geometry:
            piece.data = whole
            _eso(piece)
        else:
            _fill(piece, options, whole)
        _place(piece, binning)
    for piece in pieces:
        if piece.found:
            _corner(piece, pieces, shared)
        assert piece.hdu.shape is not None
        parts = [piece.data, piece.serial, piece.parallel, piece.prescan]
        piece.segment = _bounding(parts) if shared else Box.from_shape(piece.hdu.shape)
    if options.corner and len(pieces) == 1:
        pieces[0].stored = Orientation(options.corner[1] == "R", options.corner[0] == "U")
    return _assemble(name, headers, pieces, options, maps)


def _assemble(
    name: str, headers: FileHeaders, pieces: list[Piece], options: CameraOptions, maps: HeaderMap
) -> Detector:
    """The detector of complete pieces, its assembled image starting at (0, 0)."""
    multi = len({p.hdu.index for p in pieces}) > 1
    x0, y0 = min(p.place.x0 for p in pieces), min(p.place.y0 for p in pieces)
    for piece in pieces:
        piece.place = piece.place.shifted(-x0, -y0)
    raws = (
        regrid([p.place for p in pieces], [p.segment.shape for p in pieces]) if multi else [p.segment for p in pieces]
    )
    amps = []
    for piece, raw in zip(pieces, raws, strict=True):
        values = {**_electronics(piece, maps, headers.comments), **options.values()}
        amps.append(_amplifier(piece, raw, multi, values))
    only = pieces[0].hdu
    if not multi and (len(headers.images) > 1 or options.hdu is not None):
        own = len(amps) == 1
        amps = [
            replace(a, hdu=only.name or only.index, hdu_orientation=a.raw_orientation if own else Orientation())
            for a in amps
        ]
    size = number(pieces[0].header.get("XPIXSZ"))
    index = number(pieces[0].header.get("CCDNUM"))
    detector = Detector(name or "0", int(index) if math.isfinite(index) else 0, tuple(amps),
                        pixel_size=size / 1000 if 1 <= size <= 100 else 0.01)  # fmt: skip
    try:
        detector.check_tiling()
    except GeometryError as err:
        raise HeaderError(
            f"the sections of the amplifiers cannot be true: {err.problem}",
            where=f"{headers.path}, keywords DATASEC, TRIMSEC, DETSEC, CCDSEC",
            remedy="describe the camera in a file (--camera FILE)",
        ) from err
    return detector
