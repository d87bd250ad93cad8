"""What the figures of photon transfer share: the points of an amplifier as they are drawn, marks by reason, panels."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fullwell.base.errors import DataError
from fullwell.plots.canvas import BLACK, BLUE, GREEN, ORANGE, PINK, RED, SKY, sheet
from fullwell.products import Points, Ptc

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "Curve",
    "cells",
    "chord_gain",
    "curves",
    "draw_points",
    "few_ticks",
    "kind_of",
    "kinds_of",
    "names_below",
    "note",
    "within",
]

F8 = NDArray[np.float64]
MARKS = (("x", RED), ("s", ORANGE), ("^", PINK), ("v", GREEN), ("D", SKY), ("+", BLACK))
"""Marker and colour of the kinds of reasons, the most frequent first; the last stands for all others."""
OTHER = "other reasons"
TURNOFF = "above the turnoff"
UNFITTED = "not in the fit"
UNMEASURED = "not measured"


@dataclass(frozen=True)
class Curve:
    """The points of one amplifier as figures draw them; arrays of shape (n,).

    Parameters
    ----------
    index, name : of the amplifier in the product; points : as measured.
    used : points of the fit, or all good ones where the product does not say.
    model : variance of the fitted model [adu2], NaN where there is none.
    reasons : "" where used, else why not; status : of the amplifier, "" if it has a gain.
    gain [electron/adu], noise [adu], a00 [1/electron], turnoff, turnoff_error [adu] : adopted, NaN where unknown.
    """

    index: int
    name: str
    points: Points
    used: NDArray[np.bool_]
    model: F8
    reasons: tuple[str, ...]
    status: str
    gain: float
    noise: float
    a00: float
    turnoff: float
    turnoff_error: float

    @property
    def measured(self) -> NDArray[np.bool_]:
        """(n,) points that can be drawn: a finite positive mean and a finite variance."""
        return np.isfinite(self.points.mean) & np.isfinite(self.points.variance) & (self.points.mean > 0)

    @property
    def order(self) -> NDArray[np.intp]:
        """Indices of the points that can be drawn, by rising mean."""
        rising = np.argsort(self.points.mean, kind="stable")
        return rising[self.measured[rising]]

    def shot_variance(self) -> F8:
        """(n,) variance without that of the read noise [adu2]."""
        noise = np.where(np.isfinite(self.points.noise), self.points.noise, np.nan_to_num(self.noise))
        return self.points.variance - noise**2

    def pair_gain(self) -> tuple[F8, F8]:
        """(n,) mean / (variance - read noise squared) [electron/adu] and its standard error; NaN below zero."""
        shot = np.where(self.shot_variance() > 0, self.shot_variance(), np.nan)
        gain = self.points.mean / shot
        return gain, gain * self.points.variance_error / shot


def curves(ptc: Ptc, amps: Sequence[str] | None = None, *, what: str = "points") -> list[Curve]:
    """The amplifiers `amps` of `ptc`, all where none are named.

    Raises
    ------
    DataError
        the product holds no measured point of them; `what` says what was to be drawn.
    GeometryError
        an amplifier that the product does not have.
    """
    wanted = [ptc.amplifier(name) for name in amps] if amps else list(range(len(ptc.amps)))
    by_name = {points.amp: points for points in ptc.points}
    out = [_curve(ptc, i, by_name) for i in wanted]
    if not any(curve.measured.any() for curve in out):
        raise DataError(
            f"there are no {what} to draw: the photon transfer holds no measured pair",
            where=ptc.source or f"photon transfer {ptc.id[:12]}",
            remedy="measure it with `fullwell ptc`; tables of other software hold fits without their points",
        )
    return out


def _curve(ptc: Ptc, i: int, by_name: dict[str, Points]) -> Curve:
    name = ptc.amps[i]
    points = by_name.get(name) or Points(amp=name, mean=np.zeros(0), variance=np.zeros(0))
    n = len(points)
    used = ptc.used[i] if ptc.used.shape == (len(ptc.amps), n) else points.good
    model = ptc.model[i] if ptc.model.shape == (len(ptc.amps), n) else np.full(n, np.nan)
    turnoff = float(ptc.turnoff[i])
    reasons = tuple(
        "" if used[k] else points.reasons[k] or _silent(points.mean[k], points.variance[k], turnoff) for k in range(n)
    )
    return Curve(
        index=i, name=name, points=points, used=np.asarray(used, bool), model=model, reasons=reasons,
        status=ptc.status[i], gain=float(ptc.gain[i]), noise=float(ptc.read_noise_adu[i]), a00=float(ptc.a00[i]),
        turnoff=turnoff, turnoff_error=float(ptc.turnoff_error[i]),
    )  # fmt: skip


def _silent(mean: float, variance: float, turnoff: float) -> str:
    """The reason of a point that is left out and has none of its own."""
    if not (np.isfinite(mean) and np.isfinite(variance)):
        return UNMEASURED
    return TURNOFF if mean > turnoff else UNFITTED


NUMBER = re.compile(r"[-+±]?\b\d[\d.]*(?:e[-+]?\d+)?(?:\s?(?:%|(?:adu2?|e-|electrons?|sigma|σ|s)(?!\w)))?")
HANGING = "of|by|is|are|at|the|than|to|with|only|in|from|more|less|fewer|above|below|beyond|over|under|and|a|±"


def kind_of(reason: str) -> str:
    """A reason without its numbers, so that points left out for the same cause share a mark.

    Numbers go with their units, brackets and what follows a colon too, and words that then hang; of a reason that
    begins with a number and has a colon, what follows the colon is the kind.
    """
    head, _, tail = reason.partition(": ")
    text = tail if tail and NUMBER.match(head) else head
    parts = re.split(r"[;,](?:\s|$)", re.sub(r"\([^)]*\)?", " ", text))
    words = " ".join(filter(None, (_trimmed(NUMBER.sub(" ", part)) for part in parts)))
    return words or reason


def _trimmed(text: str) -> str:
    """`text` without small words at its end, and without "of" at its beginning."""
    text = " ".join(text.split()).removeprefix("of ")
    while (shorter := re.sub(rf"(?:^|\s+)(?:{HANGING})$", "", text)) != text:
        text = shorter
    return text


def kinds_of(drawn: Iterable[Curve]) -> dict[str, tuple[str, str, int]]:
    """Kind of reason -> (marker, colour, how many points that can be drawn), the most frequent first.

    There are at most six; where there are more, the rarest share the kind "other reasons".
    """
    count: dict[str, int] = {}
    for curve in drawn:
        for k in np.flatnonzero(curve.measured & ~curve.used):
            kind = kind_of(curve.reasons[k])
            count[kind] = count.get(kind, 0) + 1
    ranked = sorted(count, key=lambda kind: (-count[kind], kind))
    if len(ranked) > len(MARKS):
        rare = ranked[len(MARKS) - 1 :]
        count[OTHER] = sum(count[kind] for kind in rare)
        ranked = [*ranked[: len(MARKS) - 1], OTHER]
    return {kind: (*mark, count[kind]) for kind, mark in zip(ranked, MARKS, strict=False)}


def draw_points(
    ax: Axes, curve: Curve, x: F8, y: F8, kinds: dict[str, tuple[str, str, int]], error: F8 | None = None
) -> None:
    """The points of `curve` at `x`, `y`: dots with bars where used in the fit, else the mark of their reason."""
    fine = np.isfinite(x) & np.isfinite(y)
    hit = curve.used & fine
    bars = None if error is None else np.nan_to_num(error[hit])
    if hit.any():
        ax.errorbar(
            x[hit], y[hit], yerr=bars, fmt="o", color=BLUE, markersize=3.2, elinewidth=0.8, label="used in the fit"
        )
    for kind, (marker, colour, _) in kinds.items():
        same = np.array(
            [kind_of(r) == kind or (kind == OTHER and kind_of(r) not in kinds) for r in curve.reasons], bool
        )
        hit = ~curve.used & fine & same
        if hit.any():
            face = colour if marker in "x+" else "none"
            ax.plot(x[hit], y[hit], marker, color=colour, markerfacecolor=face, markersize=5, label=kind)


def cells(
    drawn: Sequence[Curve], x: str, ratios: Sequence[float] = (1.0,), *, columns: int = 4, height: float = 2.2
) -> tuple[Figure, list[list[Axes]]]:
    """A sheet with one cell per amplifier, of as many axes one above the other as there are `ratios` of heights.

    `x` is the label of the lowest axes; `height` [inch] that of a cell, `columns` how many lie in a row.

    Axes of the same place in their cells share their scales. An amplifier without a measured point says so.
    """
    n = len(drawn)
    columns = min(columns, n)
    rows, parts = -(-n // columns), len(ratios)
    wide = 7.2 if n == 1 else max(2.55 * columns + 0.7, 6.4)
    figure = sheet(wide, (height * 1.7 if n == 1 else height) * rows + 0.9)
    grid = figure.add_gridspec(rows * parts, columns, height_ratios=list(ratios) * rows)
    out: list[list[Axes]] = []
    for k, curve in enumerate(drawn):
        row, column = divmod(k, columns)
        cell: list[Axes] = []
        for part in range(parts):
            first = out[0][part] if out else None
            ax = figure.add_subplot(grid[row * parts + part, column], sharex=out[0][0] if out else None, sharey=first)
            if cell and not out:
                ax.sharex(cell[0])
            last = k + columns >= n and part == parts - 1
            ax.tick_params(labelsize=8, labelbottom=last, labelleft=column == 0)
            if last:
                ax.set_xlabel(x, fontsize=9)
            cell.append(ax)
        cell[0].set_title(title_of(curve, short=n > 1), fontsize=9)
        if not curve.measured.any():
            note(cell[0], "no point was measured", place="middle")
        out.append(cell)
    return figure, out


def title_of(curve: Curve, *, short: bool) -> str:
    """Name of the amplifier, and its gain or that it has none."""
    if not np.isfinite(curve.gain):
        return f"{curve.name}: no gain" if short else f"{curve.name}: no gain; {curve.status}"
    return f"{curve.name}: {curve.gain:.4f} e-/adu"


def names_below(figure: Figure, kinds: dict[str, tuple[str, str, int]], lines: Sequence[Any] = ()) -> None:
    """The legend of marks by reason and of `lines`, under the figure."""
    from matplotlib.lines import Line2D

    handles: list[Any] = [Line2D([], [], marker="o", color=BLUE, ls="", ms=4, label="used in the fit"), *lines]
    for kind, (marker, colour, count) in kinds.items():
        face = colour if marker in "x+" else "none"
        label = f"left out: {kind} ({count})"
        handles.append(Line2D([], [], marker=marker, color=colour, mfc=face, ls="", ms=5, label=label))
    columns = max(1, min(len(handles), int(figure.get_figwidth() // 2.6)))
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, fontsize=8)


def few_ticks(grid: Sequence[Sequence[Axes]]) -> None:
    """At most five ticks on the axes of small panels and none between, so that labels do not touch."""
    from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

    if len(grid) == 1:
        return
    for ax in grid[0]:
        for axis, scale in ((ax.xaxis, ax.get_xscale()), (ax.yaxis, ax.get_yscale())):
            axis.set_major_locator(LogLocator(numticks=5) if scale == "log" else MaxNLocator(4))
            axis.set_minor_locator(NullLocator())


def note(ax: Axes, text: str, *, place: str = "top") -> None:
    """A few words inside `ax`, at its "top", "bottom" or "middle", or at the "left" of its top."""
    spot = {"top": (0.97, 0.95), "bottom": (0.97, 0.05), "middle": (0.5, 0.5), "left": (0.04, 0.95)}[place]
    across = {"middle": "center", "left": "left"}.get(place, "right")
    ax.annotate(
        text, spot, xycoords="axes fraction", ha=across, fontsize=8,
        va={"middle": "center", "bottom": "bottom"}.get(place, "top"),
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 1.5},
    )  # fmt: skip


def within(
    cell: Sequence[Axes], x: Sequence[F8], values: Sequence[F8], core: Sequence[F8], *, margin: float = 0.08
) -> None:
    """Give axes that share their scale a range that holds `core`, and of `values` at `x` what is not far off.

    Far is more than one height of the core beyond it. Such points become triangles at the edge of their panel, and
    how many they are is written into it.
    """
    every = np.concatenate([np.ravel(v) for v in core]) if core else np.zeros(0)
    every = every[np.isfinite(every)]
    if not every.size:
        return
    low, high = float(every.min()), float(every.max())
    span = (high - low) or abs(high) or 1.0
    for v in values:
        near = v[np.isfinite(v) & (v > every.min() - span) & (v < every.max() + span)]
        if near.size:
            low, high = min(low, float(near.min())), max(high, float(near.max()))
    pad = margin * (high - low or abs(high) or 1.0)
    cell[0].set_ylim(low - pad, high + pad)
    for ax, at, v in zip(cell, x, values, strict=True):
        words = []
        for off, edge, marker, word in ((v > high + pad, 1.0, "^", "above"), (v < low - pad, 0.0, "v", "below")):
            if off.any():
                inside = ax.get_xaxis_transform()
                ax.plot(at[off], np.full(off.sum(), edge), marker, color="0.35", ms=4, transform=inside, clip_on=False)
                words.append(f"{off.sum()} {word}")
        if words:
            note(ax, f"off scale: {', '.join(words)}", place="bottom")


def chord_gain(gain: float, a00: float, mean: F8) -> F8:
    """Pair gain [electron/adu] at `mean` [adu] that brighter-fatter leads to: gain X / (1 - exp(-X)).

    X = 2 abs(a00) gain mean (Astier et al. 2019, eq. 16, divided by the mean); a00 in 1/electron.
    """
    x = 2 * abs(a00) * gain * np.asarray(mean, np.float64)
    return gain * np.where(x > 1e-9, x / -np.expm1(-np.maximum(x, 1e-12)), 1.0)
