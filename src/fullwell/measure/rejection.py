"""What a combination rejects, and what rejection does to the variance.

Values of one pixel are compared with a centre and a spread of the same values. The default, median and median
absolute deviation at 5 sigma, works from four frames on: one wild value does not widen the spread that judges it.
With the standard deviation it does: of n values none can lie further from the mean than (n - 1)/sqrt(n) sample
standard deviations, so that a 3 sigma clip of ten frames or fewer rejects nothing.

Clipping changes the variance of the result in two ways: good values are lost, and the scatter of those kept is too
small. Both factors depend on n and the rule alone for Gaussian noise; `factors` gets them by applying the very
kernel to normal deviates (fixed seed, with the plain mean as control variate: exact to about 0.1 %).
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fullwell.base.config import StepConfig
from fullwell.base.errors import ConfigError
from fullwell.kernels import combine as kernels
from fullwell.kernels import counts, networks, settle

__all__ = ["Clip", "apply_factors", "as_clip", "factors", "median_factor", "run"]

_METHODS = {"mean": kernels.MEAN, "median": kernels.MEDIAN, "min": kernels.MINIMUM, "max": kernels.MAXIMUM}
_SPREADS = {"mad": kernels.MAD, "std": kernels.STD, "iqr": kernels.IQR}

LARGE = 1 << 18
"""Values of a stack from which on it pays to compile a sorter for their number."""


class Clip(StepConfig):
    """A rule of rejection; the default keeps what lies within 5 sigma of the median, sigma from the MAD, 3 rounds."""

    centre: Literal["median", "mean"] = Field(default="median", description="what distances are counted from")
    spread: Literal["mad", "std", "iqr"] = Field(
        default="mad", description="1.4826 median absolute deviation, standard deviation, or 0.7413 interquartile range"
    )
    low: float = Field(default=5.0, gt=0, description="rejected below centre - low * spread")
    high: float = Field(default=5.0, gt=0, description="rejected above centre + high * spread")
    iterations: int = Field(default=3, ge=0, description="rounds; a pixel ends earlier when nothing more is rejected")
    floor: float | None = Field(
        default=None,
        ge=0,
        description="smallest spread, image unit; by default the 0.289 of one count for integers, else 0",
    )
    ddof: Literal[0, 1] = Field(default=0, description="divisor n - ddof of the standard deviation")
    anew: bool = Field(
        default=False,
        description="from the second round on, limits from mean and standard deviation, for all values again",
    )
    fewest: int = Field(
        default=4,
        ge=3,
        description="fewest values of which a round rejects some: of three, 5 sigma of the MAD reject 7 % of good data",
    )
    drop_low: int = Field(default=0, ge=0, description="so many lowest values are dropped before anything else")
    drop_high: int = Field(default=0, ge=0, description="so many highest values are dropped before anything else")

    @classmethod
    def lsst(cls, sigma: float = 3.0, iterations: int = 3) -> Clip:
        """The rule of the LSST library: from median and 0.741 interquartile range, then from mean and deviation."""
        return cls(centre="median", spread="iqr", low=sigma, high=sigma, iterations=iterations, ddof=1, anew=True,
                   floor=0.0, fewest=3)  # fmt: skip

    @classmethod
    def none(cls) -> Clip:
        """Nothing is rejected."""
        return cls(iterations=0)

    @property
    def idle(self) -> bool:
        """Whether the rule rejects nothing by construction."""
        return self.iterations == 0 and self.drop_low == 0 and self.drop_high == 0

    def reach(self, n: int) -> float:
        """Largest distance from the centre, in spreads, that one value of `n` can have; infinite for the MAD."""
        if n < 3:
            return 0.0
        if self.spread == "mad":
            return math.inf
        if self.spread == "iqr":
            share = 1.25 - 0.25 * n
            return 1.0 / (0.741301109252801 * share) if share > 0 else math.inf
        if self.centre == "mean":
            return math.sqrt(n - 1) if self.ddof == 0 else (n - 1) / math.sqrt(n)
        return n / math.sqrt(n - 1) if self.ddof == 0 else math.sqrt(n)

    def doubts(self, n: int) -> str:
        """A sentence where the rule cannot do its work with `n` values, else ""."""
        if self.iterations == 0:
            return ""
        if n < self.fewest:
            return (
                f"Nothing is rejected: {n} frames are too few to tell which value is wrong; use {self.fewest} or more."
            )
        k = min(self.low, self.high)
        if self.reach(n) <= k:
            return (
                f"The clip cannot reject anything: of {n} values none lies further than {self.reach(n):.2f} "
                f"{self.spread} from the {self.centre}, the threshold is {k:g}."
            )
        return f"With {n} frames rejection is not reliable; use 4 or more." if n < 4 else ""

    def rule(self, floor: float) -> NDArray[np.float64]:
        """The rule as the kernel takes it; `floor` is used where the rule has none of its own."""
        own = floor if self.floor is None else self.floor
        return np.array(
            [self.centre == "median", _SPREADS[self.spread], self.low, self.high, self.iterations, own, self.ddof,
             self.anew, self.drop_low, self.drop_high, self.fewest], np.float64,
        )  # fmt: skip


def as_clip(clip: Clip | str | None, method: str) -> Clip:
    """A `Clip` from what `combine` takes: None is the default for method "clipped" and nothing else.

    Raises
    ------
    ConfigError
        a name that is not known.
    """
    if isinstance(clip, Clip):
        return clip
    if clip is None:
        return Clip() if method == "clipped" else Clip.none()
    if clip == "lsst":
        return Clip.lsst()
    if clip == "none":
        return Clip.none()
    raise ConfigError(f"there is no clip named '{clip}'", remedy="use 'none', 'lsst' or a fullwell.measure.Clip")


def run(
    stack: NDArray[Any],
    method: str,
    clip: Clip,
    *,
    image: NDArray[np.float32],
    scatter: NDArray[np.float32],
    count: NDArray[np.uint16],
    rejected: NDArray[np.uint16],
    by_input: NDArray[np.int64],
    floor: float = 0.0,
    weights: NDArray[np.float32] | None = None,
    variance: NDArray[np.float32] | None = None,
    propagated: NDArray[np.float32] | None = None,
    kept_bits: NDArray[np.uint8] | None = None,
) -> None:
    """Combine a stack (N, P or more) of uint16 or float32; arguments as of `kernels.combine.combine_pixels`.

    P is the size of the image; a stack may be wider.
    """
    n = stack.shape[0]
    kind = "mean" if method == "clipped" else method
    sort = kind != "mean" or not clip.idle
    first, second = networks.network(n) if sort else (np.empty(0, np.int64), np.empty(0, np.int64))
    large = sort and 1 < n <= networks.MOST and stack.size >= LARGE
    code = networks.sorter(n, stack.itemsize) if large else None
    lanes = kernels.LANES if n * stack.itemsize <= 160 else kernels.LANES // 2 if n <= 128 else kernels.LANES // 4
    top = np.inf if stack.dtype.kind == "f" else np.iinfo(stack.dtype).max
    rule, block = clip.rule(floor), np.empty((n, lanes), stack.dtype)
    begin, plain = 0, weights is None and variance is None and kept_bits is None
    if code and plain and stack.dtype == np.uint16 and not (clip.drop_low or clip.drop_high):
        begin = counts.combine_counts(
            stack, _METHODS[kind], rule, code.address, networks.furthest(n), image, scatter, count, rejected, by_input,
            block,
        )  # fmt: skip
    kernels.combine_pixels(
        stack,
        _METHODS[kind],
        rule,
        first,
        second,
        code.address if code else 0,
        begin,
        np.empty(0, np.float32) if weights is None else weights,
        np.empty((0, 0), np.float32) if variance is None else variance,
        image,
        scatter,
        np.empty(0, np.float32) if propagated is None else propagated,
        count,
        rejected,
        by_input,
        np.empty((0, 0, 0), np.uint8) if kept_bits is None else kept_bits,
        block,
        np.array([top], stack.dtype),
    )


@lru_cache(maxsize=512)
def median_factor(n: int) -> float:
    """n Var(median) / sigma^2 of n normal values: 1, 1, 1.3457, 1.1930, 1.4342 …, pi/2 for many.

    Odd n: integral of x^2 over the density of the middle value. Even n: of the two middle values, with
    ``P(x, y) = n!/((n/2 - 1)!)^2 F(x)^(n/2-1) (1 - F(y))^(n/2-1) f(x) f(y)`` for x < y (H. A. David, Order
    Statistics, 1970). Above 100 values the rest to pi/2 falls as 1/n.
    """
    if n < 3:
        return 1.0
    if n > 100:
        base = 99 + (n + 1) % 2
        return math.pi / 2 - (math.pi / 2 - median_factor(base)) * base / n
    from scipy.special import gammaln, log_ndtr

    half = 8.0
    if n % 2:
        x, w = np.polynomial.legendre.leggauss(400)
        x, w = half * x, half * w
        k = (n - 1) // 2
        log = gammaln(n + 1) - 2 * gammaln(k + 1) + k * (log_ndtr(x) + log_ndtr(-x)) - x * x / 2
        return float(n * np.sum(w * x * x * np.exp(log)) / math.sqrt(2 * math.pi))
    u, w = np.polynomial.legendre.leggauss(160)
    x, wx = half * u, half * w
    k = n // 2 - 1
    gap = (half - x)[:, None] / 2
    y, wy = x[:, None] + gap * (u + 1), gap * w
    log = (
        gammaln(n + 1) - 2 * gammaln(k + 1) + k * (log_ndtr(x)[:, None] + log_ndtr(-y)) - (x[:, None] ** 2 + y * y) / 2
    )
    weight = wx[:, None] * wy * np.exp(log) / (2 * math.pi)
    return float(n * np.sum(weight * ((x[:, None] + y) / 2) ** 2))


@lru_cache(maxsize=512)
def factors(n: int, method: str, clip: Clip) -> tuple[float, float]:
    """Factors (of the scatter variance s^2/kept, of the propagated variance V/kept) for `n` values.

    With them the expected variance is that of the result, for Gaussian noise. 1 for a plain mean.
    """
    kind = "mean" if method == "clipped" else method
    dull = n < clip.fewest or clip.reach(n) <= min(clip.low, clip.high)
    dull = dull and not (clip.drop_low or clip.drop_high)
    if n < 2 or (kind == "mean" and (clip.idle or dull)):
        return 1.0, 1.0
    if kind == "median" and (clip.idle or dull):
        return median_factor(n), median_factor(n)
    batch = max(512, 65_536 // n)
    batches = max(4, min(400_000, 1_500_000 // n) // batch)
    rng = np.random.default_rng(20260101 + n)
    own = clip.model_copy(update={"floor": 0.0})
    image, scatter = np.empty(batch, np.float32), np.empty(batch, np.float32)
    count, rejected = np.empty(batch, np.uint16), np.empty(batch, np.uint16)
    sums = np.zeros(5)
    for _ in range(batches):
        stack = rng.standard_normal((n, batch), np.float32)
        run(
            stack, kind, own, image=image, scatter=scatter, count=count, rejected=rejected,
            by_input=np.zeros(n, np.int64),
        )  # fmt: skip
        two = count > 1
        plain, spread = stack.mean(0, dtype=np.float64), stack.var(0, ddof=1, dtype=np.float64) / n
        result = image[two].astype(np.float64)
        sums += (result.sum(), (result**2 - plain[two] ** 2).sum(), (scatter[two] - spread[two]).sum(),
                 (1.0 / count[two]).sum(), two.sum())  # fmt: skip
    mean, extra, off, inverse = sums[:4] / sums[4]
    truth = extra - mean * mean + 1.0 / n
    return float(truth / (off + 1.0 / n)), float(truth / inverse)


def apply_factors(
    scatter: NDArray[np.float32],
    propagated: NDArray[np.float32] | None,
    count: NDArray[np.uint16],
    rejected: NDArray[np.uint16],
    method: str,
    clip: Clip,
) -> None:
    """Multiply both variances (P,), in place, by `factors` of the number of valid values, kept or rejected."""
    if method in ("mean", "clipped") and clip.idle:
        return
    found = settle.tally(count, rejected)
    present = np.flatnonzero(found)
    nodes = present[present > 1]
    if nodes.size > 16:
        small = nodes[nodes <= 8]
        rest = nodes[nodes > 8]
        grid = (
            np.unique(np.round(1.0 / np.linspace(1.0 / rest[0], 1.0 / rest[-1], 8)).astype(int)) if rest.size else rest
        )
        nodes = np.concatenate([small, grid])
    table = np.ones((2, found.size), np.float32)
    if nodes.size:
        known = np.array([factors(int(n), method, clip) for n in nodes])
        order = np.argsort(1.0 / nodes)
        for row in range(2):
            table[row, 2:] = np.interp(1.0 / np.arange(2, found.size), 1.0 / nodes[order], known[order, row])
    if present.size == 1:
        table = np.ascontiguousarray(table[:, -1:])
    for plane, row in ((scatter, 0), (propagated, 1)):
        if plane is not None and (table[row] != 1).any():
            settle.scale(plane, count, rejected, table[row])
