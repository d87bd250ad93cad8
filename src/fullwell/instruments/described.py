"""A camera described by data (a parsed TOML file) as a `Camera`.

A *type* is the layout of the amplifiers of one sort of sensor. Two forms exist and may be mixed:

- tiles: all amplifiers alike or nearly so. ``segment = [rows, columns]`` is all that one amplifier reads,
  ``data`` its light-sensitive part, ``prescan`` the columns before it; the columns and rows that
  remain after the data are the serial and parallel overscan. ``tile = [column, row]`` is the place
  in the assembled image, ``corner`` the corner of the assembled image where read-out starts.
- sections: ``raw``, ``data``, ``serial_overscan`` … are FITS sections in the raw image, ``trimmed`` the
  place in the assembled image.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from pydantic import Field

from fullwell.base.config import StepConfig, load
from fullwell.base.errors import GeometryError
from fullwell.cameras import Amplifier, Box, Camera, Detector, Orientation
from fullwell.instruments.sections import parse_section

__all__ = [
    "AmplifierSpec",
    "DetectorSpec",
    "RaftSpec",
    "TypeSpec",
    "build_amplifiers",
    "build_camera",
    "orientation_of",
]

CORNER = "^(LL|LR|UL|UR)$"


class AmplifierSpec(StepConfig):
    """One amplifier of a sensor type; what is absent comes from the type."""

    name: str
    corner: str = Field(default="LL", pattern=CORNER, description="corner of the assembled image where read-out starts")
    transpose: bool = Field(default=False, description="rows are read along columns of the assembled image")
    tile: tuple[int, int] | None = Field(default=None, description="(column, row) of the place in the assembled image")
    hdu: str | int | None = Field(default=None, description="HDU of the segment, in files with one HDU per amplifier")
    hdu_corner: str = Field(
        default="LL", pattern=CORNER, description="corner of that HDU's array where read-out starts"
    )
    raw_corner: str | None = Field(
        default=None, pattern=CORNER, description="the same in the raw image; default: corner"
    )
    segment: tuple[int, int] | None = None
    data: tuple[int, int] | str | None = None
    prescan: int | str | None = None
    parallel_prescan: int | None = None
    serial_overscan: str | None = None
    parallel_overscan: str | None = None
    raw: str | None = None
    trimmed: str | None = None
    gain: float | None = None
    read_noise: float | None = None
    saturation: float | None = None
    suspect: float | None = None


class TypeSpec(StepConfig):
    """One sort of sensor: what its amplifiers have in common, and their list."""

    segment: tuple[int, int] | None = Field(default=None, description="(rows, columns) that one amplifier reads")
    data: tuple[int, int] | None = Field(default=None, description="(rows, columns) of light-sensitive pixels")
    prescan: int = Field(default=0, ge=0, description="columns read before the data")
    parallel_prescan: int = Field(default=0, ge=0, description="rows read before the data")
    gain: float = Field(default=math.nan, description="nominal [electron/adu]")
    read_noise: float = Field(default=math.nan, description="nominal [electron]")
    saturation: float = Field(default=math.nan, description="nominal [adu above overscan]")
    suspect: float = Field(default=math.nan, description="nominal [adu above overscan]")
    physical_type: str = Field(default="", description="maker or model, as products call it")
    pixel_size: float = Field(default=0.01, gt=0, description="[mm]")
    amplifiers: tuple[AmplifierSpec, ...]


class DetectorSpec(StepConfig):
    """One sensor of the camera."""

    name: str
    id: int = 0
    type: str = ""
    serial: str = ""
    centre: tuple[float, float] = Field(default=(0.0, 0.0), description="on the focal plane [mm]")
    rotation: float = Field(default=0.0, description="of the x axis, counter-clockwise [degree]")


class RaftSpec(StepConfig):
    """A regular focal plane of rafts ``R<row><column>`` with slots ``S<row><column>``; ids count up in this order."""

    types: dict[str, str] = Field(description="raft name -> sensor type, in order of the ids")
    slots: tuple[str, ...]
    pitch: float = Field(description="between raft centres [mm]")
    slot_pitch: float = Field(description="between sensors of a raft [mm]")
    centre: tuple[int, int] = Field(default=(2, 2), description="(row, column) of the raft at the origin")
    first_id: int = 0


def orientation_of(corner: str, transpose: bool = False) -> Orientation:
    """The orientation that puts the first pixel read into `corner`."""
    return Orientation(flip_x=corner[1] == "R", flip_y=corner[0] == "U", transpose=transpose)


def _inside(amp: AmplifierSpec, label: str, raw: Box, turn: Orientation, where: str) -> Box:
    """A section of the raw image as a box of the segment in read-out order."""
    text = getattr(amp, label)
    section = None if text is None else parse_section(text, keyword=label, where=where)
    if section is None:
        return Box(0, 0, 0, 0)
    if not raw.contains(section.box):
        raise GeometryError(
            f"{label} {text} lies outside the segment {raw} of amplifier {amp.name}",
            where=where,
            remedy="all sections of an amplifier lie inside its 'raw' section",
        )
    size = (raw.width, raw.height) if turn.transpose else raw.shape
    return turn.undo_box(section.box.shifted(-raw.x0, -raw.y0), size)


def _values(amp: AmplifierSpec, kind: TypeSpec) -> dict[str, float]:
    labels = ("gain", "read_noise", "saturation", "suspect")
    return {k: getattr(kind, k) if getattr(amp, k) is None else getattr(amp, k) for k in labels}


def _from_sections(amp: AmplifierSpec, kind: TypeSpec, where: str) -> Amplifier:
    """The amplifier of the section form."""
    place = f"{where}, amplifier {amp.name}"
    raw = parse_section(amp.raw, keyword="raw", where=place)
    if raw is None or not isinstance(amp.data, str):
        raise GeometryError(
            f"amplifier {amp.name} needs the sections 'raw' and 'data'",
            where=where,
            remedy='give both as FITS sections in the raw image, e.g. raw = "[1:1076,1:520]"',
        )
    turn = orientation_of(amp.raw_corner or amp.corner, amp.transpose)
    inner = {
        label: _inside(amp, label, raw.box, turn, place)
        for label in ("data", "prescan", "serial_overscan", "parallel_overscan")
        if label != "prescan" or isinstance(amp.prescan, str)
    }
    shown = orientation_of(amp.corner, amp.transpose)
    trimmed = parse_section(amp.trimmed, keyword="trimmed", where=place)
    box = trimmed.box if trimmed else Box.from_shape(shown.shape(inner["data"].shape))
    return Amplifier(
        name=amp.name,
        shape=(raw.box.width, raw.box.height) if turn.transpose else raw.box.shape,
        raw=raw.box,
        trimmed=box,
        raw_orientation=turn,
        orientation=shown,
        hdu=amp.hdu,
        hdu_orientation=orientation_of(amp.hdu_corner),
        **inner,  # type: ignore[arg-type]
        **_values(amp, kind),  # type: ignore[arg-type]
    )


def _offsets(sizes: Mapping[tuple[int, int], tuple[int, int]], what: str, where: str) -> dict[tuple[int, int], Box]:
    """Boxes of tiles (column, row) -> (height, width): columns share a width, rows a height."""
    out: dict[int, dict[int, int]] = {}
    for axis, label in ((0, "column"), (1, "row")):
        seen: dict[int, int] = {}
        for tile, size in sizes.items():
            if seen.setdefault(tile[axis], size[1 - axis]) != size[1 - axis]:
                raise GeometryError(
                    f"the {what} of tile {label} {tile[axis]} differ in size: {seen[tile[axis]]} and {size[1 - axis]}",
                    where=where,
                    remedy="tiles of one column are equally wide, of one row equally high; "
                    "use 'raw', 'data' and 'trimmed' sections for other layouts",
                )
        start, starts = 0, {}
        for index in sorted(seen):
            starts[index] = start
            start += seen[index]
        out[axis] = starts
    return {tile: Box(out[0][tile[0]], out[1][tile[1]], size[1], size[0]) for tile, size in sizes.items()}


def _tiles(kind: TypeSpec, segment: tuple[int, int] | None, where: str) -> list[Amplifier]:
    """Amplifiers of the tile form."""
    rows = []
    for amp in kind.amplifiers:
        size = segment or amp.segment or kind.segment
        data = amp.data if isinstance(amp.data, tuple) else kind.data
        if size is None or data is None or amp.tile is None:
            raise GeometryError(
                f"amplifier {amp.name} has no full description",
                where=where,
                remedy="give 'segment', 'data' (of the type or the amplifier) and 'tile', or the sections "
                "'raw', 'data' and 'trimmed'",
            )
        pre = amp.prescan if isinstance(amp.prescan, int) else kind.prescan
        before = kind.parallel_prescan if amp.parallel_prescan is None else amp.parallel_prescan
        if pre + data[1] > size[1] or before + data[0] > size[0]:
            raise GeometryError(
                f"prescan and data of amplifier {amp.name} need {before + data[0]} rows and {pre + data[1]} columns, "
                f"its segment has {size[0]} and {size[1]}",
                where=where,
            )
        rows.append((amp, size, Box(pre, before, data[1], data[0])))
    turns = {amp.name: orientation_of(amp.corner, amp.transpose) for amp, _, _ in rows}
    raw_turns = {amp.name: orientation_of(amp.raw_corner or amp.corner, amp.transpose) for amp, _, _ in rows}
    raws = _offsets({a.tile: raw_turns[a.name].shape(s) for a, s, _ in rows if a.tile}, "segments", where)
    boxes = _offsets({a.tile: turns[a.name].shape(d.shape) for a, _, d in rows if a.tile}, "data boxes", where)
    out = []
    for amp, size, inner in rows:
        assert amp.tile is not None
        width, height = size[1] - inner.x1, size[0] - inner.y1
        out.append(
            Amplifier(
                name=amp.name,
                shape=size,
                data=inner,
                raw=raws[amp.tile],
                trimmed=boxes[amp.tile],
                prescan=Box(0, 0, inner.x0, size[0]) if inner.x0 else Box(0, 0, 0, 0),
                serial_overscan=Box(inner.x1, 0, width, size[0]) if width else Box(0, 0, 0, 0),
                parallel_overscan=Box(inner.x0, inner.y1, inner.width, height) if height else Box(0, 0, 0, 0),
                raw_orientation=raw_turns[amp.name],
                orientation=turns[amp.name],
                hdu=amp.hdu,
                hdu_orientation=orientation_of(amp.hdu_corner),
                **_values(amp, kind),  # type: ignore[arg-type]
            )
        )
    return out


def build_amplifiers(
    kind: TypeSpec, *, segment: tuple[int, int] | None = None, where: str = ""
) -> tuple[Amplifier, ...]:
    """The amplifiers of a sensor type.

    Parameters
    ----------
    kind : the type; segment : (rows, columns) actually read, where it differs from the type
        (more or less overscan); the data box keeps its place, the overscans end at the edge.
    where : file, for messages.

    Raises
    ------
    GeometryError
        incomplete or impossible description.
    """
    if any(amp.raw is not None for amp in kind.amplifiers):
        return tuple(_from_sections(amp, kind, where) for amp in kind.amplifiers)
    return tuple(_tiles(kind, segment, where))


def _raft_detectors(rafts: RaftSpec) -> list[DetectorSpec]:
    """The detectors of a regular focal plane."""
    out: list[DetectorSpec] = []
    for raft, kind in rafts.types.items():
        row, column = int(raft[1]), int(raft[2])
        for slot in rafts.slots:
            x = (column - rafts.centre[1]) * rafts.pitch + (int(slot[2]) - 1) * rafts.slot_pitch
            y = (row - rafts.centre[0]) * rafts.pitch + (int(slot[1]) - 1) * rafts.slot_pitch
            number = rafts.first_id + len(out)
            out.append(DetectorSpec(name=f"{raft}_{slot}", id=number, type=kind, centre=(x, y)))
    return out


def build_camera(name: str, types: Mapping[str, TypeSpec], table: Mapping[str, Any], *, where: str = "") -> Camera:
    """A `Camera` from its types and the tables "rafts" and "detectors" of its file.

    Raises
    ------
    ConfigError
        a key is unknown or of the wrong type.
    GeometryError
        a detector names a type that is not described, or an amplifier cannot be as described.
    """
    layouts = {key: build_amplifiers(kind, where=f"{where}, type {key}") for key, kind in types.items()}
    specs = _raft_detectors(load(RaftSpec, table["rafts"], where=f"{where} [rafts]")) if "rafts" in table else []
    specs += [load(DetectorSpec, row, where=f"{where} [[detectors]]") for row in table.get("detectors", [])]
    if not specs:
        specs = [DetectorSpec(name=name, type=next(iter(types)))]
    detectors = []
    for spec in specs:
        key = spec.type or next(iter(types))
        if key not in types:
            raise GeometryError(
                f"detector {spec.name} is of type '{key}', which is not described",
                where=where,
                remedy=f"described are: {', '.join(types)}",
            )
        detectors.append(
            Detector(
                name=spec.name,
                id=spec.id,
                amplifiers=layouts[key],
                serial=spec.serial,
                physical_type=types[key].physical_type,
                pixel_size=types[key].pixel_size,
                centre=spec.centre,
                rotation=spec.rotation,
            )
        )
    return Camera(name, tuple(detectors), str(table.get("description", "")), dict(table.get("bands", {})))
