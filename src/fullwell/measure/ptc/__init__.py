"""Photon transfer: points from pairs of flats, models fitted to them, every estimator of the gain side by side."""

from fullwell.measure.ptc.fit import Fit

__all__ = ["Fit"]
