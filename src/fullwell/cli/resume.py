"""`fullwell resume [RUN] --repo REPO`: go on with a run that stopped."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from fullwell.cli import pipeline as line
from fullwell.cli.options import common
from fullwell.cli.output import Door
from fullwell.cli.repo_options import Repo, Trust, opened

app = typer.Typer(add_completion=False)


@app.command(epilog="Example: fullwell resume --repo R -j 4")
@common(work=True)
def resume(
    door: Door,
    run: Annotated[str, typer.Argument(metavar="[RUN]", help="Stamp of the run; the latest without.")] = "",
    repo: Repo = None,
    executor: line.ExecutorName = "",
    scheduler: line.Scheduler = "",
    trust: Trust = False,
) -> None:
    """Go on with a run: what is done is kept, what failed is tried again."""
    from fullwell.pipeline import runs
    from fullwell.pipeline.journal import load, remaining

    with opened(repo, writeable=not door.dry_run, trust=trust) as found:
        stamp = run or runs.latest_run(found)
        todo, finished = remaining(load(runs.run_folder(found, stamp)))
        door.say(f"run {stamp}: {len(finished)} jobs are done, {len(todo)} remain")
        door.give(run=stamp, finished=len(finished), remaining=len(todo))
        if door.dry_run:
            return
        with line.executor(door, executor, scheduler) as where_to:
            summary = runs.resume(
                found, where_to, stamp, replace(runs.OPTIONS, fail_fast=door.fail_fast, label="resume")
            )
        line.outcome(door, found, summary, stamp)
