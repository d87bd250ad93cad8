"""Finding datasets: one by its data id with a helpful error, many by one query."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fullwell.base.errors import FileError, FullwellError, MissingProduct, UsageError

if TYPE_CHECKING:
    from lsst.daf.butler import DatasetRef

    from fullwell.repo.repository import Repository

__all__ = ["by_id", "files_of", "find", "nearest", "read"]


def find(repo: Repository, dataset: str, collections: Sequence[str] | None, data_id: Mapping[str, Any]) -> DatasetRef:
    """See `Repository.find`."""
    from lsst.daf.butler import DataIdValueError, MissingDatasetTypeError, NoDefaultCollectionError
    from lsst.daf.butler._exceptions import ButlerUserError
    from lsst.daf.butler.registry import DataIdError

    from fullwell.repo.repository import plain_text

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
        lacking = re.search(r"for required dimension '(\w+)'", str(error))
        raise UsageError(
            f"{shown or 'nothing'} does not say which {name}: {lacking[1]} is missing"
            if lacking
            else f"the repository does not know {shown}: {plain_text(error)}",
            where=str(repo.path),
            remedy=f"add {lacking[1]}=…" if lacking else "fullwell repo ls lists exposures, detectors and filters",
        ) from error
    except ButlerUserError as error:
        kind = repo.butler.get_dataset_type(name)
        raise UsageError(
            f"{shown} cannot be looked up: {plain_text(error)}",
            where=str(repo.path),
            remedy=f"keys of a {name}: {', '.join([*kind.dimensions.names, *['exposure'] * kind.isCalibration()])}",
        ) from error
    if ref is None:
        near = nearest(repo, name, wanted, collections)
        if repo.butler.get_dataset_type(name).isCalibration() and not {"exposure", "visit", "seq_num"} & set(data_id):
            near = ["a calibration is found by the time of an exposure: add exposure=…", *near]
        raise MissingProduct(
            f"there is no {name} for {shown}",
            where=str(repo.path),
            remedy="; ".join(near) if near else f"the repository holds no {name} at all",
            code="FW303",
        )
    return ref


def by_id(repo: Repository, ident: str) -> DatasetRef:
    """The dataset that has an id (with or without dashes).

    Raises
    ------
    MissingProduct
        the repository does not know it. UsageError: the text is no id.
    """
    from uuid import UUID

    from fullwell.repo.repository import speaking

    try:
        wanted = UUID(ident)
    except ValueError as error:
        raise UsageError(
            f"'{ident}' is no id of a dataset",
            where=str(repo.path),
            remedy="ids look like 52101f38-3247-589b-9fa5-b97fa8815ec8; fullwell repo ls datasets lists them",
        ) from error
    with speaking(str(repo.path)):
        ref = repo.butler.get_dataset(wanted, datastore_records=True)
    if ref is None:
        raise MissingProduct(
            f"the dataset {wanted} is not in this repository",
            where=str(repo.path),
            remedy="fullwell repo ls datasets lists the ids; is it another repository?",
            code="FW303",
        )
    return ref


def _time(repo: Repository, name: str, data_id: dict[str, Any]) -> Any:
    """When a calibration must be valid: the time of the exposure of the data id; filters are taken from it too."""
    try:
        kind = repo.butler.get_dataset_type(name)
    except LookupError:
        return None
    if kind.isCalibration() and {"day_obs", "seq_num"} <= set(data_id) and "exposure" not in data_id:
        data_id["exposure"] = _numbered(repo, data_id)
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


def _numbered(repo: Repository, data_id: dict[str, Any]) -> int:
    """The exposure of a day and its number in it, which are taken out of the data id."""
    from lsst.daf.butler import DataIdValueError

    day, number = data_id.pop("day_obs"), data_id.pop("seq_num")
    where = {k: data_id[k] for k in ("instrument",) if k in data_id}
    with repo.butler.query() as query:
        found = query.where(where, f"exposure.day_obs = {int(day)} AND exposure.seq_num = {int(number)}")
        ids = [int(record.id) for record in found.dimension_records("exposure")]
    if len(ids) != 1:
        raise DataIdValueError(f"{len(ids)} exposures have day_obs {day} and seq_num {number}")
    return ids[0]


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
        repo.butler.query_datasets(name, where or "*", find_first=False, explain=False, limit=20_000)
        if not kind.isCalibration()
        else _certified(repo, name, where)
    )
    keys = [k for k in kind.dimensions.required if k in data_id]

    def differs(ref: Any) -> list[str]:
        return [k for k in keys if ref.dataId[k] != data_id[k]]

    def apart(ref: Any) -> float:
        """How far the numbers of the data ids are apart, so that the exposures beside one come first."""
        pairs = [(ref.dataId[k], data_id[k]) for k in keys]
        return float(sum(abs(a - b) for a, b in pairs if isinstance(a, int) and isinstance(b, int)))

    refs.sort(key=lambda r: (len(differs(r)), apart(r), str(r.dataId)))
    out: list[str] = []
    for ref in refs[:3]:
        shown = ", ".join(f"{k}={ref.dataId[k]}" for k in kind.dimensions.required)
        off = differs(ref)
        reason = f"differs in {', '.join(off)}" if off else "valid at other times"
        spans = _validity(repo, ref, where) if kind.isCalibration() and not off else []
        told = f"{reason}{': ' + ', '.join(spans) if spans else ''}"
        out.append(f"{'' if out else 'nearest: '}{name} {shown} of run {ref.run} ({told})")
    return out


def _certified(repo: Repository, name: str, collections: Any) -> Iterator[DatasetRef]:
    for one in repo.butler.registry.queryDatasetAssociations(name, collections or ..., flattenChains=True):
        yield one.ref


def _validity(repo: Repository, ref: DatasetRef, collections: Any) -> list[str]:
    """The validity ranges of a calibration, as text."""
    found = repo.butler.registry.queryDatasetAssociations(ref.datasetType, collections or ..., flattenChains=True)
    from fullwell.repo.calibs import shown

    return [shown(one.timespan) for one in found if one.ref.id == ref.id and one.timespan is not None]


def read(repo: Repository, ref: DatasetRef, component: str | None, box: Any) -> Any:
    """A dataset, by the library where our classes stand behind it, else by our own readers.

    Raises
    ------
    FileError
        the file is not there or damaged. UsageError: it would be read by unknown code, and the repository is not
        trusted; there is no such component.
    """
    from lsst.daf.butler import FileIntegrityError

    from fullwell.repo.repository import speaking
    from fullwell.repo.trust import check_formatters

    if ref.datasetType.storageClass_name.startswith("Fullwell"):
        if ref._datastore_records is None:
            ref = repo.butler.get_dataset(ref.id, datastore_records=True) or ref
        if not repo.trust:
            check_formatters(ref)
        parts = ref.datasetType.storageClass.components
        if component is not None and component not in parts:
            raise UsageError(
                f"a {ref.datasetType.name} has no component '{component}'",
                where=str(repo.path),
                remedy=f"it has {', '.join(parts) or 'none: get it as a whole'}",
            )
        target = ref if component is None else ref.makeComponentRef(component)
        try:
            with speaking(str(repo.path)):
                return repo.butler.get(target, parameters=None if box is None else {"bbox": box})
        except FileNotFoundError as error:
            raise FileError(
                f"the file of this {ref.datasetType.name} is gone",
                where=str(repo.file_of(ref)),
                remedy="put it back, or see what else is missing with: fullwell repo check",
                code="FW183",
            ) from error
        except FileIntegrityError as error:
            raise FileError(
                f"the file of this {ref.datasetType.name} is not the one that was entered: its size differs",
                where=str(repo.file_of(ref)),
                remedy="put the right one back, or see what else is damaged with: fullwell repo check",
                code="FW184",
            ) from error
        except Exception as error:
            cause = _ours(error)
            if cause is None:
                raise
            raise cause from error
    from fullwell.repo.foreign import read_dataset

    return read_dataset(repo.butler, ref, component, box)


def _ours(error: BaseException) -> FullwellError | None:
    """The error of our reader that the library has wrapped in its own."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, FullwellError):
        cause = cause.__cause__
    return cause


def files_of(repo: Repository, refs: Iterable[DatasetRef]) -> Iterator[tuple[DatasetRef, Path]]:
    """(dataset, path of its file), in bulk."""
    every = list(refs)
    for ref, uris in repo.butler.get_many_uris(every, allow_missing=True).items():
        if uris.primaryURI is not None:
            yield ref, Path(uris.primaryURI.ospath)


def known_ids(repo: Repository, ids: Sequence[Any]) -> set[Any]:
    """Those of the ids that the repository knows with a file; a repair leaves datasets without one."""
    found: set[Any] = set()
    for start in range(0, len(ids), 500):
        refs = repo.butler.get_many_datasets(ids[start : start + 500])
        found |= {ref.id for ref, known in repo.butler._datastore.knows_these(refs).items() if known}
    return found
