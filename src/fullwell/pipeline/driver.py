"""Runs a plan: jobs that are ready to an executor, finished outputs in blocks to the one writer of the index.

A job is ready when those before it are done. What may pass is tried again; what cannot is recorded, fails what
depends on it, and does not stop the rest. The journal has a job only after its outputs are in the index, so a run that
is killed at any moment is resumed without loss.
"""

from __future__ import annotations

import contextlib
import heapq
import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from fullwell.base import faults
from fullwell.base.errors import FileError, FullwellError, RecipeError, UsageError, WorkerError
from fullwell.base.progress import progress
from fullwell.io.atomic import sweep
from fullwell.pipeline.executors.base import Executor
from fullwell.pipeline.jobs import Costs, Done, Failure, Job, LostWorker, ReadyQueue
from fullwell.pipeline.journal import Journal
from fullwell.pipeline.retry import RetryPolicy, away, describe, halts
from fullwell.pipeline.summary import WITH_INPUT, Summary

__all__ = ["NoSink", "Options", "Sink", "run"]


class Sink(Protocol):
    """Where finished outputs go: the index of a repository."""

    def ingest(self, block: Sequence[Done]) -> None:
        """Take up the outputs of a block in one transaction. What is known already is no error."""


class NoSink:
    """Files alone, no index."""

    def ingest(self, block: Sequence[Done]) -> None:
        """Nothing to take up."""


@dataclass(frozen=True)
class Options:
    """How a plan is run.

    Parameters
    ----------
    batch_seconds : work in one batch [s]. in_flight : batches at the executor, for each worker.
    retry : what may pass. fail_fast : stop at the first job that fails.
    block, block_seconds : jobs that are taken up together, after that time [s] at the latest.
    patience : how long an index may be away [s]. grace : for jobs in work after an interruption [s].
    label : on the progress bar. costs : task -> seconds, where known from before.
    """

    batch_seconds: float = 2.0
    in_flight: int = 2
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    fail_fast: bool = False
    block: int = 50
    block_seconds: float = 2.0
    patience: float = 60.0
    grace: float = 10.0
    label: str = "jobs"
    costs: Mapping[str, float] = field(default_factory=dict)


class _Writer:
    """The one writer: blocks to the sink, then to the journal.

    While the index is away the run goes on; what waits for it is tried again until `patience` is over.
    """

    def __init__(self, sink: Sink, journal: Journal | None, options: Options, reject: Callable[[Done], None]) -> None:
        self._sink, self._journal, self._options, self._reject = sink, journal, options, reject
        self._waiting: list[Done] = []
        self._since = self._retry_at = 0.0
        self._away_since: float | None = None

    def add(self, done: Done) -> None:
        """A job whose outputs are there."""
        if not self._waiting:
            self._since = time.monotonic()
        self._waiting.append(done)

    def flush(self, *, force: bool = False) -> None:
        """Write what is due; with `force` all of it, waiting for an index that is away.

        Raises
        ------
        WorkerError
            the index stayed away, or cannot be written.
        """
        while self._waiting:
            now = time.monotonic()
            if now < self._retry_at:
                if not force:
                    return
                time.sleep(self._retry_at - now)
            due = len(self._waiting) >= self._options.block or now >= self._since + self._options.block_seconds
            if not (due or force):
                return
            self._take(self._waiting[: self._options.block])

    def _take(self, block: list[Done]) -> None:
        """Enter a block, or where the index refuses it, what it takes alone; where the index is away, it waits."""
        faults.point("before-ingest")
        taken, number, error = block, len(block), self._ingest(block)
        if error is not None and away(error):
            taken, number = [], 0
        elif error is not None:
            taken, number, error = self._one_by_one(block)
        if taken:
            self._away_since = None
            faults.point("after-ingest")
            if self._journal is not None:
                self._journal.write(taken)
        self._waiting = self._waiting[number:]
        if error is not None:
            self._wait(error)
        else:
            self._away_since, self._since = None, time.monotonic()

    def _ingest(self, block: Sequence[Done]) -> Exception | None:
        """Enter jobs; the error with which the index refuses them.

        Raises
        ------
        WorkerError
            nothing can be written.
        """
        try:
            self._sink.ingest(block)
        except Exception as err:
            if halts(err):
                raise WorkerError(
                    f"the repository cannot be written: {describe(err).line}",
                    remedy="free some space, then resume the run: the files that were made are whole",
                    code="FW702",
                ) from err
            return err
        return None

    def _wait(self, err: Exception) -> None:
        now = time.monotonic()
        self._away_since = now if self._away_since is None else self._away_since
        away = now - self._away_since
        if away >= self._options.patience:
            what = f"{err.problem}" if isinstance(err, FullwellError) else describe(err).line
            raise WorkerError(
                f"the repository has not answered for {away:.0f} s: {what}",
                remedy="the files that were made are whole; resume the run when the repository is back",
                code="FW702",
            ) from err
        self._retry_at = now + min(5.0, max(0.2, away / 2))

    def _one_by_one(self, block: list[Done]) -> tuple[list[Done], int, Exception | None]:
        """A block that the index refuses: those that it takes alone, the others fail; how many that are, and the error
        of an index that went away before the rest."""
        taken: list[Done] = []
        for number, done in enumerate(block):
            error = self._ingest([done])
            if error is None:
                taken.append(done)
            elif away(error):
                return taken, number, error
            else:
                failure = describe(error, worker=done.worker, job=None)
                self._reject(Done(done.job, done.task, "failed", failure=failure, worker=done.worker))
        return taken, len(block), None


class _Run:
    """State of one call of `run`."""

    def __init__(
        self,
        jobs: Sequence[Job],
        dependencies: Mapping[str, Sequence[str]],
        executor: Executor,
        sink: Sink,
        journal: Journal | None,
        options: Options,
        finished: Collection[str],
    ) -> None:
        self.jobs = {job.id: job for job in jobs}
        self.executor, self.journal, self.options = executor, journal, options
        self.costs = Costs(options.costs)
        self.ready = ReadyQueue(self.costs)
        self.writer = _Writer(sink, journal, options, self.refuse)
        self.summary = Summary(total=len(jobs), workers=executor.capacity)
        self.attempts: dict[str, int] = {}
        self.open = set(self.jobs)
        self.states: dict[str, str] = {}
        self.flying: set[str] = set()
        self.batches: dict[str, int] = {}
        self.sizes: dict[int, int] = {}
        self.number = 0
        self.later: list[tuple[float, str, bool]] = []
        self.over: list[Done] = []
        self.halted = False
        self.waits: dict[str, set[str]] = {}
        self.users: dict[str, list[str]] = {}
        self._link(dependencies, finished)

    def _link(self, dependencies: Mapping[str, Sequence[str]], finished: Collection[str]) -> None:
        for job in self.jobs.values():
            before = {d for d in dependencies.get(job.id, ()) if d not in finished}
            unknown = before - self.jobs.keys()
            if unknown:
                raise UsageError(f"job {job.id} waits for {min(unknown)}, which is not in the plan")
            self.waits[job.id] = before
            for one in before:
                self.users.setdefault(one, []).append(job.id)
        _check_order(self.waits, self.users)
        for job in self.jobs.values():
            if not self.waits[job.id]:
                self.ready.add(job)

    # ---------------------------------------------------------------- out
    def submit(self) -> None:
        """Give ready jobs to the executor, up to the limit in flight."""
        now = time.monotonic()
        while self.later and self.later[0][0] <= now:
            _, name, alone = heapq.heappop(self.later)
            if name in self.open:
                self.ready.add(self.jobs[name], alone=alone)
        capacity = max(1, self.executor.capacity)
        self.summary.workers = max(self.summary.workers, capacity)
        seconds = self.options.batch_seconds
        while len(self.ready) and not self.halted and len(self.sizes) < self.options.in_flight * capacity:
            held = self.ready.seconds(seconds)
            if held < seconds and len(self.sizes) >= capacity:
                return
            batch = self.ready.take(min(seconds, max(held / capacity, 1e-6)))
            self.number += 1
            self.sizes[self.number] = len(batch)
            for job in batch:
                self.flying.add(job.id)
                self.batches[job.id] = self.number
                self.attempts[job.id] = self.attempts.get(job.id, 0) + 1
            self.executor.submit(batch)

    def land(self, job: str) -> bool:
        """Take a job out of flight; False where it was not in it."""
        if job not in self.flying:
            return False
        self.flying.discard(job)
        number = self.batches.pop(job)
        self.sizes[number] -= 1
        if not self.sizes[number]:
            del self.sizes[number]
        return True

    # ---------------------------------------------------------------- in
    def take(self, event: Done | LostWorker) -> None:
        """One event of the executor."""
        if isinstance(event, LostWorker):
            self.lose(event)
            return
        if not self.land(event.job):
            return
        self.costs.learn(event)
        self.summary.spend(event)
        if event.ok:
            self.writer.add(event)
            self.settle(event)
            for user in self.users.get(event.job, ()):
                self.waits[user].discard(event.job)
                if not self.waits[user] and user in self.open:
                    self.ready.add(self.jobs[user])
            return
        assert event.failure is not None
        if event.failure.passes and not self.halted:
            if self.again(event.job, alone=event.failure.kind == "MemoryError"):
                return
        self.fail(event)

    def again(self, job: str, *, alone: bool) -> bool:
        """Put a job back for a later attempt; False where it has had them all."""
        number = self.attempts[job]
        if number >= self.options.retry.attempts:
            return False
        self.summary.retried += 1
        heapq.heappush(self.later, (time.monotonic() + self.options.retry.wait(job, number), job, alone))
        return True

    def lose(self, event: LostWorker) -> None:
        """Jobs of a dead worker: the one it was at may be the cause, and gets a batch of its own."""
        self.summary.lost_workers += 1
        for job in event.jobs:
            if not self.land(job) or self.halted:
                continue
            suspect = job in event.running or not event.running
            if not suspect:
                self.attempts[job] -= 1
                self.ready.add(self.jobs[job])
            elif (event.tried and len(event.jobs) == 1) or not self.again(job, alone=True):
                failure = Failure(
                    "worker lost",
                    f"several workers were lost while they were at it (last: {event.worker} {event.reason})",
                    remedy="give the workers more memory, or fewer workers (-j), then resume",
                    code="FW701",
                    context={"job": job, "worker": event.worker},
                )
                self.fail(Done(job, self.jobs[job].task, "lost", failure=failure, worker=event.worker))

    def fail(self, done: Done) -> None:
        """A job has failed for good: record it, and fail what needs its outputs."""
        assert done.failure is not None
        if done.failure.halts and not self.halted:
            self.summary.stopped = f"{done.failure.line}; {done.failure.remedy or 'then resume the run'}"
        elif self.options.fail_fast and not self.halted:
            self.summary.stopped = "a job failed, and the run was to stop at the first that does"
        if (done.failure.halts or self.options.fail_fast) and not self.halted:
            self.halt()
        self.refuse(done)
        doomed = list(self.users.get(done.job, ()))
        while doomed:
            job = doomed.pop()
            if job not in self.open:
                continue
            doomed += self.users.get(job, ())
            problem = f"an input was not made: job {done.job} ({done.task}) failed: {done.failure.line}"
            failure = Failure(WITH_INPUT, problem, context={"job": job, "cause": done.job})
            self.refuse(Done(job, self.jobs[job].task, "failed", failure=failure))

    def refuse(self, done: Done) -> None:
        """Write down a job that has failed."""
        record = ""
        if self.journal is not None:
            job = self.jobs[done.job]
            with contextlib.suppress(FullwellError):
                record = str(self.journal.record(job, done, self.attempts.get(done.job, 0)))
            self.journal.write([done])
        self.settle(done, record)

    def settle(self, done: Done, record: str = "") -> None:
        """The final word about a job."""
        if done.job in self.open:
            self.open.discard(done.job)
            self.over.append(done)
            if done.ok and self.journal is not None:
                self.journal.forget(self.jobs[done.job])
        else:
            self.summary.counts[done.task, self.states[done.job]] -= 1
        self.states[done.job] = done.state
        self.summary.add(done, record)

    # ---------------------------------------------------------------- the loop
    def halt(self) -> None:
        """Begin nothing more; what is in work may end."""
        self.halted = True
        self.executor.cancel()

    def pause(self) -> float:
        """How long to wait for an event [s]."""
        wait = 0.5
        if self.later:
            wait = min(wait, max(0.0, self.later[0][0] - time.monotonic()))
        return wait

    def finished(self) -> Iterator[Done]:
        """Jobs as they get their final word."""
        while self.open and not self.halted:
            self.submit()
            wait = self.pause()
            if not self.flying:
                assert self.later or self.halted, f"{len(self.open)} jobs wait for nothing"
                time.sleep(wait)
            for event in self.executor.events(wait):
                self.take(event)
                if len(self.sizes) <= self.executor.capacity:
                    self.submit()
            self.writer.flush()
            yield from self.over
            self.over.clear()

    def drain(self) -> None:
        """After a halt: wait for jobs in work, for the time of grace."""
        self.halted = True
        until = time.monotonic() + self.options.grace
        while self.flying and time.monotonic() < until and self.executor.busy:
            for event in self.executor.events(0.2):
                self.take(event)

    def execute(self) -> Summary:
        """All of it."""
        begin = time.monotonic()
        try:
            for _ in progress(self.finished(), self.options.label, total=len(self.jobs)):
                pass
            if self.halted:
                self.drain()
        except KeyboardInterrupt:
            self.summary.interrupted = True
            self.halt()
            with contextlib.suppress(KeyboardInterrupt):
                self.drain()
        except (WorkerError, FileError) as err:
            self.summary.stopped = str(err)
        try:
            self.writer.flush(force=True)
        except (WorkerError, FileError) as err:
            self.summary.stopped = self.summary.stopped or str(err)
        except KeyboardInterrupt:
            self.summary.interrupted = True
        if self.summary.lost_workers:
            for folder in {os.path.dirname(o.path) for job in self.jobs.values() for o in job.outputs}:
                sweep(folder)
        self.summary.wall = time.monotonic() - begin
        return self.summary


def _check_order(waits: Mapping[str, set[str]], users: Mapping[str, Sequence[str]]) -> None:
    """Raise `RecipeError` where jobs wait for each other."""
    left = {job: len(before) for job, before in waits.items()}
    free = [job for job, number in left.items() if not number]
    while free:
        job = free.pop()
        del left[job]
        for user in users.get(job, ()):
            left[user] -= 1
            if not left[user]:
                free.append(user)
    if left:
        raise RecipeError(f"jobs wait for each other: {', '.join(sorted(left)[:5])}")


def run(
    jobs: Sequence[Job],
    dependencies: Mapping[str, Sequence[str]],
    executor: Executor,
    sink: Sink | None = None,
    journal: Journal | None = None,
    options: Options | None = None,
    *,
    finished: Collection[str] = (),
) -> Summary:
    """Do all jobs of a plan.

    Parameters
    ----------
    jobs : what is to be done; ids are unique. dependencies : id of a job -> ids of those that must be done before.
    executor : where it is computed; the caller closes it.
    sink : takes up finished outputs, the one writer of the index; None for files alone.
    journal : open journal of the run; None keeps no state.
    finished : ids that `dependencies` may name beside those of `jobs`: done by an earlier run.

    Returns
    -------
    Summary
        also where jobs failed, the run was interrupted, or workers or the index are gone (`stopped`).

    Raises
    ------
    UsageError
        a job waits for one that is not there, or ids come twice. RecipeError: jobs wait for each other.
    """
    if len({job.id for job in jobs}) != len(jobs):
        raise UsageError("two jobs of the plan have the same id", remedy="make the ids of the outputs differ")
    return _Run(jobs, dependencies, executor, sink or NoSink(), journal, options or Options(), finished).execute()
