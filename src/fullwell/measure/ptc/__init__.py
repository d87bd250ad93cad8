"""Photon transfer: points from pairs of flats, models fitted to them, every estimator of the gain side by side."""

from fullwell.measure.ptc.fit import Fit
from fullwell.measure.ptc.fitconfig import FitConfig
from fullwell.measure.ptc.fitting import MODELS, fit

__all__ = ["MODELS", "Fit", "FitConfig", "fit"]
