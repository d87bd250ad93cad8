"""The picture of a frame: image in the zscale range, amplifier borders, flagged pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fullwell.base.figures import plot
from fullwell.frames import Frame
from fullwell.plots.canvas import BLUE, GREEN, ORANGE, PINK, RED, limits, sheet, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from fullwell.cameras import Detector

__all__ = ["frame_image", "show_image"]

PIXELS = 1200
"""Longest side of a drawn image; larger ones are binned by medians of blocks' strides."""


@plot("frame", "image")
@styled
def frame_image(frame: Frame, *, title: str = "", mask: tuple[str, ...] = ("SAT",), amps: bool = True) -> Figure:
    """Draw the image of `frame`.

    Parameters
    ----------
    title : by default the id of the observation.
    mask : planes drawn in colour on top of the image.
    amps : draw the borders of the amplifiers and their names.
    """
    ny, nx = frame.shape
    figure = sheet(6.6, min(max(6.6 * ny / nx * 0.85, 2.4), 9.0))
    ax = figure.add_subplot()
    values = frame.image.array
    drawn = show_image(ax, values, frame.unit, origin=(frame.box.x0, frame.box.y0))
    figure.colorbar(drawn, ax=ax, label=frame.unit, shrink=0.9)
    if frame.mask is not None:
        planes = [p for p in mask if p in frame.mask.schema]
        _flags(ax, frame, planes)
    if amps and frame.detector is not None:
        _borders(ax, frame.detector, frame.raw)
    obs = frame.observation
    ax.set_title(title or " ".join(t for t in (obs.obs_id, obs.kind, obs.filter) if t))
    return figure


def show_image(
    ax: Axes,
    values: NDArray[Any],
    unit: str,
    *,
    origin: tuple[int, int] = (0, 0),
    span: tuple[float, float] | None = None,
    cmap: str = "gray",
) -> Any:
    """Draw an array (ny, nx) with pixel axes; `span` is the range of values, by default zscale."""
    ny, nx = values.shape
    step = max(max(ny, nx) // PIXELS, 1)
    low, high = span or limits(values)
    x0, y0 = origin
    drawn = ax.imshow(
        np.asarray(values[::step, ::step], np.float32),
        vmin=low,
        vmax=high,
        cmap=cmap,
        origin="lower",
        extent=(x0 - 0.5, x0 + nx - 0.5, y0 - 0.5, y0 + ny - 0.5),
    )
    ax.grid(False)
    ax.set(xlabel="x [pixel]", ylabel="y [pixel]")
    return drawn


def _flags(ax: Axes, frame: Frame, planes: list[str]) -> None:
    from matplotlib.colors import to_rgba
    from matplotlib.patches import Patch

    if frame.mask is None or not planes:
        return
    handles = []
    colours = (RED, BLUE, GREEN, PINK)
    ny, nx = frame.shape
    step = max(max(ny, nx) // PIXELS, 1)
    box = frame.box
    for plane, colour in zip(planes, colours, strict=False):
        hit = frame.mask[plane][::step, ::step]
        if not hit.any():
            continue
        layer = np.zeros((*hit.shape, 4), np.float32)
        layer[hit] = to_rgba(colour, 0.85)
        ax.imshow(layer, origin="lower", extent=(box.x0 - 0.5, box.x1 - 0.5, box.y0 - 0.5, box.y1 - 0.5))
        handles.append(Patch(color=colour, label=plane))
    if handles:
        ax.legend(handles=handles, loc="upper right", frameon=True)


def _borders(ax: Axes, detector: Detector, raw: bool) -> None:
    from matplotlib.patches import Rectangle
    from matplotlib.patheffects import withStroke

    for amp in detector:
        box = amp.raw if raw else amp.trimmed
        ax.add_patch(
            Rectangle((box.x0 - 0.5, box.y0 - 0.5), box.width, box.height, fill=False, color=ORANGE, linewidth=0.8)
        )
        if len(detector) > 1:
            ax.text(
                (box.x0 + box.x1) / 2,
                (box.y0 + box.y1) / 2,
                amp.name,
                ha="center",
                va="center",
                fontsize=9,
                color="white",
                path_effects=[withStroke(linewidth=1.6, foreground="black")],
            )
