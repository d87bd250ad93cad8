"""A blind adversary (T5): trees grown on the pixels of known native and injected stars guess the others.

Model        gradient-boosted trees on image, variance, their means over 3 x 3 pixels, both less their mean over 9 x 9,
             and the place x, y. Stars, not pixels, are dealt to the folds, so that no star is learned from and
             guessed. Pairs of like flux stay together, and pixels are compared with those of their fold: what one fold
             has too many of one class the other would have too few, and alike classes would show less than one half.
Needs        scikit-learn (the extra "verify").
References   injection note A.5, T5; Friedman 2001, Ann. Stat. 29, 1189.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fullwell.base.errors import UsageError
from fullwell.injection.footprints import Pixels, Scene
from fullwell.injection.statistics import Ranking, draws

__all__ = ["FEATURES", "blind_auc", "features", "is_installed", "scores"]

FEATURES = ("image", "variance", "image 3x3", "variance 3x3", "image - 9x9", "variance - 9x9", "x", "y")
FOLDS = 2
"""One half learns, the other is guessed, and the other way round: every star is a test star once."""

ROUNDS = 40
"""Trees, each mending what those before it left."""

F8 = NDArray[np.float64]


def is_installed() -> bool:
    """Whether scikit-learn is there."""
    from importlib.util import find_spec

    return find_spec("sklearn") is not None


def features(scene: Scene, image: F8, variance: F8, pixels: Pixels) -> NDArray[np.float32]:
    """(pixels, 8) what the adversary sees of each pixel, in the order of `FEATURES`; unusable pixels are the sky."""
    from scipy.ndimage import uniform_filter

    out = []
    ok = np.isfinite(image) & np.isfinite(variance)
    for plane, values in ((image, pixels.image), (variance, pixels.variance)):
        filled = np.where(ok, plane, np.median(plane[ok]))
        near, wide = (uniform_filter(filled, size, mode="nearest")[pixels.y, pixels.x] for size in (3, 9))
        out.append((values, near, values - wide))
    (i, i3, i9), (v, v3, v9) = out
    return np.stack([i, v, i3, v3, i9, v9, pixels.x, pixels.y], axis=1).astype(np.float32)


def scores(seen: NDArray[np.float32], pixels: Pixels, rng: np.random.Generator) -> tuple[F8, NDArray[np.int64]]:
    """Guessed chance that each pixel is injected, by trees that never saw its star, and the fold of each pixel.

    Raises
    ------
    UsageError
        scikit-learn is not installed.
    """
    try:
        from sklearn.ensemble import HistGradientBoostingClassifier
        from threadpoolctl import threadpool_limits
    except ImportError:
        raise UsageError(
            "the blind adversary (T5) needs scikit-learn", remedy="pip install 'fullwell[verify]', or leave out T5"
        ) from None
    pairs, number = np.unique(pixels.pair, return_inverse=True)
    fold = rng.permutation(np.arange(pairs.size) % FOLDS)[number]
    of_pixel, truth = fold[pixels.star], pixels.injected[pixels.star]
    out = np.zeros(pixels.star.size)
    for i in range(FOLDS):
        test = of_pixel == i
        trees = HistGradientBoostingClassifier(
            max_iter=ROUNDS, learning_rate=0.2, early_stopping=False, random_state=int(rng.integers(2**31))
        )
        with threadpool_limits(1):  # threads that wait for each other on a busy machine take longer than one
            trees.fit(seen[~test], truth[~test])
            out[test] = trees.predict_proba(seen[test])[:, 1]
    return out, of_pixel


def blind_auc(
    scene: Scene, image: F8, variance: F8, pixels: Pixels, rng: np.random.Generator, n: int
) -> tuple[float, float]:
    """Area under the curve of the blind adversary, and its error by star from `n` bootstrap draws.

    What one fold learned by chance helps or hurts in the other as much as the other way round, so the areas of both
    folds are taken to be wrong together: their errors are averaged, not their variances.
    """
    score, fold = scores(features(scene, image, variance, pixels), pixels, rng)
    ranking = Ranking(score, pixels.star, fold)
    weights = draws(pixels.injected, n, rng)
    parts = [fold == i for i in range(FOLDS)]
    errors = [Ranking(score[at], pixels.star[at]).auc_error(pixels.injected, weights) for at in parts]
    return ranking.auc(pixels.injected), float(np.mean(errors))
