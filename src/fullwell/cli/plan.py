"""`fullwell plan RECIPE --repo REPO`: what a run would do, and why."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from fullwell.cli import pipeline as line
from fullwell.cli.options import common
from fullwell.cli.output import Door
from fullwell.cli.repo_options import opened

app = typer.Typer(add_completion=False)


@app.command(epilog='Example: fullwell plan isr --repo R --where "exposure.day_obs = 20241108"')
@common()
@line.asked()
def plan(
    door: Door,
    asked: line.Asked,
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="isr, calibs, all, or a recipe file (TOML).")],
) -> None:
    """Say what a recipe would do: what is there, what is stale and why, what is missing; nothing is written."""
    with opened(asked.repo, trust=asked.trust) as repo:
        made = line.make(repo, replace(asked, recipe=recipe))
    line.show(door, made, verbose=door.verbose > 0)
    if made.missing:
        raise typer.Exit(1)
