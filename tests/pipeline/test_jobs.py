"""Jobs and results as plain data; batches; costs."""

from __future__ import annotations

import json
import pickle

import pytest

from fullwell.pipeline.jobs import LARGEST, Costs, Done, Failure, Input, Job, Output, ReadyQueue, Written, batches


def job(name: str, batch: str = "", task: str = "isr") -> Job:
    return Job(name, task, (Input("raw", "r", "/a/raw.fits", "raw"),), (Output("x", "o", "/b", {"d": 1}),), batch=batch)


def done(task: str, seconds: float, state: str = "done") -> Done:
    return Done("a", task, state, seconds)


def test_everything_travels_as_json() -> None:
    one = Job("a", "isr", job("a").inputs, job("a").outputs, {"gain": 1.5}, {"run": "u/x"}, "3")
    assert Job.from_dict(json.loads(json.dumps(one.to_dict()))) == one
    assert pickle.loads(pickle.dumps(one)) == one
    failure = Failure("OSError", "a", "b", "c", "FW1", "t", True, True, {"pid": 3})
    result = Done("a", "isr", "failed", 1.0, 2.0, failure, (Written("x", "o", "/b", {"d": 1}, 5, "c"),), "h:1", ("n",))
    assert Done.from_dict(json.loads(json.dumps(result.to_dict()))) == result


def test_the_input_of_a_role() -> None:
    assert job("a").path("raw") == "/a/raw.fits"
    with pytest.raises(KeyError, match="0 inputs of role 'bias'"):
        job("a").path("bias")


def test_a_failure_in_one_line() -> None:
    assert Failure("ValueError", "a\n  b").line == "ValueError: a b"
    assert Failure("DataError", "a", code="FW400").line == "FW400: a"


def test_batches_hold_two_seconds_of_one_detector() -> None:
    jobs = [job(f"{n}", batch=f"d{n % 3}") for n in range(30)]
    found = batches(jobs, 2.0, lambda _: 0.5)
    assert [len(b) for b in found] == [4, 4, 4, 4, 4, 4, 6 - 2, 2]
    for batch in found[:6]:
        assert len({j.batch for j in batch}) == 1
    assert sorted(j.id for b in found for j in b) == sorted(j.id for j in jobs)
    assert [j.id for j in found[0]] == ["0", "3", "6", "9"]


def test_small_detectors_share_a_batch() -> None:
    jobs = [job(f"{n}", batch=f"d{n}") for n in range(9)]
    assert [len(b) for b in batches(jobs, 2.0, lambda _: 0.5)] == [4, 4, 1]


def test_long_and_unknown_jobs_are_alone() -> None:
    jobs = [job(f"{n}") for n in range(3)]
    assert [len(b) for b in batches(jobs, 2.0, lambda _: 30.0)] == [1, 1, 1]
    assert [len(b) for b in batches(jobs, 2.0, Costs())] == [1, 1, 1]


def test_a_batch_of_short_jobs_has_an_end() -> None:
    jobs = [job(f"{n}") for n in range(LARGEST + 3)]
    assert [len(b) for b in batches(jobs, 2.0, lambda _: 0.0)] == [LARGEST, 3]


def test_costs_follow_what_is_measured() -> None:
    costs = Costs({"flat": 9.0})
    assert costs(job("a")) is None and costs(job("a", task="flat")) == 9.0
    costs.learn(done("isr", 2.0))
    assert costs(job("a")) == 2.0
    costs.learn(done("isr", 1.0))
    assert costs(job("a")) == pytest.approx(1.7)
    costs.learn(done("isr", 0.0, "kept"))
    costs.learn(done("isr", 9.0, "failed"))
    assert costs(job("a")) == pytest.approx(1.7)


def test_a_suspect_goes_alone_and_first() -> None:
    queue = ReadyQueue(lambda _: 0.1)
    for n in range(5):
        queue.add(job(f"{n}"))
    queue.add(job("suspect"), alone=True)
    assert len(queue) == 6 and queue.seconds(2.0) == pytest.approx(0.6)
    assert [j.id for j in queue.take(2.0)] == ["suspect"]
    assert [j.id for j in queue.take(2.0)] == ["0", "1", "2", "3", "4"]
    assert len(queue) == 0 and queue.seconds(2.0) == 0 and queue.take(2.0) == ()
