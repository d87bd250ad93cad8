"""Two processes that write to one repository at the same time, on both databases."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from nights import Night
from repos import CAMERA, Make, enter, raw_file

from fullwell.products import Bias
from fullwell.repo.calibs import certified
from fullwell.repo.ingest import ingest
from fullwell.repo.repository import Repository, open_repo

START = """
import sys, time
from pathlib import Path
from fullwell.repo.repository import open_repo
from fullwell.repo.ingest import ingest
from fullwell.repo.calibs import certify
from fullwell.base.errors import FullwellError
place, me, gate = sys.argv[1:4]
repo = open_repo(place, writeable=True)
Path(gate + me).touch()
while not Path(gate).exists():
    time.sleep(0.001)
"""
INGEST = (
    START
    + """
files = sorted(Path(sys.argv[4]).iterdir())
for k in range(0, len(files), 2):
    done = ingest(repo, files[k : k + 2])
    assert done.ok, done.failed
print("entered", len(files))
"""
)
CERTIFY = (
    START
    + """
ref = repo.butler.get_dataset(sys.argv[4])
try:
    certify(repo, [ref], "2025-01-01", "2025-02-01")
    print("won")
except FullwellError as error:
    print("lost", error.code)
"""
)


def together(code: str, repo: Repository, gate: Path, *args: object) -> list[str]:
    """Run the code in one process for each of `args`, all let go at one moment; gives what they print."""
    running = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(repo.path), str(i), str(gate), str(arg)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for i, arg in enumerate(args)
    ]  # fmt: skip
    deadline = time.monotonic() + 120
    while not all(Path(f"{gate}{i}").exists() for i in range(len(args))):
        assert time.monotonic() < deadline
        assert all(p.poll() in (None, 0) for p in running), [p.communicate()[1] for p in running if p.poll()]
        time.sleep(0.01)
    gate.touch()
    out = []
    for process in running:
        text, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
        out.append(text.strip())
    return out


@pytest.mark.parametrize("empty", [True, False], ids=["new", "filled"])
def test_both_enter_their_frames(make: Make, night: Path, tmp_path: Path, empty: bool) -> None:
    repo = make()
    if not empty:
        ingest(repo, [night])
    folders = []
    for i in range(2):
        one = Night(tmp_path / f"night{i}", cards={"OBSID": None})
        for k in range(4):
            one.bias(1, OBSID=f"of_{i}_{k}")
        folders.append(one.folder)
    assert together(INGEST, repo, tmp_path / "gate", *folders) == ["entered 4", "entered 4"]
    with open_repo(repo.path) as after:
        refs = list(after.butler.query_datasets("raw", f"{CAMERA}/raw/all"))
        assert len(refs) == 8 + (0 if empty else 6)
        assert len({ref.dataId["exposure"] for ref in refs}) == len(refs)
        assert all(after.get(ref).image.array.shape == (48, 80) for ref in refs)
        chain = after.butler.collections.get_info(f"{CAMERA}/defaults").children
        assert tuple(chain) == (f"{CAMERA}/raw/all", f"{CAMERA}/calib")


def test_both_enter_the_same_frames(make: Make, tmp_path: Path) -> None:
    repo = make()
    one = Night(tmp_path / "night")
    one.bias(4)
    assert together(INGEST, repo, tmp_path / "gate", one.folder, one.folder) == ["entered 4", "entered 4"]
    with open_repo(repo.path) as after:
        assert len(list(after.butler.query_datasets("raw", f"{CAMERA}/raw/all"))) == 4


def test_of_two_certifications_one_wins(filled: Repository, night: Path, tmp_path: Path) -> None:
    first = enter(filled, raw_file(night, "bias"), Bias, 1.0, "first", certified=False)
    second = enter(filled, raw_file(night, "bias"), Bias, 2.0, "second", certified=False)
    out = together(CERTIFY, filled, tmp_path / "gate", first.id, second.id)
    assert sorted(out) == ["lost FW612", "won"], out
    (valid,) = certified(filled, "bias")
    assert valid.id == str((first, second)[out.index("won")].id)
