"""Overview of a combined bias, dark or flat: picture, histogram, levels of the amplifiers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fullwell.base.figures import plot
from fullwell.frames import bit
from fullwell.plots.canvas import sheet, styled
from fullwell.plots.frame import show_image
from fullwell.plots.histogram import draw_histogram
from fullwell.products import ImageProduct

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["overview"]


@plot("bias", "overview")
@plot("dark", "overview")
@plot("flat", "overview")
@styled
def overview(product: ImageProduct, *, title: str = "") -> Figure:
    """Picture and histogram of an image product, and median and scatter of each amplifier."""
    detector = product.detector
    amps = detector is not None and len(detector) > 1
    figure = sheet(8.6, 5.4 if amps else 3.9)
    grid = figure.add_gridspec(2 if amps else 1, 2, height_ratios=(3, 1.4) if amps else (1,), width_ratios=(1.15, 1))
    unit = product.unit or "relative"
    picture = figure.add_subplot(grid[0, 0])
    good = np.isfinite(product.image)
    if product.mask is not None:
        good &= (product.mask & np.uint32(bit("BAD") | bit("NO_DATA"))) == 0
    drawn = show_image(picture, product.image, unit)
    figure.colorbar(drawn, ax=picture, label=unit, shrink=0.9)
    filtered = product.observation.filter
    picture.set_title(title or f"combined {product.kind}{f', {filtered}' if filtered else ''}")
    draw_histogram(figure.add_subplot(grid[0, 1]), product.image[good], unit, f"{int((~good).sum())} pixels left out")
    if amps:
        _levels(figure.add_subplot(grid[1, :]), product, good, unit)
    return figure


def _levels(ax: Axes, product: ImageProduct, good: np.ndarray, unit: str) -> None:
    """Median of each amplifier, and the band that holds 68 % of its pixels."""
    if product.detector is None:
        return
    names, middle, low, high = [], [], [], []
    for amp in product.detector:
        inside = amp.trimmed.slices
        values = product.image[inside][good[inside]]
        parts = np.percentile(values, (15.865, 50, 84.135)) if values.size else np.full(3, np.nan)
        names.append(amp.name)
        middle.append(parts[1])
        low.append(parts[1] - parts[0])
        high.append(parts[2] - parts[1])
    x = np.arange(len(names))
    ax.errorbar(x, middle, yerr=(low, high), fmt="o", elinewidth=1, capsize=2)
    ax.set_xticks(x, names, rotation=90 if len(names) > 8 else 0)
    ax.set(ylabel=f"level [{unit}]", title="median of each amplifier, with the range of 68 % of its pixels")
