"""Removal test: can injected stars be told from those that were there?

T1 noise     mean of (I' - I - dI)^2 / (K dI) where dI/K > 5, against the mean flux dI that was meant: 1. No statistic
             of the planes alone can see the noise that was drawn.
T2 slopes    of V on I in footprints of injected and of native stars, by amplifier; their ratio is 1. This is what
             one sees in a plot of variance against flux.
T3 residual  q = (V - K^2 r^2 - phi^2 B^2) / (K B), B = I + b, rounded to 1e-6: the adversary knows the flat. |q - 1| of
             injected and native pixels has the same distribution: area under the curve 1/2, no distance.
T4 pulls     (measured - true) / error of fluxes fitted with the true profile, weights not from V: width 1.
T5 blind     trees that learn from known stars guess the others: area under the curve 1/2.
Control      the same sources, drawn with one gain for the whole frame, go through the same tests: a test that does not
             find them says nothing about the others either.
Matching     T2 to T5 compare stars of the same fluxes; what has no counterpart is left out.
Errors       by star (bootstrap); "found" is more than four of them.
References   injection note A.5.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fullwell.base.errors import DataError, GeometryError, UsageError
from fullwell.frames import Frame, Plane
from fullwell.injection import classifier
from fullwell.injection.effective_gain import EffectiveGain
from fullwell.injection.estimate import effective_gain
from fullwell.injection.footprints import HEIGHT, Pixels, Scene, star_pixels
from fullwell.injection.inject import Injected, inject
from fullwell.injection.report import MEANING, AmplifierSlopes, Report, Sample, Verdict
from fullwell.injection.statistics import (
    DRAWS,
    Ranking,
    Slope,
    draws,
    matched,
    noise_ratio,
    robust_width,
    slope,
)

__all__ = ["distinguishability", "mean_flux"]

F8 = NDArray[np.float64]

FEWEST = 5
"""Stars of either class below which a region has no slope, and a frame no area under a curve."""

FAINTEST = 5.0
"""Electrons dI/K of the pixels of T1."""

SAMPLE = 20000
"""Pixels of each kind kept for the figure."""


@dataclass(frozen=True)
class Trial:
    """One injection: the planes after it, the flux meant, the matched pixels, and the number of draws."""

    scene: Scene
    image: F8
    variance: F8
    expected: F8 | None
    pixels: Pixels
    n: int
    seed: int


def distinguishability(
    before: Frame,
    after: Any,
    truth: Any = None,
    gain: EffectiveGain | None = None,
    *,
    flat: Any = "auto",
    repo: Any = None,
    expected: NDArray[Any] | None = None,
    native: Any = None,
    naive_gain: float | None = None,
    tests: Collection[str] = tuple(MEANING),
    seed: int = 0,
    n_draws: int = DRAWS,
) -> Report:
    """Try to tell the sources of `after` that `before` has not from those that both have.

    Parameters
    ----------
    before, after : the frame and the frame with sources, image and variance; `after` may be what `inject` returned.
    truth : table of what was injected, x and y [pixel]; by default that of `after`. Without one, all that is not in
        the frame before is taken for injected.
    gain : K that the adversary takes for true; by default the one of `after`, or made of `flat` and `repo` as
        `effective_gain` does. A K made from the variance of the frame itself shares its errors with the injection: give
        the flat for a test that stands on its own.
    expected : (ny, nx) mean flux dI that was meant [unit]; by default that of `after`. T1, T4 and the control need it.
    native : (n, 2) x, y [pixel] of stars of the frame, where cosmic rays and galaxies are to be left out.
    naive_gain : [unit/electron] of the control; by default what an electron is worth where the flat is 1, or the
        median of K where that is not known.
    tests : names of those to make. seed : of bootstrap, folds and control. n_draws : of the bootstrap.

    Returns
    -------
    Report

    Raises
    ------
    DataError
        no variance, no pixel of known gain, or fewer than five stars of either class.
    GeometryError
        frames of different boxes, or `expected` of another shape.
    UsageError
        an unknown test.
    """
    tests = _known(tests)
    frame = getattr(after, "frame", after)
    gain = gain if gain is not None else getattr(after, "gain", None)
    _check(before, frame, expected)
    if gain is None:
        gain = effective_gain(before, flat=flat, repo=repo)
    if expected is None and isinstance(after, Injected):
        expected = mean_flux(after)
    scene = Scene.of(before, frame, gain)
    meant = None if expected is None else np.asarray(expected, np.float64)
    truth = truth if truth is not None else getattr(after, "truth", None)
    places = _places(native, before), _centres(truth, before)
    rng = np.random.default_rng([seed, 1])
    naive_gain = _naive_gain(before, scene) if naive_gain is None else naive_gain
    planes = {"injected": (np.asarray(frame.image.array, np.float64), np.asarray(frame.variance.array, np.float64))}
    if meant is not None:
        planes["naive"] = _naive(scene, meant, naive_gain, rng)
    trials = {}
    for name, (image, variance) in planes.items():
        found = star_pixels(scene, image, variance, *places)
        found = found.paired(matched(found.flux, found.injected, np.random.default_rng([seed, 2])))
        if min(found.counts) < FEWEST and name == "injected":
            raise DataError(
                f"{found.counts[1]} injected and {found.counts[0]} native stars of like flux stand alone in the frame",
                where=before.source or before.observation.obs_id,
                remedy=f"inject sources of the fluxes of the frame's own stars, at least {FEWEST}, apart from them",
            )
        trials[name] = Trial(scene, image, variance, meant, found, n_draws, seed)
    return _report(trials, tests, gain, naive_gain, before.unit)


def mean_flux(done: Injected) -> NDArray[np.float32]:
    """(ny, nx) mean flux dI [unit] of the sources of `done`: drawn without noise on a frame without light."""
    before = done.before
    dark = Plane(np.zeros(before.shape, np.float32), before.box, before.unit)
    record = done.frame.last("inject")
    aperture = record.config.get("aperture") if record is not None else None
    drawn = inject(
        replace(done, before=replace(before, image=dark, mask=None)), {"x": [], "y": [], "flux": []}, gain=done.gain,
        noise="none", variance="none", saturation="none", aperture=aperture,
    )  # fmt: skip
    return np.asarray(drawn.frame.image.array)


def _report(trials: dict[str, Trial], tests: Iterable[str], gain: EffectiveGain, naive: float, unit: str) -> Report:
    results, lines = {}, {}
    for name, trial in trials.items():
        lines[name] = _slopes(trial)
        results[name] = {test: _TESTS[test](trial) for test in tests if test != "T2"}
        if "T2" in tests:
            results[name]["T2"] = _slope_verdict(trial, lines[name])
    pixels = trials["injected"].pixels
    control = results.get("naive", {})
    nan = Slope(float("nan"), float("nan"), float("nan"), np.full(1, np.nan))
    rows = []
    for i, name in enumerate(trials["injected"].scene.names):
        native, ours = lines["injected"].get(i, (nan, nan))
        other = lines.get("naive", {}).get(i, (nan, nan))[1]
        here = pixels.injected[np.unique(pixels.star[pixels.region == i])]
        numbers = (int((~here).sum()), int(here.sum()))
        rows.append(
            AmplifierSlopes(name, native.value, native.error, ours.value, ours.error, other.value, other.error, numbers)
        )
    samples = {"native": _sample(trials["injected"], False), "injected": _sample(trials["injected"], True)}
    if "naive" in trials:
        samples["naive"] = _sample(trials["naive"], True)
    ordered = [{t: r[t] for t in sorted(r)} for r in (results["injected"], control)]
    return Report(ordered[0], ordered[1], naive, tuple(rows), pixels.counts, unit, samples, gain.method)


def _noise(trial: Trial) -> Verdict:
    """T1."""
    if trial.expected is None:
        return Verdict("T1", note="the mean flux that was meant is not known: give `expected`")
    scene, mean = trial.scene, trial.expected
    hit = scene.good & (mean > FAINTEST * scene.k)
    if hit.sum() < 100:
        return Verdict("T1", note=f"fewer than 100 pixels of more than {FAINTEST:g} injected electrons")
    residual = (trial.image - scene.image)[hit] - mean[hit]
    value, error = noise_ratio(residual, mean[hit], scene.k[hit])
    return Verdict.judged("T1", value, error, 1.0, pixels=float(hit.sum()))


def _slopes(trial: Trial) -> dict[int, tuple[Slope, Slope]]:
    """(native, injected) slopes of each region with enough stars."""
    pixels, out = trial.pixels, {}
    weights = draws(pixels.injected, trial.n, np.random.default_rng([trial.seed, 3]))
    for i in range(len(trial.scene.names)):
        both = []
        for kind in (False, True):
            at = (pixels.region == i) & (pixels.injected[pixels.star] == kind)
            if np.unique(pixels.star[at]).size >= FEWEST:
                both.append(slope(pixels.image[at], pixels.variance[at], pixels.star[at], weights))
        if len(both) == 2:
            out[i] = (both[0], both[1])
    return out


def _slope_verdict(trial: Trial, lines: dict[int, tuple[Slope, Slope]]) -> Verdict:
    """T2: mean of the ratios of the amplifiers, weighted by their errors; the largest z; the likelihood ratio."""
    if not lines:
        return Verdict("T2", note=f"no amplifier with {FEWEST} stars of each class")
    ratio = np.array([ours.value / native.value for native, ours in lines.values()])
    drawn = np.stack([ours.draws / native.draws for native, ours in lines.values()])
    error = np.nanstd(drawn, axis=1, ddof=1)
    weight = 1 / np.maximum(error, 1e-12) ** 2
    weight /= weight.sum()
    z = max(abs(o.value - n.value) / max(float(np.hypot(o.error, n.error)), 1e-300) for n, o in lines.values())
    verdict = Verdict.judged(
        "T2", float(weight @ ratio), float(np.nanstd(weight @ drawn, ddof=1)), 1.0, largest_z=float(z),
        scatter=float(ratio.std()), likelihood_ratio=_likelihood_ratio(trial, lines),
    )  # fmt: skip
    if verdict.found is False and z > 4:
        return Verdict("T2", verdict.value, verdict.error, 1.0, True, verdict.more, "found in one amplifier")
    return verdict


def _likelihood_ratio(trial: Trial, lines: Iterable[int]) -> float:
    """2 log L of two slopes against one, summed over regions: chi^2 of as many degrees of freedom, pixels taken as
    independent, which those of one star are not."""
    pixels, total = trial.pixels, 0.0
    for i in lines:
        at = pixels.region == i
        x, y = pixels.image[at] - pixels.image[at].mean(), pixels.variance[at]
        one = np.stack([np.ones_like(x), x], axis=1)
        two = np.column_stack([one, x * pixels.injected[pixels.star[at]]])
        rss = [float(np.sum((y - m @ np.linalg.lstsq(m, y, rcond=None)[0]) ** 2)) for m in (one, two)]
        total += y.size * float(np.log(rss[0] / max(rss[1], 1e-300)))
    return total


def _residual(trial: Trial) -> Verdict:
    """T3."""
    scene, pixels = trial.scene, trial.pixels
    at = pixels.y, pixels.x
    light, k = scene.light(trial.image)[at], scene.k[at]
    noise = _read_variance(trial)[pixels.region]
    relative = scene.relative[at] if isinstance(scene.relative, np.ndarray) else scene.relative
    ok = light > 0
    q = (pixels.variance - k**2 * noise - relative * light**2)[ok] / (k * light)[ok]
    score, star = np.abs(np.round(q, 6) - 1), pixels.star[ok]
    rng = np.random.default_rng([trial.seed, 4])
    ranking = Ranking(score, star)
    weights = draws(pixels.injected, trial.n, rng)
    value, error = ranking.auc(pixels.injected), ranking.auc_error(pixels.injected, weights)
    distance = Ranking(np.round(q, 6), star)
    mean, scatter = distance.chance_distance(pixels.injected, max(trial.n // 4, 20), rng)
    ks = distance.distance(pixels.injected)
    verdict = Verdict.judged("T3", value, error, 0.5, ks=ks, ks_by_chance=mean, ks_scatter=scatter)
    if verdict.found is False and ks > max(0.02, mean + 4 * scatter):
        return Verdict("T3", value, error, 0.5, True, verdict.more, "found by the distance of the distributions")
    return verdict


def _read_variance(trial: Trial) -> F8:
    """(regions,) variance [electron^2] of the sky that is not of its light: what the frame itself shows."""
    scene = trial.scene
    light = scene.light(scene.image)
    rest = (scene.variance - scene.k * light - scene.relative * light**2) / scene.k**2
    out = np.zeros(len(scene.names))
    for i in range(out.size):
        dark = scene.good & (scene.region == i) & (np.abs(scene.image - scene.sky[i]) < 3 * scene.sigma[i])
        out[i] = np.median(rest[dark]) if dark.any() else 0.0
    return out


def _pulls(trial: Trial) -> Verdict:
    """T4: amplitude of the true profile and a constant in a box about each injected peak.

    The error of the flat is not counted: injected light has met no flat.
    """
    from scipy.ndimage import maximum_filter

    if trial.expected is None:
        return Verdict("T4", expected=1.0, note="the mean flux that was meant is not known: give `expected`")
    scene, mean, half = trial.scene, trial.expected, 7
    size = 2 * half + 1
    level = np.where(scene.region >= 0, HEIGHT * scene.sigma[scene.region], np.inf)
    native = scene.good & (scene.image - np.where(scene.region >= 0, scene.sky[scene.region], 0) > level)
    clean = maximum_filter((native | ~scene.good).astype(np.uint8), size) == 0
    peak = (mean == maximum_filter(mean, size)) & (mean > level) & clean
    for edge in (np.s_[:half], np.s_[-half:]):
        peak[edge] = peak[:, edge] = False
    y, x = np.nonzero(peak)
    if y.size < 20:
        return Verdict("T4", note="fewer than 20 injected stars stand alone")
    grid = np.arange(-half, half + 1)
    at = (y[:, None, None] + grid[:, None], x[:, None, None] + grid)
    profile, image = mean[at], trial.image[at]
    own = trial.variance - scene.relative * scene.light(trial.image) ** 2
    variance = np.maximum(own, 0)[at]
    shape = profile - profile.mean(axis=(1, 2), keepdims=True)
    power = np.sum(shape**2, axis=(1, 2))
    amplitude = np.sum(shape * image, axis=(1, 2)) / power
    error = np.sqrt(np.sum(shape**2 * variance, axis=(1, 2))) / power
    pull = (amplitude - 1)[error > 0] / error[error > 0]
    value, scatter = robust_width(pull)
    return Verdict.judged("T4", value, scatter, 1.0, mean=float(pull.mean()), stars=float(y.size))


def _blind(trial: Trial) -> Verdict:
    """T5."""
    if not classifier.is_installed():
        return Verdict("T5", expected=0.5, note="scikit-learn is not installed: pip install 'fullwell[verify]'")
    rng = np.random.default_rng([trial.seed, 5])
    value, error = classifier.blind_auc(trial.scene, trial.image, trial.variance, trial.pixels, rng, trial.n)
    return Verdict.judged("T5", value, error, 0.5, stars=float(min(trial.pixels.counts)))


_TESTS = {"T1": _noise, "T3": _residual, "T4": _pulls, "T5": _blind}


def _naive(scene: Scene, mean: F8, k: float, rng: np.random.Generator) -> tuple[F8, F8]:
    """Image and variance with the flux `mean` drawn with one gain `k` [unit/electron] for all pixels."""
    electrons = rng.poisson(np.maximum(mean, 0) / k).astype(np.float64)
    image = scene.image + k * electrons + np.minimum(mean, 0)
    return image.astype(np.float32).astype(np.float64), (scene.variance + k**2 * electrons).astype(np.float32).astype(
        np.float64
    )


def _naive_gain(frame: Frame, scene: Scene) -> float:
    """What an electron is worth where the flat is 1, as an injector that knows nothing of the flat takes it."""
    made = frame.gain_map
    if made is not None and frame.unit in ("electron", "adu"):
        return made.scale / (float(np.mean(list(made.gain.values()))) if made.gain else 1.0)
    if made is not None and made.scale != 1.0:
        return made.scale
    return float(np.median(scene.k[scene.good]))


def _sample(trial: Trial, injected: bool) -> Sample:
    pixels = trial.pixels
    at = np.flatnonzero(pixels.injected[pixels.star] == injected)
    if at.size > SAMPLE:
        at = np.sort(np.random.default_rng([trial.seed, 6]).choice(at, SAMPLE, replace=False))
    return Sample(pixels.image[at], pixels.variance[at], pixels.region[at])


def _places(native: Any, frame: Frame) -> F8 | None:
    """(n, 2) pixels of the array, from coordinates of the detector."""
    if native is None:
        return None
    places = np.asarray(native, np.float64)
    if places.ndim != 2 or places.shape[1] != 2:
        raise GeometryError(f"native stars are (n, 2) x, y, this array has shape {places.shape}")
    return places - (frame.box.x0, frame.box.y0)


def _centres(truth: Any, frame: Frame) -> F8 | None:
    """(n, 2) pixels of the array where `truth` has its sources; None where it is not given."""
    if truth is None:
        return None
    try:
        places = np.stack([np.asarray(truth[name], np.float64) for name in ("x", "y")], axis=1)
    except (KeyError, TypeError, ValueError):
        raise UsageError(
            "the truth has no columns x and y", remedy="give the table that `inject` returned, or leave it out"
        ) from None
    return _places(places[np.isfinite(places).all(axis=1)], frame)


def _known(tests: Collection[str]) -> tuple[str, ...]:
    wrong = [t for t in tests if t not in MEANING]
    if wrong:
        raise UsageError(f"there is no test '{wrong[0]}'", remedy=f"tests: {', '.join(MEANING)}")
    return tuple(tests)


def _check(before: Frame, after: Frame, expected: NDArray[Any] | None) -> None:
    if before.box != after.box:
        raise GeometryError(f"the frame before covers {before.box}, the one after {after.box}")
    if expected is not None and np.shape(expected) != before.shape:
        raise GeometryError(f"the mean flux has shape {np.shape(expected)}, the frame {before.shape}")
