"""Tasks of a few lines for tests of the pipeline: they write a JSON file with their id and count how often they ran."""

from __future__ import annotations

import errno
import json
import os
import signal
import time
import warnings
from pathlib import Path
from typing import Any

from fullwell.base.errors import DataError, FullwellWarning
from fullwell.io import atomic_path
from fullwell.pipeline.jobs import Input, Job, Output
from fullwell.pipeline.tasks import TASKS


def count(job: Job) -> int:
    """Note that the job is being run; how often it was before."""
    log = Path(job.config["log"]) / job.id
    before = log.stat().st_size if log.exists() else 0
    with open(log, "ab") as out:
        out.write(b"x")
    return before


@TASKS.register("toy")
def toy(job: Job, cache: Any) -> None:
    """Add up the inputs; fail as the settings say."""
    before, config = count(job), job.config
    time.sleep(config.get("sleep", 0.0))
    if config.get("data"):
        raise DataError("every pixel is saturated", where=job.id, remedy="expose for a shorter time")
    if config.get("bug"):
        raise ZeroDivisionError("a bug")
    if before < config.get("network", 0):
        raise OSError(errno.ESTALE, "Stale file handle")
    if before < config.get("kill", 0):
        os.kill(os.getpid(), signal.SIGKILL)
    if config.get("full"):
        raise OSError(errno.ENOSPC, "No space left on device")
    if config.get("warn"):
        warnings.warn(FullwellWarning("the gain is nominal"), stacklevel=1)
    if config.get("silent"):
        return
    total = sum(json.loads(Path(i.path).read_text())["sum"] for i in job.inputs)
    total += cache.get("constant", lambda: 1)
    with atomic_path(job.outputs[0].path) as temporary:
        temporary.write_text(json.dumps({"LSST BUTLER ID": job.outputs[0].id, "sum": total, "pid": os.getpid()}))


class Plan:
    """Toy jobs in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "log"
        self.log.mkdir(parents=True, exist_ok=True)
        self.jobs: list[Job] = []
        self.after: dict[str, list[str]] = {}

    def add(self, name: str, *before: Job, batch: str = "", **config: Any) -> Job:
        """A job that needs the outputs of others."""
        path = self.folder / "out" / f"{name}.json"
        inputs = tuple(Input("part", b.outputs[0].id, b.outputs[0].path, "toy") for b in before)
        output = Output("toy", f"id-{name}", str(path), {"detector": len(self.jobs)})
        job = Job(name, "toy", inputs, (output,), {"log": str(self.log), **config}, {}, batch)
        self.jobs.append(job)
        self.after[name] = [b.id for b in before]
        return job

    def many(self, number: int, **config: Any) -> list[Job]:
        """Jobs that need nothing, of three detectors in turn."""
        return [self.add(f"j{n:05d}", batch=f"d{n % 3}", **config) for n in range(number)]

    def runs(self, name: str) -> int:
        """How often a job was begun."""
        path = self.log / name
        return path.stat().st_size if path.exists() else 0

    def sums(self) -> dict[str, int]:
        """Outputs that are there: name -> sum."""
        return {p.stem: json.loads(p.read_text())["sum"] for p in (self.folder / "out").glob("*.json")}


class Index:
    """A sink that keeps what it is given, each once."""

    def __init__(self, away: int = 0, refuse: str = "") -> None:
        self.away = away
        self.refuse = refuse
        self.rows: dict[str, Any] = {}
        self.blocks: list[int] = []

    def ingest(self, block: Any) -> None:
        """Take up a block; nothing of it where one is refused."""
        if self.away:
            self.away -= 1
            raise ConnectionError("server closed the connection")
        if any(done.job == self.refuse for done in block):
            raise DataError(f"{self.refuse} is in the index with another content")
        self.blocks.append(len(block))
        for done in block:
            for output in done.outputs:
                self.rows[output.id] = output
