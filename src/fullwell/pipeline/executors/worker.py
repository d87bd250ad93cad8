"""What happens in a worker: jobs in, files out, and a word about each.

The same code serves all executors. `run_batch` takes plain dicts and returns plain dicts. A worker never touches
the repository: it reads the files that a job names, and writes those that it promises, each whole or not at all.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
import warnings
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

from fullwell import __version__
from fullwell.base import faults
from fullwell.base.errors import FullwellWarning, WorkerError
from fullwell.io.atomic import sweep
from fullwell.io.identity import embedded_id, same_id
from fullwell.pipeline.jobs import Done, Job, Output, Written
from fullwell.pipeline.retry import describe

__all__ = ["Cache", "complete", "load", "name", "prefetch", "run_batch", "run_job", "run_jobs"]

T = TypeVar("T")
Tasks = Mapping[str, Callable[[Job, "Cache"], None]]
_notes: ContextVar[list[str] | None] = ContextVar("notes", default=None)
_swept: set[str] = set()


def name() -> str:
    """Host and process of this worker."""
    return f"{socket.gethostname()}:{os.getpid()}"


class Cache:
    """What a worker keeps between jobs: calibrations that were read and digested, the least used go first.

    Parameters
    ----------
    limit : memory of all that is kept [byte]. One thing larger than that is kept alone.
    """

    def __init__(self, limit: int = 2 << 30) -> None:
        self.limit = limit
        self._items: OrderedDict[Any, tuple[Any, int]] = OrderedDict()
        self._lock = threading.RLock()

    def __len__(self) -> int:
        return len(self._items)

    def get(self, key: Any, make: Callable[[], T]) -> T:
        """The thing of `key` (kind and id), made by `make()` where it is not kept."""
        with self._lock:
            if key not in self._items:
                thing = make()
                self._items[key] = (thing, _bytes(thing))
                while len(self._items) > 1 and sum(size for _, size in self._items.values()) > self.limit:
                    self._items.popitem(last=False)
            self._items.move_to_end(key)
            kept: T = self._items[key][0]
            return kept


def _arrays(thing: Any, found: dict[int, int], depth: int = 3) -> dict[int, int]:
    """Arrays in a thing, its fields and their members: identity -> memory [byte], each array once."""
    size = getattr(thing, "nbytes", None)
    if isinstance(size, int):
        found[id(thing)] = size
        return found
    if depth == 0 or isinstance(thing, str | bytes | int | float | type(None)):
        return found
    members: Iterable[Any] = ()
    if isinstance(thing, Mapping):
        members = thing.values()
    elif isinstance(thing, list | tuple):
        members = thing
    else:
        slots = [getattr(thing, s, None) for c in type(thing).__mro__ for s in getattr(c, "__slots__", ())]
        members = [*getattr(thing, "__dict__", {}).values(), *slots]
    for member in members:
        _arrays(member, found, depth - 1)
    return found


def _bytes(thing: Any) -> int:
    """Memory that a thing holds [byte]; 1 kB where it has no arrays."""
    return max(1024, sum(_arrays(thing, {}).values()))


def prefetch(paths: Iterable[str]) -> threading.Thread:
    """Have the system read files into its cache in another thread; a file that cannot be read is left to the task."""

    def touch() -> None:
        for path in paths:
            with contextlib.suppress(OSError), open(path, "rb", buffering=0) as stream:
                if hasattr(os, "posix_fadvise"):
                    os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_WILLNEED)
                else:
                    buffer = bytearray(4 << 20)
                    while stream.readinto(buffer):
                        pass

    thread = threading.Thread(target=touch, name="prefetch", daemon=True)
    thread.start()
    return thread


def _crc(path: Path) -> str:
    value = 0
    with open(path, "rb") as stream:
        while chunk := stream.read(4 << 20):
            value = zlib.crc32(chunk, value)
    return f"crc32:{value:08x}"


def _written(output: Output, checksum: bool) -> Written | None:
    """The output as it is on disk; None where it is not there or carries another id."""
    path = Path(output.path)
    try:
        found = embedded_id(path)
        size = path.stat().st_size
    except OSError:
        return None
    if not same_id(output.id, found):
        return None
    return Written(**vars(output), size=size, checksum=_crc(path) if checksum else "")


def complete(job: Job) -> tuple[Written, ...] | None:
    """The outputs of a job where each is there under its final name with the right id; else None."""
    found = []
    for output in job.outputs:
        one = _written(output, bool(job.context.get("checksum")))
        if one is None:
            return None
        found.append(one)
    return tuple(found) if found else None


def _prepare(job: Job) -> None:
    """Make the folders of the outputs; sweep what killed workers of this machine left there."""
    for folder in {str(Path(o.path).parent) for o in job.outputs}:
        os.makedirs(folder, exist_ok=True)
        if folder not in _swept:
            sweep(folder)
            _swept.add(folder)


def _show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
    """In place of `warnings.showwarning`: to the list of the job of this thread."""
    notes = _notes.get()
    if notes is None:
        _shown(message, category, *where, **more)
    elif str(message) not in notes:
        notes.append(str(message))


_shown: Any = warnings.showwarning


@contextlib.contextmanager
def _collecting() -> Iterator[list[str]]:
    """Warnings of this thread to a list, each text once.

    Python's filters and its way to show warnings belong to the whole process: they are put back in the main
    thread, and stay as they are set here in a worker of several threads.
    """
    global _shown
    notes: list[str] = []
    token = _notes.set(notes)
    main = threading.current_thread() is threading.main_thread()
    with warnings.catch_warnings() if main else contextlib.nullcontext():
        if warnings.showwarning is not _show:
            _shown, warnings.showwarning = warnings.showwarning, _show
            warnings.simplefilter("always", FullwellWarning)
        try:
            yield notes
        finally:
            _notes.reset(token)


def _work(job: Job, cache: Cache, tasks: Tasks | None) -> tuple[str, tuple[Written, ...]]:
    from fullwell.pipeline.tasks import TASKS

    there = complete(job)
    if there is not None:
        return "kept", there
    task = TASKS[job.task] if tasks is None else tasks[job.task]
    _prepare(job)
    faults.point("before-task")
    task(job, cache)
    faults.point("after-task")
    there = complete(job)
    if there is None and job.outputs:
        missing = [o.path for o in job.outputs if _written(o, False) is None]
        raise WorkerError(
            f"task '{job.task}' ended without writing what it promised, or wrote it with another id",
            where=", ".join(missing),
            remedy="the task must write each output under its path with the card LSST BUTLER ID",
        )
    return "done", there or ()


def run_job(job: Job, cache: Cache, tasks: Tasks | None = None) -> Done:
    """One job: kept where its outputs are there, else computed; an exception becomes a failure.

    `tasks` : name -> function; None for those of the registry.
    """
    clock = time.process_time if threading.current_thread() is threading.main_thread() else time.thread_time
    wall, cpu = time.perf_counter(), clock()
    state, failure = "failed", None
    outputs: tuple[Written, ...] = ()
    with _collecting() as notes:
        try:
            state, outputs = _work(job, cache, tasks)
        except Exception as err:
            failure = describe(err, job, worker=name())
    return Done(
        job=job.id,
        task=job.task,
        state=state,
        seconds=time.perf_counter() - wall,
        cpu=clock() - cpu,
        failure=failure,
        outputs=outputs,
        worker=name(),
        notes=tuple(notes),
    )


def run_jobs(jobs: Sequence[Job], cache: Cache) -> Iterator[Done]:
    """Jobs one after the other; while one is computed, the system reads the inputs of the next."""
    seen: set[str] = set()
    for number, job in enumerate(jobs):
        seen.update(i.path for i in job.inputs)
        ahead = [] if number + 1 == len(jobs) else [i.path for i in jobs[number + 1].inputs if i.path not in seen]
        if ahead:
            prefetch(ahead)
        yield run_job(job, cache)


def load(modules: Iterable[str]) -> None:
    """Import the modules in which tasks are registered.

    Raises
    ------
    WorkerError
        one of them cannot be imported here.
    """
    for module in modules:
        try:
            import_module(module)
        except ImportError as err:
            raise WorkerError(
                f"the worker cannot import '{module}': {err}",
                where=name(),
                remedy="install the package of the tasks where the workers run",
            ) from err


_kept: dict[int, Cache] = {}
_kept_lock = threading.Lock()


def run_batch(
    jobs: Sequence[Mapping[str, Any]],
    cache: Cache | None = None,
    *,
    modules: Sequence[str] = (),
    cache_bytes: int = 0,
    version: str = "",
) -> list[dict[str, Any]]:
    """A batch as plain data.

    Parameters
    ----------
    jobs : as `Job.to_dict` gives them.
    cache : what the worker keeps; by default one of `cache_bytes` that the process keeps between batches.
    modules : to import first. version : of fullwell that the caller has, "" for any.

    Returns
    -------
    list of dict
        a `Done` for each job, in the same order.

    Raises
    ------
    WorkerError
        the worker has another version of fullwell, or lacks a module.
    """
    if version and version != __version__:
        raise WorkerError(
            f"the worker has fullwell {__version__}, the caller {version}: their numbers may differ",
            where=name(),
            remedy="install the same version where the workers run, then resume the run",
            code="FW704",
        )
    if cache is None:
        with _kept_lock:
            cache = _kept.setdefault(cache_bytes, Cache(cache_bytes or 2 << 30))
    load(modules)
    return [done.to_dict() for done in run_jobs([Job.from_dict(j) for j in jobs], cache)]
