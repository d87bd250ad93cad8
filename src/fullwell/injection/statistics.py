"""Statistics of two groups of stars, whose pixels are not independent: errors are always those of whole stars.

Model        pixels of one star share its place and its neighbours, so a star is drawn or left as a whole: `draws`
             gives each star the number of times that it is drawn (bootstrap), and a statistic is computed for each
             draw. Pixels are only compared with pixels of their own stratum (a fold of a cross-validation).
References   Efron & Tibshirani 1993, ch. 6 and 15; Hanley & McNeil 1982 (area under the curve); injection note A.5.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["DRAWS", "Ranking", "Slope", "draws", "matched", "noise_ratio", "robust_width", "slope"]

DRAWS = 200
"""Bootstrap draws: the error itself is then known to 5 %."""

F8 = NDArray[np.float64]
I8 = NDArray[np.int64]
Bool = NDArray[np.bool_]


def draws(injected: Bool, n: int, rng: np.random.Generator) -> F8:
    """(n, stars) how often each star is drawn, with replacement within its own class; `injected` (stars,)."""
    out = np.zeros((n, injected.size))
    for group in (injected, ~injected):
        size = int(group.sum())
        if size:
            out[:, group] = rng.multinomial(size, np.full(size, 1 / size), size=n)
    return out


def matched(flux: F8, injected: Bool, rng: np.random.Generator, width: float = 0.1) -> I8:
    """Number of the pair that each star (n,) belongs to, a native and an injected one of like flux; -1 for no pair.

    Statistics of the two classes may differ for no other reason than that one is brighter, so in each bin of `width` in
    log10 of the flux as many are paired, in order of flux, as both classes have there; the others are chosen by lot.
    """
    usable = np.isfinite(flux) & (flux > 0)
    which = np.full(flux.size, np.iinfo(np.int64).min)
    which[usable] = np.floor(np.log10(flux[usable]) / width).astype(np.int64)
    pair, done = np.full(flux.size, -1, np.int64), 0
    for one in np.unique(which[usable]):
        groups = [np.flatnonzero((which == one) & (injected == c)) for c in (False, True)]
        n = min(group.size for group in groups)
        for group in groups:
            chosen = rng.permutation(group)[:n]
            pair[chosen[np.argsort(flux[chosen])]] = done + np.arange(n)
        done += n
    return pair


class Ranking:
    """Pixels ranked by a score, to compare two classes for many weights of the stars.

    Parameters
    ----------
    score : (pixels,) finite; star : (pixels,) number of the star; stratum : (pixels,), one for all by default.
    """

    def __init__(self, score: F8, star: I8, stratum: I8 | None = None) -> None:
        part = np.zeros(score.size, np.int64) if stratum is None else stratum
        self._order = np.lexsort((score, part))
        ranked, parts = score[self._order], part[self._order]
        new_part = np.r_[True, parts[1:] != parts[:-1]]
        new = new_part | np.r_[True, ranked[1:] != ranked[:-1]]
        self._ties = np.flatnonzero(new)
        self._parts = np.flatnonzero(new_part[self._ties])
        self._star = star[self._order]

    def _sums(self, weight: F8, injected: Bool) -> tuple[F8, F8]:
        """Weight of native and injected pixels at each different score."""
        w = weight[self._star]
        hit = injected[self._star]
        return np.add.reduceat(np.where(hit, 0.0, w), self._ties), np.add.reduceat(np.where(hit, w, 0.0), self._ties)

    def auc(self, injected: Bool, weight: F8 | None = None) -> float:
        """Chance that an injected pixel scores above a native one of its stratum, ties one half; by star `weight`."""
        native, ours = self._sums(np.ones(injected.size) if weight is None else weight, injected)
        total = np.add.reduceat(native, self._parts)
        sizes = np.diff(np.r_[self._parts, native.size])
        below = np.cumsum(native) - native
        below -= np.repeat(below[self._parts], sizes)
        won = np.add.reduceat(ours * (below + native / 2), self._parts)
        pairs = total * np.add.reduceat(ours, self._parts)
        return float(won.sum() / pairs.sum()) if pairs.sum() > 0 else float("nan")

    def auc_error(self, injected: Bool, weights: F8) -> float:
        """Standard deviation of the area over the draws `weights` (n, stars)."""
        return float(np.std([self.auc(injected, w) for w in weights], ddof=1))

    def distance(self, injected: Bool) -> float:
        """Kolmogorov-Smirnov distance of the scores of the two classes (strata are not told apart)."""
        native, ours = self._sums(np.ones(injected.size), injected)
        if not native.sum() or not ours.sum():
            return float("nan")
        return float(np.abs(np.cumsum(native) / native.sum() - np.cumsum(ours) / ours.sum()).max())

    def chance_distance(self, injected: Bool, n: int, rng: np.random.Generator) -> tuple[float, float]:
        """Mean and standard deviation of `distance` with the classes dealt to the stars at random, `n` times."""
        values = [self.distance(rng.permutation(injected)) for _ in range(n)]
        return float(np.mean(values)), float(np.std(values, ddof=1))


@dataclass(frozen=True)
class Slope:
    """A straight line of variance on flux: `value` with `error` by star, `offset`; `draws` of the value."""

    value: float
    error: float
    offset: float
    draws: F8


def slope(flux: F8, variance: F8, star: I8, weights: F8) -> Slope:
    """Least squares of `variance` on `flux` (pixels,), with the error of the draws `weights` (n, stars)."""
    n_stars = weights.shape[1]
    middle = float(flux.mean()) if flux.size else 0.0
    x, y = flux - middle, variance
    sums = np.stack([np.bincount(star, v, n_stars) for v in (np.ones_like(x), x, y, x * x, x * y)])
    value, offset = _line(sums.sum(axis=1)[:, None])
    drawn, _ = _line(sums @ weights.T)
    drawn_ok = drawn[np.isfinite(drawn)]
    error = float(np.std(drawn_ok, ddof=1)) if drawn_ok.size > 1 else float("nan")
    return Slope(float(value[0]), error, float(offset[0] - value[0] * middle), drawn)


def _line(sums: F8) -> tuple[F8, F8]:
    """Slopes and offsets of lines from sums (n, x, y, xx, xy), each (draws,); NaN where there is no line."""
    n, x, y, xx, xy = sums
    with np.errstate(divide="ignore", invalid="ignore"):
        value = (n * xy - x * y) / (n * xx - x * x)
        return value, (y - value * x) / n


def noise_ratio(residual: F8, mean: F8, k: F8) -> tuple[float, float]:
    """Mean of residual^2 / (K dI) and its error: a Poisson number of mean m has Var[(n - m)^2 / m] = 2 + 1/m.

    `residual`, `mean` (dI) and `k` (K) are those of pixels, (pixels,).
    """
    ratio = residual**2 / (k * mean)
    return float(ratio.mean()), float(np.sqrt(np.sum(2 + k / mean)) / ratio.size)


def robust_width(values: F8) -> tuple[float, float]:
    """1.4826 times the median absolute deviation, and its error for normal values, 1.167 times width / sqrt(n)."""
    width = 1.4826 * float(np.median(np.abs(values - np.median(values))))
    return width, 1.167 * width / float(np.sqrt(values.size))
