"""Plans made and carried out in tests."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nines import Nines

from fullwell.pipeline.driver import Options
from fullwell.pipeline.executors import open_executor
from fullwell.pipeline.plan import Plan, PlannedJob, make_plan
from fullwell.pipeline.recipes import Recipe, recipe_of
from fullwell.pipeline.runs import execute
from fullwell.pipeline.summary import Summary
from fullwell.repo.ingest import ingest
from fullwell.repo.repository import Repository, create, open_repo

CAMERA = "ninecam"
USER = "ann"


def plan(repo: Repository, recipe: str | Recipe = "all", config: Mapping[str, Any] | None = None, **more: Any) -> Plan:
    """The plan of one of our recipes."""
    chosen = recipe if isinstance(recipe, Recipe) else recipe_of(recipe, config)
    return make_plan(repo, chosen, **{"user": USER, **more})


def carry(repo: Repository, made: Plan, options: Options | None = None, **more: Any) -> Summary:
    """Carry out a plan in this process."""
    executor = open_executor("inline")
    try:
        return execute(repo, made, executor, options, **{"user": USER, **more})
    finally:
        executor.close()


def filled(place: Path, *nights: Nines) -> Repository:
    """A new repository with the frames of some nights."""
    repo = create(place)
    assert ingest(repo, [night.folder for night in nights]).ok
    return repo


def copied(repo: Path, place: Path) -> Repository:
    """A copy of a repository, to be changed."""
    shutil.copytree(repo, place)
    return open_repo(place, writeable=True)


def states(made: Plan) -> dict[str, str]:
    """Task -> the state of its jobs, where it is one."""
    out: dict[str, str] = {}
    for one in made.jobs:
        assert out.setdefault(one.job.task, one.state) == one.state, made.counts()
    return out


def of_task(made: Plan, task: str) -> list[PlannedJob]:
    """The jobs of a task."""
    return [one for one in made.jobs if one.job.task == task]
