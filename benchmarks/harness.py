"""Timing by interleaved rounds, medians, CPU time; results against targets."""

from __future__ import annotations

import gc
import resource
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Timing:
    """Medians over the rounds [s]: CPU time of the process and its children, wall time."""

    cpu: float
    wall: float


@dataclass
class Result:
    """One figure: `ratio` against `yardstick`, the `target` as text, whether it is met (None: not judged)."""

    name: str
    ratio: float | None
    yardstick: str
    target: str
    ok: bool | None
    note: str = ""

    def row(self) -> dict[str, Any]:
        """As it stands in latest.json."""
        return asdict(self)


def at_most(name: str, ratio: float, yardstick: str, limit: float, note: str = "") -> Result:
    """A figure that must not exceed `limit`."""
    return Result(name, round(ratio, 3), yardstick, f"<= {limit:g}", ratio <= limit, note)


def at_least(name: str, ratio: float, yardstick: str, limit: float, note: str = "") -> Result:
    """A figure that must reach `limit`."""
    return Result(name, round(ratio, 3), yardstick, f">= {limit:g}", ratio >= limit, note)


def informative(name: str, ratio: float | None, yardstick: str, note: str = "") -> Result:
    """A figure without a target."""
    return Result(name, None if ratio is None else round(ratio, 3), yardstick, "-", None, note)


def not_judged(result: Result, why: str) -> Result:
    """The same figure, reported but not judged."""
    return Result(result.name, result.ratio, result.yardstick, result.target, None, f"not judged: {why}")


def _cpu() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def interleave(cases: Mapping[str, Callable[[], Any]], rounds: int = 9, warm: int = 2) -> dict[str, Timing]:
    """Run the cases in turn, `warm` rounds uncounted; A B C A B C …, so that the machine's moods hit all alike."""
    cpu: dict[str, list[float]] = {name: [] for name in cases}
    wall: dict[str, list[float]] = {name: [] for name in cases}
    for i in range(warm + rounds):
        for name, work in cases.items():
            gc.collect()
            c, t = _cpu(), time.perf_counter()
            work()
            t, c = time.perf_counter() - t, _cpu() - c
            if i >= warm:
                cpu[name].append(c)
                wall[name].append(t)
    return {name: Timing(float(np.median(cpu[name])), float(np.median(wall[name]))) for name in cases}


def idle(seconds: float = 0.5) -> bool:
    """Whether the rest of the machine does nothing: other processes use under a tenth of one core."""

    def busy() -> float:
        fields = [float(v) for v in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
        return sum(fields) - fields[3] - fields[4]

    before, own = busy(), _cpu()
    time.sleep(seconds)
    return (busy() - before) / 100 - (_cpu() - own) < 0.1 * seconds


def quietly(measure: Callable[[], Result], attempts: int = 2) -> Result:
    """`measure` on a quiet machine; reported without judgement where it is not quiet before and after."""
    result = None
    for _ in range(attempts):
        before = idle()
        result = measure()
        if before and idle():
            return result
    assert result is not None
    return not_judged(result, "the machine was busy with other work")


def table(results: list[Result]) -> str:
    """The figures as text."""
    head = ("figure", "ratio", "target", "met", "yardstick")
    words = {True: "yes", False: "NO", None: "-"}
    rows = [(r.name, "-" if r.ratio is None else f"{r.ratio:.2f}", r.target, words[r.ok], r.yardstick) for r in results]
    size = [max(len(row[i]) for row in [head, *rows]) for i in range(5)]
    lines = ["  ".join(cell.ljust(n) for cell, n in zip(row, size, strict=True)).rstrip() for row in [head, *rows]]
    notes = [f"{r.name}: {r.note}" for r in results if r.note]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:], *(["", *notes] if notes else [])])
