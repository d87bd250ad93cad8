"""Which gain is taken: the one that knows most of brighter-fatter, and how far the others of its kind are from it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from fullwell.base.errors import UsageError
from fullwell.measure.ptc.estimators import ESTIMATORS, UNBIASED, reference_name
from fullwell.products import Estimate

__all__ = ["BIASED_NOTE", "Adopted", "adopt", "common"]

BIASED_NOTE = "biased by brighter-fatter by an unknown amount"
LAST = ("pair_noise_subtracted", "pair", "pair_ratio_of_means", "line", "quadratic", "emva1288")
"""What is taken, marked as biased, where no unbiased estimator has a value."""
CONTRADICTION = 0.05
"""Spread of the unbiased estimators, as part of the gain, from which on they cannot all be right."""
FEWEST_LAGS = 3
"""Lags below which the sum of covariances misses over one per cent of the charge."""


@dataclass(frozen=True)
class Adopted:
    """The gain that is taken of one amplifier.

    Parameters
    ----------
    estimator : its name, "" where there is none.
    gain, error, model_error : [electron/adu]; the last NaN where one unbiased estimator alone has a value.
    low, high : signals used [adu]; note : what the user must know of it; failure : why there is no gain.
    """

    estimator: str = ""
    gain: float = math.nan
    error: float = math.nan
    model_error: float = math.nan
    low: float = math.nan
    high: float = math.nan
    note: str = ""
    failure: str = ""


def adopt(estimates: Iterable[Estimate], *, estimator: str = "auto", lags: int = 0) -> Adopted:
    """Take one of the estimates of an amplifier.

    Parameters
    ----------
    estimates : of one amplifier.
    estimator : "auto": full covariances, else the exponential, else the extrapolation to zero, else the sum of the
        covariances, else the pair formula, marked as biased (one whose error is far larger than that of the next
        yields to it); or the name of one, which then is taken or nothing.
    lags : largest lag measured, on which the sum of the covariances depends.

    Raises
    ------
    UsageError
        there is no estimator of that name.
    """
    known = {item.name: item for item in estimates}
    if estimator != "auto" and estimator not in known:
        ESTIMATORS[estimator]
        raise UsageError(f"estimator '{estimator}' was not run", remedy=f"these were: {', '.join(sorted(known))}")
    order = (reference_name(known), *UNBIASED, *LAST) if estimator == "auto" else (estimator,)
    taken = next((known[name] for name in order if name in known and not known[name].reason), None)
    if taken is None:
        return Adopted(failure=_why_none(known, order))
    note = ""
    if taken.biased:
        note = BIASED_NOTE
    elif taken.name == "cov_sum" and 0 < lags < FEWEST_LAGS:
        note = f"too large by one to four per cent: covariances were summed to lag {lags} only"
    spread = math.nan if taken.biased else model_error(taken, known, lags)
    if spread > CONTRADICTION * taken.gain:
        note = "; ".join(text for text in (note, _contradiction(known, lags)) if text)
    return Adopted(taken.name, taken.gain, taken.error, spread, taken.low, taken.high, note)


def _why_none(known: Mapping[str, Estimate], order: Sequence[str]) -> str:
    for name in order:
        if name in known:
            return f"{name}: {known[name].reason}"
    return "no estimator was run"


def _contradiction(known: Mapping[str, Estimate], lags: int) -> str:
    """The gains that should agree, in words."""
    names = [n for n in UNBIASED if n in known and not known[n].reason and (n != "cov_sum" or lags >= FEWEST_LAGS)]
    gains = ", ".join(f"{name} {known[name].gain:.4g} ± {known[name].error:.1g}" for name in names)
    return (
        f"the estimators that should agree do not ({gains} electron/adu): light or level of the flats is not what it "
        "should be, trust none of them before you know why"
    )


def model_error(taken: Estimate, known: Mapping[str, Estimate], lags: int = 0) -> float:
    """Systematic error from the spread of the unbiased estimators about the one taken [electron/adu].

    The root mean square of their differences, weighted by the statistical errors, which are taken off in quadrature: 0
    where they differ by no more than chance. NaN without another estimator or its error.
    """
    others = [known[n] for n in UNBIASED if n in known and n != taken.name and not known[n].reason]
    others = [o for o in others if not (o.name == "cov_sum" and lags < FEWEST_LAGS)]
    errors = {o.name: math.hypot(o.error, taken.error) for o in others}
    others = [o for o in others if math.isfinite(errors[o.name]) and errors[o.name] > 0]
    if not others:
        return math.nan
    weights = [1 / errors[o.name] ** 2 for o in others]
    excess = [(o.gain - taken.gain) ** 2 - errors[o.name] ** 2 for o in others]
    return math.sqrt(max(0.0, sum(w * e for w, e in zip(weights, excess, strict=True)) / sum(weights)))


def common(adopted: Sequence[Adopted]) -> str:
    """The estimator of most amplifiers, "" where none has a gain; of equals the first in order of trust."""
    names = [item.estimator for item in adopted if item.estimator]
    order = (*UNBIASED, *LAST)
    return max(sorted(set(names), key=lambda n: order.index(n) if n in order else 99), key=names.count, default="")
