"""Photon transfer of each amplifier: the measured points, the fits, every estimator of the gain, and what was adopted.

Units: levels, means and read noise of points in adu above the pedestal, variances and covariances in adu2 of ONE
image (half that of a difference); gains in electron/adu; `a`, `b` in 1/electron, `a00` negative; `noise_matrix` in
electron2. Covariances and matrices are indexed ``[..., i, j]``, i the serial lag (x), j the parallel lag (y).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fullwell.base.errors import GeometryError
from fullwell.products.base import Product
from fullwell.products.gain import Gain

__all__ = ["Estimate", "Points", "Ptc"]

F8 = NDArray[np.float64]
SCALARS = (
    *("gain", "gain_error", "gain_model_error", "read_noise", "read_noise_error", "read_noise_adu", "a00", "a00_error"),
    *("chi2", "turnoff", "turnoff_error", "rolloff", "rolloff_error", "rolloff_tau", "rolloff_tau_error"),
    *("range_low", "range_high"),
)
"""Fields of `Ptc` with one number per amplifier."""


@dataclass(frozen=True, kw_only=True)
class Points:
    """What was measured of one amplifier: n pairs of flats, one entry each, NaN where nothing could be measured.

    Parameters
    ----------
    amp : name of the amplifier.
    mean : (n,) average of the clipped means of the two flats [adu]; delta : second minus first [adu].
    variance : (n,) half the clipped variance of the difference of the flats, both scaled to the common mean, divided
        by the factor of the clip [adu2]; variance_error : its standard error.
    raw_variance : (n,) the same without any clip, as a sheet of the class would have it.
    ratio : (n,) <(I1 - I2)^2 / (I1 + I2)> of flats that are neither scaled nor clipped, 1/gain of the pair formula
        [adu]; ratio_error; ratio_median : (n,) median of that image, which is a chi-square, times nothing.
    noise : (n,) read noise at the pair, from overscan or bias pairs [adu]; noise_error.
    exposure_time : (n,) [s]; charge : (n,) of a photodiode, any unit; mjd : (n,) start of the first flat.
    temperature : (n,) [Celsius]; overscan : (n,) median level of the overscan [adu].
    row_variance : (n,) variance of the means of rows of the difference [adu2], expected 2 V / columns.
    covariance : (n, L + 1, L + 1) [adu2]; pixels : (n, L + 1, L + 1) pairs of pixels behind each; L may be 0.
    ks, hist_variance, hist_chi2 : (n,) probability of the Kolmogorov-Smirnov test of the difference against a Gaussian,
        variance and reduced chi2 of the Gaussian fitted to its histogram.
    rejected : (n,) share of the pixels that were clipped as hit by cosmic rays or defects.
    columns : mean number of columns used, for `row_variance`.
    reasons : n texts, "" for a good point, else why it takes no part in any fit.
    notes : n texts, what is odd about a point that is used all the same (levels that differ, a lamp that drifts).
    clip_factor : what the clip left of the variance of a Gaussian; `variance` has been divided by it.
    """

    amp: str
    mean: F8
    variance: F8
    delta: F8 = field(default_factory=lambda: np.zeros(0))
    variance_error: F8 = field(default_factory=lambda: np.zeros(0))
    raw_variance: F8 = field(default_factory=lambda: np.zeros(0))
    ratio: F8 = field(default_factory=lambda: np.zeros(0))
    ratio_error: F8 = field(default_factory=lambda: np.zeros(0))
    ratio_median: F8 = field(default_factory=lambda: np.zeros(0))
    noise: F8 = field(default_factory=lambda: np.zeros(0))
    noise_error: F8 = field(default_factory=lambda: np.zeros(0))
    exposure_time: F8 = field(default_factory=lambda: np.zeros(0))
    charge: F8 = field(default_factory=lambda: np.zeros(0))
    mjd: F8 = field(default_factory=lambda: np.zeros(0))
    temperature: F8 = field(default_factory=lambda: np.zeros(0))
    overscan: F8 = field(default_factory=lambda: np.zeros(0))
    row_variance: F8 = field(default_factory=lambda: np.zeros(0))
    ks: F8 = field(default_factory=lambda: np.zeros(0))
    hist_variance: F8 = field(default_factory=lambda: np.zeros(0))
    hist_chi2: F8 = field(default_factory=lambda: np.zeros(0))
    rejected: F8 = field(default_factory=lambda: np.zeros(0))
    covariance: F8 = field(default_factory=lambda: np.zeros((0, 0, 0)))
    pixels: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 0, 0), np.int64))
    columns: float = float("nan")
    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    clip_factor: float = 1.0

    def __post_init__(self) -> None:
        n = np.asarray(self.mean).size
        skip = ("amp", "columns", "reasons", "covariance", "pixels", "notes", "clip_factor")
        for name in (f.name for f in fields(self) if f.name not in skip):
            values = np.asarray(getattr(self, name), np.float64).ravel()
            if values.size == 0:
                values = np.full(n, np.nan)
            if values.size != n:
                raise GeometryError(f"{name} has {values.size} values for {n} pairs", where=f"amplifier {self.amp}")
            object.__setattr__(self, name, values)
        cov = np.asarray(self.covariance, np.float64)
        if cov.size == 0:
            cov = np.asarray(self.variance, np.float64).reshape(n, 1, 1).copy()
        pixels = np.asarray(self.pixels, np.int64)
        if pixels.size == 0:
            pixels = np.zeros(cov.shape, np.int64)
        if cov.shape[0] != n or cov.shape[1] != cov.shape[2] or pixels.shape != cov.shape:
            raise GeometryError(f"covariances of shape {cov.shape} for {n} pairs", where=f"amplifier {self.amp}")
        object.__setattr__(self, "covariance", cov)
        object.__setattr__(self, "pixels", pixels)
        for name in ("reasons", "notes"):
            texts = tuple(getattr(self, name)) or ("",) * n
            object.__setattr__(self, name, texts)
            if len(texts) != n:
                raise GeometryError(f"{len(texts)} {name} for {n} pairs", where=f"amplifier {self.amp}")

    def __len__(self) -> int:
        return int(self.mean.size)

    @property
    def lags(self) -> int:
        """Largest lag measured."""
        return self.covariance.shape[1] - 1

    @property
    def good(self) -> NDArray[np.bool_]:
        """(n,) points without a reason against them, and with a finite mean and variance."""
        clean = np.array([not reason for reason in self.reasons], bool)
        return clean & np.isfinite(self.mean) & np.isfinite(self.variance)

    def covariance_errors(self) -> F8:
        """(n, L + 1, L + 1) standard errors [adu2]: V / sqrt(pairs), times sqrt(2) at lag (0, 0)."""
        with np.errstate(divide="ignore", invalid="ignore"):
            error = self.covariance[:, :1, :1] / np.sqrt(self.pixels)
        error = np.array(np.broadcast_to(error, self.covariance.shape))
        error[:, 0, 0] *= np.sqrt(2)
        return error


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """The gain of one amplifier by one estimator.

    Parameters
    ----------
    name : of the estimator; gain, error : [electron/adu], statistical.
    found : gain over that of the reference estimator; found_error : of that ratio.
    predicted : the same ratio when the estimator is run on the fitted curve at the points of the user.
    biased : whether brighter-fatter makes it differ from the gain; low, high : signals used [adu]; points : how many.
    reason : why there is no value, "" if there is one; note : a sentence for people.
    """

    name: str
    gain: float
    error: float = float("nan")
    found: float = float("nan")
    found_error: float = float("nan")
    predicted: float = float("nan")
    biased: bool = False
    low: float = float("nan")
    high: float = float("nan")
    points: int = 0
    reason: str = ""
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Ptc(Product):
    """Photon transfer of a detector. Arrays by amplifier have shape (n_amp,) unless said, NaN where unknown.

    Parameters
    ----------
    amps : amplifier names.
    gain, gain_error, gain_model_error : adopted [electron/adu], statistical and systematic error.
    read_noise, read_noise_error : [electron]; read_noise_adu [adu].
    a00, a00_error : [1/electron], negative; chi2 : reduced, of the fit of `fit_type`.
    turnoff, turnoff_error : [adu] highest good mean, and half the distance of its neighbours; rolloff, rolloff_error,
        rolloff_tau, rolloff_tau_error : [adu] where the variance leaves the model.
    a, a_error, b : (n_amp, M, M) [1/electron]; noise_matrix : (n_amp, M, M) [electron2].
    fit_type : "EXPAPPROXIMATION", "FULLCOVARIANCE", "FULLCOVARIANCE_NO_B" …; estimator : of the adopted gain, e.g.
        "fullcov", "exp", "cov_sum", "pair"; "" where the origin does not say.
    range_low, range_high : signals used [adu].
    status : by amplifier, "" or why it has no gain.
    points, estimates, diagnosis : by amplifier: what was measured, every estimator, sentences of what bends the curve.
    pairs : ids of the two flats of each pair.
    model : (n_amp, n) variance of the fitted model at each point [adu2]; used : (n_amp, n) points of the fit.
    covariance_model : (n_amp, n, M, M) covariances of the fitted model [adu2].
    models : name -> (n_amp, n) variance of every model that was fitted at each point [adu2], for comparison.
    """

    kind: ClassVar[str] = "ptc"
    schema: ClassVar[str] = "fullwell/ptc"
    content: ClassVar[tuple[str, ...]] = (
        *("amps", "gain", "read_noise", "read_noise_adu", "a00", "turnoff", "fit_type", "estimator"),
        *("a", "b", "noise_matrix", "points"),
    )

    amps: tuple[str, ...]
    gain: F8
    gain_error: F8
    gain_model_error: F8 = field(default_factory=lambda: np.zeros(0))
    read_noise: F8 = field(default_factory=lambda: np.zeros(0))
    read_noise_error: F8 = field(default_factory=lambda: np.zeros(0))
    read_noise_adu: F8 = field(default_factory=lambda: np.zeros(0))
    a00: F8 = field(default_factory=lambda: np.zeros(0))
    a00_error: F8 = field(default_factory=lambda: np.zeros(0))
    chi2: F8 = field(default_factory=lambda: np.zeros(0))
    turnoff: F8 = field(default_factory=lambda: np.zeros(0))
    turnoff_error: F8 = field(default_factory=lambda: np.zeros(0))
    rolloff: F8 = field(default_factory=lambda: np.zeros(0))
    rolloff_error: F8 = field(default_factory=lambda: np.zeros(0))
    rolloff_tau: F8 = field(default_factory=lambda: np.zeros(0))
    rolloff_tau_error: F8 = field(default_factory=lambda: np.zeros(0))
    range_low: F8 = field(default_factory=lambda: np.zeros(0))
    range_high: F8 = field(default_factory=lambda: np.zeros(0))
    a: F8 = field(default_factory=lambda: np.zeros((0, 0, 0)))
    a_error: F8 = field(default_factory=lambda: np.zeros((0, 0, 0)))
    b: F8 = field(default_factory=lambda: np.zeros((0, 0, 0)))
    noise_matrix: F8 = field(default_factory=lambda: np.zeros((0, 0, 0)))
    fit_type: str = ""
    estimator: str = ""
    status: tuple[str, ...] = ()
    points: tuple[Points, ...] = ()
    estimates: tuple[tuple[Estimate, ...], ...] = ()
    diagnosis: tuple[tuple[str, ...], ...] = ()
    pairs: tuple[tuple[str, str], ...] = ()
    model: F8 = field(default_factory=lambda: np.zeros((0, 0)))
    used: NDArray[np.bool_] = field(default_factory=lambda: np.zeros((0, 0), bool))
    covariance_model: F8 = field(default_factory=lambda: np.zeros((0, 0, 0, 0)))
    models: Mapping[str, F8] = field(default_factory=dict)

    def _settle(self) -> None:
        n = len(self.amps)
        for name in SCALARS:
            values = np.asarray(getattr(self, name), np.float64)
            values = np.full(n, np.nan) if values.size == 0 else values
            if values.shape != (n,):
                raise GeometryError(f"{name} has shape {values.shape} for {n} amplifiers")
            object.__setattr__(self, name, values)
        for name in ("status", "estimates", "diagnosis"):
            if not getattr(self, name):
                object.__setattr__(self, name, ("" if name == "status" else (),) * n)

        if self.points and tuple(p.amp for p in self.points) != self.amps:
            raise GeometryError(
                f"points of amplifiers {', '.join(p.amp for p in self.points)} for {', '.join(self.amps)}",
                where=self.source or None,
            )

    def _parts(self) -> list[Any]:
        values = [getattr(self, name) for name in self.content if name != "points"]
        measured = [(p.amp, p.mean, p.variance, p.covariance, p.reasons) for p in self.points]
        return [self.kind, *values, *(part for point in measured for part in point)]

    def facts(self) -> dict[str, str]:
        """Amplifiers, pairs, estimator, fit, median gain and noise, amplifiers without a gain."""
        out = {"amplifiers": f"{len(self.amps)}", "estimator": self.estimator or "not stated"}
        if self.fit_type:
            out["fit"] = self.fit_type
        if self.points:
            out["pairs of flats"] = f"{max(map(len, self.points))}"
        for name, values, unit in (
            *(("gain", self.gain, "electron/adu"), ("read noise", self.read_noise, "electron")),
            *(("a00", self.a00, "1/electron"), ("turnoff", self.turnoff, "adu")),
        ):
            if np.isfinite(values).any():
                out[name] = f"{np.nanmedian(values):.4g} {unit} (median)"
        lost = [f"{a} ({why})" for a, why in zip(self.amps, self.status, strict=True) if why]
        return {**out, "without a gain": "; ".join(lost)} if lost else out

    def amplifier(self, name: str) -> int:
        """Index of amplifier `name`; GeometryError where there is none."""
        if name not in self.amps:
            raise GeometryError(
                f"the photon transfer has no amplifier '{name}'", remedy=f"it has {', '.join(self.amps)}"
            )
        return self.amps.index(name)

    def to_gain(self) -> Gain:
        """What ISR takes from it: gain, read noise, turnoff, with the estimator and the range of signals."""
        low, high = self.range_low[np.isfinite(self.range_low)], self.range_high[np.isfinite(self.range_high)]
        return Gain(
            amps=self.amps, gain=self.gain, gain_error=self.gain_error, gain_model_error=self.gain_model_error,
            read_noise=self.read_noise, read_noise_error=self.read_noise_error, read_noise_adu=self.read_noise_adu,
            turnoff=self.turnoff, estimator=self.estimator, observation=self.observation,
            inputs=(self.id,), ptc=self.id,
            range=(float(low.min()), float(high.max())) if low.size and high.size else (np.nan, np.nan),
            history=self.history, notes=self.notes, source=self.source,
        )  # fmt: skip

    def to_table(self) -> Any:
        """An astropy table, one row per amplifier, of the adopted numbers."""
        from astropy.table import QTable

        table = QTable()
        table["amplifier"] = list(self.amps)
        units = {"gain": "electron/adu", "read_noise": "electron", "read_noise_adu": "adu", "a00": "1/electron",
                 "chi2": ""}  # fmt: skip
        for name in SCALARS:
            stem = name.removesuffix("_error").removesuffix("_model")
            table[name] = getattr(self, name)
            table[name].unit = units.get(stem, "adu")
        table["status"] = list(self.status)
        table.meta.update(schema=self.schema, version=self.version, estimator=self.estimator, id=self.id,
                          fit_type=self.fit_type)  # fmt: skip
        return table

    def to_tables(self) -> dict[str, Any]:
        """Name -> astropy table, all that the product holds; see `fullwell.products.ptc_tables`."""
        from fullwell.products.ptc_tables import tables_of_ptc

        return tables_of_ptc(self)

    @classmethod
    def from_tables(cls, tables: Mapping[str, Any], meta: Mapping[str, Any], **more: Any) -> Ptc:
        """The product of its tables; FileError where one is missing or lacks a column."""
        from fullwell.products.ptc_tables import ptc_of_tables

        return ptc_of_tables(tables, meta, **more)

    @classmethod
    def from_table(cls, table: Any, **more: Any) -> Ptc:
        """The product of one table: of the LSST library, or the adopted numbers as `to_table` gives them.

        Raises
        ------
        FileError
            a column is missing.
        """
        if "AMPLIFIER_NAME" in table.colnames:
            from fullwell.products.lsst_ptc import from_lsst

            return from_lsst(table, **more)
        meta = {str(key).lower(): value for key, value in table.meta.items()}
        return cls.from_tables({"AMPLIFIERS": table}, meta, **more)

    def to_lsst(self) -> Any:
        """The table of the LSST library; see `fullwell.products.lsst_ptc`."""
        from fullwell.products.lsst_ptc import to_lsst

        return to_lsst(self)
