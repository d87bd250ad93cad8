"""Jobs in threads of this process: where all that the tasks need is in memory already."""

from __future__ import annotations

import contextlib
import queue
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from fullwell.pipeline.executors.worker import Cache, run_job
from fullwell.pipeline.jobs import Done, Job, LostWorker

__all__ = ["Threads"]


class Threads:
    """Computes in threads of the process of the caller.

    Parameters
    ----------
    workers : jobs at a time. tasks : name -> function, instead of those of the registry.
    """

    def __init__(self, workers: int = 1, tasks: Mapping[str, Callable[[Job, Cache], None]] | None = None) -> None:
        self.capacity = max(1, workers)
        self._tasks = tasks
        self._cache = Cache()
        self._pool = ThreadPoolExecutor(self.capacity, thread_name_prefix="job")
        self._done: queue.SimpleQueue[Done] = queue.SimpleQueue()
        self._open: dict[str, Future[None]] = {}

    def _run(self, job: Job) -> None:
        self._done.put(run_job(job, self._cache, self._tasks))

    def submit(self, batch: Sequence[Job]) -> None:
        """Take a batch; returns at once."""
        for job in batch:
            self._open[job.id] = self._pool.submit(self._run, job)

    def events(self, timeout: float) -> Iterator[Done | LostWorker]:
        """Jobs that have ended; waits up to `timeout` [s] for the first."""
        with contextlib.suppress(queue.Empty):
            done = self._done.get(timeout=max(timeout, 0.0) if self._open else 0.001)
            while True:
                self._open.pop(done.job, None)
                yield done
                done = self._done.get_nowait()

    @property
    def busy(self) -> bool:
        """Whether a job is in work."""
        return bool(self._open)

    def cancel(self) -> None:
        """Drop what was not begun."""
        for job, future in list(self._open.items()):
            if future.cancel():
                del self._open[job]

    def close(self) -> None:
        """Let the threads end."""
        self._pool.shutdown(wait=True, cancel_futures=True)
