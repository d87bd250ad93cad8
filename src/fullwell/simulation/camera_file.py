"""The camera file of a simulated sensor that is that of no shipped camera: with it its raw files can be read.

It is in the compact form (instruments/README.md), of equal amplifiers side by side, as `grid_detector` lays them.
"""

from __future__ import annotations

from fullwell.base.errors import UsageError
from fullwell.cameras import Amplifier, Detector

__all__ = ["camera_text"]

CORNERS = {(False, False): "LL", (True, False): "LR", (False, True): "UL", (True, True): "UR"}


def camera_text(detector: Detector, name: str = "simulated") -> str:
    """Camera file (TOML) of a sensor of equal amplifiers in one raw image.

    Parameters
    ----------
    name : of the camera, and what the files have as INSTRUME.

    Raises
    ------
    UsageError
        the amplifiers are not equal.
    """
    amps = list(detector)
    first = amps[0]
    if any((a.raw.shape, a.data) != (first.raw.shape, first.data) for a in amps):
        raise UsageError(f"the amplifiers of {detector.name} are not equal", remedy="write the camera file by hand")
    lines = [
        "# Camera file of a simulated sensor: fullwell COMMAND FILE... --camera camera.toml",
        f'name = "{name}"',
        'recipe = "generic"',
        f'detectors = [{{ name = "{detector.name}", id = {detector.id}, type = "grid" }}]',
        "",
        "[[identify]]",
        f'INSTRUME = ["{name}"]',
        "",
        "[types.grid]",
        f"segment = [{first.raw.height}, {first.raw.width}]",
        f"data = [{first.data.height}, {first.data.width}]",
        f"prescan = {first.data.x0}",
        "amplifiers = [",
        *(f"  {{ {_amplifier(amp)} }}," for amp in amps),
        "]",
    ]
    return "\n".join(lines) + "\n"


def _amplifier(amp: Amplifier) -> str:
    corner = CORNERS[amp.orientation.flip_x, amp.orientation.flip_y]
    tile = [amp.trimmed.x0 // amp.trimmed.width, amp.trimmed.y0 // amp.trimmed.height]
    return f'name = "{amp.name}", corner = "{corner}", tile = {tile}'
