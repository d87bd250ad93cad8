"""Simulation: scenes to raw frames, with the truth about them."""

from fullwell.simulation.charge import accumulate, area_matrix, expected_covariance
from fullwell.simulation.classroom import (
    gain_of_line,
    noise_and_signal,
    noise_slopes,
    signal_levels,
    simulated_image,
)
from fullwell.simulation.exposing import Simulated, simulate
from fullwell.simulation.flatpairs import FlatPairs, SeriesConfig, SeriesTruth, flat_pairs, write_series_truth
from fullwell.simulation.masters import exact_products, masters
from fullwell.simulation.night import NightPlan, night
from fullwell.simulation.order import ORDER, SWITCHES
from fullwell.simulation.presets import PRESETS, grid_detector, sensor_of
from fullwell.simulation.scenes import (
    SCENES,
    BiasScene,
    DarkScene,
    FlatScene,
    Scene,
    ScienceScene,
    Star,
    StarField,
    dark_ladder,
    field_series,
    pair_scenes,
    scene_of,
)
from fullwell.simulation.sensor import SensorConfig, SensorModel
from fullwell.simulation.truth import Truth, write_truth

__all__ = [
    "ORDER",
    "PRESETS",
    "SCENES",
    "SWITCHES",
    "BiasScene",
    "DarkScene",
    "FlatPairs",
    "FlatScene",
    "NightPlan",
    "Scene",
    "ScienceScene",
    "SensorConfig",
    "SensorModel",
    "SeriesConfig",
    "SeriesTruth",
    "Simulated",
    "Star",
    "StarField",
    "Truth",
    "accumulate",
    "area_matrix",
    "dark_ladder",
    "exact_products",
    "expected_covariance",
    "field_series",
    "flat_pairs",
    "gain_of_line",
    "grid_detector",
    "masters",
    "night",
    "noise_and_signal",
    "noise_slopes",
    "pair_scenes",
    "scene_of",
    "sensor_of",
    "signal_levels",
    "simulate",
    "simulated_image",
    "write_series_truth",
    "write_truth",
]
