"""Linearity: counts that grow not quite as the electrons do.

Model        count v above the overscan, corrected count L(v) = v + polynomial, v - Akima spline, or v + look-up
             table, by amplifier; see `products.Linearity` for each.
Assumes      the overscan and the crosstalk have been subtracted: the correction is a function of one pixel's own count.
             Coefficients are in adu. On an image in electron they are applied to image / gain, for every model.
Input        adu or electron; raw (the whole segment) or assembled.
Output       L(v). The read noise entered after the non-linearity, so its variance grows with the square of the slope
             dL/dv: (slope**2 - 1) (read noise**2 + row terms) is added, and what is in the variance already is
             multiplied by slope**2. The Poisson term needs none of it: it is that of the corrected, true electrons.
             Until the variance step adds the read noise itself, the plane holds these parts alone and may be negative.
             Where the change is below `negligible` of the total variance in every amplifier it is left out.
             An amplifier with a coefficient that is no number becomes NaN and BAD.
References   reference ISR 4.1 and section 3; product layout 5.3. Akima 1970, J. ACM 17, 589.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fullwell.base.errors import DataError, UnitError
from fullwell.conductor import Block, Exposure, Layout, Rows, StepConfig, amp_order, step
from fullwell.frames import bit
from fullwell.kernels import arith
from fullwell.kernels import linearity as kernels
from fullwell.products import Linearity

__all__ = ["LinearityConfig", "add", "remove"]

F4 = NDArray[np.float32]
F8 = NDArray[np.float64]
I8 = NDArray[np.int64]

BINS = 512
"""Bins in which the interval of a spline is looked up."""


class LinearityConfig(StepConfig):
    """Whether and from which size on the slope of the correction enters the variance."""

    propagate_variance: bool = Field(True, description="multiply the noise variances by the squared slope")
    negligible: float = Field(1e-4, ge=0, description="largest relative change of the total variance that is left out")


class Curve(Protocol):
    """One kind of correction for some amplifiers."""

    @property
    def index(self) -> I8:
        """(n,) places of the amplifiers in the detector."""

    def correct(self, image: F4, start: I8, width: I8, gain: F4) -> int:
        """L in place; the number of pixels outside the range of a table."""

    def slopes(self, image: F4, start: I8, width: I8, gain: F4, slope: F4) -> None:
        """slope *= dL/dv."""

    def solve(self, image: F4, start: I8, width: I8, gain: F4) -> int:
        """The inverse of L in place; the number of pixels without a solution."""


@dataclass(frozen=True)
class Polynomial:
    """Coefficients (n, order) of u**2, u**3 … [adu]."""

    index: I8
    coefficients: F8
    ready: dict[bytes, F4] = field(default_factory=dict, compare=False)

    def _scaled(self, gain: F4) -> F4:
        """Coefficients in the unit of the image, worked out once for all blocks."""
        key = gain.tobytes()
        scaled = self.ready.get(key)
        if scaled is None:
            powers = np.arange(1, self.coefficients.shape[1] + 1)
            scaled = (self.coefficients / gain.astype(np.float64)[:, None] ** powers).astype(np.float32)
            self.ready[key] = scaled
        return scaled

    def correct(self, image: F4, start: I8, width: I8, gain: F4) -> int:
        """See `Curve`."""
        arith.polynomial(image, start, width, self._scaled(gain))
        return 0

    def slopes(self, image: F4, start: I8, width: I8, gain: F4, slope: F4) -> None:
        kernels.polynomial_slopes(image, start, width, self._scaled(gain), slope)

    def solve(self, image: F4, start: I8, width: I8, gain: F4) -> int:
        return int(kernels.solve_polynomial(image, start, width, self._scaled(gain)))


@dataclass(frozen=True)
class Spline:
    """Nodes (n, K), cubic coefficients (n, K-1, 4) and bins (n, BINS) of piecewise cubics."""

    index: I8
    x: F4
    c: F4
    hint: I8

    def correct(self, image: F4, start: I8, width: I8, gain: F4) -> int:
        kernels.spline(image, start, width, gain, self.x, self.c, self.hint)
        return 0

    def slopes(self, image: F4, start: I8, width: I8, gain: F4, slope: F4) -> None:
        kernels.spline_slopes(image, start, width, gain, self.x, self.c, self.hint, slope)

    def solve(self, image: F4, start: I8, width: I8, gain: F4) -> int:
        return int(kernels.solve_spline(image, start, width, gain, self.x, self.c, self.hint))


@dataclass(frozen=True)
class Table:
    """Rows (n,) and column offsets (n,) into the look-up table `values` [adu]."""

    index: I8
    rows: I8
    offset: F8
    values: F4

    def correct(self, image: F4, start: I8, width: I8, gain: F4) -> int:
        return int(kernels.table(image, start, width, gain, self.rows, self.offset, self.values))

    def slopes(self, image: F4, start: I8, width: I8, gain: F4, slope: F4) -> None:
        kernels.table_slopes(image, start, width, gain, self.rows, self.offset, self.values, slope)

    def solve(self, image: F4, start: I8, width: I8, gain: F4) -> int:
        return int(kernels.solve_table(image, start, width, gain, self.rows, self.offset, self.values))


@dataclass(frozen=True)
class Curves:
    """All corrections of a detector, in the order in which they are applied.

    broken : (n_amp,) True where a coefficient is no number; input_gain : (n_amp,) of the product;
    noisy : whether the slope changes the variance by more than is negligible.
    """

    curves: tuple[Curve, ...]
    broken: NDArray[np.bool_]
    input_gain: F8
    name: str
    noisy: bool = True


@step(
    "linearity",
    needs="linearity",
    after=("overscan_serial", "overscan_parallel", "crosstalk", "saturation"),
    config=LinearityConfig,
)
def remove_block(block: Block, given: Curves, cfg: LinearityConfig) -> None:
    """image = L(image); the noise terms of the variance take the slope of L."""
    gain, layout = _gain(block, given), block.layout
    slope = None
    if cfg.propagate_variance and (given.noisy or block.has_variance):
        slope = block.buffers.get("linearity-slope", (block.n, layout.columns), np.float32)
        slope[:] = 1.0
    outside = 0
    for curve in given.curves:
        where = layout.start[curve.index], layout.width[curve.index], gain[curve.index]
        if slope is not None:
            curve.slopes(block.image, *where, slope)
        outside += curve.correct(block.image, *where)
    if slope is not None:
        _propagate(block, slope)
    if outside:
        block.exposure.collect("linearity", "outside_table", block.r0, outside)
    for a in np.flatnonzero(given.broken):
        columns = slice(layout.start[a], layout.start[a] + layout.width[a])
        block.image[:, columns] = np.nan
        block.start_mask()[:, columns] |= np.uint32(bit("BAD"))


@remove_block.forward
def add_block(block: Block, given: Curves, cfg: LinearityConfig) -> None:
    """image = the v with L(v) = image, to 1e-6 of it (one float32 step), by Newton's method.

    Raises
    ------
    DataError
        some pixels have no such v: the correction does not increase there.
    """
    gain, layout = _gain(block, given), block.layout
    for curve in reversed(given.curves):
        failed = curve.solve(block.image, layout.start[curve.index], layout.width[curve.index], gain[curve.index])
        if failed:
            raise DataError(
                f"the {given.name} has no inverse at {failed} pixels: the correction does not increase there",
                where=f"rows {block.r0} to {block.r1 - 1}",
                remedy="keep the signal within the range of the correction, or use another one",
            )


@remove_block.digesting
def digest(product: Linearity, layout: Layout, exposure: Exposure) -> Curves:
    """Corrections in the order of the detector's amplifiers, grouped by kind.

    Raises
    ------
    GeometryError
        the product has no entry for an amplifier of the detector.
    """
    name = f"linearity {product.source or product.id}"
    order = amp_order(product.amps, layout.detector, name)
    broken = np.array([not product.finite(i) for i in order])
    curves: list[Curve] = []
    kinds = np.array([product.models[i] for i in order])
    some = np.flatnonzero(np.isin(kinds, ("Squared", "Polynomial")) & ~broken)
    if some.size:
        sets = [product.coefficients[i][: 1 if product.models[i] == "Squared" else None] for i in order[some]]
        longest = max(c.size for c in sets)
        curves.append(Polynomial(some, np.array([np.pad(c, (0, longest - c.size)) for c in sets])))
    for stage in (0, 1):
        pairs = {
            int(a): product.nodes(i)[stage]
            for a, i in enumerate(order)
            if not broken[a] and len(product.nodes(i)) > stage
        }
        if pairs:
            curves.append(_spline(pairs))
    some = np.flatnonzero((kinds == "LookupTable") & ~broken)
    if some.size:
        pick = np.array([product.coefficients[i][:2] for i in order[some]])
        curves.append(Table(some, pick[:, 0].astype(np.int64), pick[:, 1], np.asarray(product.table, np.float32)))
    assert product.input_gain is not None
    return Curves(tuple(curves), broken, product.input_gain[order], name)


@remove_block.preparing
def prepare(rows: Rows, given: Curves, cfg: LinearityConfig) -> Curves:
    """Whether the slope matters: its change of the total variance at signals up to 150 000 adu."""
    exposure, n = rows.exposure, given.broken.size
    counts = np.concatenate(([0.0], np.geomspace(1, 150_000, 255))).astype(np.float32)
    image = np.tile(counts, n)[None, :]
    start, width = np.arange(n) * counts.size, np.full(n, counts.size)
    slope, ones = np.ones_like(image), np.ones(n, np.float32)
    for curve in given.curves:
        where = start[curve.index], width[curve.index], ones[curve.index]
        curve.slopes(image, *where, slope)
        curve.correct(image, *where)
    noise = exposure.noise("adu")[:, None]
    total = noise + np.maximum(image.reshape(n, -1), 0) * exposure.poisson("adu")[:, None]
    change = np.abs(slope.reshape(n, -1) ** 2 - 1) * noise
    return replace(given, noisy=bool(np.any(change > cfg.negligible * total)))


@remove_block.finishing
def finish(exposure: Exposure, given: Curves, cfg: LinearityConfig) -> dict[str, Any]:
    """Pixels outside a look-up table, amplifiers without a correction, and whether the slope was used."""
    names = exposure.detector.names
    return {
        "outside_table": int(sum(exposure.collected("linearity", "outside_table"))),
        "broken": [names[a] for a in np.flatnonzero(given.broken)],
        "slope_in_variance": cfg.propagate_variance and given.noisy,
    }


def _gain(block: Block, given: Curves) -> F4:
    """Image units per adu, (n_amp,): 1 in adu, the gain in electron."""
    if block.unit != "electron":
        return np.ones(given.broken.size, np.float32)
    gain = block.exposure.gain
    gain = gain if np.isfinite(gain).any() else given.input_gain
    if not np.isfinite(gain).any() and given.curves:
        raise UnitError(
            f"the {given.name} is in adu, the image is in electron, and no gain is known",
            where=block.exposure.observation.obs_id or None,
            remedy="give a gain product, or correct the linearity before the gain step",
        )
    return gain.astype(np.float32)


def _propagate(block: Block, slope: F4) -> None:
    layout = block.layout
    noise = (block.row_variance + block.exposure.noise(block.unit)).astype(np.float32)
    variance = block.start_variance()
    part = block.component("linearity")
    before = None if part is None else variance.copy()
    kernels.add_slope(variance, slope, noise, layout.start, layout.width)
    if part is not None and before is not None:
        part += variance - before


def _spline(pairs: dict[int, tuple[F8, F8]]) -> Spline:
    """Akima splines of several amplifiers, padded to one number of nodes by intervals beyond the last node."""
    longest = max(x.size for x, _ in pairs.values())
    nodes, cubics, hints = [], [], []
    for x, y in pairs.values():
        c = _akima(x, y)
        extra = longest - x.size
        h = np.diff(x)[:, None]
        scaled = c * h ** np.arange(4)
        end = np.zeros((extra, 4))
        end[:, 0] = y[-1]
        x = np.concatenate((x, x[-1] + np.arange(1, extra + 1)))
        nodes.append(x)
        cubics.append(np.concatenate((scaled, end)))
        edges = x[0] + (x[-1] - x[0]) * np.arange(BINS) / BINS
        hints.append(np.clip(np.searchsorted(x, edges, side="right") - 2, 0, longest - 2))
    return Spline(
        np.array(list(pairs), np.int64),
        np.array(nodes, np.float32),
        np.array(cubics, np.float32),
        np.array(hints, np.int64),
    )


def _akima(x: F8, y: F8) -> F8:
    """Coefficients (K-1, 4) of the Akima spline in powers of u - x_k, lowest first; a straight line for two nodes."""
    if x.size == 2:
        return np.array([[y[0], (y[1] - y[0]) / (x[1] - x[0]), 0.0, 0.0]])
    from scipy.interpolate import Akima1DInterpolator

    return np.asarray(Akima1DInterpolator(x, y).c.T[:, ::-1])


remove, add = remove_block.verbs()
