"""The mask planes: name, bit, and a sentence of meaning.

Names and the first nine bit numbers are those of the LSST library, so that files travel both
ways; a file's own ``MP_<NAME>`` keys decide when it is read.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PLANES", "MaskPlane", "bit"]


@dataclass(frozen=True)
class MaskPlane:
    """One bit of a mask."""

    name: str
    bit: int
    meaning: str


PLANES: tuple[MaskPlane, ...] = (
    MaskPlane("BAD", 0, "Defective pixel or amplifier: its value says nothing about the light."),
    MaskPlane(
        "SAT", 1, "At or above the amplifier's saturation level, above the overscan, or the converter's largest count."
    ),
    MaskPlane("INTRP", 2, "The value was replaced by interpolation from its neighbours."),
    MaskPlane("CR", 3, "Hit by a cosmic ray."),
    MaskPlane("EDGE", 4, "Too near the edge of the detector for a correction that needs neighbours."),
    MaskPlane("DETECTED", 5, "Part of a detected source."),
    MaskPlane("DETECTED_NEGATIVE", 6, "Part of a detected source of negative flux."),
    MaskPlane("SUSPECT", 7, "Above the level up to which the amplifier is trusted, below saturation."),
    MaskPlane("NO_DATA", 8, "No light can reach this pixel, or it was not read."),
    MaskPlane("CROSSTALK", 9, "Received a crosstalk correction above the stated threshold."),
    MaskPlane("UNMASKEDNAN", 10, "Not a finite number, and no other plane says why."),
    MaskPlane("INJECTED", 11, "A synthetic source added light here."),
    MaskPlane("INJECTED_CORE", 12, "Centre of a synthetic source."),
    MaskPlane("REJECTED", 13, "Some of the input values of a combination were rejected here."),
    MaskPlane("ITL_DIP", 14, "In a dark trail beside a bright source on an ITL sensor."),
)

_BITS = {plane.name: plane.bit for plane in PLANES}


def bit(name: str) -> int:
    """The value ``2**n`` of plane `name`."""
    return 1 << _BITS[name]
