"""Header maps: which keywords hold which field, as data; and careful reading of single values."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fullwell.base.errors import ConfigError

__all__ = ["FIELDS", "HeaderMap", "blank", "number"]

FIELDS = [
    "kind",
    "exposure_time",
    "dark_time",
    "filter",
    "date",
    "clock",
    "mjd",
    "jd",
    "temperature",
    "set_temperature",
    "binning",
    "readout_mode",
    "gain_setting",
    "header_gain",
    "header_read_noise",
    "object",
    "group",
    "reason",
    "instrument",
    "detector",
    "detector_id",
    "obs_id",
    "exposure_id",
    "seq_num",
    "day_obs",
]
"""Fields that a header map may name."""

_PARTS = ("keywords", "values", "join", "optics", "pairs")
_NUMBER = re.compile(r"^\s*([-+]?(?:\d+(?:[.,]\d*)?|[.,]\d+)(?:[eE][-+]?\d+)?)\s*([a-zA-Zµμ]*)\.?\s*$")
_SCALES = {"ms": 1e-3, "msec": 1e-3, "millisec": 1e-3, "milliseconds": 1e-3, "us": 1e-6, "min": 60.0, "m": 60.0}
_COMMENT_UNIT = re.compile(r"[\[(]\s*(ms|msec|millisec\w*|us|min)\b", re.IGNORECASE)


def blank(value: Any) -> bool:
    """Whether a header value says nothing: undefined, empty, or a word for "unknown"."""
    if value is None or type(value).__name__ == "Undefined":
        return True
    if isinstance(value, float) and not math.isfinite(value):
        return True
    return isinstance(value, str) and value.strip().lower() in ("", "none", "null", "n/a", "nan", "undefined", "undef")


def number(value: Any, unit: str = "", comment: str = "") -> float:
    """A number out of a header value; NaN where it is none.

    Decimal commas and units in the text ("300 ms") are understood. `unit` is what the map says of the keyword; without
    one a unit in brackets in the comment counts. Units of time give seconds.

    >>> number("1,5"), number("300 ms"), number(1999, comment="Exposure (ms)")
    (1.5, 0.3, 1.999)
    """
    if blank(value) or isinstance(value, bool):
        return math.nan
    text_unit = ""
    if isinstance(value, str):
        found = _NUMBER.match(value)
        if not found:
            return math.nan
        text_unit = found.group(2).lower()
        value = float(found.group(1).replace(",", "."))
    found = _COMMENT_UNIT.search(comment or "")
    said = text_unit or unit or (found.group(1).lower() if found else "")
    return float(value) * _SCALES.get(said, 1.0)


@dataclass(frozen=True)
class HeaderMap:
    """Field -> keywords in order of trust, with further tables.

    Parameters
    ----------
    keywords : field -> keywords, each with an optional unit ("IMG_EXP|ms").
    values : field -> header value in lower case -> our value (types of frames).
    join, optics : keywords of further filters and of dispersers, joined to the filter by "~".
    pairs : keyword pairs for the binning in x and y.
    """

    keywords: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    values: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    join: tuple[str, ...] = ()
    optics: tuple[str, ...] = ()
    pairs: tuple[tuple[str, str], ...] = ()

    @classmethod
    def from_mapping(cls, table: Mapping[str, Any], base: HeaderMap | None = None, *, where: str = "") -> HeaderMap:
        """The map of a parsed table, its keywords in front of those of `base`.

        Raises
        ------
        ConfigError
            a field or part that does not exist.
        """
        base = base or cls()
        keywords, values = dict(base.keywords), {k: dict(v) for k, v in base.values.items()}
        more: dict[str, tuple] = {"join": base.join, "optics": base.optics, "pairs": base.pairs}
        for name, parts in table.items():
            if name not in FIELDS:
                raise ConfigError(
                    f"'{name}' is no field of a header map", where=where, remedy=f"fields: {', '.join(FIELDS)}"
                )
            if not isinstance(parts, Mapping):
                parts = {"keywords": [parts] if isinstance(parts, str) else parts}
            for part, content in parts.items():
                if part not in _PARTS:
                    raise ConfigError(
                        f"'{part}' is no part of a header map", where=where, remedy=f"parts: {', '.join(_PARTS)}"
                    )
                if part == "keywords":
                    keywords[name] = tuple(dict.fromkeys([*content, *keywords.get(name, ())]))
                elif part == "values":
                    values.setdefault(name, {}).update({str(k).lower(): str(v) for k, v in content.items()})
                else:
                    rows = [tuple(row) if isinstance(row, list) else row for row in content]
                    more[part] = tuple(dict.fromkeys([*rows, *more[part]]))
        return cls(keywords, values, more["join"], more["optics"], more["pairs"])

    def find(self, name: str, header: Mapping[str, Any]) -> tuple[Any, str, str]:
        """First value of field `name` that says something: (value, keyword, unit); (None, "", "") where none does."""
        return self.first(header, self.keywords.get(name, ()))

    @staticmethod
    def first(header: Mapping[str, Any], keywords: Iterable[str]) -> tuple[Any, str, str]:
        """The same for given keywords."""
        for entry in keywords:
            keyword, _, unit = entry.partition("|")
            value = header.get(keyword)
            if not blank(value):
                return value, keyword, unit
        return None, "", ""
