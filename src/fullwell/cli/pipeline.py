"""What `plan`, `run`, `resume` and `rerun` share: the repository, the executor, how a plan and its outcome are told."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fullwell.cli.options import parse_sets
from fullwell.cli.output import Door

if TYPE_CHECKING:
    from fullwell.pipeline.executors import Executor
    from fullwell.pipeline.plan import Plan
    from fullwell.pipeline.summary import Summary
    from fullwell.repo.repository import Repository

Repo = Annotated[Path, typer.Option("--repo", metavar="REPO", help="The repository.", envvar="FULLWELL_REPO")]
Where = Annotated[
    str,
    typer.Option("--where", metavar="TEXT", help="Which exposures, as in 'exposure.day_obs = 20241108'; all without."),
]
InstrumentName = Annotated[str, typer.Option("--instrument", metavar="NAME", help="Where there are several.")]
ExecutorName = Annotated[
    str, typer.Option("--executor", metavar="inline|processes|dask", help="Where jobs are computed.")
]
Scheduler = Annotated[
    str, typer.Option("--scheduler", metavar="ADDRESS", help="Of a Dask cluster, tcp://host:8786; none: one is made.")
]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="STEP.FIELD=VALUE", help="Setting of a step of ISR; repeatable.", show_default=False),
]
Off = Annotated[
    list[str] | None, typer.Option("--off", metavar="STEP", help="Switch a step of ISR off.", show_default=False)
]
Camera = Annotated[str, typer.Option("--camera", metavar="NAME|FILE", help="Camera by whose rules raw files are read.")]
Begin = Annotated[bool, typer.Option("--certify/--no-certify", help="Make new calibrations valid.")]
End = Annotated[str, typer.Option("--end", metavar="TIME", help="End of their validity [TAI]; open without.")]


def config_of(sets: list[str] | None, off: list[str] | None, camera: str) -> dict[str, Any]:
    """Settings of the tasks from the options."""
    out: dict[str, Any] = {}
    if sets:
        out["settings"] = parse_sets(sets)
    if off:
        out["off"] = list(off)
    if camera:
        out["camera"] = str(Path(camera).resolve()) if Path(camera).suffix else camera
    return out


def make(door: Door, repo: Repository, recipe: str, config: dict[str, Any], instrument: str, where: str) -> Plan:
    """The plan of a recipe, checked."""
    from fullwell.pipeline.plan import make_plan
    from fullwell.pipeline.recipes import recipe_of

    return make_plan(repo, recipe_of(recipe, config), instrument=instrument, where=where)


def show(door: Door, plan: Plan, verbose: bool = False) -> None:
    """Tell a plan: how many jobs of each kind, then what is missing or stale and why."""
    tasks = list(dict.fromkeys(j.job.task for j in plan.jobs))
    counts = plan.counts()
    states = ("new", "stale", "exists", "missing")
    rows = [[task, *(counts.get((task, s), 0) for s in states)] for task in tasks]
    door.table(("task", *states), rows, title=f"{plan.recipe} on {plan.instrument}")
    for note in plan.notes:
        door.say(note)
    reasons: dict[tuple[str, str, str], list[Any]] = {}
    for one in plan.jobs:
        if one.state in ("stale", "missing") or (verbose and one.state == "new"):
            reasons.setdefault((one.job.task, one.state, one.reason), []).append(one.job.outputs[0].data_id)
    for (task, state, reason), ids in reasons.items():
        first = ", ".join(f"{k}={v}" for k, v in ids[0].items() if k != "instrument")
        more = f" and {len(ids) - 1} more" if len(ids) > 1 else ""
        door.say(f"{state}: {task} {first}{more}: {reason}")
    for line in _without(plan):
        door.say(line)
    door.give(plan=plan.to_dict())


def _without(plan: Plan) -> list[str]:
    """Which frames are corrected without a calibration that most cameras need."""
    frames = [j.job for j in plan.jobs if j.job.outputs[0].dataset_type == "post_isr_image" and j.state != "missing"]
    out = []
    for kind in ("gain", "bias", "dark", "flat", "defects"):
        lacking = [job for job in frames if kind not in {one.dataset_type for one in job.inputs}]
        if lacking:
            first = ", ".join(f"{k}={v}" for k, v in lacking[0].outputs[0].data_id.items() if k != "instrument")
            out.append(f"without {kind}: {len(lacking)} of {len(frames)} frames, the first {first}")
    return out


def outcome(door: Door, repo: Repository, summary: Summary, stamp: str) -> None:
    """Tell what became of a run; sets the exit code."""
    from fullwell.pipeline.runs import run_folder

    door.table(*summary.table())
    folder = run_folder(repo, stamp)
    for one in summary.failures[:10]:
        door.note(f"failed: {one['task']} {one['error']}" + (f"\n  where: {one['where']}" if one["where"] else ""))
    if len(summary.failures) > 10:
        door.note(f"… and {len(summary.failures) - 10} more, all in {folder / 'failures'}")
    if summary.stopped:
        door.note(f"the run stopped: {summary.stopped}")
    if summary.exit_code:
        door.note(f"go on with: fullwell resume {stamp} --repo {shlex.quote(str(repo.path))}")
    door.give(run=stamp, folder=str(folder), summary=summary.to_dict())
    if summary.exit_code:
        raise typer.Exit(summary.exit_code)


@contextmanager
def executor(door: Door, kind: str, scheduler: str) -> Iterator[Executor]:
    """The executor that the options name, closed at the end."""
    from fullwell.pipeline.executors import open_executor

    chosen = kind or ("dask" if scheduler else "processes" if door.jobs > 1 else "inline")
    own = chosen == "inline" or (scheduler and door.jobs == 1)
    found = open_executor(chosen, workers=None if own else door.jobs, scheduler=scheduler, note=door.note)
    try:
        yield found
    finally:
        found.close()
