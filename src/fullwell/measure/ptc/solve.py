"""From the points of all amplifiers to the product: fits, estimators, diagnosis, and the gain that is taken.

One amplifier that fails has NaN and a sentence in `status`; the others are unharmed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fullwell.base.config import StepConfig
from fullwell.base.errors import FullwellError, UsageError
from fullwell.base.provenance import Record
from fullwell.frames import Observation
from fullwell.measure.ptc.adopt import Adopted, adopt, common
from fullwell.measure.ptc.estimators import estimate_all
from fullwell.measure.ptc.fit import Fit
from fullwell.measure.ptc.fitconfig import FitConfig
from fullwell.measure.ptc.fitting import fit
from fullwell.measure.ptc.ratios import RatioConfig, adjust_gains
from fullwell.measure.ptc.turnoff import turnoff
from fullwell.products import Estimate, Points, Ptc

__all__ = ["SolveConfig", "Solved", "solve", "solve_amplifier"]

F8 = NDArray[np.float64]
FIT_TYPES = {"fullcov": "FULLCOVARIANCE", "fullcov_no_b": "FULLCOVARIANCE_NO_B"}
MATRICES = ("a", "a_error", "b", "noise_matrix")


class SolveConfig(StepConfig):
    """What is fitted, and which gain is taken."""

    fit: FitConfig = Field(default=FitConfig(), description="points, weights and options of the fits")
    estimator: str = Field(
        default="auto", description="of the adopted gain; auto: the best that is free of brighter-fatter"
    )
    full: Literal["auto", "fullcov", "fullcov_no_b", "none"] = Field(
        default="auto", description="fit of all covariances; auto: b is free where the data of the detector ask for it"
    )
    simple: tuple[str, ...] = Field(
        default=("line", "quadratic", "power", "eotest"), description="models for comparison"
    )
    ratios: RatioConfig = Field(
        default=RatioConfig(), description="how flats make gains continuous, where they are given"
    )
    diagnose: bool = Field(default=True, description="say what bends the curve")


@dataclass(frozen=True)
class Solved:
    """One amplifier: `points` with the reasons of the selection, `fits` by model, estimates, diagnosis, `adopted`.

    turnoff : turnoff, its error, roll-off, its error, tau, its error [adu], NaN where unknown.
    """

    points: Points
    fits: Mapping[str, Fit] = field(default_factory=dict)
    estimates: tuple[Estimate, ...] = ()
    diagnosis: tuple[str, ...] = ()
    adopted: Adopted = field(default_factory=Adopted)
    turnoff: tuple[float, ...] = (math.nan,) * 6

    @property
    def model(self) -> Fit | None:
        """The fit behind the adopted gain, else the best there is; None without any."""
        from fullwell.measure.ptc.predict import curve_fit

        return curve_fit(self.fits, self.adopted.estimator)


def _settled(points: Sequence[Points], config: SolveConfig) -> SolveConfig:
    """The settings with "auto" decided: b is free where chi2 falls by more than its parameters explain, 4 sigma.

    One choice for the detector. A free b that the data do not ask for costs more than errors: in small amplifiers
    the squares of many noisy coefficients pull a00 (measured: by a whole sigma at 65,000 pixels and 8 lags).
    """
    if config.full != "auto":
        return config
    fall, freed = 0.0, 0
    for item in points:
        if not item.good.any() or item.lags < 1:
            continue
        marked, fits = _fits(item, config.model_copy(update={"full": "fullcov_no_b", "simple": ()}))
        without = fits["fullcov_no_b"]
        with_b = fit("fullcov", marked, config.fit, None if fits["exp"].failure else fits["exp"])
        if not (without.failure or with_b.failure):
            fall += without.chi2 - with_b.chi2
            freed += without.dof - with_b.dof
    asked = freed > 0 and fall > freed + 4 * math.sqrt(2 * freed)
    return config.model_copy(update={"full": "fullcov" if asked else "fullcov_no_b"})


def _fits(points: Points, config: SolveConfig) -> tuple[Points, dict[str, Fit]]:
    """All fits, and the points with the reasons of the exponential's selection beside their own."""
    fits = {"exp": fit("exp", points, config.fit)}
    first = fits["exp"]
    marked = points
    if not first.failure and len(first.reasons) == len(points):
        reasons = (old or new for old, new in zip(points.reasons, first.reasons, strict=True))
        marked = replace(points, reasons=tuple(reasons))
    start = None if first.failure else first
    for model in config.simple:
        fits[model] = fit(model, marked, config.fit, start)
    if config.full != "none" and points.lags > 0:
        fits[config.full] = fit(config.full, marked, config.fit, start)
    return marked, fits


def _turnoff(points: Points, first: Fit, config: FitConfig) -> tuple[float, ...]:
    if first.failure:
        return (math.nan,) * 6
    found = turnoff(points, first, config)
    return (found.value, found.error, found.rolloff, found.rolloff_error, found.tau, found.tau_error)


def solve_amplifier(points: Points, config: SolveConfig | None = None, extra: tuple[Estimate, ...] = ()) -> Solved:
    """Fits, estimators and diagnosis of one amplifier.

    Parameters
    ----------
    extra : estimates from elsewhere, put beside the others.

    Returns
    -------
    Solved. What hinders a gain stands in `adopted.failure`; data never raise.
    """
    from fullwell.measure.ptc.diagnosis import diagnose

    config = _settled([points], config or SolveConfig())
    if not points.good.any():
        reasons = sorted({reason for reason in points.reasons if reason}) or ["no pair has a mean and a variance"]
        text = f"none of {len(points)} pairs is usable: {reasons[0]}"
        return Solved(points, adopted=Adopted(failure=text), diagnosis=(text,))
    marked, fits = _fits(points, config)
    estimates = estimate_all(marked, fits, extra, config.fit)
    adopted = adopt(estimates, estimator=config.estimator, lags=points.lags)
    said = diagnose(marked, fits, estimates) if config.diagnose else ()
    return Solved(marked, fits, estimates, said, adopted, _turnoff(points, fits["exp"], config.fit))


def solve(
    points: Sequence[Points],
    config: SolveConfig | None = None,
    *,
    pairs: Sequence[tuple[str, str]] = (),
    observation: Observation | None = None,
    inputs: Sequence[str] = (),
    notes: Sequence[str] = (),
    extra: Mapping[str, tuple[Estimate, ...]] | None = None,
    flats: Sequence[NDArray] = (),
    amp_of: NDArray[np.integer] | None = None,
) -> Ptc:
    """The photon transfer of a detector.

    Parameters
    ----------
    points : one entry for each amplifier, each of the same pairs.
    pairs : ids of the flats of each pair; observation : of the first flat; inputs : ids of the frames.
    extra : amplifier -> estimates from elsewhere (`fullwell.measure.ptc.eotable`).
    flats, amp_of : images of the whole detector [adu] and the index of the amplifier of each pixel: with them the gains
        are made continuous (`fullwell.measure.ptc.ratios`); metadata keeps them as they were.

    Returns
    -------
    Ptc

    Raises
    ------
    UsageError
        no amplifier, amplifiers with different numbers of pairs, an estimator that does not exist, or flats without
        `amp_of`.
    """
    config = config or SolveConfig()
    if not points:
        raise UsageError("there are no points to solve", remedy="measure pairs of flats first")
    counts = sorted({len(item) for item in points})
    if len(counts) > 1:
        raise UsageError(f"amplifiers have {' and '.join(map(str, counts))} pairs", remedy="give each the same pairs")
    config = _settled(points, config)
    solved = [_unharmed(item, config, (extra or {}).get(item.amp, ())) for item in points]
    name = common([item.adopted for item in solved])
    model = next((item.model for item in solved if item.adopted.estimator == name and item.model), None)
    values: dict[str, Any] = {key: np.array([get(item) for item in solved]) for key, get in _COLUMNS.items()}
    values |= _noise(solved) | _matrices(solved)
    told, before = list(notes), values["gain"]
    if len(flats) and amp_of is None:
        raise UsageError("flats without the amplifier of each pixel", remedy="give amp_of too")
    if amp_of is not None and len(flats):
        told += _continuous(values, flats, amp_of, config.ratios, [item.amp for item in points])
    return Ptc(
        amps=tuple(item.amp for item in points), **values,
        fit_type=FIT_TYPES.get(model.model, "EXPAPPROXIMATION") if model else "", estimator=name,
        status=tuple(item.adopted.failure for item in solved), points=tuple(item.points for item in solved),
        estimates=tuple(item.estimates for item in solved), diagnosis=tuple(item.diagnosis for item in solved),
        pairs=tuple(pairs), model=_curves(solved, [item.model for item in solved]), used=_used(solved),
        covariance_model=_covariance_models(solved), models=_all_curves(solved),
        observation=observation or Observation(),
        inputs=tuple(inputs), notes=(*told, *_notes(solved, name)),
        history=(_record(solved, config, name),), metadata={"gain_unadjusted": before.tolist()} if len(flats) else {},
    )  # fmt: skip


def _continuous(
    values: dict[str, Any],
    flats: Sequence[NDArray],
    amp_of: NDArray[np.integer],
    config: RatioConfig,
    amps: Sequence[str],
) -> list[str]:
    """Divide gain, its errors and read noise by the corrections; sentences of what was done."""
    found = adjust_gains(values["gain"], flats, amp_of, config)
    for name in ("gain", "gain_error", "gain_model_error", "read_noise", "read_noise_error"):
        values[name] = values[name] / found.correction
    largest = 100 * float(np.abs(found.correction - 1).max())
    told = [f"gains were made continuous with {found.flats} flats, by {largest:.2g} % at most"]
    if found.left:
        told.append(
            f"gains not made continuous, without light or too far off: {', '.join(amps[k] for k in found.left)}"
        )
    return told


def _unharmed(points: Points, config: SolveConfig, extra: tuple[Estimate, ...]) -> Solved:
    try:
        return solve_amplifier(points, config, extra)
    except UsageError:
        raise
    except (FullwellError, ArithmeticError, ValueError, IndexError) as err:
        text = err.problem if isinstance(err, FullwellError) else f"the solution broke down: {err}"
        return Solved(points, adopted=Adopted(failure=text), diagnosis=(text,))


def _of_model(name: str) -> Callable[[Solved], float]:
    return lambda item: float(getattr(item.model, name)) if item.model else math.nan


def _of_turnoff(place: int) -> Callable[[Solved], float]:
    return lambda item: float(item.turnoff[place])


_COLUMNS: Mapping[str, Callable[[Solved], float]] = {
    "gain": lambda item: item.adopted.gain,
    "gain_error": lambda item: item.adopted.error,
    "gain_model_error": lambda item: item.adopted.model_error,
    "range_low": lambda item: item.adopted.low,
    "range_high": lambda item: item.adopted.high,
    "a00": _of_model("a00"),
    "a00_error": _of_model("a00_error"),
    "chi2": _of_model("reduced_chi2"),
    **{
        name: _of_turnoff(place)
        for place, name in enumerate(
            ("turnoff", "turnoff_error", "rolloff", "rolloff_error", "rolloff_tau", "rolloff_tau_error")
        )
    },
}


def _noise(solved: Sequence[Solved]) -> dict[str, F8]:
    """Read noise: the measured one where there is any, times the adopted gain; else that of the fit."""
    out = np.full((3, len(solved)), np.nan)
    for k, item in enumerate(solved):
        noise, gain = item.points.noise, item.adopted.gain
        known = np.isfinite(noise)
        if known.any():
            adu = float(np.median(noise[known]))
            errors = item.points.noise_error[known]
            spread = np.median(errors) if np.isfinite(errors).all() else np.std(noise[known])
            error = 1.2533 * float(spread) / math.sqrt(known.sum())
            out[:, k] = adu * gain, math.hypot(error * gain, adu * item.adopted.error), adu
        elif item.model and item.model.gain > 0:
            out[:, k] = item.model.noise, item.model.noise_error, item.model.noise / item.model.gain
    return {"read_noise": out[0], "read_noise_error": out[1], "read_noise_adu": out[2]}


def _matrices(solved: Sequence[Solved]) -> dict[str, F8]:
    """Matrices of the full-covariance fits, (n_amp, M, M), NaN where an amplifier has none."""
    full = [next((item.fits[n] for n in FIT_TYPES if n in item.fits), None) for item in solved]
    side = max((f.a.shape[0] for f in full if f and not f.failure), default=0)
    out: dict[str, F8] = {}
    for name in MATRICES if side else ():
        out[name] = np.full((len(solved), side, side), np.nan)
        for k, one in enumerate(full):
            matrix = getattr(one, name) if one and not one.failure else np.zeros((0, 0))
            out[name][k, : matrix.shape[0], : matrix.shape[0]] = matrix
    return out


def _curves(solved: Sequence[Solved], models: Sequence[Fit | None]) -> F8:
    """(n_amp, n) variance of a model of each amplifier at each mean [adu2]."""
    out = np.full((len(solved), len(solved[0].points)), np.nan)
    for k, (item, model) in enumerate(zip(solved, models, strict=True)):
        known = np.isfinite(item.points.mean)
        if model is not None and not model.failure and model.curve and known.any():
            out[k, known] = model.curve(item.points.mean[known])
    return out


def _all_curves(solved: Sequence[Solved]) -> dict[str, F8]:
    """The curve of every model that was fitted."""
    names = dict.fromkeys(name for item in solved for name in item.fits)
    return {name: _curves(solved, [item.fits.get(name) for item in solved]) for name in names}


def _covariance_models(solved: Sequence[Solved]) -> F8:
    """(n_amp, n, M, M) covariances of the model at each mean [adu2]; empty where no model has any."""
    models = [item.model for item in solved]
    side = max((m.a.shape[0] for m in models if m is not None and m.covariances is not None), default=0)
    out = np.full((len(solved), len(solved[0].points) if side else 0, side, side), np.nan)
    for k, (item, model) in enumerate(zip(solved, models, strict=True)):
        known = np.isfinite(item.points.mean)
        if side and model is not None and model.covariances is not None and known.any():
            values = model.covariances(item.points.mean[known])
            out[k, known, : values.shape[1], : values.shape[2]] = values
    return out if side else np.zeros((0, 0, 0, 0))


def _used(solved: Sequence[Solved]) -> NDArray[np.bool_]:
    out = np.zeros((len(solved), len(solved[0].points)), bool)
    for k, item in enumerate(solved):
        if item.model and item.model.used.size == out.shape[1]:
            out[k] = item.model.used
    return out


def _notes(solved: Sequence[Solved], name: str) -> list[str]:
    notes = []
    for item in solved:
        own, amp = item.adopted, item.points.amp
        if own.note:
            notes.append(f"amplifier {amp}: gain of {own.estimator}, {own.note}")
        elif own.estimator and own.estimator != name:
            notes.append(f"amplifier {amp}: gain of {own.estimator}, the others have that of {name}")
    return notes


def _record(solved: Sequence[Solved], config: SolveConfig, name: str) -> Record:
    failed = [item.points.amp for item in solved if item.adopted.failure]
    numbers: dict[str, Any] = {"amplifiers": len(solved), "pairs": len(solved[0].points), "failed": len(failed)}
    return Record(
        step="ptc_solve", config=config.model_dump(mode="json"), numbers=numbers,
        note=f"gain by {name}" + (f"; no gain: {', '.join(failed)}" if failed else ""),
    )  # fmt: skip
