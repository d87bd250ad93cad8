"""The page on runs: its recipe, its Python and its tables are so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from carry import plan, states

from fullwell.pipeline.executors import EXECUTORS
from fullwell.pipeline.recipes import TASK_SPECS, recipe_of
from fullwell.pipeline.rerun import VOLATILE
from fullwell.pipeline.retry import RetryPolicy
from fullwell.repo.repository import Repository

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "pipeline.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.S | re.M)


def rows(first: str) -> dict[str, str]:
    """First and second column of the table whose first row begins so."""
    found = PAGE[PAGE.index(f"| `{first}` |") :].split("\n\n")[0]
    return dict(re.findall(r"^\| `(.*?)` \| (.*?) \|", found, re.M))


def test_the_recipe_of_the_page(fresh: Repository, tmp_path: Path) -> None:
    (text,) = blocks("toml")
    file = tmp_path / "night.toml"
    file.write_text(text)
    recipe = recipe_of(str(file))
    assert [t.task for t in recipe.tasks] == ["bias", "flat", "isr"]
    made = plan(fresh, recipe)
    assert made.counts() == {("bias", "new"): 2, ("flat", "new"): 2, ("isr", "new"): 6}
    isr = {j.job.batch: [i.role for i in j.job.inputs] for j in made.jobs if j.job.task == "isr"}
    assert isr["3/r"] == ["raw", "bias", "flat"] and isr["3/g"] == ["raw", "bias"]


def test_the_python_of_the_page_runs(
    fresh: Repository, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(fresh.path.parent)
    fresh.path.rename(fresh.path.with_name("R"))
    (text,) = blocks("python")
    exec(compile(text.replace("detector = 0", "detector = 3"), "page", "exec"), {})
    assert "9 done" in capsys.readouterr().out


def test_the_tables_of_the_page(done: Repository) -> None:
    assert list(rows("new")) == ["new", "stale", "exists", "missing"]
    assert set(states(plan(done)).values()) <= set(rows("new"))
    assert tuple(rows("inline")) == EXECUTORS
    assert rows("CHECKSUM") == dict(VOLATILE)
    assert all(f"`{task}`" in PAGE for task in TASK_SPECS) and RetryPolicy().attempts == 4
