"""Noise budget: how much of the variance of a frame is signal, sky, dark, read noise, combined frames and the rest.

The terms are those of `noise_terms`; what their sum lacks of the variance is a term of its own, "unattributed", so that
means add up exactly. Medians are what a typical pixel has; they do not add up.
Beside them stands what the variance does not hold: charge repels charge (brighter-fatter), so that a pixel of N
electrons scatters less than N. Where nothing corrects the images, that share of the Poisson term is not there in
reality; for flat light it is C00(N) - N of the covariance model of a photon transfer, -19 % at 80 000 electrons for
a00 of -2.7e-6. For simulated stars of sigma 2 pixels it held to 1 % of V at all levels; their mean
profile changes too, by -2 % at such peaks, which no variance holds.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fullwell.base.errors import DataError, UsageError
from fullwell.frames import Frame
from fullwell.measure.noise_products import used_products, where_of
from fullwell.measure.noise_terms import Law, amp_slices, by_amp, kept_terms, law_of, recomputed_terms
from fullwell.products import Product, Ptc

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from fullwell.repo import Repository

__all__ = ["TERMS", "NoiseBudget", "Share", "noise_budget", "usable"]

F8 = NDArray[np.float64]

TERMS: dict[str, str] = {
    "signal": "photons of the sources, above the sky",
    "sky": "photons of the sky",
    "dark": "dark charge, its shot noise",
    "read_noise": "read noise",
    "quantisation": "rounding of the converter, and dither",
    "overscan": "error of the overscan level",
    "bias_frame": "error of the combined bias",
    "dark_frame": "error of the combined dark",
    "flat": "error of the combined flat",
    "linearity": "slope of the linearity correction on the noise",
    "unattributed": "not explained by the terms above",
}
"""Terms and what they are, in the order in which they are shown."""
BAD_PLANES = ("BAD", "SAT", "NO_DATA", "UNMASKEDNAN", "INTRP", "CR")
"""Pixels with one of these say nothing about the law of the variance."""


def usable(frame: Frame) -> NDArray[np.bool_]:
    """(ny, nx) pixels that are finite in image and variance and carry none of `BAD_PLANES`.

    Raises
    ------
    DataError
        the frame has no variance, or no pixel is left.
    """
    if frame.variance is None:
        raise DataError(
            "the frame has no variance",
            where=f"{where_of(frame)}, HDU VARIANCE",
            remedy="reduce it: fullwell isr FILE -o DIR, with a gain",
        )
    ok = frame.good(BAD_PLANES) & np.isfinite(frame.variance.array)
    if not ok.any():
        raise DataError(
            "no pixel is left: all are masked or not finite",
            where=where_of(frame),
            remedy="look at the mask: fullwell show",
        )
    return np.asarray(ok)


@dataclass(frozen=True)
class Share:
    """The terms over some pixels.

    Parameters
    ----------
    name : "frame", an amplifier, or a range of flux; pixels : their number.
    flux : mean image [unit]; variance : mean, variance_median [unit2].
    mean, median : term -> value [unit2]; the means add up to `variance`.
    outside : term that the variance does not hold -> mean [unit2], negative where reality scatters less.
    """

    name: str
    pixels: int
    flux: float
    variance: float
    variance_median: float
    mean: dict[str, float]
    median: dict[str, float]
    outside: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return dict(self.__dict__)


@dataclass(frozen=True)
class NoiseBudget:
    """What the variance of one frame is made of.

    Parameters
    ----------
    name : of the frame; unit : of the image. method : "kept" parts of the frame, or "recomputed" from the products.
    frame : all usable pixels; amps, levels : by amplifier, by flux. sky : level taken for the sky, by amplifier [unit].
    closure : sum of |unattributed| over sum of variance. notes : what could not be attributed, and why.
    planes : term -> (ny, nx) [unit2], not in the JSON.
    """

    name: str
    unit: str
    method: str
    frame: Share
    amps: tuple[Share, ...]
    levels: tuple[Share, ...]
    sky: dict[str, float]
    closure: float
    notes: tuple[str, ...]
    planes: dict[str, F8]

    def terms(self) -> tuple[str, ...]:
        """Names of the terms that are there, in order."""
        order = [*TERMS, *sorted(set(self.planes) - set(TERMS))]
        return tuple(name for name in order if name in self.planes)

    def plot(self, name: str = "stack", **options: Any) -> Figure:
        """Figure `name` ("stack") of `fullwell.plots.noise_budget`."""
        from fullwell.base.figures import figure

        drawn: Figure = figure("noise_budget", name)(self, **options)
        return drawn

    def to_dict(self) -> dict[str, Any]:
        """As plain data, without the planes."""
        shares = {"frame": self.frame.to_dict(), "amps": [s.to_dict() for s in self.amps]}
        more = {"levels": [s.to_dict() for s in self.levels], "sky": self.sky, "closure": self.closure}
        head = {"name": self.name, "unit": self.unit, "method": self.method, "terms": list(self.terms())}
        return {**head, **shares, **more, "notes": list(self.notes)}


def noise_budget(
    frame: Frame,
    products: Mapping[str, Product] | None = None,
    repo: Repository | str | os.PathLike[str] | None = None,
    *,
    levels: Sequence[float] = (),
    sky: float | None = None,
) -> NoiseBudget:
    """How much of the variance of a corrected frame is what.

    Parameters
    ----------
    products : role ("bias", "dark", "flat", "gain", "ptc", "linearity") -> product that the frame was corrected with;
        a "ptc" also tells what the brighter-fatter effect takes away. repo : where those not given are found by the ids
        that the frame names. Neither is needed for a frame that kept the parts of its variance, but for the last term.
    levels : edges of the ranges of flux [unit of the image]; by default eight from the sky to the brightest pixels.
    sky : level of the sky [unit]; by default the clipped median of each amplifier.

    Raises
    ------
    DataError
        the frame has no variance, no usable pixel, or nothing tells electrons from the unit of its image.
    UsageError
        a product does not belong to the frame; levels that do not rise. GeometryError, UnitError
    """
    ok = usable(frame)
    assert frame.variance is not None
    found, notes = used_products(frame, products, repo)
    law = law_of(frame, found)
    lacking = [n for n in notes if slope_counts(frame) or not n.startswith("the linearity")]
    if frame.components:
        planes, lacking = kept_terms(frame, law), []
    else:
        planes, more = recomputed_terms(frame, law, found)
        lacking += more
        k_known = np.isfinite(law.k) | ~ok
        if not k_known.all():
            lacking.append(f"{int((~k_known).sum())} pixels have no known unit per electron and are left out")
            ok &= k_known
    planes, level = _split(frame, law, planes, ok, sky, lacking)
    planes["unattributed"] = frame.variance.array.astype(np.float64) - sum(planes.values())
    outside = _brighter_fatter(frame, law, found)
    if "ptc" not in found:
        lacking.append("the brighter-fatter effect is not told: no photon transfer (--ptc)")
    shares = _Shares(frame, planes, outside, ok)
    amps = {} if frame.detector is None else {n: amp_slices(frame, n) for n in frame.detector.names}
    total = float(frame.variance.array[ok].sum(dtype=float))
    return NoiseBudget(
        frame.source or frame.observation.obs_id,
        frame.unit,
        "kept" if frame.components else "recomputed",
        shares.of("frame", ok),
        tuple(shares.of(name, _only(ok, at)) for name, at in amps.items() if ok[at].any()),
        tuple(shares.of(*one) for one in _ranges(frame, ok, levels, level)),
        level,
        float(np.abs(planes["unattributed"][ok]).sum() / total) if total else 0.0,
        tuple(lacking),
        planes,
    )


def slope_counts(frame: Frame) -> bool:
    """Whether the slope of the linearity correction is in the variance, as its record says."""
    record = frame.last("linearity")
    return record is None or bool(record.numbers.get("slope_in_variance", True))


def _only(ok: NDArray[np.bool_], at: tuple[slice, slice]) -> NDArray[np.bool_]:
    out = np.zeros_like(ok)
    out[at] = ok[at]
    return out


def _clipped(values: NDArray[Any]) -> float:
    """Median after two cuts at three widths above and below."""
    for _ in range(2):
        middle = np.median(values)
        width = 1.4826 * np.median(np.abs(values - middle))
        values = values[np.abs(values - middle) <= 3 * width] if width > 0 else values
    return float(np.median(values))


def sky_of(frame: Frame, ok: NDArray[np.bool_]) -> dict[str, float]:
    """Clipped median of each amplifier [unit], of the frame ("") where it has no amplifiers."""
    image = frame.image.array
    if frame.detector is None:
        return {"": _clipped(image[ok])}
    at = {name: amp_slices(frame, name) for name in frame.detector.names}
    return {name: _clipped(image[s][ok[s]]) for name, s in at.items() if ok[s].any()}


def _split(
    frame: Frame, law: Law, planes: dict[str, F8], ok: NDArray[np.bool_], sky: float | None, notes: list[str]
) -> tuple[dict[str, F8], dict[str, float]]:
    """Light as signal and sky."""
    light = planes.pop("light")
    found = sky_of(frame, ok)
    level = found if sky is None else dict.fromkeys(found, float(sky))
    if not np.isfinite(law.k[ok]).all():
        notes.append("sky and signal are not told apart: the flat and the gains that were used are not known")
        return {"signal": light, **planes}, level
    plane = by_amp(frame, level, 0.0) if frame.detector is not None else np.full(frame.shape, level[""])
    part = np.where(light != 0, np.nan_to_num(law.k) * np.maximum(plane + law.background, 0), 0.0)
    return {"signal": light - part, "sky": part, **planes}, level


def _brighter_fatter(frame: Frame, law: Law, products: Mapping[str, Product]) -> dict[str, F8]:
    """What charge that repels charge takes off the Poisson variance of flat light."""
    ptc = products.get("ptc")
    if not isinstance(ptc, Ptc) or frame.detector is None or not np.isfinite(ptc.a00).any():
        return {}
    if any(r.step == "brighter_fatter" and r.state == "done" for r in frame.history):
        return {}
    out = np.zeros(frame.shape)
    charge = np.maximum((frame.image.array + law.background) / law.k, 0)
    for i, name in enumerate(ptc.amps):
        if name in frame.detector.names and np.isfinite(ptc.a00[i]):
            at = amp_slices(frame, name)
            out[at] = law.k[at] ** 2 * deficit(charge[at], ptc, i)
    return {"brighter_fatter": out}


def deficit(charge: F8, ptc: Ptc, i: int) -> F8:
    """C00(N) - N [electron2] of flat light of N electrons, by the covariances of amplifier `i`, else its a00 alone."""
    from fullwell.measure.ptc.models import exponential, full_covariance

    top = max(float(np.nanmax(charge, initial=1.0)), 1.0)
    grid = np.linspace(0, top, 200)
    a = ptc.a[i] if ptc.a.ndim == 3 and ptc.a.shape[0] > i and np.isfinite(ptc.a[i]).all() else None
    if a is not None and a.size > 1:
        variance = full_covariance(grid, gain=1.0, a=a)[:, 0, 0]
    else:
        variance = exponential(np.array([1.0, 2 * float(ptc.a00[i]), 0.0]), grid)[0]
    return np.interp(charge, grid, variance - grid)


def _ranges(
    frame: Frame, ok: NDArray[np.bool_], levels: Sequence[float], sky: Mapping[str, float]
) -> list[tuple[str, NDArray[np.bool_]]]:
    """(name, pixels) of the ranges of flux that hold pixels."""
    image = frame.image.array
    edges = np.asarray(levels, np.float64)
    if edges.size and (edges.size < 2 or not (np.diff(edges) > 0).all()):
        raise UsageError(
            "the edges of the flux do not rise", where="levels", remedy="two or more, from faint to bright"
        )
    if not edges.size:
        low = max(float(np.median(list(sky.values()))), 1.0)
        top = float(np.quantile(image[ok], 0.9999))
        edges = (
            np.geomspace(low, top, 9)
            if top > 1.5 * low
            else np.array([float(image[ok].min()), float(image[ok].max()) + 1])
        )
        edges = np.concatenate(([-np.inf], edges[1:-1], [np.inf])) if edges.size > 2 else np.array([-np.inf, np.inf])
    out = []
    for low, high in pairwise(edges):
        inside = ok & (image >= low) & (image < high)
        if inside.any():
            out.append((f"{low:.6g} to {high:.6g}", inside))
    return out


@dataclass(frozen=True)
class _Shares:
    """Planes that shares are taken of."""

    frame: Frame
    planes: dict[str, F8]
    outside: dict[str, F8]
    ok: NDArray[np.bool_]

    def of(self, name: str, at: NDArray[np.bool_]) -> Share:
        """The terms over the pixels `at`."""
        assert self.frame.variance is not None
        variance = self.frame.variance.array[at].astype(np.float64)
        return Share(
            name,
            int(at.sum()),
            float(self.frame.image.array[at].mean(dtype=float)),
            float(variance.mean()),
            float(np.median(variance)),
            {key: float(plane[at].mean()) for key, plane in self.planes.items()},
            {key: float(np.median(plane[at])) for key, plane in self.planes.items()},
            {key: float(np.nanmean(plane[at])) for key, plane in self.outside.items()},
        )
