"""Typed settings: frozen, closed, each field with a unit and a sentence.

A misspelt key is an error that proposes the right one. `StepConfig` is the base of the
settings of every step; `load` builds one from a mapping (a parsed file or options).
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from fullwell.base.errors import ConfigError

__all__ = ["StepConfig", "load"]


class StepConfig(BaseModel):
    """Base of all settings: immutable, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


C = TypeVar("C", bound=BaseModel)


def load(kind: type[C], values: Mapping[str, Any], *, where: str = "") -> C:
    """Build `kind` from `values`; errors name the key, its place and the nearest valid key.

    Raises
    ------
    ConfigError
        unknown key, wrong type or value out of range.
    """
    known = list(kind.model_fields)
    for key in values:
        if key not in kind.model_fields:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"known keys: {', '.join(known)}"
            raise ConfigError(f"unknown setting '{key}'", where=where or kind.__name__, remedy=hint)
    try:
        return kind(**values)
    except ValidationError as err:
        first = err.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ConfigError(
            f"setting '{key}': {first['msg']} (got {first.get('input')!r})",
            where=where or kind.__name__,
            remedy="see 'fullwell explain' for the meaning and range of each setting",
        ) from err
