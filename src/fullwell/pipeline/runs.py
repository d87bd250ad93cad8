"""Runs in a repository: execute a plan, resume one, repeat the making of a dataset.

The process that runs a plan is the one writer of the repository: it enters the files that the workers have
finished, certifies calibrations, puts the run into the chain of its user, and leaves a record of the run.
"""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from fullwell.base.errors import FileError, UsageError
from fullwell.pipeline.driver import Options, run
from fullwell.pipeline.jobs import Done, Job
from fullwell.pipeline.journal import Journal, Saved, load, remaining, write_plan
from fullwell.pipeline.summary import Summary
from fullwell.repo.layout import DATASETS, user_chain

if TYPE_CHECKING:
    from fullwell.pipeline.executors import Executor
    from fullwell.pipeline.plan import Plan
    from fullwell.repo.repository import Repository

__all__ = ["RepoSink", "execute", "latest_run", "now_stamp", "only_instrument", "resume", "run_folder", "who"]


def now_stamp() -> str:
    """The present time as part of the name of a run: no two runs of one second share it on one machine."""
    return datetime.now(UTC).strftime("%Y%m%dT%H%M%S%fZ")


def who() -> str:
    """The user whose runs these are: FULLWELL_USER, else the name of the account."""
    name = os.environ.get("FULLWELL_USER", "")
    if not name:
        with suppress(Exception):
            name = getpass.getuser()
    return name or "anonymous"


def only_instrument(repo: Repository, name: str = "") -> str:
    """The instrument chosen, or the only one.

    Raises
    ------
    UsageError
        it is not in the repository, or there are several and none is chosen.
    """
    have = repo.instruments()
    if name:
        found = next((h for h in have if h.lower() == name.lower()), None)
        if found is None:
            raise UsageError(f"the repository has no instrument '{name}'", remedy=f"it has {', '.join(have) or 'none'}")
        return found
    if len(have) != 1:
        raise UsageError(
            f"the repository has {len(have)} instruments" + (f": {', '.join(have)}" if have else ""),
            where=str(repo.path),
            remedy="choose one with --instrument" if have else "enter raw frames with fullwell repo ingest",
        )
    return have[0]


def run_folder(repo: Repository, stamp: str = "") -> Path:
    """Folder of the state of a run, or of all runs."""
    return repo.path / ".fullwell" / "runs" / stamp


def latest_run(repo: Repository) -> str:
    """Stamp of the latest run.

    Raises
    ------
    FileError
        there was none.
    """
    stamps = sorted(p.name for p in run_folder(repo).glob("*") if (p / "plan.jsonl").exists())
    if not stamps:
        raise FileError("nothing was run in this repository", where=str(run_folder(repo)), remedy="fullwell run …")
    return stamps[-1]


@dataclass
class RepoSink:
    """The one writer: enters finished outputs, certifies calibrations.

    Parameters
    ----------
    repo : open for writing. jobs : id -> job. begins : id -> begin of validity of a calibration.
    end : of the validity of all, "" for open. setup : of the calibrations. certify : whether they are certified at all.
    """

    repo: Repository
    jobs: Mapping[str, Job]
    begins: Mapping[str, str]
    end: str = ""
    setup: str = ""
    certify: bool = True

    def ingest(self, block: Sequence[Done]) -> None:
        """Enter the outputs of a block; what is known stays."""
        from fullwell.repo.calibs import Entry, certify_from, enter_files

        entries = [
            Entry(out.dataset_type, out.data_id, str(self.jobs[done.job].context["run"]), Path(out.path), UUID(out.id))
            for done in block
            for out in done.outputs
        ]
        refs = enter_files(self.repo, entries)
        if not self.certify:
            return
        owner = {out.id: done.job for done in block for out in done.outputs}
        for ref in refs:
            if ref.datasetType.isCalibration():
                certify_from(self.repo, ref, self.begins.get(owner[str(ref.id)], ""), self.end, setup=self.setup)


def execute(
    repo: Repository,
    plan: Plan,
    executor: Executor,
    options: Options | None = None,
    *,
    certify: bool = True,
    end: str = "",
    setup: str = "",
    user: str = "",
) -> Summary:
    """Do what a plan says.

    Parameters
    ----------
    repo : open for writing. executor : the caller closes it.
    certify : whether calibrations become valid, each from the day of its frames until `end` or until the next.

    Raises
    ------
    FileError
        the repository cannot be written.
    """
    todo = plan.to_run
    jobs = [p.job for p in todo]
    known = {j.id for j in jobs}
    after = {p.job.id: [a for a in p.after if a in known] for p in todo}
    root = run_folder(repo, plan.stamp)
    header = {**plan.header(), "certify": certify, "end": end, "setup": setup, "user": user or who()}
    write_plan(root, jobs, after, header)
    return _drive(repo, load(root), executor, options)


def resume(repo: Repository, executor: Executor, stamp: str = "", options: Options | None = None) -> Summary:
    """Go on with a run that stopped; what is done is kept.

    Parameters
    ----------
    stamp : of the run, "" for the latest.

    Raises
    ------
    FileError
        there is no such run. UsageError: another process executes it.
    """
    return _drive(repo, load(run_folder(repo, stamp or latest_run(repo))), executor, options)


def _drive(repo: Repository, saved: Saved, executor: Executor, options: Options | None) -> Summary:
    header = saved.header
    todo, finished = remaining(saved)
    every = {job.id: job for job in saved.jobs}
    end, setup = header.get("end", ""), header.get("setup", "")
    sink = RepoSink(repo, every, header.get("begins", {}), end, setup, header.get("certify", True))
    _open_runs(repo, header)
    with Journal(saved.root) as journal:
        summary = run(todo, saved.dependencies, executor, sink, journal, options, finished=finished)
    _record(repo, saved, summary)
    return summary


def _open_runs(repo: Repository, header: Mapping[str, Any]) -> None:
    """Register the runs and put those that are not calibrations first in the chain of their user."""
    from fullwell.repo.calibs import prepend

    chain = user_chain(str(header.get("user") or who()), str(header["recipe"]))
    for dataset, name in header["runs"].items():
        if not (dataset in DATASETS and DATASETS[dataset].calibration):
            prepend(repo, chain, name, str(header["instrument"]))


def _record(repo: Repository, saved: Saved, summary: Summary) -> None:
    """Leave the record of a run in its folder: what was asked for, by whom, where, with what outcome."""
    import json

    from fullwell.io import atomic_path
    from fullwell.pipeline.retry import versions

    tasks = {job.task: dict(job.config) for job in saved.jobs}
    record = {
        **saved.header,
        "tasks": tasks,
        "versions": versions(),
        "host": socket.gethostname(),
        "ended": datetime.now(UTC).isoformat(timespec="seconds"),
        "summary": summary.to_dict(),
    }
    with atomic_path(saved.root / "record.json") as temporary:
        temporary.write_text(json.dumps(record, indent=1, default=str))
