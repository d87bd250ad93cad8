"""Recipes of tasks: what makes what, from which frames and which calibrations, in which order.

Two recipes are ours, ``isr`` and ``calibs``; ``all`` is both. ``ptc`` measures photon transfer alone. A user writes one
of his own as a TOML file::

    name = "night"
    [config]                      # of every task
    camera = "lsstcomcam"
    [[task]]
    task = "bias"
    [[task]]
    task = "flat"
    where = "exposure.observation_reason = 'flat'"
    [[task]]
    task = "isr"
    takes = ["gain", "bias", "flat"]
    [task.config.settings.overscan_serial]
    method = "median_per_row"
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from fullwell.base.errors import ConfigError, UsageError
from fullwell.pipeline.settings import beside
from fullwell.repo.layout import DATASETS

__all__ = ["RECIPES", "TASK_SPECS", "Recipe", "TaskSpec", "recipe_of"]


@dataclass(frozen=True)
class TaskSpec:
    """One task of a recipe.

    Parameters
    ----------
    task : name of the function in `fullwell.pipeline.tasks`.
    output : dataset type that it makes.
    raws : role -> type of the exposures that it reads ("bias", "flat", "science").
    by_exposure : a job for each raw frame; else one for all of a detector (and a filter, where the output has one).
    needs : calibrations without which it does not run. takes : those it uses where they are.
    any_of : of those calibrations one at least is made beside a task that reads no frames itself; () for any.
    fewest : role -> number of frames without which there is no job.
    where : further condition on the exposures.
    config : settings of the task; see `CONFIG`.
    """

    task: str
    output: str
    raws: Mapping[str, str] = field(default_factory=dict)
    by_exposure: bool = False
    needs: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()
    any_of: tuple[str, ...] = ()
    fewest: Mapping[str, int] = field(default_factory=dict)
    where: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)


CONFIG: Mapping[str, str] = {
    "recipe": "order of the steps of ISR",
    "settings": "step -> settings",
    "off": "steps to switch off",
    "full": "whether the steps that are dormant in recipes for any camera run",
    "camera": "name of a camera, or a camera file",
    "options": "what is stated about the camera (fullwell.instruments.CameraOptions)",
    "detector": "detector of a file that holds several",
    "points": "what is measured of pairs of flats (fullwell.measure.ptc.ExtractConfig)",
    "solve": "how photon transfer is fitted (fullwell.measure.ptc.SolveConfig)",
    "memory": "memory for frames that wait to be combined [MiB]",
}
"""Settings that the tasks know."""

_LESSER = ("crosstalk", "linearity")
_GAIN = ("ptc", "gain")
"""Where there is a photon transfer, the gain is not taken: that holds it."""

TASK_SPECS: Mapping[str, TaskSpec] = {
    s.task: s
    for s in (
        TaskSpec("gain", "gain", {"bias_frames": "bias", "flat_frames": "flat"}, fewest={"flat_frames": 2}),
        TaskSpec("ptc", "ptc", {"bias_frames": "bias", "flat_frames": "flat"}, takes=("defects", *_LESSER),
                 fewest={"flat_frames": 2}),
        TaskSpec("bias", "bias", {"bias_frames": "bias"}, takes=(*_GAIN, *_LESSER), fewest={"bias_frames": 1}),
        TaskSpec("dark", "dark", {"dark_frames": "dark"}, needs=("bias",), takes=(*_GAIN, *_LESSER),
                 fewest={"dark_frames": 1}),
        TaskSpec("flat", "flat", {"flat_frames": "flat"}, takes=(*_GAIN, "bias", "dark", *_LESSER),
                 fewest={"flat_frames": 1}),
        TaskSpec("defects", "defects", takes=("bias", "dark", "flat"), any_of=("dark", "flat")),
        TaskSpec("isr", "post_isr_image", {"raw": "science"}, True, needs=("bias",),
                 takes=(*_GAIN, "dark", "flat", "defects", *_LESSER), config={"recipe": "generic"}),
    )
}  # fmt: skip
"""The tasks as they are by default."""


@dataclass(frozen=True)
class Recipe:
    """Tasks in the order in which they depend on one another.

    Parameters
    ----------
    name : part of the name of the runs. tasks : see `TaskSpec`. source : file it was read from.
    """

    name: str
    tasks: tuple[TaskSpec, ...]
    source: str = ""

    def __post_init__(self) -> None:
        made = [t.output for t in self.tasks]
        if len(set(made)) < len(made):
            twice = next(o for o in made if made.count(o) > 1)
            raise ConfigError(
                f"two tasks make a {twice}", where=self.source or self.name, remedy="leave one of them out"
            )
        for i, one in enumerate(self.tasks):
            for kind in (*one.needs, *one.takes):
                if kind in made[i + 1 :]:
                    raise ConfigError(
                        f"task '{one.task}' uses the {kind}, which a later task makes",
                        where=self.source or self.name,
                        remedy=f"put the task that makes the {kind} before it",
                    )


_CALIBS = tuple(TASK_SPECS[n] for n in ("gain", "bias", "dark", "flat", "defects"))
RECIPES: Mapping[str, Recipe] = {
    r.name: r
    for r in (
        Recipe("isr", (TASK_SPECS["isr"],)),
        Recipe("calibs", _CALIBS),
        Recipe("all", (*_CALIBS, TASK_SPECS["isr"])),
        Recipe("ptc", (TASK_SPECS["ptc"],)),
    )
}


def recipe_of(name: str, config: Mapping[str, Any] | None = None) -> Recipe:
    """One of ours by its name, or a user's by its file; `config` is laid over the settings of every task.

    Raises
    ------
    UsageError
        there is no such recipe. ConfigError: the file does not say what it must, or says what is not known.
    FileError
        the file cannot be read.
    """
    if name in RECIPES:
        found = RECIPES[name]
    elif name.endswith(".toml") or "/" in name:
        found = _read(Path(name))
    else:
        raise UsageError(
            f"there is no recipe '{name}'", remedy=f"one of {', '.join(RECIPES)}, or the name of a TOML file"
        )
    if not config:
        return found
    _known(config, set(CONFIG), "the settings")
    return replace(found, tasks=tuple(replace(t, config={**t.config, **config}) for t in found.tasks))


def _known(table: Mapping[str, Any], names: set[str], where: str) -> None:
    for key in table:
        if key not in names:
            near = difflib.get_close_matches(key, names, n=1)
            remedy = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(sorted(names))}"
            raise ConfigError(f"'{key}' is unknown", where=where, remedy=remedy)


def _read(path: Path) -> Recipe:
    from fullwell.base.errors import FileError

    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FileError(
            f"the recipe cannot be read: {error.strerror}", where=str(path), remedy="check the name"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"this is no TOML: {error}", where=str(path), remedy="see the example in the docs") from error
    _known(table, {"name", "task", "config"}, str(path))
    rows = table.get("task", [])
    if not isinstance(rows, list) or not rows:
        raise ConfigError("the recipe has no task", where=str(path), remedy='add a table [[task]] with task = "isr"')
    common = table.get("config", {})
    if not isinstance(common, dict):
        raise ConfigError("'config' is to be a table", where=str(path), remedy="write it as [config]")
    if not all(isinstance(row, dict) for row in rows):
        raise ConfigError("'task' is to be a list of tables", where=str(path), remedy="write each as [[task]]")
    _known(common, set(CONFIG), f"{path} [config]")
    tasks = tuple(_spec(row, common, f"{path}, task {i + 1}") for i, row in enumerate(rows))
    tasks = tuple(replace(task, config=beside(task.config, path.parent)) for task in tasks)
    return Recipe(str(table.get("name", path.stem)), tasks, str(path))


_TYPES: Mapping[str, tuple[type, str, str]] = {
    "output": (str, "a text", '"flat"'),
    "where": (str, "a text", "\"exposure.observation_reason = 'flat'\""),
    "by_exposure": (bool, "true or false", "true"),
    "needs": (list, "a list", '["bias"]'),
    "takes": (list, "a list", '["gain", "flat"]'),
    "any_of": (list, "a list", '["dark", "flat"]'),
    "raws": (dict, "a table", '{ raw = "science" }'),
    "fewest": (dict, "a table", "{ bias_frames = 5 }"),
    "config": (dict, "a table", "{ memory = 512 }"),
}
"""What a row of a recipe file may say: type, its name, an example."""


def _check_types(row: Mapping[str, Any], where: str) -> None:
    for key, value in row.items():
        if key in _TYPES and not isinstance(value, _TYPES[key][0]):
            _, name, example = _TYPES[key]
            raise ConfigError(f"'{key}' is to be {name}", where=where, remedy=f"for example: {key} = {example}")
    kinds = [("output", row["output"])] if "output" in row else []
    kinds += [(key, kind) for key in ("needs", "takes", "any_of") for kind in row.get(key, ())]
    for key, kind in kinds:
        fits = [
            d.name
            for d in DATASETS.values()
            if d.name not in ("raw", "run_record") and (d.calibration or key == "output")
        ]
        if kind not in fits:
            near = difflib.get_close_matches(str(kind), fits, n=1)
            raise ConfigError(
                f"'{key}' names '{kind}', which is no dataset type that it can be",
                where=where,
                remedy=f"did you mean '{near[0]}'?" if near else f"known: {', '.join(fits)}",
            )


def _spec(row: Mapping[str, Any], common: Mapping[str, Any], where: str) -> TaskSpec:
    """A task of a user's recipe: ours of that name, or one of an outside package, with what the row says of it."""
    _known(row, {f.name for f in fields(TaskSpec)}, where)
    name = row.get("task")
    if not isinstance(name, str):
        raise ConfigError("the task has no name", where=where, remedy='add a line: task = "isr"')
    _check_types(row, where)
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in row.items()}
    config = {**common, **row.get("config", {})}
    _known(config, set(CONFIG), f"{where} [config]")
    if name in TASK_SPECS:
        base = TASK_SPECS[name]
        return replace(base, **{**values, "config": {**base.config, **config}})
    from fullwell.pipeline.tasks import TASKS

    if name not in TASKS:
        near = difflib.get_close_matches(name, list(TASKS), n=1)
        remedy = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(TASKS)}"
        raise ConfigError(f"there is no task '{name}'", where=where, remedy=remedy)
    if "output" not in row:
        raise ConfigError(f"task '{name}' does not say what it makes", where=where, remedy='add a line: output = "…"')
    return TaskSpec(**{**values, "config": config})
