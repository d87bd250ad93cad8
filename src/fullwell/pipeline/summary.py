"""What a run came to: counts, times, failures, and what it cost beyond the tasks themselves."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from fullwell.pipeline.jobs import Done

__all__ = ["STATES", "WITH_INPUT", "Summary"]

STATES: tuple[str, ...] = ("done", "kept", "failed", "lost")
WITH_INPUT = "input failed"
"""Kind of the failure of a job whose input was not made."""
LISTED = 100
"""Failures that are listed one by one in the JSON document; all are in the folder of the run."""


@dataclass
class Summary:
    """Result of a run.

    Parameters
    ----------
    total : jobs that were to be done. workers : at the same time.
    wall : of the run [s]. cpu, busy : processor and wall time inside the tasks, all workers together [s].
    retried, lost_workers : attempts beyond the first; workers that died.
    interrupted : by the user. stopped : why the run ended before its end, "" where it did not.
    missing : jobs that were not begun, since a calibration that they need is not there, and why.
    spared : what was done without a calibration whose making failed, in sentences. runs : stamps of the runs.
    failures : of each job that failed of itself; `dependants` of it are the jobs that failed with it.
    """

    total: int = 0
    workers: int = 1
    wall: float = 0.0
    cpu: float = 0.0
    busy: float = 0.0
    retried: int = 0
    lost_workers: int = 0
    interrupted: bool = False
    stopped: str = ""
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    seconds: Counter[str] = field(default_factory=Counter)
    failures: list[dict[str, Any]] = field(default_factory=list)
    notes: Counter[str] = field(default_factory=Counter)
    missing: list[dict[str, Any]] = field(default_factory=list)
    spared: list[str] = field(default_factory=list)
    runs: list[str] = field(default_factory=list)

    def add(self, done: Done, record: str = "") -> None:
        """Take up the final word about a job; `record` is the path of its record of failure."""
        self.counts[done.task, done.state] += 1
        for text in done.notes:
            self.notes[text] += 1
        if done.failure is None:
            return
        cause = done.failure.context.get("cause") if done.failure.kind == WITH_INPUT else None
        first = next((one for one in self.failures if cause and one["job"] == cause), None)
        if first is not None:
            first["dependants"].append({"job": done.job, "task": done.task})
            return
        one: dict[str, Any] = {"job": done.job, "task": done.task, "state": done.state, "error": done.failure.line}
        one.update(where=done.failure.where, remedy=done.failure.remedy, record=record, dependants=[])
        self.failures.append(one)

    def follow(self, later: Summary) -> None:
        """Take up a run that did without what failed in this one: jobs that failed with an input count by it alone."""
        for one in self.failures:
            for user in one["dependants"]:
                self.counts[user["task"], "failed"] -= 1
                self.total -= 1
            one["dependants"] = []
        self.counts.update(later.counts)
        self.seconds.update(later.seconds)
        self.notes.update(later.notes)
        self.failures += later.failures
        self.missing += later.missing
        self.runs += later.runs
        for name in ("total", "wall", "cpu", "busy", "retried", "lost_workers"):
            setattr(self, name, getattr(self, name) + getattr(later, name))
        self.workers = max(self.workers, later.workers)
        self.interrupted, self.stopped = later.interrupted, later.stopped

    def spend(self, done: Done) -> None:
        """Take up the time of an attempt, successful or not."""
        self.busy += done.seconds
        self.cpu += done.cpu
        self.seconds[done.task] += done.seconds  # type: ignore[assignment]

    def count(self, *states: str) -> int:
        """Jobs in one of `states`."""
        return sum(n for (_, state), n in self.counts.items() if state in states)

    @property
    def left(self) -> int:
        """Jobs that were not begun, or not ended."""
        return self.total - sum(self.counts.values())

    @property
    def overhead(self) -> float:
        """Time of the workers that no task used [s]: wall x workers - busy."""
        return self.wall * self.workers - self.busy

    @property
    def ok(self) -> bool:
        """Whether every job is done or was kept, and none is missing."""
        return not (self.missing or self.count("failed", "lost") or self.left or self.stopped or self.interrupted)

    @property
    def exit_code(self) -> int:
        """0 all is there, 1 something failed or is left, 130 interrupted."""
        return 130 if self.interrupted else 0 if self.ok else 1

    def to_dict(self) -> dict[str, Any]:
        """JSON types only."""
        names = ("total", "workers", "wall", "cpu", "busy", "overhead", "retried", "lost_workers", "left")
        return {
            **{name: getattr(self, name) for name in (*names, "interrupted", "stopped", "ok")},
            "states": {state: self.count(state) for state in STATES},
            "tasks": [dict(zip(("task", *STATES, "seconds"), row, strict=True)) for row in self.table()[1]],
            "missing": self.missing[:LISTED],
            "failures": self.failures[:LISTED],
            "spared": self.spared,
            "runs": self.runs,
            "warnings": dict(self.notes),
        }

    def table(self) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
        """Titles and rows: tasks, counts by state, seconds inside the task."""
        tasks = list(dict.fromkeys(task for task, _ in self.counts))
        rows = [(task, *(self.counts[task, s] for s in STATES), round(self.seconds[task], 3)) for task in tasks]
        return ("task", *STATES, "seconds"), rows

    def __str__(self) -> str:
        """One line for people."""
        states = ", ".join(f"{self.count(s)} {s}" for s in STATES if self.count(s)) or "nothing done"
        share = f", {100 * self.overhead / self.busy:.0f} % beyond the tasks" if self.busy else ""
        left = (f", {self.left} left" if self.left else "") + (f", {len(self.missing)} missing" if self.missing else "")
        return f"{states}{left}; {self.wall:.1f} s with {self.workers} at a time{share}"
