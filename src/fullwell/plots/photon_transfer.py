"""Photon transfer: variance against mean of pairs of flats, with the line that the gain implies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fullwell.base.errors import GeometryError
from fullwell.base.figures import plot
from fullwell.plots.canvas import RED, sheet, styled
from fullwell.products import Gain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["gain_overview", "photon_transfer"]


@plot("gain", "photon_transfer")
@styled
def photon_transfer(gain: Gain, *, points: Mapping[str, tuple[NDArray[Any], NDArray[Any]]], columns: int = 4) -> Figure:
    """One panel per amplifier: variance of one image [adu2] against mean [adu].

    Both axes are logarithmic where the means span more than a factor of ten, else linear from zero.

    Parameters
    ----------
    points : amplifier -> (means [adu], variances [adu2] of one image, half that of a difference).
    columns : panels in a row.

    The line is V = R**2 + m / g (Janesick 2001, chapter 2): read noise and gain of the product, without
    brighter-fatter, so that points fall below it at high signal.

    Raises
    ------
    GeometryError
        `points` names an amplifier that the gain has not.
    """
    unknown = set(points) - set(gain.amps)
    if unknown:
        raise GeometryError(
            f"the gain has no amplifier '{sorted(unknown)[0]}'", remedy=f"it has {', '.join(gain.amps)}"
        )
    every = np.concatenate([np.asarray(means, float) for means, _ in points.values()])
    highest = float(np.nanmax(every))
    wide = highest > 10 * max(float(np.nanmin(every)), 1e-3)
    columns = min(columns, len(points))
    rows = -(-len(points) // columns)
    figure = sheet(2.3 * columns + 0.6, 2.2 * rows + 0.5)
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    for ax in axes.ravel()[len(points) :]:
        ax.set_visible(False)
    for ax, (name, (means, variances)) in zip(axes.ravel(), points.items(), strict=False):
        i = gain.amps.index(name)
        noise = float(np.nan_to_num(np.asarray(gain.read_noise_adu)[i]))
        draw = ax.loglog if wide else ax.plot
        grid = np.geomspace(max(np.nanmin(means), 1e-3), np.nanmax(means), 60) if wide else np.array([0, highest])
        draw(means, variances, "o", markersize=3.5)
        draw(grid, noise**2 + grid / gain.gain[i], color=RED, linewidth=1.2)
        error = gain.gain_error[i]
        ax.set_title(f"{name}: {gain.gain[i]:.4f}{f' ± {error:.4f}' if np.isfinite(error) else ''} e-/adu", fontsize=9)
    figure.supxlabel("mean [adu]", fontsize=10)
    figure.supylabel("variance of one image [adu²]", fontsize=10)
    return figure


@plot("gain", "overview")
@styled
def gain_overview(gain: Gain, *, truth: Mapping[str, float] | None = None) -> Figure:
    """Gain and read noise of each amplifier with their errors; `truth` is amplifier -> gain, where it is known."""
    figure = sheet(7.0, 4.2)
    top, bottom = figure.subplots(2, 1, sharex=True)
    x = np.arange(len(gain.amps))
    top.errorbar(x, gain.gain, yerr=_bars(gain.gain_error), fmt="o", elinewidth=1, capsize=2, label=gain.estimator)
    if truth:
        top.plot(x, [truth.get(a, np.nan) for a in gain.amps], "_", color=RED, markersize=14, label="truth")
    top.legend(loc="best")
    top.set(ylabel="gain [e-/adu]")
    known = np.isfinite(gain.read_noise).any()
    noise = gain.read_noise if known else np.asarray(gain.read_noise_adu)
    bottom.errorbar(x, noise, yerr=_bars(gain.read_noise_error) if known else None, fmt="o", elinewidth=1, capsize=2)
    bottom.set(ylabel="read noise [e-]" if known else "read noise [adu]")
    bottom.set_xticks(x, gain.amps, rotation=90 if len(x) > 8 else 0)
    return figure


def _bars(errors: NDArray[Any]) -> NDArray[Any]:
    return np.nan_to_num(np.asarray(errors, float))
