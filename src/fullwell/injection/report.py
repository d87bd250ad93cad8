"""What the removal test found: a verdict for each statistic, of the injection on trial and of a naive one beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["MEANING", "AmplifierSlopes", "Report", "Sample", "Verdict"]

MEANING: Mapping[str, str] = {
    "T1": "noise drawn / noise due",
    "T2": "slope injected / native",
    "T3": "AUC, knows the flat",
    "T4": "width of pulls",
    "T5": "AUC, blind classifier",
}
"""What the value of each statistic is."""

SIGMAS = 4.0


@dataclass(frozen=True)
class Verdict:
    """One statistic: `value` with standard `error`, `expected` where injected stars are as native ones.

    Parameters
    ----------
    name : "T1" … "T5". found : whether injected stars are told from native ones; None where it was not tried.
    more : further numbers by name. note : why it was not tried, or what to bear in mind.
    """

    name: str
    value: float = float("nan")
    error: float = float("nan")
    expected: float = 1.0
    found: bool | None = None
    more: Mapping[str, float] = field(default_factory=dict)
    note: str = ""

    @classmethod
    def judged(cls, name: str, value: float, error: float, expected: float, **more: float) -> Verdict:
        """A verdict from the value alone: found where it lies more than four errors off."""
        if not np.isfinite(value) or not np.isfinite(error):
            return cls(name, value, error, expected, None, more, "too few stars")
        return cls(name, value, error, expected, bool(abs(value - expected) > SIGMAS * error + 1e-9), more)

    @property
    def meaning(self) -> str:
        """What the value is."""
        return MEANING[self.name]

    @property
    def word(self) -> str:
        """ "found", "not found" or "not tried"."""
        return "not tried" if self.found is None else "found" if self.found else "not found"


@dataclass(frozen=True)
class AmplifierSlopes:
    """Slopes of variance on flux [unit] of one amplifier, each with its error, and numbers of stars."""

    name: str
    native: float
    native_error: float
    injected: float
    injected_error: float
    naive: float
    naive_error: float
    stars: tuple[int, int]

    @property
    def z(self) -> float:
        """(injected - native) / combined error."""
        return float((self.injected - self.native) / np.hypot(self.injected_error, self.native_error))


@dataclass(frozen=True)
class Sample:
    """Pixels to draw: flux above the sky [unit], variance [unit^2], and number of the amplifier, each (n,)."""

    flux: NDArray[np.float64]
    variance: NDArray[np.float64]
    amplifier: NDArray[np.int64]


@dataclass(frozen=True)
class Report:
    """Whether the injected stars of a frame can be told from its own.

    Parameters
    ----------
    verdicts : of the injection on trial, by name; naive : of the control, the same sources drawn with one gain,
        `naive_gain` [unit/electron], for all pixels.
    slopes : by amplifier. stars : numbers (native, injected) that were compared. unit : of the image.
    samples : pixels "native", "injected", "naive" for the figure. method : of the effective gain.
    """

    verdicts: Mapping[str, Verdict]
    naive: Mapping[str, Verdict]
    naive_gain: float
    slopes: tuple[AmplifierSlopes, ...]
    stars: tuple[int, int]
    unit: str
    samples: Mapping[str, Sample] = field(repr=False)
    method: str = ""

    @property
    def ok(self) -> bool:
        """Whether something was tried and nothing tells the injected stars from native ones."""
        tried = [v.found for v in self.verdicts.values() if v.found is not None]
        return bool(tried) and not any(tried)

    @property
    def powerless(self) -> tuple[str, ...]:
        """Names of the tests that were made and do not find the control either: they prove nothing here."""
        return tuple(
            name
            for name, verdict in self.verdicts.items()
            if verdict.found is False and name in self.naive and not self.naive[name].found
        )

    def __getitem__(self, name: str) -> Verdict:
        return self.verdicts[name]

    def plot(self, name: str = "slopes", **options: Any) -> Any:
        """Figure `name` of this report, a Matplotlib figure."""
        from fullwell.base.figures import figure

        return figure("injection", name)(self, **options)

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON types, without the pixels."""
        return {
            "ok": self.ok,
            "unit": self.unit,
            "method": self.method,
            "stars": {"native": self.stars[0], "injected": self.stars[1]},
            "tests": [_row(v) for v in self.verdicts.values()],
            "powerless": list(self.powerless),
            "naive": {"gain": self.naive_gain, "tests": [_row(v) for v in self.naive.values()]},
            "slopes": [{**_finite(asdict(s)), "stars": list(s.stars)} for s in self.slopes],
        }

    def __str__(self) -> str:
        native, injected = self.stars
        head = f"{injected} injected and {native} native stars, effective gain: {self.method or 'given'}"
        lines = [head, f"{'':28}{'injected':>24}{'one gain for all':>24}"]
        for name, verdict in self.verdicts.items():
            cells = "".join(f"{_cell(v):>24}" for v in (verdict, self.naive.get(name, Verdict(name))))
            lines.append(f"{name} {verdict.meaning:25}{cells}")
        lines += sorted({f"{v.name}: {v.note}" for v in self.verdicts.values() if v.note})
        if self.powerless:
            which = ", ".join(self.powerless)
            lines.append(f"{which}: the control is not found either, so that this proves nothing; more stars may")
        lines.append("nothing tells them apart" if self.ok else "they can be told apart, or nothing was tried")
        return "\n".join(lines)


def _cell(verdict: Verdict) -> str:
    if verdict.found is None:
        return verdict.word
    return f"{verdict.value:.4f} ± {verdict.error:.4f} {'*' if verdict.found else ' '}"


def _row(verdict: Verdict) -> dict[str, Any]:
    row = {"name": verdict.name, "meaning": verdict.meaning, "found": verdict.found, "note": verdict.note}
    numbers = {"value": verdict.value, "error": verdict.error, "expected": verdict.expected}
    return {**row, **_finite(numbers), "more": _finite(verdict.more)}


def _finite(numbers: Mapping[str, Any]) -> dict[str, Any]:
    return {k: None if isinstance(v, float) and not np.isfinite(v) else v for k, v in numbers.items()}
