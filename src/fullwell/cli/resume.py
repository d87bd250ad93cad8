"""`fullwell resume [RUN] --repo REPO`: go on with a run that stopped."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from fullwell.cli import pipeline as line
from fullwell.cli.options import common
from fullwell.cli.output import Door

app = typer.Typer(add_completion=False)


@app.command(epilog="Example: fullwell resume --repo R -j 4")
@common(work=True)
def resume(
    door: Door,
    repo: line.Repo,
    run: Annotated[str, typer.Argument(metavar="[RUN]", help="Stamp of the run; the latest without.")] = "",
    executor: line.ExecutorName = "",
    scheduler: line.Scheduler = "",
) -> None:
    """Go on with a run: what is done is kept, what failed is tried again."""
    from fullwell.pipeline import runs
    from fullwell.pipeline.journal import load, remaining
    from fullwell.repo import open_repo

    with open_repo(repo, writeable=not door.dry_run) as opened:
        stamp = run or runs.latest_run(opened)
        todo, finished = remaining(load(runs.run_folder(opened, stamp)))
        door.say(f"run {stamp}: {len(finished)} jobs are done, {len(todo)} remain")
        door.give(run=stamp, finished=len(finished), remaining=len(todo))
        if door.dry_run:
            return
        with line.executor(door, executor, scheduler) as where_to:
            summary = runs.resume(
                opened, where_to, stamp, replace(runs.OPTIONS, fail_fast=door.fail_fast, label="resume")
            )
        line.outcome(door, opened, summary, stamp)
