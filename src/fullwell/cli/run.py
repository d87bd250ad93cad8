"""`fullwell run isr|calibs|all|recipe`: carry out a plan on the frames of a repository."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from fullwell.cli import pipeline as line
from fullwell.cli.options import common
from fullwell.cli.output import Door

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Carry out a recipe on the frames of a repository.")


def _run(
    door: Door,
    recipe: str,
    repo: line.Repo,
    where: str,
    instrument: str,
    camera: str,
    sets: list[str] | None,
    off: list[str] | None,
    kind: str,
    scheduler: str,
    certify: bool = True,
    end: str = "",
) -> None:
    from fullwell.pipeline.runs import OPTIONS, execute
    from fullwell.repo import open_repo

    with open_repo(repo, writeable=not door.dry_run) as opened:
        made = line.make(door, opened, recipe, line.config_of(sets, off, camera), instrument, where)
        line.show(door, made)
        if door.dry_run:
            return
        if not made.to_run:
            door.say("nothing to do")
            if made.missing:
                raise typer.Exit(1)
            return
        with line.executor(door, kind, scheduler) as where_to:
            options = replace(OPTIONS, fail_fast=door.fail_fast, label=made.recipe)
            summary = execute(opened, made, where_to, options, certify=certify, end=end)
        line.outcome(door, opened, summary, made.stamp)
        if made.missing:
            raise typer.Exit(1)


@app.command(epilog='Example: fullwell run isr --repo R --where "exposure.day_obs = 20241108" -j 4')
@common(work=True)
def isr(
    door: Door,
    repo: line.Repo,
    where: line.Where = "",
    instrument: line.InstrumentName = "",
    camera: line.Camera = "",
    sets: line.Sets = None,
    off: line.Off = None,
    executor: line.ExecutorName = "",
    scheduler: line.Scheduler = "",
) -> None:
    """Correct science frames with the calibrations that are valid for them."""
    _run(door, "isr", repo, where, instrument, camera, sets, off, executor, scheduler)


@app.command(epilog="Example: fullwell run calibs --repo R -j 2")
@common(work=True)
def calibs(
    door: Door,
    repo: line.Repo,
    where: line.Where = "",
    instrument: line.InstrumentName = "",
    camera: line.Camera = "",
    sets: line.Sets = None,
    off: line.Off = None,
    executor: line.ExecutorName = "",
    scheduler: line.Scheduler = "",
    certify: line.Begin = True,
    end: line.End = "",
) -> None:
    """Make gain, bias, dark, flats and defects; each is valid from the day of its frames until the next."""
    _run(door, "calibs", repo, where, instrument, camera, sets, off, executor, scheduler, certify, end)


@app.command("all", epilog="Example: fullwell run all --repo R -j 2")
@common(work=True)
def both(
    door: Door,
    repo: line.Repo,
    where: line.Where = "",
    instrument: line.InstrumentName = "",
    camera: line.Camera = "",
    sets: line.Sets = None,
    off: line.Off = None,
    executor: line.ExecutorName = "",
    scheduler: line.Scheduler = "",
    certify: line.Begin = True,
    end: line.End = "",
) -> None:
    """Make the calibrations, then correct the science frames."""
    _run(door, "all", repo, where, instrument, camera, sets, off, executor, scheduler, certify, end)


@app.command(epilog="Example: fullwell run recipe night.toml --repo R --executor dask")
@common(work=True)
def recipe(
    door: Door,
    file: Annotated[str, typer.Argument(metavar="FILE", help="Recipe of tasks (TOML).")],
    repo: line.Repo,
    where: line.Where = "",
    instrument: line.InstrumentName = "",
    camera: line.Camera = "",
    sets: line.Sets = None,
    off: line.Off = None,
    executor: line.ExecutorName = "",
    scheduler: line.Scheduler = "",
    certify: line.Begin = True,
    end: line.End = "",
) -> None:
    """Carry out a recipe of your own."""
    _run(door, file, repo, where, instrument, camera, sets, off, executor, scheduler, certify, end)
