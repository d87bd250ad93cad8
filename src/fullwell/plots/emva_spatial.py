"""Figures of the spatial nonuniformity of a camera test: spectrograms, profiles, logarithmic histograms."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from fullwell.base.errors import DataError
from fullwell.base.figures import plot
from fullwell.plots.canvas import BLACK, BLUE, GREEN, ORANGE, RED, sheet, styled
from fullwell.products import Emva1288
from fullwell.products.emva1288 import SpatialNoise

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["accumulated", "histogram", "profiles", "spectrogram"]

What = Literal["dsnu", "prnu"]


def _part(test: Emva1288, what: What) -> tuple[SpatialNoise, float, str, str]:
    """The spatial noise, what a DN is in the unit of the figure, that unit, and the name of the quantity."""
    if what == "dsnu" and test.dark is not None:
        return test.dark, 1.0, "DN", "DSNU"
    if what == "prnu" and test.dark is not None and test.bright is not None:
        return test.bright, 100 / (test.bright.mean - test.dark.mean), "%", "PRNU"
    raise DataError(f"there is no stack of images for the {what.upper()}", remedy=test[what].note)


@plot("emva1288", "spectrogram")
@styled
def spectrogram(test: Emva1288, *, what: What = "dsnu") -> Figure:
    """Root of the power of rows (horizontal) and of columns (vertical) against the spatial frequency.

    Parameters
    ----------
    what : "dsnu" of the dark stack [DN], "prnu" of the bright stack less the dark one [% of the mean].

    Lines: the white part, temporal noise of the stack included; the share that is temporal noise.
    """
    noise, scale, unit, name = _part(test, what)
    temporal = noise.temporal / noise.images
    if what == "prnu" and test.dark is not None:
        temporal += test.dark.temporal / test.dark.images
    figure = sheet(6.8, 5.2)
    for ax, values, label in zip(
        figure.subplots(2, 1, sharex=True), (noise.horizontal, noise.vertical), ("horizontal", "vertical"), strict=True
    ):
        ax.semilogy(values[0, 1:], scale * np.sqrt(values[1, 1:]), color=BLUE, linewidth=0.9)
        white = scale * math.sqrt(max(noise.white + temporal, 0.0))
        ax.axhline(white, color=RED, linewidth=1.1, label=f"white part, {white:.3g} {unit}")
        floor = scale * math.sqrt(temporal)
        ax.axhline(floor, color=GREEN, linestyle="--", linewidth=1.1, label=f"temporal noise / √L, {floor:.3g} {unit}")
        highest = scale * math.sqrt(float(values[1, 1:].max()))
        ax.set(ylabel=f"{name} spectrum [{unit}]", ylim=(0.4 * max(floor, 1e-9), max(5 * floor, 2 * highest)))
        ax.set_title(f"{label}; nonwhiteness {noise.nonwhiteness:.2f}", fontsize=10)
        ax.legend(loc="upper right")
    ax.set(xlabel="spatial frequency [cycles/pixel]", xlim=(0, 0.5))
    return figure


@plot("emva1288", "profiles")
@styled
def profiles(test: Emva1288, *, what: What = "dsnu") -> Figure:
    """Mean, middle, smallest and largest values along rows and columns of the mean image.

    Parameters
    ----------
    what : "dsnu" of the dark stack, "prnu" of the bright stack less the dark one.
    """
    noise, _, _, name = _part(test, what)
    figure = sheet(6.8, 5.2)
    for ax, key, axis in zip(figure.subplots(2, 1), ("horizontal", "vertical"), ("column", "row"), strict=True):
        mean, low, high, middle = noise.profiles[key]
        x = np.arange(mean.size)
        ax.fill_between(x, low, high, color="0.88", linewidth=0, label="smallest to largest")
        ax.plot(x, middle, color=ORANGE, linewidth=0.7, label="middle line")
        ax.plot(x, mean, color=BLUE, linewidth=1.2, label="mean")
        ax.set(xlabel=f"{axis} [pixel]", ylabel="grey value [DN]", xlim=(0, mean.size - 1))
        ax.set_title(f"{name}, {key} profile", fontsize=10)
        _reach(ax, noise, low, high)
    figure.axes[0].legend(loc="upper right", ncols=3)
    return figure


def _reach(ax: Any, noise: SpatialNoise, low: Any, high: Any) -> None:
    """A range of ten standard deviations about the median, or all values where these reach less far."""
    centre = float(np.median(noise.profiles["horizontal"][0]))
    reach = 10 * math.sqrt(max(noise.measured, 1e-12))
    ax.set_ylim(
        max(float(low.min()), centre - reach) - 0.1 * reach, min(float(high.max()), centre + reach) + 0.1 * reach
    )


@plot("emva1288", "histogram")
@styled
def histogram(test: Emva1288, *, what: What = "dsnu") -> Figure:
    """Logarithmic histogram of the deviation of pixels from the mean, with the Gaussian of the white part.

    Parameters
    ----------
    what : "dsnu" of the dark stack [DN], "prnu" of the bright stack less the dark one after a high pass [%].
    """
    noise, scale, unit, name = _part(test, what)
    figure = sheet(6.4, 4.0)
    ax = figure.subplots()
    edges = scale * noise.edges
    ax.stairs(np.maximum(noise.counts, 0.5), edges, baseline=0.5, fill=True, color=BLUE, alpha=0.5, label="pixels")
    ax.plot((edges[1:] + edges[:-1]) / 2, np.maximum(noise.model, 1e-9), color=RED, label="white part, Gaussian")
    ax.set(yscale="log", xlabel=f"deviation from the mean [{unit}]", ylabel="pixels per bin")
    ax.set_ylim(0.5, 3 * max(noise.counts.max(), 1))
    ax.set_title(f"{name}{', after a high pass' if what == 'prnu' else ''}", fontsize=10)
    ax.legend(loc="upper right")
    return figure


@plot("emva1288", "accumulated")
@styled
def accumulated(test: Emva1288, *, what: What = "dsnu") -> Figure:
    """Accumulated logarithmic histogram: the share of pixels that deviate by more than an amount.

    Parameters
    ----------
    what : as of `histogram`.
    """
    noise, scale, unit, name = _part(test, what)
    figure = sheet(6.4, 4.0)
    ax = figure.subplots()
    grid, share = noise.accumulated
    there = share > 0
    ax.semilogy(scale * grid[there], 100 * share[there], color=BLUE, label="pixels")
    sigma = math.sqrt(float(np.sum(noise.model * ((noise.edges[1:] + noise.edges[:-1]) / 2) ** 2))
                      / max(float(noise.model.sum()), 1e-300))  # fmt: skip
    if sigma > 0:
        expected = [100 * math.erfc(v / sigma / math.sqrt(2)) for v in grid]
        ax.semilogy(scale * grid, expected, color=RED, label="white part, Gaussian")
    pixels = int(noise.counts.sum())
    ax.axhline(100 / pixels, color=BLACK, linewidth=0.8, linestyle=":", label="one pixel")
    ax.set(xlabel=f"absolute deviation [{unit}]", ylabel="pixels beyond [%]", ylim=(50 / pixels, 150))
    ax.set_title(f"{name}{', after a high pass' if what == 'prnu' else ''}", fontsize=10)
    ax.legend(loc="upper right")
    return figure
