"""What is to be done and what came of it, as plain data that travel between processes and machines.

A `Job` is one call of a task: paths in, paths out. A `Done` is what a worker says about it. `ReadyQueue` cuts the
jobs that may run into batches of a few seconds, jobs of the same calibrations together.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Costs", "Done", "Failure", "Input", "Job", "LostWorker", "Output", "ReadyQueue", "Written", "batches"]

LARGEST = 256
"""Jobs in one batch at most, however short they are: what is lost with a worker stays small."""

Cost = Callable[["Job"], float | None]


@dataclass(frozen=True)
class Input:
    """A file that a job reads.

    Parameters
    ----------
    role : what it is to the task ("raw", "bias", "flat").
    id : id of the dataset. path : where the file is. dataset_type : its kind in the repository.
    """

    role: str
    id: str
    path: str
    dataset_type: str = ""

    def to_dict(self) -> dict[str, Any]:
        """JSON types only."""
        return dict(vars(self))


@dataclass(frozen=True)
class Output:
    """A file that a job writes.

    Parameters
    ----------
    dataset_type : its kind. id : the id that the file will carry. path : its final name.
    data_id : dimension -> value.
    """

    dataset_type: str
    id: str
    path: str
    data_id: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """JSON types only."""
        return {**vars(self), "data_id": dict(self.data_id)}


@dataclass(frozen=True)
class Written(Output):
    """An output that is there, with its size [byte] and, where the job asks for one, the checksum of its bytes."""

    size: int = 0
    checksum: str = ""


@dataclass(frozen=True)
class Job:
    """One call of a task: same job, same bytes.

    Parameters
    ----------
    id : made of the task, its inputs and its settings. task : name in the registry of tasks.
    inputs, outputs : files. config : settings of the task, JSON types only.
    context : what else the outputs say about their origin (recipe, run, versions); with ``"checksum": True`` the
        worker takes the checksum of each output.
    batch : jobs of one value share calibrations and are best done by one worker (the detector).
    """

    id: str
    task: str
    inputs: tuple[Input, ...] = ()
    outputs: tuple[Output, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    context: Mapping[str, Any] = field(default_factory=dict)
    batch: str = ""

    def to_dict(self) -> dict[str, Any]:
        """JSON types only."""
        return {
            "id": self.id,
            "task": self.task,
            "inputs": [i.to_dict() for i in self.inputs],
            "outputs": [o.to_dict() for o in self.outputs],
            "config": dict(self.config),
            "context": dict(self.context),
            "batch": self.batch,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Job:
        """The inverse of `to_dict`."""
        inputs = tuple(Input(**i) for i in values["inputs"])
        outputs = tuple(Output(**o) for o in values["outputs"])
        return cls(**{**values, "inputs": inputs, "outputs": outputs})

    def path(self, role: str) -> str:
        """Path of the one input of `role`.

        Raises
        ------
        KeyError
            there is none, or there are several.
        """
        found = [i.path for i in self.inputs if i.role == role]
        if len(found) != 1:
            raise KeyError(f"job {self.id} has {len(found)} inputs of role '{role}'")
        return found[0]


@dataclass(frozen=True)
class Failure:
    """Why a job failed.

    Parameters
    ----------
    kind : name of the exception, or "input failed", or "worker lost".
    problem, where, remedy, code : as in `FullwellError`; of other exceptions the text is the problem.
    traceback : where in the code.
    passes : whether the same job may succeed later (a network file system, a lost worker).
    halts : whether all other jobs would fail of it as well (a full disk).
    context : job, task, host, process, versions, data ids.
    """

    kind: str
    problem: str
    where: str = ""
    remedy: str = ""
    code: str = ""
    traceback: str = ""
    passes: bool = False
    halts: bool = False
    context: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """JSON types only."""
        return {**vars(self), "context": dict(self.context)}

    @property
    def line(self) -> str:
        """One line for a list."""
        return ": ".join(part for part in (self.code or self.kind, " ".join(self.problem.split())) if part)


@dataclass(frozen=True)
class Done:
    """What became of a job.

    Parameters
    ----------
    job, task : of the `Job`.
    state : "done", "kept" (the outputs were there), "failed" or "lost" (its workers died).
    seconds, cpu : wall and processor time of this job alone [s].
    failure : for "failed" and "lost".
    outputs : what was written or kept.
    worker : host and process. notes : warnings raised meanwhile, each once.
    """

    job: str
    task: str
    state: str
    seconds: float = 0.0
    cpu: float = 0.0
    failure: Failure | None = None
    outputs: tuple[Written, ...] = ()
    worker: str = ""
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the outputs are there."""
        return self.state in ("done", "kept")

    def to_dict(self) -> dict[str, Any]:
        """JSON types only."""
        return {
            **vars(self),
            "failure": None if self.failure is None else self.failure.to_dict(),
            "outputs": [o.to_dict() for o in self.outputs],
            "notes": list(self.notes),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Done:
        """The inverse of `to_dict`."""
        failure = None if values.get("failure") is None else Failure(**values["failure"])
        outputs = tuple(Written(**o) for o in values.get("outputs", ()))
        return cls(**{**values, "failure": failure, "outputs": outputs, "notes": tuple(values.get("notes", ()))})


@dataclass(frozen=True)
class LostWorker:
    """A worker went away.

    Parameters
    ----------
    worker : host and process. jobs : ids of its jobs that have no result.
    running : those of them that it was at; () where that is not known. reason : for people.
    tried : the executor has given the batch to several workers, and lost all of them.
    """

    worker: str
    jobs: tuple[str, ...] = ()
    running: tuple[str, ...] = ()
    reason: str = ""
    tried: bool = False


class Costs:
    """Seconds that a job takes, by task, as measured so far; the latest count most."""

    RATE = 0.3

    def __init__(self, known: Mapping[str, float] | None = None) -> None:
        self._seconds: dict[str, float] = dict(known or {})

    def __call__(self, job: Job) -> float | None:
        """Estimate for `job` [s]; None while nothing of its task was measured."""
        return self._seconds.get(job.task)

    def learn(self, done: Done) -> None:
        """Take up what a job took; one that was kept says nothing."""
        if done.state == "done":
            old = self._seconds.get(done.task, done.seconds)
            self._seconds[done.task] = old + self.RATE * (done.seconds - old)


class ReadyQueue:
    """Jobs that may run now, cut into batches.

    Parameters
    ----------
    cost : job -> seconds, None if not known.
    """

    def __init__(self, cost: Cost) -> None:
        self.cost = cost
        self._keys: dict[str, deque[Job]] = {}
        self._alone: deque[Job] = deque()
        self._counts: Counter[str] = Counter()
        self._sample: dict[str, Job] = {}

    def __len__(self) -> int:
        return self._counts.total()

    def add(self, job: Job, *, alone: bool = False) -> None:
        """Put a job in; `alone` gives it a batch of its own (one that may have killed its worker)."""
        self._counts[job.task] += 1
        self._sample.setdefault(job.task, job)
        (self._alone if alone else self._keys.setdefault(job.batch, deque())).append(job)

    def seconds(self, unknown: float) -> float:
        """Estimated time of all that is in it [s]; a job of unknown cost counts as `unknown`."""
        total = 0.0
        for task, number in self._counts.items():
            known = self.cost(self._sample[task])
            total += number * (unknown if known is None else known)
        return total

    def _fill(self, batch: list[Job], queue: deque[Job], seconds: float, held: float) -> float:
        """Move jobs until the batch holds `seconds`; returns what it holds."""
        while queue and held < seconds and len(batch) < LARGEST:
            job = queue.popleft()
            known = self.cost(job)
            batch.append(job)
            held += seconds if known is None else known
        return held

    def _enough(self, queue: Iterable[Job], seconds: float) -> bool:
        held = 0.0
        for number, job in enumerate(queue, 1):
            known = self.cost(job)
            held += seconds if known is None else known
            if held >= seconds or number >= LARGEST:
                return True
        return False

    def take(self, seconds: float) -> tuple[Job, ...]:
        """The next batch: jobs of one key that take `seconds` together, or of several keys where one has not enough."""
        batch: list[Job] = []
        if self._alone:
            batch.append(self._alone.popleft())
        else:
            key = next((k for k, queue in self._keys.items() if self._enough(queue, seconds)), None)
            held = 0.0
            for name in list(self._keys) if key is None else [key]:
                held = self._fill(batch, self._keys[name], seconds, held)
                if not self._keys[name]:
                    del self._keys[name]
                if held >= seconds or len(batch) >= LARGEST:
                    break
        self._counts.subtract(job.task for job in batch)
        return tuple(batch)


def batches(jobs: Iterable[Job], seconds: float, cost: Cost) -> list[tuple[Job, ...]]:
    """Cut jobs into batches of at least about `seconds`, of one key where it has enough.

    Parameters
    ----------
    jobs : in the order in which they should run.
    seconds : work in one batch [s]. cost : job -> seconds; a job of unknown cost (None) gets a batch of its own.
    """
    queue = ReadyQueue(cost)
    for job in jobs:
        queue.add(job)
    found = []
    while len(queue):
        found.append(queue.take(seconds))
    return found
