"""Keywords that follow the pixels: world coordinates, LTV/LTM, units, and what no longer holds.

Coordinates here are those of FITS: pixel centres at 1, 2, …; axis 1 is x. An `Affine` takes a pixel of the
input to the same piece of silicon in the output. Where all amplifiers of a detector share one map, LTV/LTM
give raw-image coordinates (the IRAF meaning); where they do not, a raw coordinate has no single meaning any
more and LTV/LTM give the coordinates of the assembled detector (the LSST meaning). The WCS with the letter
"A" gives the coordinates of the assembled detector in either case. FITS WCS papers I and II; SIP: Shupe et al. 2005.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fullwell.cameras import Amplifier, Box, Detector

__all__ = ["Affine", "moved_wcs", "output_header", "unit_name"]

ORIGIN_KEYS = ("FWX0", "FWY0")

_STRUCTURE = re.compile(
    r"^(SIMPLE|XTENSION|BITPIX|NAXIS\d*|EXTEND|PCOUNT|GCOUNT|GROUPS|BZERO|BSCALE|BLANK|CHECKSUM|DATASUM|END|"
    r"INHERIT|EXTNAME|EXTVER|EXTLEVEL|EXTTYPE|ZIMAGE|NEXTEND|DATAMIN|DATAMAX|TFIELDS|AR_HDU|FWWCSAMP)$"
)
_SECTIONS = re.compile(
    r"^(BIASSEC|TRIMSEC|DATASEC|CCDSEC|DETSEC|AMPSEC|PRESEC|POSTSEC|OVERSEC|OVSCSEC|LINSEC|"
    r"BSEC|TSEC|CSEC|DSEC|ASEC|PRESCAN|OVERSCAN|NOVERSCN|PRSCX|PRSCY|OVSCX|OVSCY)(\d{0,3}|[A-Z])$"
)
_ELECTRONICS = re.compile(
    r"^(E?GAIN|CCDGAIN|GTGAIN|RDNOISE|READNOIS|READNOISE|RON|RONOISE|ENOISE|CCDNOISE|SATURATE|SATLEVEL|SATURATION|"
    r"MAXLIN|ATODGAIN|GAINVAL|BUNIT)(\d{0,3}|[A-Z])$"
)
_ESO = re.compile(r"^ESO DET OUT\d+ (GAIN|CONAD|RON|PRSCX|PRSCY|OVSCX|OVSCY)$")
_ORIGIN = frozenset(f"{word}{axis}A" for word in ("CTYPE", "CRPIX", "CRVAL", "CUNIT", "CDELT") for axis in (1, 2)) | {
    f"CD{i}_{j}A" for i in (1, 2) for j in (1, 2)
}
"""Keywords of the linear WCS "A", which are made anew."""
_UNITS = {
    **dict.fromkeys(("adu", "adus", "dn", "count", "counts", "ct", "data number"), "adu"),
    **dict.fromkeys(("electron", "electrons", "e-", "e", "elec", "photoelectron"), "electron"),
}


def unit_name(text: Any) -> str:
    """BUNIT in our words: "adu", "electron", with their rates ("adu/s"); other units as they are written.

    "DN" and "counts" are adu. "" where there is none.
    """
    word = str(text or "").strip()
    base, slash, rest = word.partition("/")
    known = _UNITS.get(base.strip().lower())
    if known is None:
        return word
    if slash:
        return f"{known}/{'s' if rest.strip().lower() in ('s', 'sec', 'second') else rest.strip()}"
    return known


@dataclass(frozen=True)
class Affine:
    """A map of FITS pixel coordinates, ``new = matrix @ old + shift``; the matrix has one entry in each row.

    Parameters
    ----------
    matrix : (2, 2), rows and columns in the order x, y.
    shift : (2,) [pixel].
    """

    matrix: NDArray[np.float64]
    shift: NDArray[np.float64]

    @classmethod
    def identity(cls) -> Affine:
        """Nothing moves."""
        return cls(np.eye(2), np.zeros(2))

    @classmethod
    def cut(cls, box: Box) -> Affine:
        """From an image to its part inside `box` (0-based, in that image)."""
        return cls(np.eye(2), np.array([-float(box.x0), -float(box.y0)]))

    @classmethod
    def binned(cls, x: int, y: int) -> Affine:
        """From an image to one in which `x` columns and `y` rows are joined: centre ``(b + 1) / 2`` becomes 1."""
        factors = np.array([1.0 / x, 1.0 / y])
        return cls(np.diag(factors), 0.5 - 0.5 * factors)

    @classmethod
    def amplifier(cls, amp: Amplifier) -> Affine:
        """From the raw image to the assembled image, by way of the data box of `amp`."""
        raw_inner = amp.raw_orientation.box(amp.data, amp.shape)
        inside = cls.cut(Box(amp.raw.x0 + raw_inner.x0, amp.raw.y0 + raw_inner.y0, raw_inner.width, raw_inner.height))
        to_readout = _oriented(amp.raw_orientation, amp.data.shape).inverse()
        to_image = _oriented(amp.orientation, amp.data.shape)
        place = cls(np.eye(2), np.array([float(amp.trimmed.x0), float(amp.trimmed.y0)]))
        return inside.then(to_readout).then(to_image).then(place)

    @classmethod
    def segment(cls, amp: Amplifier) -> Affine:
        """From the array of the HDU that holds `amp` alone to the raw image."""
        place = cls(np.eye(2), np.array([float(amp.raw.x0), float(amp.raw.y0)]))
        to_readout = _oriented(amp.hdu_orientation, amp.shape).inverse()
        return to_readout.then(_oriented(amp.raw_orientation, amp.shape)).then(place)

    def then(self, after: Affine) -> Affine:
        """This map followed by `after`."""
        return Affine(after.matrix @ self.matrix, after.matrix @ self.shift + after.shift)

    def inverse(self) -> Affine:
        """The map back."""
        back = _inverse(self.matrix)
        return Affine(back, -back @ self.shift)

    def apply(self, x: float, y: float) -> tuple[float, float]:
        """The new coordinates of a pixel."""
        new = self.matrix @ np.array([x, y]) + self.shift
        return float(new[0]), float(new[1])

    def same(self, other: Affine) -> bool:
        """Whether both maps are equal."""
        return bool(np.allclose(self.matrix, other.matrix) and np.allclose(self.shift, other.shift))


def _inverse(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """The inverse of a matrix with one entry in each row, exact: transposed, entries inverted."""
    return np.array([[1.0 / v if v else 0.0 for v in column] for column in matrix.T])


def _oriented(orientation: Any, shape: tuple[int, int]) -> Affine:
    """From an array of `shape` in read-out order to the target of `orientation`."""
    matrix = np.array([[0.0, 1.0], [1.0, 0.0]]) if orientation.transpose else np.eye(2)
    shift = np.zeros(2)
    ny, nx = orientation.shape(shape)
    for axis, (flip, length) in enumerate(((orientation.flip_x, nx), (orientation.flip_y, ny))):
        if flip:
            matrix[axis] *= -1.0
            shift[axis] = length + 1.0
    return Affine(matrix, shift)


def _number(header: Mapping[str, Any], key: str) -> float | None:
    value = header.get(key)
    if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    return None


def moved_wcs(header: Mapping[str, Any], move: Affine) -> dict[str, Any]:
    """The world-coordinate keywords of `header` after `move`: new values; None for those that must go.

    All alternative descriptions (letters A to Z) are moved. CRPIX follows the pixel; CD or PC is multiplied by the
    inverse of the matrix; without either, CDELT alone takes flips and binning where that suffices, and CROTA2 is
    turned into a CD matrix. SIP polynomials are rewritten for the new axes.
    """
    out: dict[str, Any] = {}
    back = _inverse(move.matrix)
    for letter in ["", *(chr(c) for c in range(ord("A"), ord("Z") + 1))]:
        crpix = [_number(header, f"CRPIX{i}{letter}") for i in (1, 2)]
        has = any(f"{k}{i}{letter}" in header for k in ("CTYPE", "CRVAL", "CRPIX") for i in (1, 2))
        if not has:
            continue
        new = move.apply(crpix[0] or 0.0, crpix[1] or 0.0)
        out[f"CRPIX1{letter}"], out[f"CRPIX2{letter}"] = new
        out.update(_moved_matrix(header, letter, back))
    if "A_ORDER" in header or "B_ORDER" in header or "AP_ORDER" in header:
        out.update(_moved_sip(header, move.matrix))
    return out


def _matrix(header: Mapping[str, Any], word: str, letter: str, joiner: str = "_") -> NDArray[np.float64] | None:
    keys = [[f"{word}{i}{joiner}{j}{letter}" for j in (1, 2)] for i in (1, 2)]
    if not any(key in header for row in keys for key in row):
        return None
    fill = np.eye(2) if word == "PC" else np.zeros((2, 2))
    return np.array([[_number(header, keys[i][j]) or 0.0 if keys[i][j] in header else fill[i, j] for j in (0, 1)]
                     for i in (0, 1)])  # fmt: skip


def _moved_matrix(header: Mapping[str, Any], letter: str, back: NDArray[np.float64]) -> dict[str, Any]:
    """CD, PC, CDELT and CROTA of one description after the axes were changed by the inverse of `back`."""
    out: dict[str, Any] = {}
    for word in ("CD", "PC"):
        matrix = _matrix(header, word, letter)
        if matrix is not None:
            new = matrix @ back
            out.update({f"{word}{i + 1}_{j + 1}{letter}": float(new[i, j]) for i in (0, 1) for j in (0, 1)})
            return out
    if np.array_equal(back, np.eye(2)):
        return out
    delta = [_number(header, f"CDELT{i}{letter}") for i in (1, 2)]
    scale = np.diag([1.0 if d is None else d for d in delta])
    turn = math.radians(_number(header, f"CROTA2{letter}") or 0.0)
    if turn == 0.0 and back[0, 1] == 0.0 and back[1, 0] == 0.0:
        return {f"CDELT{i + 1}{letter}": float(scale[i, i] * back[i, i]) for i in (0, 1)}
    c, s = math.cos(turn), math.sin(turn)
    lengths = np.diag(scale)
    cd = np.array([[lengths[0] * c, -lengths[1] * s], [lengths[0] * s, lengths[1] * c]]) @ back
    out.update({f"CD{i + 1}_{j + 1}{letter}": float(cd[i, j]) for i in (0, 1) for j in (0, 1)})
    out.update({f"{k}{i}{letter}": None for k in ("CDELT", "CROTA") for i in (1, 2) if f"{k}{i}{letter}" in header})
    return out


def _moved_sip(header: Mapping[str, Any], matrix: NDArray[np.float64]) -> dict[str, Any]:
    """SIP coefficients for axes ``u' = matrix @ u``: ``f'(u') = matrix @ f(inverse(matrix) @ u')``."""
    out: dict[str, Any] = {}
    swapped = matrix[0, 0] == 0.0
    factor = [matrix[0, 1], matrix[1, 0]] if swapped else [matrix[0, 0], matrix[1, 1]]
    for first, second in (("A", "B"), ("AP", "BP")):
        old = {
            (w, int(m[1]), int(m[2])): key
            for w in (first, second)
            for key in header
            if (m := re.match(rf"^{w}_(\d)_(\d)$", key))
        }
        out.update(dict.fromkeys(old.values()))
        for (word, p, q), key in old.items():
            value = _number(header, key) or 0.0
            axis = 0 if word == first else 1
            if swapped:
                # old u is new v divided by its factor; old v is new u divided by its own
                value *= factor[1 - axis] * factor[1] ** -p * factor[0] ** -q
                out[f"{(second if axis == 0 else first)}_{q}_{p}"] = value
            else:
                out[key] = value * factor[axis] * factor[0] ** -p * factor[1] ** -q
        if swapped:
            for word, other in ((first, second), (second, first)):
                if f"{other}_ORDER" in header:
                    out[f"{word}_ORDER"] = header[f"{other}_ORDER"]
    return out


def _moved_physical(header: Mapping[str, Any], move: Affine) -> dict[str, Any]:
    """LTV and LTM after `move`: ``pixel = LTM @ physical + LTV``."""
    ltm = _matrix(header, "LTM", "")
    ltm = np.eye(2) if ltm is None else ltm
    for i in (0, 1):
        if f"LTM{i + 1}_{i + 1}" not in header:
            ltm[i, i] = 1.0
    ltv = np.array([_number(header, "LTV1") or 0.0, _number(header, "LTV2") or 0.0])
    new_ltm, new_ltv = move.matrix @ ltm, move.matrix @ ltv + move.shift
    out: dict[str, Any] = {"LTV1": float(new_ltv[0]) + 0.0, "LTV2": float(new_ltv[1]) + 0.0}
    out.update({f"LTM{i + 1}_{i + 1}": float(new_ltm[i, i]) for i in (0, 1)})
    cross = {"LTM1_2": float(new_ltm[0, 1]), "LTM2_1": float(new_ltm[1, 0])}
    out.update({k: v if v else None for k, v in cross.items() if v or k in header})
    return out


@lru_cache(maxsize=256)
def _maps(detector: Detector) -> tuple[tuple[Affine, ...], bool]:
    """The map of each amplifier, and whether they are all the same; found once per detector, not per frame."""
    maps = tuple(Affine.amplifier(amp) for amp in detector)
    return maps, all(m.same(maps[0]) for m in maps[1:])


def _map_of(header: Mapping[str, Any], detector: Detector) -> tuple[Affine, bool]:
    """The map from raw to assembled image, and whether all amplifiers share it.

    Where they do not, that of the amplifier whose HDU the coordinates came from (FWWCSAMP), or in or nearest to
    whose data the reference pixel lies.
    """
    maps, shared = _maps(detector)
    if shared:
        return maps[0], True
    if header.get("FWWCSAMP") in detector.names:
        return maps[detector.names.index(header["FWWCSAMP"])], False
    x = (_number(header, "CRPIX1") or 1.0) - 1.0
    y = (_number(header, "CRPIX2") or 1.0) - 1.0

    def distance(amp: Amplifier) -> float:
        box = amp.raw_box("data")
        return math.hypot(max(box.x0 - x, 0.0, x - box.x1 + 1), max(box.y0 - y, 0.0, y - box.y1 + 1))

    nearest = min(range(len(maps)), key=lambda i: distance(detector.amplifiers[i]))
    return maps[nearest], False


@lru_cache(maxsize=4096)
def stale(key: str) -> bool:
    """Whether a keyword of a raw header no longer holds for a corrected, assembled image."""
    return any(rule.match(key) for rule in (_STRUCTURE, _SECTIONS, _ELECTRONICS, _ESO))


def output_header(
    metadata: Mapping[str, Any],
    detector: Detector | None,
    box: Box,
    unit: str,
    *,
    binning: tuple[int, int] = (1, 1),
    gain: Mapping[str, float] | None = None,
    read_noise: Mapping[str, float] | None = None,
    saturation: float | None = None,
) -> dict[str, Any]:
    """The header of a corrected image, made of that of its raw frame.

    Parameters
    ----------
    metadata : header of the raw frame, or of a frame that this function described before (then only a
        smaller `box` moves its coordinates).
    detector : geometry that took the raw image to the assembled one; None: the pixels stayed where they were.
    box : pixels of the assembled detector that the image covers.
    unit : of the image ("adu", "electron", …), written as BUNIT.
    binning : (x, y), pixels joined after assembly.
    gain : [electron/adu] by amplifier; GAIN is 1 for an image in electron, the mean for one in adu, else left out.
    read_noise : [electron] by amplifier; RDNOISE is the root mean square.
    saturation : [unit], the lowest of the amplifiers; SATURATE.

    Returns
    -------
    dict
        keywords without structure; stale ones are gone, world coordinates follow the pixels.
    """
    out = {key: value for key, value in metadata.items() if not stale(key)}
    whole = True
    if all(isinstance(metadata.get(key), int) for key in ORIGIN_KEYS):
        move = Affine(np.eye(2), np.array([float(metadata["FWX0"] - box.x0), float(metadata["FWY0"] - box.y0)]))
    elif detector is not None:
        move, whole = _map_of(metadata, detector)
        move = move.then(Affine.cut(box))
    else:
        move = Affine.identity()
    if binning != (1, 1):
        move = move.then(Affine.binned(*binning))
    out.update(moved_wcs({k: v for k, v in metadata.items() if k not in _ORIGIN}, move))
    if whole:
        out.update(_moved_physical(metadata, move))
    else:
        out.update(LTV1=0.0 - box.x0, LTV2=0.0 - box.y0, LTM1_1=1.0 / binning[0], LTM2_2=1.0 / binning[1])
    out = {k: v for k, v in out.items() if not (v is None and metadata.get(k) is not None)}
    out.update(_origin(box, binning))
    out["BUNIT"] = unit
    if unit == "electron":
        out["GAIN"] = 1.0
    elif unit == "adu" and gain:
        out["GAIN"] = float(np.mean(list(gain.values())))
    noise = np.array(list((read_noise or {}).values()), float)
    if noise.size and np.all(np.isfinite(noise)):
        out["RDNOISE"] = float(np.sqrt(np.mean(noise**2)))
    if saturation is not None and math.isfinite(saturation):
        out["SATURATE"] = float(saturation)
    return out


def _origin(box: Box, binning: tuple[int, int]) -> dict[str, Any]:
    """Where the image lies on the assembled detector: the linear WCS "A" of LSST files, and our own keys."""
    out: dict[str, Any] = {"WCSAXESA": 2}
    for axis, (start, step) in enumerate(((box.x0, binning[0]), (box.y0, binning[1])), 1):
        out[f"CTYPE{axis}A"] = "LINEAR"
        out[f"CRPIX{axis}A"] = 1.0
        out[f"CRVAL{axis}A"] = float(start) if step == 1 else start + (step - 1) / 2
        out[f"CUNIT{axis}A"] = "PIXEL"
        if step != 1:
            out[f"CDELT{axis}A"] = float(step)
    out["FWX0"], out["FWY0"] = box.x0, box.y0
    return out
