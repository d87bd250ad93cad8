"""`fullwell run isr|calibs|all|recipe`: carry out a plan on the frames of a repository."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from fullwell.cli import pipeline as line
from fullwell.cli.options import common
from fullwell.cli.output import Door
from fullwell.cli.repo_options import opened

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Carry out a recipe on the frames of a repository.")


def _run(door: Door, asked: line.Asked) -> None:
    from fullwell.pipeline.runs import OPTIONS, execute

    with opened(asked.repo, writeable=not door.dry_run, trust=asked.trust) as repo:
        made = line.make(repo, asked)
        line.show(door, made)
        if door.dry_run:
            return
        if not made.to_run:
            door.say("nothing to do")
            door.give(nothing_to_do=True)
            if made.missing:
                raise typer.Exit(1)
            return
        with line.executor(door, asked.executor, asked.scheduler) as where_to:
            options = replace(OPTIONS, fail_fast=door.fail_fast, label=made.recipe)
            summary = execute(repo, made, where_to, options, certify=asked.certify, end=asked.end, setup=asked.setup)
        line.outcome(door, repo, summary, made.stamp)


@app.command(epilog='Example: fullwell run isr --repo R --where "exposure.day_obs = 20241108" -j 4')
@common(work=True)
@line.asked(runs=True)
def isr(door: Door, asked: line.Asked) -> None:
    """Correct science frames with the calibrations that are valid for them."""
    _run(door, replace(asked, recipe="isr"))


@app.command(epilog="Example: fullwell run calibs --repo R -j 2")
@common(work=True)
@line.asked(runs=True, certifies=True)
def calibs(door: Door, asked: line.Asked) -> None:
    """Make gain, bias, dark, flats and defects; each is valid from the day of its frames until the next."""
    _run(door, replace(asked, recipe="calibs"))


@app.command("all", epilog="Example: fullwell run all --repo R -j 2")
@common(work=True)
@line.asked(runs=True, certifies=True)
def both(door: Door, asked: line.Asked) -> None:
    """Make the calibrations, then correct the science frames."""
    _run(door, replace(asked, recipe="all"))


@app.command(epilog="Example: fullwell run recipe night.toml --repo R --executor dask")
@common(work=True)
@line.asked(runs=True, certifies=True)
def recipe(
    door: Door,
    asked: line.Asked,
    file: Annotated[str, typer.Argument(metavar="FILE", help="Recipe of tasks (TOML).")],
) -> None:
    """Carry out a recipe of your own."""
    _run(door, replace(asked, recipe=file))
