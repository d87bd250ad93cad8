"""The folder of a run: plan, journal, records of failures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fullwell.base.errors import FileError
from fullwell.pipeline import journal
from fullwell.pipeline.jobs import Done, Failure, Job, Output, Written


def jobs(folder: Path, number: int = 3) -> list[Job]:
    return [Job(f"j{n}", "toy", (), (Output("x", f"o{n}", str(folder / f"{n}.txt")),)) for n in range(number)]


def finished(job: Job, text: str = "four", state: str = "done") -> Done:
    output = job.outputs[0]
    Path(output.path).write_text(text)
    return Done(job.id, job.task, state, 1.0, outputs=(Written(**vars(output), size=len(text)),))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    journal.write_plan(tmp_path / "run", jobs(tmp_path), {"j2": ["j0", "j1"]}, {"recipe": "toy"})
    return tmp_path / "run"


def left(root: Path) -> list[str]:
    return [j.id for j in journal.remaining(journal.load(root))[0]]


def test_a_plan_comes_back(tmp_path: Path, root: Path) -> None:
    saved = journal.load(root)
    assert list(saved.jobs) == jobs(tmp_path) and saved.header["recipe"] == "toy"
    assert saved.dependencies == {"j0": (), "j1": (), "j2": ("j0", "j1")}
    assert left(root) == ["j0", "j1", "j2"]
    with pytest.raises(FileError, match="exists"):
        journal.write_plan(root, [], {}, {})


def test_what_is_written_down_and_there_is_finished(tmp_path: Path, root: Path) -> None:
    with journal.Journal(root) as book:
        book.write([finished(j) for j in jobs(tmp_path)])
    assert left(root) == []
    (tmp_path / "1.txt").unlink()
    (tmp_path / "2.txt").write_text("longer than it was")
    assert left(root) == ["j1", "j2"]


def test_the_last_word_counts(tmp_path: Path, root: Path) -> None:
    one, two, three = jobs(tmp_path)
    failed = Done("j0", "toy", "failed", failure=Failure("OSError", "x"))
    with journal.Journal(root) as book:
        book.write([failed, finished(two), finished(three, state="kept")])
        assert left(root) == ["j0"]
        book.write([finished(one)])
        book.write([Done("j1", "toy", "failed", failure=Failure("OSError", "x"))])
    assert left(root) == ["j1"]
    assert journal.load(root).last["j1"]["error"]["kind"] == "OSError"


@pytest.mark.parametrize("torn", [b"{", b'{"job": "j2", "state": "done", "outp', b'{"job": "j2"}', b"\x00\xff"])
def test_a_torn_line_is_ignored_and_cut_off(tmp_path: Path, root: Path, torn: bytes) -> None:
    one, two, _ = jobs(tmp_path)
    path = root / "journal.jsonl"
    with journal.Journal(root) as book:
        book.write([finished(one)])
    with open(path, "ab") as out:
        out.write(torn)
    assert left(root) == ["j1", "j2"]
    with journal.Journal(root) as book:
        book.write([finished(two)])
    assert left(root) == ["j2"]
    assert [json.loads(line)["job"] for line in path.read_text().splitlines()] == ["j0", "j1"]


def test_records_of_failures_come_and_go(tmp_path: Path, root: Path) -> None:
    job = jobs(tmp_path)[0]
    with journal.Journal(root) as book:
        failure = Failure("OSError", "x", traceback="t")
        path = book.record(job, Done("j0", "toy", "failed", failure=failure), 4)
        values = json.loads(path.read_text())
        assert values["attempts"] == 4 and values["done"]["failure"]["traceback"] == "t"
        assert Job.from_dict(values["job"]) == job
        book.forget(job)
        book.forget(job)
    assert list((root / "failures").iterdir()) == []


def test_a_folder_that_is_no_run(tmp_path: Path, root: Path) -> None:
    with pytest.raises(FileError, match="there is no run in"):
        journal.load(tmp_path / "none")
    plan = root / "plan.jsonl"
    text = plan.read_text()
    plan.write_text(text[:-50])
    with pytest.raises(FileError, match="damaged: 2 of 3 jobs"):
        journal.load(root)
    plan.write_text(text.replace('"version": 1', '"version": 2', 1))
    with pytest.raises(FileError, match="version 2"):
        journal.load(root)
    plan.write_text("not ours\n")
    with pytest.raises(FileError, match="there is no run"):
        journal.load(root)


def test_lines_are_on_disk_when_write_returns(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr("os.fsync", synced.append)
    with journal.Journal(root) as book:
        book.write([])
        assert not synced
        book.write([finished(jobs(tmp_path)[0])])
        assert len(synced) == 1
        assert left(root) == ["j1", "j2"]
