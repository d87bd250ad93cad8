"""Histograms of pixel values before and after a correction, on one pair of axes each with its own unit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fullwell.base.figures import plot
from fullwell.frames import Frame
from fullwell.plots.canvas import BLUE, RED, sheet, styled, thinned

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["before_after", "draw_histogram", "frame_histogram"]


@plot("frame", "histogram")
@styled
def frame_histogram(frame: Frame, *, title: str = "") -> Figure:
    """Histogram of the good pixels of one frame; of its data boxes alone where it is raw."""
    figure = sheet(6.2, 3.4)
    draw_histogram(figure.add_subplot(), _pixels(frame), frame.unit, title or frame.observation.obs_id)
    return figure


@plot("frames", "before_after")
@styled
def before_after(frames: Mapping[str, Frame]) -> Figure:
    """Histograms of the same exposure at several moments, one panel each: {"raw": frame, "corrected": frame}."""
    figure = sheet(6.2, 2.1 * len(frames) + 0.5)
    axes = figure.subplots(len(frames), 1, squeeze=False)[:, 0]
    for ax, (label, frame) in zip(axes, frames.items(), strict=True):
        draw_histogram(ax, _pixels(frame), frame.unit, label)
    return figure


def draw_histogram(ax: Axes, values: NDArray[Any], unit: str, title: str = "", colour: str = BLUE) -> None:
    """Number of pixels by value, logarithmic, from the 0.05th percentile to the 99.9th or 20 widths above
    the median; median and width named.

    Bins are whole numbers of ADU where the values are whole, so that no beat of bins against steps shows.
    """
    flat = thinned(values)
    middle = float(np.median(flat))
    width = float(np.subtract(*np.percentile(flat, (84.135, 15.865)))) / 2
    low, high = np.percentile(flat, (0.05, 99.9))
    high = min(high, middle + 20 * width) if width > 0 else high
    whole = bool(np.all(flat == np.round(flat))) and high > low
    if whole:
        step = max(int(np.ceil((high - low + 1) / 120)), 1)
        edges = np.arange(np.floor(low) - 0.5, high + step + 0.5, step)
    else:
        edges = np.linspace(low, high if high > low else low + 1, 121)
    flat = flat[(flat >= edges[0]) & (flat <= edges[-1])]
    ax.hist(flat, bins=edges.tolist(), histtype="stepfilled", color=colour, alpha=0.35)
    ax.hist(flat, bins=edges.tolist(), histtype="step", color=colour, linewidth=1.2)
    ax.axvline(middle, color=RED, linewidth=1.2)
    ax.annotate(
        f"median {middle:.5g}\nwidth {width:.4g}",
        (0.985, 0.94),
        xycoords="axes fraction",
        ha="right",
        va="top",
        fontsize=9,
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 2},
    )
    ax.set(yscale="log", xlabel=f"pixel value [{unit}]" if unit else "pixel value", ylabel="pixels", title=title)


def _pixels(frame: Frame) -> NDArray[Any]:
    if frame.raw and frame.detector is not None:
        boxes = [frame.image[amp.raw_box("data")].array.ravel() for amp in frame.detector]
        return np.concatenate(boxes)
    return frame.image.array[frame.good()]
