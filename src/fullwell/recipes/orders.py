"""The orders. What runs, and in which order: read this file first.

The physical reasons: what the electronics did last is undone first (overscan, gain, crosstalk, parallel
overscan, linearity), then the sensor in the dark (bias, dark), then the charge itself, then the variance
of the charge that was collected, and only then the flat, which divides image and variance.
"""

from __future__ import annotations

from fullwell.recipes.recipe import RECIPES, Recipe

__all__ = ["BIAS", "BOOTSTRAP", "DARK", "FLAT", "GENERIC", "LSST"]

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

FLAT = (
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
)
"""Frames that become a combined flat; also what a photon transfer measurement takes in electron."""

_OPTIONAL = {"dither": {"mode": "none"}}

for _recipe in (
    Recipe("lsst", LSST, True, {}, "A multi-amplifier CCD with all its calibrations; a missing one is an error."),
    Recipe("generic", GENERIC, False, _OPTIONAL, "Any camera: the steps for which there are products."),
    Recipe("bootstrap", BOOTSTRAP, False, {}, "Before any gain is known: adu, no variance."),
    Recipe("bias", BIAS, False, _OPTIONAL, "Frames that become a combined bias."),
    Recipe("dark", DARK, False, _OPTIONAL, "Frames that become a combined dark."),
    Recipe("flat", FLAT, False, _OPTIONAL, "Frames that become a combined flat."),
):
    RECIPES.add(_recipe.name, _recipe)
