"""Geometry of amplifiers, detectors and cameras; no pixels, no files."""

from fullwell.cameras.detector import Amplifier, Camera, Detector
from fullwell.cameras.geometry import Box, Orientation

__all__ = ["Amplifier", "Box", "Camera", "Detector", "Orientation"]
