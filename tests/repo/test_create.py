"""Making and opening repositories: what is there, what is refused, what is left behind."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from repos import CAMERA, Make, fresh

import fullwell as fw
from fullwell.base.errors import FileError, UsageError
from fullwell.repo.ingest import ingest
from fullwell.repo.layout import DATASETS, FOLDER_REPO
from fullwell.repo.repository import create


def test_a_new_repository_has_its_types_and_no_more(make: Make) -> None:
    repo = make()
    assert {t.name for t in repo.butler.registry.queryDatasetTypes()} == set(DATASETS)
    assert repo.instruments() == []
    assert list(repo.butler.collections.query("*")) == []
    assert repo.root == repo.path


def test_one_that_is_there_is_kept(make: Make, tmp_path: Path) -> None:
    make(tmp_path / "repo")
    before = (tmp_path / "repo" / "butler.yaml").read_text()
    with pytest.raises(UsageError, match="there is a repository already"):
        create(tmp_path / "repo")
    assert (tmp_path / "repo" / "butler.yaml").read_text() == before


def test_a_folder_with_files_of_its_own_keeps_them(make: Make, tmp_path: Path) -> None:
    for name in ("plain", "with.dot"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "notes.txt").write_text("kept")
        repo = make(tmp_path / name)
        assert (tmp_path / name / "notes.txt").read_text() == "kept"
        assert repo.config == tmp_path / name / "butler.yaml"


@pytest.mark.parametrize("there", [False, True])
def test_of_two_that_make_it_at_once_one_has_made_it(
    tmp_path: Path, there: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that comes second takes nothing away from the first."""
    from lsst.daf.butler import Butler

    place, really = tmp_path / "re po", Butler.makeRepo
    if there:
        place.mkdir()

    def first(*args: object, **more: object) -> object:
        monkeypatch.setattr(Butler, "makeRepo", really)
        done = really(*args, **more)  # type: ignore[arg-type]
        thread = threading.Thread(target=lambda: create(place).close())
        thread.start()
        thread.join()
        return done

    monkeypatch.setattr(Butler, "makeRepo", first)
    with pytest.raises(UsageError, match="there is a repository already"):
        create(place)
    with fw.open_repo(place) as repo:
        assert {t.name for t in repo.butler.registry.queryDatasetTypes()} == set(DATASETS)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["re po"]
    assert sorted(p.name for p in place.iterdir()) == ["butler.yaml", "gen3.sqlite3"]


@pytest.mark.parametrize("how", ["gone", "empty", "cut", "no database", "no yaml"])
def test_a_damaged_index_is_told_and_left_as_it_is(tmp_path: Path, how: str) -> None:
    create(tmp_path / "repo").close()
    database, config = tmp_path / "repo" / "gen3.sqlite3", tmp_path / "repo" / "butler.yaml"
    if how == "gone":
        database.unlink()
    elif how == "no yaml":
        config.write_text("{a: [")
    else:
        database.write_bytes({"empty": b"", "cut": database.read_bytes()[:8192], "no database": b"text" * 2000}[how])
    before = database.read_bytes() if database.exists() else None
    for writeable, trust in ((False, False), (True, False), (True, True)):
        with pytest.raises(FileError, match="the index of the repository is damaged") as error:
            fw.open_repo(tmp_path / "repo", writeable=writeable, trust=trust)
        assert error.value.code == "FW186" and "make a repository anew" in str(error.value.remedy)
        assert (database.read_bytes() if database.exists() else None) == before


def test_where_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(FileError) as error:
        fw.open_repo(tmp_path)
    assert error.value.code == "FW180"
    assert f"fullwell repo create {tmp_path}" in str(error.value.remedy)


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError) as error:
        create(tmp_path / "file" / "repo")
    assert str(tmp_path / "file") in str(error.value)


def test_before_anything_is_entered(make: Make) -> None:
    with pytest.raises(LookupError, match="nothing was entered yet") as error:
        make().get("raw", instrument=CAMERA, exposure=1, detector=0)
    assert "fullwell repo ingest" in str(error.value)


def test_public_names_open_and_create(night: Path, tmp_path: Path) -> None:
    with fw.create_repo(tmp_path / "repo") as repo:
        assert isinstance(repo, fw.Repository)
        ingest(repo, [night])
    with fw.open_repo(tmp_path / "repo") as again:
        assert again.instruments() == [CAMERA]
        assert repr(again) == f"Repository('{tmp_path / 'repo'}', instruments=['{CAMERA}'])"
        with pytest.raises(Exception, match=r"read-only|writeable|not writeable|readonly"):
            again.butler.collections.register("x")


def test_a_folder_in_place_opens_by_its_own_name(night: Path, tmp_path: Path) -> None:
    folder = tmp_path / "2024.11.08"
    repo = create(folder / FOLDER_REPO, files=folder)
    assert fw.open_repo(folder).path == repo.path == folder / FOLDER_REPO
    assert fw.open_repo(folder / FOLDER_REPO / "butler.yaml").root == folder


def test_help_loads_no_butler() -> None:
    code = """
from fullwell.cli.main import main
main(["repo", "--help"]); main(["repo", "ingest", "--help"])
print([m for m in sys.modules if m.startswith("lsst")])
import fullwell
fullwell.open_repo, fullwell.create_repo
"""
    assert fresh(code).stdout.rstrip().endswith("[]")


def test_the_library_speaks_in_one_line(make: Make, night: Path) -> None:
    repo = make()
    ingest(repo, [night])
    from fullwell.repo import listing

    for where, wanted in {
        "exposure.foo = 3": "Unrecognized field 'foo'",
        "exposure = ": "Failed to parse expression",
        "filter = 'g'": "Unrecognized identifier 'filter'",
    }.items():
        with pytest.raises(UsageError) as error:
            listing.exposures(repo, where)
        assert error.value.code == "FW182"
        assert wanted in error.value.problem
        assert "\n" not in error.value.problem
        assert where in str(error.value.where)


MOUNT = 'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && shift && exec "$@"'


def on_a_read_only_mount(folder: Path, *words: object) -> subprocess.CompletedProcess[str]:
    """Run ``fullwell repo …`` where `folder` cannot be written."""
    call = [sys.executable, "-m", "fullwell.cli", "repo", *map(str, words)]
    return subprocess.run(
        ["unshare", "-rm", "sh", "-c", MOUNT, "sh", str(folder), *call], capture_output=True, text=True, timeout=300
    )


@pytest.mark.slow
def test_a_read_only_mount_is_read_and_said_to_be_so(night: Path, tmp_path: Path) -> None:
    tried = shutil.which("unshare") and subprocess.run(["unshare", "-rm", "true"], capture_output=True)
    if not tried or tried.returncode:
        pytest.skip("needs unshare, to mount a folder for reading only")
    repo = create(tmp_path / "repo")
    ingest(repo, [night / "bias_0001.fits"], transfer="copy")
    repo.close()
    before = {p: p.stat().st_mtime_ns for p in repo.path.rglob("*")}
    listed = on_a_read_only_mount(repo.path, "ls", "datasets", "--repo", repo.path)
    assert (listed.returncode, listed.stdout.count("raw_simulated")) == (0, 1), listed.stderr
    assert on_a_read_only_mount(repo.path, "check", "--repo", repo.path).returncode == 0
    refused = on_a_read_only_mount(repo.path, "ingest", night, "--repo", repo.path)
    assert refused.returncode == 2
    assert refused.stderr.startswith("FW181: the database does not answer or cannot be written")
    assert "readonly database" in refused.stderr
    assert {p: p.stat().st_mtime_ns for p in repo.path.rglob("*")} == before


@pytest.mark.parametrize("name", ["x#y", "x%41y"])
def test_a_name_that_the_library_takes_for_another_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="whose name holds '#'") as caught:
        create(tmp_path / name)
    assert caught.value.where == str(tmp_path / name) and not list(tmp_path.iterdir())


def test_a_collection_is_entered_once(make: Make) -> None:
    repo = make()
    before = repo.collections()
    assert repo.ensure("mine") and not repo.ensure("mine")
    assert repo.ensure("u/me/chain", "chained") and repo.ensure("cal", "calibration")
    assert repo.collections() - before == {"mine", "u/me/chain", "cal"}
    kinds = {n: repo.butler.collections.get_info(n).type.name for n in ("mine", "u/me/chain", "cal")}
    assert kinds == {"mine": "RUN", "u/me/chain": "CHAINED", "cal": "CALIBRATION"}
