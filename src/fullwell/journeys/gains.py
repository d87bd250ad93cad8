"""Read noise and gain of one set-up, from its pairs of frames or from what headers and options state."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from fullwell.base.errors import FullwellError
from fullwell.cameras import Detector
from fullwell.frames import Frame, Observation
from fullwell.journeys.night import Night, ReduceOptions, Setup
from fullwell.products import Gain, Points
from fullwell.reduction import differences

if TYPE_CHECKING:
    from fullwell.journeys.calibrate import Calibrations
    from fullwell.measure.pairs import PairPoint

SIGNIFICANT = 4.0
"""From so many times its error on a difference of two gains is one."""

__all__ = ["as_cold", "by_temperature", "gain_of", "noise_of", "own_noise"]


def by_temperature(frames: Sequence[Frame]) -> list[list[Frame]]:
    """Frames grouped by temperature, in order: those that could calibrate each other are together."""
    groups: list[list[Frame]] = []
    for frame in frames:
        group = next((g for g in groups if _one_temperature(g[0], frame.observation)), None)
        if group is None:
            groups.append([frame])
        else:
            group.append(frame)
    return groups


def _one_temperature(frame: Frame, obs: Observation) -> bool:
    return all(d.field != "temperature" for d in differences("bias", frame.observation, obs))


def as_cold(frames: Sequence[Frame], night: Night, setup: Setup) -> list[Frame]:
    """Bias frames of the temperature of the flats, else of the science frames; all where none has it."""
    wanted = [i.observation for kind in ("flat", "science") for i in night.of(kind, setup)]
    for obs in wanted[:1]:
        alike = [
            f for f in frames if not any(d.field == "temperature" for d in differences("bias", f.observation, obs))
        ]
        if alike:
            return alike
    return list(frames)


def noise_of(frames: Sequence[Frame], made: Calibrations) -> Mapping[str, tuple[float, float]]:
    """Read noise of each amplifier [adu] and its error, from pairs of bias frames of one temperature; {} if none.

    A single bias frame gives the scatter between neighbours of a row, which holds its fixed pattern too.
    """
    from fullwell.measure import pair_noise

    pairs = _bias_pairs(frames)
    if pairs:
        try:
            found = pair_noise(pairs)
        except FullwellError as err:
            made.notes.append(f"No read noise from the bias frames: {err.problem} ({err.where}).")
            return {}
        made.notes.append(f"Read noise from {len(pairs)} pair{'s' if len(pairs) > 1 else ''} of bias frames.")
        return found
    if not frames:
        return {}
    made.notes.append(
        "Read noise from the scatter between neighbours in one bias frame: an upper limit, since it holds the fixed "
        "pattern. Two bias frames would give it without."
    )
    return _single_noise(frames[0])


def _single_noise(frame: Frame) -> Mapping[str, tuple[float, float]]:
    from fullwell.measure import statistics

    out = {}
    detector = frame.detector
    assert detector is not None
    for amp in detector:
        part = frame[amp.trimmed]
        good = part.good()
        step = np.diff(part.image.array.astype(float), axis=1)
        found = statistics(step, ~(good[:, 1:] & good[:, :-1]))
        value = found.sigma / math.sqrt(2)
        # neighbouring steps share a pixel: their variances are correlated by 1/4, which adds half to the variance
        out[amp.name] = (value, value * math.sqrt(1.5) / math.sqrt(2 * max(found.count, 1)))
    return out


def own_noise(gain: Gain, frames: Sequence[Frame]) -> Gain:
    """The gain with the noise of single pixels: see `fullwell.measure.with_pixel_noise`."""
    from fullwell.measure import with_pixel_noise

    return with_pixel_noise(gain, _bias_pairs(frames))


def _bias_pairs(frames: Sequence[Frame]) -> list[tuple[Frame, Frame]]:
    """Successive frames of one temperature, each in one pair."""
    return [p for group in by_temperature(frames) for p in zip(group[::2], group[1::2], strict=False)]


def gain_of(
    detector: Detector,
    header: Observation,
    options: ReduceOptions,
    made: Calibrations,
    flats: Sequence[Frame],
    noise: Mapping[str, tuple[float, float]],
) -> Gain | None:
    """By option, else measured from pairs, else from the header with a note, else the camera's, else none.

    A read noise that the user states is used whatever was measured; that of the header where nothing was.
    """
    names = detector.names
    stated = options.read_noise
    if stated is None and not noise and math.isfinite(header.header_read_noise):
        stated = header.header_read_noise
        made.notes.append(f"Read noise {stated:g} e- taken from the header: there are no bias frames to measure it.")
    measured = np.array([noise.get(n, (math.nan, 0.0))[0] for n in names])
    if options.gain is not None:
        return _fixed(names, options.gain, stated, measured, "option", options.saturation)
    gain = _measured(flats, noise, stated, header, made)
    if gain is not None:
        full = options.saturation
        return gain if full is None else replace(gain, saturation=np.full(len(names), full))
    if math.isfinite(header.header_gain):
        made.notes.append(
            f"Gain {header.header_gain:g} e-/adu taken from the header ({header.sources.get('header_gain', 'GAIN')}): "
            "there is no pair of flats to measure it."
        )
        return _fixed(names, header.header_gain, stated, measured, "header", options.saturation)
    if np.isfinite(detector.values("gain")).all():
        return Gain.of_detector(detector)
    if not np.isfinite(measured).any():
        return None
    nan = np.full(len(names), np.nan)
    return Gain(
        amps=names, gain=nan, gain_error=nan, read_noise=nan, read_noise_error=nan, read_noise_adu=measured,
        estimator="none",
    )  # fmt: skip


def _measured(
    flats: Sequence[Frame],
    noise: Mapping[str, tuple[float, float]],
    stated: float | None,
    header: Observation,
    made: Calibrations,
) -> Gain | None:
    """The gain of pairs of flats; None, with a note, where none can be used."""
    from fullwell.measure import match_pairs, pair_transfer

    pairs = match_pairs(flats, "level")
    if not pairs:
        return None
    try:
        gain, points = pair_transfer(pairs, noise=noise or None)
        if stated is not None:
            for _ in range(2):
                known = zip(gain.amps, stated / gain.gain, strict=True)
                used = {n: (v, 0.0) for n, v in known if math.isfinite(v)}
                gain, points = pair_transfer(pairs, noise=used or None)
            gain = replace(gain, read_noise=np.full(len(gain.amps), stated), read_noise_adu=stated / gain.gain)
    except FullwellError as err:
        made.notes.append(f"No gain from the flats: {err.problem}.")
        return None
    if not np.isfinite(gain.gain).any():
        made.notes.append("No gain from the flats: " + " ".join(gain.notes))
        return None
    made.pairs = len(pairs)
    made.points = _points(points)
    made.notes.append(f"Gain from {len(pairs)} pair{'s' if len(pairs) > 1 else ''} of flats.")
    gain = _adopted(gain, pairs, noise, stated, made)
    if math.isfinite(header.header_gain):
        made.notes.append(_header_note(gain, header, points))
    return gain


def _header_note(gain: Gain, header: Observation, points: Mapping[str, Sequence[PairPoint]]) -> str:
    """What the header says of the gain, how far that is from the measured one, and how significant that is."""
    keyword = header.sources.get("header_gain", "GAIN")
    known = np.isfinite(gain.gain)
    value = float(np.median(gain.gain[known]))
    model = gain.gain * np.array([_shared(points.get(amp, ())) for amp in gain.amps])
    if gain.estimator != "pair":
        model = np.nan_to_num(np.asarray(gain.gain_model_error))
    error = float(np.median(np.hypot(gain.gain_error, model)[known]))
    off = value / header.header_gain - 1
    times = abs(value - header.header_gain) / error if error > 0 else math.inf
    said = f"The header says {header.header_gain:g} e-/adu ({keyword})"
    found = f"the flats give {value:.4g} +- {error:.2g}"
    if times < SIGNIFICANT:
        return (
            f"{said}; {found}, {off:+.1%} from it ({times:.1f} times the error): they agree, the measured gain is used."
        )
    return (
        f"{said}, which is wrong: {found}, {off:+.1%} from it, {times:.0f} times the error, the model's included. "
        "The measured gain is used."
    )


def _shared(points: Sequence[PairPoint]) -> float:
    """How much too large brighter-fatter may make the gain of some pairs, relative.

    It grows in proportion to the level. The pair with the least correlation for its level bounds it; what others have
    more is structure in which their flats differ.
    """
    bounds = [
        (max(p.correlation, 0.0) + p.correlation_error) / p.mean1
        for p in points
        if math.isfinite(p.correlation) and p.mean1 > 0
    ]
    return min(bounds) * float(np.mean([p.mean1 for p in points])) if bounds else 0.0


def _structured(points: Points) -> bool:
    """Whether the covariance in the far half of the lags is significant, and over a tenth of that of neighbours."""
    good, lags = points.good, points.lags
    if lags < 4 or not good.any():
        return False
    i, j = np.indices((lags + 1, lags + 1))
    far = np.maximum(i, j) > lags // 2
    covariance, error = points.covariance[good], points.covariance_errors()[good]
    mean = covariance[:, far].mean(axis=1)
    sigma = np.sqrt((error[:, far] ** 2).sum(axis=1)) / far.sum()
    near = (covariance[:, 0, 1] + covariance[:, 1, 0]) / 2
    return bool(np.any((mean > SIGNIFICANT * sigma) & (mean > 0.1 * near)))


def _adopted(
    gain: Gain,
    pairs: Sequence[tuple[Frame, Frame]],
    noise: Mapping[str, tuple[float, float]],
    stated: float | None,
    made: Calibrations,
) -> Gain:
    """The gain by photon transfer where it is known better than that of the pairs, and agrees with it.

    A gain of pairs is too large by brighter-fatter, by about `gain_model_error`. Photon transfer is free of that, at
    the price of a larger statistical error where there are few levels; and its sum of covariances takes any structure
    in which two flats differ (clouds, stars in twilight) for charge that was shared.
    """
    from fullwell.measure.ptc import ESTIMATORS, ExtractConfig, photon_transfer

    try:
        given = dict(noise)
        if stated is not None:
            given = {a: (v, 0.0) for a, v in zip(gain.amps, stated / gain.gain, strict=True) if math.isfinite(v)}
        ptc = photon_transfer(pairs, noise=given or None, config=ExtractConfig(noise="given" if given else "auto"))
    except FullwellError as err:
        made.notes.append(f"No photon transfer curve from these pairs: {err.problem}.")
        return gain
    known = np.isfinite(gain.gain)
    if ptc.amps != gain.amps or not np.isfinite(ptc.gain[known]).all():
        why = "; ".join(f"{a}: {text}" for a, text in zip(ptc.amps, ptc.status, strict=True) if text)
        made.notes.append(f"The gain is that of pairs, for photon transfer gives none ({why or 'other amplifiers'}).")
        return gain
    if ptc.estimator not in ESTIMATORS or ESTIMATORS[ptc.estimator].biased:
        made.notes.append("The pairs allow no gain that is free of brighter-fatter: that of the pairs is used.")
        return gain
    if any(map(_structured, ptc.points)):
        made.notes.append(
            "Pixels far from each other are correlated: flats of a pair differ in structure (clouds, stars, a source "
            "that moved), which photon transfer cannot tell from shared charge. The gain of the pairs is used."
        )
        return gain
    assert gain.gain_model_error is not None
    own = np.hypot(gain.gain_error, np.nan_to_num(gain.gain_model_error))[known]
    other = np.hypot(ptc.gain_error, np.nan_to_num(ptc.gain_model_error))[known]
    apart = np.abs(ptc.gain - gain.gain)[known]
    said = f"Photon transfer ({ptc.estimator}) gives {np.median(ptc.gain[known]):.4g} +- {np.median(other):.2g} e-/adu"
    if np.any(apart > SIGNIFICANT * np.hypot(own, other)):
        made.notes.append(
            f"{said}, {np.max(apart / gain.gain[known]):.0%} from the gain of the pairs: more than brighter-fatter "
            "explains, so that the gain of the pairs is used."
        )
        return gain
    if not np.median(other) < np.median(own):
        made.notes.append(f"{said}: it agrees with the gain of the pairs, which is known better and is used.")
        return gain
    made.notes.append(f"{said}, free of brighter-fatter: it is used in place of the gain of the pairs.")
    ratio = ptc.gain / gain.gain
    biased = ("disagree (chi^2", "(gain_model_error)")
    return replace(
        gain, gain=ptc.gain, gain_error=ptc.gain_error, gain_model_error=ptc.gain_model_error,
        read_noise=gain.read_noise * (ratio if stated is None else 1.0), estimator=ptc.estimator,
        read_noise_error=gain.read_noise_error * (ratio if stated is None else 1.0),
        read_noise_adu=gain.read_noise_adu if stated is None else stated / ptc.gain,
        notes=tuple(n for n in gain.notes if not any(word in n for word in biased)), id="",
    )  # fmt: skip


def _points(found: Mapping[str, Sequence[PairPoint]]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Amplifier -> (means [adu], variances of one image [adu2]), for the figure; without those that have no pair."""
    return {
        name: (np.array([p.mean for p in points]), np.array([p.single_variance for p in points]))
        for name, points in found.items()
        if points
    }


def _fixed(
    names: tuple[str, ...],
    gain: float,
    read_noise: float | None,
    measured_adu: np.ndarray,
    estimator: str,
    saturation: float | None,
) -> Gain:
    n = len(names)
    nan = np.full(n, np.nan)
    return Gain(
        amps=names,
        gain=np.full(n, gain),
        gain_error=nan,
        read_noise=measured_adu * gain if read_noise is None else np.full(n, float(read_noise)),
        read_noise_error=nan,
        saturation=None if saturation is None else np.full(n, saturation),
        estimator=estimator,
    )
