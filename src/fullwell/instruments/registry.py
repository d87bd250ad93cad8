"""Instruments by name: shipped folders, those of other packages, and the one that claims a file."""

from __future__ import annotations

from functools import cache

from fullwell.base.registry import Registry
from fullwell.instruments.headers import FileHeaders
from fullwell.instruments.instrument import HOME, Instrument, from_folder

__all__ = ["INSTRUMENTS", "get", "identify", "names"]

INSTRUMENTS: Registry[Instrument] = Registry("instrument", "fullwell.instruments")
"""Instruments added by a session or by entry points of group ``fullwell.instruments`` (each an `Instrument`)."""


@cache
def _shipped() -> dict[str, str]:
    """Instrument name -> folder."""
    return {path.parent.name.replace("_", "-"): path.parent.name for path in sorted(HOME.glob("*/camera.toml"))}


@cache
def _load(name: str) -> Instrument:
    return from_folder(HOME / _shipped()[name])


def names() -> list[str]:
    """Names of all known instruments."""
    return sorted({*_shipped(), *INSTRUMENTS})


def get(name: str) -> Instrument:
    """The instrument called `name`, upper and lower case alike.

    Raises
    ------
    UsageError
        there is none; the nearest name is proposed.
    """
    key = name.strip().lower()
    if key in _shipped() and key not in INSTRUMENTS._items:
        return _load(key)
    if key not in INSTRUMENTS:
        for shipped in _shipped():
            INSTRUMENTS._items.setdefault(shipped, _load(shipped))
    return INSTRUMENTS[key]


def identify(headers: FileHeaders) -> Instrument:
    """The instrument that claims the file; "generic" where none does."""
    for name in names():
        if name != "generic" and (found := get(name)).claims(headers):
            return found
    return get("generic")
