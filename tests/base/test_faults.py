"""Named places at which tests make a process fail."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fullwell.base import faults

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "_passed", faults.Counter())


def test_nothing_happens_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FULLWELL_FAULT", raising=False)
    for name in faults.POINTS:
        faults.point(name)


@pytest.mark.parametrize(("action", "number"), [("error", errno.EIO), ("full", errno.ENOSPC)])
def test_the_nth_passage_fails(monkeypatch: pytest.MonkeyPatch, action: str, number: int) -> None:
    monkeypatch.setenv("FULLWELL_FAULT", f"after-write:{action}:2")
    faults.point("after-write")
    faults.point("after-rename")
    with pytest.raises(OSError) as info:
        faults.point("after-write")
    assert info.value.errno == number
    faults.point("after-write")


def test_an_interruption(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FULLWELL_FAULT", "before-task:interrupt")
    with pytest.raises(KeyboardInterrupt):
        faults.point("before-task")


def test_one_process_is_killed_and_the_next_lives(tmp_path: Path) -> None:
    code = "from fullwell.base import faults; faults.point('after-task'); print('lives')"
    more = {"FULLWELL_FAULT": "after-task", "FULLWELL_FAULT_ONCE": str(tmp_path / "once")}
    codes = [
        subprocess.run([sys.executable, "-c", code], env={**os.environ, **more}, check=False).returncode
        for _ in range(2)
    ]
    assert codes == [-9, 0]


def test_the_list_of_points_is_that_of_the_code() -> None:
    """Each place stands in the code once or more; there is no other."""
    found = set()
    for path in (ROOT / "src").rglob("*.py"):
        for part in path.read_text().split('faults.point("')[1:]:
            found.add(part.partition('"')[0])
    assert found == set(faults.POINTS)
