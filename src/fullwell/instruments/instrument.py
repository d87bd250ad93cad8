"""`Instrument`: a camera's geometry, its header map and its recipe, made from one folder of data files."""

from __future__ import annotations

import fnmatch
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from fullwell.base.config import load
from fullwell.base.errors import ConfigError, GeometryError, HeaderError
from fullwell.cameras import Camera, Detector
from fullwell.frames import Observation
from fullwell.instruments.derive import derive_detector, detector_key, geometry_note
from fullwell.instruments.described import TypeSpec, build_camera
from fullwell.instruments.headers import FileHeaders
from fullwell.instruments.kinds import band_of
from fullwell.instruments.maps import HeaderMap, blank
from fullwell.instruments.options import CameraOptions
from fullwell.instruments.translate import header_of, translate

__all__ = ["Instrument", "from_folder", "from_mapping"]

HOME = Path(__file__).parent
_KEYS = {
    "name",
    "description",
    "recipe",
    "header",
    "include",
    "identify",
    "bands",
    "types",
    "rafts",
    "detectors",
    "headers",
}


@dataclass(frozen=True)
class Instrument:
    """One camera as its files show it.

    Parameters
    ----------
    name : "lsstcam", "generic" …; description : a sentence.
    camera : geometry; None where it comes from the headers of each file.
    recipe : name of the recipe that suits it.
    map : which keyword holds which field.
    matches : alternatives; each a keyword -> patterns table that a header must fulfil as a whole.
    bands : physical filter -> band.
    types : sensor types as described, for files whose segments differ from the description.
    adapter : "rubin" where the rules of `fullwell.instruments.rubin` apply, else "".
    source : file that describes it.
    """

    name: str
    description: str = ""
    camera: Camera | None = None
    recipe: str = "generic"
    map: HeaderMap = field(default_factory=HeaderMap)
    matches: tuple[Mapping[str, tuple[str, ...]], ...] = ()
    bands: Mapping[str, str] = field(default_factory=dict)
    types: Mapping[str, TypeSpec] = field(default_factory=dict)
    adapter: str = ""
    source: str = ""

    def claims(self, headers: FileHeaders) -> bool:
        """Whether the file is from this instrument: INSTRUME is its name, or one of `matches` holds."""
        header = header_of(headers)
        if str(header.get("INSTRUME", "")).strip().lower() == self.name:
            return True
        return any(
            all(_fits(header.get(keyword), patterns) for keyword, patterns in match.items()) for match in self.matches
        )

    def band(self, optics: str) -> str:
        """Band of a physical filter: of the table, else read off the filter's name."""
        first = optics.split("~")[0]
        return self.bands.get(optics) or self.bands.get(first) or band_of(first)

    def observation(self, headers: FileHeaders) -> Observation:
        """What the headers say about the exposure; `Observation.sources` says which keyword told what."""
        if self.adapter == "rubin":
            from fullwell.instruments import rubin

            return rubin.observation(self, headers)
        if self.camera is None:
            from fullwell.instruments import foreign

            plain = translate(headers, self.map)
            plain.sources["geometry"] = geometry_note(headers)
            return foreign.observation(headers, plain) or plain
        seen = translate(headers, self.map, name=self.name, bands=self.bands)
        try:
            chosen = self._named(headers, None)
        except HeaderError:
            seen.sources["detector"] = "not named"
            return seen
        return replace(seen, detector=chosen.name, detector_id=chosen.id)

    def detector(self, headers: FileHeaders, options: CameraOptions | None = None) -> Detector:
        """The detector of the file: described amplifiers, or those that the headers tell.

        Parameters
        ----------
        headers : all HDUs of the file; options : statements of the user; numbers overrule gain, read noise and
            saturation; sections are only for instruments without a described camera.

        Returns
        -------
        Detector
            `Amplifier.raw` boxes tile the raw image. Where all amplifiers name the same HDU the raw image is that HDU;
            where each names its own, the raw image is put together from them.

        Raises
        ------
        HeaderError
            the headers name no known detector, or cannot be true.
        GeometryError
            the image does not have the size that the camera describes.
        """
        options = options or CameraOptions()
        if self.camera is None:
            return derive_detector(headers, options, maps=self.map)
        if options.states_geometry:
            raise HeaderError(
                f"sections are given as options, but {self.name} describes its amplifiers",
                where=headers.path,
                remedy="leave the options out, or read the file with --camera generic",
            )
        if (self.adapter == "rubin" and any(hdu.name.lower().startswith("segment") for hdu in headers.images)) or (
            self.adapter == "rubin" and not _single(headers, self.camera)
        ):
            from fullwell.instruments import rubin

            found = rubin.detector(self, headers, options.detector)
        else:
            found = self._sized(self._named(headers, options.detector), headers)
        stated = {key: dict.fromkeys(found.names, value) for key, value in options.values().items()}
        return found.with_values(**stated) if stated else found

    def _named(self, headers: FileHeaders, name: str | int | None) -> Detector:
        """The described detector that options or header name; the only one of a camera of one."""
        assert self.camera is not None
        if name is not None:
            return self.camera[int(name) if str(name).isdigit() else name]
        if len(self.camera) == 1:
            return self.camera.detectors[0]
        header = header_of(headers)
        if self.adapter == "rubin":
            from fullwell.instruments import rubin

            return self.camera[rubin.detector_name(header, self)[0]]
        known = {det.name: det for det in self.camera} | {str(det.id): det for det in self.camera}
        keys = [detector_key(header), *(str(header.get(k, "")).strip() for k in self.map.keywords.get("detector", ()))]
        for key in keys:
            if key in known:
                return known[key]
        raise HeaderError(
            f"no detector of camera {self.name} is named in the header",
            where=headers.path,
            remedy=f"name it with --detector: {', '.join(det.name for det in self.camera.detectors[:8])}",
            code="FW134",
        )

    def _sized(self, detector: Detector, headers: FileHeaders) -> Detector:
        """`detector`, if the images of the file have the sizes that it describes."""
        by_name = {key: hdu for hdu in headers.images for key in (hdu.name, hdu.index) if key != ""}
        wanted = {amp.hdu for amp in detector}
        if len(wanted) > 1:
            for amp in detector:
                hdu = by_name.get(amp.hdu if amp.hdu is not None else 0)
                shape = amp.hdu_orientation.shape(amp.shape)
                if hdu is None or hdu.shape != shape:
                    raise _wrong(self.name, headers, f"HDU {amp.hdu}", shape, None if hdu is None else hdu.shape)
            if len(headers.images) == 1 and None not in wanted:
                return replace(detector, amplifiers=tuple(replace(a, hdu=None) for a in detector))
            return detector
        only = next(iter(wanted))
        image = by_name.get(only) if only is not None else (headers.images[0] if headers.images else None)
        need = detector.raw_box.shape
        if image is None or image.shape is None or image.shape[-2] < need[0] or image.shape[-1] < need[1]:
            raise _wrong(self.name, headers, "the image", need, None if image is None else image.shape)
        if self.adapter != "" and image.shape != need:
            raise _wrong(self.name, headers, "the image", need, image.shape)
        return detector


def _single(headers: FileHeaders, camera: Camera) -> bool:
    """Whether the file holds one image of the size of a whole raw detector of the camera."""
    images = headers.images
    return len(images) == 1 and images[0].shape in {det.raw_box.shape for det in camera}


def _wrong(name: str, headers: FileHeaders, what: str, need: tuple, got: tuple | None) -> GeometryError:
    have = "is missing" if got is None else f"has {got[-1]} x {got[-2]} pixels"
    return GeometryError(
        f"{what} {have}, camera {name} describes {need[1]} x {need[0]}",
        where=headers.path,
        remedy="a windowed or binned read-out needs a camera file of its own; "
        "--camera generic reads the file by its headers",
    )


def _fits(value: Any, patterns: tuple[str, ...]) -> bool:
    """Whether a header value matches one of the patterns (upper and lower case alike, * and ? allowed)."""
    text = "" if blank(value) else str(value).strip().lower()
    return any(fnmatch.fnmatchcase(text, pattern.lower()) for pattern in patterns)


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` laid on `base`, tables merged key by key."""
    out = dict(base)
    for key, value in over.items():
        both = isinstance(value, Mapping) and isinstance(out.get(key), Mapping)
        out[key] = _merge(out[key], value) if both else value
    return out


@cache
def _toml(path: Path) -> dict[str, Any]:
    with path.open("rb") as stream:
        return tomllib.load(stream)


def from_mapping(table: Mapping[str, Any], source: str = "", *, shipped: bool = False) -> Instrument:
    """An instrument from a parsed camera file.

    Parameters
    ----------
    table : keys name, description, recipe, identify, bands, types, detectors, rafts, headers
        (see instruments/README.md); source : the file, for messages.
    shipped : whether the keys "include" and "header" (rules in Python) are allowed.

    Raises
    ------
    ConfigError
        a key or value that is not understood.
    GeometryError
        amplifiers that overlap, leave gaps, or lie outside their image.
    """
    where = source or "camera description"
    allowed = _KEYS if shipped else _KEYS - {"header", "include"}
    for key in table:
        if key not in allowed:
            raise ConfigError(f"unknown key '{key}'", where=where, remedy=f"known: {', '.join(sorted(allowed))}")
    if not isinstance(table.get("name"), str) or not table["name"].strip():
        raise ConfigError("the camera has no name", where=where, remedy='add a line: name = "mycamera"')
    if "include" in table:
        table = _merge(_toml(HOME / f"{table['include']}.toml"), table)
    name = table["name"].strip().lower()
    types = {key: load(TypeSpec, spec, where=f"{where} [types.{key}]") for key, spec in table.get("types", {}).items()}
    camera = build_camera(name, types, table, where=where) if types else None
    for det in camera or ():
        det.check_tiling()
    rows = table.get("identify", [])
    matches = tuple(
        {k.upper(): (v,) if isinstance(v, str) else tuple(map(str, v)) for k, v in row.items()}
        for row in (rows if isinstance(rows, list) else [rows])
    )
    base = HeaderMap.from_mapping(_toml(HOME / "generic" / "headers.toml"))
    return Instrument(
        name=name,
        description=str(table.get("description", "")),
        camera=camera,
        recipe=str(table.get("recipe", "generic")),
        map=HeaderMap.from_mapping(table.get("headers", {}), base, where=f"{where} [headers]"),
        matches=matches,
        bands=dict(table.get("bands", {})),
        types=types,
        adapter=str(table.get("header", "")),
        source=source,
    )


def from_folder(folder: Path) -> Instrument:
    """The instrument of a folder with ``camera.toml`` and, where needed, ``headers.toml``.

    Raises
    ------
    ConfigError, GeometryError
        see `from_mapping`.
    """
    table = dict(_toml(folder / "camera.toml"))
    headers = folder / "headers.toml"
    if headers.is_file() and table["name"] != "generic":
        table["headers"] = _toml(headers)
    return from_mapping(table, str(folder / "camera.toml"), shipped=True)
