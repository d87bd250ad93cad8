"""Finding datasets: one by its data id with a helpful error, many by one query."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fullwell.base.errors import FileError, MissingProduct, UsageError

if TYPE_CHECKING:
    from lsst.daf.butler import DatasetRef

    from fullwell.repo.repository import Repository

__all__ = ["files_of", "find", "nearest", "read"]


def find(repo: Repository, dataset: str, collections: Sequence[str] | None, data_id: Mapping[str, Any]) -> DatasetRef:
    """See `Repository.find`."""
    from lsst.daf.butler import DataIdValueError, MissingDatasetTypeError, NoDefaultCollectionError
    from lsst.daf.butler.registry import DataIdError

    name = dataset.partition(".")[0]
    wanted = dict(data_id)
    shown = ", ".join(f"{k}={v}" for k, v in wanted.items())
    try:
        ref = repo.butler.find_dataset(
            name, collections=collections, timespan=_time(repo, name, wanted), datastore_records=True, **wanted
        )
    except MissingDatasetTypeError as error:
        raise UsageError(
            f"there is no dataset type '{name}'",
            where=str(repo.path),
            remedy=f"known: {', '.join(sorted(t.name for t in repo.butler.registry.queryDatasetTypes()))}",
        ) from error
    except NoDefaultCollectionError as error:
        raise MissingProduct(
            "the repository has no default collections: nothing was entered yet",
            where=str(repo.path),
            remedy="enter raw frames with fullwell repo ingest, or name the collections",
            code="FW303",
        ) from error
    except (DataIdValueError, DataIdError) as error:
        raise UsageError(
            f"the repository does not know {shown}: {str(error).splitlines()[0]}",
            where=str(repo.path),
            remedy="fullwell repo ls lists exposures, detectors and filters",
        ) from error
    if ref is None:
        near = nearest(repo, name, wanted, collections)
        raise MissingProduct(
            f"there is no {name} for {shown}",
            where=str(repo.path),
            remedy="; ".join(near) if near else f"the repository holds no {name} at all",
            code="FW303",
        )
    return ref


def _time(repo: Repository, name: str, data_id: dict[str, Any]) -> Any:
    """When a calibration must be valid: the time of the exposure of the data id; filters are taken from it too."""
    try:
        kind = repo.butler.get_dataset_type(name)
    except LookupError:
        return None
    if not kind.isCalibration() or not ({"exposure", "visit"} & set(data_id)):
        return None
    keys = {
        k: v
        for k, v in data_id.items()
        if k in ("instrument", "exposure", "visit", "detector", "physical_filter", "day_obs", "seq_num")
    }
    full = repo.butler.registry.expandDataId(keys)
    record = full.records["exposure" if "exposure" in keys else "visit"]
    for key in kind.dimensions.names:
        if key in full.dimensions.names:
            data_id.setdefault(key, full[key])
    data_id.pop("exposure", None)
    data_id.pop("visit", None)
    data_id.setdefault("instrument", full["instrument"])
    return record.timespan if record is not None else None


def nearest(
    repo: Repository, name: str, data_id: Mapping[str, Any], collections: Sequence[str] | None = None
) -> list[str]:
    """Sentences about the datasets that agree in most of a data id: where they differ, when they are valid."""
    try:
        kind = repo.butler.get_dataset_type(name)
    except LookupError:
        return []
    where = collections if collections is not None else repo.butler.registry.defaults.collections
    refs = list(
        repo.butler.query_datasets(name, where or "*", find_first=False, explain=False, limit=2000)
        if not kind.isCalibration()
        else _certified(repo, name, where)
    )
    keys = [k for k in kind.dimensions.required if k in data_id]

    def differs(ref: Any) -> list[str]:
        return [k for k in keys if ref.dataId[k] != data_id[k]]

    refs.sort(key=lambda r: (len(differs(r)), str(r.dataId)))
    out = []
    for ref in refs[:3]:
        shown = ", ".join(f"{k}={ref.dataId[k]}" for k in kind.dimensions.required)
        off = differs(ref)
        reason = f"differs in {', '.join(off)}" if off else "valid at other times"
        spans = _validity(repo, ref, where) if kind.isCalibration() and not off else []
        out.append(f"nearest: {name} {shown} of run {ref.run} ({reason}{': ' + ', '.join(spans) if spans else ''})")
    return out


def _certified(repo: Repository, name: str, collections: Any) -> Iterator[DatasetRef]:
    for one in repo.butler.registry.queryDatasetAssociations(name, collections or ..., flattenChains=True):
        yield one.ref


def _validity(repo: Repository, ref: DatasetRef, collections: Any) -> list[str]:
    """The validity ranges of a calibration, as text."""
    found = repo.butler.registry.queryDatasetAssociations(ref.datasetType, collections or ..., flattenChains=True)
    return [f"valid {one.timespan}" for one in found if one.ref.id == ref.id and one.timespan is not None]


def read(repo: Repository, ref: DatasetRef, component: str | None, box: Any) -> Any:
    """A dataset, by the library where our classes stand behind it, else by our own readers.

    Raises
    ------
    FileError
        the file is not there or damaged. UsageError: it would be read by unknown code, and the repository is not
        trusted; there is no such component.
    """
    from fullwell.repo.trust import check_formatters

    if ref.datasetType.storageClass_name.startswith("Fullwell"):
        if ref._datastore_records is None:
            ref = repo.butler.get_dataset(ref.id, datastore_records=True) or ref
        if not repo.trust:
            check_formatters(ref)
        target = ref if component is None else ref.makeComponentRef(component)
        try:
            return repo.butler.get(target, parameters=None if box is None else {"bbox": box})
        except FileNotFoundError as error:
            raise FileError(
                f"the file of this {ref.datasetType.name} is gone",
                where=str(repo.file_of(ref)),
                remedy="put it back, or see what else is missing with: fullwell repo check",
                code="FW183",
            ) from error
    from fullwell.repo.foreign import read_dataset

    return read_dataset(repo.butler, ref, component, box)


def files_of(repo: Repository, refs: Iterable[DatasetRef]) -> Iterator[tuple[DatasetRef, Path]]:
    """(dataset, path of its file), in bulk."""
    every = list(refs)
    for ref, uris in repo.butler.get_many_uris(every, allow_missing=True).items():
        if uris.primaryURI is not None:
            yield ref, Path(uris.primaryURI.ospath)


def known_ids(repo: Repository, ids: Sequence[Any]) -> set[Any]:
    """Those of the ids that the repository knows."""
    found: set[Any] = set()
    for start in range(0, len(ids), 500):
        found |= {ref.id for ref in repo.butler.get_many_datasets(ids[start : start + 500])}
    return found
