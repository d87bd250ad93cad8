"""One file per measurement: frames in, product out."""

from fullwell.measure.bands import ArrayBands, Bands, FrameBands
from fullwell.measure.defects import build_defects
from fullwell.measure.levels import Statistics, amplifier_statistics, clip_factor, statistics
from fullwell.measure.masters import build_bias, build_dark, build_flat
from fullwell.measure.noise_budget import NoiseBudget, noise_budget
from fullwell.measure.pairing import match_pairs
from fullwell.measure.pairs import Noise, pair_gain, pair_noise, pair_transfer
from fullwell.measure.pixelnoise import with_pixel_noise
from fullwell.measure.rejection import Clip
from fullwell.measure.stacking import Combined, combine
from fullwell.measure.variance_check import VarianceCheck, check_variance
from fullwell.measure.without_signal import without_signal

__all__ = [
    "ArrayBands",
    "Bands",
    "Clip",
    "Combined",
    "FrameBands",
    "Noise",
    "NoiseBudget",
    "Statistics",
    "VarianceCheck",
    "amplifier_statistics",
    "build_bias",
    "build_dark",
    "build_defects",
    "build_flat",
    "check_variance",
    "clip_factor",
    "combine",
    "match_pairs",
    "noise_budget",
    "pair_gain",
    "pair_noise",
    "pair_transfer",
    "statistics",
    "with_pixel_noise",
    "without_signal",
]
