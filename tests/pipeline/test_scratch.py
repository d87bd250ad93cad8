"""Folders of the workers of a cluster made here: what a killed client leaves is swept away, others are not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from fullwell.pipeline.executors.scratch import LOCK, PREFIX, Scratch, sweep

CLIENT = """
import sys, time
from fullwell.pipeline.executors.scratch import Scratch
print(Scratch(sys.argv[1]).path, flush=True)
time.sleep(60)
"""


def test_what_a_killed_client_left_is_removed_when_the_next_begins(tmp_path: Path) -> None:
    client = subprocess.Popen([sys.executable, "-c", CLIENT, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert client.stdout is not None
    left = Path(client.stdout.readline().strip())
    (left / "worker").mkdir()
    with Scratch(str(tmp_path)) as mine:
        assert left.exists(), "its client lives"
        assert not sweep(tmp_path) and Path(mine.path).exists(), "so does this one"
    client.send_signal(signal.SIGKILL)
    client.wait()
    until = time.monotonic() + 10
    while left.exists() and time.monotonic() < until:
        with Scratch(str(tmp_path)) as mine:
            assert Path(mine.path).exists()
    assert not list(tmp_path.iterdir())


def test_what_is_not_ours_stays(tmp_path: Path) -> None:
    for name in ("other", f"{PREFIX}without"):
        (tmp_path / name).mkdir()
    (tmp_path / "other" / LOCK).touch()
    os.symlink(tmp_path / "other", tmp_path / f"{PREFIX}link")
    Scratch(str(tmp_path)).close()
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"{PREFIX}link", f"{PREFIX}without", "other"]
