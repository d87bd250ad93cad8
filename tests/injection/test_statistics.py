"""Statistics of two classes of stars, against values by hand and by other means."""

from __future__ import annotations

import numpy as np
import pytest

from fullwell.injection.statistics import Ranking, draws, matched, noise_ratio, robust_width, slope


def test_area_under_the_curve_by_hand() -> None:
    """Two native pixels 1, 3, two injected 2, 3: of four pairs two are won, one is a tie, one is lost."""
    score, star = np.array([1.0, 3.0, 2.0, 3.0]), np.arange(4)
    injected = np.array([False, False, True, True])
    assert Ranking(score, star).auc(injected) == pytest.approx(2.5 / 4)
    assert Ranking(score, star).auc(~injected) == pytest.approx(1.5 / 4)
    weight = np.array([0.0, 2.0, 1.0, 1.0])
    assert Ranking(score, star).auc(injected, weight) == pytest.approx(0.5 / 2)


def test_pixels_are_compared_within_their_stratum() -> None:
    score, star = np.array([1.0, 2.0, 11.0, 10.0]), np.arange(4)
    injected = np.array([False, True, False, True])
    assert Ranking(score, star).auc(injected) == pytest.approx(2 / 4)
    assert Ranking(score, star, np.array([0, 0, 1, 1])).auc(injected) == pytest.approx(1 / 2)
    assert Ranking(score, star, np.array([0, 0, 1, 2])).auc(injected) == pytest.approx(1.0), "one pair only"


def test_distance_is_that_of_scipy() -> None:
    from scipy.stats import ks_2samp, mannwhitneyu

    rng = np.random.default_rng(1)
    score = np.round(np.r_[rng.normal(0, 1, 300), rng.normal(0.4, 1, 200)], 1)
    injected = np.arange(500) >= 300
    ranking = Ranking(score, np.arange(500))
    assert ranking.distance(injected) == pytest.approx(ks_2samp(score[300:], score[:300]).statistic)
    expected = mannwhitneyu(score[300:], score[:300]).statistic / (300 * 200)
    assert ranking.auc(injected) == pytest.approx(expected)


def test_errors_are_those_of_stars_not_of_pixels() -> None:
    """Ten pixels of one star with one score: the error is that of 2 x 100 stars, sqrt((n + m + 1) / (12 n m)), to the
    5 % that 200 draws leave at 4 sigma."""
    rng = np.random.default_rng(2)
    score, star = np.repeat(rng.normal(size=200), 10), np.repeat(np.arange(200), 10)
    injected = np.arange(200) % 2 == 0
    error = Ranking(score, star).auc_error(injected, draws(injected, 200, rng))
    assert error == pytest.approx(np.sqrt(201 / (12 * 100 * 100)), rel=4 * 0.05)


def test_draws_keep_the_classes() -> None:
    injected = np.array([True] * 30 + [False] * 70)
    drawn = draws(injected, 50, np.random.default_rng(3))
    assert drawn.shape == (50, 100)
    assert (drawn[:, injected].sum(axis=1) == 30).all() and (drawn[:, ~injected].sum(axis=1) == 70).all()


def test_pairs_are_of_like_flux() -> None:
    rng = np.random.default_rng(4)
    flux = np.r_[10 ** rng.uniform(2, 4, 400), 10 ** rng.uniform(3, 5, 300), -1.0, np.nan]
    injected = np.r_[np.zeros(400, bool), np.ones(302, bool)]
    pair = matched(flux, injected, rng)
    assert (pair[-2:] == -1).all()
    used = np.unique(pair[pair >= 0])
    assert used.size > 100
    for one in used:
        (a, b) = np.flatnonzero(pair == one)
        assert injected[a] != injected[b] and abs(np.log10(flux[a] / flux[b])) <= 0.1
    assert not ((flux < 900) & (pair >= 0)).any()


def test_slope_and_its_error() -> None:
    """Stars whose slopes scatter by 10 %: the line goes through the mean, its error is the scatter over stars."""
    rng = np.random.default_rng(5)
    own = 1.3 + 0.1 * rng.standard_normal(400)
    flux = np.tile(np.array([0.0, 100.0]), 400)
    star = np.repeat(np.arange(400), 2)
    found = slope(flux, 36 + own[star] * flux, star, draws(np.zeros(400, bool), 200, rng))
    assert found.value == pytest.approx(own.mean()) and found.offset == pytest.approx(36)
    assert found.error == pytest.approx(own.std() / 20, rel=0.2)


def test_ratio_of_noise_has_the_error_of_poisson_numbers() -> None:
    """Mean 6: Var[(n - m)^2 / m] = 2 + 1/m, against 400 sets of 1000."""
    rng = np.random.default_rng(6)
    mean, k = np.full(1000, 12.0), np.full(1000, 2.0)
    values = []
    for _ in range(400):
        value, error = noise_ratio(2.0 * rng.poisson(6.0, 1000) - mean, mean, k)
        values.append(value)
    assert error == pytest.approx(np.sqrt((2 + 1 / 6) / 1000))
    assert np.mean(values) == pytest.approx(1, abs=4 * error / 20)
    assert np.std(values) == pytest.approx(error, rel=4 / np.sqrt(800))


def test_robust_width_and_its_error() -> None:
    rng = np.random.default_rng(7)
    found = np.array([robust_width(rng.normal(3, 2, 400)) for _ in range(400)])
    assert found[:, 0].mean() == pytest.approx(2, abs=0.03)
    assert found[:, 0].std() == pytest.approx(found[:, 1].mean(), rel=4 / np.sqrt(800))
