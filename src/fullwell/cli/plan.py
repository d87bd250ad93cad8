"""`fullwell plan RECIPE --repo REPO`: what a run would do, and why."""

from __future__ import annotations

from typing import Annotated

import typer

from fullwell.cli import pipeline as line
from fullwell.cli.options import common
from fullwell.cli.output import Door

app = typer.Typer(add_completion=False)


@app.command(epilog='Example: fullwell plan isr --repo R --where "exposure.day_obs = 20241108"')
@common()
def plan(
    door: Door,
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="isr, calibs, all, or a recipe file (TOML).")],
    repo: line.Repo,
    where: line.Where = "",
    instrument: line.InstrumentName = "",
    camera: line.Camera = "",
    sets: line.Sets = None,
    off: line.Off = None,
) -> None:
    """Say what a recipe would do: what is there, what is stale and why, what is missing; nothing is written."""
    from fullwell.repo import open_repo

    with open_repo(repo) as opened:
        made = line.make(door, opened, recipe, line.config_of(sets, off, camera), instrument, where)
    line.show(door, made, verbose=door.verbose > 0)
    if made.missing:
        raise typer.Exit(1)
