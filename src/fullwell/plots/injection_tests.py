"""The statistics of the removal test, the injection on trial and the naive control side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fullwell.base.errors import DataError
from fullwell.base.figures import plot
from fullwell.plots.canvas import BLUE, ORANGE, sheet, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["injection_tests"]


@plot("injection", "tests")
@styled
def injection_tests(report: Any) -> Figure:
    """Each statistic of the removal test less the value that it has where injected stars are like native ones.

    Bars are four standard errors: a test whose bar does not reach zero tells the injected stars from the native ones.
    Blue is the injection on trial; orange is the naive control, the same sources drawn with one gain for the whole
    frame. A test that does not find the control says little about the other.

    Raises
    ------
    DataError
        no test was made.
    """
    names = [n for n, v in report.verdicts.items() if v.found is not None]
    if not names:
        raise DataError("no test was made", remedy="name some: tests=('T2', 'T3')")
    figure = sheet(6.2, 0.55 * len(names) + 1.3)
    ax = figure.add_subplot()
    for shift, colour, label, verdicts in (
        (-0.12, BLUE, "on trial", report.verdicts),
        (0.12, ORANGE, "one gain for all", report.naive),
    ):
        shown = [(i, verdicts[n]) for i, n in enumerate(names) if n in verdicts and verdicts[n].found is not None]
        off = [v.value - v.expected for _, v in shown]
        places = np.array([i for i, _ in shown]) + shift
        ax.errorbar(off, places, xerr=[4 * v.error for _, v in shown], fmt="o", color=colour, label=label, markersize=5)
    ax.axvline(0, color="0.5", linewidth=0.8)
    ax.set_yticks(range(len(names)), [f"{n}: {report.verdicts[n].meaning}" for n in names])
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.set_xlabel("value less the one expected [bars: 4 standard errors]")
    ax.legend(loc="best")
    return figure
