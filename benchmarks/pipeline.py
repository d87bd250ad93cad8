"""A run over many small frames: how long the plan takes, and what a run costs beyond its tasks.

A thousand exposures of nine detectors of 64 x 64 pixels; BENCH_EXPOSURES sets another number. The tasks are timed
alone, in one process and without a repository; the run has two Dask workers on this machine, in batches of two seconds
of work, and enters all outputs.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "helpers"))

from harness import Result, at_most, idle, informative, not_judged

EXPOSURES = int(os.environ.get("BENCH_EXPOSURES", "1000"))
DETECTORS = 9
ALONE = 300
"""Tasks that are timed alone."""


def make(folder: Path) -> Any:
    """A repository of raw frames with calibrations."""
    from carry import carry, filled, plan
    from nines import Nines

    night = Nines(folder / "raws", detectors=range(DETECTORS)).calibrations()
    night.add("science", EXPOSURES)
    repo = filled(folder / "repo", night)
    assert carry(repo, plan(repo, "calibs")).ok
    return repo


def alone(made: Any, folder: Path) -> tuple[float, float]:
    """Wall and processor time of one task [s]: the first jobs of a plan in this process, without a repository."""
    from dataclasses import replace

    from fullwell.pipeline.executors.worker import Cache, run_job

    folder.mkdir()
    cache, jobs = Cache(), [one.job for one in made.jobs[: ALONE + 20]]
    jobs = [
        replace(j, outputs=tuple(replace(o, path=str(folder / Path(o.path).name)) for o in j.outputs)) for j in jobs
    ]
    done = [run_job(job, cache) for job in jobs][20:]
    assert all(one.state == "done" for one in done)
    return sum(d.seconds for d in done) / len(done), sum(d.cpu for d in done) / len(done)


def family() -> list[Result]:
    """The figures of this family."""
    from carry import plan

    from fullwell.pipeline.executors import open_executor
    from fullwell.pipeline.runs import OPTIONS, execute

    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as name:
        repo = make(Path(name))
        begin = time.perf_counter()
        made = plan(repo, "isr")
        planned = time.perf_counter() - begin
        quiet = idle()
        wall, cpu = alone(made, Path(name) / "alone")
        executor = open_executor("dask", workers=2)
        begin, used = time.perf_counter(), time.process_time()
        summary = execute(repo, made, executor, OPTIONS, user="ann")
        ran, used = time.perf_counter() - begin, time.process_time() - used
        executor.close()
        assert summary.ok and summary.count("done") == len(made.jobs) == EXPOSURES * DETECTORS
        repo.close()
    number = len(made.jobs)
    note = f"{number} jobs, {1e3 * wall:.1f} ms each alone; {ran:.0f} s with two workers"
    beyond = at_most("run with two workers, ingest included", 2 * ran / (number * wall), "sum of the tasks", 1.1, note)
    return [
        at_most("plan of a run", planned / (60 * number / 9000), "60 s for 9,000 frames", 1.0, f"{planned:.2f} s"),
        beyond if quiet and idle() else not_judged(beyond, "the machine was busy with other work"),
        informative("run: time beyond the tasks as measured in it", 1 + summary.overhead / summary.busy, "their sum"),
        informative("run: processor time of the client", used / (number * cpu), "that of the tasks alone"),
    ]
