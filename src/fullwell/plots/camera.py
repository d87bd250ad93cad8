"""A camera drawn: detectors on the focal plane, or the amplifiers of one detector as stored and as assembled."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fullwell.base.figures import plot
from fullwell.cameras import Amplifier, Box, Camera, Detector
from fullwell.plots.canvas import BLACK, BLUE, GREEN, ORANGE, PINK, RED, SKY, sheet, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_detector", "layout"]

PARTS = (
    ("data", "data", SKY),
    ("prescan", "prescan", ORANGE),
    ("serial_overscan", "serial overscan", GREEN),
    ("parallel_overscan", "parallel overscan", PINK),
)
TYPES = (BLUE, ORANGE, RED, GREEN, PINK, SKY)
ARROWS = "arrows start at the first pixel read; the long one runs along the row"


@plot("camera", "layout")
@styled
def layout(camera: Camera | Detector) -> Figure:
    """The layout of a camera.

    Parameters
    ----------
    camera : a `Camera` of several detectors is drawn on its focal plane [mm], with one detector of each type in
        detail; a `Detector`, or a camera of one, in detail only.

    Returns
    -------
    Figure
        left the raw image with its overscans, right the assembled image; arrows start at the first pixel read, the
        long arm along the row that is read first.
    """
    if isinstance(camera, Detector):
        return draw_detector(camera)
    if len(camera) == 1:
        return draw_detector(camera.detectors[0], camera.name)
    shapes: dict[int, Detector] = {}
    for det in camera:
        shapes.setdefault(id(det.amplifiers), det)
    kinds = list(shapes.values())[:3]
    figure = sheet(13.0, 7.6)
    grid = figure.add_gridspec(len(kinds), 3, width_ratios=[1.9, 1.0, 1.0])
    colours = {key: TYPES[i % len(TYPES)] for i, key in enumerate(shapes)}
    _focal_plane(figure.add_subplot(grid[:, 0]), camera, colours)
    for row, det in enumerate(kinds):
        raw, assembled = figure.add_subplot(grid[row, 1]), figure.add_subplot(grid[row, 2])
        _raw(raw, det)
        _assembled(assembled, det)
        raw.set_title(f"{det.physical_type or det.name}: raw ({det.name})", fontsize="small")
        assembled.set_title("assembled", fontsize="small")
        if row == 0:
            _legend(figure, raw)
    figure.suptitle(f"{camera.name}: {len(camera)} detectors; {ARROWS}")
    return figure


@styled
def draw_detector(detector: Detector, title: str = "") -> Figure:
    """The amplifiers of one detector: raw image (left) and assembled image (right), pixels on both axes."""
    figure = sheet(11.0, 5.6)
    left, right = figure.subplots(1, 2)
    _raw(left, detector)
    _assembled(right, detector)
    ny, nx = detector.raw_box.shape
    left.set_title(f"raw image, {nx} x {ny}")
    ny, nx = detector.box.shape
    right.set_title(f"assembled image, {nx} x {ny}")
    _legend(figure, left)
    name = f"{title} {detector.name}".strip() if title != detector.name else title
    count = len(detector)
    figure.suptitle(f"{name}: {count} amplifier{'s' if count > 1 else ''}; {ARROWS}")
    return figure


def _focal_plane(axes: Axes, camera: Camera, colours: dict[int, str]) -> None:
    """Outlines of the detectors; a dot marks pixel (0, 0)."""
    from matplotlib.patches import Polygon

    labelled: set[str] = set()
    size = 4 if len(camera) > 60 else 8
    for det in camera:
        ny, nx = det.box.shape
        x, y = det.to_focal_plane([-0.5, nx - 0.5, nx - 0.5, -0.5], [-0.5, -0.5, ny - 0.5, ny - 0.5])
        kind = det.physical_type or "detector"
        colour = colours[id(det.amplifiers)]
        label = None if kind in labelled else kind
        labelled.add(kind)
        axes.add_patch(Polygon(np.c_[x, y], facecolor=colour, alpha=0.35, edgecolor=BLACK, lw=0.5, label=label))
        name = det.name.replace("_", "\n") if len(camera) > 60 else f"{det.name}\n{det.id}"
        axes.text(x.mean(), y.mean(), name, ha="center", va="center", fontsize=size)
        inset = 0.06
        axes.plot(x[0] + inset * (x[2] - x[0]), y[0] + inset * (y[2] - y[0]), ".", color=RED, ms=2)
    axes.autoscale_view()
    axes.set_aspect("equal")
    axes.set_xlabel("focal plane x [mm]")
    axes.set_ylabel("focal plane y [mm]")
    axes.set_title("focal plane; the red dot is next to pixel (0, 0)", fontsize="small")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.08), ncols=4, frameon=False)


def _patch(axes: Axes, box: Box, colour: str, *, fill: bool = True, label: str | None = None) -> None:
    from matplotlib.patches import Rectangle

    axes.add_patch(
        Rectangle(
            (box.x0 - 0.5, box.y0 - 0.5), box.width, box.height, facecolor=colour if fill else "none",
            edgecolor=BLACK if not fill else "none", alpha=1.0 if not fill else 0.55, lw=0.8, label=label,
        )
    )  # fmt: skip


def _read_arrow(axes: Axes, amp: Amplifier, box: Box, *, raw: bool) -> None:
    """A dot at the first pixel read, a long arrow along its row and a short one across the rows."""
    turn = amp.raw_orientation if raw else amp.orientation
    rows, columns = amp.shape if raw else amp.data.shape
    ys, xs = np.array([0.06, 0.06, 0.32]) * rows, np.array([0.1, 0.75, 0.1]) * columns
    py, px = turn.point(ys, xs, (rows, columns))
    px, py = px + box.x0, py + box.y0
    style = {"arrowstyle": "-|>", "color": RED, "lw": 0.9, "shrinkA": 0, "shrinkB": 0, "mutation_scale": 7}
    for end in (1, 2):
        axes.annotate("", (px[end], py[end]), (px[0], py[0]), arrowprops=style)
    axes.plot(px[0], py[0], "o", color=RED, ms=2.5)


def _frame(axes: Axes, whole: Box) -> None:
    axes.set_xlim(-0.5 - 0.02 * whole.width, whole.width * 1.02 - 0.5)
    axes.set_ylim(-0.5 - 0.02 * whole.height, whole.height * 1.02 - 0.5)
    axes.set_aspect("auto" if whole.height > 3 * whole.width or whole.width > 3 * whole.height else "equal")
    axes.set_xlabel("x [pixel]")
    axes.set_ylabel("y [pixel]")
    axes.grid(False)


def _raw(axes: Axes, detector: Detector) -> None:
    """The raw image: each segment with its parts."""
    size = 6 if len(detector) > 8 else 9
    for amp in detector:
        for label, text, colour in PARTS:
            if getattr(amp, label).area:
                _patch(axes, amp.raw_box(label), colour, label=text)
        _patch(axes, amp.raw, BLACK, fill=False)
        box = amp.raw_box("data")
        axes.text(box.x0 + box.width / 2, box.y0 + box.height / 2, amp.name, ha="center", va="center", fontsize=size)
        _read_arrow(axes, amp, amp.raw, raw=True)
    _frame(axes, detector.raw_box)


def _assembled(axes: Axes, detector: Detector) -> None:
    """The assembled image: names and where read-out starts."""
    size = 6 if len(detector) > 8 else 9
    for amp in detector:
        _patch(axes, amp.trimmed, SKY)
        _patch(axes, amp.trimmed, BLACK, fill=False)
        x, y = amp.trimmed.x0 + amp.trimmed.width / 2, amp.trimmed.y0 + amp.trimmed.height / 2
        text = amp.name
        if len(detector) <= 4 and np.isfinite(amp.gain):
            text += f"\n{amp.gain:.3g} e-/adu"
            text += f"\n{amp.read_noise:.3g} e-" if np.isfinite(amp.read_noise) else ""
        axes.text(x, y, text, ha="center", va="center", fontsize=size)
        _read_arrow(axes, amp, amp.trimmed, raw=False)
    _frame(axes, detector.box)


def _legend(figure: Figure, axes: Axes) -> None:
    """One entry per part that exists, below the figure."""
    handles, labels = axes.get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    figure.legend(unique.values(), unique.keys(), loc="outside lower right", ncols=4, frameon=False)
