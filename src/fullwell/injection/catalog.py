"""Catalogues of sources to be injected: tables of any origin to arrays in the units of one frame.

A source that cannot be drawn as asked is not left out in silence: its row of the truth has a bit of `Status`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from enum import IntFlag
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fullwell.base.errors import DataError, UsageError
from fullwell.base.provenance import content_id
from fullwell.cameras import Box
from fullwell.injection.columns import CARRIED, SHEARS, canonical, values_of

__all__ = ["POINTS", "PROFILES", "Sources", "Status", "catalog_table", "read_catalog", "sources_of"]

F8 = NDArray[np.float64]

POINTS = ("star", "deltafunction", "point")
"""Source types that the PSF alone draws."""
PROFILES = ("sersic", "exponential", "devaucouleurs", "gaussian", "trail", "stamp")
"""Source types that GalSim draws."""
_SYNONYMS = {"psf": "star", "pointsource": "star", "dev": "devaucouleurs", "exp": "exponential", "disk": "exponential"}


class Status(IntFlag):
    """What is to be said of a source; the first six bits are those of the LSST package of source injection."""

    MAG_BAD = 1 << 0
    TYPE_UNKNOWN = 1 << 1
    SERSIC_EXTREME = 1 << 2
    NO_OVERLAP = 1 << 3
    FFT_SIZE_ERROR = 1 << 4
    PSF_COMPUTE_ERROR = 1 << 5
    NEGATIVE_FLUX = 1 << 6
    PARTIAL = 1 << 7
    SATURATED = 1 << 8
    NO_GAIN = 1 << 9
    POSITION_BAD = 1 << 10
    STAMP_BAD = 1 << 11
    OTHER_BAND = 1 << 12
    SHAPE_BAD = 1 << 13


BRIGHTEST = 1e15
"""Largest flux [unit of the image]: above it, numbers of electrons are no longer whole in double precision."""
LARGEST = 4096
"""Largest draw_size [pixel]."""
UNDRAWN = (
    Status.MAG_BAD | Status.TYPE_UNKNOWN | Status.SERSIC_EXTREME | Status.NO_OVERLAP | Status.FFT_SIZE_ERROR
    | Status.PSF_COMPUTE_ERROR | Status.POSITION_BAD | Status.STAMP_BAD | Status.OTHER_BAND | Status.SHAPE_BAD
)  # fmt: skip
"""Bits of sources that are not drawn."""


@dataclass(frozen=True, eq=False)
class Sources:
    """n sources on one frame, sorted by id.

    Parameters
    ----------
    id : (n,) uint64. seed : (n,) int64, -1 where the source has none of its own.
    kind : (n,) text, lower case. x, y : (n,) [pixel of the detector], whole at the middle of pixels.
    ra, dec : (n,) [deg], NaN where unknown. flux : (n,) [unit of the frame]. mag : (n,) AB, NaN where unknown.
    draw_half : (n,) half size of the stamp [pixel], 0 where the profile says it.
    shape : name -> (n,) of what profiles need. status : (n,) bits of `Status`.
    carried : columns that go into the truth as they are. catalogue : id of the content.
    """

    id: NDArray[np.uint64]
    seed: NDArray[np.int64]
    kind: NDArray[Any]
    x: F8
    y: F8
    ra: F8
    dec: F8
    flux: F8
    mag: F8
    draw_half: NDArray[np.int64]
    status: NDArray[np.int32]
    shape: dict[str, NDArray[Any]] = field(default_factory=dict)
    carried: dict[str, NDArray[Any]] = field(default_factory=dict)
    catalogue: str = ""

    def __len__(self) -> int:
        return int(self.id.size)

    def drawn(self) -> NDArray[np.bool_]:
        """(n,) which are drawn."""
        return (self.status & int(UNDRAWN)) == 0


def read_catalog(path: str | os.PathLike[str]) -> Any:
    """The table in a CSV, ECSV, FITS or Parquet file, an astropy Table.

    Raises
    ------
    FileError
        there is no such file, or no table in it; Parquet without pyarrow.
    """
    from fullwell.io import read_table

    return read_table(path)


def catalog_table(catalog: Any) -> tuple[Any, str]:
    """(astropy Table, where it is from) of a path, a Table, a pandas frame, or a mapping of columns.

    Raises
    ------
    UsageError
        none of these. FileError as of `read_catalog`.
    """
    from astropy.table import Table

    if isinstance(catalog, (str, Path)):
        return read_catalog(catalog), str(catalog)
    if isinstance(catalog, Table):
        return catalog, "the catalogue"
    try:
        if hasattr(catalog, "to_dict") and hasattr(catalog, "columns"):
            return Table.from_pandas(catalog), "the catalogue"
        return Table(catalog), "the catalogue"
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"a catalogue cannot be made of {type(catalog).__name__}: {error}",
            remedy="an astropy Table, a mapping of columns, or a file: CSV, ECSV, FITS, Parquet",
        ) from None


def sources_of(catalog: Any, *, box: Box, unit: str, band: str, world: Any, photo: Any) -> Sources:
    """The sources of a catalogue in pixels and in the unit of a frame.

    Parameters
    ----------
    world : `wcs.World` or None. photo : `wcs.Photo`: nJy of a unit of the frame.

    Raises
    ------
    UsageError
        an unknown column, no position, no flux; ra and dec without a WCS. DataError: ids that are not unique,
        texts for numbers.
    """
    table, where = catalog_table(catalog)
    names = canonical(list(table.colnames), band, where)
    n = len(table)
    given = {name: values_of(table, name, column, where) for name, column in names.items() if name != "id"}
    status = np.zeros(n, np.int32)
    x, y, ra, dec = _places(given, world, where, status)
    kind = _kinds(given.get("source_type"), n, status)
    flux, mag = _fluxes(given, table, names, unit, photo, x, y, where, status)
    status[~(np.abs(flux) <= BRIGHTEST)] |= int(Status.MAG_BAD)
    status[np.isfinite(flux) & (flux < 0)] |= int(Status.NEGATIVE_FLUX)
    if "band" in given and band:
        status[(given["band"] != band) & (given["band"] != "")] |= int(Status.OTHER_BAND)
    ids = _ids(table, names, given, where)
    order = np.argsort(ids, kind="stable")
    size = np.nan_to_num(given.get("draw_size", np.zeros(n)))
    unfit = (size < 0) | (size > LARGEST)
    status[unfit] |= int(Status.SHAPE_BAD)
    size = np.where(unfit, 0, size)
    seed = given.get("seed", np.full(n, np.nan))
    if (seed < 0).any():
        raise DataError(f"a seed of {seed[seed < 0][0]:g} cannot be", where=where, remedy="whole numbers from 0")
    shape = {k: given[k] for k in _shape_columns() if k in given}
    carried = {c: np.asarray(table[c]) for c in table.colnames if c.lower() in CARRIED or c.lower().startswith("keep_")}
    carried["row"] = np.arange(n)
    content = content_id(*(f"{k}:{np.asarray(v).tolist()}" for k, v in sorted(given.items())), ids)
    columns: tuple[Any, ...] = (
        ids, np.where(np.isfinite(seed), np.nan_to_num(seed), -1).astype(np.int64), kind, x, y, ra, dec, flux, mag,
        (size // 2).astype(np.int64), status,
    )  # fmt: skip
    names_of = ("id", "seed", "kind", "x", "y", "ra", "dec", "flux", "mag", "draw_half", "status")
    parts: dict[str, Any] = {k: column[order] for k, column in zip(names_of, columns, strict=True)}
    return Sources(
        **parts,
        shape={k: v[order] for k, v in shape.items()},
        carried={k: v[order] for k, v in carried.items()},
        catalogue=content,
    )


def _shape_columns() -> tuple[str, ...]:
    pairs = tuple(name for pair in SHEARS for name in pair)
    return ("n", "half_light_radius", "half_light_radius_pix", "trail_length", "trail_length_pix", "stamp", *pairs)


def _places(given: dict[str, Any], world: Any, where: str, status: Any) -> tuple[F8, F8, F8, F8]:
    """x, y, ra, dec; POSITION_BAD where they are no numbers."""
    nan = np.full(status.size, np.nan)
    if "x" in given and "y" in given:
        x, y = given["x"], given["y"]
        ra, dec = (given.get("ra", nan), given.get("dec", nan)) if "ra" in given or world is None else world.sky(x, y)
    elif "ra" in given and "dec" in given:
        ra, dec = given["ra"], given["dec"]
        if world is None:
            raise UsageError(
                "the catalogue has ra and dec, the frame no celestial coordinates",
                where=where,
                remedy="give wcs=…, or columns x and y [pixel]",
            )
        x, y = world.pixels(ra, dec)
    else:
        raise UsageError("the catalogue has no positions", where=where, remedy="columns ra and dec, or x and y")
    status[~(np.isfinite(x) & np.isfinite(y))] |= int(Status.POSITION_BAD)
    return x, y, ra, dec


def _kinds(given: Any, n: int, status: Any) -> NDArray[Any]:
    if given is None:
        return np.full(n, "star", object)
    low = [str(k).lower().replace(" ", "").replace("_", "") for k in given]
    kind = np.array([_SYNONYMS.get(k, k) or "star" for k in low], object)
    kind[np.isin(kind, POINTS)] = "star"
    status[~np.isin(kind, ("star", *PROFILES))] |= int(Status.TYPE_UNKNOWN)
    return kind


def _fluxes(
    given: dict[str, Any],
    table: Any,
    names: dict[str, str],
    unit: str,
    photo: Any,
    x: F8,
    y: F8,
    where: str,
    status: Any,
) -> tuple[F8, F8]:
    """(flux in the unit of the frame, AB magnitude)."""
    wanted = [name for name in ("mag", "njy", "flux") if name in given]
    if len(wanted) != 1:
        raise UsageError(
            f"the catalogue gives fluxes as {' and '.join(wanted)}" if wanted else "the catalogue has no fluxes",
            where=where,
            remedy="one of the columns mag (AB), nJy, flux (unit of the image, or its own unit)",
        )
    name = wanted[0]
    if name == "flux":
        own = getattr(table[names["flux"]], "unit", None)
        if own is None or str(own) == unit:
            scale = photo.scale(x, y) if photo.known else np.full(x.size, np.nan)
            return given["flux"], _magnitudes(given["flux"] * scale)
        from astropy import units as u

        try:
            nano = given["flux"] * u.Unit(own).to("nJy")
        except (u.UnitConversionError, ValueError, TypeError):
            raise DataError(
                f"column '{names['flux']}' is in {own}, the image in {unit}",
                where=where,
                remedy=f"give it in {unit} or nJy",
            ) from None
    else:
        nano = given["njy"] if name == "njy" else 10 ** ((31.4 - given["mag"]) / 2.5)
    return nano / photo.scale(x, y), given["mag"] if name == "mag" else _magnitudes(nano)


def _magnitudes(nano: F8) -> F8:
    """AB magnitudes of nJy, NaN where the flux is not positive."""
    with np.errstate(divide="ignore", invalid="ignore"):
        out: F8 = np.where(nano > 0, 31.4 - 2.5 * np.log10(nano), np.nan)
    return out


def _ids(table: Any, names: dict[str, str], given: dict[str, Any], where: str) -> NDArray[np.uint64]:
    """Ids of the catalogue, or ones made of the content of each row, so that its place in the table does not matter."""
    if "id" in names:
        column = np.ma.asarray(table[names["id"]])
        whole = column.dtype.kind in "iu" or (column.dtype.kind == "f" and bool(np.all(column == np.floor(column))))
        if not whole or np.ma.getmaskarray(column).any() or (len(column) and column.min() < 0):
            raise DataError(
                f"column '{names['id']}' is to hold whole numbers from 0", where=where, remedy="or leave ids out"
            )
        ids = np.asarray(column).astype(np.uint64)
        found, counts = np.unique(ids, return_counts=True)
        if found.size != ids.size:
            raise DataError(
                f"id {found[counts > 1][0]} is there {counts.max()} times", where=where,
                remedy="ids are unique: by them noise is told apart",
            )  # fmt: skip
        return ids
    n = len(table)
    ids = np.zeros(n, np.uint64)
    for name in sorted(given):
        value = given[name]
        bits = value.view(np.uint64) if value.dtype == np.float64 else _hashes(value)
        ids = mixed(ids ^ mixed(bits + np.uint64(len(name) * 1000003 + sum(map(ord, name)))))
    order = np.argsort(ids, kind="stable")
    same = np.concatenate([[False], ids[order][1:] == ids[order][:-1]]) if n else np.zeros(0, bool)
    at = np.arange(n)
    run = at - np.maximum.accumulate(np.where(same, 0, at)) if n else at
    out = np.empty(n, np.uint64)
    out[order] = mixed(ids[order] + run.astype(np.uint64)) >> np.uint64(1)
    return out


def _hashes(texts: NDArray[Any]) -> NDArray[np.uint64]:
    import zlib

    return np.array([zlib.crc32(str(t).encode()) for t in texts], np.uint64)


def mixed(values: Any) -> NDArray[np.uint64]:
    """The finaliser of SplitMix64 (Steele et al. 2014): every bit of the result depends on every bit of `values`."""
    z = np.asarray(values, np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(z ^ (z >> np.uint64(31)), np.uint64)
