"""Columns of a catalogue of sources: our names, those of others that stand for them, and their units."""

from __future__ import annotations

import difflib
import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fullwell.base.errors import DataError, UsageError

__all__ = ["ALIASES", "CARRIED", "SHEARS", "canonical", "values_of"]

ALIASES: dict[str, tuple[str, ...]] = {
    "id": ("injection_id", "source_id", "object_id", "objectid"),
    "ra": ("raj2000", "ra_deg", "ra_icrs", "alpha_j2000"),
    "dec": ("dej2000", "decj2000", "dec_deg", "de_icrs", "delta_j2000"),
    "x": ("x_pix", "x_pixel", "xcentroid", "x_image"),
    "y": ("y_pix", "y_pixel", "ycentroid", "y_image"),
    "source_type": ("type", "sourcetype", "profile"),
    "mag": ("magnitude", "mag_ab", "abmag"),
    "flux": ("instflux", "flux_true"),
    "njy": ("flux_njy", "fluxnjy"),
    "n": ("sersic_n", "sersic_index", "nsersic"),
    "half_light_radius": ("hlr", "r_e", "re", "reff", "r50", "half_light_radius_arcsec"),
    "half_light_radius_pix": ("hlr_pix", "re_pix"),
    "q": ("axis_ratio", "ba", "b_over_a"),
    "beta": ("position_angle", "pa", "theta"),
    "g1": (),
    "g2": (),
    "e1": (),
    "e2": (),
    "eta1": (),
    "eta2": (),
    "stamp": ("stamp_file",),
    "draw_size": (),
    "trail_length": (),
    "trail_length_pix": (),
    "seed": (),
    "band": ("filter",),
}
"""Name -> other names of the same. Case does not matter, and ``mag_r`` or ``r_mag`` is the magnitude in band r."""

SHEARS = (("q", "beta"), ("g1", "g2"), ("e1", "e2"), ("eta1", "eta2"))
"""Pairs of columns that say how a profile is stretched."""

CARRIED = ("group_id", "epoch", "visit", "exposure", "detector", "tract", "patch", "htm7", "name", "comment",
           "injection_flag",
           "injection_draw_size")  # fmt: skip
"""Columns that go into the truth table as they are; so does every column whose name begins with ``keep_``."""

_BANDS = re.compile(r"^(?:mag_(\w+)|(\w+)_mag)$")
_UNITS = {
    "ra": "deg",
    "dec": "deg",
    "half_light_radius": "arcsec",
    "trail_length": "arcsec",
    "beta": "deg",
    "njy": "nJy",
}
_TEXTS = ("source_type", "stamp", "band")


def canonical(names: list[str], band: str, where: str) -> dict[str, str]:
    """Our name -> the name in the table, of the columns that are used.

    Raises
    ------
    UsageError
        a column that is neither known nor carried (the nearest name is given); two columns of one meaning.
    """
    ours = {alias: name for name, aliases in ALIASES.items() for alias in (name, *aliases)}
    out: dict[str, str] = {}
    for name in names:
        low = name.lower()
        if low in CARRIED or low.startswith("keep_"):
            continue
        match = _BANDS.match(low)
        known = ours.get(low)
        if known is None and match:
            if (match.group(1) or match.group(2)) != band.lower():
                continue
            known = "mag"
        if known is None:
            near = difflib.get_close_matches(low, [*ours, *CARRIED], n=1, cutoff=0.5)
            raise UsageError(
                f"the column '{name}' of the catalogue is unknown",
                where=where,
                remedy=(f"did you mean '{near[0]}'? " if near else "") + "a column keep_… goes into the truth as it is",
            )
        if known in out:
            raise UsageError(
                f"columns '{out[known]}' and '{name}' both give '{known}'", where=where, remedy="leave one"
            )
        out[known] = name
    return out


def values_of(table: Any, name: str, column: str, where: str) -> NDArray[Any]:
    """A column as an array: float64 in our unit (masked entries NaN), or str.

    Raises
    ------
    DataError
        numbers that are none, or a unit that cannot be turned into ours.
    """
    data = table[column]
    mask = getattr(data, "mask", None)
    if name in _TEXTS:
        return np.array(
            ["" if m else str(v).strip() for v, m in zip(data, _masks(mask, len(table)), strict=True)], object
        )
    if getattr(data, "unit", None) is not None and name in _UNITS:
        from astropy import units as u

        try:
            factor = u.Unit(data.unit).to(_UNITS[name])
        except (u.UnitConversionError, ValueError, TypeError):
            raise DataError(
                f"column '{column}' is in {data.unit}", where=where, remedy=f"give it in {_UNITS[name]}"
            ) from None
    else:
        factor = 1.0
    try:
        plain = np.ma.filled(np.ma.asarray(getattr(data, "value", data)).astype(np.float64), np.nan)
    except (TypeError, ValueError):
        raise DataError(
            f"column '{column}' holds texts, not numbers", where=where, remedy="see the first rows"
        ) from None
    return np.asarray(plain * factor, np.float64)


def _masks(mask: Any, n: int) -> NDArray[np.bool_]:
    return np.zeros(n, bool) if mask is None else np.broadcast_to(np.asarray(mask, bool), (n,))
