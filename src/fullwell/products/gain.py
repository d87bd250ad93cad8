"""Gain and read noise of each amplifier, with the estimator they came from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fullwell.base.errors import FileError, GeometryError
from fullwell.cameras import Detector
from fullwell.products.base import Product

__all__ = ["Gain"]

UNSTATED = ("", "file", "unknown")
"""Estimators that say nothing of how a gain was measured."""


@dataclass(frozen=True, kw_only=True)
class Gain(Product):
    """Gain of each amplifier. All arrays have shape (n_amp,), in the order of `amps`.

    Parameters
    ----------
    amps : amplifier names.
    gain [electron/adu], gain_error : statistical standard error, gain_model_error : systematic.
    read_noise [electron], read_noise_error; read_noise_adu [adu]: known even where the gain is not (NaN).
    turnoff : [adu above overscan], NaN where unknown; saturation [adu], suspect [adu].
    estimator : "pair", "header", "option", "camera" …; range : (lowest, highest) signal used [adu].
    ptc : id of the photon transfer that it was taken from, "" if from none.
    """

    kind: ClassVar[str] = "gain"
    schema: ClassVar[str] = "fullwell/gain"
    content: ClassVar[tuple[str, ...]] = (
        *("amps", "gain", "read_noise", "read_noise_adu", "estimator"),
        *("saturation", "suspect"),
    )

    amps: tuple[str, ...]
    gain: NDArray[np.float64]
    gain_error: NDArray[np.float64]
    read_noise: NDArray[np.float64]
    read_noise_error: NDArray[np.float64]
    gain_model_error: NDArray[np.float64] | None = None
    saturation: NDArray[np.float64] | None = None
    suspect: NDArray[np.float64] | None = None
    turnoff: NDArray[np.float64] | None = None
    read_noise_adu: NDArray[np.float64] | None = None
    estimator: str = ""
    range: tuple[float, float] = (float("nan"), float("nan"))
    ptc: str = ""

    @property
    def has_method(self) -> bool:
        """Whether it says how it was measured, or who stated it; without that its bias is not known."""
        return self.estimator.strip().lower() not in UNSTATED

    def _settle(self) -> None:
        n = len(self.amps)
        for label in ("gain_model_error", "saturation", "suspect", "turnoff"):
            if getattr(self, label) is None:
                object.__setattr__(self, label, np.full(n, np.nan))
        for label in ("gain", "gain_error", "read_noise", "read_noise_error", "saturation", "suspect", "turnoff"):
            values = np.asarray(getattr(self, label), np.float64)
            if values.shape != (n,):
                raise GeometryError(f"{label} has shape {values.shape} for {n} amplifiers")
            object.__setattr__(self, label, values)
        own = self.gain * np.asarray(np.nan if self.read_noise_adu is None else self.read_noise_adu)
        object.__setattr__(self, "read_noise", np.where(np.isfinite(self.read_noise), self.read_noise, own))
        if self.read_noise_adu is None:
            with np.errstate(divide="ignore", invalid="ignore"):
                object.__setattr__(self, "read_noise_adu", self.read_noise / self.gain)

    def _parts(self) -> list[Any]:
        parts: list[Any] = ["gain", self.amps, self.gain, self.read_noise, self.read_noise_adu, self.estimator]
        levels = [(name, getattr(self, name)) for name in ("saturation", "suspect")]
        return parts + [part for level in levels if np.isfinite(level[1]).any() for part in level]

    def facts(self) -> dict[str, str]:
        """Number of amplifiers, estimator, signals used."""
        low, high = self.range
        used = {"signals used": f"{low:.4g} to {high:.4g} adu"} if np.isfinite([low, high]).all() else {}
        return {"amplifiers": str(len(self.amps)), "estimator": self.estimator, **used}

    @classmethod
    def of_detector(cls, detector: Detector) -> Gain:
        """The nominal values of the camera description."""
        nan = np.full(len(detector), np.nan)
        return cls(
            amps=detector.names,
            gain=detector.values("gain"),
            gain_error=nan,
            read_noise=detector.values("read_noise"),
            read_noise_error=nan,
            saturation=detector.values("saturation"),
            suspect=detector.values("suspect"),
            estimator="camera",
        )

    @classmethod
    def from_table(cls, table: Any, **more: Any) -> Gain:
        """The product of a table with the columns amplifier and gain, and those of `to_table` where they are there.

        Raises
        ------
        FileError
            a column is missing.
        """
        missing = [name for name in ("amplifier", "gain") if name not in table.colnames]
        if missing:
            raise FileError(
                f"the gains lack the column {', '.join(missing)}",
                where=more.get("source"),
                remedy="the columns are amplifier, gain [electron/adu], read_noise [electron] …",
            )
        amps = tuple(str(name) for name in table["amplifier"])

        def column(name: str) -> NDArray[np.float64]:
            if name not in table.colnames:
                return np.full(len(amps), np.nan)
            values = table[name]
            filled = values.filled(np.nan) if hasattr(values, "filled") else values
            return np.asarray(getattr(filled, "value", filled), np.float64)

        names = ("gain", "gain_error", "gain_model_error", "read_noise", "read_noise_error")
        values = {name: column(name) for name in (*names, "saturation", "suspect", "turnoff")}
        if "read_noise_adu" in table.colnames:
            values["read_noise_adu"] = column("read_noise_adu")
        meta = {str(key).lower(): value for key, value in table.meta.items()}
        low, high = (float("nan" if meta.get(key) is None else str(meta[key])) for key in ("range_low", "range_high"))
        estimator = str(meta.get("estimator") or "file")
        more.setdefault("ptc", str(meta.get("ptc") or ""))
        return cls(amps=amps, estimator=estimator, range=(low, high), **{**values, **more})

    def to_table(self) -> Any:
        """An astropy table, one row per amplifier, with units."""
        from astropy.table import QTable

        table = QTable()
        table["amplifier"] = list(self.amps)
        for label, unit in (
            ("gain", "electron/adu"),
            ("gain_error", "electron/adu"),
            ("gain_model_error", "electron/adu"),
            ("read_noise", "electron"),
            ("read_noise_error", "electron"),
            ("read_noise_adu", "adu"),
            ("saturation", "adu"),
            ("suspect", "adu"),
            ("turnoff", "adu"),
        ):
            table[label] = getattr(self, label)
            table[label].unit = unit
        table.meta.update(schema=self.schema, version=self.version, estimator=self.estimator, id=self.id)
        if self.ptc:
            table.meta["ptc"] = self.ptc
        for key, value in zip(("range_low", "range_high"), self.range, strict=True):
            if np.isfinite(value):
                table.meta[key] = float(value)
        return table
