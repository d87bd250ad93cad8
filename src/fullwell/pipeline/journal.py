"""The state of a run on disk, so that what stopped can go on.

``plan.jsonl`` holds the jobs and what each waits for, written once and whole. ``journal.jsonl`` gets a line for each
job when its outputs are on disk and in the index; each block of lines is forced to disk. A line that a killed process
left unfinished is ignored and cut off. ``failures/`` has one record for each job that failed.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from fullwell.base import faults
from fullwell.base.errors import FileError, UsageError
from fullwell.io.atomic import atomic_path, sweep, write_error
from fullwell.io.folders import make_folder
from fullwell.pipeline.jobs import Done, Job

__all__ = ["Journal", "Saved", "load", "remaining", "write_plan"]

FORMAT = "fullwell run"
VERSION = 1


def write_plan(
    root: Path | str, jobs: Sequence[Job], dependencies: Mapping[str, Sequence[str]], header: Mapping[str, Any]
) -> Path:
    """Write the plan of a run into its folder `root`.

    Parameters
    ----------
    jobs : in the order of the plan. dependencies : id of a job -> ids of those that must be done before.
    header : what else is to be known when the run is resumed (recipe, query, repository, versions), JSON types only.

    Raises
    ------
    FileError
        there is a plan already, or the folder cannot be written.
    """
    path = make_folder(root) / "plan.jsonl"
    make_folder(path.parent / "failures")
    with atomic_path(path, overwrite=False) as temporary, open(temporary, "w") as out:
        out.write(json.dumps({"format": FORMAT, "version": VERSION, "jobs": len(jobs), **header}) + "\n")
        for job in jobs:
            out.write(json.dumps({"job": job.to_dict(), "after": list(dependencies.get(job.id, ()))}) + "\n")
    return path


@dataclass(frozen=True)
class Saved:
    """A run as its folder tells it.

    Parameters
    ----------
    root : its folder. header : what was given to `write_plan`.
    jobs, dependencies : the plan. last : job -> its last line in the journal.
    """

    root: Path
    header: Mapping[str, Any]
    jobs: tuple[Job, ...]
    dependencies: Mapping[str, tuple[str, ...]]
    last: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def _lines(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a file; one that is torn, at the end or where a process died, is left out."""
    found = []
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as err:
        raise FileError(f"'{path}' cannot be read: {err.strerror}", where=str(path)) from err
    for line in text.split(b"\n")[:-1]:
        with contextlib.suppress(ValueError):
            value = json.loads(line)
            if isinstance(value, dict):
                found.append(value)
    return found


def load(root: Path | str) -> Saved:
    """Read plan and journal of a run.

    Raises
    ------
    FileError
        there is no plan, it is not ours, or it is cut short.
    """
    root = Path(root)
    path = root / "plan.jsonl"
    lines = _lines(path)
    if not lines:
        raise FileError(
            f"there is no run in '{root}'", where=str(path), remedy="give the folder of a run, below .fullwell/runs"
        )
    header = lines[0]
    if header.get("format") != FORMAT or header.get("version") != VERSION:
        raise FileError(
            f"the plan is not one that this version reads (format {header.get('format')!r}, "
            f"version {header.get('version')!r})",
            where=str(path),
            remedy="resume it with the version of fullwell that made it, or plan anew",
        )
    if len(lines) != header["jobs"] + 1:
        raise FileError(
            f"the plan is damaged: {len(lines) - 1} of {header['jobs']} jobs can be read",
            where=str(path),
            remedy="plan anew; what is done will be kept",
        )
    jobs = tuple(Job.from_dict(line["job"]) for line in lines[1:])
    after = {line["job"]["id"]: tuple(line["after"]) for line in lines[1:]}
    last = {line["job"]: line for line in _lines(root / "journal.jsonl") if "job" in line}
    return Saved(root, header, jobs, after, last)


def _there(line: Mapping[str, Any]) -> bool:
    """Whether the outputs that a line tells of are still there, in their size."""
    for output in line.get("outputs", ()):
        try:
            if os.stat(output["path"]).st_size != output["size"]:
                return False
        except OSError:
            return False
    return True


def remaining(saved: Saved) -> tuple[list[Job], set[str]]:
    """What a resumed run has to do.

    A job is finished where the journal says so and its files are there. All others remain, the failed ones too;
    of those a worker keeps what is complete.

    Returns
    -------
    jobs : list of Job
        in the order of the plan.
    finished : set of str
        ids of the others.
    """
    finished = {
        job.id
        for job in saved.jobs
        if (line := saved.last.get(job.id)) is not None and line.get("state") in ("done", "kept") and _there(line)
    }
    return [job for job in saved.jobs if job.id not in finished], finished


def _lock(handle: int, path: Path) -> None:
    """Hold the journal for this process; the system lets go when the process ends, however it ends."""
    try:
        import fcntl
    except ImportError:
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UsageError(
            "this run is being executed by another process",
            where=str(path),
            remedy="wait until it has ended, or end it, then resume",
        ) from None
    except OSError:
        return


class Journal:
    """Appends to the journal of a run; use it in a ``with`` block.

    Parameters
    ----------
    root : folder of the run.

    Raises
    ------
    UsageError
        another process executes the run. FileError: the folder cannot be written.
    """

    def __init__(self, root: Path | str) -> None:
        self.root = make_folder(root)
        self.failures = make_folder(self.root / "failures")
        self._path = self.root / "journal.jsonl"
        self._file = -1

    def __enter__(self) -> Journal:
        try:
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        except OSError as err:
            raise FileError(
                f"the journal of the run cannot be written: {err.strerror}",
                where=str(self._path),
                remedy="the folder of the repository must be one that you may write to",
            ) from err
        try:
            _lock(self._file, self._path)
        except UsageError:
            os.close(self._file)
            raise
        self._cut()
        sweep(self.failures)
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        os.close(self._file)
        self._file = -1

    def _cut(self) -> None:
        """Remove a last line that has no end."""
        text = self._path.read_bytes()
        end = text.rfind(b"\n") + 1
        if end != len(text):
            os.ftruncate(self._file, end)

    def write(self, block: Iterable[Done]) -> None:
        """Lines for jobs whose state is final, forced to disk before this returns.

        Raises
        ------
        FileError
            the disk is full or gone; the journal is then as it was.
        """
        lines = []
        for done in block:
            values = done.to_dict()
            failure = values.pop("failure")
            if failure is not None:
                values["error"] = {key: failure[key] for key in ("kind", "problem", "code", "where")}
            lines.append(json.dumps(values) + "\n")
        if not lines:
            return
        data, start = memoryview("".join(lines).encode()), os.fstat(self._file).st_size
        try:
            while data:
                data = data[os.write(self._file, data) :]
            os.fsync(self._file)
        except OSError as err:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, start)
            raise write_error(err, self._path) from err
        faults.point("after-journal")

    def record(self, job: Job, done: Done, attempts: int) -> Path:
        """Write the record of a failure: traceback, context, the job itself."""
        path = self.failures / f"{job.id}.json"
        values = {"job": job.to_dict(), "done": done.to_dict(), "attempts": attempts}
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(values, indent=1))
        return path

    def forget(self, job: Job) -> None:
        """Remove the record of a failure of a job that has been done since."""
        with contextlib.suppress(FileNotFoundError):
            (self.failures / f"{job.id}.json").unlink()
