"""What a camera test after EMVA 1288, release 4.0 (Linear), gives: numbers with errors, and the curves behind them.

Signs are those of the standard: mu_p photons and mu_e electrons per pixel, mu_y the grey value [DN], sigma_y2 its
temporal and s_y2 its spatial variance [DN2], K the system gain [DN/electron], the inverse of what is called gain here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fullwell.base.errors import GeometryError
from fullwell.base.numbers import number

__all__ = ["Emva1288", "LevelSeries", "Quantity", "SpatialNoise"]

F8 = NDArray[np.float64]
NAN = float("nan")


@dataclass(frozen=True)
class Quantity:
    """One number of the data sheet.

    Parameters
    ----------
    key : short name, for machines; symbol : as release 4.0 writes it; name : in words.
    value, error : by the standard, and its standard error; NaN where it cannot be given.
    unit : "" for none.
    corrected, corrected_error : the same freed of brighter-fatter; NaN where the gain does not enter.
    note : why there is no value, or what is to be known of it.
    """

    key: str
    symbol: str
    name: str
    value: float
    error: float = NAN
    unit: str = ""
    corrected: float = NAN
    corrected_error: float = NAN
    note: str = ""


@dataclass(frozen=True)
class LevelSeries:
    """The series of levels, one entry each, in order of the light.

    Parameters
    ----------
    time : [s]; photons : per pixel, NaN where unknown.
    mean, dark_mean : mu_y and mu_y.dark [DN], of both images of a pair; variance, dark_variance : temporal [DN2].
    variance_error, dark_variance_error : standard errors [DN2].
    pixels : of one image.
    saturation : index of the level of saturation, -1 where the series does not reach it.
    sensitivity : levels of the fits of R and K; linearity : levels of the fit of the linearity error.
    line : (offset, slope) of mu_y - mu_y.dark [DN] against `light`.
    deviation : from that line [%], NaN outside the range.
    """

    time: F8
    photons: F8
    mean: F8
    variance: F8
    variance_error: F8
    dark_mean: F8
    dark_variance: F8
    dark_variance_error: F8
    pixels: int
    saturation: int
    sensitivity: NDArray[np.bool_]
    linearity: NDArray[np.bool_]
    line: tuple[float, float] = (NAN, NAN)
    deviation: F8 = field(default_factory=lambda: np.zeros(0))

    @property
    def signal(self) -> F8:
        """mu_y - mu_y.dark [DN]."""
        return self.mean - self.dark_mean

    @property
    def shot(self) -> F8:
        """sigma_y2 - sigma_y.dark2 [DN2]."""
        return self.variance - self.dark_variance

    @property
    def light(self) -> F8:
        """Photons per pixel where all are known, else exposure time [s]."""
        return self.photons if np.isfinite(self.photons).all() else self.time

    @property
    def light_label(self) -> str:
        """What `light` is, with its unit."""
        return "photons per pixel" if np.isfinite(self.photons).all() else "exposure time, s"


@dataclass(frozen=True)
class SpatialNoise:
    """Spatial nonuniformity of a stack of images of one level; row, column, pixel as release 4.0 splits it.

    Parameters
    ----------
    images : L, of the stack; shape : (M rows, N columns).
    mean : [DN]; temporal : mean temporal variance of one image [DN2].
    measured : variance of the mean image [DN2]; total : without what temporal noise adds to it [DN2].
    row, column, pixel : its parts [DN2]; one may come out below zero where there is none.
    total_error, row_error, column_error, pixel_error : standard errors [DN2].
    smooth_free : `total` of the image after a high pass, so that uneven light does not count [DN2].
    horizontal, vertical : spectrograms, power [DN2] at `frequencies` 0 ... 0.5 cycles per pixel along x and along y.
    white : variance of the white part [DN2], the median of both spectrograms, temporal part taken off;
        nonwhiteness : total over white, temporal part included in both.
    profiles : "horizontal", "vertical" -> (4, n) mean, smallest, largest and middle line across the other axis [DN].
    row_noise, column_noise : temporal variance that whole rows or columns share [DN2]; 1/L of it is left in `row` and
        `column`.
    edges, counts : histogram of the deviation from the mean [DN], at most 256 bins; model : Gaussian of the white part.
    accumulated : (2, n) absolute deviation [DN] and the share of pixels beyond it.
    """

    images: int
    shape: tuple[int, int]
    mean: float
    temporal: float
    measured: float
    total: float
    row: float
    column: float
    pixel: float
    total_error: float
    row_error: float
    column_error: float
    pixel_error: float
    smooth_free: float
    horizontal: F8
    vertical: F8
    white: float
    nonwhiteness: float
    profiles: Mapping[str, F8]
    edges: F8
    counts: NDArray[np.int64]
    model: F8
    accumulated: F8
    row_noise: float = 0.0
    column_noise: float = 0.0


@dataclass(frozen=True)
class Emva1288:
    """All that a camera test gives.

    Parameters
    ----------
    quantities : of the data sheet, in its order, those that could not be given included.
    levels : the series.
    dark, bright : spatial noise; None where there is no stack. `bright` is of the difference of bright and dark stack.
    correction : how the gain was freed of brighter-fatter, "" where it could not be.
    curve : (2, n) signal [DN] and variance [DN2] of that model, shape (2, 0) where there is none.
    facts : about camera and files; notes : sentences for people.
    """

    kind: ClassVar[str] = "emva1288"
    schema: ClassVar[str] = "fullwell/emva1288"
    version: ClassVar[str] = "1.0.0"

    quantities: tuple[Quantity, ...]
    levels: LevelSeries
    dark: SpatialNoise | None = None
    bright: SpatialNoise | None = None
    correction: str = ""
    curve: F8 = field(default_factory=lambda: np.zeros((2, 0)))
    facts: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __getitem__(self, key: str) -> Quantity:
        """The quantity of that key; GeometryError where there is none."""
        for quantity in self.quantities:
            if quantity.key == key:
                return quantity
        raise GeometryError(f"there is no quantity '{key}'", remedy=", ".join(q.key for q in self.quantities))

    def plot(self, name: str = "photon_transfer", **options: Any) -> Any:
        """The registered figure `name` of a camera test, a Matplotlib figure."""
        from fullwell.base.figures import figure

        return figure(self.kind, name)(self, **options)

    def to_table(self) -> Any:
        """An astropy table, one row per quantity."""
        from astropy.table import Table

        rows = [(q.key, q.symbol, q.name, q.value, q.error, q.unit, q.corrected, q.corrected_error, q.note)
                for q in self.quantities]  # fmt: skip
        names = ("key", "symbol", "name", "value", "error", "unit", "corrected", "corrected_error", "note")
        table = Table(rows=rows, names=names)
        table.meta.update(schema=self.schema, version=self.version, correction=self.correction, facts=dict(self.facts))
        return table

    def to_dict(self) -> dict[str, Any]:
        """As JSON types: quantities by key, each {"value", "error", "unit"}, and the series."""
        out = {}
        for q in self.quantities:
            out[q.key] = {**number(q.value, q.error, q.unit), "symbol": q.symbol, "name": q.name, "note": q.note,
                          "corrected": number(q.corrected, q.corrected_error, q.unit)}  # fmt: skip
        series = {name: getattr(self.levels, name)
                  for name in ("time", "photons", "mean", "variance", "variance_error", "dark_mean", "dark_variance",
                               "sensitivity", "linearity", "deviation")}  # fmt: skip
        return {"release": "4.0 Linear", "quantities": out, "levels": {**series, "saturation": self.levels.saturation},
                "correction": self.correction, "facts": dict(self.facts), "notes": list(self.notes)}  # fmt: skip
