"""Dask: a cluster made here, one made elsewhere, workers on two hosts, lost workers, a lost scheduler."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from toytasks import Index, Plan

from fullwell.base.errors import UsageError, WorkerError
from fullwell.pipeline import driver, journal
from fullwell.pipeline.executors import Setup, cluster, open_executor
from fullwell.pipeline.executors.worker import complete
from fullwell.pipeline.jobs import Done
from fullwell.pipeline.retry import RetryPolicy

pytest.importorskip("distributed")

OPTIONS = driver.Options(retry=RetryPolicy(first=0.01), batch_seconds=0.3)
SETUP = Setup(("toytasks",))
HELPERS = str(Path(__file__).parents[1] / "helpers")


def dask(*call: str, **environment: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": HELPERS, **environment}
    return subprocess.Popen(
        [sys.executable, "-m", "distributed.cli." + call[0], *call[1:]], env=environment, stderr=subprocess.DEVNULL
    )


class Cluster:
    """A scheduler and workers as separate processes, as they are on several machines."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "scheduler.json"
        self.scheduler = self.start_scheduler()
        self.workers: list[subprocess.Popen[bytes]] = []

    def start_scheduler(self) -> subprocess.Popen[bytes]:
        made = dask(
            "dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(self.file)
        )
        while not self.file.exists():
            time.sleep(0.05)
            assert made.poll() is None
        self.address = json.loads(self.file.read_text())["address"]
        return made

    def add(self, host: str) -> Path:
        local = self.folder / f"local-{host}-{len(self.workers)}"
        call = ("--host", host, "--nthreads", "1", "--no-dashboard", "--no-nanny", "--local-directory", str(local))
        self.workers.append(dask("dask_worker", self.address, *call))
        return local

    def end(self) -> None:
        for process in [*self.workers, self.scheduler]:
            process.kill()
            process.wait()


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(tmp_path)
    yield made
    made.end()


def wait_for(executor: cluster.Dask, number: int) -> None:
    while executor.capacity < number:
        time.sleep(0.05)


def test_two_hosts_with_folders_of_their_own(tmp_path: Path, machines: Cluster) -> None:
    folders = [machines.add("127.0.0.1"), machines.add("127.0.0.2")]
    plan, index = Plan(tmp_path / "shared"), Index()
    jobs = plan.many(60, sleep=0.02)
    plan.add("sum", *jobs)
    executor = cluster.Dask(machines.address, setup=SETUP)
    wait_for(executor, 2)
    assert {a.split("/")[2].split(":")[0] for a in executor.workers} == {"127.0.0.1", "127.0.0.2"}
    summary = driver.run(plan.jobs, plan.after, executor, index, None, OPTIONS)
    executor.close()
    assert summary.ok and summary.workers == 2 and plan.sums()["sum"] == 61
    assert all(plan.runs(j.id) == 1 for j in plan.jobs) and len(index.rows) == 61
    pids = {json.loads(p.read_text())["pid"] for p in (tmp_path / "shared" / "out").glob("*.json")}
    assert pids == {w.pid for w in machines.workers}
    assert all(f.is_dir() and not list(f.rglob("*.json")) for f in folders), "what is made is on the shared folder"


def test_a_killed_worker_leaves_its_jobs_to_the_other(tmp_path: Path, machines: Cluster) -> None:
    machines.add("127.0.0.1")
    machines.add("127.0.0.2")
    plan, index = Plan(tmp_path / "shared"), Index()
    plan.many(80, sleep=0.03)
    executor = cluster.Dask(machines.address, setup=SETUP)
    wait_for(executor, 2)
    killer = threading.Timer(0.8, machines.workers[0].kill)
    killer.start()
    summary = driver.run(plan.jobs, plan.after, executor, index, None, OPTIONS)
    executor.close()
    assert machines.workers[0].wait() == -signal.SIGKILL
    assert summary.ok and len(index.rows) == len(plan.sums()) == 80
    assert sum(plan.runs(j.id) for j in plan.jobs) <= 81, "what was complete is kept"
    assert not [p for p in (tmp_path / "shared" / "out").iterdir() if p.name.startswith(".")]


def test_a_lost_scheduler_says_resume_and_it_can_be(tmp_path: Path, machines: Cluster) -> None:
    machines.add("127.0.0.1")
    plan, index, root = Plan(tmp_path / "shared"), Index(), tmp_path / "run"
    plan.many(60, sleep=0.05)
    journal.write_plan(root, plan.jobs, plan.after, {})
    executor = cluster.Dask(machines.address, setup=SETUP)
    killer = threading.Timer(1.5, machines.scheduler.kill)
    killer.start()
    with journal.Journal(root) as book:
        summary = driver.run(plan.jobs, plan.after, executor, index, book, OPTIONS)
    executor.close()
    assert "the Dask scheduler is gone" in summary.stopped and "resume the run" in summary.stopped
    assert summary.exit_code == 1 and 0 < summary.count("done") < 60
    jobs, finished = journal.remaining(journal.load(root))
    assert len(finished) == summary.count("done") == len(index.rows)
    again = open_executor("inline")
    with journal.Journal(root) as book:
        assert driver.run(jobs, plan.after, again, index, book, OPTIONS, finished=finished).ok
    assert len(index.rows) == len(plan.sums()) == 60
    assert sum(plan.runs(j.id) for j in plan.jobs) <= 61


CLIENT = """
import sys
from pathlib import Path
from fullwell.pipeline import driver, journal
from fullwell.pipeline.executors import open_executor
root = Path(sys.argv[1])
saved = journal.load(root)
jobs, finished = journal.remaining(saved)
executor = open_executor("dask", scheduler=sys.argv[2], modules=["toytasks"])
with journal.Journal(root) as book:
    options = driver.Options(batch_seconds=0.2, block=5)
    summary = driver.run(jobs, saved.dependencies, executor, None, book, options, finished=finished)
executor.close()
print(summary)
sys.exit(summary.exit_code)
"""


@pytest.mark.slow
def test_a_killed_client_is_resumed_on_the_same_workers(tmp_path: Path, machines: Cluster) -> None:
    machines.add("127.0.0.1")
    machines.add("127.0.0.2")
    plan, root = Plan(tmp_path / "shared"), tmp_path / "run"
    plan.add("sum", *plan.many(80, sleep=0.05))
    journal.write_plan(root, plan.jobs, plan.after, {})
    environment = {**os.environ, "PYTHONPATH": HELPERS}
    call = [sys.executable, "-c", CLIENT, str(root), machines.address]
    first = subprocess.Popen(call, env=environment)
    while len(journal.remaining(journal.load(root))[1]) < 10:
        time.sleep(0.05)
        assert first.poll() is None
    first.kill()
    first.wait()
    assert subprocess.run(call, env=environment, check=False).returncode == 0
    assert plan.sums()["sum"] == 81 and len(plan.sums()) == 81
    assert journal.remaining(journal.load(root))[0] == []
    assert not [p for p in (tmp_path / "shared" / "out").iterdir() if p.name.startswith(".")]
    # what the two workers were at when the client died may be done by both runs at once: two batches each
    assert sum(plan.runs(j.id) for j in plan.jobs) <= 81 + 4 * 4


def test_no_scheduler_and_no_worker_are_errors(machines: Cluster) -> None:
    with pytest.raises(WorkerError, match=r"does not answer(.|\n)*dask scheduler"):
        cluster.Dask("tcp://127.0.0.1:1", wait=0.5)
    with pytest.raises(WorkerError, match="has no workers"):
        cluster.Dask(machines.address, wait=0.5)
    with pytest.raises(UsageError, match="leave -j out"):
        open_executor("dask", scheduler=machines.address, workers=2)


def test_a_future_that_the_scheduler_forgot_is_no_wait_for_ever() -> None:
    executor = cluster.Dask.__new__(cluster.Dask)
    executor.address, executor._stopping = "tcp://127.0.0.1:1", False
    forgotten = SimpleNamespace(status="cancelled")
    with pytest.raises(WorkerError, match="scheduler is gone"):
        list(executor._result(forgotten, ()))
    executor._stopping = True
    assert not list(executor._result(forgotten, ()))


def test_a_worker_of_another_version_is_refused(
    tmp_path: Path, machines: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    machines.add("127.0.0.1")
    plan = Plan(tmp_path / "shared")
    plan.many(2)
    executor = cluster.Dask(machines.address, setup=SETUP)
    monkeypatch.setattr(cluster, "__version__", "9.9")
    summary = driver.run(plan.jobs, plan.after, executor, None, None, OPTIONS)
    executor.close()
    assert "the caller 9.9" in summary.stopped and not plan.sums()


def test_a_file_that_is_not_seen_here_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = Plan(tmp_path)
    job = plan.add("a")
    driver.run(plan.jobs, plan.after, open_executor("inline"))
    monkeypatch.setattr(cluster, "SEEN", 0.2)
    outputs = complete(job)
    assert outputs
    done = Done(job.id, "toy", "done", outputs=outputs)
    assert cluster._visible(done).ok
    os.unlink(job.outputs[0].path)
    failed = cluster._visible(done)
    assert failed.state == "failed" and failed.failure is not None and "all workers share" in failed.failure.remedy


@pytest.mark.slow
def test_a_script_without_its_guard_is_told(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("from fullwell.pipeline.executors import open_executor\nopen_executor('dask', workers=1)\n")
    made = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False)
    assert made.returncode == 1 and "__main__" in made.stderr and "FW703" in made.stderr


@pytest.mark.slow
def test_a_job_that_kills_its_workers_is_given_up_and_no_other(tmp_path: Path) -> None:
    import dask

    plan, index = Plan(tmp_path), Index()
    plan.many(3)
    plan.add("killer", kill=99, batch="d0")
    with dask.config.set({"distributed.scheduler.allowed-failures": 0}):
        executor = open_executor("dask", workers=1, modules=["toytasks"])
        try:
            summary = driver.run(plan.jobs, plan.after, executor, index, None, replace(OPTIONS, costs={"toy": 0.01}))
        finally:
            executor.close()
    assert (summary.count("lost"), summary.count("done") + summary.count("kept")) == (1, 3)
    assert plan.runs("killer") == 2 and len(index.rows) == 3


@pytest.mark.slow
def test_a_cluster_made_here(tmp_path: Path) -> None:
    """Its dashboard answers; a worker that is killed is replaced by Dask; it leaves nothing behind."""
    notes: list[str] = []
    executor = open_executor("dask", workers=2, modules=["toytasks"], note=notes.append)
    assert isinstance(executor, cluster.Dask)
    scratch = Path(executor._scratch.path)
    try:
        assert notes == [f"dashboard of the workers: {executor.dashboard}"]
        with urllib.request.urlopen(executor.dashboard) as page:
            assert b"Bokeh.embed" in page.read()
        plan, index = Plan(tmp_path), Index()
        plan.many(80, sleep=0.03)
        pid = executor._client.run(os.getpid)
        killer = threading.Timer(0.8, os.kill, (min(pid.values()), signal.SIGKILL))
        killer.start()
        summary = driver.run(plan.jobs, plan.after, executor, index, None, OPTIONS)
        assert summary.ok and len(index.rows) == len(plan.sums()) == 80
        assert sum(plan.runs(j.id) for j in plan.jobs) <= 81
    finally:
        executor.close()
    assert not scratch.exists()
