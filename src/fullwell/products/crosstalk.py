"""Crosstalk: the fraction of each amplifier's signal that appears in the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from fullwell.base.errors import FileError, GeometryError, UnitError
from fullwell.products.base import Product

__all__ = ["Crosstalk"]

LSST_VERSION = "1.2"


@dataclass(frozen=True, kw_only=True)
class Crosstalk(Product):
    """Coefficients between the amplifiers of one detector. All matrices are ``[source, target]``, (n_amp, n_amp).

    Parameters
    ----------
    amps : amplifier names, in the order of rows and columns.
    coefficients : target signal per source signal; the diagonal is not used.
    errors : statistical standard error; NaN where unknown.
    valid : False where a coefficient must not be used; default all True.
    counts : number of pixels that each coefficient was measured on, 0 where unknown.
    quadratic, quadratic_errors : target signal per squared source signal [1/unit]; None if not measured.
    unit : "adu" or "electron", of source and target when the coefficients were measured.
    gains : (n_amp,) [electron/adu] used when they were measured, NaN where unknown.
    gain_ratios : as the file had them, not used here; None if absent.

    Raises
    ------
    GeometryError
        a matrix has not the shape (n_amp, n_amp).
    UnitError
        `unit` is neither adu nor electron.
    """

    kind: ClassVar[str] = "crosstalk"
    schema: ClassVar[str] = "fullwell/crosstalk"
    content: ClassVar[tuple[str, ...]] = ("amps", "unit", "coefficients", "valid", "quadratic", "gains")

    amps: tuple[str, ...]
    coefficients: NDArray[np.float64]
    errors: NDArray[np.float64] | None = None
    valid: NDArray[np.bool_] | None = None
    counts: NDArray[np.int64] | None = None
    quadratic: NDArray[np.float64] | None = None
    quadratic_errors: NDArray[np.float64] | None = None
    unit: Literal["adu", "electron"] = "adu"
    gains: NDArray[np.float64] | None = None
    gain_ratios: NDArray[np.float64] | None = None

    def _settle(self) -> None:
        n = len(self.amps)
        if self.unit not in ("adu", "electron"):
            raise UnitError(
                f"crosstalk coefficients are per adu or per electron, not '{self.unit}'",
                where=self.source or None,
                remedy="give unit='adu' or unit='electron'",
            )
        for label, kind, empty in (
            ("coefficients", np.float64, None),
            ("errors", np.float64, np.nan),
            ("valid", np.bool_, True),
            ("counts", np.int64, 0),
            ("quadratic", np.float64, None),
            ("quadratic_errors", np.float64, None),
            ("gain_ratios", np.float64, None),
        ):
            values = getattr(self, label)
            if values is None:
                if empty is None:
                    continue
                values = np.full((n, n), empty)
            object.__setattr__(self, label, self._checked(label, np.asarray(values, kind), (n, n)))
        gains = np.full(n, np.nan) if self.gains is None else np.asarray(self.gains, np.float64)
        object.__setattr__(self, "gains", self._checked("gains", gains, (n,)))

    def _parts(self) -> list[Any]:
        parts = [p for p in (self.coefficients, self.valid, self.quadratic, self.gains) if p is not None]
        return ["crosstalk", self.amps, self.unit, *parts]

    def facts(self) -> dict[str, str]:
        """Number of amplifiers and of coefficients in use, the largest of them."""
        linear, quadratic = self.used()
        source, target = np.unravel_index(np.argmax(np.abs(linear)), linear.shape)
        largest = f"{linear[source, target]:.3g}, {self.amps[source]} to {self.amps[target]}"
        return {
            "amplifiers": str(len(self.amps)),
            "coefficients in use": f"{np.count_nonzero(linear)}, per {self.unit}",
            "largest": largest if linear.any() else "none",
            "quadratic terms": "none" if quadratic is None else str(np.count_nonzero(quadratic)),
        }

    def _checked(self, label: str, values: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
        if values.shape != shape:
            raise GeometryError(
                f"crosstalk {label} has shape {values.shape}, not {shape} for {len(self.amps)} amplifiers",
                where=self.source or None,
            )
        return values

    def used(self) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
        """Linear and quadratic coefficients as they are applied, (n_amp, n_amp) [source, target].

        0 on the diagonal and where the linear coefficient is 0, not finite or not valid: a pair
        without a linear term has no quadratic one either.
        """
        assert self.valid is not None
        keep = np.isfinite(self.coefficients) & (self.coefficients != 0) & self.valid
        np.fill_diagonal(keep, False)
        linear = np.where(keep, self.coefficients, 0.0)
        if self.quadratic is None:
            return linear, None
        return linear, np.where(keep & np.isfinite(self.quadratic), self.quadratic, 0.0)

    def to_table(self) -> Any:
        """An astropy table of one row in the layout of the LSST library (CrosstalkCalib 1.2).

        Matrices are flattened row by row, [source, target]. Amplifier names go into the header key
        ``AMPLIFIERS``, which the LSST library does not write.
        """
        from astropy.table import Table

        n = len(self.amps)
        zero = np.zeros((n, n))
        ratios = self.gain_ratios
        assert self.errors is not None and self.valid is not None and self.counts is not None
        assert self.gains is not None
        columns = {
            "CT_COEFFS": self.coefficients,
            "CT_ERRORS": self.errors,
            "CT_COUNTS": self.counts,
            "CT_VALID": self.valid,
            "CT_COEFFS_SQR": zero if self.quadratic is None else self.quadratic,
            "CT_ERRORS_SQR": np.full((n, n), np.nan) if self.quadratic_errors is None else self.quadratic_errors,
            "CT_AMP_GAIN_RATIOS": self.gains[None, :] / self.gains[:, None] if ratios is None else ratios,
            "CT_FIT_GAINS": self.gains,
        }
        table = Table({name: values.reshape(1, -1) for name, values in columns.items()})
        table.meta.update(
            OBSTYPE="CROSSTALK",
            CROSSTALK_SCHEMA="Gen3 Crosstalk",
            CROSSTALK_VERSION=LSST_VERSION,
            CALIBCLS="lsst.ip.isr.CrosstalkCalib",
            HAS_CROSSTALK=True,
            NAMP=n,
            CROSSTALK_SHAPE=str((n, n)),
            CROSSTALK_RATIOS_UNITS=self.unit,
            AMPLIFIERS=" ".join(self.amps),
            id=self.id,
            schema=self.schema,
            version=self.version,
        )
        return table

    @classmethod
    def from_table(cls, table: Any, amps: tuple[str, ...] | None = None, **more: Any) -> Crosstalk:
        """The product of a one-row table in the layout of the LSST library.

        Parameters
        ----------
        table : astropy table; its meta holds the header.
        amps : amplifier names in the order of the matrix; needed where the header has no ``AMPLIFIERS``.
        more : further fields of the product (source, observation).

        Raises
        ------
        FileError
            the table is of another kind, has no coefficients, or the amplifiers are not named.
        """
        meta = {str(k).upper(): v for k, v in table.meta.items()}
        where = more.get("source") or None
        if str(meta.get("OBSTYPE", "CROSSTALK")).upper() != "CROSSTALK" or "CT_COEFFS" not in table.colnames:
            raise FileError(f"this table is a {meta.get('OBSTYPE', 'table')}, not a crosstalk matrix", where=where)
        names = amps or tuple(str(meta.get("AMPLIFIERS", "")).split())
        size = np.asarray(table["CT_COEFFS"][0]).size
        n = round(size**0.5)
        if len(names) != n:
            raise FileError(
                f"the matrix is for {n} amplifiers, {len(names)} names are known",
                where=where,
                remedy="give the amplifier names of the detector in their order",
            )

        def column(name: str, shape: tuple[int, ...]) -> NDArray[Any] | None:
            return np.asarray(table[name][0]).reshape(shape) if name in table.colnames else None

        unit = str(meta.get("CROSSTALK_RATIOS_UNITS") or "adu")
        quadratic = column("CT_COEFFS_SQR", (n, n))
        measured = quadratic is not None and bool(np.any(np.nan_to_num(quadratic)))
        values: dict[str, Any] = {
            "coefficients": column("CT_COEFFS", (n, n)),
            "errors": column("CT_ERRORS", (n, n)),
            "counts": column("CT_COUNTS", (n, n)),
            "valid": column("CT_VALID", (n, n)),
            "quadratic": quadratic if measured else None,
            "quadratic_errors": column("CT_ERRORS_SQR", (n, n)) if measured else None,
            "gain_ratios": column("CT_AMP_GAIN_RATIOS", (n, n)),
            "gains": column("CT_FIT_GAINS", (n,)),
            "unit": unit,
        }
        return cls(amps=names, **{**values, **more})
