"""Results tables of the electro-optical test stand (eotest): read as estimators of the gain, and written.

One row per amplifier: AMP (1, 2, …), GAIN and GAIN_ERROR (of Fe55 X-rays, which brighter-fatter does not touch),
PTC_GAIN and PTC_GAIN_ERROR (tangent at zero of the exponential), PTC_A00 (positive there, a deficit), PTC_TURNOFF
[adu], READ_NOISE [electron], and others that are not looked at.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fullwell.base.errors import DataError
from fullwell.products import Estimate, Ptc

__all__ = ["COLUMNS", "eotest_estimates", "eotest_table"]

COLUMNS = {
    "eotest_ptc_gain": ("PTC_GAIN", "PTC_GAIN_ERROR", "PTC_GAIN of a results table of eotest"),
    "eotest_fe55_gain": ("GAIN", "GAIN_ERROR", "GAIN of a results table of eotest, from Fe55 X-rays"),
}
"""Name of the estimator -> columns of gain and error, and what it is."""


def _names(table: Any) -> list[str]:
    return list(getattr(table, "colnames", None) or table.keys())


def _column(table: Any, name: str) -> NDArray[np.float64] | None:
    found = next((key for key in _names(table) if key.upper() == name), None)
    if found is None:
        return None
    column = table[found]
    filled = column.filled(math.nan) if hasattr(column, "filled") else column
    return np.asarray(getattr(filled, "value", filled), np.float64)


def eotest_estimates(table: Any, amps: Sequence[str], *, where: str = "") -> dict[str, tuple[Estimate, ...]]:
    """The gains of a results table, for the `extra` of `fullwell.measure.ptc.solve.solve`.

    Parameters
    ----------
    table : astropy Table, or a mapping of columns, with AMP and at least one of PTC_GAIN and GAIN [electron/adu].
    amps : names of the amplifiers. The k-th row in order of AMP belongs to the k-th of them, unless AMP holds names.
    where : the file, for messages.

    Returns
    -------
    dict
        amplifier -> estimates "eotest_ptc_gain", "eotest_fe55_gain"; a gain that is not positive has a reason.

    Raises
    ------
    DataError
        no column of a gain, or rows that do not belong to the amplifiers.
    """
    rows = _rows(table, amps, where)
    out: dict[str, list[Estimate]] = {amp: [] for amp in amps}
    for name, (column, error, about) in COLUMNS.items():
        gains, errors = _column(table, column), _column(table, error)
        if gains is None:
            continue
        for amp, row in zip(amps, rows, strict=True):
            gain = float(gains[row])
            bad = "" if math.isfinite(gain) and gain > 0 else f"{column} of the table is {gain:.4g}"
            fault = float(errors[row]) if errors is not None else math.nan
            out[amp].append(Estimate(name=name, gain=math.nan if bad else gain, error=fault, reason=bad, note=about))
    if not any(out.values()):
        raise DataError(
            "the table has no column of a gain", where=where or None,
            remedy=f"it has {', '.join(_names(table)[:8])}; PTC_GAIN or GAIN is looked for",
        )  # fmt: skip
    return {amp: tuple(found) for amp, found in out.items()}


def _rows(table: Any, amps: Sequence[str], where: str) -> list[int]:
    """Row of each amplifier."""
    key = next((name for name in _names(table) if name.upper() == "AMP"), None)
    if key is None:
        raise DataError("the table has no column AMP", where=where or None, remedy="give a results table of eotest")
    labels = [str(item).strip() for item in np.asarray(table[key]).tolist()]
    if set(amps) <= set(labels):
        return [labels.index(amp) for amp in amps]
    if len(labels) != len(amps):
        raise DataError(
            f"the table has {len(labels)} rows for {len(amps)} amplifiers", where=where or None,
            remedy="give the table of the same sensor",
        )  # fmt: skip
    numbers = [re.search(r"\d+$", label) for label in labels]
    if not all(numbers):
        raise DataError(f"AMP of the table holds '{labels[0]}', neither a number nor an amplifier", where=where or None)
    return list(np.argsort([int(found.group()) for found in numbers if found], kind="stable"))


def eotest_table(product: Ptc, *, more: Mapping[str, Sequence[float]] | None = None) -> Any:
    """An astropy table with the names of eotest, one row per amplifier, so that notebooks written for it still run.

    Parameters
    ----------
    product : GAIN and PTC_GAIN are both its adopted gain [electron/adu]; PTC_A00 is positive [1/electron]; READ_NOISE
        and TOTAL_NOISE [electron]; PTC_TURNOFF [adu]; FULL_WELL the turnoff [electron].
    more : further columns of one value per amplifier.

    Raises
    ------
    DataError
        a column of `more` of another length.
    """
    from astropy.table import Table

    error = product.gain_error
    columns: dict[str, Any] = {
        "AMP": np.arange(1, len(product.amps) + 1), "AMPNAME": list(product.amps), "GAIN": product.gain,
        "GAIN_ERROR": error, "PTC_GAIN": product.gain, "PTC_GAIN_ERROR": error, "PTC_A00": -product.a00,
        "PTC_A00_ERROR": product.a00_error, "PTC_NOISE": product.read_noise,
        "PTC_NOISE_ERROR": product.read_noise_error, "PTC_TURNOFF": product.turnoff,
        "READ_NOISE": product.read_noise, "TOTAL_NOISE": product.read_noise,
        "FULL_WELL": product.turnoff * product.gain,
    }  # fmt: skip
    for name, values in (more or {}).items():
        if len(values) != len(product.amps):
            raise DataError(f"column {name} has {len(values)} values for {len(product.amps)} amplifiers")
        columns[name] = np.asarray(values)
    table = Table(columns)
    units = {"GAIN": "electron/adu", "NOISE": "electron", "A00": "1/electron", "TURNOFF": "adu", "WELL": "electron"}
    for name in table.colnames:
        stem = name.removesuffix("_ERROR").split("_")[-1]
        if stem in units and name not in (more or {}):
            table[name].unit = units[stem]
    table.meta.update(ESTIMATR=product.estimator, PTCID=product.id)
    return table
