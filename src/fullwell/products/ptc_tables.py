"""The tables that a photon transfer is kept in: one row per amplifier, per point, per estimate, per sentence, per pair.

============ ============================================================================================
table        rows
============ ============================================================================================
AMPLIFIERS   one per amplifier: what was adopted, status, matrices
POINTS       one per amplifier and pair of flats: what was measured, the model, whether the fit used it
ESTIMATES    one per amplifier and estimator
DIAGNOSIS    one per amplifier and sentence
PAIRS        one per pair: ids of the two flats
============ ============================================================================================

A table without rows is left out. Units are those of `fullwell.products.Ptc`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fullwell.base.errors import FileError
from fullwell.products.ptc import SCALARS, Estimate, Points, Ptc

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["ptc_of_tables", "tables_of_ptc"]

_MATRICES = {"a": "1/electron", "a_error": "1/electron", "b": "1/electron", "noise_matrix": "electron2"}
_UNITS = {
    **dict.fromkeys(("gain", "gain_error", "gain_model_error", "error"), "electron/adu"),
    **dict.fromkeys(("read_noise", "read_noise_error"), "electron"),
    **dict.fromkeys(("a00", "a00_error"), "1/electron"),
    **dict.fromkeys(
        (
            *("read_noise_adu", "turnoff", "turnoff_error", "rolloff", "rolloff_error", "rolloff_tau"),
            *("rolloff_tau_error", "range_low", "range_high", "mean", "delta", "ratio", "ratio_error", "ratio_median"),
            *("noise", "noise_error", "overscan", "low", "high"),
        ),
        "adu",
    ),
    **dict.fromkeys(
        ("variance", "variance_error", "raw_variance", "row_variance", "hist_variance", "covariance", "model"), "adu2"
    ),
    "exposure_time": "s",
    "mjd": "d",
    "temperature": "deg_C",
    **_MATRICES,
}
_ONE = Points(amp="", mean=np.zeros(1), variance=np.zeros(1))
_ALL = {f.name: getattr(_ONE, f.name) for f in fields(Points)}
_VALUES = tuple(name for name, value in _ALL.items() if isinstance(value, np.ndarray) and value.ndim == 1)
"""Fields of `Points` with one number per pair; those with one text; those with one number in all."""
_TEXTS = tuple(name for name, value in _ALL.items() if isinstance(value, tuple))
_NUMBERS = tuple(name for name, value in _ALL.items() if isinstance(value, (int, float)))


def tables_of_ptc(ptc: Ptc) -> dict[str, Table]:
    """Name -> astropy table with units; those without rows are left out."""
    made = {
        "AMPLIFIERS": _amplifiers(ptc),
        "POINTS": _points(ptc),
        "ESTIMATES": _estimates(ptc),
        "DIAGNOSIS": {
            "amplifier": [a for a, some in zip(ptc.amps, ptc.diagnosis, strict=True) for _ in some],
            "sentence": [text for some in ptc.diagnosis for text in some],
        },
        "PAIRS": {"first": [one for one, _ in ptc.pairs], "second": [two for _, two in ptc.pairs]},
    }
    return {name: _table(columns) for name, columns in made.items() if len(next(iter(columns.values()), ()))}


def _table(columns: Mapping[str, Any]) -> Table:
    from astropy.table import Table

    table = Table(dict(columns))
    for name in table.colnames:
        if name in _UNITS:
            table[name].unit = _UNITS[name]
    return table


def _amplifiers(ptc: Ptc) -> dict[str, Any]:
    columns: dict[str, Any] = {"amplifier": list(ptc.amps), **{name: getattr(ptc, name) for name in SCALARS}}
    columns["status"] = list(ptc.status)
    for name in _MATRICES:
        if getattr(ptc, name).size:
            columns[name] = getattr(ptc, name)
    if ptc.points:
        columns["lags"] = [p.lags for p in ptc.points]
        columns.update({name: [getattr(p, name) for p in ptc.points] for name in _NUMBERS})
    return columns


def _points(ptc: Ptc) -> dict[str, Any]:
    if not ptc.points:
        return {}
    rows = [(p, i) for p in ptc.points for i in range(len(p))]
    side = max(p.lags for p in ptc.points) + 1
    covariance, pixels = np.full((len(rows), side, side), np.nan), np.zeros((len(rows), side, side), np.int64)
    for row, (p, i) in enumerate(rows):
        covariance[row, : p.lags + 1, : p.lags + 1] = p.covariance[i]
        pixels[row, : p.lags + 1, : p.lags + 1] = p.pixels[i]
    columns: dict[str, Any] = {"amplifier": [p.amp for p, _ in rows], "pair": [i for _, i in rows]}
    columns.update({name: np.concatenate([getattr(p, name) for p in ptc.points]) for name in _VALUES})
    columns.update({name: [getattr(p, name)[i] for p, i in rows] for name in _TEXTS})
    for name in ("model", "used", "covariance_model"):
        values = getattr(ptc, name)
        if values.size:
            columns[name] = np.concatenate([values[k, : len(p)] for k, p in enumerate(ptc.points)])
    for name, values in ptc.models.items():
        columns[f"model_{name}"] = np.concatenate([values[k, : len(p)] for k, p in enumerate(ptc.points)])
    return {**columns, "covariance": covariance, "pixels": pixels}


def _estimates(ptc: Ptc) -> dict[str, Any]:
    rows = [(amp, one) for amp, some in zip(ptc.amps, ptc.estimates, strict=True) for one in some]
    columns: dict[str, Any] = {"amplifier": [amp for amp, _ in rows]}
    columns.update({f.name: [getattr(one, f.name) for _, one in rows] for f in fields(Estimate)})
    return columns


def ptc_of_tables(tables: Mapping[str, Table], meta: Mapping[str, Any], **more: Any) -> Ptc:
    """The product of its tables.

    Parameters
    ----------
    tables : name -> table, as `tables_of_ptc` makes them.
    meta : holds `estimator` and `fit_type`.
    more : further fields (observation, source …).

    Raises
    ------
    FileError
        there is no table of the amplifiers, or a column is missing; names both.
    """
    where = str(more.get("source") or "") or None
    if "AMPLIFIERS" not in tables:
        raise FileError("the photon transfer has no table AMPLIFIERS", where=where, remedy="was the file cut short?")
    amps = tuple(_texts(_column(tables, "AMPLIFIERS", "amplifier", where)))
    values: dict[str, Any] = {
        name: np.asarray(_column(tables, "AMPLIFIERS", name, where), np.float64)
        for name in (*SCALARS, *_MATRICES)
        if name in ("gain", "gain_error") or name in tables["AMPLIFIERS"].colnames
    }
    values["status"] = tuple(_texts(_column(tables, "AMPLIFIERS", "status", where)))
    if "POINTS" in tables:
        values.update(_read_points(tables, amps, where))
    if "ESTIMATES" in tables:
        values["estimates"] = tuple(_read_estimates(tables, amp, where) for amp in amps)
    if "DIAGNOSIS" in tables:
        texts = _texts(_column(tables, "DIAGNOSIS", "sentence", where))
        owners = _texts(_column(tables, "DIAGNOSIS", "amplifier", where))
        values["diagnosis"] = tuple(
            tuple(t for t, owner in zip(texts, owners, strict=True) if owner == amp) for amp in amps
        )
    if "PAIRS" in tables:
        both = (_texts(_column(tables, "PAIRS", name, where)) for name in ("first", "second"))
        values["pairs"] = tuple(zip(*both, strict=True))
    return Ptc(amps=amps, estimator=str(meta.get("estimator") or ""), fit_type=str(meta.get("fit_type") or ""),
               **{**values, **more})  # fmt: skip


def _column(tables: Mapping[str, Table], table: str, name: str, where: str | None) -> NDArray[Any]:
    """A column as an array, NaN where it is masked."""
    if name not in tables[table].colnames:
        raise FileError(
            f"the table {table} has no column '{name}'",
            where=where,
            remedy="was it written by another program? the tables are in: fullwell explain ptc",
        )
    values = tables[table][name]
    if hasattr(values, "filled"):
        values = values.filled({"f": np.nan, "U": ""}.get(values.dtype.kind, 0))
    return np.asarray(getattr(values, "value", values))


def _texts(column: Iterable[Any]) -> list[str]:
    return [str(text) for text in column]


def _rows_of(tables: Mapping[str, Table], table: str, amp: str, where: str | None) -> NDArray[np.intp]:
    owners = np.array(_texts(_column(tables, table, "amplifier", where)))
    return np.flatnonzero(owners == amp)


def _read_points(tables: Mapping[str, Table], amps: tuple[str, ...], where: str | None) -> dict[str, Any]:
    have = tables["POINTS"].colnames
    column = {name: _column(tables, "POINTS", name, where) for name in ("mean", "variance", "reasons", *have)}
    rows = [_rows_of(tables, "POINTS", amp, where) for amp in amps]
    first = tables["AMPLIFIERS"].colnames
    points = []
    for k, (amp, mine) in enumerate(zip(amps, rows, strict=True)):
        more: dict[str, Any] = {name: column[name][mine].astype(np.float64) for name in _VALUES if name in column}
        for name in (n for n in _NUMBERS if n in first):
            more[name] = float(_column(tables, "AMPLIFIERS", name, where)[k])
        for name in (n for n in _TEXTS if n in column):
            more[name] = tuple(_texts(column[name][mine]))
        if "covariance" in column:
            lags = column["covariance"].shape[1] - 1
            side = int(_column(tables, "AMPLIFIERS", "lags", where)[k] if "lags" in first else lags) + 1
            more["covariance"] = column["covariance"][mine, :side, :side].astype(np.float64)
            if "pixels" in column:
                more["pixels"] = column["pixels"][mine, :side, :side].astype(np.int64)
        points.append(Points(amp=amp, **more))
    out: dict[str, Any] = {"points": tuple(points)}
    longest = max((mine.size for mine in rows), default=0)

    def by_amplifier(values: NDArray[Any], fill: Any) -> NDArray[Any]:
        made = np.full((len(amps), longest, *values.shape[1:]), fill)
        for k, mine in enumerate(rows):
            made[k, : mine.size] = values[mine]
        return made

    for name, fill in (("model", np.nan), ("used", False), ("covariance_model", np.nan)):
        if name in column:
            out[name] = by_amplifier(column[name], fill)
    others = [name for name in column if name.startswith("model_")]
    out["models"] = {name.removeprefix("model_"): by_amplifier(column[name], np.nan) for name in others}
    return out


def _read_estimates(tables: Mapping[str, Table], amp: str, where: str | None) -> tuple[Estimate, ...]:
    have = {f.name: f for f in fields(Estimate) if f.name in tables["ESTIMATES"].colnames}
    columns = {name: _column(tables, "ESTIMATES", name, where).tolist() for name in ("name", "gain", *have)}
    rows = _rows_of(tables, "ESTIMATES", amp, where).tolist()
    return tuple(Estimate(**{name: values[i] for name, values in columns.items()}) for i in rows)
