"""Random numbers of counters: known answers, and the moments and frequencies of Poisson numbers."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from fullwell.kernels.random import philox_words, poissons

ALL = 0xFFFFFFFF


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [
        ([0] * 4, 0, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
        ([ALL] * 4, 0xFFFFFFFFFFFFFFFF, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
    ],
)
def test_known_answers_of_the_authors(counter: list[int], key: int, words: list[int]) -> None:
    out = np.zeros(4, np.uint64)
    philox_words(np.array(counter, np.uint64), np.uint64(key), out)
    assert out.tolist() == words


@pytest.mark.parametrize("mean", [0.003, 0.7, 3.0, 9.9, 10.1, 25.0, 400.0, 3e4])
def test_poisson_numbers(mean: float) -> None:
    n, rows = 1000, 400
    out = np.empty((rows, n))
    for y in range(rows):
        poissons(np.full(n, mean), y, 7, np.uint64(5), np.uint64(123), out[y])
    k = out.ravel()
    assert (k == np.floor(k)).all() and k.min() >= 0
    assert k.mean() == pytest.approx(mean, abs=4 * np.sqrt(mean / k.size))
    assert k.var() == pytest.approx(mean, abs=4 * np.sqrt((mean + 2 * mean**2) / k.size))
    values, counts = np.unique(k, return_counts=True)
    expected = k.size * stats.poisson.pmf(values, mean)
    use = expected > 20
    chi2 = ((counts - expected)[use] ** 2 / expected[use]).sum()
    assert chi2 < use.sum() + 4 * np.sqrt(2 * use.sum())
