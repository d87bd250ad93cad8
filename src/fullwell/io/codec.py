"""Our objects as JSON text and back: what a FITS table or an ECSV header can carry.

Only types named here can come back; a file is data, never code.
"""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import numpy as np

from fullwell.base.errors import FileError
from fullwell.base.provenance import Record
from fullwell.cameras import Amplifier, Box, Detector, Orientation
from fullwell.frames import GainMap, Observation
from fullwell.frames.psf import GaussianPsf, GridPsf, ImagePsf, MoffatPsf

__all__ = ["from_json", "to_json"]

_KINDS: dict[str, type] = {
    kind.__name__: kind
    for kind in (
        Amplifier,
        Box,
        Detector,
        GainMap,
        GaussianPsf,
        GridPsf,
        ImagePsf,
        MoffatPsf,
        Observation,
        Orientation,
        Record,
    )
}


def _plain(value: Any) -> Any:
    """`value` as JSON types; objects become mappings with their kind under "~"."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        name = type(value).__name__
        if name not in _KINDS:
            raise TypeError(f"objects of type {name} are not stored")
        fields = {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {"~": name, **fields}
    if isinstance(value, np.ndarray):
        return {"~": "array", "dtype": value.dtype.str.lstrip("<>=|"), "data": _plain(value.tolist())}
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return {"~": "float", "value": repr(value)}
    if isinstance(value, tuple):
        return {"~": "tuple", "items": [_plain(v) for v in value]}
    if isinstance(value, dict) or hasattr(value, "items"):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, set, frozenset)):
        return [_plain(v) for v in (sorted(value) if not isinstance(value, list) else value)]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return str(value)


def _object(value: Any) -> Any:
    """The inverse of `_plain`."""
    if isinstance(value, list):
        return [_object(v) for v in value]
    if not isinstance(value, dict):
        return value
    kind = value.get("~")
    if kind is None:
        return {k: _object(v) for k, v in value.items()}
    if kind == "float":
        return float(value["value"])
    if kind == "tuple":
        return tuple(_object(v) for v in value["items"])
    if kind == "array":
        return np.array(_object(value["data"]), dtype=np.dtype(value["dtype"]))
    target = _KINDS[kind]
    known = {f.name for f in dataclasses.fields(target)}
    return target(**{k: _object(v) for k, v in value.items() if k in known})


def to_json(value: Any) -> str:
    """`value` (our geometry, observations, records; arrays, numbers, texts, containers) as one line of ASCII JSON."""
    return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), allow_nan=False)


def from_json(text: str, *, where: str = "") -> Any:
    """The inverse of `to_json`; fields that this version does not know are left out.

    Raises
    ------
    FileError
        the text is damaged.
    """
    try:
        return _object(json.loads(text))
    except (ValueError, TypeError, KeyError) as err:
        raise FileError(
            f"a stored record cannot be read: {err}", where=where, remedy="the file seems damaged: write it again"
        ) from err
