"""What an executor is: a place where batches of jobs are computed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from fullwell.pipeline.jobs import Done, Job, LostWorker

__all__ = ["Executor", "Setup"]


@dataclass(frozen=True)
class Setup:
    """What each worker is told when it starts.

    Parameters
    ----------
    modules : imported by the worker, so that tasks of outside packages are known.
    cache_bytes : memory that a worker may keep of calibrations [byte].
    """

    modules: tuple[str, ...] = ()
    cache_bytes: int = 2 << 30


class Executor(Protocol):
    """A place where batches of jobs are computed."""

    @property
    def capacity(self) -> int:
        """Jobs that are computed at the same time."""

    @property
    def busy(self) -> bool:
        """Whether a job is in work that will still come up in `events`."""

    def submit(self, batch: Sequence[Job]) -> None:
        """Take a batch; returns at once."""

    def events(self, timeout: float) -> Iterator[Done | LostWorker]:
        """What happened since the last call; waits up to `timeout` [s] where nothing did.

        Each job that was submitted comes up once: in a `Done`, or among the jobs of a `LostWorker`.

        Raises
        ------
        WorkerError
            no job can be computed any more.
        """

    def cancel(self) -> None:
        """Drop what was not begun; jobs in work may still end and come up in `events`."""

    def close(self) -> None:
        """Let the workers go."""
