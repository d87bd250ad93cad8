"""The orders. What runs, and in which order: read this file first.

The physical reasons: what the electronics did last is undone first (overscan, gain, crosstalk, parallel
overscan, linearity), then the sensor in the dark (bias, dark), then the charge itself, then the variance
of the charge that was collected, and only then the flat, which divides image and variance.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fullwell.recipes.recipe import RECIPES, Recipe

__all__ = ["BIAS", "BOOTSTRAP", "DARK", "FLAT", "GENERIC", "LSST", "PTC"]

LSST = (
    "dither",
    "overscan_serial",
    "saturation",
    "gain",
    "crosstalk",
    "overscan_parallel",
    "linearity",
    "assemble",
    "bias",
    "dark",
    "defects",
    "nan",
    "variance",
    "flat",
    "saturation_grow",
    "interpolation",
)
"""A multi-amplifier CCD with all its calibrations: every product must be there."""

GENERIC = LSST
"""Any camera: the part of the full order for which there are products; what is left out is recorded."""

BOOTSTRAP = (
    "dither",
    "overscan_serial",
    "crosstalk",
    "overscan_parallel",
    "assemble",
    "bias",
    "dark",
    "defects",
    "nan",
    "flat",
)
"""Before any gain is known: stays in adu, makes no variance."""

BIAS = (
    "dither",
    "overscan_serial",
    "gain",
    "crosstalk",
    "overscan_parallel",
    "linearity",
    "assemble",
    "nan",
    "variance",
)
"""Frames that become a combined bias."""

DARK = (*BIAS[:-2], "bias", "nan", "variance")
"""Frames that become a combined dark."""

FLAT = LSST[: LSST.index("flat")]
"""Frames that become a combined flat."""

PTC = tuple(name for name in FLAT if name not in ("gain", "variance"))
"""Flats of which photon transfer is measured: in adu, for the gain is what is looked for; not divided by a flat, which
would make the variance that of another signal; defects and full pixels are marked, and nothing is filled in."""

_NO_DITHER = {"dither": {"mode": "none", "count_quantisation": False}}
"""Read noise measured on the counts of the camera holds the 1/12 adu**2 of their rounding already."""
_NO_LIGHT = {"variance": {"poisson": False}}
"""Nothing is collected in a bias frame; where there is no overscan its counts are the level, which is no charge."""
_SHARED_BIAS = {"bias": {"propagate_variance": False}}
"""All darks have the same bias subtracted: no average makes its error smaller. `build_dark` adds it, once."""
_DORMANT = ("overscan_parallel", "saturation_grow")
"""A few rows of parallel overscan know a column to a fraction of the read noise only, and all columns of a frame
share the error of those rows: it is worth its noise where columns are known to drift. Growing the saturated pixels
is for cameras that bleed."""


def _generic(name: str, steps: tuple[str, ...], about: str, more: Mapping[str, dict[str, Any]] | None = None) -> Recipe:
    settings = {**_NO_DITHER, **(more or {})}
    return Recipe(
        name, steps, strict=False, settings=settings, dormant=tuple(s for s in _DORMANT if s in steps), about=about
    )


for _recipe in (
    Recipe("lsst", LSST, about="A multi-amplifier CCD with all its calibrations; a missing one is an error."),
    Recipe("bootstrap", BOOTSTRAP, strict=False, about="Before any gain is known: adu, no variance."),
    _generic("generic", GENERIC, "Any camera: the steps for which there are products."),
    _generic("bias", BIAS, "Frames that become a combined bias.", _NO_LIGHT),
    _generic("dark", DARK, "Frames that become a combined dark.", _SHARED_BIAS),
    _generic("flat", FLAT, "Frames that become a combined flat."),
    _generic("ptc", PTC, "Flats of which photon transfer is measured: adu, no flat, nothing filled in."),
):
    RECIPES.add(_recipe.name, _recipe)
