"""What `plan`, `run`, `resume` and `rerun` share: the repository, the executor, how a plan and its outcome are told."""

from __future__ import annotations

import inspect
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from fullwell.cli.options import parse_sets
from fullwell.cli.output import Door
from fullwell.cli.repo_options import Repo, Setup, Trust

if TYPE_CHECKING:
    from fullwell.pipeline.executors import Executor
    from fullwell.pipeline.plan import Plan
    from fullwell.pipeline.summary import Summary
    from fullwell.repo.repository import Repository

_OPTIONS: dict[str, tuple[Any, Any]] = {
    "repo": (Repo, None),
    "where": (
        Annotated[
            str,
            typer.Option(
                "--where", metavar="TEXT", help="Which exposures, as in 'exposure.day_obs = 20241108'; all without."
            ),
        ],
        "",
    ),
    "instrument": (
        Annotated[str, typer.Option("--instrument", metavar="NAME", help="Where there are several.")],
        "",
    ),
    "setup": (Setup, ""),
    "accept": (
        Annotated[
            list[str] | None,
            typer.Option(
                "--accept",
                metavar="KIND",
                show_default=False,
                help="Where there are calibrations of this kind and none is valid, take the nearest; repeat.",
            ),
        ],
        None,
    ),
    "camera": (
        Annotated[str, typer.Option("--camera", metavar="NAME|FILE", help="Camera by whose rules raw files are read.")],
        "",
    ),
    "sets": (
        Annotated[
            list[str] | None,
            typer.Option(
                "--set", metavar="STEP.FIELD=VALUE", help="Setting of a step of ISR; repeatable.", show_default=False
            ),
        ],
        None,
    ),
    "off": (
        Annotated[
            list[str] | None,
            typer.Option("--off", metavar="STEP", help="Switch a step of ISR off.", show_default=False),
        ],
        None,
    ),
    "trust": (Trust, False),
}
_RUNS: dict[str, tuple[Any, Any]] = {
    "executor": (
        Annotated[str, typer.Option("--executor", metavar="inline|processes|dask", help="Where jobs are computed.")],
        "",
    ),
    "scheduler": (
        Annotated[
            str,
            typer.Option(
                "--scheduler", metavar="ADDRESS", help="Of a Dask cluster, tcp://host:8786; none: one is made."
            ),
        ],
        "",
    ),
}
_CERTIFIES: dict[str, tuple[Any, Any]] = {
    "certify": (Annotated[bool, typer.Option("--certify/--no-certify", help="Make new calibrations valid.")], True),
    "end": (
        Annotated[str, typer.Option("--end", metavar="TIME", help="End of their validity [TAI]; open without.")],
        "",
    ),
}
ExecutorName, Scheduler = _RUNS["executor"][0], _RUNS["scheduler"][0]


@dataclass(frozen=True)
class Asked:
    """What a call of `plan` or `run` asks for, as its options say."""

    recipe: str = ""
    repo: Path | None = None
    where: str = ""
    instrument: str = ""
    setup: str = ""
    accept: list[str] | None = None
    camera: str = ""
    sets: list[str] | None = None
    off: list[str] | None = None
    trust: bool = False
    executor: str = ""
    scheduler: str = ""
    certify: bool = True
    end: str = ""


def asked(*, runs: bool = False, certifies: bool = False) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorator: gives ``f(door, asked, …)`` the options that say what is planned, and hands them over as `Asked`.

    `runs` : also those of where it is computed. `certifies` : also those of the validity of calibrations.
    """
    options = {**_OPTIONS, **(_RUNS if runs else {}), **(_CERTIFIES if certifies else {})}

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        hints = get_type_hints(function, include_extras=True)
        own = [p for n, p in inspect.signature(function).parameters.items() if n != "asked"]

        def command(door: Door, **values: Any) -> None:
            given = {name: values.pop(name) for name in options}
            function(door, Asked(**given), **values)

        kind = inspect.Parameter.KEYWORD_ONLY
        mine = [inspect.Parameter(n, kind, default=d, annotation=a) for n, (a, d) in options.items()]
        own = [own[0], *(p.replace(kind=kind) for p in own[1:])]
        command.__signature__ = inspect.Signature([*own, *mine])  # type: ignore[attr-defined]
        command.__annotations__ = {p.name: hints[p.name] for p in own} | {p.name: p.annotation for p in mine}
        command.__name__, command.__doc__, command.__module__ = function.__name__, function.__doc__, function.__module__
        return command

    return decorate


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


def make(repo: Repository, asked: Asked) -> Plan:
    """The plan of what is asked for, checked."""
    from fullwell.pipeline.plan import make_plan
    from fullwell.pipeline.recipes import recipe_of

    return make_plan(
        repo,
        recipe_of(asked.recipe, config_of(asked.sets, asked.off, asked.camera)),
        instrument=asked.instrument,
        where=asked.where,
        setup=asked.setup,
        accept=asked.accept or (),
    )


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
        if one["remedy"]:
            door.note(f"  try:   {one['remedy']}")
        if one["dependants"]:
            tasks = ", ".join(dict.fromkeys(user["task"] for user in one["dependants"]))
            door.note(f"  with it: {len(one['dependants'])} jobs that use its output ({tasks})")
    if len(summary.failures) > 10:
        door.note(f"… and {len(summary.failures) - 10} more, all in {folder / 'failures'}")
    for text in summary.spared:
        door.note(text)
    if summary.missing:
        door.note(
            f"missing: {len(summary.missing)} jobs, since they lack a calibration: {summary.missing[0]['reason']}"
        )
    if summary.stopped:
        door.note(f"the run stopped: {summary.stopped}")
    whole = not (summary.stopped or summary.interrupted or summary.left)
    if summary.failures or not whole:
        last = stamp if whole or not summary.runs else summary.runs[-1]
        door.note(f"go on with: fullwell resume {last} --repo {shlex.quote(str(repo.path))}")
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
