"""All in this process, one job after the other: for a few frames, for debugging, for tests."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

from fullwell.pipeline.executors.base import Setup
from fullwell.pipeline.executors.worker import Cache, load, prefetch, run_job
from fullwell.pipeline.jobs import Done, Job, LostWorker

__all__ = ["Inline"]


class Inline:
    """Computes in the process of the caller.

    Parameters
    ----------
    setup : modules of the tasks, size of the cache.
    """

    capacity = 1

    def __init__(self, setup: Setup | None = None) -> None:
        setup = setup or Setup()
        load(setup.modules)
        self._cache = Cache(setup.cache_bytes)
        self._waiting: deque[Job] = deque()

    def submit(self, batch: Sequence[Job]) -> None:
        """Take a batch; its jobs are computed by `events`."""
        self._waiting.extend(batch)

    def events(self, timeout: float) -> Iterator[Done | LostWorker]:
        """Compute one job, while the system reads the inputs of the next."""
        if self._waiting:
            job = self._waiting.popleft()
            if self._waiting:
                prefetch([i.path for i in self._waiting[0].inputs])
            yield run_job(job, self._cache)

    @property
    def busy(self) -> bool:
        """Whether jobs wait."""
        return bool(self._waiting)

    def cancel(self) -> None:
        """Drop what was not begun."""
        self._waiting.clear()

    def close(self) -> None:
        """Drop what was not begun."""
        self.cancel()
