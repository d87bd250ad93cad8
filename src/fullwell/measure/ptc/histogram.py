"""Is the difference of two flats Gaussian? Its histogram, the Gaussian fitted to it, and a Kolmogorov-Smirnov test."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["gaussian_test"]

BINS, FEWEST, REACH = 100, 100, 8.0


def gaussian_test(values: NDArray[Any], sigma: float, pixels: int, seed: int) -> dict[str, float]:
    """Probability `ks`, `hist_variance` and reduced `hist_chi2` of a difference image; {} with under 100 values.

    A Gaussian is fitted to 100 bins over +- 8 `sigma` (errors sqrt(n), 1 for empty bins); chi2 is of the bins in which
    there are pixels or should be. The probability is that of a random choice of `pixels` values about the fitted
    Gaussian: with a million pixels any trifle would count.
    """
    from scipy.optimize import curve_fit
    from scipy.stats import kstest, norm

    if values.size < FEWEST or not sigma > 0:
        return {}
    middle = float(np.median(values))
    counts, edges = np.histogram(values, BINS, (middle - REACH * sigma, middle + REACH * sigma))
    centres, width = (edges[1:] + edges[:-1]) / 2, float(edges[1] - edges[0])
    errors = np.sqrt(np.maximum(counts, 1))

    def gaussian(x: NDArray[np.float64], total: float, centre: float, spread: float) -> NDArray[np.float64]:
        return np.asarray(total * width * norm.pdf(x, centre, abs(spread)))

    try:
        found, _ = curve_fit(gaussian, centres, counts, (values.size, middle, sigma), errors, absolute_sigma=True)
    except RuntimeError:
        return {"ks": 0.0}
    model = gaussian(centres, *found)
    seen = (counts > 0) | (model > 1)
    chi2 = float(np.sum(((counts - model) / errors)[seen] ** 2)) / max(int(seen.sum()) - 3, 1)
    chosen = values
    if values.size > pixels:
        chosen = values[np.random.default_rng(seed).choice(values.size, pixels, replace=False)]
    probability = float(kstest(chosen.astype(np.float64), norm(found[1], abs(found[2])).cdf).pvalue)
    return {"ks": probability, "hist_variance": float(found[2]) ** 2, "hist_chi2": chi2}
