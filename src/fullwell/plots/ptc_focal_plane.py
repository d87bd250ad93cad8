"""A map of any number of the photon transfer over one detector or a focal plane."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fullwell.base.errors import DataError, FullwellError, UsageError
from fullwell.base.figures import plot
from fullwell.cameras import Camera, Detector
from fullwell.plots.canvas import BLACK, RED, sheet, styled
from fullwell.products import Ptc

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["PARAMETERS", "focal_plane", "parameter_values"]

PARAMETERS: dict[str, tuple[str, str]] = {
    "gain": ("adopted gain", "e-/adu"),
    "gain_error": ("statistical error of the gain", "e-/adu"),
    "gain_model_error": ("systematic error of the gain", "e-/adu"),
    "read_noise": ("read noise", "e-"),
    "read_noise_adu": ("read noise", "adu"),
    "a00": ("brighter-fatter a00", "1/e-"),
    "chi2": ("reduced chi² of the fit", ""),
    "turnoff": ("turnoff", "adu"),
    "rolloff": ("roll-off", "adu"),
    "range_low": ("lowest signal used", "adu"),
    "range_high": ("highest signal used", "adu"),
}
"""Name of a parameter -> what it is, unit. Estimators are parameters too, by their names."""
LABEL = {"facecolor": "white", "edgecolor": "none", "alpha": 0.6, "pad": 1}
OUTLIER = 5.0
"""An amplifier this many robust standard deviations from the median is named."""


@plot("ptc", "focal_plane")
@styled
def focal_plane(
    ptc: Ptc | Sequence[Ptc], *, parameter: str = "gain", camera: Camera | Detector | None = None
) -> Figure:
    """One number of every amplifier, drawn where the amplifier lies: a detector in pixels, several in millimetres.

    All share one scale of colours, from the 2nd to the 98th percentile. Hatched amplifiers have no value.
    Amplifiers that lie far from the others (five robust standard deviations) have a red frame and are named
    below the map. A step from detector to detector is a type of sensor or a board of electronics; a gradient
    across the plane is temperature or light; a single amplifier is a fault.

    Parameters
    ----------
    ptc : of one detector, or one for each of several.
    parameter : a key of `PARAMETERS`, or the name of an estimator ("pair", "line" …).
    camera : where the amplifiers lie; found by the instrument of the product where none is given. Amplifiers whose
        place is unknown are drawn side by side.

    Raises
    ------
    UsageError
        the parameter is unknown.
    DataError
        no amplifier has a value.
    """
    products = [ptc] if isinstance(ptc, Ptc) else list(ptc)
    values = [parameter_values(one, parameter) for one in products]
    every = np.concatenate(values) if values else np.zeros(0)
    known = every[np.isfinite(every)]
    if not known.size:
        raise DataError(f"no amplifier has a value of '{parameter}'", remedy="another parameter may be known")
    detectors = [_detector(one, camera) for one in products]
    wide = len(products) > 1
    figure = sheet(8.4 if wide else 7.0, 7.6 if wide else 6.2)
    ax = figure.add_subplot()
    middle = float(np.median(known))
    robust = 1.4826 * float(np.median(np.abs(known - middle)))
    shapes, strange, shown = [], [], []
    for k, (one, detector, row) in enumerate(zip(products, detectors, values, strict=True)):
        name = one.observation.detector if detector is None else detector.name
        _frame(ax, detector, wide=wide)
        outlines = _outlines(one, detector, k, wide=wide)
        for amp, outline, value in zip(one.amps, outlines, row, strict=True):
            far = np.isfinite(value) and known.size > 4 and abs(value - middle) > OUTLIER * robust > 0
            shapes.append(outline)
            shown.append((value, far))
            if far:
                strange.append(f"{name + ' ' if wide else ''}{amp}: {value:.4g}")
            if not wide:
                label = f"{amp}\n{value:.4g}" if np.isfinite(value) else f"{amp}\n-"
                x, y = outline.mean(axis=0).tolist()
                ax.text(x, y, label, ha="center", va="center", fontsize=7 if len(row) > 8 else 9, bbox=LABEL)
        if wide:
            spot = np.concatenate(outlines).reshape(-1, 2).mean(0)
            ax.text(
                float(spot[0]),
                float(spot[1]),
                name,
                ha="center",
                va="center",
                fontsize=5 if len(products) > 30 else 8,
                bbox=LABEL,
            )
    mesh = _paint(ax, shapes, shown, known)
    what, unit = PARAMETERS.get(parameter, (f"gain by the estimator {parameter}", "e-/adu"))
    figure.colorbar(mesh, ax=ax, shrink=0.85, label=f"{what} [{unit}]" if unit else what, extend="both")
    _axes(ax, detectors, wide=wide)
    missing = int(np.sum(~np.isfinite(every)))
    count = f"{known.size} amplifier{'s' if known.size > 1 else ''}"
    words = f"{what}: median {middle:.5g}{f' {unit}' if unit else ''}, {count}"
    ax.set_title(f"{words}; without a value (hatched): {missing}" if missing else words, fontsize=10)
    if strange:
        more = f" and {len(strange) - 8} more" if len(strange) > 8 else ""
        figure.supxlabel(f"far from the others: {', '.join(strange[:8])}{more}", fontsize=9, color=RED)
    return figure


def parameter_values(ptc: Ptc, parameter: str) -> np.ndarray:
    """(n_amp,) a field of the product, or the gains by the estimator of that name.

    Raises
    ------
    UsageError
        there is neither.
    """
    if parameter in PARAMETERS:
        return np.asarray(getattr(ptc, parameter), float)
    names = sorted({e.name for row in ptc.estimates for e in row})
    if parameter not in names:
        raise UsageError(
            f"the photon transfer has no parameter '{parameter}'",
            remedy=f"parameters: {', '.join(PARAMETERS)}" + (f"; estimators: {', '.join(names)}" if names else ""),
        )
    return np.array([next((e.gain for e in row if e.name == parameter), np.nan) for row in ptc.estimates], float)


def _detector(ptc: Ptc, camera: Camera | Detector | None) -> Detector | None:
    """The geometry of the product; None where it is unknown or has other amplifiers."""
    if camera is None:
        from fullwell import instruments

        try:
            camera = instruments.get(ptc.observation.instrument).camera
        except FullwellError:
            return None
    if isinstance(camera, Camera):
        obs = ptc.observation
        same = [d for d in camera if obs.detector == d.name or (obs.detector_id == d.id and d.id)]
        camera = same[0] if same else (camera.detectors[0] if len(camera) == 1 else None)
    return camera if camera is not None and set(ptc.amps) <= set(camera.names) else None


def _outlines(ptc: Ptc, detector: Detector | None, row: int, *, wide: bool) -> list[np.ndarray]:
    """(4, 2) corners of each amplifier: pixels of the detector, or millimetres of the focal plane."""
    if detector is None:
        height = row if wide else 0
        return [np.array([[k, height], [k + 1, height], [k + 1, height + 0.9], [k, height + 0.9]], float)
                for k in range(len(ptc.amps))]  # fmt: skip
    out = []
    for name in ptc.amps:
        box = detector[name].trimmed
        x = np.array([box.x0, box.x1, box.x1, box.x0]) - 0.5
        y = np.array([box.y0, box.y0, box.y1, box.y1]) - 0.5
        out.append(np.stack(detector.to_focal_plane(x, y) if wide else (x, y), axis=-1))
    return out


def _frame(ax: Axes, detector: Detector | None, *, wide: bool) -> None:
    """Outline of a detector, so that amplifiers which the product lacks are seen to be missing."""
    if detector is not None:
        ny, nx = detector.box.shape
        x, y = np.array([0, nx, nx, 0, 0]) - 0.5, np.array([0, 0, ny, ny, 0]) - 0.5
        x, y = detector.to_focal_plane(x, y) if wide else (x, y)
        ax.plot(x, y, color=BLACK, linewidth=1.0)


def _paint(ax: Axes, shapes: Sequence[np.ndarray], shown: Sequence[tuple[float, Any]], known: np.ndarray) -> Any:
    """Amplifiers as filled outlines; the mappable of the colour bar."""
    from matplotlib.collections import PolyCollection

    low, high = (float(v) for v in np.percentile(known, (2, 98)))
    if high <= low:
        low, high = low - 0.5 * (abs(low) or 1), high + 0.5 * (abs(high) or 1)
    value = np.array([v for v, _ in shown], float)
    far = np.array([f for _, f in shown], bool)
    fine = np.isfinite(value)
    mesh = PolyCollection([s for s, ok in zip(shapes, fine, strict=True) if ok], array=value[fine], cmap="viridis",
                          edgecolors=BLACK, linewidths=0.3)  # fmt: skip
    mesh.set_clim(low, high)
    ax.add_collection(mesh)
    looks: tuple[tuple[np.ndarray, dict[str, Any]], ...] = (
        (~fine, {"facecolors": "0.93", "edgecolors": "0.5", "hatch": "////", "linewidths": 0.3}),
        (far, {"facecolors": "none", "edgecolors": RED, "linewidths": 2.0}),
    )
    for chosen, look in looks:
        if chosen.any():
            ax.add_collection(PolyCollection([s for s, ok in zip(shapes, chosen, strict=True) if ok], **look))
    return mesh


def _axes(ax: Axes, detectors: Sequence[Detector | None], *, wide: bool) -> None:
    ax.grid(visible=False)
    ax.autoscale_view()
    if any(d is None for d in detectors):
        ax.set(xlabel="amplifiers side by side: their places are unknown", ylabel="", xticks=[], yticks=[])
        return
    ax.set_aspect("equal")
    unit = "mm" if wide else "pixel"
    ax.set(xlabel=f"x [{unit}]", ylabel=f"y [{unit}]")
