"""An exported folder into a repository: what is there stays, what is new comes in, what contradicts is an error.

The library's own import replaces chains, and fails where something is known already; here its reader of
``export.yaml`` is used, less what the repository has.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fullwell.base.errors import FileError, UsageError
from fullwell.repo.ingest import TRANSFERS
from fullwell.repo.repository import speaking

if TYPE_CHECKING:
    from lsst.daf.butler import DatasetRef

    from fullwell.repo.repository import Repository

__all__ = ["EXPORT", "Imported", "import_"]

EXPORT = "export.yaml"
CLASH = "FW611"
_COMPARED = ("physical_filter", "detector", "exposure")


@dataclass
class Imported:
    """What an import brought.

    Parameters
    ----------
    entered : type -> how many datasets are new; known : how many were there already.
    collections : that are new. certified : validities that are new.
    """

    entered: dict[str, int] = field(default_factory=dict)
    known: int = 0
    collections: list[str] = field(default_factory=list)
    certified: int = 0

    def to_dict(self) -> dict[str, Any]:
        """JSON types only."""
        return dict(vars(self))


def import_(repo: Repository, folder: str | os.PathLike[str], transfer: str = "copy") -> Imported:
    """Enter what a folder of an export holds; doing it again changes nothing.

    Parameters
    ----------
    repo : opened for writing. folder : with ``export.yaml``, made by `export` or by the library.
    transfer : how the files come in: "copy", "link", "move", or "direct" (they stay where they are).

    Raises
    ------
    FileError
        no export there, it is damaged, or a file of it is missing; nothing is entered then.
    UsageError
        something of it contradicts the repository: a dataset of another id in the same place, other pixels under the
        same id, another record of an exposure, a validity that overlaps; it names unknown code, and the repository is
        not trusted; the repository is open for reading only. Nothing is entered then.
    """
    if transfer not in TRANSFERS:
        raise UsageError(f"transfer '{transfer}' is unknown", remedy=f"one of {', '.join(TRANSFERS)}")
    if not repo.writeable:
        raise UsageError(
            "the repository is open for reading only", where=str(repo.path), remedy="open it with writeable=True"
        )
    place = Path(os.path.abspath(folder))
    result, butler = Imported(), repo.butler
    with speaking(str(repo.path)), _writing(repo):
        backend = _backend(repo, place)
        _check_files(backend, place)
        _check_records(repo, backend)
        refs = {ref.id: ref for some in backend.datasets.values() for one in some for ref in one.refs}
        _leave_known_datasets(repo, backend, place, result)
        _leave_known_validity(repo, backend, refs, result)
        have, chains = repo.collections(), dict(backend.chains)
        backend.chains = {}
        backend.register()
        with repo.without_defaults(), butler.transaction():
            backend.load(butler._datastore, directory=str(place), transfer=TRANSFERS[transfer])
        _merge_chains(repo, chains)
        for name in sorted({str(ref.dataId["instrument"]) for ref in refs.values() if "instrument" in ref.dataId}):
            repo.prepare(name)
        result.collections = sorted(repo.collections() - have)
    return result


@contextmanager
def _writing(repo: Repository) -> Iterator[None]:
    from fullwell.io.atomic import write_error

    try:
        yield
    except OSError as error:
        if isinstance(error, FileError):
            raise
        raise write_error(error, error.filename or repo.path) from error


def _backend(repo: Repository, place: Path) -> Any:
    """The library's reader of the export, filled; what it names to be imported is looked at first."""
    import yaml
    from lsst.daf.butler.transfers import YamlRepoImportBackend

    path = place / EXPORT
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FileError(
            "this is no folder of an export" if not path.exists() else f"cannot read: {error}",
            where=str(path),
            remedy=f"give the folder that holds {EXPORT}; fullwell repo export makes one",
            code="FW185",
        ) from error
    try:
        if not repo.trust:
            _check_names(text, path)
        with open(path, encoding="utf-8") as stream:
            return YamlRepoImportBackend(stream, repo.butler)
    except (yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError, ImportError) as error:
        if isinstance(error, UsageError):
            raise
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise FileError(
            f"the export cannot be read: {type(error).__name__}: {reason}",
            where=str(path),
            remedy="it is damaged, or was made by a version of the library that this one cannot read: export again",
            code="FW185",
        ) from error


def _check_names(text: str, path: Path) -> None:
    """Refuse an export that names unknown code to read its files with."""
    import yaml

    from fullwell.repo.trust import strange

    class Plain(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
        """Whatever is no plain value stays unread."""

    Plain.add_multi_constructor("", lambda loader, suffix, node: None)
    parts = yaml.load(text, Plain)["data"]
    records = [record for part in parts if part["type"] == "dataset" for record in part["records"]]
    if found := strange({str(record["formatter"]) for record in records if record.get("formatter")}):
        raise UsageError(
            f"the export names code that fullwell does not know, and importing it would run it: {', '.join(found[:5])}",
            where=str(path),
            remedy="if you trust whoever made it, open the repository with trust=True (command line: --trust)",
            code="FW613",
        )


def _check_files(backend: Any, place: Path) -> None:
    """Each file lies in the folder."""
    root, missing = os.path.realpath(place), []
    for files in backend.datasets.values():
        for one in files:
            path = os.path.join(root, str(one.path or ""))
            if not one.path or os.path.commonpath([root, os.path.normpath(path)]) != root:
                raise FileError(
                    f"the export names a file outside of its folder: {one.path}",
                    where=str(place / EXPORT),
                    remedy="export again with the files copied",
                    code="FW185",
                )
            if not os.path.isfile(path):
                missing.append(str(one.path))
    if missing:
        raise FileError(
            f"{len(missing)} files of the export are missing, the first: {missing[0]}",
            where=str(place),
            remedy="fetch or export them again",
            code="FW185",
        )


def _check_records(repo: Repository, backend: Any) -> None:
    """Exposures, detectors and filters that are known must be the same."""
    known = set(repo.instruments())
    for element, records in backend.dimensions.items():
        if element.name not in _COMPARED:
            continue
        have = {}
        for name in {record.instrument for record in records} & known:
            some = repo.butler.query_dimension_records(element.name, instrument=name, explain=False, limit=None)
            have.update({record.dataId: record.toDict() for record in some})
        for record in records:
            ours, theirs = have.get(record.dataId), record.toDict()
            if ours is not None and ours != theirs:
                keys = [key for key in theirs if ours.get(key) != theirs[key]]
                raise UsageError(
                    f"{element.name} {record.dataId.required} differs from the one in the repository in "
                    + ", ".join(f"{key} ({theirs[key]}, not {ours.get(key)})" for key in keys[:3]),
                    where=str(repo.path),
                    remedy="these are frames of other exposures with the same number: import into another repository",
                    code=CLASH,
                )


def _leave_known_datasets(repo: Repository, backend: Any, place: Path, result: Imported) -> None:
    """Take out of the export what the repository holds; keep its references for what is said about them."""
    types = {kind.name for kind in repo.butler.registry.queryDatasetTypes()}
    runs = repo.collections()
    for (kind, run), files in backend.datasets.items():
        ids = {ref.id for one in files for ref in one.refs}
        if kind in types and run in runs:
            some = repo.butler.query_datasets(kind, run, find_first=False, explain=False, limit=None)
            places = {ref.dataId: ref for ref in some}
        else:
            places = {}
        known, paths = _known(repo, ids)
        for one in list(files):
            for ref in list(one.refs):
                if not _same(repo, ref, known.get(ref.id), places.get(ref.dataId)):
                    continue
                if ref.id not in paths:
                    continue
                _check_pixels(ref, place / str(one.path), paths[ref.id])
                one.refs.remove(ref)
                backend.refsByFileId[ref.id] = known[ref.id]
                result.known += 1
            if not one.refs:
                files.remove(one)
        if fresh := sum(len(one.refs) for one in files):
            result.entered[kind] = result.entered.get(kind, 0) + fresh


def _known(repo: Repository, ids: set[Any]) -> tuple[dict[Any, DatasetRef], dict[Any, Path]]:
    from fullwell.repo.lookup import files_of

    every, known = list(ids), {}
    for at in range(0, len(every), 500):
        known.update({ref.id: ref for ref in repo.butler.get_many_datasets(every[at : at + 500])})
    return known, {ref.id: path for ref, path in files_of(repo, known.values())}


def _same(repo: Repository, ref: DatasetRef, known: DatasetRef | None, there: DatasetRef | None) -> bool:
    """Whether the repository has this dataset; an error where it has another one in its place."""
    mine = (ref.datasetType.name, ref.run, ref.dataId)
    if known is not None and (known.datasetType.name, known.run, known.dataId) != mine:
        raise _clash(repo, ref, f"its id belongs to {known.datasetType.name} {known.dataId.required} of {known.run}")
    if there is not None and there.id != ref.id:
        raise _clash(repo, ref, f"the repository has another one there, of id {there.id}")
    return known is not None


def _clash(repo: Repository, ref: DatasetRef, why: str) -> UsageError:
    return UsageError(
        f"{ref.datasetType.name} {dict(ref.dataId.required)} of {ref.run}, id {ref.id}, cannot come in: {why}",
        where=str(repo.path),
        remedy="import into another repository, or export without this dataset",
        code=CLASH,
    )


def _check_pixels(ref: DatasetRef, new: Path, old: Path) -> None:
    """The id of a raw frame follows from its exposure alone, so that its bytes must be compared."""
    from fullwell import io

    if ref.datasetType.name != "raw" or not old.is_file():
        return
    if new.stat().st_size != old.stat().st_size or io.file_digest(new) != io.file_digest(old):
        raise UsageError(
            f"raw {dict(ref.dataId.required)} is there already, with other content",
            where=f"{new} and {old}",
            remedy="find out which of the two is right; fullwell repo check tells whether a file is damaged",
            code=CLASH,
        )


def _leave_known_validity(repo: Repository, backend: Any, refs: Mapping[Any, DatasetRef], result: Imported) -> None:
    """Take out certifications that are there; one that overlaps with another is an error."""
    have = repo.collections()
    for collection, spans in backend.calibAssociations.items():
        kinds = {refs[ident].datasetType for ids in spans.values() for ident in ids}
        there: dict[Any, list[Any]] = {}
        if collection in have:
            for kind in kinds:
                for one in repo.butler.registry.queryDatasetAssociations(kind.name, collection):
                    there.setdefault((kind.name, one.ref.dataId), []).append(one)
        for when, ids in list(spans.items()):
            fresh = []
            for ident in ids:
                others = there.get((refs[ident].datasetType.name, refs[ident].dataId), [])
                if any(one.ref.id == ident and one.timespan == when for one in others):
                    continue
                if over := [one for one in others if one.timespan.overlaps(when)]:
                    raise UsageError(
                        f"the validity {when} of {refs[ident].datasetType.name} {ident} overlaps with that of "
                        f"{over[0].ref.id} of {over[0].ref.run}, valid {over[0].timespan}",
                        where=f"{repo.path}, collection {collection}",
                        remedy="end the validity of one of them first (fullwell repo decertify)",
                        code="FW612",
                    )
                fresh.append(ident)
            spans[when] = fresh
            result.certified += len(fresh)
            if not fresh:
                del spans[when]


def _merge_chains(repo: Repository, chains: Mapping[str, list[str]]) -> None:
    """A chain that is new comes as it is; to one that is there the members that it has not are added at the end."""
    collections = repo.butler.collections
    for name, children in chains.items():
        if repo.ensure(name, "chained"):
            collections.redefine_chain(name, children)
        elif more := [one for one in children if one not in collections.get_info(name).children]:
            collections.extend_chain(name, more)
