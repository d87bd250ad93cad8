"""What was done to a frame or product: one record per step or measurement, written once.

A `Record` names the step, its settings, and the products it used by id. `content_id` makes
a deterministic id from arrays and text, so that the same product made twice has the same id.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

__all__ = ["Record", "content_id"]


@dataclass(frozen=True)
class Record:
    """One thing that was done.

    Parameters
    ----------
    step : name of the step, as in the recipe.
    state : "done", "off" (switched off in the settings) or "left out" (with the reason in `note`).
    config : the settings used, JSON types only.
    inputs : role -> id of each product used.
    note : a sentence for people.
    numbers : measured values, JSON types only (levels, counts).
    """

    step: str
    state: str = "done"
    config: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)
    note: str = ""
    numbers: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """The record as one line of JSON."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Record:
        """The inverse of `to_json`."""
        return cls(**json.loads(text))


def content_id(*parts: Any) -> str:
    """A 32-digit hexadecimal id of arrays, texts and JSON-able values, independent of time and place."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        if isinstance(part, np.ndarray):
            digest.update(f"{part.dtype.str}{part.shape}".encode())
            digest.update(np.ascontiguousarray(part).view(np.uint8).data)
        else:
            digest.update(json.dumps(part, sort_keys=True, default=str).encode())
    return digest.hexdigest()
