"""Runs in a repository: execute a plan, resume one, repeat the making of a dataset.

The process that runs a plan is the one writer of the repository: it enters the files that the workers have
finished, certifies calibrations, puts the run into the chain of its user, and leaves a record of the run.
"""

from __future__ import annotations

import getpass
import json
import os
import socket
from collections.abc import Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid5

from fullwell.base.errors import FileError, UsageError
from fullwell.io.atomic import atomic_path, sweep
from fullwell.io.identity import KEY
from fullwell.pipeline.driver import Options, run
from fullwell.pipeline.jobs import Done, Job
from fullwell.pipeline.journal import Journal, Saved, load, remaining, write_plan
from fullwell.pipeline.plan import SPARED
from fullwell.pipeline.retry import versions
from fullwell.pipeline.settings import check_cameras
from fullwell.pipeline.summary import Summary
from fullwell.repo.layout import DATASETS, file_path, user_chain

if TYPE_CHECKING:
    from fullwell.pipeline.executors import Executor
    from fullwell.pipeline.plan import Plan
    from fullwell.repo.repository import Repository

__all__ = [
    "OPTIONS",
    "RECORD",
    "RepoSink",
    "execute",
    "latest_run",
    "now_stamp",
    "only_instrument",
    "resume",
    "run_folder",
    "who",
]


NAMESPACE = UUID("b7c4f0ae-3f0c-5a0f-8a51-2f6b7c0d9e44")
RECORD = "run_record"
"""Dataset type of what was asked for in a run: recipe, condition, settings, versions."""

OPTIONS = Options(block=500, block_seconds=10.0)
"""How plans are run: what a transaction costs is shared by many outputs, and a killed client loses only the word
about them, since their files are whole."""


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

    What another run has made and entered meanwhile, by the same id, is the same: it stays where that run has it.

    Parameters
    ----------
    repo : open for writing. jobs : id -> job. begins : id -> begin of validity of a calibration.
    end : of the validity of all, "" for open. setup : of the calibrations. certify : whether they are certified at all.
    copies : our file -> that of another run, of what both have made.
    """

    repo: Repository
    jobs: Mapping[str, Job]
    begins: Mapping[str, str]
    end: str = ""
    setup: str = ""
    certify: bool = True
    copies: dict[Path, Path] = field(default_factory=dict, init=False)
    _refs: dict[str, Any] = field(default_factory=dict, init=False)

    def ingest(self, block: Sequence[Done]) -> None:
        """Enter the outputs of a block, certify calibrations, all in one transaction; what is known stays."""
        from fullwell.repo.bulk import enter_refs
        from fullwell.repo.calibs import certify_onward
        from fullwell.repo.repository import speaking

        outputs = [(done.job, out) for done in block for out in done.outputs]
        for kind in {out.dataset_type for _, out in outputs}:
            self._refer(kind)
        there = self._elsewhere([out.id for _, out in outputs])
        self.copies.update({Path(out.path): there[out.id] for _, out in outputs if out.id in there})
        with speaking(str(self.repo.path)), self.repo.butler.transaction():
            enter_refs(self.repo, [(self._refs[o.id], Path(o.path)) for _, o in outputs if o.id not in there])
            if self.certify:
                found = [(self._refs[out.id], self.begins.get(job, "")) for job, out in outputs]
                items = [(ref, begin) for ref, begin in found if ref.datasetType.isCalibration()]
                certify_onward(self.repo, items, self.end, setup=self.setup)

    def _elsewhere(self, ids: Sequence[str]) -> dict[str, Path]:
        """Those of our outputs that another run has entered, with its files."""
        from fullwell.repo.bulk import known_refs, places

        theirs = [r for r in known_refs(self.repo, [UUID(i) for i in ids]) if r.run != self._refs[str(r.id)].run]
        self._refs.update({str(ref.id): ref for ref in theirs})
        return {str(ident): path for ident, path in places(self.repo, theirs).items()}

    def _refer(self, kind: str) -> None:
        """Make the references of all outputs of a dataset type at once, when the first of them comes."""
        from lsst.daf.butler import DatasetRef

        from fullwell.repo.bulk import expanded

        mine = [(job, out) for job in self.jobs.values() for out in job.outputs if out.dataset_type == kind]
        if not mine or mine[0][1].id in self._refs:
            return
        dataset = self.repo.butler.get_dataset_type(kind)
        full = expanded(self.repo, kind, [out.data_id for _, out in mine])
        for (job, out), data_id in zip(mine, full, strict=True):
            self._refs[out.id] = DatasetRef(dataset, data_id, run=str(job.context["run"]), id=UUID(out.id))


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

    Where a gain fails, what only takes it is planned anew and done without it, in a run of its own.

    Raises
    ------
    FileError
        the repository cannot be written.
    """
    how = {"certify": certify, "end": end, "setup": setup, "user": user or who()}
    summary = _execute(repo, plan, executor, options, how)
    lost = _lost(plan, summary)
    if not any(one.job.id in lost and one.job.outputs[0].dataset_type in SPARED for one in plan.jobs):
        return summary
    if plan.again is None or summary.stopped or summary.interrupted:
        return summary
    later = plan.again(lost=lost)
    summary.follow(_execute(repo, later, executor, options, how, without=set(lost)))
    summary.spared += _spared(later, lost)
    return summary


def _execute(
    repo: Repository,
    plan: Plan,
    executor: Executor,
    options: Options | None,
    how: Mapping[str, Any],
    without: Set[str] = frozenset(),
) -> Summary:
    """Carry out a plan; those of its jobs that are missing and not in `without` are told as such."""
    todo = plan.to_run
    jobs = [p.job for p in todo]
    missing = [
        {"job": p.job.id, "task": p.job.task, "data_id": dict(p.job.outputs[0].data_id), "reason": p.reason}
        for p in plan.missing
        if p.job.id not in without
    ]
    if not jobs:
        return Summary(missing=missing)
    known = {j.id for j in jobs}
    after = {p.job.id: [a for a in p.after if a in known] for p in todo}
    root = run_folder(repo, plan.stamp)
    header = {**plan.header(), **how, "tasks": _settings(jobs), "versions": versions(), "host": socket.gethostname()}
    write_plan(root, jobs, after, header)
    summary = _drive(repo, load(root), executor, options)
    summary.missing = missing
    summary.runs = [plan.stamp]
    return summary


def _lost(plan: Plan, summary: Summary) -> dict[str, str]:
    """Id of each job that failed of itself -> why."""
    return {one["job"]: f"it failed: {one['error']}" for one in summary.failures}


def _spared(later: Plan, lost: Mapping[str, str]) -> list[str]:
    """What was done without a calibration whose making failed, in sentences."""
    out = []
    for one in later.missing:
        kind, detector = one.job.outputs[0].dataset_type, one.job.outputs[0].data_id["detector"]
        if one.job.id in lost and kind in SPARED:
            users = [p for p in later.jobs if p.job.outputs[0].data_id["detector"] == detector and p.state != "missing"]
            there = sum(p.state == "exists" for p in users)
            out.append(
                f"the {kind} of detector {detector} failed: {len(users)} jobs go without it"
                + (f" ({there} were done so before)" if there else "")
                + ", with the values of the camera where it has them, else in adu"
            )
    return out


def resume(repo: Repository, executor: Executor, stamp: str = "", options: Options | None = None) -> Summary:
    """Go on with a run that stopped; what is done is kept.

    Parameters
    ----------
    stamp : of the run, "" for the latest.

    Raises
    ------
    FileError
        there is no such run.
    UsageError
        another process executes it, another version planned it, its camera file was changed since, or its outputs do
        not lie in this repository, which has been moved since.
    """
    from fullwell import __version__

    saved = load(run_folder(repo, stamp or latest_run(repo)))
    if saved.header.get("fullwell", __version__) != __version__:
        raise UsageError(
            f"the run was planned by fullwell {saved.header['fullwell']}, this is {__version__}: its files would say "
            "the wrong one",
            where=str(saved.root),
            remedy="plan anew (fullwell run), or go on with that version",
        )
    check_cameras(saved.header.get("cameras", {}), str(saved.root))
    for job in saved.jobs:
        for out in job.outputs:
            if not Path(os.path.normpath(out.path)).is_relative_to(repo.root):
                raise UsageError(
                    f"the run would write outside the repository: {out.path}",
                    where=str(saved.root),
                    remedy="the repository has been moved, or the plan was changed: plan anew (fullwell run), what is "
                    "entered is kept",
                )
    return _drive(repo, saved, executor, options)


def _settings(jobs: Sequence[Job]) -> list[dict[str, Any]]:
    """Each task with its settings, and the digest by which the files name them."""
    found = {
        (job.task, out.dataset_type, str(job.context["config"])): dict(job.config)
        for job in jobs
        for out in job.outputs
    }
    return [
        {"task": task, "output": output, "digest": digest, "config": config}
        for (task, output, digest), config in found.items()
    ]


def _drive(repo: Repository, saved: Saved, executor: Executor, options: Options | None) -> Summary:
    header = saved.header
    todo, finished = remaining(saved)
    every = {job.id: job for job in saved.jobs}
    end, setup = header.get("end", ""), header.get("setup", "")
    sink = RepoSink(repo, every, header.get("begins", {}), end, setup, header.get("certify", True))
    with Journal(saved.root) as journal:
        for folder in {os.path.dirname(out.path) for job in saved.jobs for out in job.outputs}:
            sweep(folder)
        _open_runs(repo, saved)
        summary = run(todo, saved.dependencies, executor, sink, journal, options or OPTIONS, finished=finished)
        for mine, theirs in sink.copies.items():
            if mine != theirs and theirs.exists():
                mine.unlink(missing_ok=True)
    try:
        _record(saved, summary)
    except FileError as error:
        summary.stopped = summary.stopped or f"the outcome of the run cannot be written down: {error.problem}"
    return summary


def _open_runs(repo: Repository, saved: Saved) -> None:
    """Register the runs, put those that are not calibrations first in the chain of their user, and leave in each the
    record of what was asked for."""
    from fullwell.repo.calibs import prepend

    header = saved.header
    chain = user_chain(str(header.get("user") or who()), str(header["recipe"]))
    used = {str(job.context["run"]) for job in saved.jobs}
    for dataset, name in header["runs"].items():
        if name in used and not DATASETS[dataset].calibration:
            prepend(repo, chain, name, str(header["instrument"]))
    for name in sorted(used):
        _enter_record(repo, header, name)


def _enter_record(repo: Repository, header: Mapping[str, Any], name: str) -> None:
    """The record of a run as a dataset of it, so that it goes where the run goes."""
    from fullwell.repo.calibs import Entry, enter_files

    data_id = {"instrument": str(header["instrument"])}
    ident = uuid5(NAMESPACE, f"{RECORD}:{name}")
    path = repo.root / file_path(RECORD, name, data_id)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = {k: v for k, v in header.items() if k not in ("begins", "jobs", "format", "version")}
        _write_json(path, {KEY: str(ident), **kept, "run": name})
    enter_files(repo, [Entry(RECORD, data_id, name, path, ident)])


def _write_json(path: Path, values: Mapping[str, Any]) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(values, indent=1, default=str))


def _record(saved: Saved, summary: Summary) -> None:
    """Leave the outcome of a run in its folder."""
    ended = datetime.now(UTC).isoformat(timespec="seconds")
    _write_json(saved.root / "record.json", {**saved.header, "ended": ended, "summary": summary.to_dict()})
