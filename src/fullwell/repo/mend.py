"""Repair of a repository that loses nothing.

A complete product that the index does not know is entered. A file that was moved is followed by the index. Damaged
products, files that killed writers left and other files in the folders of runs go to
``<root>/.fullwell/lost+found/<time>/``, under the path that they had. A dataset whose file is gone stays in the index,
with its certifications, without file: made or entered again, it is there again. Raw frames that are damaged, and files
outside of the root, stay where they are. What is done is written down before, so that `put_back` can undo it.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from fullwell.base.errors import FileError, FullwellError
from fullwell.repo.check import Entry, Finding, Report

if TYPE_CHECKING:
    from fullwell.repo.repository import Repository

__all__ = ["LOST", "mend", "put_back"]

LOST = ".fullwell/lost+found"
REPORT = "report.json"


def mend(repo: Repository, report: Report, entries: Iterable[Entry]) -> None:
    """Put right what a check found; the findings get to say what was done.

    Raises
    ------
    FileError
        the folder ``.fullwell/lost+found``, or the database, cannot be written.
    """
    place = _new_folder(repo.root)
    by_path = {one.path: one for one in entries}
    report.saved = place / REPORT
    taken = [by_path[one.path] for one in report.findings if _leaves_index(one, report.root, by_path)]
    records = _records(repo, taken)
    _save(report, records)
    for number, one in enumerate(report.findings):
        report.findings[number] = replace(one, done=_act(repo, one, by_path.get(one.path), place))
    _save(report, records)


def _leaves_index(one: Finding, root: Path, by_path: Mapping[Path, Entry]) -> bool:
    if one.kind == "missing":
        return not _unmounted(one, root)
    return one.kind == "damaged" and _movable(by_path[one.path], root)


def _unmounted(one: Finding, root: Path) -> bool:
    """Whether a file outside of the root is gone with its whole folder, as when a disk is not mounted."""
    return one.found is None and root not in one.path.parents and not one.path.parent.is_dir()


def _movable(entry: Entry, root: Path) -> bool:
    """Whether a damaged file is one that can be made again, and lies in the repository."""
    return not entry.raw and root in entry.path.parents


def _act(repo: Repository, one: Finding, entry: Entry | None, place: Path) -> str:
    """Do what a finding asks for; gives the sentence about it, "" where nothing could be done."""
    if one.kind == "missing" and entry is not None:
        if _unmounted(one, repo.root):
            return ""
        _forget(repo, entry, one.found)
        return "the index keeps the dataset without a file" if one.found is None else "the index follows the file"
    if one.kind == "damaged" and entry is not None:
        if not _movable(entry, repo.root):
            return ""
        kept = _move(one.path, repo.root, place)
        _forget(repo, entry)
        return f"moved to {kept}; the index keeps the dataset without a file"
    if one.kind == "temporary" and "another machine" in one.problem:
        return ""
    if one.kind == "orphan":
        try:
            _enter_orphan(repo, one)
            return "entered"
        except (FullwellError, LookupError, ValueError) as error:
            reason = error.problem if isinstance(error, FullwellError) else str(error)
            return f"moved to {_move(one.path, repo.root, place)}, because it could not be entered: {reason}"
    return f"moved to {_move(one.path, repo.root, place)}"


def _new_folder(root: Path) -> Path:
    from fullwell import io

    stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    names = (stamp, *(f"{stamp}-{n}" for n in range(2, 1000)))
    place = next(root / LOST / name for name in names if not (root / LOST / name).exists())
    return io.make_folder(place)


def _move(path: Path, root: Path, place: Path) -> Path:
    """Move a file to the lost and found, under the path that it had; gives where it is then."""
    from fullwell.io.atomic import write_error

    target = place / path.relative_to(root)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(path, target)
    except OSError as error:
        raise write_error(error, target) from error
    return target


def _records(repo: Repository, taken: Sequence[Entry]) -> list[dict[str, Any]]:
    """What the index says about the files of datasets that are to be without one."""
    refs = {ref.id: ref for one in taken for ref in one.refs}
    out = []
    for data in repo.butler._datastore.export_records(refs.values()).values():
        for ident, tables in data.records.items():
            ref = refs[ident]
            about = {
                "id": str(ident),
                "dataset_type": ref.datasetType.name,
                "data_id": dict(ref.dataId.required),
                "run": ref.run,
            }
            out += [{**about, **info.to_record(dataset_id=ident)} for infos in tables.values() for info in infos]
    return [{k: v for k, v in one.items() if k != "dataset_id"} for one in out]


def _save(report: Report, records: Sequence[Mapping[str, Any]]) -> None:
    from fullwell import io

    assert report.saved is not None
    with io.atomic_path(report.saved) as temporary:
        content = {**report.to_dict(), "records": list(records)}
        temporary.write_text(json.dumps(content, indent=1, default=str, ensure_ascii=False), encoding="utf-8")


def _forget(repo: Repository, entry: Entry, found: Path | None = None) -> None:
    """Take the record of a file out of the index, or put where it was found; datasets and certifications stay."""
    from lsst.daf.butler import FileDataset

    from fullwell.repo.repository import speaking

    butler = repo.butler
    with speaking(str(repo.path)), butler.transaction():
        butler._datastore.forget(entry.refs)
        if found is not None:
            butler.ingest(FileDataset(str(found), list(entry.refs)), transfer=None, record_validation_info=True)


def _enter_orphan(repo: Repository, one: Finding) -> None:
    from fullwell.repo import calibs

    calibs.enter_files(repo, [calibs.Entry(one.dataset_type, one.data_id, one.run, one.path, UUID(one.ids[0]))])


def put_back(repo: Repository, saved: str | os.PathLike[str]) -> dict[str, int]:
    """Undo a repair as far as it goes: files that were moved go back, records of files that are there are made again.

    Parameters
    ----------
    saved : the ``report.json`` that repair wrote.

    Returns
    -------
    dict
        "moved", "entered": how many; "left": what could not be undone, since its place is taken or its file gone.

    Raises
    ------
    FileError
        the report cannot be read.
    """
    from fullwell.repo.lookup import files_of

    path = Path(saved)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        records, findings = content["records"], content["findings"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FileError(
            f"this is no report of a repair: {error}", where=str(path), remedy=f"it is {LOST}/<time>/{REPORT}"
        ) from error
    done = {"moved": 0, "entered": 0, "left": 0}
    for one in findings:
        before = Path(one["path"])
        kept = path.parent / os.path.relpath(before, content["root"])
        if kept.is_file():
            free = not before.exists()
            done["moved" if free else "left"] += 1
            if free:
                before.parent.mkdir(parents=True, exist_ok=True)
                shutil.move(kept, before)
    refs = {ref.id: ref for ref in repo.butler.get_many_datasets([UUID(one["id"]) for one in records])}
    stored = {ref.id for ref, _ in files_of(repo, refs.values())}
    for one in records:
        ref, there = refs.get(UUID(one["id"])), _place(repo, one["path"])
        if ref is None or ref.id in stored or not there.is_file():
            done["left"] += 1
            continue
        _enter_record(repo, ref, one["path"], there)
        done["entered"] += 1
    return done


def _place(repo: Repository, recorded: str) -> Path:
    from lsst.resources import ResourcePath

    return Path(ResourcePath(recorded, root=str(repo.root), forceAbsolute=True).ospath)


def _enter_record(repo: Repository, ref: Any, recorded: str, there: Path) -> None:
    from lsst.daf.butler import FileDataset

    from fullwell.repo.repository import speaking

    outside = repo.root not in there.parents
    with speaking(str(repo.path)), repo.butler.transaction():
        given = recorded if outside else str(there)
        repo.butler.ingest(FileDataset(given, [ref]), transfer="direct" if outside else None)
