"""Simulation: scenes to raw frames, with the truth about them."""

from fullwell.simulation.exposing import Simulated, simulate
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
    flat_pairs,
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
    "FlatScene",
    "NightPlan",
    "Scene",
    "ScienceScene",
    "SensorConfig",
    "SensorModel",
    "Simulated",
    "Star",
    "StarField",
    "Truth",
    "dark_ladder",
    "exact_products",
    "field_series",
    "flat_pairs",
    "grid_detector",
    "masters",
    "night",
    "scene_of",
    "sensor_of",
    "simulate",
    "write_truth",
]
