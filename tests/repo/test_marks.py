"""Raw files that another one replaces: found out by a plan, by a check, and when they are entered again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from carry import filled, plan
from nines import Nines

from fullwell.repo import marks
from fullwell.repo.calibs import forget
from fullwell.repo.check import check
from fullwell.repo.ingest import ingest
from fullwell.repo.repository import Repository


@pytest.fixture
def raws(tmp_path: Path) -> Path:
    made = Nines(tmp_path / "raws", detectors=(3,))
    made.add("bias", 3)
    made.add("science")
    return made.folder


@pytest.fixture
def repo(tmp_path: Path, raws: Path) -> Repository:
    return filled(tmp_path / "repo", Nines(raws, detectors=(3,)))


def replace_pixels(path: Path) -> None:
    """Another file of the same header and size in its place."""
    whole = bytearray(path.read_bytes())
    whole[2880:9000] = bytes(b ^ 1 for b in whole[2880:9000])
    path.write_bytes(whole)


def test_a_plan_leaves_out_what_was_replaced(repo: Repository, raws: Path) -> None:
    assert {j.state for j in plan(repo).jobs} == {"new"}
    bad = sorted(raws.iterdir())[-1]
    replace_pixels(bad)
    made = plan(repo)
    assert [(j.job.task, j.state) for j in made.jobs] == [("bias", "new"), ("isr", "missing")]
    assert made.missing[0].reason.startswith(f"{bad} is not the file that was entered: put that one back, or ")


def test_a_file_that_was_only_touched_or_copied_is_the_same(repo: Repository, raws: Path, tmp_path: Path) -> None:
    for path in raws.iterdir():
        os.utime(path, (1, 1))
    assert {j.state for j in plan(repo).jobs} == {"new"} and check(repo, deep=False).ok
    assert len(ingest(repo, [raws]).known) == 4


def test_a_check_finds_it(repo: Repository, raws: Path) -> None:
    bad = sorted(raws.iterdir())[0]
    before = bad.stat()
    replace_pixels(bad)
    for deep in (False, True):
        (one,) = check(repo, deep=deep).findings
        assert (one.kind, one.path) == ("damaged", bad)
        assert one.problem == "another file has taken its place since it was entered"
    os.utime(bad, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert check(repo, deep=False).ok, "size and time alone do not tell"
    assert not check(repo).ok


def test_to_enter_it_again_is_refused(repo: Repository, raws: Path) -> None:
    bad = sorted(raws.iterdir())[0]
    replace_pixels(bad)
    done = ingest(repo, [raws])
    assert list(done.failed) == [bad] and "it was replaced since" in str(done.failed[bad])
    assert len(done.known) == 3 and not done.entered


def test_a_frame_taken_out_and_entered_anew_has_a_new_mark(repo: Repository, raws: Path) -> None:
    bad = sorted(raws.iterdir())[0]
    replace_pixels(bad)
    refs = repo.butler.query_datasets("raw", "*", find_first=False)
    forget(repo, [ref.id for ref in refs if repo.file_of(ref) == bad])
    assert ingest(repo, [raws]).ok
    assert {j.state for j in plan(repo).jobs} == {"new"} and check(repo).ok


@pytest.mark.parametrize("transfer", ["copy", "link", "move"])
def test_marks_are_of_the_file_as_it_lies_in_the_repository(tmp_path: Path, raws: Path, transfer: str) -> None:
    from fullwell.repo.repository import create

    with create(tmp_path / "other") as other:
        assert ingest(other, [raws], transfer=transfer).ok
        assert len(marks.marks(other)) == 4 and {j.state for j in plan(other).jobs} == {"new"}
        path = other.file_of(next(iter(other.butler.query_datasets("raw", "*", find_first=False))))
        assert not any(m.differs(path) for m in marks.marks(other).values() if m.digest == marks.mark_of(path).digest)
        replace_pixels(path)
        assert not check(other).ok


def test_a_torn_line_is_no_mark(repo: Repository) -> None:
    path = repo.path / ".fullwell" / "raws.jsonl"
    whole = marks.marks(repo)
    path.write_bytes(path.read_bytes() + b'{"ids": ["a"], "si')
    assert marks.marks(repo) == whole
    marks.remember(repo, {path: ["b"]})
    assert marks.marks(repo).keys() == {*whole, "b"}


def test_marks_that_cannot_be_kept_are_told(tmp_path: Path, raws: Path) -> None:
    from fullwell.repo.repository import create

    with create(tmp_path / "other") as other:
        (other.path / ".fullwell" / "raws.jsonl").mkdir(parents=True)
        done = ingest(other, [raws])
    assert done.ok and len(done.entered) == 4 and "could not be written down" in done.notes[0]
