"""Photon transfer: points from pairs of flats, models fitted to them, every estimator of the gain side by side."""

from fullwell.measure.ptc.bins import BinConfig, binned_points, measure_binned
from fullwell.measure.ptc.config import ExtractConfig
from fullwell.measure.ptc.estimators import ESTIMATORS
from fullwell.measure.ptc.extract import measure_points
from fullwell.measure.ptc.fit import Fit
from fullwell.measure.ptc.fitconfig import FitConfig
from fullwell.measure.ptc.fitting import MODELS, fit
from fullwell.measure.ptc.points import PairValues, measure_pair
from fullwell.measure.ptc.series import series_points
from fullwell.measure.ptc.solve import SolveConfig, solve, solve_amplifier
from fullwell.measure.ptc.turnoff import Turnoff, turnoff
from fullwell.measure.ptc.whole import photon_transfer

__all__ = [
    "ESTIMATORS",
    "MODELS",
    "BinConfig",
    "ExtractConfig",
    "Fit",
    "FitConfig",
    "PairValues",
    "SolveConfig",
    "Turnoff",
    "binned_points",
    "fit",
    "measure_binned",
    "measure_pair",
    "measure_points",
    "photon_transfer",
    "series_points",
    "solve",
    "solve_amplifier",
    "turnoff",
]
