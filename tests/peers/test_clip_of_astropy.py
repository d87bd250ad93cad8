"""A difference from astropy.stats.sigma_clip that is its own: the named MAD of the compiled path, even counts."""

from __future__ import annotations

import numpy as np
from astropy.stats import mad_std, sigma_clip

from fullwell.measure import Clip, combine


def test_mistake_named_mad_of_an_even_count():
    """``stdfunc="mad_std"`` of ten values is not ``mad_std`` of them in some columns; ours equals the function."""
    stack = np.random.default_rng(1).poisson(20000, (10, 1, 20000)).astype(np.uint16)
    made = combine(list(stack), clip=Clip(floor=0.0))
    exact = sigma_clip(
        stack.astype(float), sigma=5, maxiters=3, cenfunc="median", axis=0,
        stdfunc=lambda a, axis=None: mad_std(a, axis=axis, ignore_nan=True),
    )  # fmt: skip
    assert np.array_equal(made.count, exact.count(axis=0))
