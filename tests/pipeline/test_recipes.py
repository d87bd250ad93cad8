"""Recipes of tasks: ours, a user's, and what is wrong with one."""

from __future__ import annotations

from pathlib import Path

import pytest

from fullwell.base.errors import ConfigError, FileError, FullwellError, UsageError
from fullwell.pipeline.recipes import RECIPES, TASK_SPECS, Recipe, recipe_of
from fullwell.pipeline.tasks import TASKS

NIGHT = """
name = "night"
[config]
camera = "lsstcomcam"
memory = 64
[[task]]
task = "bias"
[[task]]
task = "flat"
where = "exposure.observation_reason = 'flat'"
fewest = { flat_frames = 3 }
[[task]]
task = "isr"
takes = ["gain", "bias", "flat"]
[task.config]
memory = 32
[task.config.settings.overscan_serial]
method = "median_per_row"
"""


def write(folder: Path, text: str) -> str:
    path = folder / "night.toml"
    path.write_text(text)
    return str(path)


def test_ours() -> None:
    assert list(RECIPES) == ["isr", "calibs", "all", "ptc"]
    assert [t.task for t in recipe_of("all").tasks] == ["gain", "bias", "dark", "flat", "defects", "isr"]
    assert all(spec.task in TASKS for spec in TASK_SPECS.values())


def test_settings_are_laid_over_each_task() -> None:
    found = recipe_of("all", {"memory": 5})
    assert all(t.config["memory"] == 5 for t in found.tasks)
    assert found.tasks[-1].config["recipe"] == "generic" and "memory" not in RECIPES["all"].tasks[0].config


def test_a_recipe_of_the_user(tmp_path: Path) -> None:
    found = recipe_of(write(tmp_path, NIGHT), {"off": ["dark"]})
    assert found.name == "night" and [t.task for t in found.tasks] == ["bias", "flat", "isr"]
    bias, flat, isr = found.tasks
    assert bias.takes == TASK_SPECS["bias"].takes and bias.raws == TASK_SPECS["bias"].raws
    assert bias.config == {"camera": "lsstcomcam", "memory": 64, "off": ["dark"]}
    assert flat.where == "exposure.observation_reason = 'flat'" and flat.fewest == {"flat_frames": 3}
    assert isr.takes == ("gain", "bias", "flat") and isr.needs == ("bias",)
    assert isr.config["memory"] == 32 and isr.config["recipe"] == "generic"
    assert isr.config["settings"] == {"overscan_serial": {"method": "median_per_row"}}
    assert Path(found.source).name == "night.toml"


def test_without_a_name_it_has_that_of_the_file(tmp_path: Path) -> None:
    assert recipe_of(write(tmp_path, '[[task]]\ntask = "isr"\n')).name == "night"


def test_a_task_of_an_outside_package(tmp_path: Path) -> None:
    import toytasks  # noqa: F401

    text = '[[task]]\ntask = "toy"\noutput = "post_isr_image"\nby_exposure = true\nraws = { raw = "science" }\n'
    (spec,) = recipe_of(write(tmp_path, text)).tasks
    assert (spec.task, spec.output, spec.by_exposure, spec.raws) == ("toy", "post_isr_image", True, {"raw": "science"})
    with pytest.raises(ConfigError, match="task 'toy' does not say what it makes"):
        recipe_of(write(tmp_path, '[[task]]\ntask = "toy"\n'))


@pytest.mark.parametrize(
    ("text", "problem", "remedy"),
    [
        ("name = ", "this is no TOML: Invalid value", "see the example in the docs"),
        ('name = "n"', "the recipe has no task", 'add a table [[task]] with task = "isr"'),
        ("task = 3", "the recipe has no task", 'add a table [[task]] with task = "isr"'),
        ("task = [3]", "'task' is to be a list of tables", "write each as [[task]]"),
        ('config = 3\n[[task]]\ntask = "isr"', "'config' is to be a table", "write it as [config]"),
        ('[confg]\n[[task]]\ntask = "isr"', "'confg' is unknown", "did you mean 'config'?"),
        ('[config]\nxyz = 1\n[[task]]\ntask = "isr"', "'xyz' is unknown", "known: camera, detector, full, "),
        ('[[task]]\ntask = "isr"\nneed = ["bias"]', "'need' is unknown", "did you mean 'needs'?"),
        ('[[task]]\ntask = "isr"\n[task.config]\nsetings = 1', "'setings' is unknown", "did you mean 'settings'?"),
        ('[[task]]\noutput = "bias"', "the task has no name", 'add a line: task = "isr"'),
        ('[[task]]\ntask = "ist"', "there is no task 'ist'", "did you mean 'isr'?"),
        ('[[task]]\ntask = "isr"\ntakes = "gain"', "'takes' is to be a list", 'for example: takes = ["gain", "flat"]'),
        ('[[task]]\ntask = "isr"\nwhere = 3', "'where' is to be a text", "for example: where = "),
        ('[[task]]\ntask = "isr"\nby_exposure = 1', "'by_exposure' is to be true or false", "by_exposure = true"),
        ('[[task]]\ntask = "isr"\ntakes = ["gains"]', "'takes' names 'gains', which is no", "did you mean 'gain'?"),
        ('[[task]]\ntask = "isr"\nneeds = ["raw"]', "'needs' names 'raw', which is no", "known: bias, dark, "),
        ('[[task]]\ntask = "isr"\noutput = "image"', "'output' names 'image', which is no", "post_isr_image"),
        (
            '[[task]]\ntask = "isr"\n[[task]]\ntask = "isr"',
            "two tasks make a post_isr_image",
            "leave one of them out",
        ),
        (
            '[[task]]\ntask = "isr"\n[[task]]\ntask = "bias"',
            "task 'isr' uses the bias, which a later task makes",
            "put the task that makes the bias before it",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(tmp_path: Path, text: str, problem: str, remedy: str) -> None:
    with pytest.raises(FullwellError) as caught:
        recipe_of(write(tmp_path, text))
    assert caught.value.problem.startswith(problem)
    assert remedy in str(caught.value.remedy) and "night" in str(caught.value.where)


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no recipe 'isrr'"):
        recipe_of("isrr")
    with pytest.raises(FileError, match="the recipe cannot be read: No such file"):
        recipe_of(str(tmp_path / "none.toml"))
    (tmp_path / "latin.toml").write_bytes(b'name = "n\xe4"')
    with pytest.raises(ConfigError, match="this is no TOML"):
        recipe_of(str(tmp_path / "latin.toml"))
    with pytest.raises(ConfigError, match="'recipes' is unknown"):
        recipe_of("isr", {"recipes": 1})


def test_an_order_that_cannot_be() -> None:
    with pytest.raises(ConfigError, match="uses the bias, which a later task makes"):
        Recipe("r", (TASK_SPECS["dark"], TASK_SPECS["bias"]))
