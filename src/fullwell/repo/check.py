"""The files of a repository against its index, both ways.

Each dataset has its file, of the size that was recorded, whole, and carrying the id that the index has. In the
folders of the runs lies nothing that the index does not know. What differs is a finding; `fullwell.repo.mend` puts
right what can be put right without losing anything.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fullwell.base.errors import FullwellError, UsageError
from fullwell.base.progress import progress
from fullwell.repo.marks import Mark, marks
from fullwell.repo.provenance import Origin, plain_id, read_origin

if TYPE_CHECKING:
    from lsst.daf.butler import DatasetRef

    from fullwell.repo.repository import Repository

__all__ = ["Entry", "Finding", "Report", "check"]

KINDS = {
    "missing": "datasets without their file",
    "damaged": "damaged files",
    "orphan": "complete products that the index does not know",
    "temporary": "files that a killed writer left",
    "foreign": "other files in the folders of the runs",
}
_WHOLE = (".fits", ".fit", ".fts", ".fits.gz", ".fits.fz", ".ecsv", ".json")


@dataclass(frozen=True)
class Entry:
    """A file as the index has it.

    Parameters
    ----------
    path : of the file. refs : the datasets in it. size : as recorded [byte], -1 where none is.
    mark : what a raw file was like when it was entered, where that is known.
    """

    path: Path
    refs: tuple[DatasetRef, ...]
    size: int = -1
    mark: Mark | None = None

    @property
    def raw(self) -> bool:
        """Whether it is a file of the camera."""
        return self.refs[0].datasetType.name == "raw"


@dataclass(frozen=True)
class Finding:
    """Something that is not as it should be.

    Parameters
    ----------
    kind : one of "missing", "damaged", "orphan", "temporary", "foreign".
    path : of the file. problem : sentence.
    dataset_type, data_id, run, ids : of what the index, or the file, says that it is.
    found : where a file that is missing lies now. done : what repair did; "" nothing.
    """

    kind: str
    path: Path
    problem: str
    dataset_type: str = ""
    data_id: Mapping[str, Any] = field(default_factory=dict)
    run: str = ""
    ids: tuple[str, ...] = ()
    found: Path | None = None
    done: str = ""

    def to_dict(self) -> dict[str, Any]:
        """JSON types only."""
        found = None if self.found is None else str(self.found)
        return {**vars(self), "path": str(self.path), "data_id": dict(self.data_id), "ids": [*self.ids], "found": found}


@dataclass
class Report:
    """What a check found.

    Parameters
    ----------
    root : folder of the files. deep : whether they were read in full.
    datasets, files, size : in the index, and of the files that are there [byte].
    unstored : datasets that the index knows without a file: what an earlier repair took out.
    elsewhere : files on other machines, which were not looked at.
    findings : what is wrong. saved : where repair wrote this report; None without repair.
    """

    root: Path
    deep: bool = True
    datasets: int = 0
    files: int = 0
    size: int = 0
    unstored: int = 0
    elsewhere: int = 0
    findings: list[Finding] = field(default_factory=list)
    saved: Path | None = None

    @property
    def ok(self) -> bool:
        """Whether all is as it should be, or was put right."""
        return all(one.done for one in self.findings)

    @property
    def counts(self) -> dict[str, int]:
        """Kind -> how many findings."""
        return dict(Counter(one.kind for one in self.findings))

    def to_dict(self) -> dict[str, Any]:
        """JSON types only."""
        plain = {k: v for k, v in vars(self).items() if k not in ("findings", "root", "saved")}
        saved = None if self.saved is None else str(self.saved)
        found = [one.to_dict() for one in self.findings]
        return {
            "root": str(self.root),
            **plain,
            "ok": self.ok,
            "counts": self.counts,
            "findings": found,
            "saved": saved,
        }

    def text(self) -> str:
        """For people."""
        depth = "read in full" if self.deep else "sizes and ids only"
        lines = [f"{self.root}: {self.datasets} datasets in {self.files} files, {self.size / 1e6:.1f} MB, {depth}"]
        if self.unstored:
            lines.append(f"{self.unstored} datasets are known without a file")
        if self.elsewhere:
            lines.append(f"{self.elsewhere} files are on other machines and were not looked at")
        for kind, title in KINDS.items():
            some = [one for one in self.findings if one.kind == kind]
            if some:
                lines.append(f"{title}: {len(some)}")
                lines += [line for one in some for line in self._lines(one)]
        if not self.findings:
            lines.append("nothing is wrong")
        if self.saved is not None:
            lines.append(f"what was done stands in {self.saved}")
        return "\n".join(lines)

    def _lines(self, one: Finding) -> Iterator[str]:
        where = ", ".join(f"{k} {v}" for k, v in one.data_id.items())
        yield f"  {_below(one.path, self.root)}" + (f" ({one.dataset_type}: {where})" if one.dataset_type else "")
        yield f"    {one.problem}" + (f"; it lies at {_below(one.found, self.root)}" if one.found else "")
        if one.done:
            yield f"    -> {one.done}"


def _below(path: Path, root: Path) -> str:
    return str(path.relative_to(root)) if root in path.parents else str(path)


def check(repo: Repository, *, deep: bool = True, repair: bool = False, jobs: int = 4) -> Report:
    """Compare files and index.

    Parameters
    ----------
    deep : whether files are read in full: checksums of FITS, digests of tables. Else sizes and ids only.
    repair : put right what can be without losing anything, see `fullwell.repo.mend`. Nothing is ever deleted.
    jobs : files read at a time.

    Raises
    ------
    UsageError
        repair of a repository that is open for reading only, or cannot be written.
    """
    root = repo.root
    if repair and not (repo.writeable and os.access(root, os.W_OK) and os.access(repo.path, os.W_OK)):
        raise UsageError(
            "a repository that is open for reading only, or cannot be written, cannot be repaired",
            where=str(repo.path),
            remedy="check it without repair, or let its owner do it",
        )
    report = Report(root, deep)
    entries, runs = _entries(repo, report), _runs(repo)
    with ThreadPoolExecutor(max(jobs, 1)) as pool:
        looks = pool.map(lambda one: _look(one, deep), entries)
        seen = list(progress(looks, "files", len(entries)))
        report.findings = [one for one in seen if isinstance(one, Finding)]
        report.size = sum(one for one in seen if isinstance(one, int))
        missing = [one for one in report.findings if one.kind == "missing"]
        strays = _strays(root, runs, entries)
        claimed = _find_again(entries, missing, strays, root)
        report.findings = [replace(one, found=claimed.get(one.path)) for one in report.findings]
        known = {str(ref.id): one.path for one in entries for ref in one.refs}
        gone = {one.path for one in missing}
        rest = sorted(set(strays) - set(claimed.values()))
        judged = pool.map(lambda path: _judge(path, strays[path], known, gone, runs), rest)
        report.findings += [one for one in judged if one is not None]
    if repair and report.findings:
        from fullwell.repo.mend import mend

        mend(repo, report, entries)
    return report


def _entries(repo: Repository, report: Report) -> list[Entry]:
    """All files of the index on this machine."""
    from fullwell.repo.repository import speaking

    butler = repo.butler
    with speaking(str(repo.path)):
        found = butler.query_all_datasets("*", find_first=False, limit=None)
        refs = {ref.id: ref for ref in found}
        uris = butler.get_many_uris(list(refs.values()), allow_missing=True)
        sizes = {
            ident: int(getattr(info, "file_size", -1))
            for data in butler._datastore.export_records(refs.values()).values()
            for ident, tables in data.records.items()
            for infos in tables.values()
            for info in infos
        }
    files: dict[Path, list[DatasetRef]] = defaultdict(list)
    for ref, parts in uris.items():
        places = [parts.primaryURI] if parts.primaryURI is not None else list(parts.componentURIs.values())
        for uri in places:
            if uri.isLocal:
                files[Path(os.path.normpath(uri.ospath))].append(ref)
            else:
                report.elsewhere += 1
    stored = {ref.id for some in files.values() for ref in some}
    report.datasets, report.files = len(refs), len(files)
    report.unstored = len(refs) - len(stored) - report.elsewhere
    known = marks(repo)
    return [
        Entry(path, tuple(some), sizes.get(some[0].id) or -1, known.get(str(some[0].id)))
        for path, some in sorted(files.items())
    ]


def _finding(kind: str, entry: Entry, problem: str) -> Finding:
    ref = entry.refs[0]
    ids = tuple(str(one.id) for one in entry.refs)
    return Finding(kind, entry.path, problem, ref.datasetType.name, dict(ref.dataId.required), ref.run, ids)


def _look(entry: Entry, deep: bool) -> Finding | int:
    """What is wrong with a file of the index, or its size [byte]."""
    from fullwell.io.identity import embedded_id, same_id
    from fullwell.io.verify import faults

    try:
        size = entry.path.stat().st_size
    except FileNotFoundError:
        return _finding("missing", entry, "the file is gone")
    except OSError as error:
        return _finding("damaged", entry, f"the file cannot be read: {error.strerror}")
    if entry.size >= 0 and size != entry.size:
        return _finding("damaged", entry, f"the file has {size} bytes, it had {entry.size} when it was entered")
    try:
        ident = "" if entry.raw or len(entry.refs) > 1 else embedded_id(entry.path)
        if ident and not same_id(ident, str(entry.refs[0].id)):
            return _finding("damaged", entry, f"the file is another dataset: it carries the id {ident}")
        wrong = faults(entry.path, headers=not entry.raw) if deep else []
    except (OSError, EOFError) as error:
        return _finding("damaged", entry, f"the file cannot be read: {getattr(error, 'strerror', None) or error}")
    if wrong:
        return _finding("damaged", entry, _first(wrong))
    if entry.mark is not None and entry.mark.differs(entry.path, deep=deep):
        return _finding("damaged", entry, "another file has taken its place since it was entered")
    return size


def _first(problems: list[str]) -> str:
    return problems[0] + (f"; and {len(problems) - 1} more HDUs" if len(problems) > 1 else "")


def _runs(repo: Repository) -> frozenset[str]:
    from lsst.daf.butler import CollectionType

    from fullwell.repo.repository import speaking

    with speaking(str(repo.path)):
        return frozenset(repo.butler.collections.query("*", collection_types=CollectionType.RUN))


def _walk(top: Path) -> Iterator[Path]:
    """The files in a folder and below, without other repositories and hidden files other than our temporary ones."""
    from fullwell.io.atomic import unfinished

    for place, folders, names in os.walk(top):
        folders[:] = sorted(one for one in folders if not one.startswith("."))
        if "butler.yaml" in names and Path(place) != top:
            folders[:] = []
            continue
        yield from (Path(place, name) for name in sorted(names) if not name.startswith(".") or unfinished(name))


def _strays(root: Path, runs: Iterable[str], entries: Iterable[Entry]) -> dict[Path, Origin]:
    """Files in the folders of the runs that the index does not know, with what they say about themselves."""
    known = {one.path for one in entries}
    paths = {path for run in runs for path in _walk(root / run) if path not in known}
    return {path: _origin(path) for path in sorted(paths)}


def _origin(path: Path) -> Origin:
    try:
        origin = read_origin(path)
    except FullwellError:
        return Origin()
    return replace(origin, id=plain_id(origin.id))


def _find_again(
    entries: Iterable[Entry], missing: list[Finding], strays: Mapping[Path, Origin], root: Path
) -> dict[Path, Path]:
    """Where the files that are gone lie now, below the root: by the id that they carry, raw frames by their header."""
    if not missing:
        return {}
    known = {one.path for one in entries}
    others = {path: strays.get(path) or _origin(path) for path in _walk(root) if path not in known}
    by_id = {origin.id: path for path, origin in others.items() if origin.id}
    found = {}
    for one in missing:
        path = next((by_id[ident] for ident in one.ids if ident in by_id), None)
        if path is not None and not _wrong(path, one.dataset_type):
            found[one.path] = path
    wanted = {_data_key(one.data_id): one for one in missing if one.dataset_type == "raw"}
    if wanted:
        for path in [p for p, origin in others.items() if not origin.id and p.name.lower().endswith(_WHOLE)]:
            for key in _raw_keys(path):
                if key in wanted and not _wrong(path, "raw"):
                    found.setdefault(wanted[key].path, path)
    return found


def _data_key(data_id: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(data_id.get(key) for key in ("instrument", "exposure", "detector"))


def _raw_keys(path: Path) -> list[tuple[Any, ...]]:
    from fullwell.repo.ingest import look

    try:
        return [_data_key(one.data_id) for one in look(path)]
    except FullwellError:
        return []


def _wrong(path: Path, kind: str) -> str:
    """What is wrong with a file that is to be entered; "" nothing."""
    from fullwell.io.verify import faults

    try:
        found = faults(path, headers=kind != "raw")
    except OSError as error:
        return f"it cannot be read: {error.strerror}"
    return _first(found) if found else ""


def _judge(
    path: Path, origin: Origin, known: Mapping[str, Path], gone: set[Path], runs: frozenset[str]
) -> Finding | None:
    """What a file that the index does not know is; None for one that is being written."""
    from fullwell.io.atomic import unfinished

    state = unfinished(path.name)
    if state == "writing":
        return None
    if state:
        whose = "a process of this machine that is no more" if state == "left" else "another machine"
        return Finding("temporary", path, f"temporary file of {whose}")
    if not origin.id:
        return Finding("foreign", path, "it carries no id of a dataset")
    told = (origin.dataset_type, dict(origin.data_id), origin.run, (origin.id,))
    there = known.get(origin.id)
    if there is not None and there not in gone:
        return Finding("foreign", path, f"it is another copy of the dataset in {there}", *told)
    if wrong := _wrong(path, origin.dataset_type):
        return Finding("foreign", path, f"it is not whole: {wrong}", *told)
    if origin.run not in runs:
        return Finding("foreign", path, f"its run '{origin.run}' is not in the index", *told)
    return Finding("orphan", path, "the index does not know it", *told)
