"""Observation: what the header says about an exposure, in our words and units."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

__all__ = ["Observation"]


@dataclass(frozen=True)
class Observation:
    """One detector of one exposure, as translated from its header.

    Parameters
    ----------
    instrument, detector : names; detector_id : number within the camera.
    exposure_id : integer id, 0 where the header has none; obs_id : the header's own id, or the file stem.
    day_obs : yyyymmdd, 0 if unknown; seq_num : within the day, -1 if unknown.
    kind : "bias", "dark", "flat", "science", "arc", "focus", "unknown" …
    filter : physical filter, with further optics joined by "~" ("g~grism#7"), "" if none.
    band : "g", "r" …, "" if unknown.
    exposure_time, dark_time : [s]; NaN if unknown.
    begin : ISO time (TAI); mjd : of the same moment, NaN if unknown.
    temperature : of the sensor [Celsius]; set_temperature : what was asked for.
    binning : (x, y); window : (x0, y0, width, height) on the unbinned detector, None for full frame.
    readout_mode, gain_setting : as the header has them, "" if absent.
    header_gain : [electron/adu] as stated, NaN if absent or implausible; header_read_noise : [electron].
    object, group, reason : free texts.
    sources : which keyword each field came from.
    """

    instrument: str = "generic"
    detector: str = "0"
    detector_id: int = 0
    exposure_id: int = 0
    obs_id: str = ""
    day_obs: int = 0
    seq_num: int = -1
    kind: str = "unknown"
    filter: str = ""
    band: str = ""
    exposure_time: float = math.nan
    dark_time: float = math.nan
    begin: str = ""
    mjd: float = math.nan
    temperature: float = math.nan
    set_temperature: float = math.nan
    binning: tuple[int, int] = (1, 1)
    window: tuple[int, int, int, int] | None = None
    readout_mode: str = ""
    gain_setting: str = ""
    header_gain: float = math.nan
    header_read_noise: float = math.nan
    object: str = ""
    group: str = ""
    reason: str = ""
    sources: dict[str, str] = field(default_factory=dict, compare=False)

    @property
    def collecting_time(self) -> float:
        """Time over which dark charge collects [s]: the dark time, the exposure time where that is unknown."""
        return self.dark_time if math.isfinite(self.dark_time) else self.exposure_time
