"""Dates and times of headers as TAI, without a network and without heavy imports.

TAI = UTC + leap seconds (IERS Bulletin C); TT = TAI + 32.184 s.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta
from typing import Any

__all__ = ["MJD_ZERO", "from_mjd", "parse_moment", "to_mjd", "to_tai"]

MJD_ZERO = datetime(1858, 11, 17)
_LEAPS = [
    "1972-01-01",
    "1972-07-01",
    "1973-01-01",
    "1974-01-01",
    "1975-01-01",
    "1976-01-01",
    "1977-01-01",
    "1978-01-01",
    "1979-01-01",
    "1980-01-01",
    "1981-07-01",
    "1982-07-01",
    "1983-07-01",
    "1985-07-01",
    "1988-01-01",
    "1990-01-01",
    "1991-01-01",
    "1992-07-01",
    "1993-07-01",
    "1994-07-01",
    "1996-01-01",
    "1997-07-01",
    "1999-01-01",
    "2006-01-01",
    "2009-01-01",
    "2012-07-01",
    "2015-07-01",
    "2017-01-01",
]
_DATES = [datetime.fromisoformat(day) for day in _LEAPS]
_OLD = re.compile(r"^(\d{1,2})/(\d{1,2})/(\d{2,4})$")


def to_tai(moment: datetime, scale: str = "UTC") -> datetime:
    """A moment of time scale "UTC" (or "UT", "GPS", "TT", "TAI") as TAI; other names are taken for UTC."""
    name = scale.strip().upper()
    if name == "TAI":
        return moment
    if name in ("TT", "TDT", "TDB"):
        return moment - timedelta(seconds=32.184)
    if name == "GPS":
        return moment + timedelta(seconds=19)
    count = sum(moment >= day for day in _DATES)
    return moment + timedelta(seconds=9 + count)


def to_mjd(moment: datetime) -> float:
    """Modified Julian date [day] of the same time scale."""
    return (moment - MJD_ZERO) / timedelta(days=1)


def from_mjd(mjd: float) -> datetime:
    """The moment of a modified Julian date [day], to the microsecond."""
    return MJD_ZERO + timedelta(days=mjd)


def _clock(text: str) -> timedelta | None:
    """``hh:mm:ss.s`` as a duration."""
    parts = text.strip().replace(",", ".").split(":")
    try:
        numbers = [float(part) for part in parts]
    except ValueError:
        return None
    if len(numbers) not in (2, 3) or numbers[0] >= 24 or min(numbers) < 0:
        return None
    hours, minutes, seconds = (*numbers, 0.0)[:3]
    return timedelta(hours=hours, minutes=minutes, seconds=seconds)


def parse_moment(date: Any, clock: Any = None) -> datetime | None:
    """A date (ISO, with or without the time, or old ``dd/mm/yy``), with a separate clock where the date has no time.

    Returns None where there is no time of day, or nothing readable.
    """
    text = str(date).strip().rstrip("Z") if date is not None else ""
    old = _OLD.match(text)
    if old:
        day, month, year = (int(part) for part in old.groups())
        text = f"{year + 1900 if year < 100 else year:04d}-{month:02d}-{day:02d}"
    has_time = bool(re.match(r"^\d{4}-\d{2}-\d{2}[T ]\d", text))
    try:
        moment = datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text))
    except ValueError:
        return None
    if moment.tzinfo is not None:
        moment = moment.astimezone(UTC).replace(tzinfo=None)
    if has_time:
        return moment
    if isinstance(clock, int | float) and not isinstance(clock, bool) and math.isfinite(clock) and 0 <= clock < 86400:
        return moment + timedelta(seconds=float(clock))
    duration = _clock(str(clock)) if clock is not None else None
    return None if duration is None else moment + duration
