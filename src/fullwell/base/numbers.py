"""Numbers for people and for machines: significant digits, value with error, JSON types."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["number", "plain", "significant", "with_error"]


def number(value: float, error: float | None = None, unit: str = "") -> dict[str, Any]:
    """A measured number as JSON gives it: {"value", "error", "unit"}."""
    return {"value": value, "error": error, "unit": unit}


def plain(value: Any) -> Any:
    """`value` as JSON types: paths as text, arrays and sets as lists, NaN and infinities as null."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (str, bool, int)) or value is None:
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, Iterable) and not hasattr(value, "__fspath__"):
        return [plain(v) for v in value]
    return str(value)


def significant(value: float | None, digits: int = 5) -> str:
    """A number for people: `digits` significant digits, no exponent from 1e-4 to 1e7, "-" for none."""
    if value is None or not math.isfinite(value):
        return "-"
    if value == 0:
        return "0"
    if not 1e-4 <= abs(value) < 1e7:
        return f"{value:.{digits - 1}e}"
    return f"{value:.{max(digits - 1 - math.floor(math.log10(abs(value))), 0)}f}"


def with_error(value: float | None, error: float | None, unit: str = "") -> str:
    """``1.4003 ± 0.0021 electron/adu``: the error to two digits, the value to the same place."""
    tail = f" {unit}" if unit else ""
    if value is None or not math.isfinite(value):
        return "-"
    if error is None or not math.isfinite(error) or error <= 0:
        return f"{significant(value)}{tail}"
    power = max(math.floor(math.log10(max(abs(value), error))), -300)
    scale = 10.0**power if not -4 <= power < 7 else 1.0
    value, error = value / scale, error / scale
    places = max(1 - math.floor(math.log10(float(f"{error:.1e}"))), 0)
    text = f"{value:.{places}f} ± {error:.{places}f}"
    return f"{text}{tail}" if scale == 1.0 else f"({text})e{power:+03d}{tail}"
