"""Files appear whole or not at all."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fullwell.base.errors import FileError
from fullwell.io import atomic, atomic_path, sweep


def write(path: Path, text: str, **more: bool) -> None:
    with atomic_path(path, **more) as temporary:
        assert temporary.parent == path.parent
        assert temporary.name.startswith(".") and temporary.suffix == path.suffix
        temporary.write_text(text)
        assert not path.exists() or path.read_text() != text


def test_appears_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "a.fits"
    write(path, "one")
    write(path, "two")
    assert [p.name for p in tmp_path.iterdir()] == ["a.fits"]
    assert path.read_text() == "two"


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_nothing_is_left_by_an_error(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "a.txt"
    write(path, "old")
    with pytest.raises(error), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise error
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]
    assert path.read_text() == "old"


def test_existing_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write(path, "old", overwrite=False)
    with pytest.raises(FileError, match="exists") as info:
        write(path, "new", overwrite=False)
    assert info.value.where == str(path)
    with pytest.raises(FileError, match="exists"), atomic_path(tmp_path / "b", overwrite=False) as temporary:
        temporary.write_text("mine")
        (tmp_path / "b").write_text("came in between")
    assert (tmp_path / "b").read_text() == "came in between"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.txt", "b"]


def test_a_link_stays_a_link_and_the_mode_stays(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_text("old")
    real.chmod(0o640)
    link.symlink_to(real)
    write(link, "new")
    assert link.is_symlink()
    assert real.read_text() == "new"
    assert real.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize(
    ("number", "words"),
    [(errno.ENOSPC, "free some space"), (errno.EROFS, "read-only"), (errno.EACCES, "may write to")],
)
def test_a_failing_commit_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, words: str
) -> None:
    path = tmp_path / "a.txt"
    write(path, "old")

    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(atomic, "_commit", fail)
    with pytest.raises(FileError) as info:
        write(path, "new")
    assert words in str(info.value.remedy)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_missing_folder_and_folder_as_file(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="No such file"), atomic_path(tmp_path / "no" / "a") as temporary:
        temporary.write_text("x")
    with pytest.raises(FileError, match="folder"), atomic_path(tmp_path):
        pass


def test_leftovers_of_the_dead_are_swept(tmp_path: Path) -> None:
    """A process that kills itself between write and rename leaves one hidden file; the living keep theirs."""
    code = (
        "import os, signal, sys; from fullwell.io import atomic\n"
        "atomic._commit = lambda *a: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"with atomic.atomic_path({str(tmp_path / 'a.fits')!r}) as t: t.write_text('x')\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    stale = list(tmp_path.iterdir())
    assert len(stale) == 1 and stale[0].name.endswith("-a.fits")
    ours = atomic._temporary(tmp_path / "b.fits")
    ours.write_text("alive")
    other = tmp_path / ".fw-00000000-1-0-c.fits"
    other.write_text("another machine")
    assert sweep(tmp_path) == stale
    assert sorted(tmp_path.iterdir()) == sorted([ours, other])
    assert sweep(tmp_path / "none") == []


def test_two_writers_of_one_name(tmp_path: Path) -> None:
    """Each file that appears is one of them, whole; nothing else is left."""
    path = tmp_path / "a"
    texts = ["a" * 100_000, "b" * 100_000]

    def repeat(text: str) -> None:
        for _ in range(20):
            with atomic_path(path) as temporary:
                temporary.write_text(text)
            assert path.read_text() in texts

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(repeat, texts))
    assert list(tmp_path.iterdir()) == [path]
