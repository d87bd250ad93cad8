"""Worker processes: each job once, whoever dies."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from toytasks import Index, Plan

from fullwell.base.errors import UsageError, WorkerError
from fullwell.pipeline import driver, journal
from fullwell.pipeline.executors import Setup, open_executor
from fullwell.pipeline.executors.processes import Processes
from fullwell.pipeline.retry import RetryPolicy

OPTIONS = driver.Options(retry=RetryPolicy(first=0.01), batch_seconds=0.2)
SETUP = Setup(("toytasks",))


@pytest.fixture
def two() -> Iterator[Processes]:
    made = Processes(2, SETUP)
    yield made
    made.close()
    assert not [p for p in made.pids if os.path.exists(f"/proc/{p}")]


def test_two_processes_do_all_jobs_once(tmp_path: Path, two: Processes) -> None:
    plan, index = Plan(tmp_path), Index()
    jobs = plan.many(40, sleep=0.01)
    plan.add("sum", *jobs)
    summary = driver.run(plan.jobs, plan.after, two, index, None, OPTIONS)
    assert summary.ok and summary.workers == 2
    assert plan.sums()["sum"] == 41
    assert all(plan.runs(j.id) == 1 for j in plan.jobs) and len(index.rows) == 41
    made_by = {json.loads(p.read_text())["pid"] for p in (tmp_path / "out").glob("j*.json")}
    assert made_by == set(two.pids) and os.getpid() not in made_by


def test_a_killed_worker_is_replaced_and_its_batch_done(tmp_path: Path, two: Processes) -> None:
    plan, index = Plan(tmp_path), Index()
    plan.many(60, sleep=0.03)
    before = two.pids

    def kill() -> None:
        for pid in before:
            time.sleep(0.5)
            os.kill(pid, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    summary = driver.run(plan.jobs, plan.after, two, index, None, OPTIONS)
    killer.join()
    assert summary.ok and summary.lost_workers == 2 and not set(before) & set(two.pids)
    assert sorted(plan.sums()) == [j.id for j in plan.jobs] and len(index.rows) == 60
    assert sum(plan.runs(j.id) for j in plan.jobs) <= 62, "only the job at hand is computed again"
    assert not [p for p in (tmp_path / "out").iterdir() if p.name.startswith(".")]


def test_a_job_that_kills_its_workers_is_given_up_and_no_other(tmp_path: Path, two: Processes) -> None:
    plan, index = Plan(tmp_path), Index()
    plan.many(10)
    plan.add("killer", kill=99, batch="d0")
    plan.add("twice", kill=2, batch="d0")
    after = plan.add("after", plan.jobs[10])
    summary = driver.run(plan.jobs, plan.after, two, index, None, OPTIONS)
    assert summary.count("lost") == 1 and summary.count("done") == 11
    assert summary.retried == 3 + 2, "the others of a lost batch are not counted"
    assert plan.runs("killer") == 4 and plan.runs("twice") == 3 and plan.runs(after.id) == 0
    assert "SIGKILL" in summary.failures[0]["error"] and "memory" in summary.failures[0]["remedy"]


@pytest.mark.parametrize("point", ["after-write", "after-rename", "before-task", "after-task"])
def test_a_worker_that_dies_at_a_named_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str) -> None:
    monkeypatch.setenv("FULLWELL_FAULT", f"{point}:kill:3")
    monkeypatch.setenv("FULLWELL_FAULT_ONCE", str(tmp_path / "once"))
    plan, index = Plan(tmp_path), Index()
    plan.many(12)
    executor = Processes(2, SETUP)
    try:
        summary = driver.run(plan.jobs, plan.after, executor, index, None, OPTIONS)
    finally:
        executor.close()
    assert (tmp_path / "once").exists() and summary.lost_workers == 1
    assert summary.ok and len(index.rows) == len(plan.sums()) == 12
    kept = point in ("after-rename", "after-task")
    assert summary.count("kept") == kept
    assert not [p for p in (tmp_path / "out").iterdir() if p.name.startswith(".")]


CLIENT = """
import sys
from pathlib import Path
from fullwell.pipeline import driver, journal
from fullwell.pipeline.executors import open_executor
import toytasks
root = Path(sys.argv[1])
class Files:
    def ingest(self, block):
        for done in block:
            for o in done.outputs:
                with open(root / "index" / o.id, "a") as out:
                    out.write("x")
if __name__ == "__main__":
    (root / "index").mkdir(exist_ok=True)
    saved = journal.load(root / "run")
    jobs, finished = journal.remaining(saved)
    executor = open_executor(sys.argv[2], workers=2, modules=["toytasks"])
    with journal.Journal(root / "run") as book:
        options = driver.Options(batch_seconds=float(sys.argv[3]), block=5)
        summary = driver.run(jobs, saved.dependencies, executor, Files(), book, options, finished=finished)
    executor.close()
    print(summary)
    sys.exit(summary.exit_code)
"""


def client(root: Path, batch: float = 0.2, **environment: str) -> subprocess.Popen[bytes]:
    path = root / "client.py"
    path.write_text(CLIENT)
    helpers = str(Path(__file__).parents[1] / "helpers")
    environment = {**os.environ, "PYTHONPATH": helpers, **environment}
    return subprocess.Popen([sys.executable, str(path), str(root), "processes", str(batch)], env=environment)


def planned(root: Path, number: int, sleep: float) -> Plan:
    plan = Plan(root)
    jobs = plan.many(number, sleep=sleep)
    plan.add("sum", *jobs)
    journal.write_plan(root / "run", plan.jobs, plan.after, {"recipe": "toy"})
    return plan


def check_resumed(root: Path, plan: Plan, extra: int) -> None:
    """The same client again completes: every output once, in the index, in the journal; nothing hidden is left."""
    assert client(root).wait(60) == 0
    assert sorted(plan.sums()) == sorted(j.id for j in plan.jobs)
    assert sorted(p.name for p in (root / "index").iterdir()) == sorted(f"id-{j.id}" for j in plan.jobs)
    jobs, finished = journal.remaining(journal.load(root / "run"))
    assert not jobs and len(finished) == len(plan.jobs)
    assert sum(plan.runs(j.id) for j in plan.jobs) <= len(plan.jobs) + extra
    assert not [p for p in (root / "out").iterdir() if p.name.startswith(".")]


def test_a_killed_client_is_resumed(tmp_path: Path) -> None:
    plan = planned(tmp_path, 150, 0.05)
    first = client(tmp_path, batch=5.0)
    while len(list(tmp_path.glob("index/*"))) < 10:
        time.sleep(0.02)
        assert first.poll() is None
    first.kill()
    assert first.wait() == -signal.SIGKILL
    assert not plan.runs("sum")
    time.sleep(0.5)
    stopped = sum(plan.runs(j.id) for j in plan.jobs)
    time.sleep(0.5)
    assert sum(plan.runs(j.id) for j in plan.jobs) == stopped, "workers end with their caller"
    check_resumed(tmp_path, plan, extra=2)


@pytest.mark.parametrize("point", ["before-ingest", "after-ingest", "after-journal"])
def test_a_client_that_dies_at_a_named_point(tmp_path: Path, point: str) -> None:
    plan = planned(tmp_path, 20, 0.0)
    assert client(tmp_path, FULLWELL_FAULT=f"{point}:kill:2").wait(60) == -signal.SIGKILL
    check_resumed(tmp_path, plan, extra=2)


def test_an_interrupted_client_ends_cleanly(tmp_path: Path) -> None:
    plan = planned(tmp_path, 100, 0.05)
    first = client(tmp_path)
    while len(list(tmp_path.glob("index/*"))) < 10:
        time.sleep(0.02)
        assert first.poll() is None
    first.send_signal(signal.SIGINT)
    assert first.wait(20) == 130
    done = len(plan.sums())
    assert len(list(tmp_path.glob("index/*"))) == done, "all that was made is taken up"
    check_resumed(tmp_path, plan, extra=0)


def test_one_run_is_executed_by_one_process(tmp_path: Path) -> None:
    planned(tmp_path, 1, 0.0)
    with journal.Journal(tmp_path / "run"), pytest.raises(UsageError, match="by another process"):
        journal.Journal(tmp_path / "run").__enter__()


def test_workers_that_cannot_start_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = Plan(tmp_path)
    plan.many(2)
    executor = Processes(1, Setup(("no_such_module",)))
    summary = driver.run(plan.jobs, plan.after, executor, None, None, OPTIONS)
    executor.close()
    assert "cannot import 'no_such_module'" in summary.stopped and summary.exit_code == 1
    monkeypatch.setattr("fullwell.pipeline.executors.processes._START", "raise SystemExit(3)")
    executor = Processes(1, SETUP)
    executor.submit(plan.jobs)
    with pytest.raises(WorkerError, match=r"end when they start .exit status 3"):
        while True:
            list(executor.events(1.0))
    executor.close()


def test_a_lost_worker_names_what_it_was_at(tmp_path: Path) -> None:
    """What was told before stays; the batch behind goes to the worker that takes the place."""
    plan = Plan(tmp_path)
    batch = [plan.add("first"), plan.add("killer", kill=1), plan.add("behind")]
    executor = Processes(1, SETUP)
    executor.submit(batch)
    executor.submit([plan.add("next")])
    seen: list[Any] = []
    while len(seen) < 3:
        seen += executor.events(5.0)
    executor.close()
    assert [seen[0].job, seen[2].job] == ["first", "next"]
    lost = seen[1]
    assert (lost.jobs, lost.running) == (("killer", "behind"), ("killer",))
    assert "SIGKILL" in lost.reason and lost.worker.startswith("pid ")


def test_what_a_task_prints_does_not_harm(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "loud.py").write_text("import toytasks\nprint('hello from a task')\n")
    plan = Plan(tmp_path)
    plan.many(2)
    sys.path.append(str(tmp_path))
    try:
        executor = open_executor("processes", workers=1, modules=["loud"])
        assert driver.run(plan.jobs, plan.after, executor, None, None, OPTIONS).ok
        executor.close()
    finally:
        sys.path.remove(str(tmp_path))
    told = capfd.readouterr()
    assert "hello from a task" in told.err and not told.out


def test_options_that_contradict() -> None:
    with pytest.raises(UsageError, match="no executor named 'threads'"):
        open_executor("threads")
    with pytest.raises(UsageError, match="for the executor dask"):
        open_executor("processes", scheduler="tcp://127.0.0.1:1")
    with pytest.raises(UsageError, match="0 workers"):
        Processes(0)
