"""Runs that are killed, that lose their workers, their scheduler, their disk or their database: nothing is lost."""

from __future__ import annotations

import json
import os
import random
import select
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil
import pytest
from carry import USER, carry, copied, filled, plan
from nines import Nines
from repos import drop

from fullwell.base import faults
from fullwell.pipeline.rerun import VOLATILE, compare
from fullwell.repo.check import check
from fullwell.repo.ingest import ingest
from fullwell.repo.repository import Repository, create, open_repo

MAY_DIFFER = {*VOLATILE, "LSST BUTLER RUN"}
"""Keywords in which a run that was disturbed may differ from one that was not: when, and the name of the run."""


class Night:
    """A repository with calibrations, and what the science frames come to where nothing goes wrong."""

    def __init__(self, folder: Path, exposures: int, detectors: int) -> None:
        raws = Nines(folder / "raws", detectors=range(detectors)).calibrations()
        raws.add("science", exposures)
        with filled(folder / "repo", raws) as repo:
            assert carry(repo, plan(repo, "calibs")).ok
        self.path, self.number = repo.path, exposures * detectors
        with copied(self.path, folder / "undisturbed") as twin:
            assert carry(twin, plan(twin, "isr")).ok
        self.undisturbed = self._products(twin.path)

    @staticmethod
    def _products(place: Path) -> dict[str, Path]:
        with open_repo(place) as repo:
            found = repo.butler.query_datasets("post_isr_image", "*", find_first=False, explain=False, limit=None)
            return {str(ref.id): repo.file_of(ref) for ref in found}

    def same(self, place: Path, calibrated_apart: bool = False) -> None:
        """Every product is there once, with the pixels of the undisturbed run, and nothing else is.

        `calibrated_apart` : the calibrations are those of another run, equal but for its name.
        """
        mine = self._products(place)
        assert mine.keys() == self.undisturbed.keys() and len(mine) == self.number
        for ident, path in mine.items():
            parts, cards = compare(self.undisturbed[ident], path)
            runs = {c[1] for c in cards if c[1].startswith(("LSST BUTLER INPUT", "LSST CALIB RUN")) and " RUN" in c[1]}
            allowed = MAY_DIFFER | (runs if calibrated_apart else set())
            assert all(p.same for p in parts) and not [c for c in cards if c[1] not in allowed], (path, parts, cards)
        assert len(list(place.rglob("post_isr_image_*"))) == self.number, "no file is there twice"
        with open_repo(place) as repo:
            report = check(repo)
            assert report.ok and not report.findings, report.findings
            assert {j.state for j in plan(repo, "isr").jobs} == {"exists"}
        assert not list(place.glob(".fullwell/runs/*/failures/*"))


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Night:
    """Four exposures of three detectors."""
    return Night(tmp_path_factory.mktemp("small"), 4, 3)


@pytest.fixture(scope="session")
def large(tmp_path_factory: pytest.TempPathFactory) -> Night:
    """A hundred exposures of nine detectors."""
    return Night(tmp_path_factory.mktemp("large"), 100, 9)


@pytest.fixture
def place(tmp_path: Path, small: Night) -> Path:
    """A copy of the small repository."""
    return Path(shutil.copytree(small.path, tmp_path / "repo"))


def start(*call: object, **environment: str) -> subprocess.Popen[str]:
    """A command line in a process of its own."""
    everything = {**os.environ, "FULLWELL_USER": USER, **environment}
    words = [sys.executable, "-m", "fullwell.cli", *map(str, call)]
    return subprocess.Popen(words, env=everything, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def end(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Exit code and what was said."""
    out, err = process.communicate(timeout=600)
    return process.returncode, out, err


def go(*call: object, **environment: str) -> tuple[int, str, str]:
    return end(start(*call, **environment))


def done_so_far(place: Path) -> int:
    """Lines of the journal of the latest run."""
    journals = sorted(place.glob(".fullwell/runs/*/journal.jsonl"))
    return journals[-1].read_bytes().count(b"\n") if journals else 0


def files_so_far(place: Path) -> int:
    return sum(1 for _ in place.rglob("post_isr_image_*.fits"))


def wait_for(what: Callable[[], bool], process: subprocess.Popen[str] | None = None) -> bool:
    """Wait until something is so; False where the process ends before."""
    until = time.monotonic() + 300
    while not what():
        assert time.monotonic() < until
        if process is not None and process.poll() is not None:
            return False
        time.sleep(0.02)
    return True


# -------------------------------------------------------------------- killed at each place
@pytest.mark.parametrize("point", faults.POINTS)
@pytest.mark.parametrize("number", [1, 4])
def test_killed_at_each_place(place: Path, small: Night, tmp_path: Path, point: str, number: int) -> None:
    """The process that passes a place dies there: a worker is replaced; the client is started again."""
    flag, before = tmp_path / "dead", len(list(place.glob(".fullwell/runs/*/plan.jsonl")))
    environment = {"FULLWELL_FAULT": f"{point}:kill:{number}", "FULLWELL_FAULT_ONCE": str(flag)}
    code, _, err = go("run", "isr", "--repo", place, "--executor", "processes", "-j", 2, **environment)
    passed = flag.exists()
    if code == -signal.SIGKILL:
        assert point in ("before-ingest", "after-ingest", "after-journal", "after-write", "after-rename")
        if len(list(place.glob(".fullwell/runs/*/plan.jsonl"))) == before:
            assert go("run", "isr", "--repo", place)[0] == 0
        else:
            code, _, err = go("resume", "--repo", place, "-j", 2, "--executor", "processes")
            assert code == 0, err
    else:
        assert code == 0, err
    assert passed or number > 1, "the place was reached"
    small.same(place)


def test_killed_again_and_again(place: Path, small: Night) -> None:
    """The client dies after each block that it enters; each resumption goes one block further."""
    code, _, _ = go("run", "isr", "--repo", place, FULLWELL_FAULT="after-ingest:kill:1")
    assert code == -signal.SIGKILL
    for point in ("before-ingest", "after-task", "after-journal", "before-task"):
        code, _, _ = go("resume", "--repo", place, FULLWELL_FAULT=f"{point}:kill:1")
        assert code in (-signal.SIGKILL, 0)
    assert go("resume", "--repo", place)[0] == 0
    small.same(place)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_workers_killed_at_random_moments(large: Night, tmp_path: Path) -> None:
    place = Path(shutil.copytree(large.path, tmp_path / "repo"))
    chosen = random.Random(1)
    client = start("run", "isr", "--repo", place, "--executor", "processes", "-j", 2, "--json")
    for share in (0.05, 0.2, 0.35, 0.5, 0.8):
        assert wait_for(lambda share=share: files_so_far(place) > share * large.number, client)
        time.sleep(chosen.random())
        workers = psutil.Process(client.pid).children()
        assert len(workers) == 2
        os.kill(chosen.choice(workers).pid, signal.SIGKILL)
    code, out, err = end(client)
    assert code == 0, err
    assert json.loads(out)["summary"]["lost_workers"] == 5
    large.same(place)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_client_killed_at_random_moments(large: Night, tmp_path: Path) -> None:
    place = Path(shutil.copytree(large.path, tmp_path / "repo"))
    chosen = random.Random(2)
    call: list[object] = ["run", "isr"]
    for share in (0.05, 0.25, 0.45, 0.65, 0.85):
        client = start(*call, "--repo", place, "--executor", "processes", "-j", 2)
        assert wait_for(lambda share=share: files_so_far(place) > share * large.number, client)
        time.sleep(chosen.random())
        workers = psutil.Process(client.pid).children()
        client.kill()
        assert end(client)[0] == -signal.SIGKILL
        psutil.wait_procs(workers, 30)
        call = ["resume"]
    before = done_so_far(place)
    code, _, err = go("resume", "--repo", place, "--executor", "processes", "-j", 2)
    assert code == 0 and before > 0, err
    large.same(place)


# -------------------------------------------------------------------- Dask
class Cluster:
    """A scheduler and two workers, each a process of its own."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.file, self.processes = folder / "scheduler.json", list[subprocess.Popen[bytes]]()
        call = ("--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(self.file))
        self.scheduler = self._start("dask_scheduler", *call)
        wait_for(self.file.exists)
        time.sleep(0.2)
        self.address = str(json.loads(self.file.read_text())["address"])
        self.workers = [self.worker(folder / f"w{i}") for i in range(2)]

    def _start(self, *call: str) -> subprocess.Popen[bytes]:
        words = [sys.executable, "-m", f"distributed.cli.{call[0]}", *call[1:]]
        self.processes.append(subprocess.Popen(words, stderr=subprocess.DEVNULL))
        return self.processes[-1]

    def worker(self, folder: Path) -> subprocess.Popen[bytes]:
        call = ("--nthreads", "1", "--no-dashboard", "--no-nanny", "--local-directory", str(folder))
        return self._start("dask_worker", self.address, *call)

    def end(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()


@pytest.fixture
def clusters(tmp_path: Path) -> Iterator[Callable[[], Cluster]]:
    pytest.importorskip("distributed")
    made: list[Cluster] = []

    def make() -> Cluster:
        made.append(Cluster(tmp_path / f"cluster{len(made)}"))
        return made[-1]

    yield make
    for one in made:
        one.end()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_dask_loses_workers_its_scheduler_and_its_client(
    large: Night, tmp_path: Path, clusters: Callable[[], Cluster]
) -> None:
    place = Path(shutil.copytree(large.path, tmp_path / "repo"))
    chosen = random.Random(3)
    first = clusters()
    client = start("run", "isr", "--repo", place, "--scheduler", first.address)
    assert wait_for(lambda: files_so_far(place) > 0.05 * large.number, client)
    first.workers[0].kill()
    first.worker(tmp_path / "another")
    assert wait_for(lambda: files_so_far(place) > 0.25 * large.number, client)
    time.sleep(chosen.random())
    first.scheduler.kill()
    code, _, err = end(client)
    assert code == 1 and "the Dask scheduler is gone" in err and "go on with: fullwell resume" in err, err
    first.end()
    second = clusters()
    client = start("resume", "--repo", place, "--scheduler", second.address)
    assert wait_for(lambda: files_so_far(place) > 0.6 * large.number, client)
    time.sleep(chosen.random())
    client.kill()
    end(client)
    client = start("resume", "--repo", place, "--scheduler", second.address)
    assert wait_for(lambda: files_so_far(place) > 0.8 * large.number, client)
    second.workers[1].kill()
    code, _, err = end(client)
    assert code == 0, err
    large.same(place)


# -------------------------------------------------------------------- disk, database, mount, files
def test_a_disk_that_fills_up(small: Night, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    size = sum(p.stat().st_size for p in small.path.rglob("*") if p.is_file()) + (1 << 20)
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(disk)], capture_output=True)
    if mount.returncode:
        pytest.skip("a small file system cannot be mounted here")
    try:
        place = Path(shutil.copytree(small.path, disk / "repo"))
        (disk / "ballast").write_bytes(bytes((1 << 20) - (600 << 10)))
        code, _, err = go("run", "isr", "--repo", place)
        assert code == 1 and "No space left on device" in err and "free some space" in err, err
        assert "Traceback" not in err and files_so_far(place) < small.number
        (disk / "ballast").unlink()
        subprocess.run(["mount", "-o", f"remount,size={size + (8 << 20)}", str(disk)], check=True)
        code, _, err = go("resume", "--repo", place)
        assert code == 0, err
        small.same(place)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def lock(place: Path, ready: threading.Event, seconds: float) -> threading.Thread:
    """Keep the database of a repository for some time."""

    def hold() -> None:
        with sqlite3.connect(place / "gen3.sqlite3", timeout=60, isolation_level=None) as database:
            database.execute("BEGIN EXCLUSIVE")
            ready.set()
            time.sleep(seconds)
            database.execute("ROLLBACK")

    thread = threading.Thread(target=hold)
    thread.start()
    return thread


@pytest.mark.slow
def test_a_database_that_is_away_for_half_a_minute(place: Path, small: Night) -> None:
    client = start("run", "isr", "--repo", place, "--json")
    assert wait_for(lambda: files_so_far(place) > 0, client)
    ready, begin = threading.Event(), time.monotonic()
    thread = lock(place, ready, 30.0)
    ready.wait(60)
    code, out, err = end(client)
    thread.join()
    assert code == 0, err
    assert time.monotonic() - begin > 30 and json.loads(out)["summary"]["states"]["done"] == small.number
    small.same(place)


class Line:
    """The way to a server, which can be cut."""

    def __init__(self, port: int) -> None:
        self.target, self.open = port, True
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]
        self.pairs: list[tuple[socket.socket, socket.socket]] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                here, _ = self.server.accept()
            except OSError:
                return
            if not self.open:
                here.close()
                continue
            there = socket.create_connection(("127.0.0.1", self.target))
            self.pairs.append((here, there))
            threading.Thread(target=self._carry, args=(here, there), daemon=True).start()

    def _carry(self, here: socket.socket, there: socket.socket) -> None:
        ends = {here: there, there: here}
        try:
            while True:
                for one in select.select([here, there], [], [])[0]:
                    data = one.recv(65536)
                    if not data:
                        return
                    ends[one].sendall(data)
        except (OSError, ValueError):
            return
        finally:
            here.close()
            there.close()

    def cut(self) -> None:
        self.open = False
        for pair in self.pairs:
            for one in pair:
                one.close()


@pytest.fixture
def behind_a_line(tmp_path: Path, small: Night) -> Iterator[tuple[Repository, Line]]:
    """A repository on PostgreSQL, reached by a line that can be cut."""
    url = os.environ.get("FULLWELL_TEST_POSTGRES")
    if not url:
        if os.environ.get("CI"):
            pytest.fail("CI must have a PostgreSQL server: .ci/run starts one and sets FULLWELL_TEST_POSTGRES")
        pytest.skip("needs a PostgreSQL server: set FULLWELL_TEST_POSTGRES to its URL (see .ci/postgres)")
    from sqlalchemy.engine import make_url

    whole = make_url(url)
    line, schema = Line(whole.port or 5432), f"t{uuid4().hex[:12]}"
    through = whole.set(host="127.0.0.1", port=line.port).render_as_string(hide_password=False)
    repo = create(tmp_path / "repo", db=through, namespace=schema)
    assert ingest(repo, [small.path.parent / "raws"]).ok
    assert carry(repo, plan(repo, "calibs")).ok
    yield repo, line
    line.server.close()
    drop(url, [schema])


@pytest.mark.slow
def test_a_server_that_is_away_for_half_a_minute(behind_a_line: tuple[Repository, Line], small: Night) -> None:
    repo, line = behind_a_line
    client = start("run", "isr", "--repo", repo.path, "--json")
    assert wait_for(lambda: files_so_far(repo.path) > 0, client)
    line.cut()
    time.sleep(30)
    line.open = True
    code, out, err = end(client)
    assert code == 0, err
    assert json.loads(out)["summary"]["states"]["done"] == small.number
    repo.close()
    small.same(repo.path, calibrated_apart=True)


MOUNT = 'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && shift && exec "$@"'


def test_a_repository_that_cannot_be_written(place: Path, small: Night) -> None:
    tried = shutil.which("unshare") and subprocess.run(["unshare", "-rm", "true"], capture_output=True)
    if not tried or tried.returncode:
        pytest.skip("needs unshare, to mount a folder for reading only")

    def there(*call: object) -> subprocess.CompletedProcess[str]:
        words = [sys.executable, "-m", "fullwell.cli", *map(str, call), "--repo", str(place)]
        return subprocess.run(
            ["unshare", "-rm", "sh", "-c", MOUNT, "sh", str(place), *words], capture_output=True, text=True,
            env={**os.environ, "FULLWELL_USER": USER}, timeout=300,
        )  # fmt: skip

    planned = there("plan", "isr")
    assert planned.returncode == 0 and "isr" in planned.stdout, planned.stderr
    ran = there("run", "isr")
    assert ran.returncode == 2 and "readonly database" in ran.stderr and "try:" in ran.stderr, ran.stderr
    assert "Traceback" not in ran.stderr
    assert go("run", "isr", "--repo", place)[0] == 0
    small.same(place)


def test_files_removed_behind_the_back_of_the_index(place: Path, small: Night) -> None:
    """A raw and a calibration that are gone fail what needs them, by name; put back, the run is resumed."""
    raw = next((small.path.parent / "raws").glob("science_*_0.fits"))
    lost = [raw, next(place.rglob("bias_ninecam_2.fits"))]
    for path in lost:
        path.rename(path.with_suffix(".aside"))
    try:
        code, out, err = go("run", "isr", "--repo", place, "--json")
    finally:
        for path in lost:
            path.with_suffix(".aside").rename(path)
    summary: dict[str, Any] = json.loads(out)["summary"]
    assert code == 1 and summary["states"]["failed"] == 5 and summary["states"]["done"] == 7
    assert {f["where"] for f in summary["failures"]} == {str(p) for p in lost}
    assert all("there is no such file" in f["error"] for f in summary["failures"]) and "Traceback" not in err
    assert go("resume", "--repo", place)[0] == 0
    small.same(place)
