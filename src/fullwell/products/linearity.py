"""Linearity: how the counts of each amplifier depart from the electrons that were collected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fullwell.base.errors import DataError, FileError, GeometryError
from fullwell.cameras import Box
from fullwell.products.base import Product

__all__ = ["MODELS", "Linearity"]

MODELS = ("None", "Proportional", "Squared", "Polynomial", "Spline", "DoubleSpline", "LookupTable")
LSST_VERSION = "1.8"


@dataclass(frozen=True, kw_only=True)
class Linearity(Product):
    """Correction of the counts of each amplifier, in adu above the overscan. Order of all: that of `amps`.

    With v the count before and L the count after the correction:

    ============ ==================================== ===========================================
    model        L(v)                                 coefficients
    ============ ==================================== ===========================================
    None         v                                    any
    Proportional v                                    any
    Squared      v + c0 v**2                          c0 [1/adu]
    Polynomial   v + sum_i c_i v**(i+2)               c_i [adu**-(i+1)]
    Spline       v - A(v), A an Akima spline          x_0 … x_n-1, y_0 … y_n-1 [adu]
    DoubleSpline two splines, one after the other     n_1, n_2, x, y of the first, x, y of the second
    LookupTable  v + T[c0, int(c1 + v)]               row c0 and offset c1 of `table` [adu]
    ============ ==================================== ===========================================

    Outside its nodes a spline keeps the value it has at the end. A node (0, 0) is put first where the first
    node is not at 0, after y_0 was taken from all y.

    Parameters
    ----------
    amps : amplifier names.
    models : one of `MODELS` per amplifier.
    coefficients : one array per amplifier; may differ in length, without padding.
    table : (rows, columns) [adu] of the look-up tables, None if there is none.
    input_gain [electron/adu], input_turnoff [adu] : that the fit used; turnoff [adu] : end of the range in which
        the correction holds; max_signal [adu] : largest corrected signal. (n_amp,), NaN where unknown.
    override : the file asks to be used even where the camera's own description names another model.

    Raises
    ------
    GeometryError
        numbers of amplifiers, models and coefficients differ.
    DataError
        a model is unknown, has too few coefficients, or the nodes of a spline do not increase.
    """

    kind: ClassVar[str] = "linearity"
    schema: ClassVar[str] = "fullwell/linearity"
    content: ClassVar[tuple[str, ...]] = ("amps", "models", "coefficients", "table")

    amps: tuple[str, ...]
    models: tuple[str, ...]
    coefficients: tuple[NDArray[np.float64], ...]
    table: NDArray[np.float64] | None = None
    input_gain: NDArray[np.float64] | None = None
    input_turnoff: NDArray[np.float64] | None = None
    turnoff: NDArray[np.float64] | None = None
    max_signal: NDArray[np.float64] | None = None
    boxes: tuple[Box, ...] = ()
    override: bool = False

    def _settle(self) -> None:
        n = len(self.amps)
        if len(self.models) != n or len(self.coefficients) != n:
            raise GeometryError(
                f"{n} amplifiers, {len(self.models)} models and {len(self.coefficients)} sets of coefficients",
                where=self.source or None,
            )
        coefficients = tuple(np.atleast_1d(np.asarray(c, np.float64)) for c in self.coefficients)
        object.__setattr__(self, "coefficients", coefficients)
        for label in ("input_gain", "input_turnoff", "turnoff", "max_signal"):
            values = getattr(self, label)
            values = np.full(n, np.nan) if values is None else np.asarray(values, np.float64)
            if values.shape != (n,):
                raise GeometryError(f"{label} has shape {values.shape} for {n} amplifiers", where=self.source or None)
            object.__setattr__(self, label, values)
        for i in range(n):
            self._check(i)

    def _parts(self) -> list[Any]:
        table = [] if self.table is None else [np.asarray(self.table)]
        return ["linearity", self.amps, self.models, *self.coefficients, *table]

    def facts(self) -> dict[str, str]:
        """Number of amplifiers, models, amplifiers that cannot be corrected."""
        lost = [name for i, name in enumerate(self.amps) if not self.finite(i)]
        more = {"without coefficients": ", ".join(lost)} if lost else {}
        return {"amplifiers": str(len(self.amps)), "models": ", ".join(sorted(set(self.models))), **more}

    @classmethod
    def same(cls, amps: Sequence[str], model: str, coefficients: Sequence[float], **more: Any) -> Linearity:
        """One model and one set of coefficients for all amplifiers."""
        n = len(amps)
        values = tuple(np.asarray(coefficients, np.float64) for _ in range(n))
        return cls(amps=tuple(amps), models=(model,) * n, coefficients=values, **more)

    def finite(self, index: int) -> bool:
        """Whether all coefficients of amplifier `index` are numbers; else it cannot be corrected."""
        return bool(np.isfinite(self.coefficients[index]).all())

    def nodes(self, index: int) -> tuple[tuple[NDArray[np.float64], NDArray[np.float64]], ...]:
        """The splines of amplifier `index` as pairs (x, y) [adu], in the order in which they are applied.

        A single spline gets its node (0, 0); the two of a DoubleSpline are taken as they are. A stage
        without nodes is left out.
        """
        c = self.coefficients[index]
        if self.models[index] == "Spline":
            x, y = c[: c.size // 2], c[c.size // 2 :] - c[c.size // 2]
            if x[0] != 0:
                x, y = np.concatenate(([0.0], x)), np.concatenate(([0.0], y))
            return ((x, y),)
        if self.models[index] == "DoubleSpline":
            first, second = int(c[0]), int(c[1])
            cut = np.cumsum([2, first, first, second, second])
            pairs = (c[cut[0] : cut[1]], c[cut[1] : cut[2]]), (c[cut[2] : cut[3]], c[cut[3] : cut[4]])
            return tuple(pair for pair in pairs if pair[0].size)
        return ()

    def _check(self, index: int) -> None:
        model, c = self.models[index], self.coefficients[index]
        problem = ""
        if model not in MODELS:
            problem = f"the model '{model}' is not one of {', '.join(MODELS)}"
        elif model == "LookupTable" and self.finite(index):
            rows = 0 if self.table is None else np.asarray(self.table).shape[0]
            if c.size < 2 or not 0 <= int(c[0]) < rows:
                problem = f"coefficients {c.tolist()} name no row of a look-up table of {rows} rows"
        elif model in ("Spline", "DoubleSpline") and self.finite(index):
            if model == "Spline" and (c.size < 4 or c.size % 2):
                problem = f"a spline of {c.size} coefficients is not two or more pairs of x and y"
            elif model == "DoubleSpline" and (c.size < 2 or c.size < 2 + 2 * int(c[0]) + 2 * int(c[1])):
                problem = f"a double spline of {c.size} coefficients is shorter than its counts of nodes say"
            elif any(x.size < 2 or np.any(np.diff(x) <= 0) for x, _ in self.nodes(index)):
                problem = "the nodes of the spline do not increase"
        if problem:
            raise DataError(
                problem,
                where=f"{self.source} amplifier {self.amps[index]}".strip(),
                remedy="see the table of models in the description of Linearity",
            )

    def to_table(self) -> Any:
        """An astropy table, one row per amplifier, in the layout of the LSST library (Linearizer 1.8).

        The look-up table, where there is one, is in ``table.meta["LOOKUP_VALUES"]``; a file holds it as its second
        table.
        """
        from astropy.table import Table

        n, longest = len(self.amps), max(c.size for c in self.coefficients)
        padded = np.full((n, longest), 0.0)
        for row, c in zip(padded, self.coefficients, strict=True):
            row[: c.size] = c
        boxes = self.boxes or (Box(0, 0, 0, 0),) * n
        table = Table(
            {
                "AMPLIFIER_NAME": list(self.amps),
                "TYPE": list(self.models),
                "COEFFS": padded,
                "INPUT_GAIN": self.input_gain,
                "INPUT_TURNOFF": self.input_turnoff,
                "LINEARITY_TURNOFF": self.turnoff,
                "LINEARITY_MAX_SIGNAL": self.max_signal,
                "BBOX_X0": [b.x0 for b in boxes],
                "BBOX_Y0": [b.y0 for b in boxes],
                "BBOX_DX": [b.width for b in boxes],
                "BBOX_DY": [b.height for b in boxes],
                "N_COEFFS": [c.size for c in self.coefficients],
            }
        )
        table.meta.update(
            OBSTYPE="LINEARIZER",
            LINEARIZER_SCHEMA="Gen3 Linearizer",
            LINEARIZER_VERSION=LSST_VERSION,
            CALIBCLS="lsst.ip.isr.Linearizer",
            HAS_LINEARITY=True,
            OVERRIDE=self.override,
            HAS_TABLE=self.table is not None,
            LINEARITY_UNITS="adu",
            id=self.id,
            schema=self.schema,
            version=self.version,
        )
        if self.table is not None:
            table.meta["LOOKUP_VALUES"] = np.asarray(self.table)
        return table

    @classmethod
    def from_table(cls, table: Any, lookup: NDArray[np.float64] | None = None, **more: Any) -> Linearity:
        """The product of a table in the layout of the LSST library.

        Parameters
        ----------
        table : astropy table, one row per amplifier; its meta holds the header.
        lookup : (rows, columns), the second table of the file; default ``table.meta["LOOKUP_VALUES"]``.
        more : further fields of the product (source, observation).

        Raises
        ------
        FileError
            the table is of another kind, lacks a column, or states a unit other than adu.
        """
        meta = {str(k).upper(): v for k, v in table.meta.items()}
        where = more.get("source") or None
        missing = [name for name in ("AMPLIFIER_NAME", "TYPE", "COEFFS") if name not in table.colnames]
        if str(meta.get("OBSTYPE", "LINEARIZER")).upper() != "LINEARIZER" or missing:
            raise FileError(f"this table is no linearity: OBSTYPE {meta.get('OBSTYPE')}, lacks {missing}", where=where)
        unit = str(meta.get("LINEARITY_UNITS") or "adu")
        if unit.lower() != "adu":
            raise FileError(f"the linearity is in {unit}; only adu is defined", where=where)
        models = tuple(str(t).strip() for t in table["TYPE"])
        rows = [np.atleast_1d(np.asarray(c, np.float64)) for c in table["COEFFS"]]
        if "N_COEFFS" in table.colnames:
            rows = [c[: int(n)] for c, n in zip(rows, table["N_COEFFS"], strict=True)]
        else:
            rows = [_unpadded(c, model) for c, model in zip(rows, models, strict=True)]
        for key, name in (
            ("input_gain", "INPUT_GAIN"),
            ("input_turnoff", "INPUT_TURNOFF"),
            ("turnoff", "LINEARITY_TURNOFF"),
            ("max_signal", "LINEARITY_MAX_SIGNAL"),
        ):
            if name in table.colnames:
                more.setdefault(key, np.asarray(table[name], np.float64))
        if "BBOX_X0" in table.colnames:
            corners = zip(*(table[f"BBOX_{k}"] for k in ("X0", "Y0", "DX", "DY")), strict=True)
            more.setdefault("boxes", tuple(Box(*(int(v) for v in corner)) for corner in corners))
        return cls(
            amps=tuple(str(a).strip() for a in table["AMPLIFIER_NAME"]),
            models=models,
            coefficients=tuple(rows),
            table=lookup if lookup is not None else meta.get("LOOKUP_VALUES"),
            override=bool(meta.get("OVERRIDE", False)),
            **more,
        )


def _unpadded(values: NDArray[np.float64], model: str) -> NDArray[np.float64]:
    """Coefficients without the padding (0 or NaN) that brings all amplifiers of a table to one length.

    The nodes of a spline increase and its first value y_0 lies below the last node, so the first step down
    marks where the nodes end.
    """
    if not np.isfinite(values).any():
        return values
    if model == "DoubleSpline":
        return values[: 2 + 2 * int(values[0]) + 2 * int(values[1])]
    if model == "LookupTable":
        return values[:2]
    if model == "Spline":
        down = np.flatnonzero(~(np.diff(values) > 0))
        nodes = int(down[0]) + 1 if down.size else values.size // 2
        return values[: 2 * nodes]
    last = np.flatnonzero(np.isfinite(values) & (values != 0))
    return values[: int(last[-1]) + 1 if last.size else 1]
