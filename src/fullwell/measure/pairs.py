"""Read noise and gain from pairs of frames: differences are free of everything that is the same in both.

With f1, f2 two flats of the same light, means m1, m2 above the bias, and k = m1/m2, the difference f1 - k f2 has no
structure left (pixel response, vignetting, dust), and

    g = (m1 + k^2 m2) / (var(f1 - k f2) - (1 + k^2) s^2),

s the read noise in adu: electrons per adu, whatever the mismatch of the levels. The variance is clipped at 5 sigma and
divided by the factor of the clip; its standard error comes from the fourth moment. For N pixels and no read noise
the error is g sqrt(2/N), the Cramér-Rao bound of Gaussian pixels of unknown variance.

What the estimate does not know is the brighter-fatter effect: charge that repels charge moves variance from a
pixel into covariances with its neighbours, and g comes out too large, in proportion to the signal. The correlations
of the difference with its eight neighbours, summed, are kept as the model error.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fullwell.base.errors import DataError, UsageError
from fullwell.base.provenance import Record
from fullwell.cameras import Box
from fullwell.frames import Frame
from fullwell.measure.levels import Statistics, amplifier_boxes, clip_factor, statistics
from fullwell.measure.pairing import Pair, as_pairs, match_pairs, name_of
from fullwell.products import Gain

__all__ = ["Noise", "PairPoint", "Transfer", "pair_gain", "pair_noise", "pair_point", "pair_transfer"]

SMALLEST = 100
CHI2_MEDIAN = 0.454936423119572
"""Median of chi-square with one degree of freedom."""


class Noise(NamedTuple):
    """Read noise of one amplifier and its standard error [unit of the frames]."""

    value: float
    error: float


@dataclass(frozen=True)
class PairPoint:
    """One pair of flats in one amplifier.

    Parameters
    ----------
    mean1, mean2 : clipped means above the pedestal [adu].
    ratio : k = mean1/mean2.
    variance, variance_error : of f1 - k f2 [adu^2].
    gain, gain_error : [electron/adu], NaN where the variance does not exceed the read noise.
    correlation, correlation_error : sum over the eight neighbours of the correlation of the difference.
    pixels, rejected : used, clipped.
    """

    mean1: float
    mean2: float
    ratio: float
    variance: float
    variance_error: float
    gain: float
    gain_error: float
    correlation: float
    correlation_error: float
    pixels: int
    rejected: int

    @property
    def mean(self) -> float:
        """Of the two images above the pedestal [adu]."""
        return (self.mean1 + self.mean2) / 2

    @property
    def single_variance(self) -> float:
        """Variance of one image [adu^2]: half that of the difference where the levels are alike."""
        return self.variance / (1 + self.ratio**2)


class Transfer(NamedTuple):
    """The gain, and by amplifier the pairs it was made of, without those that were left out with a note."""

    gain: Gain
    points: dict[str, list[PairPoint]]


def pair_noise(
    bias1: Frame | Sequence[Pair] | Sequence[Frame],
    bias2: Frame | None = None,
    region: Box | Mapping[str, Box] | None = None,
    *,
    sigma: float = 5.0,
    edge: int = 0,
    centre_rows: bool = False,
    centre_columns: bool = False,
) -> dict[str, Noise]:
    """Read noise of each amplifier from pairs of bias (or short dark) frames.

    Half the clipped variance of the difference, which holds the noise of the analogue chain and the 1/12 of the
    quantisation; averaged over pairs.

    Parameters
    ----------
    bias1, bias2 : two frames; or a sequence of pairs; or frames that are paired in order. All assembled alike.
    region : one box, or one per amplifier, in assembled coordinates; None for whole amplifiers.
    sigma : clip of the difference; edge : rows and columns left out along each side of an amplifier.
    centre_rows : take the mean of each row off the difference (with the factor that one lost degree of freedom per
        row gives): the noise of a pixel alone, without what the pixels of a row have in common. An overscan value
        per row puts its own error there, pi/2 R^2/n for a median of n pixels, which the overscan step accounts for.
    centre_columns : the same for columns, after a parallel overscan.

    Returns
    -------
    amplifier -> (value, error) in the unit of the frames; the error is value / sqrt(2 N) for Gaussian noise.

    Raises
    ------
    UsageError
        no pair, or the frames of one differ in size or unit.
    DataError
        fewer than 100 valid pixels, or a difference without any noise.
    """
    pairs = as_pairs(bias1, bias2, "bias")
    out: dict[str, Noise] = {}
    for name, box in amplifier_boxes(pairs[0][0].detector, pairs[0][0].box, region, edge=edge).items():
        if not box.area:
            continue
        found = []
        for a, b in pairs:
            good = a[box].good() & b[box].good()
            difference = a[box].image.array.astype(np.float64) - b[box].image.array
            lost = 1.0
            if centre_rows:
                difference, lost = _centred(difference, good, sigma)
            if centre_columns:
                turned, more = _centred(difference.T, good.T, sigma)
                difference, lost = turned.T, lost * more
            one = statistics(difference, ~good, sigma=sigma)
            found.append(replace(one, variance=one.variance * lost, variance_error=one.variance_error * lost))
        count = sum(s.count for s in found)
        if count < SMALLEST * len(pairs) or not all(s.variance > 0 for s in found):
            raise DataError(
                "the difference of the bias frames has no noise" if count >= SMALLEST * len(pairs)
                else f"only {count} valid pixels are left",
                where=f"amplifier {name} of {name_of(pairs[0][0])}",
                remedy="are the two frames copies of each other? give another region or pair",
            )  # fmt: skip
        weight = np.array([s.count for s in found], np.float64)
        variance = float(np.average([s.variance / 2 for s in found], weights=weight))
        error = float(np.sqrt(np.sum((weight * [s.variance_error / 2 for s in found]) ** 2)) / weight.sum())
        out[name] = Noise(math.sqrt(variance), error / (2 * math.sqrt(variance)))
    if not out:
        raise DataError("the region has no pixel of any amplifier", remedy="give it in assembled coordinates")
    return out


def _centred(
    difference: NDArray[np.float64], good: NDArray[np.bool_], sigma: float
) -> tuple[NDArray[np.float64], float]:
    """The difference without the mean of each row, and the factor that gives its variance back."""
    first = statistics(difference, ~good, sigma=sigma)
    use = good & (np.abs(difference - first.median) <= sigma * first.sigma)
    number = use.sum(axis=1)
    mean = np.where(use, difference, 0.0).sum(axis=1) / np.maximum(number, 1)
    rows = np.count_nonzero(number)
    return difference - mean[:, None], float(number.sum() / max(number.sum() - rows, 1))


def _neighbours(difference: NDArray[np.float64], kept: NDArray[np.bool_]) -> tuple[float, float]:
    """Sum of the correlations with the eight neighbours, and its standard error."""
    d = np.where(kept, difference, 0.0)
    w = kept.astype(np.float64)
    power = float((d * d).sum()) / max(float(w.sum()), 1.0)
    total, squares = 0.0, 0.0
    ny, nx = d.shape
    for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1)):
        a = np.s_[: ny - dy, max(0, -dx) : nx - max(0, dx)]
        b = np.s_[dy:, max(0, dx) : nx - max(0, -dx)]
        n = float((w[a] * w[b]).sum())
        if n > 0 and power > 0:
            total += 2 * float((d[a] * d[b]).sum()) / n / power
            squares += 4 / n
    return total, math.sqrt(squares)


def pair_point(
    flat1: NDArray[Any],
    flat2: NDArray[Any],
    good: NDArray[np.bool_],
    *,
    pedestals: tuple[float, float] = (0.0, 0.0),
    noise: float = 0.0,
    noise_error: float = 0.0,
    sigma: float = 5.0,
) -> PairPoint:
    """Gain of one pair of flats in one set of pixels; see the module for the formula.

    Parameters
    ----------
    flat1, flat2 : (ny, nx) [adu]; good : pixels to be used.
    pedestals : level without light of each [adu]; noise, noise_error : read noise [adu].
    """
    f1, f2 = (np.where(good, f.astype(np.float64) - p, 0.0) for f, p in zip((flat1, flat2), pedestals, strict=True))
    nan = math.nan
    if int(good.sum()) < SMALLEST:
        return PairPoint(nan, nan, nan, nan, nan, nan, nan, nan, nan, int(good.sum()), 0)
    k = statistics(f1, ~good, sigma=sigma).mean / statistics(f2, ~good, sigma=sigma).mean
    if not (math.isfinite(k) and k > 0):
        return PairPoint(nan, nan, k, nan, nan, nan, nan, nan, nan, int(good.sum()), 0)
    difference = f1 - k * f2
    kept, expected = _unhit(difference, f1 + k * k * f2, (1 + k * k) * noise**2, good, sigma)
    if int(kept.sum()) < SMALLEST:
        return PairPoint(nan, nan, k, nan, nan, nan, nan, nan, nan, int(kept.sum()), 0)
    found = _moments(difference[kept], sigma)
    m1, m2 = float(f1[kept].mean()), float(f2[kept].mean())
    shot = found.variance - (1 + k * k) * noise**2
    light = m1 + k * k * m2
    gain = error = nan
    if shot > 0 and light > 0:
        gain = light / shot
        from_noise = (1 + k * k) * 2 * noise * noise_error
        error = gain * math.hypot(found.variance_error, from_noise) / shot
    scaled = np.divide(difference - found.mean, np.sqrt(expected), out=np.zeros_like(difference), where=expected > 0)
    correlation, correlation_error = _neighbours(scaled, kept)
    return PairPoint(
        m1, m2, k, found.variance, found.variance_error, gain, error, correlation, correlation_error,
        found.count, int(good.sum()) - found.count,
    )  # fmt: skip


def _unhit(
    difference: NDArray[np.float64], light: NDArray[np.float64], noise: float, good: NDArray[np.bool_], sigma: float
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Pixels whose difference is within `sigma` of what their own light allows, and that expected variance.

    The clip is on the difference in units of its own spread: where the light is not uniform (a spectrum, a
    vignetted field) one clip for all would cut the wings of the bright pixels and make the gain too large. Given
    the sum of the two counts the difference is symmetric about zero, so that this clip does not favour a value.
    """
    flat = light[good]
    lit = flat > max(4.0 * noise, 0.0)
    squared = difference[good] ** 2
    slope = float(np.median((squared[lit] - noise) / flat[lit])) / CHI2_MEDIAN if lit.sum() >= SMALLEST else 0.0
    expected = np.maximum(light, 0.0) * max(slope, 0.0) + noise
    if slope <= 0:
        expected = np.full_like(light, max(statistics(difference, ~good, sigma=sigma).variance, 0.0))
    scaled = np.divide(difference, np.sqrt(expected), out=np.zeros_like(difference), where=expected > 0)
    spread = statistics(scaled, ~good, sigma=sigma)
    return good & (expected > 0) & (np.abs(scaled - spread.mean) <= sigma * spread.sigma), expected


def _moments(values: NDArray[np.float64], sigma: float) -> Statistics:
    """Mean, variance (corrected for a clip at `sigma`) and its error from the fourth moment."""
    n = values.size
    mean = float(values.mean())
    second = (values - mean) ** 2
    factor = clip_factor(sigma) if math.isfinite(sigma) else 1.0
    variance = float(second.sum()) / (n - 1) / factor
    error = math.sqrt(max(float((second**2).mean()) - float(second.mean()) ** 2, 0.0) / n) / factor
    return Statistics(mean=mean, variance=variance, variance_error=error, sigma=math.sqrt(variance), count=n)


def pair_gain(
    flats: Sequence[Pair] | Sequence[Frame],
    biases: Sequence[Pair] | Sequence[Frame] | None = None,
    *,
    noise: Mapping[str, Noise | tuple[float, float] | float] | None = None,
    region: Box | Mapping[str, Box] | None = None,
    sigma: float = 5.0,
    edge: int = 0,
    mismatch: float = 0.1,
) -> Gain:
    """Gain and read noise of each amplifier from pairs of flats.

    Parameters
    ----------
    flats : pairs, or frames to be paired by `match_pairs`; assembled, in adu, not divided by a flat.
    biases : bias frames that went through the same steps as the flats, at least two. They give the read noise
        (unless `noise` is given) and what is left of the pedestal. Without them the flats must be above the bias.
    noise : read noise by amplifier [adu], (value, error) or value; used instead of that of the biases.
    region, sigma, edge : as of `pair_noise`.
    mismatch : pairs whose levels differ by more than this are left out, with a note.

    Returns
    -------
    `Gain` with estimator "pair"; NaN for an amplifier without a usable pair. Its error is statistical;
    `gain_model_error` is the size of the brighter-fatter bias as told by the neighbour correlations.

    Raises
    ------
    UsageError
        no pair of flats; flats not in adu; flats and biases that went through different steps.
    """
    return pair_transfer(flats, biases, noise=noise, region=region, sigma=sigma, edge=edge, mismatch=mismatch).gain


def pair_transfer(
    flats: Sequence[Pair] | Sequence[Frame],
    biases: Sequence[Pair] | Sequence[Frame] | None = None,
    *,
    noise: Mapping[str, Noise | tuple[float, float] | float] | None = None,
    region: Box | Mapping[str, Box] | None = None,
    sigma: float = 5.0,
    edge: int = 0,
    mismatch: float = 0.1,
) -> Transfer:
    """`pair_gain`, and the points it is made of: parameters and errors are the same."""
    pairs = match_pairs(flats) if len(flats) and isinstance(flats[0], Frame) else list(flats)  # type: ignore[arg-type]
    pairs = as_pairs(pairs, None, "flat")
    first = pairs[0][0]
    if first.unit not in ("adu", ""):
        raise UsageError(f"the flats are in {first.unit}", where=name_of(first), remedy="the gain is measured in adu")
    boxes = amplifier_boxes(first.detector, first.box, region, edge=edge)
    frames = _flat_list(biases)
    if frames:
        _same_steps(first, frames[0])
    read_noise: dict[str, Noise] = {}
    if noise is not None:
        for name, value in noise.items():
            read_noise[name] = Noise(float(value), 0.0) if isinstance(value, (int, float)) else Noise(*value[:2])
    elif len(frames) > 1:
        read_noise = pair_noise(biases, None, region, sigma=sigma, edge=edge)  # type: ignore[arg-type]
    notes, points = [], {}
    if not read_noise:
        notes.append("The read noise is not known and not subtracted: the gain is too small at low signal.")
    steps = {r.step for r in first.history if r.state == "done"}
    if not frames and steps and not steps & {"bias", "overscan_serial", "overscan_parallel"}:
        notes.append("Neither overscan nor bias was subtracted from the flats: the gain is too large.")
    for name, box in boxes.items():
        points[name] = _points(name, box, pairs, frames, read_noise.get(name, Noise(0.0, 0.0)), sigma, mismatch, notes)
    return Transfer(_gain(boxes, points, read_noise, pairs, frames, notes), points)


def _flat_list(biases: Any) -> list[Frame]:
    if biases is None:
        return []
    return [f for item in biases for f in ((item,) if isinstance(item, Frame) else item)]


def _same_steps(flat: Frame, bias: Frame) -> None:
    """Refuse a flat that lost its pedestal by a step that the bias frames did not go through, or the reverse."""
    for step in ("overscan_serial", "overscan_parallel"):
        has = [(r := f.last(step)) is not None and r.state == "done" for f in (flat, bias)]
        if has[0] != has[1]:
            raise UsageError(
                f"the step '{step}' ran on {'the flats' if has[0] else 'the bias frames'} only",
                where=f"{name_of(flat)}, {name_of(bias)}",
                remedy="correct flats and bias frames by the same recipe",
            )


def _points(
    name: str,
    box: Box,
    pairs: Sequence[Pair],
    biases: Sequence[Frame],
    noise: Noise,
    sigma: float,
    mismatch: float,
    notes: list[str],
) -> list[PairPoint]:
    """All usable pairs in one amplifier."""
    if not box.area:
        notes.append(f"Amplifier {name} has no pixel in the region.")
        return []
    subtracted = (r := pairs[0][0].last("bias")) is not None and r.state == "done"
    alike = [b for b in biases if ((r := b.last("bias")) is not None and r.state == "done") == subtracted]
    levels = [statistics(b[box].image.array, ~b[box].good(), sigma=sigma).mean for b in alike]
    pedestal = float(np.mean(levels)) if levels else 0.0
    out = []
    for number, (a, b) in enumerate(pairs):
        one, two = a[box], b[box]
        point = pair_point(
            one.image.array, two.image.array, one.good(("BAD", "SAT", "NO_DATA", "SUSPECT"))
            & two.good(("BAD", "SAT", "NO_DATA", "SUSPECT")),
            pedestals=(pedestal, pedestal), noise=noise.value, noise_error=noise.error, sigma=sigma,
        )  # fmt: skip
        label = f"pair {number} ({name_of(a)}, {name_of(b)}), amplifier {name}"
        if not math.isfinite(point.gain):
            notes.append(f"Left out {label}: no shot noise above the read noise in {point.pixels} pixels.")
        elif abs(point.ratio - 1) > mismatch:
            notes.append(f"Left out {label}: the levels differ by {point.ratio - 1:+.1%}.")
        else:
            out.append(point)
    return out


def _gain(
    boxes: Mapping[str, Box],
    points: Mapping[str, list[PairPoint]],
    noise: Mapping[str, Noise],
    pairs: Sequence[Pair],
    biases: Sequence[Frame],
    notes: list[str],
) -> Gain:
    """The weighted mean over pairs, and what it says of itself."""
    n = len(boxes)
    gain, error, model, spread = (np.full(n, np.nan) for _ in range(4))
    lowest, highest = math.inf, -math.inf
    for i, name in enumerate(boxes):
        use = points[name]
        if not use:
            continue
        relative = np.array([p.gain_error / p.gain for p in use])
        weight = 1.0 / relative**2
        values = np.array([p.gain for p in use])
        gain[i] = np.average(values, weights=weight)
        error[i] = gain[i] / math.sqrt(weight.sum())
        gathered = float(np.average([p.correlation for p in use], weights=weight))
        model[i] = gain[i] * max(gathered, 0.0)
        if gathered > 3 * math.sqrt(sum(p.correlation_error**2 for p in use)) / len(use):
            spread[i] = gathered
        lowest, highest = min(lowest, *(p.mean1 for p in use)), max(highest, *(p.mean1 for p in use))
        chi = float(np.sum(((values / gain[i] - 1) / relative) ** 2))
        if len(use) > 1 and chi > len(use) - 1 + 4 * math.sqrt(2 * (len(use) - 1)):
            notes.append(
                f"Amplifier {name}: the pairs disagree (chi^2 {chi:.1f} for {len(use) - 1} degrees of freedom); "
                "gains from pairs grow with the signal, which a photon transfer curve takes into account."
            )
    if np.isfinite(spread).any():
        size = f"{np.nanmin(spread):.2%}"
        if np.isfinite(spread).sum() > 1:
            size += f" to {np.nanmax(spread):.2%}"
        notes.append(
            f"Neighbouring pixels are correlated, by {size} in sum over "
            "the eight neighbours: brighter-fatter effect. The gain is too large by about as much (gain_model_error)."
        )
    values = np.array([noise[name].value if name in noise else np.nan for name in boxes])
    errors = np.array([noise[name].error if name in noise else np.nan for name in boxes])
    inputs = tuple(name_of(f) for pair in pairs for f in pair) + tuple(name_of(f) for f in biases)
    record = Record(
        "pair_gain", inputs={str(i): name for i, name in enumerate(inputs)}, numbers={"pairs": len(pairs)},
    )  # fmt: skip
    return Gain(
        amps=tuple(boxes),
        gain=gain,
        gain_error=error,
        gain_model_error=model,
        read_noise=values * gain,
        read_noise_error=np.hypot(errors * gain, values * error),
        read_noise_adu=values,
        estimator="pair",
        range=(lowest, highest) if highest > 0 else (math.nan, math.nan),
        observation=pairs[0][0].observation,
        inputs=inputs,
        notes=tuple(notes),
        history=(record,),
    )
