"""The driver with the executor of this process: order, retries, failures, one writer, resuming."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest
import toytasks
from toytasks import Index, Plan

from fullwell.base.errors import RecipeError, UsageError
from fullwell.base.progress import handler
from fullwell.pipeline import driver, journal
from fullwell.pipeline.executors import open_executor
from fullwell.pipeline.retry import RetryPolicy
from fullwell.pipeline.summary import Summary

QUICK = driver.Options(retry=RetryPolicy(first=0.01), batch_seconds=0.05)


def run(plan: Plan, index: Index | None = None, root: Path | None = None, **options: Any) -> Summary:
    executor = open_executor("inline")
    chosen = driver.Options(**{**vars(QUICK), **options})
    sink = Index() if index is None else index
    if root is None:
        return driver.run(plan.jobs, plan.after, executor, sink, None, chosen)
    if not (root / "plan.jsonl").exists():
        journal.write_plan(root, plan.jobs, plan.after, {"recipe": "toy"})
    saved = journal.load(root)
    jobs, finished = journal.remaining(saved)
    with journal.Journal(root) as book:
        return driver.run(jobs, saved.dependencies, executor, sink, book, chosen, finished=finished)


def diamond(plan: Plan, **config: Any) -> None:
    top = plan.add("top", **config)
    left, right = plan.add("left", top), plan.add("right", top)
    plan.add("bottom", left, right)
    plan.add("other")


def test_inputs_come_first_and_everything_is_taken_up_once(tmp_path: Path) -> None:
    plan, index = Plan(tmp_path), Index()
    diamond(plan)
    plan.jobs.reverse()
    summary = run(plan, index)
    assert plan.sums() == {"top": 1, "left": 2, "right": 2, "bottom": 5, "other": 1}
    assert sorted(index.rows) == sorted(f"id-{j.id}" for j in plan.jobs)
    assert summary.ok and summary.exit_code == 0 and summary.count("done") == 5
    assert index.rows["id-top"].size == (tmp_path / "out" / "top.json").stat().st_size
    assert all(plan.runs(j.id) == 1 for j in plan.jobs)


def test_a_job_waits_for_its_slowest_input(tmp_path: Path) -> None:
    plan = Plan(tmp_path)
    top = plan.add("top")
    short, long = plan.add("short", top), top
    for n in range(4):
        long = plan.add(f"long{n}", long)
    plan.add("bottom", short, long)
    assert run(plan).retried == 0
    assert plan.runs("bottom") == 1 and plan.sums()["bottom"] == 2 + 5 + 1


def test_a_second_run_keeps_what_is_complete_and_makes_what_is_not(tmp_path: Path) -> None:
    plan = Plan(tmp_path)
    diamond(plan)
    run(plan)
    (tmp_path / "out" / "left.json").unlink()
    (tmp_path / "out" / "right.json").write_text(json.dumps({"LSST BUTLER ID": "another", "sum": 99}))
    index = Index()
    summary = run(plan, index)
    assert (summary.count("kept"), summary.count("done")) == (3, 2)
    assert plan.sums()["right"] == 2
    assert len(index.rows) == 5


def test_a_failure_fails_what_needs_it_and_nothing_else(tmp_path: Path) -> None:
    plan, root = Plan(tmp_path), tmp_path / "run"
    diamond(plan, data=True)
    summary = run(plan, root=root)
    assert plan.sums() == {"other": 1}
    assert summary.exit_code == 1 and summary.count("failed") == 4 and summary.retried == 0
    assert plan.runs("top") == 1 and plan.runs("left") == 0
    errors = {f["job"]: f["error"] for f in summary.failures}
    assert errors["top"] == "FW400: every pixel is saturated"
    assert len(errors) == 1, "what failed with it is told with it"
    assert {d["job"] for d in summary.failures[0]["dependants"]} == {"left", "right", "bottom"}
    told = json.loads((root / "failures" / "bottom.json").read_text())["done"]["failure"]
    assert told["problem"].startswith("an input was not made: job top (toy) failed: FW400")
    record = json.loads((root / "failures" / "top.json").read_text())
    failure = record["done"]["failure"]
    assert failure["remedy"] == "expose for a shorter time"
    assert "in toy\n" in failure["traceback"] and "DataError" in failure["traceback"]
    assert failure["context"]["versions"]["fullwell"] and failure["context"]["pid"]
    assert record["job"]["config"]["data"] is True and record["attempts"] == 1


def test_what_may_pass_is_tried_again_and_a_bug_is_not(tmp_path: Path) -> None:
    plan = Plan(tmp_path)
    plan.add("passes", network=3)
    plan.add("stays", network=9)
    plan.add("bug", bug=True)
    summary = run(plan)
    assert [plan.runs(n) for n in ("passes", "stays", "bug")] == [4, 4, 1]
    assert summary.retried == 6
    assert sorted(f["job"] for f in summary.failures) == ["bug", "stays"]
    assert plan.sums() == {"passes": 1}


def test_a_task_that_writes_nothing_is_a_failure(tmp_path: Path) -> None:
    plan = Plan(tmp_path)
    plan.add("silent", silent=True)
    summary = run(plan)
    assert "without writing what it promised" in summary.failures[0]["error"]
    assert summary.failures[0]["where"].endswith("silent.json")


def test_fail_fast_stops(tmp_path: Path) -> None:
    plan = Plan(tmp_path)
    plan.add("first", data=True)
    plan.many(20)
    summary = run(plan, fail_fast=True, batch_seconds=1e-9)
    assert summary.left >= 18 and summary.exit_code == 1 and "first" in summary.stopped
    assert run(plan).left == 0


def test_a_full_disk_stops_the_run_and_loses_nothing(tmp_path: Path) -> None:
    plan, root = Plan(tmp_path), tmp_path / "run"
    plan.many(5)
    plan.add("full", full=True)
    for n in range(30):
        plan.add(f"later{n}")
    index = Index()
    summary = run(plan, index, root, batch_seconds=1e-9)
    assert "No space left" in summary.stopped and summary.left >= 25 and summary.exit_code == 1
    assert len(index.rows) == summary.count("done") == len(plan.sums())


def test_a_warning_is_told_once_with_its_number(tmp_path: Path) -> None:
    plan = Plan(tmp_path)
    plan.many(3, warn=True)
    assert run(plan).to_dict()["warnings"] == {"the gain is nominal": 3}


def test_an_index_that_comes_back_loses_nothing(tmp_path: Path) -> None:
    plan, index = Plan(tmp_path), Index(away=3)
    plan.many(7)
    assert run(plan, index, block=3).ok
    assert len(index.rows) == 7 and max(index.blocks) <= 3


def test_an_index_that_stays_away_stops_the_run_and_it_can_be_resumed(tmp_path: Path) -> None:
    plan, root = Plan(tmp_path), tmp_path / "run"
    plan.many(7)
    summary = run(plan, Index(away=10**6), root, patience=0.5)
    assert summary.exit_code == 1 and "FW702" in summary.stopped and "resume" in summary.stopped
    assert journal.load(root).last == {}
    index = Index()
    again = run(plan, index, root)
    assert again.ok and again.count("kept") == 7 and len(index.rows) == 7


def test_an_index_on_a_full_disk_stops_the_run_at_once(tmp_path: Path) -> None:
    class Full(Index):
        def ingest(self, block: Any) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

    plan, root = Plan(tmp_path), tmp_path / "run"
    plan.many(4)
    summary = run(plan, Full(), root)
    assert "cannot be written: OSError" in summary.stopped and "resume" in summary.stopped and summary.wall < 30
    assert run(plan, root=root).count("kept") == 4


def test_a_journal_on_a_full_disk_stops_the_run_and_stays_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, root, index, write = Plan(tmp_path), tmp_path / "run", Index(), os.write
    plan.many(9)
    calls: list[int] = []

    def full(handle: int, data: Any) -> int:
        calls.append(len(data))
        if len(calls) == 2:
            return write(handle, data[:20])
        if len(calls) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(handle, data)

    monkeypatch.setattr("os.write", full)
    summary = run(plan, index, root, block=3, block_seconds=99)
    monkeypatch.undo()
    assert "free some space" in summary.stopped and summary.exit_code == 1
    lines = (root / "journal.jsonl").read_text()
    assert lines.endswith("\n") and all(json.loads(line)["state"] == "done" for line in lines.splitlines())
    assert run(plan, index, root).ok and len(index.rows) == 9


def test_what_the_index_refuses_fails_alone(tmp_path: Path) -> None:
    plan, index = Plan(tmp_path), Index(refuse="j00002")
    plan.many(5)
    summary = run(plan, index)
    assert (summary.count("done"), summary.count("failed")) == (4, 1)
    assert summary.failures[0]["error"] == "FW400: j00002 is in the index with another content"
    assert len(index.rows) == 4


def test_an_index_that_goes_away_among_jobs_entered_alone_is_waited_for(tmp_path: Path) -> None:
    class Flaky(Index):
        """Refuses one job, so that the others come alone, and is away when the third of these comes."""

        def ingest(self, block: Any) -> None:
            if len(block) == 1 and len(self.blocks) == 2:
                self.blocks.append(0)
                self.away = 2
            super().ingest(block)

    plan, index, root = Plan(tmp_path), Flaky(refuse="j00004"), tmp_path / "run"
    plan.many(6)
    summary = run(plan, index, root)
    assert (summary.count("done"), summary.count("failed")) == (5, 1), summary.failures
    assert len(index.rows) == 5 and len(journal.load(root).last) == 6


def test_a_file_that_is_gone_when_it_is_entered_fails_at_once(tmp_path: Path) -> None:
    class Looks(Index):
        def ingest(self, block: Any) -> None:
            for done in block:
                for output in done.outputs:
                    if "j00001" in output.path:
                        raise FileNotFoundError(errno.ENOENT, "No such file or directory", output.path)
            super().ingest(block)

    plan, index = Plan(tmp_path), Looks()
    plan.many(4)
    summary = run(plan, index, patience=3.0)
    assert (summary.count("done"), summary.count("failed")) == (3, 1) and summary.wall < 2 and not summary.stopped
    assert "No such file" in summary.failures[0]["error"] and len(index.rows) == 3


@pytest.mark.parametrize("at", ["before-task", "after-task", "before-ingest", "after-ingest", "after-journal"])
def test_an_interrupted_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str) -> None:
    plan, root, index = Plan(tmp_path), tmp_path / "run", Index()
    plan.many(6)
    monkeypatch.setenv("FULLWELL_FAULT", f"{at}:interrupt:2")
    monkeypatch.setattr("fullwell.base.faults._passed", {at: 0})
    summary = run(plan, index, root, block=2)
    assert summary.interrupted and summary.exit_code == 130
    monkeypatch.delenv("FULLWELL_FAULT")
    assert run(plan, index, root).ok
    assert len(index.rows) == 6 and len(plan.sums()) == 6
    jobs, finished = journal.remaining(journal.load(root))
    assert jobs == [] and len(finished) == 6
    assert all(plan.runs(j.id) <= 1 + (at == "before-task") for j in plan.jobs)


def test_an_interruption_begins_nothing_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = Plan(tmp_path)
    plan.many(30)
    monkeypatch.setenv("FULLWELL_FAULT", "after-task:interrupt:2")
    monkeypatch.setattr("fullwell.base.faults._passed", {"after-task": 0})
    summary = run(plan, costs={"toy": 0.001})
    assert summary.interrupted and summary.left == 29 and len(plan.sums()) == 2


def test_a_plan_that_cannot_be_run_is_refused(tmp_path: Path) -> None:
    plan = Plan(tmp_path)
    a, b = plan.add("a"), plan.add("b")
    plan.after = {"a": ["b"], "b": ["a"]}
    with pytest.raises(RecipeError, match="wait for each other: a, b"):
        run(plan)
    plan.after = {"a": ["c"]}
    with pytest.raises(UsageError, match="job a waits for c"):
        run(plan)
    plan.jobs, plan.after = [a, b, a], {}
    with pytest.raises(UsageError, match="same id"):
        run(plan)


def test_progress_has_the_number_of_jobs(tmp_path: Path) -> None:
    seen: list[Any] = []

    def draw(items: Any, label: str, total: int | None) -> Any:
        seen.append((label, total))
        for item in items:
            seen.append(item.job)
            yield item

    plan = Plan(tmp_path)
    plan.many(4)
    with handler(draw):
        run(plan, label="toys")
    assert seen[0] == ("toys", 4) and sorted(seen[1:]) == [j.id for j in plan.jobs]


def test_the_summary_adds_up(tmp_path: Path) -> None:
    plan = Plan(tmp_path)
    plan.many(4, sleep=0.05)
    summary = run(plan)
    values = summary.to_dict()
    assert values["states"] == {"done": 4, "kept": 0, "failed": 0, "lost": 0}
    assert 0.2 <= values["busy"] <= values["wall"] and values["cpu"] < 0.1
    assert values["overhead"] == pytest.approx(values["wall"] - values["busy"])
    assert summary.table()[1][0][:3] == ("toy", 4, 0)
    assert json.dumps(values) and "4 done" in str(summary)


def test_toys_are_tasks() -> None:
    assert toytasks.TASKS["toy"] is toytasks.toy
