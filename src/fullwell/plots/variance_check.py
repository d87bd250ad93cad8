"""The variance against reality: chi2 of repeated exposures by flux, by amplifier and by position."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fullwell.base.errors import DataError
from fullwell.base.figures import plot
from fullwell.plots.canvas import BLACK, BLUE, sheet, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["maps"]


@plot("variance_check", "maps")
@styled
def maps(check: Any, **options: Any) -> Figure:
    """Squared residual over variance: by flux, by amplifier, and over the detector in tiles.

    One is a true variance. Above one the frames scatter more than the variance says: something is missing in it, and
    the flux or place where it happens says what. Below one at high flux is charge that repels charge (brighter-fatter).
    Bars are one standard error. The map is in units of its error: noise within three, structure is real.

    Raises
    ------
    DataError
        no tile holds a usable pixel.
    """
    if not np.isfinite(check.map).any():
        raise DataError("there is no tile to draw")
    figure = sheet(12.0, 4.0)
    left, middle, right = figure.subplots(1, 3)
    flux = [c.flux for c in check.levels]
    for axes, shares, x in ((left, check.levels, flux), (middle, check.amps or (check.whole,), None)):
        at = x if x is not None else list(range(len(shares)))
        axes.errorbar(at, [c.chi2 for c in shares], [c.error for c in shares], fmt="o", ms=4, color=BLUE, capsize=2)
        axes.axhline(1, color=BLACK, linewidth=0.8)
        axes.set_ylabel("residual² / variance")
    if min(flux) > 0:
        left.set_xscale("log")
    left.set_xlabel(f"flux [{check.unit}]")
    names = [c.name for c in check.amps] or ["all"]
    middle.set_xticks(range(len(names)), names, rotation=90 if len(names) > 8 else 0)
    middle.set_xlabel("amplifier")
    pulls = (check.map - 1) / check.map_error
    image = right.imshow(pulls, origin="lower", cmap="RdBu_r", vmin=-4, vmax=4, interpolation="nearest")
    figure.colorbar(image, ax=right, label="(chi² − 1) / error")
    right.set(xlabel="tile in x", ylabel="tile in y")
    right.grid(False)
    whole = check.whole
    reference = "the true scene" if check.truth else "their mean"
    title = f"{check.frames} frames about {reference}: {whole.chi2:.4f} ± {whole.error:.4f}"
    figure.suptitle(title, fontsize="medium")
    return figure
