"""A night at a glance: the level of every frame in the order in which it was taken, by kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fullwell.base.figures import plot
from fullwell.plots.canvas import BLACK, BLUE, COLOURS, GREEN, ORANGE, RED, sheet, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["night_overview"]

MARKS = {"bias": ("o", BLUE), "dark": ("s", BLACK), "flat": ("^", ORANGE), "science": ("D", GREEN)}


@plot("night", "overview")
@styled
def night_overview(frames: Sequence[Mapping[str, Any]]) -> Figure:
    """Levels of `frames`, each {"name", "kind", "filter", "level", "unit"} and optionally "note" (left out, and why).

    Levels above a hundred are drawn on a logarithmic scale above a linear one, so that biases show beside flats.
    """
    figure = sheet(8.2, 3.8)
    ax = figure.add_subplot()
    kinds: dict[str, list[int]] = {}
    for i, frame in enumerate(frames):
        filtered = frame.get("filter")
        kinds.setdefault(f"{frame['kind']}{f' {filtered}' if filtered else ''}", []).append(i)
    levels = np.array([np.nan if f["level"] is None else f["level"] for f in frames], float)
    for k, (label, members) in enumerate(kinds.items()):
        mark, colour = MARKS.get(label.split()[0], ("x", COLOURS[k % 7]))
        shade = 1.0 if " " not in label else 0.45 + 0.55 * (k % 3) / 2
        ax.plot(members, levels[members], mark, color=colour, alpha=shade, label=f"{label} ({len(members)})")
    odd = [i for i, f in enumerate(frames) if f.get("note")]
    if odd:
        ax.plot(odd, levels[odd], "x", color=RED, markersize=11, markeredgewidth=1.6, label="left out")
    for i in odd[:6]:
        ax.annotate(frames[i]["name"], (i, levels[i]), xytext=(5, 5), textcoords="offset points", fontsize=8)
    unit = next((f.get("unit") for f in frames if f.get("unit")), "")
    ax.set_yscale("symlog", linthresh=100)
    ax.set(xlabel="frame, in order of time", ylabel=f"median level [{unit}]" if unit else "median level")
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure
