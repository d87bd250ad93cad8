"""Photon transfer: points from pairs of flats, models fitted to them, every estimator of the gain side by side."""

from fullwell.measure.ptc.config import ExtractConfig
from fullwell.measure.ptc.extract import measure_points
from fullwell.measure.ptc.fit import Fit
from fullwell.measure.ptc.fitconfig import FitConfig
from fullwell.measure.ptc.fitting import MODELS, fit
from fullwell.measure.ptc.points import PairValues, measure_pair
from fullwell.measure.ptc.turnoff import Turnoff, turnoff

__all__ = [
    "MODELS",
    "ExtractConfig",
    "Fit",
    "FitConfig",
    "PairValues",
    "Turnoff",
    "fit",
    "measure_pair",
    "measure_points",
    "turnoff",
]
