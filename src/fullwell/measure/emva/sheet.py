"""The numbers of the data sheet, with errors, from the levels and stacks of a camera test.

K is the system gain [DN/electron], R the responsivity [DN/photon], eta = R / K. Where photons are not known, R is
per second and all that needs photons is left open, with the reason.

Reference: EMVA Standard 1288, release 4.0 Linear, sections 3, 4, 6 and 8.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fullwell.measure.emva.levels import through_origin
from fullwell.products.emva1288 import LevelSeries, Quantity, SpatialNoise

__all__ = ["Gains", "Sheet", "data_sheet", "gains"]

NAN = math.nan
QUANTISATION = 1 / 12
LEAST_NOISE2 = 0.24
"""Temporal dark variance [DN2] below which the quantisation hides it."""
NO_PHOTONS = "the number of photons per pixel is not known"
NO_STACK = "there is no stack of {} images at one level"


@dataclass(frozen=True)
class Gains:
    """System gain and responsivity.

    Parameters
    ----------
    k, k_error : by the standard [DN/electron]; corrected, corrected_error : freed of brighter-fatter, NaN if unknown.
    r, r_error : [DN/photon], or [DN/s] where the photons are not known; photons : whether they are.
    """

    k: float
    k_error: float
    r: float
    r_error: float
    photons: bool
    corrected: float = NAN
    corrected_error: float = NAN


def gains(levels: LevelSeries) -> Gains:
    """K and R of the standard: lines through the origin up to 70 % of saturation.

    Raises
    ------
    DataError
        fewer than three levels in that range.
    """
    use = levels.sensitivity
    x, y = levels.signal[use], levels.shot[use]
    k, k_error = through_origin(x, y, np.zeros(x.size))
    errors2 = levels.variance_error[use] ** 2 + levels.dark_variance_error[use] ** 2
    k_error = math.sqrt(float(np.sum(x**2 * errors2))) / float(x @ x)
    noise = np.sqrt((levels.variance[use] + levels.dark_variance[use]) / (2 * levels.pixels))
    r, r_error = through_origin(levels.light[use], x, noise)
    return Gains(k, k_error, r, r_error, bool(np.isfinite(levels.photons).all()))


def _relative(value: float, *pairs: tuple[float, float]) -> float:
    """Error of a product or quotient of independent (value, error)."""
    return abs(value) * math.sqrt(sum((e / v) ** 2 for v, e in pairs if v and math.isfinite(e)))


@dataclass
class Sheet:
    """The quantities worked out with one value of K; `data_sheet` runs it twice."""

    levels: LevelSeries
    gains: Gains
    k: float
    k_error: float

    def __post_init__(self) -> None:
        g, levels = self.gains, self.levels
        self.eta = g.r / self.k if g.photons else NAN
        self.eta_error = _relative(self.eta, (g.r, g.r_error), (self.k, self.k_error))
        floor = float(levels.dark_variance[0]) < LEAST_NOISE2
        self.dark2 = LEAST_NOISE2 if floor else float(levels.dark_variance[0])
        self.dark2_error = 0.0 if floor else float(levels.dark_variance_error[0])
        self.top = levels.saturation if levels.saturation >= 0 else levels.signal.size - 1

    def noise(self) -> tuple[float, float]:
        """sigma_d [electron], without quantisation."""
        inner = self.dark2 - QUANTISATION
        value = math.sqrt(inner) / self.k
        return value, math.hypot(value * self.dark2_error / (2 * inner), _relative(value, (self.k, self.k_error)))

    def threshold(self) -> tuple[float, float]:
        """mu_e.min [electron]: the signal of signal-to-noise 1, the root of mu2 - mu - sigma_y.dark2 / K2 = 0."""
        noise2 = self.dark2 / self.k**2
        root = math.sqrt(noise2 + 0.25)
        error2 = math.hypot(self.dark2_error / self.k**2, 2 * noise2 * self.k_error / self.k)
        return root + 0.5, error2 / (2 * root)

    def capacity(self) -> tuple[float, float]:
        """mu_e.sat [electron]; its error holds half the step of the series, for the level is one of them."""
        levels, light = self.levels, self.levels.light
        value = (self.eta * light[self.top]) if self.gains.photons else float(levels.signal[self.top]) / self.k
        relative = self.eta_error / self.eta if self.gains.photons else self.k_error / self.k
        return float(value), float(abs(value) * math.hypot(relative, self.step() / light[self.top]))

    def step(self) -> float:
        """Half the mean distance of the neighbours of the level of saturation, in units of the light."""
        light = self.levels.light
        low, high = light[max(self.top - 1, 0)], light[min(self.top + 1, light.size - 1)]
        return float(high - low) / (2 * max(min(self.top + 1, light.size - 1) - max(self.top - 1, 0), 1))


def data_sheet(levels: LevelSeries, g: Gains, dark: SpatialNoise | None, bright: SpatialNoise | None) -> list[Quantity]:
    """Every quantity of the data sheet, in its order; what cannot be given is NaN and says why."""
    one = Sheet(levels, g, g.k, g.k_error)
    two = Sheet(levels, g, g.corrected, g.corrected_error) if math.isfinite(g.corrected) else None
    return [*_gain(one, two), *_noise(one, two), *_range(one, two), *_linearity(levels), *_dark_current(one, two),
            *_dsnu(one, two, dark), *_prnu(dark, bright)]  # fmt: skip


def _gain(one: Sheet, two: Sheet | None) -> list[Quantity]:
    g = one.gains
    unit = "DN/photon" if g.photons else "DN/s"
    inverse = (1 / g.k, _relative(1 / g.k, (g.k, g.k_error)))
    other = (1 / two.k, _relative(1 / two.k, (two.k, two.k_error))) if two else (NAN, NAN)
    note = "" if g.photons else NO_PHOTONS
    return [
        Quantity("quantum_efficiency", "η", "quantum efficiency", 100 * one.eta, 100 * one.eta_error, "%",
                 100 * two.eta if two else NAN, 100 * two.eta_error if two else NAN, note),
        Quantity("responsivity", "R", "responsivity", g.r, g.r_error, unit,
                 note="" if g.photons else f"per second of exposure: {NO_PHOTONS}"),
        Quantity("system_gain", "K", "system gain", g.k, g.k_error, "DN/electron", g.corrected, g.corrected_error),
        Quantity("inverse_gain", "1/K", "inverse of the system gain", *inverse, "electron/DN", *other),
    ]  # fmt: skip


def _noise(one: Sheet, two: Sheet | None) -> list[Quantity]:
    levels = one.levels
    low = float(levels.dark_variance[0]) < LEAST_NOISE2
    note = (
        f"an upper limit: the temporal variance of {levels.dark_variance[0]:.3g} DN² in the dark is below "
        f"{LEAST_NOISE2} DN², where quantisation hides it"
        if low
        else ""
    )
    sigma = math.sqrt(one.dark2)
    step = math.sqrt(QUANTISATION)
    return [
        Quantity("dark_level", "μ_y.dark", "level in the dark", float(levels.dark_mean[0]),
                 math.sqrt(float(levels.dark_variance[0]) / (2 * levels.pixels)), "DN"),
        Quantity("dark_noise_dn", "σ_y.dark", "temporal dark noise", sigma, one.dark2_error / (2 * sigma), "DN",
                 note=note),
        Quantity("dark_noise", "σ_d", "temporal dark noise", *one.noise(), "electron",
                 *(two.noise() if two else (NAN, NAN)), note=note),
        Quantity("quantisation_noise", "σ_q", "quantisation noise", step / one.k,
                 _relative(step / one.k, (one.k, one.k_error)), "electron", step / two.k if two else NAN,
                 _relative(step / two.k, (two.k, two.k_error)) if two else NAN),
    ]  # fmt: skip


def _photons(pair: tuple[float, float], sheet: Sheet) -> tuple[float, float]:
    value = pair[0] / sheet.eta
    return value, math.hypot(pair[1] / sheet.eta, _relative(value, (sheet.eta, sheet.eta_error)))


def _range(one: Sheet, two: Sheet | None) -> list[Quantity]:
    g, levels = one.gains, one.levels
    none = (NAN, NAN)
    full = "" if levels.saturation >= 0 else "a lower limit: the series ends before saturation"
    missing = "" if g.photons else NO_PHOTONS

    def both(method: str) -> tuple[tuple[float, float], tuple[float, float]]:
        return getattr(one, method)(), getattr(two, method)() if two else none

    def ratio(sheet: Sheet) -> tuple[float, float]:
        high, low = sheet.capacity(), sheet.threshold()
        return high[0] / low[0], _relative(high[0] / low[0], high, low)

    def snr(sheet: Sheet) -> tuple[float, float]:
        value, error = sheet.capacity()
        return math.sqrt(value), error / (2 * math.sqrt(value))

    threshold, capacity = both("threshold"), both("capacity")
    rows = [
        Quantity("threshold_e", "μ_e.min", "absolute sensitivity threshold", *threshold[0], "electron", *threshold[1]),
        Quantity("threshold_p", "μ_p.min", "absolute sensitivity threshold",
                 *(_photons(threshold[0], one) if g.photons else none), "photon",
                 *(_photons(threshold[1], two) if g.photons and two else none), missing),
        Quantity("saturation_dn", "μ_y.sat", "level of saturation", float(levels.mean[one.top]),
                 float(levels.signal[one.top] * one.step() / levels.light[one.top]), "DN", note=full),
        Quantity("saturation_e", "μ_e.sat", "saturation capacity", *capacity[0], "electron", *capacity[1], full),
        Quantity("saturation_p", "μ_p.sat", "saturation capacity",
                 float(levels.photons[one.top]), one.step() if g.photons else NAN, "photon", note=missing or full),
    ]  # fmt: skip
    snr_one, snr_two = snr(one), snr(two) if two else none
    dr_one, dr_two = ratio(one), ratio(two) if two else none
    for key, symbol, name, first, second in (
        ("snr_max", "SNR_max", "largest signal-to-noise ratio", snr_one, snr_two),
        ("dynamic_range", "DR", "dynamic range", dr_one, dr_two),
    ):
        rows.append(Quantity(key, symbol, name, *first, "", *second, full))
        rows.append(Quantity(f"{key}_db", symbol, f"{name}, 20 log10", *_decibel(first), "dB", *_decibel(second), full))
    return rows


def _decibel(pair: tuple[float, float]) -> tuple[float, float]:
    return 20 * math.log10(pair[0]), 20 / math.log(10) * pair[1] / pair[0]


def _linearity(levels: LevelSeries) -> list[Quantity]:
    found = np.isfinite(levels.deviation)
    note = "" if found.any() else "fewer than three levels between 5 % and 95 % of saturation"
    each = np.full(levels.signal.size, np.nan)
    each[found] = 100 * np.sqrt(levels.variance[found] / (2 * levels.pixels)) / levels.signal[found]
    values = levels.deviation[found]
    rows = []
    for key, symbol, name, pick in (
        ("linearity_error_min", "LE_min", "linearity error, lowest", np.argmin),
        ("linearity_error_max", "LE_max", "linearity error, highest", np.argmax),
    ):
        at = pick(values) if values.size else 0
        rows.append(Quantity(key, symbol, name, float(values[at]) if values.size else NAN,
                             float(each[found][at]) if values.size else NAN, "%", note=note))  # fmt: skip
    mean = float(np.mean(np.abs(values))) if values.size else NAN
    error = float(math.sqrt(np.sum(each[found] ** 2)) / values.size) if values.size else NAN
    rows.append(
        Quantity("linearity_error", "LE", "linearity error, mean of absolute values", mean, error, "%", note=note)
    )
    return rows


def _dark_current(one: Sheet, two: Sheet | None) -> list[Quantity]:
    """Slopes of the mean and of the variance in the dark against time, where the times differ."""
    levels = one.levels
    times, where = np.unique(levels.time, return_index=True)
    if times.size < 3 or times[-1] < 2 * max(times[0], 1e-12):
        why = "the dark images have fewer than three exposure times, or times too alike"
        return [Quantity("dark_current", "μ_I.mean", "dark current, from the mean", NAN, unit="electron/s", note=why),
                Quantity("dark_current_variance", "μ_I.var", "dark current, from the variance", NAN,
                         unit="electron/s", note=why)]  # fmt: skip
    out = []
    for key, symbol, name, y, power in (
        ("dark_current", "μ_I.mean", "dark current, from the mean", levels.dark_mean[where], 1),
        ("dark_current_variance", "μ_I.var", "dark current, from the variance", levels.dark_variance[where], 2),
    ):
        slope, error = _slope(times, y)
        pairs = []
        for sheet in (one, two):
            if sheet is None:
                pairs.append((NAN, NAN))
                continue
            value = slope / sheet.k**power
            pairs.append((value, math.hypot(error / sheet.k**power, power * value * sheet.k_error / sheet.k)))
        note = "" if slope > 4 * error else "not seen: below four standard errors"
        out.append(Quantity(key, symbol, name, *pairs[0], "electron/s", *pairs[1], note))
    return out


def _slope(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Slope of the straight line by least squares, its error from the scatter."""
    away = x - x.mean()
    slope = float(away @ y) / float(away @ away)
    rest = y - y.mean() - slope * away
    return slope, math.sqrt(float(rest @ rest) / (x.size - 2) / float(away @ away))


def _root(square: float, error: float) -> tuple[float, float]:
    """Square root of a variance and its error; NaN where it came out below zero."""
    return (NAN, NAN) if square <= 0 else (math.sqrt(square), error / (2 * math.sqrt(square)))


_PARTS = (("", "", "total"), ("_row", ".row", "row"), ("_column", ".col", "column"), ("_pixel", ".pixel", "pixel"))
_NONE_LEFT = "no such part: its variance came out below zero"


def _dsnu(one: Sheet, two: Sheet | None, dark: SpatialNoise | None) -> list[Quantity]:
    out = []
    for tail, mark, part in _PARTS:
        name = "dark signal nonuniformity" + (f", {part}s" if tail else "")
        symbol = f"DSNU1288{mark}"
        if dark is None:
            out.append(Quantity(f"dsnu{tail}", symbol, name, NAN, unit="electron", note=NO_STACK.format("dark")))
            continue
        value, error = _root(getattr(dark, part), getattr(dark, f"{part}_error"))
        pairs = [
            (value / s.k, math.hypot(error / s.k, _relative(value / s.k, (s.k, s.k_error)))) if s else (NAN, NAN)
            for s in (one, two)
        ]
        note = _NONE_LEFT if math.isnan(value) else _shared(dark, part)
        out.append(Quantity(f"dsnu{tail}", symbol, name, *pairs[0], "electron", *pairs[1], note))
    return out


def _shared(noise: SpatialNoise, part: str) -> str:
    """A sentence where noise that whole rows or columns share, other in each image, makes up a part of the variance."""
    beyond = {"row": noise.row_noise, "column": noise.column_noise}.get(part, 0.0) / noise.images
    if beyond <= 4 * getattr(noise, f"{part}_error"):
        return ""
    share = 100 * beyond / getattr(noise, part)
    return f"{share:.0f} % of its variance is noise of whole {part}s that changes from image to image"


def _prnu(dark: SpatialNoise | None, bright: SpatialNoise | None) -> list[Quantity]:
    out = []
    for tail, mark, part in (*_PARTS, ("_smooth_free", "", "smooth_free")):
        words = ", after a high pass" if part == "smooth_free" else f", {part}s" if tail else ""
        name, symbol = "photo response nonuniformity" + words, f"PRNU1288{mark}"
        if dark is None or bright is None:
            why = NO_STACK.format("dark" if dark is None else "bright")
            out.append(Quantity(f"prnu{tail}", symbol, name, NAN, unit="%", note=why))
            continue
        signal = bright.mean - dark.mean
        error_of = "pixel" if part == "smooth_free" else part
        error2 = math.hypot(getattr(bright, f"{error_of}_error"), getattr(dark, f"{error_of}_error"))
        value, error = _root(getattr(bright, part) - getattr(dark, part), error2)
        note = _NONE_LEFT if math.isnan(value) else ""
        out.append(Quantity(f"prnu{tail}", symbol, name, 100 * value / signal, 100 * error / signal, "%", note=note))
    return out
