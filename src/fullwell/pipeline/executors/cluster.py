"""A Dask cluster: one that runs already, by the address of its scheduler, or one made on this machine.

Batches are sent as plain data. Dask gives the batch of a worker that dies to another one, which keeps the outputs
that are complete. Workers and this machine must see the same files under the same names. Whoever may talk to a
scheduler may run code on its workers: one on a network is to be protected by TLS or a firewall, as Dask describes.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import queue
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from fullwell import __version__
from fullwell.base.errors import UsageError, WorkerError
from fullwell.pipeline.executors.base import Setup
from fullwell.pipeline.executors.scratch import Scratch
from fullwell.pipeline.executors.worker import run_batch
from fullwell.pipeline.jobs import Done, Failure, Job, LostWorker

__all__ = ["Dask"]

logger = logging.getLogger("fullwell")

LOOK = 0.5
"""Seconds between two looks at which workers there are."""
PATIENCE = 60.0
"""Seconds without any worker after which a run ends."""
SEEN = 10.0
"""Seconds that a file of another machine may take to appear on a shared file system."""


def _distributed() -> Any:
    try:
        import distributed
    except ImportError:
        raise UsageError(
            "the executor dask needs the package 'distributed'", remedy="pip install 'fullwell[dask]'"
        ) from None
    return distributed


class Dask:
    """Computes on the workers of a Dask scheduler.

    Parameters
    ----------
    address : of a scheduler (``tcp://host:8786``); "" makes a cluster on this machine that ends with the executor.
    workers : processes of a cluster made here, by default one for each core.
    setup : modules of the tasks, size of the cache of each worker.
    note : called with a line that says where the dashboard is; by default it goes to the log.
    wait : for the first worker [s].

    Raises
    ------
    WorkerError
        no scheduler answers, or it has no workers. UsageError: Dask is not installed, options contradict.
    """

    def __init__(
        self,
        address: str = "",
        *,
        workers: int | None = None,
        setup: Setup | None = None,
        note: Callable[[str], Any] | None = None,
        wait: float = 30.0,
    ) -> None:
        if address and workers:
            raise UsageError(
                "how many workers a scheduler has is decided where it runs", remedy="leave -j out with --scheduler"
            )
        distributed = _distributed()
        self._setup = setup or Setup()
        self._cluster: Any = None
        self._scratch: Scratch | None = None
        self._stopping = False
        self._inbox: queue.SimpleQueue[tuple[int, Any]] = queue.SimpleQueue()
        self._flying: dict[int, tuple[Any, tuple[Job, ...]]] = {}
        self._number = 0
        self._looked = self._worked = 0.0
        self._capacity = 0
        if not address:
            self._cluster = self._make(distributed, workers)
        self.address: str = address or str(self._cluster.scheduler_address)
        self._connect(distributed, wait)
        (note or logger.info)(f"dashboard of the workers: {self.dashboard}")

    def _make(self, distributed: Any, workers: int | None) -> Any:
        """A cluster of this machine, which only this machine can reach."""
        self._scratch = Scratch()
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        try:
            return distributed.LocalCluster(
                n_workers=workers or cores,
                threads_per_worker=1,
                processes=True,
                host="127.0.0.1",
                dashboard_address="127.0.0.1:0",
                local_directory=self._scratch.path,
                silence_logs=logging.CRITICAL,
            )
        except (RuntimeError, OSError) as err:
            self.close()
            raise WorkerError(
                f"a Dask cluster cannot be started here: {err}",
                remedy="in a script, call it below 'if __name__ == \"__main__\":'; or use the executor processes",
                code="FW703",
            ) from err

    def _connect(self, distributed: Any, wait: float) -> None:
        try:
            self._client = distributed.Client(self._cluster or self.address, set_as_default=False, timeout=wait)
            self._client.wait_for_workers(1, timeout=wait)
        except (OSError, ValueError, TimeoutError) as err:
            client = getattr(self, "_client", None)
            problem = "has no workers" if client is not None else f"does not answer: {err}"
            self.close()
            raise WorkerError(
                f"the Dask scheduler {problem}",
                where=self.address,
                remedy="start it with 'dask scheduler' and workers with 'dask worker ADDRESS', then resume the run",
                code="FW703",
            ) from err
        self._look()

    @property
    def dashboard(self) -> str:
        """Address of the web page on which the work can be watched."""
        return str(self._client.dashboard_link)

    @property
    def workers(self) -> dict[str, int]:
        """Address of each worker -> its threads."""
        return dict(self._client.nthreads())

    @property
    def capacity(self) -> int:
        """Threads of all workers, as they were a moment ago."""
        self._look()
        return self._capacity

    @property
    def busy(self) -> bool:
        """Whether results are awaited; after `cancel` none are."""
        return bool(self._flying) and not self._stopping

    def _gone(self, err: BaseException | None = None) -> WorkerError:
        return WorkerError(
            "the Dask scheduler is gone",
            where=self.address,
            remedy="start it again and resume the run: what was done is kept",
            code="FW703",
        )

    def _look(self) -> None:
        """Count the workers now and then."""
        now = time.monotonic()
        if now < self._looked + LOOK:
            return
        if self._client.status not in ("running", "newly-created"):
            raise self._gone()
        try:
            self._capacity = sum(self.workers.values())
        except Exception as err:
            raise self._gone(err) from err
        self._looked = time.monotonic()
        if self._capacity or not self._flying:
            self._worked = now
        elif now > self._worked + PATIENCE:
            raise WorkerError(
                f"the Dask scheduler has had no worker for {PATIENCE:.0f} s",
                where=self.address,
                remedy="start workers with 'dask worker ADDRESS', then resume the run",
                code="FW703",
            )

    def submit(self, batch: Sequence[Job]) -> None:
        """Send a batch; its key says the task, so that the dashboard shows it."""
        self._number += 1
        number = self._number
        digest = hashlib.blake2b("".join(job.id for job in batch).encode(), digest_size=8).hexdigest()
        future = self._client.submit(
            run_batch,
            [job.to_dict() for job in batch],
            modules=self._setup.modules,
            cache_bytes=self._setup.cache_bytes,
            version=__version__,
            key=f"{batch[0].task}-{digest}-{self._client.id}-{number}",
            pure=False,
        )
        self._flying[number] = (future, tuple(batch))
        future.add_done_callback(lambda done: self._inbox.put((number, done)))

    def events(self, timeout: float) -> Iterator[Done | LostWorker]:
        """Results batch by batch."""
        wait = timeout
        while True:
            try:
                number, future = self._inbox.get(timeout=wait) if wait > 0 else self._inbox.get_nowait()
            except queue.Empty:
                self._look()
                return
            if number not in self._flying:
                continue
            _, batch = self._flying.pop(number)
            wait = 0.0
            yield from self._result(future, batch)

    def _result(self, future: Any, batch: tuple[Job, ...]) -> Iterator[Done | LostWorker]:
        """What a future has come to."""
        if future.status == "cancelled":
            if not self._stopping:
                raise self._gone()
            return
        err = future.exception(timeout=5.0) if future.status == "error" else None
        if err is None:
            for one in self._gather(future):
                yield _visible(Done.from_dict(one))
            return
        if type(err).__name__ == "KilledWorker":
            jobs = tuple(job.id for job in batch)
            yield LostWorker(str(getattr(err, "last_worker", "")), jobs, (), "a worker of the cluster", tried=True)
            return
        if isinstance(err, WorkerError):
            raise err
        raise WorkerError(
            f"the Dask workers cannot run fullwell: {type(err).__name__}: {err}",
            where=self.address,
            remedy=f"install fullwell {__version__} where the workers run, then resume the run",
            code="FW704",
        ) from err

    def _gather(self, future: Any) -> list[dict[str, Any]]:
        """The value of a future; where its worker died meanwhile, Dask has it computed again."""
        while True:
            try:
                found: list[dict[str, Any]] = future.result(timeout=5.0)
            except TimeoutError:
                self._look()
            except Exception as err:
                raise self._gone(err) from err
            else:
                return found

    def cancel(self) -> None:
        """Drop all batches; what a worker is at it still writes, and a resumed run keeps it."""
        self._stopping = True
        futures = [future for future, _ in self._flying.values()]
        with contextlib.suppress(Exception):
            self._client.cancel(futures, force=True)

    def close(self) -> None:
        """Leave the scheduler; end a cluster that was made here."""
        self._stopping = True
        for thing in (getattr(self, "_client", None), self._cluster):
            if thing is not None:
                with contextlib.suppress(Exception):
                    thing.close(timeout=5)
        if self._scratch is not None:
            self._scratch.close()


def _visible(done: Done) -> Done:
    """`done`, where this machine sees the files that the worker wrote; else a failure that says so."""
    until = time.monotonic() + SEEN
    for output in done.outputs:
        while not (os.path.exists(output.path) and os.stat(output.path).st_size == output.size):
            if time.monotonic() > until:
                failure = Failure(
                    "FileNotFoundError",
                    f"worker {done.worker} wrote the file, but it is not seen here",
                    where=output.path,
                    remedy="the repository must be on a file system that all workers share, under the same name",
                    code="FW705",
                    context={"job": done.job, "worker": done.worker},
                )
                return replace(done, state="failed", outputs=(), failure=failure)
            time.sleep(0.1)
    return done
