"""What happens in a worker: cache, reading ahead, completeness, results."""

from __future__ import annotations

import json
import os
import threading
import warnings
import zlib
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from toytasks import Plan

from fullwell.base.errors import WorkerError
from fullwell.io.atomic import _host
from fullwell.pipeline.executors import worker
from fullwell.pipeline.executors.inline import Inline
from fullwell.pipeline.jobs import Done
from fullwell.products import Bias


@dataclass
class Thing:
    pixels: np.ndarray
    more: dict[str, np.ndarray] = field(default_factory=dict)


def test_the_cache_makes_once_and_forgets_the_least_used() -> None:
    made: list[str] = []
    cache = worker.Cache(limit=5000)

    def get(key: str, size: int = 2000) -> Thing:
        def make() -> Thing:
            made.append(key)
            return Thing(np.zeros(size // 2, np.uint8), {"other half": np.zeros(size // 2, np.uint8)})

        return cache.get(key, make)

    first = get("a")
    assert get("a") is first and made == ["a"]
    get("b")
    get("a")
    get("c")
    assert len(cache) == 2
    get("a")
    assert made == ["a", "b", "c"], "a was used after b"
    get("b")
    assert made == ["a", "b", "c", "b"]
    get("huge", 9000)
    assert len(cache) == 1


def test_the_memory_of_a_product_is_that_of_its_planes() -> None:
    planes = {"image": np.zeros((50, 50), np.float32), "variance": np.zeros((50, 50), np.float32)}
    size = worker._bytes(Bias(**planes, unit="adu"))
    assert 20_000 <= size < 21_000


def test_one_thread_makes_what_two_ask_for() -> None:
    made: list[int] = []
    cache, gate = worker.Cache(), threading.Barrier(2)

    def ask() -> None:
        gate.wait()
        cache.get("a", lambda: made.append(1))

    threads = [threading.Thread(target=ask) for _ in range(2)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert made == [1]


def test_files_are_read_ahead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The inputs of the next job that this one did not have, while this one is computed."""
    plan = Plan(tmp_path)
    first, second, third = (plan.add(name) for name in "abc")
    worker.run_batch([j.to_dict() for j in (first, second, third)])
    users = [plan.add("u1", first, second), plan.add("u2", first, third), plan.add("u3", first, third)]
    ahead: list[list[str]] = []
    monkeypatch.setattr(worker, "prefetch", lambda paths: ahead.append(list(paths)))
    list(worker.run_jobs(users, worker.Cache()))
    assert ahead == [[third.outputs[0].path]]
    monkeypatch.undo()
    advised: list[int] = []
    monkeypatch.setattr("os.posix_fadvise", lambda *call: advised.append(call[3]))
    worker.prefetch([first.outputs[0].path, str(tmp_path / "none")]).join()
    assert advised == [os.POSIX_FADV_WILLNEED]
    monkeypatch.delattr("os.posix_fadvise")
    worker.prefetch([first.outputs[0].path]).join()


def test_plain_data_in_and_out(tmp_path: Path) -> None:
    plan = Plan(tmp_path)
    good, bad = plan.add("good"), plan.add("bad", data=True)
    results = [Done.from_dict(json.loads(json.dumps(d))) for d in worker.run_batch([good.to_dict(), bad.to_dict()])]
    assert [(d.job, d.state) for d in results] == [("good", "done"), ("bad", "failed")]
    assert results[0].worker == worker.name() and results[0].worker.endswith(str(os.getpid()))
    written = results[0].outputs[0]
    assert written.size == os.path.getsize(written.path) and written.checksum == ""
    assert [d["state"] for d in worker.run_batch([good.to_dict()])] == ["kept"]


def test_the_checksum_where_it_is_asked_for(tmp_path: Path) -> None:
    job = replace(Plan(tmp_path).add("a"), context={"checksum": True})
    done = worker.run_job(job, worker.Cache())
    expected = zlib.crc32(Path(job.outputs[0].path).read_bytes())
    assert done.outputs[0].checksum == f"crc32:{expected:08x}"


def test_complete_means_each_output_with_its_id(tmp_path: Path) -> None:
    job = Plan(tmp_path).add("a")
    both = replace(job, outputs=(job.outputs[0], replace(job.outputs[0], path=str(tmp_path / "b.json"), id="id-b")))
    assert worker.complete(job) is None and worker.complete(replace(job, outputs=())) is None
    worker.run_job(job, worker.Cache())
    assert worker.complete(job) and worker.complete(both) is None
    (tmp_path / "b.json").write_text('{"LSST BUTLER ID": "id-c"}')
    assert worker.complete(both) is None
    (tmp_path / "b.json").write_text('{"LSST BUTLER ID": "id-b"}')
    assert len(worker.complete(both) or ()) == 2


def test_leftovers_of_the_dead_are_swept_by_the_next_worker(tmp_path: Path) -> None:
    job = Plan(tmp_path).add("a")
    folder = Path(job.outputs[0].path).parent
    folder.mkdir()
    left = folder / f".fw-{_host()}-999999999-0-a.json"
    left.write_text("half")
    worker.run_job(job, worker.Cache())
    assert [p.name for p in folder.iterdir()] == ["a.json"]


def test_an_unknown_task_names_the_nearest(tmp_path: Path) -> None:
    done = worker.run_job(replace(Plan(tmp_path).add("a"), task="tyo"), worker.Cache())
    assert done.failure is not None and done.failure.code == "FW600" and "toy" in done.failure.remedy


def test_another_version_or_a_missing_module_is_refused() -> None:
    with pytest.raises(WorkerError, match=r"the caller 0\.0\.0"):
        worker.run_batch([], version="0.0.0")
    with pytest.raises(WorkerError, match="cannot import 'no_such_module'"):
        worker.run_batch([], modules=["no_such_module"])


def test_warnings_belong_to_their_job_and_python_is_left_as_it_was(tmp_path: Path) -> None:
    plan = Plan(tmp_path)
    loud, quiet, again = plan.add("a", warn=True), plan.add("b"), plan.add("c", warn=True)
    before, filters = warnings.showwarning, list(warnings.filters)
    cache = worker.Cache()
    assert [worker.run_job(j, cache).notes for j in (loud, quiet, again)] == [
        ("the gain is nominal",),
        (),
        ("the gain is nominal",),
    ]
    assert warnings.showwarning is before and warnings.filters == filters


def test_in_this_process_one_event_at_a_time(tmp_path: Path) -> None:
    plan = Plan(tmp_path)
    executor = Inline()
    executor.submit(plan.many(3))
    assert executor.busy and len(list(executor.events(0))) == 1
    executor.cancel()
    assert not executor.busy and not list(executor.events(0)) and len(plan.sums()) == 1
    executor.close()
