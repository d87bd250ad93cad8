"""Raw frames into a repository: headers to data ids and records, all entered in one transaction.

Entering the same files again changes nothing. Two different files for one data id are a clash, which is an error; the
rest is entered all the same.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from fullwell.base.errors import FileError, FullwellError, UsageError
from fullwell.base.progress import progress
from fullwell.repo.dimensions import Identity, Records, check_same, identity
from fullwell.repo.layout import file_uri, raw_run
from fullwell.repo.marks import marks, remember
from fullwell.repo.raws import observations

if TYPE_CHECKING:
    from fullwell.instruments import CameraOptions, Instrument
    from fullwell.repo.repository import Repository

__all__ = ["TRANSFERS", "Ingested", "enter_raws", "ingest", "look", "raw_ref"]

TRANSFERS = {"direct": "split", "link": "symlink", "copy": "copy", "move": "move"}
"""How a file comes in: stays where it is (below the root of the files by a relative path, so that both can be moved
together), by a symbolic link, copied, moved."""

SUFFIXES = (".fits", ".fit", ".fts", ".fits.gz", ".fit.gz", ".fts.gz", ".fits.fz", ".png", ".tif", ".tiff")

PROCESSED = "FW616"
"""Code of the error of a file that is no raw frame; in a folder such files are passed over."""


@dataclass
class Ingested:
    """What became of each file.

    Parameters
    ----------
    entered : file -> data ids, now in the repository; known : files that were there already.
    failed : file -> error (unreadable, no detector told, a clash); notes : sentences for people.
    """

    entered: dict[Path, list[Identity]] = field(default_factory=dict)
    known: dict[Path, list[Identity]] = field(default_factory=dict)
    failed: dict[Path, FullwellError] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether no file failed."""
        return not self.failed

    def to_dict(self) -> dict[str, Any]:
        """The result as JSON types."""
        return {
            "entered": {str(p): [i.data_id for i in ids] for p, ids in self.entered.items()},
            "known": [str(p) for p in self.known],
            "failed": {str(p): str(e) for p, e in self.failed.items()},
            "notes": self.notes,
        }


def frames_below(places: Iterable[str | os.PathLike[str]]) -> list[Path]:
    """The files named, and those in the folders named (and below), by their suffixes; hidden ones are passed over.

    Raises
    ------
    FileError
        a place does not exist, or there are no such files.
    """
    out: list[Path] = []
    places = list(places)
    for place in map(Path, places):
        if place.is_dir():
            found = (p for p in place.rglob("*") if p.name.lower().endswith(SUFFIXES))
            out += sorted(p for p in found if not any(part.startswith(".") for part in p.relative_to(place).parts))
        elif place.exists():
            out.append(place)
        else:
            raise FileError("there is no such file or folder", where=str(place), remedy="check the name")
    if not out:
        raise FileError(
            "there are no raw files there",
            where=", ".join(map(str, places)),
            remedy=f"their names end in {', '.join(SUFFIXES)}",
        )
    return list(dict.fromkeys(out))


def look(path: Path, instrument: Instrument | None = None, options: CameraOptions | None = None) -> list[Identity]:
    """The raw frames that a file holds, one for each detector.

    Raises
    ------
    FullwellError
        the file cannot be read, or does not say which detector it is of.
    """
    from fullwell import instruments, io

    headers = io.read_headers(path)
    if not headers.images:
        raise FileError("the file holds no image", where=str(path), remedy="leave it out", code="FW103")
    if any(hdu.name == "VARIANCE" for hdu in headers) or "FWSCHEMA" in headers.primary:
        raise FileError(
            "this is no raw frame: it is processed already, or a calibration",
            where=str(path),
            remedy="leave it out; a calibration is entered with fullwell repo certify",
            code=PROCESSED,
        )
    camera = instrument or instruments.identify(headers)
    return [identity(one) for one in observations(headers, camera)]


def ingest(
    repo: Repository,
    places: Sequence[str | os.PathLike[str]],
    *,
    transfer: str = "direct",
    instrument: Instrument | None = None,
    jobs: int = 4,
    fail_fast: bool = False,
    dry_run: bool = False,
) -> Ingested:
    """Enter raw frames.

    Parameters
    ----------
    places : files, or folders searched for them.
    transfer : one of `TRANSFERS`.
    instrument : by whose rules all headers are read; None: told from each file.
    jobs : headers read at a time. fail_fast : stop at the first file that fails, and enter nothing.
    dry_run : say what would be entered, and enter nothing.

    Raises
    ------
    UsageError
        an unknown way of transfer. FileError: the database or the folder cannot be written; nothing is entered then.
    """
    if transfer not in TRANSFERS:
        raise UsageError(f"transfer '{transfer}' is unknown", remedy=f"one of {', '.join(TRANSFERS)}")
    paths = [Path(os.path.abspath(p)) for p in frames_below(places)]
    result = Ingested()
    seen: dict[Path, list[Identity]] = {}
    named, processed = {Path(os.path.abspath(p)) for p in places}, []

    def work(path: Path) -> list[Identity] | FullwellError:
        try:
            return look(path, instrument)
        except FullwellError as error:
            return error

    with ThreadPoolExecutor(max(jobs, 1)) as pool:
        for path, found in zip(paths, progress(pool.map(work, paths), "headers", len(paths)), strict=True):
            if isinstance(found, FullwellError) and found.code == PROCESSED and path not in named:
                processed.append(path)
            elif isinstance(found, FullwellError):
                if fail_fast:
                    raise found
                result.failed[path] = found
            else:
                seen[path] = found
    enter_raws(repo, seen, transfer, result, fail_fast, dry_run)
    if processed:
        result.notes.append(
            f"{len(processed)} files are processed frames or calibrations, and were left out (the first: "
            f"{processed[0]})"
        )
    undated = [p for p, ids in result.entered.items() if not all(i.dated for i in ids)]
    if undated:
        result.notes.append(
            f"{len(undated)} files have no date (the first: {undated[0].name}): they are entered as of 1970-01-01, so "
            "that only calibrations without a begin of validity are found for them"
        )
    return result


def enter_raws(
    repo: Repository,
    seen: Mapping[Path, list[Identity]],
    transfer: str,
    result: Ingested,
    fail_fast: bool = False,
    dry_run: bool = False,
) -> None:
    """Enter files whose headers were read already; `result` tells what became of each (`dry_run`: would become).

    Raises
    ------
    FileError
        the database or the folder cannot be written. With `fail_fast`, the first clash.
    """
    from lsst.daf.butler.registry import ConflictingDefinitionError
    from sqlalchemy.exc import IntegrityError

    from fullwell.repo.repository import speaking

    for left in (2, 1, 0):
        fresh, failed, known = _sorted_out(repo, seen, transfer, fail_fast)
        try:
            with speaking(str(repo.path)):
                if fresh and not dry_run:
                    _insert(repo, fresh, transfer)
            break
        except FullwellError as error:
            if not (left and isinstance(error.__cause__, (ConflictingDefinitionError, IntegrityError))):
                raise
    if fresh and not dry_run:
        _mark(repo, fresh, result)
    result.entered.update(fresh)
    result.failed.update(failed)
    result.known.update(known)


def _ids(repo: Repository, found: Seen) -> dict[Path, list[str]]:
    """File -> ids of its frames."""
    kind = repo.butler.get_dataset_type("raw")
    return {path: [str(raw_ref(repo.butler, kind, one).id) for one in ids] for path, ids in found.items()}


def _mark(repo: Repository, fresh: Seen, result: Ingested) -> None:
    """Keep what the files that were entered are like, where they lie now."""
    from fullwell.repo.lookup import files_of

    idents = _ids(repo, fresh)
    refs = repo.butler.get_many_datasets([UUID(i) for ids in idents.values() for i in ids])
    places = {str(ref.id): path for ref, path in files_of(repo, refs)}
    try:
        remember(repo, {places[ids[0]]: ids for ids in idents.values() if ids and ids[0] in places})
    except OSError as error:
        result.notes.append(
            f"the files are entered, but what they are like could not be written down ({error.strerror or error}): "
            "whether another one takes the place of one of them is not noticed"
        )


def _check_marks(repo: Repository, known: Seen, failed: dict[Path, FullwellError], fail_fast: bool) -> None:
    """Of the files that are known already, those that another one has replaced since fail."""
    there = marks(repo) if known else {}
    for path, ids in _ids(repo, known).items():
        if any(i in there and there[i].differs(path) for i in ids):
            failed[path] = UsageError(
                "this is not the file that was entered under this name: it was replaced since",
                where=str(path),
                remedy="put the first one back; if this one is right, take the frame out of the repository (the "
                "library's command butler prune-datasets) and enter it",
                code="FW611",
            )
            if fail_fast:
                raise failed[path]
            del known[path]


Seen = dict[Path, list[Identity]]


def _sorted_out(
    repo: Repository, seen: Mapping[Path, list[Identity]], transfer: str, fail_fast: bool
) -> tuple[Seen, dict[Path, FullwellError], Seen]:
    """The files that are new, those that clash with others, and those that the repository knows."""
    have = _have(repo, sorted({i.instrument for ids in seen.values() for i in ids}))
    taken: dict[tuple[Any, ...], Path] = {}
    fresh: Seen = {}
    known: Seen = {}
    failed: dict[Path, FullwellError] = {}
    for path, ids in seen.items():
        try:
            state = _state(path, ids, have, taken)
            if state == "new" and transfer == "direct":
                _check_name(repo, path)
        except FullwellError as error:
            if fail_fast:
                raise
            failed[path] = error
            continue
        if state == "known":
            known[path] = ids
        else:
            fresh[path] = ids
            taken.update({_key(i): path for i in ids})
            have.named.update({(i.instrument, i.obs_id): (i.exposure, path) for i in ids})
    _check_marks(repo, known, failed, fail_fast)
    return fresh, failed, known


def _check_name(repo: Repository, path: Path) -> None:
    """A file below the root is kept by a relative path, in which the library cannot keep every name."""
    if path.is_relative_to(repo.root) and re.search("#|%[0-9A-Fa-f]{2}", str(path.relative_to(repo.root))):
        raise UsageError(
            "the index cannot keep a name with '#' or '%' of a file below its own folder",
            where=str(path),
            remedy="rename it, or enter it with --transfer copy",
            code="FW615",
        )


def _insert(repo: Repository, fresh: Seen, transfer: str) -> None:
    """Records and datasets of files in one transaction; it fails where another process was quicker with one of them."""
    from lsst.daf.butler import FileDataset

    records = Records()
    for ids in fresh.values():
        for one in ids:
            records.add_raw(one)
    butler = repo.butler
    with butler.transaction():
        records.insert(butler)
        for name in sorted({i.instrument for ids in fresh.values() for i in ids}):
            repo.prepare(name)
        kind = butler.get_dataset_type("raw")
        datasets = [
            FileDataset(file_uri(path), [raw_ref(butler, kind, one) for one in ids]) for path, ids in fresh.items()
        ]
        butler.ingest(*datasets, transfer=TRANSFERS[transfer], record_validation_info=True)


def raw_ref(butler: Any, kind: Any, one: Identity) -> Any:
    """The reference of a raw frame; its id follows from data id and run, so that it is the same at every site."""
    from lsst.daf.butler import DataCoordinate, DatasetIdGenEnum, DatasetRef

    data_id = DataCoordinate.standardize(one.data_id, universe=butler.dimensions, dimensions=kind.dimensions)
    return DatasetRef(kind, data_id, run=raw_run(one.instrument), id_generation_mode=DatasetIdGenEnum.DATAID_TYPE_RUN)


def _key(one: Identity) -> tuple[Any, ...]:
    return one.instrument, one.exposure, one.detector


@dataclass
class _Have:
    """What is in the repository: raw data ids with their files, exposure records, names of detectors; of exposures that
    are not in it the first frame; the exposure that has a name, and its first file."""

    files: dict[tuple[Any, ...], Path] = field(default_factory=dict)
    exposures: dict[tuple[str, int], Any] = field(default_factory=dict)
    detectors: dict[tuple[str, int], str] = field(default_factory=dict)
    first: dict[tuple[str, int], Identity] = field(default_factory=dict)
    named: dict[tuple[str, str], tuple[int, Path]] = field(default_factory=dict)


def _have(repo: Repository, instruments: Sequence[str]) -> _Have:
    from fullwell.repo.lookup import files_of

    out = _Have()
    for name in sorted(set(instruments) & set(repo.instruments())):
        # before the records: another process may enter frames meanwhile, and a frame never comes without its exposure
        refs = list(repo.butler.query_datasets("raw", raw_run(name), explain=False, limit=None))
        with repo.butler.query() as query:
            for record in query.dimension_records("exposure").where(instrument=name):
                out.exposures[name, record.id] = record
        with repo.butler.query() as query:
            for record in query.dimension_records("detector").where(instrument=name):
                out.detectors[name, record.id] = record.full_name
        for ref, path in files_of(repo, refs):
            number = int(ref.dataId["exposure"])
            out.files[name, number, ref.dataId["detector"]] = path
            out.named.setdefault((name, str(out.exposures[name, number].obs_id)), (number, path))
    return out


def _check_name_of(path: Path, one: Identity, have: _Have) -> None:
    """Refuse an exposure whose name is that of another one; a repository tells them apart by it."""
    other, there = have.named.get((one.instrument, one.obs_id), (one.exposure, path))
    if other != one.exposure:
        raise UsageError(
            f"two exposures of {one.instrument}, {other} and {one.exposure}, have one name (OBSID) '{one.obs_id}'",
            where=f"{path} and {there}",
            remedy="correct the header of the wrong one, or keep them in separate repositories",
            code="FW611",
        )


def _state(path: Path, ids: Sequence[Identity], have: _Have, taken: dict[tuple[Any, ...], Path]) -> str:
    """ "known" where each frame of the file is in the repository from this very file; "new" where none is."""
    known = 0
    for one in ids:
        _check_name_of(path, one, have)
        record = have.exposures.get((one.instrument, one.exposure))
        first = have.first.setdefault((one.instrument, one.exposure), one)
        check_same([first] if record is None else [record], one)
        name = have.detectors.setdefault((one.instrument, one.detector), one.detector_name)
        if name != one.detector_name:
            raise UsageError(
                f"detector {one.detector} of {one.instrument} is '{name}', this file says '{one.detector_name}'",
                where=str(path),
                remedy="two detectors have one number: keep them in separate repositories, or correct the headers",
                code="FW611",
            )
        there = have.files.get(_key(one)) or taken.get(_key(one))
        if there is None:
            continue
        if not _same_file(path, there):
            if not there.exists():
                raise UsageError(
                    f"{one} is there already, from a file that is gone",
                    where=f"{path} and {there}",
                    remedy="put it back under that name; fullwell repo check tells what else is gone",
                    code="FW611",
                )
            raise UsageError(
                f"{one} is there already, from another file",
                where=f"{path} and {there}",
                remedy="leave one of them out; if this one is better, remove the other first (the library's command "
                "butler prune-datasets)",
                code="FW611",
            )
        known += 1
    if known not in (0, len(ids)):
        raise UsageError("some detectors of the file are in the repository, others not", where=str(path), code="FW611")
    return "known" if known else "new"


def _same_file(one: Path, other: Path) -> bool:
    """Whether two paths are one file, or two of the same bytes."""
    from fullwell import io

    if os.path.realpath(one) == os.path.realpath(other):
        return True
    try:
        return one.stat().st_size == other.stat().st_size and io.file_digest(one) == io.file_digest(other)
    except OSError:
        return False
