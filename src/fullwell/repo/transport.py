"""Parts of a repository to a folder that anyone can open, and such a folder into a repository.

The folder holds the files, ``export.yaml`` of the library (dimension records, collections, certifications, ids), and
an index, so that it is a repository by itself. Ids are kept both ways.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from fullwell.base.errors import FileError, MissingProduct, UsageError
from fullwell.repo.importing import EXPORT, Imported, import_
from fullwell.repo.repository import Repository, speaking

if TYPE_CHECKING:
    from lsst.daf.butler import DatasetRef

__all__ = ["EXPORT", "Exported", "Imported", "export", "import_"]


@dataclass
class Exported:
    """What an export holds.

    Parameters
    ----------
    folder : where it is. datasets : type -> how many. size : of the files [byte].
    collections : those that are in it.
    missing : id -> what is left out and why: datasets without file, inputs that this repository has not.
    """

    folder: Path
    datasets: dict[str, int] = field(default_factory=dict)
    size: int = 0
    collections: list[str] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether nothing was left out."""
        return not self.missing

    def to_dict(self) -> dict[str, Any]:
        """JSON types only."""
        return {**vars(self), "folder": str(self.folder)}


def export(
    repo: Repository,
    folder: str | os.PathLike[str],
    *,
    where: str = "",
    datasets: Sequence[str] = (),
    collections: Sequence[str] | None = None,
    ids: Sequence[Any] = (),
    with_inputs: bool = True,
) -> Exported:
    """Copy datasets, with all that the index says about them, to a new folder.

    Parameters
    ----------
    folder : made; it may not hold anything. It appears when it is whole.
    where : condition in the library's language ("exposure.day_obs = 20241108"); calibrations are then those valid for
        the exposures.
    datasets : their types; all where none is named.
    collections : searched; None: the defaults, and all of them where there is no condition either.
    ids : of datasets that go along; alone, where nothing else is named, just these.
    with_inputs : whether what the datasets were made of goes along, down to the raw frames.

    Raises
    ------
    UsageError
        the folder is not empty, the condition cannot be read, or nothing fulfils it.
    MissingProduct
        an id is not in the repository. FileError: the folder cannot be written, its disk is full.
    """
    target = Path(os.path.abspath(folder))
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UsageError("the folder for the export is not empty", where=str(target), remedy="name a new one")
    result = Exported(target)
    refs = _chosen(repo, where, datasets, collections, ids)
    if with_inputs:
        _add_inputs(repo, refs, result)
    _add_records(repo, refs)
    paths = _with_files(repo, refs, result)
    if not refs:
        raise UsageError(
            "there is nothing to export" + (": no file of these datasets is there" if result.missing else ""),
            where=f"{repo.path}" + (f", condition {where!r}" if where else ""),
            remedy="fullwell repo ls datasets shows what there is",
        )
    with _appearing(target) as place, speaking(str(place)):
        made = _empty_like(repo, place)
        result.collections = _write(repo, place, list(refs.values()))
        made.import_(directory=str(place), filename=EXPORT, transfer=None)
    for ref in refs.values():
        result.datasets[ref.datasetType.name] = result.datasets.get(ref.datasetType.name, 0) + 1
    result.size = sum(path.stat().st_size for path in set(paths.values()))
    return result


def _chosen(
    repo: Repository, where: str, datasets: Sequence[str], collections: Sequence[str] | None, ids: Sequence[Any]
) -> dict[Any, DatasetRef]:
    butler, found = repo.butler, {}
    with speaking(f"{repo.path}, condition {where!r}" if where else str(repo.path)):
        known = sorted(kind.name for kind in butler.registry.queryDatasetTypes())
        if unknown := [name for name in datasets if name not in known]:
            raise UsageError(
                f"there is no dataset type '{unknown[0]}'", where=str(repo.path), remedy=f"known: {', '.join(known)}"
            )
        if where or datasets or collections is not None or not ids:
            search: Any = collections
            if search is None:
                search = butler.registry.defaults.collections if where else "*"
            for name in datasets or known:
                some = butler.query_datasets(name, search, find_first=False, where=where, limit=None, explain=False)
                found.update({ref.id: ref for ref in some})
    wanted = [_uuid(one) for one in ids]
    found.update(_by_id(repo, wanted))
    if absent := [str(one) for one in wanted if one not in found]:
        more = f", nor are {len(absent) - 1} others" if len(absent) > 1 else ""
        raise MissingProduct(
            f"the dataset {absent[0]} is not in this repository{more}",
            where=str(repo.path),
            remedy="fullwell repo ls datasets lists the ids",
            code="FW303",
        )
    return found


def _uuid(one: Any) -> UUID:
    try:
        return UUID(str(getattr(one, "id", one)))
    except ValueError as error:
        raise UsageError(
            f"'{one}' is no id of a dataset", remedy="ids look like 52101f38-3247-589b-9fa5-b97fa8815ec8"
        ) from error


def _by_id(repo: Repository, ids: Sequence[UUID]) -> dict[Any, DatasetRef]:
    out = {}
    with speaking(str(repo.path)):
        for at in range(0, len(ids), 500):
            out.update({ref.id: ref for ref in repo.butler.get_many_datasets(ids[at : at + 500])})
    return out


def _add_inputs(repo: Repository, refs: dict[Any, DatasetRef], result: Exported) -> None:
    """Follow the ids in the files until nothing new comes."""
    from fullwell.repo.lookup import files_of
    from fullwell.repo.provenance import read_origin

    fresh = list(refs.values())
    while fresh:
        wanted: dict[UUID, str] = {}
        made = [ref for ref in fresh if ref.datasetType.name != "raw"]
        for ref, path in files_of(repo, made):
            for source in read_origin(path).inputs if path.exists() else ():
                try:
                    ident = UUID(source.id)
                except ValueError:
                    result.missing[source.id] = f"input of {ref.datasetType.name} {ref.id}, no id of a dataset"
                    continue
                if ident not in refs:
                    wanted[ident] = f"input of {ref.datasetType.name} {ref.id}, not in this repository"
        found = _by_id(repo, list(wanted))
        result.missing.update({str(ident): why for ident, why in wanted.items() if ident not in found})
        refs.update(found)
        fresh = list(found.values())


def _add_records(repo: Repository, refs: dict[Any, DatasetRef]) -> None:
    """The records of the runs that made the datasets: they hold the settings."""
    name = "run_record"
    runs = {ref.run for ref in refs.values()}
    with speaking(str(repo.path)):
        if any(kind.name == name for kind in repo.butler.registry.queryDatasetTypes(name, missing=[])):
            found = repo.butler.query_datasets(name, "*", find_first=False, limit=None, explain=False)
            refs.update({ref.id: ref for ref in found if ref.run in runs})


def _with_files(repo: Repository, refs: dict[Any, DatasetRef], result: Exported) -> dict[Any, Path]:
    """Their files; datasets without one are taken out and named."""
    from fullwell.repo.lookup import files_of

    paths = {ref.id: path for ref, path in files_of(repo, refs.values()) if path.is_file()}
    for ident in [one for one in refs if one not in paths]:
        ref = refs.pop(ident)
        result.missing[str(ident)] = f"the file of {ref.datasetType.name} {dict(ref.dataId.required)} is gone"
    return paths


@contextmanager
def _appearing(target: Path) -> Iterator[Path]:
    """A folder beside `target` that gets its name when the block ends well, and goes when it does not."""
    from fullwell import io
    from fullwell.io.atomic import write_error

    io.make_folder(target.parent)
    place = target.parent / f"fullwell_export_{os.getpid()}_{abs(hash(target.name)) % 10**6}"
    try:
        place.mkdir()
        yield place
        if target.exists():
            target.rmdir()
        os.rename(place, target)
    except OSError as error:
        if isinstance(error, FileError):
            raise
        raise write_error(error, target) from error
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _empty_like(repo: Repository, place: Path) -> Any:
    """A new repository with SQLite that reads and writes what `repo` does, its files below itself."""
    from lsst.daf.butler import Butler, Config

    seed = Config(str(repo.config))
    for key in [k for k in seed if k not in ("storageClasses", "datastore", "dimensions")]:
        del seed[key]
    seed["registry"] = {"db": "sqlite:///<butlerRoot>/gen3.sqlite3"}
    seed["datastore", "root"] = "<butlerRoot>"
    Butler.makeRepo(str(place), config=seed, forceConfigRoot=False)
    new = Repository(place, writeable=True, trust=repo.trust)
    new.register_types()
    return new.butler


def _write(repo: Repository, place: Path, refs: list[DatasetRef]) -> list[str]:
    """Copy the files and write ``export.yaml``; gives the names of the collections."""
    from lsst.daf.butler.transfers import RepoExportContext, YamlRepoExportBackend

    collections = _collections(repo, refs)

    class Trimmed(YamlRepoExportBackend):
        """Chains hold what goes along and no more."""

        def saveCollection(self, record: Any, doc: str | None) -> None:
            super().saveCollection(record, doc)
            if "children" in self.data[-1]:
                self.data[-1]["children"] = [one for one in self.data[-1]["children"] if one in collections]

    butler: Any = repo.butler
    full = {data_id: data_id for data_id in butler._expand_data_ids({ref.dataId for ref in refs})}
    with open(place / EXPORT, "w", encoding="utf-8") as stream, butler._caching_context():
        backend = Trimmed(stream, universe=butler.dimensions)
        out = RepoExportContext(butler, backend=backend, directory=str(place), transfer="copy")
        out.saveDatasets([ref.expanded(full[ref.dataId]) for ref in refs])
        for name in collections:
            out.saveCollection(name)
        out._finish()
    return collections


def _collections(repo: Repository, refs: Sequence[DatasetRef]) -> list[str]:
    """Runs of the datasets, collections that they are tagged or certified in, and the chains that hold these."""
    from lsst.daf.butler import CollectionType

    ids, names = {ref.id for ref in refs}, {ref.run for ref in refs}
    for kind in {ref.datasetType for ref in refs}:
        wanted = {CollectionType.TAGGED, *([CollectionType.CALIBRATION] if kind.isCalibration() else [])}
        for one in repo.butler.registry.queryDatasetAssociations(kind, ..., collectionTypes=wanted):
            if one.ref.id in ids:
                names.add(one.collection)
    every = repo.butler.collections.query_info("*")
    chains = {info.name: info.children for info in every if info.type is CollectionType.CHAINED}
    found = {name for name, below in chains.items() if names.intersection(below)}
    while not found <= names:
        names |= found
        found = {name for name, below in chains.items() if names.intersection(below)}
    return sorted(names)
