"""One file per measurement: frames in, product out."""

from fullwell.measure.bands import ArrayBands, Bands, FrameBands
from fullwell.measure.defects import build_defects
from fullwell.measure.levels import Statistics, amplifier_statistics, clip_factor, statistics
from fullwell.measure.masters import build_bias, build_dark, build_flat
from fullwell.measure.pairing import match_pairs
from fullwell.measure.pairs import Noise, pair_gain, pair_noise, pair_transfer
from fullwell.measure.pixelnoise import with_pixel_noise
from fullwell.measure.rejection import Clip
from fullwell.measure.stacking import Combined, combine

__all__ = [
    "ArrayBands",
    "Bands",
    "Clip",
    "Combined",
    "FrameBands",
    "Noise",
    "Statistics",
    "amplifier_statistics",
    "build_bias",
    "build_dark",
    "build_defects",
    "build_flat",
    "clip_factor",
    "combine",
    "match_pairs",
    "pair_gain",
    "pair_noise",
    "pair_transfer",
    "statistics",
    "with_pixel_noise",
]
