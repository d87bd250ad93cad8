"""Frames: planes of pixels with units, named masks, and history."""

from fullwell.frames.frame import Frame, GainMap
from fullwell.frames.observation import Observation
from fullwell.frames.plane import Mask, Plane
from fullwell.frames.planes import PLANES, MaskPlane, bit

__all__ = ["PLANES", "Frame", "GainMap", "Mask", "MaskPlane", "Observation", "Plane", "bit"]
