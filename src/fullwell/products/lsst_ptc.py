"""The photon transfer table of the LSST library (PhotonTransferCurveDataset 2.6), written and read.

One row per amplifier; what belongs to the n pairs, and matrices, stand flattened in cells. Units as ours (adu, adu2,
electron, 1/electron), with one trap: NOISE is in electron, NOISE_LIST, the read noise at each pair, in adu. The table
holds a00 as the first of PTC_FIT_PARS where the fit is an exponential, else as the first of A_MATRIX; it is negative
in both.

What the table has no place for does not come back: ids of pairs that are no integers, errors of A_MATRIX, the
systematic error of the gain, the other estimators, the ratio images, reasons in words. FULLWELL ESTIMATOR in the header
says what the gain is where PTC_FIT_TYPE cannot.

Read are also older versions: before 1.1 there is no turnoff; before 1.9 NOISE of a full covariance fit is squared;
columns that came later are NaN; without EXP_ID_ROLLOFF_MASK no point is beyond a roll-off.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fullwell.base.errors import FileError
from fullwell.frames import Observation
from fullwell.products.ptc import Points, Ptc

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["VERSION", "from_lsst", "to_lsst"]

VERSION = 2.6
NO_ID = -1
"""Exposure id of a flat whose id is no integer."""
TEMPERATURE = "PTCAUX_CCDTEMP"
_ESTIMATORS = {"EXPAPPROXIMATION": "exp", "FULLCOVARIANCE": "fullcov", "FULLCOVARIANCE_NO_B": "fullcov",
               "POLYNOMIAL": "polynomial"}  # fmt: skip
_PER_PAIR = {
    "exposure_time": "RAW_EXP_TIMES",
    "mean": "RAW_MEANS",
    "variance": "RAW_VARS",
    "delta": "RAW_DELTAS",
    "row_variance": "ROW_MEAN_VARIANCE",
    "charge": "PHOTO_CHARGE",
    "hist_variance": "HIST_VARS",
    "hist_chi2": "HIST_CHI2_DOFS",
    "ks": "KS_PVALUES",
    "noise": "NOISE_LIST",
    "overscan": "OVERSCAN_MEDIAN_LIST",
    "mjd": "INPUT_EXP_PAIR_MJD_START",
    "temperature": TEMPERATURE,
}
_PER_AMP = {
    "gain": "GAIN",
    "gain_error": "GAIN_ERR",
    "read_noise": "NOISE",
    "read_noise_error": "NOISE_ERR",
    "chi2": "PTC_FIT_CHI_SQ",
    "turnoff": "PTC_TURNOFF",
    "turnoff_error": "PTC_TURNOFF_SAMPLING_ERROR",
    "rolloff": "PTC_ROLLOFF",
    "rolloff_error": "PTC_ROLLOFF_ERROR",
    "rolloff_tau": "PTC_ROLLOFF_TAU",
    "rolloff_tau_error": "PTC_ROLLOFF_TAU_ERROR",
}
_SIGMA = 1.482602218505602
"""Standard deviation of a Gaussian over its median absolute deviation."""

F8 = NDArray[np.float64]


def to_lsst(ptc: Ptc) -> Table:
    """The astropy table of the library's version 2.6; its meta is the header.

    A fit type that the library does not know ("" of a gain without a fit) is written as PARTIAL.
    """
    from astropy.table import Table

    n = max((len(p) for p in ptc.points), default=0)
    side = max((p.lags + 1 for p in ptc.points), default=1)
    full = ptc.a.shape[1] if ptc.a.size else side
    kind = ptc.fit_type if ptc.fit_type in _ESTIMATORS else "PARTIAL"
    columns: dict[str, Any] = {
        "AMPLIFIER_NAME": list(ptc.amps),
        "PTC_FIT_TYPE": [kind] * len(ptc.amps),
        "COV_MATRIX_SIDE": [side] * len(ptc.amps),
        "COV_MATRIX_SIDE_FULL_COV_FIT": [full] * len(ptc.amps),
        "INPUT_EXP_ID_PAIRS": np.broadcast_to(_ids(ptc.pairs, n), (len(ptc.amps), n, 2)).copy(),
    }
    rows = [_row(ptc, k, n, side, full) for k in range(len(ptc.amps))]
    for name in rows[0] if rows else ():
        columns[name] = np.array([row[name] for row in rows])
    bad = np.array([amp for amp, why in zip(ptc.amps, ptc.status, strict=True) if why], "U3" if not ptc.amps else None)
    columns["BAD_AMPS"] = np.broadcast_to(bad.astype(str), (len(ptc.amps), bad.size)).copy()
    table = Table(columns)
    seen = ptc.observation
    table.meta.update(
        OBSTYPE="PTC", PTC_SCHEMA="Gen3 Photon Transfer Curve", PTC_VERSION=VERSION, PTC_FIT_TYPE=kind,
        CALIBCLS="lsst.ip.isr.PhotonTransferCurveDataset", INSTRUME=seen.instrument, DETECTOR=seen.detector_id,
        DET_NAME=seen.detector, FILTER=seen.filter, CALIBDATE=seen.begin, FWID=ptc.id,
        CALIB_ID=f"detector={seen.detector_id} detectorName={seen.detector} filter={seen.filter or 'None'}",
    )  # fmt: skip
    table.meta["FULLWELL ESTIMATOR"] = ptc.estimator
    return table


def _ids(pairs: tuple[tuple[str, str], ...], n: int) -> NDArray[np.int64]:
    out = np.full((n, 2), NO_ID, np.int64)
    for i, pair in enumerate(pairs[:n]):
        out[i] = [int(one) if one.isdecimal() and len(one) < 19 else NO_ID for one in pair]
    return out


def _longer(values: Any, shape: tuple[int, ...], fill: Any = np.nan) -> NDArray[Any]:
    """An array laid into a larger one of `shape`."""
    values = np.asarray(values)
    out = np.full(shape, fill)
    at = tuple(slice(0, min(a, b)) for a, b in zip(values.shape, shape, strict=True))
    out[at] = values[at]
    return out


def _row(ptc: Ptc, k: int, n: int, side: int, full: int) -> dict[str, Any]:
    """What the table says of one amplifier."""
    p = ptc.points[k] if ptc.points else Points(amp=ptc.amps[k], mean=np.zeros(0), variance=np.zeros(0))
    used = _longer(ptc.used[k] if ptc.used.size else p.good, (n,), False)
    mean, variance = _longer(p.mean, (n,)), _longer(p.variance, (n,))
    noise = _longer(p.noise, (n,))
    row: dict[str, Any] = {"EXP_ID_MASK": used}
    rolloff = ptc.rolloff[k]
    row["EXP_ID_ROLLOFF_MASK"] = ~(mean > rolloff) if np.isfinite(rolloff) else np.ones(n, bool)
    row.update({column: _longer(getattr(p, name), (n,)) for name, column in _PER_PAIR.items() if name != "temperature"})
    if any(np.isfinite(some.temperature).any() for some in ptc.points):
        row[TEMPERATURE] = _longer(p.temperature, (n,))
    row.update({name: np.full(n, np.nan) for name in ("PHOTO_CHARGE_DELTAS", "AMP_OFFSETS")})
    row["NPIXEL_COVARIANCES"] = _longer(p.pixels[:, 0, 0], (n,), 0).astype(np.int64)
    row.update({column: getattr(ptc, name)[k] for name, column in _PER_AMP.items()})
    row["GAIN_UNADJUSTED"] = ptc.gain[k]
    with np.errstate(divide="ignore", invalid="ignore"):
        row["GAIN_LIST"] = mean / (variance - np.nan_to_num(noise) ** 2)
    level = row["OVERSCAN_MEDIAN_LIST"][used & np.isfinite(row["OVERSCAN_MEDIAN_LIST"])]
    centre = float(np.median(level)) if level.size else np.nan
    row["OVERSCAN_MEDIAN"] = centre
    row["OVERSCAN_MEDIAN_SIGMA"] = _SIGMA * float(np.median(np.abs(level - centre))) if level.size else np.nan
    exponential = ptc.fit_type == "EXPAPPROXIMATION"
    g, s = (float(v[k]) for v in (ptc.gain, ptc.read_noise))
    row["PTC_FIT_PARS"] = np.array([ptc.a00[k], g, s * s] if exponential else [np.nan])
    errors = [ptc.a00_error[k], ptc.gain_error[k], 2 * s * ptc.read_noise_error[k]]
    row["PTC_FIT_PARS_ERROR"] = np.array(errors if exponential else [np.nan])
    for name, column in (("a", "A_MATRIX"), ("noise_matrix", "NOISE_MATRIX"), ("b", "B_MATRIX")):
        values = getattr(ptc, name)
        row[column] = _longer(values[k] if values.size else np.zeros((0, 0)), (full, full)).ravel()
    model = _longer(ptc.model[k] if ptc.model.size else np.zeros(0), (n,))
    for column, values in (("FINAL_MEANS", mean), ("FINAL_VARS", variance), ("FINAL_MODEL_VARS", model)):
        row[column] = np.where(used, values, np.nan)
    row["COVARIANCES"] = _longer(p.covariance, (n, side, side)).ravel()
    fitted = _longer(ptc.covariance_model[k] if ptc.covariance_model.size else np.zeros((0, 0, 0)), (n, full, full))
    if not ptc.covariance_model.size:
        fitted[:, 0, 0] = model
    row["COVARIANCES_MODEL"] = fitted.ravel()
    with np.errstate(divide="ignore", invalid="ignore"):
        weights = 1 / p.covariance_errors()
    row["COVARIANCES_SQRT_WEIGHTS"] = _longer(np.where(np.isfinite(weights), weights, 0), (n, side, side), 0.0).ravel()
    return row


def from_lsst(table: Table, **more: Any) -> Ptc:
    """The product of a table of the library, of any version.

    Parameters
    ----------
    table : one row per amplifier; its meta holds the header.
    more : further fields (source …).

    Raises
    ------
    FileError
        the table is of another kind, or lacks the name of the amplifier or the gain.
    """
    meta = {str(key).upper(): value for key, value in table.meta.items()}
    where = str(more.get("source") or "") or None
    missing = [name for name in ("AMPLIFIER_NAME", "PTC_FIT_TYPE", "GAIN") if name not in table.colnames]
    if str(meta.get("OBSTYPE", "PTC")).upper() != "PTC" or missing:
        raise FileError(
            f"this table is no photon transfer: OBSTYPE {meta.get('OBSTYPE', 'not stated')}"
            + (f", without the column {', '.join(missing)}" if missing else ""),
            where=where,
            remedy="give the PTC table of the LSST library, or one that fullwell ptc wrote",
        )
    reader = _Reader(table, meta)
    version, kind = reader.version, str(table["PTC_FIT_TYPE"][0]).strip() if len(table) else ""
    values: dict[str, Any] = {name: reader.numbers(column) for name, column in _PER_AMP.items()}
    if version < 1.9 and kind.startswith("FULLCOVARIANCE"):
        values["read_noise"] = np.sqrt(np.abs(values["read_noise"]))
    if version < 1.1:
        values["turnoff"] = np.full(len(table), np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        values["read_noise_adu"] = values["read_noise"] / values["gain"]
    values.update(reader.matrices(kind))
    points = tuple(reader.points(k) for k in range(len(table)))
    values.update(reader.fitted(points, kind))
    low, high = np.full(len(table), np.nan), np.full(len(table), np.nan)
    for k, p in enumerate(points):
        seen = p.mean[values["used"][k, : len(p)] & np.isfinite(p.mean)]
        if seen.size:
            low[k], high[k] = seen.min(), seen.max()
    bad = reader.bad()
    more.setdefault("observation", Observation(
        instrument=str(meta.get("INSTRUME") or "generic"), detector=str(meta.get("DET_NAME") or "0"),
        detector_id=int(meta.get("DETECTOR") or 0), begin=str(meta.get("CALIBDATE") or ""),
    ))  # fmt: skip
    return Ptc(
        amps=reader.amps, fit_type="" if kind == "PARTIAL" else kind, points=points, pairs=reader.pairs(),
        estimator=str(meta.get("FULLWELL ESTIMATOR") or _ESTIMATORS.get(kind, "")), range_low=low, range_high=high,
        status=tuple("marked bad in the table it was read from" if a in bad else "" for a in reader.amps),
        **{**values, **more},
    )  # fmt: skip


class _Reader:
    """The columns of a table of the library by our names."""

    def __init__(self, table: Table, meta: dict[str, Any]) -> None:
        self.table = table
        self.amps = tuple(str(name).strip() for name in table["AMPLIFIER_NAME"])
        self.version = float(meta.get("PTC_VERSION") or VERSION)
        self.side = self._side("COV_MATRIX_SIDE", "COVARIANCES")
        self.full = self._side("COV_MATRIX_SIDE_FULL_COV_FIT", "") or self.side

    def _side(self, name: str, other: str) -> int:
        if name in self.table.colnames and len(self.table):
            return int(self.table[name][0])
        return 1 if other in self.table.colnames else 0

    def column(self, name: str) -> F8 | None:
        """A column as float64 with NaN where it is masked, (n_amp, …); None where there is none."""
        if name not in self.table.colnames:
            return None
        values = self.table[name]
        if values.dtype.kind == "O":
            longest = max(np.size(v) for v in values)
            return np.array([_longer(np.ravel(np.asarray(v, np.float64)), (longest,)) for v in values])
        values = values.astype(np.float64)
        filled = values.filled(np.nan) if hasattr(values, "filled") else values
        return np.asarray(getattr(filled, "value", filled), np.float64)

    def numbers(self, name: str) -> F8:
        """(n_amp,) values, NaN without the column."""
        found = self.column(name)
        return np.full(len(self.amps), np.nan) if found is None else found.reshape(len(self.amps), -1)[:, 0]

    def matrices(self, kind: str) -> dict[str, Any]:
        """The matrices of a full covariance fit, and a00 of either kind of fit."""
        nan = np.full(len(self.amps), np.nan)
        if not kind.startswith("FULLCOVARIANCE"):
            pars, errors = self.column("PTC_FIT_PARS"), self.column("PTC_FIT_PARS_ERROR")
            if kind != "EXPAPPROXIMATION" or pars is None:
                return {"a00": nan, "a00_error": nan}
            return {"a00": pars[:, 0], "a00_error": nan if errors is None else errors[:, 0]}
        out: dict[str, Any] = {"a00_error": nan}
        suffix = "_NO_B" if kind == "FULLCOVARIANCE_NO_B" and "A_MATRIX_NO_B" in self.table.colnames else ""
        for name, column in (("a", f"A_MATRIX{suffix}"), ("b", "B_MATRIX"), ("noise_matrix", f"NOISE_MATRIX{suffix}")):
            found = self.column(column)
            if found is not None:
                side = round(np.sqrt(found[0].size))
                out[name] = found.reshape(len(self.amps), side, side)
        out["a00"] = out["a"][:, 0, 0] if "a" in out else nan
        return out

    def points(self, k: int) -> Points:
        """What was measured of amplifier number `k`."""
        mean = self.column("RAW_MEANS")
        mean = np.zeros((len(self.amps), 0)) if mean is None else mean
        n = mean.shape[1]
        values: dict[str, Any] = {}
        for name, column in _PER_PAIR.items():
            found = self.column(column)
            if found is not None and found.shape[1:] == (n,):
                values[name] = found[k]
        values.setdefault("variance", np.full(n, np.nan))
        cov = self.column("COVARIANCES")
        if cov is not None and cov[k].size == n * self.side**2:
            values["covariance"] = cov[k].reshape(n, self.side, self.side)
            values["pixels"] = self._pixels(k, values["covariance"])
            with np.errstate(divide="ignore", invalid="ignore"):
                values["variance_error"] = values["variance"] * np.sqrt(2 / values["pixels"][:, 0, 0])
        used, out = self.used(n)[k], []
        for i in range(n):
            measured = np.isfinite(mean[k, i]) and np.isfinite(values["variance"][i])
            out.append("" if used[i] else "left out by the fit of the table" if measured else "not measured")
        return Points(amp=self.amps[k], reasons=tuple(out), **{**values, "mean": mean[k]})

    def _pixels(self, k: int, covariance: F8) -> NDArray[np.int64]:
        """Pairs of pixels behind each covariance: (V w)^2 of the weights, twice that at lag (0, 0)."""
        weights, count = self.column("COVARIANCES_SQRT_WEIGHTS"), self.column("NPIXEL_COVARIANCES")
        found = np.zeros(covariance.shape)
        if weights is not None and weights[k].size == covariance.size:
            found = (weights[k].reshape(covariance.shape) * covariance[:, :1, :1]) ** 2
            found[:, 0, 0] *= 2
        if count is not None and count.shape[1:] == covariance.shape[:1]:
            found = np.where(found > 0, found, count[k][:, None, None])
        return np.asarray(np.rint(np.nan_to_num(found)), np.int64)

    def used(self, n: int) -> NDArray[np.bool_]:
        """(n_amp, n) points of the fit; all where the table does not say."""
        mask = self.column("EXP_ID_MASK")
        if mask is None or mask.shape[1:] != (n,):
            return np.ones((len(self.amps), n), bool)
        return np.nan_to_num(mask) != 0

    def fitted(self, points: tuple[Points, ...], kind: str) -> dict[str, Any]:
        """Which points the fit used, and what its model is there."""
        n = max((len(p) for p in points), default=0)
        out: dict[str, Any] = {"used": self.used(n)}
        model, covariances = self.column("FINAL_MODEL_VARS"), self.column("COVARIANCES_MODEL")
        if model is not None and model.shape[1:] == (n,):
            out["model"] = model
        if kind.startswith("FULLCOVARIANCE") and covariances is not None and n:
            side = round(np.sqrt(covariances[0].size / n))
            if side * side * n == covariances[0].size:
                out["covariance_model"] = covariances.reshape(len(self.amps), n, side, side)
        return out

    def bad(self) -> set[str]:
        """Names of the amplifiers that the table marks bad."""
        if "BAD_AMPS" not in self.table.colnames or not len(self.table):
            return set()
        return {str(name).strip() for name in np.ravel(np.asarray(self.table["BAD_AMPS"][0]))}

    def pairs(self) -> tuple[tuple[str, str], ...]:
        """Ids of the two flats of each pair; "" where the table has none. Of all amplifiers those of the first."""
        if "INPUT_EXP_ID_PAIRS" not in self.table.colnames or not len(self.table):
            return ()
        ids = np.asarray(self.table["INPUT_EXP_ID_PAIRS"][0], np.int64).reshape(-1, 2).tolist()
        first, second = ([str(one) if one > 0 else "" for one in column] for column in zip(*ids, strict=True))
        return tuple(zip(first, second, strict=True))
