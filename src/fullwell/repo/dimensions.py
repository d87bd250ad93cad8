"""Observations as dimension records: instrument, detectors, filters, days, groups, exposures, visits.

The library keeps what a data id refers to in tables of records. A record of an exposure says its filter, day and
times, so that ``get("flat", detector=…, exposure=…)`` finds the filter and the validity by itself.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

from fullwell.base.errors import UsageError
from fullwell.frames import Observation
from fullwell.repo.layout import ONDISK, safe

__all__ = ["Identity", "Records", "butler_name", "identity", "instrument_of", "timespan_of"]

NAMES = {
    "lsstcam": "LSSTCam",
    "lsstcomcam": "LSSTComCam",
    "latiss": "LATISS",
    "lsst-ts8": "LSST-TS8",
    "demo": "FullwellDemo",
}
"""Name of a described instrument -> its name in a repository; any other keeps its own, made safe."""

_ID_LIMIT = 2**62
_NO_DAY = 19700101
"""Day of exposures whose header has no date."""

_MJD_1970 = 40587.0
"""The first day of 1970."""

_ORDER = ("instrument", "physical_filter", "day_obs", "group", "detector", "visit_system", "exposure")
_VISITS = ("visit", "visit_definition", "visit_system_membership")


def butler_name(instrument: str) -> str:
    """The name that an instrument has in repositories.

    >>> butler_name("lsstcomcam"), butler_name("SBIG STL-1001 3 CCD Camera")
    ('LSSTComCam', 'SBIG_STL-1001_3_CCD_Camera')
    """
    return NAMES.get(instrument.lower(), safe(instrument))


def instrument_of(name: str) -> str:
    """The name that fullwell knows a repository's instrument by: the inverse of `butler_name`, or "generic"."""
    for ours, theirs in NAMES.items():
        if theirs == name:
            return ours
    from fullwell import instruments

    return next((n for n in instruments.names() if safe(n) == name), "generic")


@dataclass(frozen=True)
class Identity:
    """The data id of a raw frame, and what its exposure record says.

    Parameters
    ----------
    instrument, detector, exposure : the data id. detector_name : full name of the detector.
    physical_filter, band : "unknown" where the header names no filter, or a filter of no known band.
    day_obs : yyyymmdd. dated : whether the header tells when the exposure was taken.
    """

    instrument: str
    detector: int
    detector_name: str
    exposure: int
    physical_filter: str
    band: str
    day_obs: int
    dated: bool
    observation: Observation

    @property
    def data_id(self) -> dict[str, Any]:
        """Data id of the raw frame."""
        return {"instrument": self.instrument, "detector": self.detector, "exposure": self.exposure}

    @property
    def obs_id(self) -> str:
        """The camera's own name of the exposure, else its number."""
        return self.observation.obs_id or str(self.exposure)

    def __str__(self) -> str:
        return f"{self.instrument} exposure {self.exposure} detector {self.detector}"


def _number(obs: Observation, day: int) -> int:
    """The exposure's own number; of a described camera its day and place in it; else one made of its day and name.

    It is the same wherever and with whatever else the exposure is entered.
    """
    if 0 < obs.exposure_id < _ID_LIMIT:
        return obs.exposure_id
    if obs.instrument.lower() in NAMES and 0 <= obs.seq_num < 100_000:
        return day * 100_000 + obs.seq_num
    text = f"{obs.obs_id}|{obs.begin}".encode()
    return day * 10**10 + int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") % 10**10


def identity(obs: Observation) -> Identity:
    """What a repository calls the frame of an observation."""
    dated = _dated(obs)
    day = next((d for d in (obs.day_obs, _day_of(obs)) if _is_day(d)), _NO_DAY)
    name = safe(obs.filter) if obs.filter else "unknown"
    return Identity(
        butler_name(obs.instrument),
        obs.detector_id,
        obs.detector or str(obs.detector_id),
        _number(obs, day),
        name,
        obs.band or "unknown",
        day,
        dated,
        obs,
    )


def _dated(obs: Observation) -> bool:
    """Whether the time of an exposure is known; the library has none before 1970, as clocks show that are not set."""
    return math.isfinite(obs.mjd) and obs.mjd >= _MJD_1970


def _is_day(number: int) -> bool:
    """Whether a number is a date, yyyymmdd, after the one that stands for none."""
    try:
        date(number // 10_000, number // 100 % 100, number % 100)
    except ValueError:
        return False
    return number > _NO_DAY


def _day_of(obs: Observation) -> int:
    """The day that began at the noon before an exposure, as Rubin counts it."""
    if not _dated(obs):
        return _NO_DAY
    return int(f"{date(1858, 11, 17) + timedelta(days=math.floor(obs.mjd - 0.5)):%Y%m%d}")


def timespan_of(obs: Observation) -> Any:
    """From the opening of the shutter to its closing [TAI]; the first moment of 1970 where no time is known."""
    from astropy.time import Time, TimeDelta
    from lsst.daf.butler import Timespan

    length = obs.exposure_time if math.isfinite(obs.exposure_time) and obs.exposure_time > 0 else 0.0
    if not _dated(obs):
        begin = Time("1970-01-01T00:00:00", scale="tai")
    else:
        begin = Time(obs.mjd, format="mjd", scale="tai")
    return Timespan(begin, begin + TimeDelta(max(length, 1e-3), format="sec", scale="tai"))


def _raft(name: str) -> tuple[str | None, str]:
    found = re.fullmatch(r"(R\w\w)_(S\w\w?)", name)
    return (found.group(1), found.group(2)) if found else (None, name)


def _plain(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


@dataclass
class Records:
    """Dimension records to be entered at once: one bulk statement for each dimension."""

    rows: dict[str, dict[tuple[Any, ...], dict[str, Any]]] = field(default_factory=dict)

    def _add(self, dimension: str, key: tuple[Any, ...], row: dict[str, Any]) -> None:
        self.rows.setdefault(dimension, {}).setdefault(key, row)

    def _has(self, dimension: str, key: tuple[Any, ...]) -> bool:
        return key in self.rows.get(dimension, {})

    def add_instrument(self, name: str) -> None:
        """The instrument, and the detectors and filters of a camera that is described."""
        from fullwell import instruments

        if self._has("instrument", (name,)):
            return
        biggest = 2**62
        self._add(
            "instrument",
            (name,),
            {
                "name": name,
                "class_name": f"{ONDISK}.FullwellInstrument",
                "detector_max": 100_000,
                "exposure_max": biggest,
                "visit_max": biggest,
                "visit_system": 0,
            },
        )
        self._add("visit_system", (name, 0), {"instrument": name, "id": 0, "name": "one-to-one"})
        known = instrument_of(name)
        described = instruments.get(known)
        for det in described.camera or ():
            self.add_detector(name, det.id, det.name)
        for physical, band in described.bands.items():
            self.add_filter(name, safe(physical), band or "unknown")

    def add_detector(self, instrument: str, number: int, name: str) -> None:
        """One detector of a camera."""
        raft, place = _raft(name)
        row = {
            "instrument": instrument,
            "id": number,
            "full_name": name,
            "name_in_raft": place,
            "raft": raft,
            "purpose": "SCIENCE",
        }
        self._add("detector", (instrument, number), row)

    def add_filter(self, instrument: str, name: str, band: str) -> None:
        """One physical filter; band "unknown" where it has none."""
        self._add("physical_filter", (instrument, name), {"instrument": instrument, "name": name, "band": band})

    def add_raw(self, seen: Identity) -> None:
        """All that one raw frame refers to; a science exposure is a visit of its own too.

        Of the frames of one exposure the first says what the exposure is.
        """
        name = seen.instrument
        self.add_instrument(name)
        self.add_filter(name, seen.physical_filter, seen.band)
        self.add_detector(name, seen.detector, seen.detector_name)
        if not self._has("day_obs", (name, seen.day_obs)):
            day = {"instrument": name, "id": seen.day_obs, "timespan": _day(seen.day_obs)}
            self._add("day_obs", (name, seen.day_obs), day)
        if not self._has("exposure", (name, seen.exposure)):
            self._add_exposure(seen)

    def _add_exposure(self, seen: Identity) -> None:
        obs, name = seen.observation, seen.instrument
        group = obs.group or str(seen.exposure)
        self._add("group", (name, group), {"instrument": name, "name": group})
        row = {
            "instrument": name,
            "id": seen.exposure,
            "day_obs": seen.day_obs,
            "group": group,
            "physical_filter": seen.physical_filter,
            "obs_id": seen.obs_id,
            "exposure_time": _plain(obs.exposure_time),
            "dark_time": _plain(obs.dark_time),
            "observation_type": obs.kind,
            "observation_reason": obs.reason or None,
            "seq_num": max(obs.seq_num, 0),
            "seq_start": max(obs.seq_num, 0),
            "seq_end": max(obs.seq_num, 0),
            "target_name": obs.object or None,
            "science_program": None,
            "has_simulated": False,
            "can_see_sky": obs.kind == "science",
            "timespan": timespan_of(obs),
        }
        self._add("exposure", (name, seen.exposure), row)
        if obs.kind == "science":
            self._add_visit(seen, row)

    def _add_visit(self, seen: Identity, exposure: dict[str, Any]) -> None:
        name, number = seen.instrument, seen.exposure
        keep = ("instrument", "id", "day_obs", "physical_filter", "exposure_time", "seq_num", "target_name",
                "observation_reason", "science_program", "timespan")  # fmt: skip
        row = {key: exposure[key] for key in keep} | {"name": str(exposure["obs_id"])}
        self._add("visit", (name, number), row)
        self._add("visit_definition", (name, number), {"instrument": name, "exposure": number, "visit": number})
        self._add("visit_system_membership", (name, number), {"instrument": name, "visit_system": 0, "visit": number})

    def insert(self, butler: Any) -> None:
        """Enter all records in the order of their dependence; those that are there already stay.

        Raises
        ------
        UsageError
            a record of the same name is there and says something else.
        """
        registry = butler.registry
        for dimension in (*_ORDER, *_VISITS):
            rows = self.rows.get(dimension)
            if rows:
                registry.insertDimensionData(dimension, *rows.values(), conform=True, skip_existing=True)


def _day(day_obs: int) -> Any:
    """From noon to noon [UTC-12] of an observing day, as Rubin counts it; None for a number that is no date."""
    from astropy.time import Time
    from lsst.daf.butler import Timespan

    try:
        begin = datetime.strptime(str(day_obs), "%Y%m%d") + timedelta(hours=12)
    except ValueError:
        return None
    return Timespan(Time(begin, scale="tai"), Time(begin + timedelta(days=1), scale="tai"))


def check_same(have: Iterable[Any], seen: Identity) -> None:
    """Refuse an exposure whose id is taken by another one.

    Parameters
    ----------
    have : records of the exposure, or identities of frames of it.

    Raises
    ------
    UsageError
        an exposure with this id and another `obs_id` or filter is in the repository.
    """
    for one in have:
        if (other := one.obs_id) != seen.obs_id:
            raise UsageError(
                f"exposure {seen.exposure} of {seen.instrument} is in the repository as '{other}', this "
                f"file says '{seen.observation.obs_id}'",
                remedy="two exposures have one id: correct the header, or keep them in separate repositories",
            )
        if one.physical_filter != seen.physical_filter and "unknown" not in (one.physical_filter, seen.physical_filter):
            raise UsageError(
                f"exposure {seen.exposure} of {seen.instrument} is in the repository with filter "
                f"'{one.physical_filter}', this file says '{seen.physical_filter}'",
                remedy="an exposure has one filter, by which its flats are found: correct the header of the wrong one",
                code="FW611",
            )
