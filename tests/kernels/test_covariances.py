"""Covariances by direct sums: against the definition, against transforms, in both precisions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fullwell.kernels.covariances import covariance_sums
from fullwell.measure.ptc.transform import transform_covariances


def by_definition(d: NDArray[Any], w: NDArray[Any], lags: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Sums over the overlap of the image with itself, lag by lag."""
    ny, nx = d.shape
    out, pairs = np.full((lags + 1, lags + 1), np.nan), np.zeros((lags + 1, lags + 1), int)
    for i in range(lags + 1):
        for j in range(lags + 1):
            found = []
            for dx in {i, -i} if j else {i}:
                here = np.s_[: ny - j, max(0, -dx) : nx - max(0, dx)]
                there = np.s_[j:, max(0, dx) : nx - max(0, -dx)]
                use = w[here] & w[there]
                a, b, n = d[here][use], d[there][use], int(use.sum())
                pairs[i, j] += n
                found.append((a * b).mean() - a.mean() * b.mean())
            out[i, j] = np.mean(found)
    return out, pairs


@pytest.mark.parametrize(
    "shape, masked", [((64, 64), 0.0), ((40, 37), 0.1), ((12, 50), 0.5), ((64, 9), 0.02), ((9, 9), 0)]
)
@pytest.mark.parametrize("method", [covariance_sums, transform_covariances])
def test_sums_and_transforms_are_the_definition(shape, masked, method):
    """To 1e-10 of the variance, zero weights and an odd mean included; pairs are counted exactly."""
    rng = np.random.default_rng(5)
    d = rng.normal(0.5, 30.0, shape)
    d[1:] += 0.4 * d[:-1]
    w = rng.random(shape) >= masked
    d[~w] = np.where(rng.random((~w).sum()) < 0.5, 1e6, -1e5)
    found, pairs = method(d, w, 7)
    expected, count = by_definition(d, w, 7)
    assert np.array_equal(pairs, count)
    assert np.abs(found - expected).max() < 1e-10 * expected[0, 0]


def test_serial_is_the_first_index():
    """Neighbours along a row make [1, 0]; along a column [0, 1]."""
    rng = np.random.default_rng(6)
    d = rng.normal(0, 1, (200, 300))
    rows = d.copy()
    rows[:, 1:] += 0.5 * d[:, :-1]
    found = covariance_sums(rows, np.ones(d.shape, bool), 2)[0]
    assert found[1, 0] == pytest.approx(0.5, abs=4 / np.sqrt(d.size))
    assert found[0, 1] == pytest.approx(0.0, abs=4 * 1.25 / np.sqrt(d.size))


def test_float32_images_are_good_to_a_part_in_ten_million():
    """Rows are summed in float32: 1e-7 of the variance, three thousand times less than its statistical error."""
    rng = np.random.default_rng(7)
    d = rng.normal(0, 100.0, (700, 509)).astype(np.float32)
    w = rng.random(d.shape) > 1e-3
    single, double = covariance_sums(d, w, 8)[0], covariance_sums(d.astype(np.float64), w, 8)[0]
    assert 0 < np.abs(single - double).max() < 1e-7 * double[0, 0]


def test_lags_beyond_the_image_have_no_pair():
    """NaN and no pair where the image is smaller than the lag; all pixels masked gives NaN everywhere."""
    found, pairs = covariance_sums(np.arange(12.0).reshape(3, 4), np.ones((3, 4), bool), 5)
    assert pairs[4, 0] == pairs[0, 3] == 0 and np.isnan(found[4, 0]) and np.isnan(found[0, 3])
    assert pairs[3, 0] == 3 and pairs[0, 2] == 4
    assert np.isnan(covariance_sums(np.ones((3, 4)), np.zeros((3, 4), bool), 1)[0]).all()
