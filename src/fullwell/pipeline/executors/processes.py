"""Persistent worker processes on this machine.

Each worker is a Python of its own that gets batches as lines of JSON and tells of each job when it is done. It keeps
calibrations between batches, and batches of the same detector go to the same worker where it is free. A worker that
dies is replaced; the jobs it had are reported as lost. When the caller dies the workers end by themselves.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from typing import IO, Any

from fullwell.base.errors import UsageError, WorkerError
from fullwell.pipeline.executors.base import Setup
from fullwell.pipeline.jobs import Done, Job, LostWorker

__all__ = ["Processes"]

_START = "from fullwell.pipeline.executors.child import main; main()"
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_DEATHS_AT_START = 3


class _Worker:
    """One process, and what it has been given."""

    def __init__(self, setup: Setup, inbox: queue.SimpleQueue[tuple[_Worker, dict[str, Any] | None]]) -> None:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        for key in _ONE_THREAD:
            environment.setdefault(key, "1")
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", _START], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
        )
        self.jobs: dict[str, Job] = {}
        self.busy = False
        self.key = ""
        self.ready = False
        self._inbox = inbox
        self.say(modules=list(setup.modules), cache_bytes=setup.cache_bytes)
        threading.Thread(target=self._listen, args=(self.process.stdout,), daemon=True).start()

    def _listen(self, lines: IO[bytes]) -> None:
        """Thread: what the worker says, then None when its stream ends."""
        with contextlib.suppress(ValueError, OSError):
            for line in lines:
                self._inbox.put((self, json.loads(line)))
        self._inbox.put((self, None))

    def say(self, **message: Any) -> None:
        """A line to the worker; one that is dead is noticed by its listener."""
        assert self.process.stdin is not None
        with contextlib.suppress(OSError, ValueError):
            self.process.stdin.write(json.dumps(message).encode() + b"\n")
            self.process.stdin.flush()

    def give(self, number: int, batch: Sequence[Job]) -> None:
        """A batch to compute."""
        self.jobs = {job.id: job for job in batch}
        self.key = batch[-1].batch
        self.busy = True
        self.say(batch=number, jobs=[job.to_dict() for job in batch])

    def end(self, patience: float) -> None:
        """Let the process go, and kill it when it has not gone after `patience` [s]."""
        with contextlib.suppress(OSError, ValueError):
            assert self.process.stdin is not None
            self.process.stdin.close()
        try:
            self.process.wait(patience)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Processes:
    """Worker processes that live as long as the executor.

    Parameters
    ----------
    workers : how many; by default one for each core that this process may use.
    setup : modules of the tasks, size of the cache of each worker.
    """

    def __init__(self, workers: int | None = None, setup: Setup | None = None) -> None:
        if workers is not None and workers < 1:
            raise UsageError(f"{workers} workers can do nothing", remedy="give -j 1 or more")
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self.capacity = workers or cores
        self._setup = setup or Setup()
        self._inbox: queue.SimpleQueue[tuple[_Worker, dict[str, Any] | None]] = queue.SimpleQueue()
        self._waiting: deque[tuple[Job, ...]] = deque()
        self._number = 0
        self._deaths = 0
        self._stopping = False
        self._workers = [_Worker(self._setup, self._inbox) for _ in range(self.capacity)]

    @property
    def pids(self) -> list[int]:
        """Process numbers of the workers."""
        return [w.process.pid for w in self._workers]

    def submit(self, batch: Sequence[Job]) -> None:
        """Take a batch; a worker that is busy is told what it will read next."""
        self._waiting.append(tuple(batch))
        self._assign()
        if self._waiting and self._waiting[-1] == tuple(batch):
            worker = self._workers[self._number % len(self._workers)]
            worker.say(ahead=[i.path for i in batch[0].inputs])

    def _assign(self) -> None:
        """Batches to free workers, of the detector that a worker had before where there is one."""
        for worker in self._workers:
            if worker.busy or not self._waiting:
                continue
            at = next((n for n, b in enumerate(self._waiting) if b[0].batch == worker.key), 0)
            batch = self._waiting[at]
            del self._waiting[at]
            self._number += 1
            worker.give(self._number, batch)

    def events(self, timeout: float) -> Iterator[Done | LostWorker]:
        """Results as they come; a worker that died is replaced."""
        wait = timeout
        while True:
            try:
                worker, message = self._inbox.get(timeout=wait) if wait > 0 else self._inbox.get_nowait()
            except queue.Empty:
                return
            if message is None:
                lost = self._lose(worker)
                if lost is not None:
                    wait = 0.0
                    yield lost
            elif "done" in message:
                done = Done.from_dict(message["done"])
                worker.jobs.pop(done.job, None)
                wait = 0.0
                yield done
            elif "end" in message:
                worker.busy = False
                worker.jobs = {}
                self._assign()
            elif "ready" in message:
                worker.ready, self._deaths = True, 0
            else:
                problem, remedy = message["error"]
                raise WorkerError(f"a worker cannot start: {problem}", remedy=remedy)

    def _lose(self, worker: _Worker) -> LostWorker | None:
        """Put a new worker in the place of a dead one."""
        if worker not in self._workers:
            return None
        try:
            code = worker.process.wait(5.0)
        except subprocess.TimeoutExpired:
            worker.process.kill()
            code = worker.process.wait()
        if not worker.ready:
            self._deaths += 1
        if self._deaths >= _DEATHS_AT_START:
            raise WorkerError(
                f"worker processes end when they start (exit status {code})",
                where=sys.executable,
                remedy="look at what they wrote to the standard error; 'fullwell doctor' checks the installation",
            )
        place = self._workers.index(worker)
        if self._stopping:
            worker.busy = False
            del self._workers[place]
        else:
            self._workers[place] = _Worker(self._setup, self._inbox)
            self._assign()
        jobs = tuple(worker.jobs)
        said = f"killed by signal {-code} ({signal.Signals(-code).name})" if code < 0 else f"ended with status {code}"
        hint = ", as the system does when memory runs out" if code == -9 else ""
        return LostWorker(f"pid {worker.process.pid}", jobs, jobs[:1], said + hint)

    def cancel(self) -> None:
        """Drop waiting batches; each worker ends the job at hand and no more."""
        self._waiting.clear()
        self._stopping = True
        for worker in self._workers:
            worker.say(stop=True)

    @property
    def busy(self) -> bool:
        """Whether a worker is at a batch."""
        return any(w.busy for w in self._workers)

    def close(self) -> None:
        """Let the workers go; one that is still at a job after five seconds is killed."""
        self.cancel()
        workers, self._workers = self._workers, []
        until = time.monotonic() + 5.0
        for worker in workers:
            with contextlib.suppress(OSError, ValueError):
                assert worker.process.stdin is not None
                worker.process.stdin.close()
        for worker in workers:
            worker.end(max(0.0, until - time.monotonic()))
