"""Calibrations in a repository: files entered with the ids of their making, certified for a span of time."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import NAMESPACE_URL, UUID, uuid5

from fullwell.base.errors import HeaderError, UsageError
from fullwell.repo.dimensions import Records, butler_name
from fullwell.repo.ingest import TRANSFERS
from fullwell.repo.layout import DATASETS, PRODUCT_CLASSES, calib_collection, defaults_collection, gen_run, safe
from fullwell.repo.repository import speaking

if TYPE_CHECKING:
    from lsst.daf.butler import DatasetRef

    from fullwell.repo.repository import Repository

__all__ = ["Entry", "certify", "certify_from", "decertify", "enter_files", "prepend", "span", "validity"]


@dataclass(frozen=True)
class Entry:
    """A finished file to be entered.

    Parameters
    ----------
    dataset : type; data_id : its values; run : RUN collection; path : of the file, below the root of the repository.
    id : of the dataset; the same making gives the same id.
    """

    dataset: str
    data_id: Mapping[str, Any]
    run: str
    path: Path
    id: UUID


def enter_files(repo: Repository, entries: Iterable[Entry]) -> list[DatasetRef]:
    """Enter finished files where they lie, in one transaction; those known under the same id stay.

    Raises
    ------
    UsageError
        a dataset of another id has the place of one of these. FileError: the database cannot be written.
    """
    from lsst.daf.butler import DataCoordinate, DatasetRef, FileDataset

    from fullwell.repo.lookup import known_ids

    butler = repo.butler
    every = list(entries)
    there = known_ids(repo, [one.id for one in every])
    refs, fresh = [], []
    for one in every:
        kind = butler.get_dataset_type(one.dataset)
        data_id = DataCoordinate.standardize(dict(one.data_id), universe=butler.dimensions, dimensions=kind.dimensions)
        ref = DatasetRef(kind, data_id, run=one.run, id=one.id)
        refs.append(ref)
        if one.id not in there:
            fresh.append(FileDataset(str(one.path), [ref]))
    if fresh:
        with speaking(str(repo.path)), butler.transaction():
            have = set(butler.collections.query("*"))
            for run in dict.fromkeys(one.run for one in every):
                if run not in have:
                    butler.collections.register(run)
            butler.ingest(*fresh, transfer=None, record_validation_info=True)
    return refs


def enter_products(
    repo: Repository, paths: Iterable[str | os.PathLike[str]], stamp: str, *, transfer: str = "copy"
) -> list[DatasetRef]:
    """Enter product files that were made without a repository, in the RUN ``<Instrument>/calibgen/<stamp>``.

    The id of a dataset is the one that its file carries, else one made of the product's own: the same file gives the
    same id, and is entered once.

    Parameters
    ----------
    paths : files of products; each names its instrument and detector. transfer : one of `ingest.TRANSFERS`.

    Raises
    ------
    UsageError
        two files for one data id, an unknown way of transfer. HeaderError: the file does not say what it is for.
        FileError: it is no product.
    """
    from lsst.daf.butler import DataCoordinate, DatasetRef, FileDataset

    from fullwell.repo.lookup import known_ids

    if transfer not in TRANSFERS:
        raise UsageError(f"transfer '{transfer}' is unknown", remedy=f"one of {', '.join(TRANSFERS)}")
    records, butler = Records(), repo.butler
    entries: dict[tuple[Any, ...], Entry] = {}
    for path in map(Path, paths):
        one = _entry(path, stamp, records)
        key = (one.dataset, *sorted(one.data_id.items()))
        if key in entries and entries[key].id != one.id:
            raise UsageError(
                f"two files for the {one.dataset} of {dict(one.data_id)}",
                where=f"{entries[key].path} and {path}",
                remedy="enter them one after the other, each with its own span of validity",
            )
        entries[key] = one
    there = known_ids(repo, [one.id for one in entries.values()])
    with speaking(str(repo.path)), butler.transaction():
        records.insert(butler)
        for instrument in dict.fromkeys(str(one.data_id["instrument"]) for one in entries.values()):
            repo.prepare(instrument)
            new_run(repo, instrument, stamp)
        refs, fresh = [], []
        for one in entries.values():
            kind = butler.get_dataset_type(one.dataset)
            data_id = DataCoordinate.standardize(
                dict(one.data_id), universe=butler.dimensions, dimensions=kind.dimensions
            )
            ref = DatasetRef(kind, data_id, run=one.run, id=one.id)
            refs.append((butler.get_dataset(one.id) or ref) if one.id in there else ref)
            if one.id not in there:
                fresh.append(FileDataset(os.path.abspath(one.path), [ref]))
        if fresh:
            butler.ingest(*fresh, transfer=TRANSFERS[transfer], record_validation_info=True)
    return refs


def _entry(path: Path, stamp: str, records: Records) -> Entry:
    """What a product file is called in a repository; its instrument, detector and filter are added to the records."""
    from fullwell import io
    from fullwell.repo.provenance import read_origin

    product = io.read_product(path)
    seen = product.observation
    if not seen.instrument or product.kind not in PRODUCT_CLASSES:
        raise HeaderError(
            f"the {product.kind} does not say which instrument and detector it is for",
            where=str(path),
            remedy="build it with fullwell, or put INSTRUME and DETECTOR into its header",
        )
    name = butler_name(seen.instrument)
    records.add_instrument(name)
    records.add_detector(name, seen.detector_id, seen.detector or str(seen.detector_id))
    data_id: dict[str, Any] = {"instrument": name, "detector": seen.detector_id}
    if "physical_filter" in DATASETS[product.kind].dimensions:
        data_id["physical_filter"] = safe(seen.filter) if seen.filter else "unknown"
        records.add_filter(name, data_id["physical_filter"], seen.band or "unknown")
    carried = read_origin(path).id
    ident = UUID(carried) if carried else uuid5(NAMESPACE_URL, f"fullwell:{product.kind}:{product.id}")
    return Entry(product.kind, data_id, gen_run(name, stamp), path, ident)


def span(begin: str | None = None, end: str | None = None) -> Any:
    """A span of validity from ISO times [TAI]; None is open. The end itself is not in it.

    Raises
    ------
    UsageError
        a time that cannot be read, or an end before the begin.
    """
    from astropy.time import Time
    from lsst.daf.butler import Timespan

    def moment(text: str | None) -> Any:
        if text is None:
            return None
        try:
            return Time(text, scale="tai")
        except ValueError as error:
            raise UsageError(
                f"'{text}' is no time", remedy="write it as 2024-11-08 or 2024-11-08T12:00:00 (TAI)"
            ) from error

    first, last = moment(begin), moment(end)
    if first is not None and last is not None and last <= first:
        raise UsageError(f"the validity ends ({end}) before it begins ({begin})", remedy="exchange them")
    return Timespan(first, last)


def certify(
    repo: Repository,
    refs: Sequence[DatasetRef],
    begin: str | None = None,
    end: str | None = None,
    *,
    setup: str = "",
) -> list[str]:
    """Make calibrations valid for a span of time in the calibration collection of their instrument.

    Parameters
    ----------
    begin, end : ISO times [TAI]; None is open. setup : of the read-out mode, where an instrument has several.

    Returns
    -------
    list of str
        the collections.

    Raises
    ------
    UsageError
        another calibration is valid in a part of the span: named with its span; nothing is certified then.
    """
    from lsst.daf.butler import CollectionType
    from lsst.daf.butler.registry import ConflictingDefinitionError

    when = span(begin, end)
    by_instrument: dict[str, list[DatasetRef]] = {}
    for ref in refs:
        if not ref.datasetType.isCalibration():
            raise UsageError(f"a {ref.datasetType.name} is no calibration", remedy="only calibrations are certified")
        by_instrument.setdefault(str(ref.dataId["instrument"]), []).append(ref)
    registry, names = repo.butler.registry, []
    with speaking(str(repo.path)), repo.butler.transaction():
        for instrument, some in by_instrument.items():
            name = calib_collection(instrument, setup)
            if name not in set(repo.butler.collections.query("*")):
                repo.butler.collections.register(name, CollectionType.CALIBRATION)
            names.append(name)
            try:
                registry.certify(name, some, when)
            except ConflictingDefinitionError as error:
                raise UsageError(
                    f"the span {when} overlaps with certified calibrations: {_overlap(repo, name, some, when)}",
                    where=f"{repo.path}, collection {name}",
                    remedy="end their validity first (fullwell repo decertify), or give a span that does not overlap",
                    code="FW612",
                ) from error
    return names


def _overlap(repo: Repository, name: str, refs: Sequence[DatasetRef], when: Any) -> str:
    mine = {(r.datasetType.name, r.dataId) for r in refs}
    out = []
    for kind in {r.datasetType for r in refs}:
        for one in repo.butler.registry.queryDatasetAssociations(kind, name):
            if (kind.name, one.ref.dataId) in mine and one.timespan is not None and one.timespan.overlaps(when):
                out.append(f"{kind.name} of {one.ref.run}, valid {one.timespan}")
    return "; ".join(sorted(out)[:4]) or "unknown"


def decertify(
    repo: Repository,
    dataset: str,
    instrument: str,
    begin: str | None = None,
    end: str | None = None,
    *,
    setup: str = "",
    data_ids: Sequence[Mapping[str, Any]] | None = None,
) -> None:
    """End the validity of calibrations within a span; the datasets stay.

    Parameters
    ----------
    dataset : type; data_ids : of those meant, None for all of the type.

    Raises
    ------
    UsageError
        no such dataset type or collection.
    """
    from lsst.daf.butler import DataCoordinate

    if dataset not in DATASETS:
        raise UsageError(f"there is no dataset type '{dataset}'", remedy=f"known: {', '.join(DATASETS)}")
    kind = repo.butler.get_dataset_type(dataset)
    chosen = None
    if data_ids is not None:
        chosen = [
            DataCoordinate.standardize(
                {**d, "instrument": instrument}, universe=repo.butler.dimensions, dimensions=kind.dimensions
            )
            for d in data_ids
        ]
    with speaking(str(repo.path)):
        repo.butler.registry.decertify(calib_collection(instrument, setup), kind, span(begin, end), dataIds=chosen)


def validity(repo: Repository, ref: DatasetRef) -> list[tuple[str, Any]]:
    """(collection, span) of each certification of a dataset."""
    with speaking(str(repo.path)):
        found = repo.butler.registry.queryDatasetAssociations(ref.datasetType, ...)
        return [(one.collection, one.timespan) for one in found if one.ref.id == ref.id and one.timespan is not None]


def prepend(repo: Repository, chain: str, run: str, instrument: str = "") -> None:
    """Put a run first in a chain, and the chain into the defaults of the instrument."""
    from lsst.daf.butler import CollectionType

    collections = repo.butler.collections
    have = set(collections.query("*"))
    with speaking(str(repo.path)), repo.butler.transaction():
        if run not in have:
            collections.register(run)
        if chain not in have:
            collections.register(chain, CollectionType.CHAINED)
        with contextlib.suppress(ValueError):
            collections.remove_from_chain(chain, run)
        collections.prepend_chain(chain, run)
        if instrument and defaults_collection(instrument) in have:
            members = collections.get_info(defaults_collection(instrument)).children
            if chain not in members:
                collections.prepend_chain(defaults_collection(instrument), chain)


def new_run(repo: Repository, instrument: str, stamp: str) -> str:
    """The RUN of calibrations made at `stamp`, entered where it is new."""
    name = gen_run(instrument, stamp)
    if name not in set(repo.butler.collections.query("*")):
        repo.butler.collections.register(name)
    return name


def certify_from(repo: Repository, ref: DatasetRef, begin: str = "", end: str = "", *, setup: str = "") -> None:
    """Make a calibration valid from `begin` until `end`, or until the next one that is certified.

    An older one ends where this one begins; of two with the same begin this one takes the place. So calibrations that
    are made night after night follow one another without gaps.

    Parameters
    ----------
    begin, end : ISO times [TAI], "" is open.

    Raises
    ------
    UsageError
        `begin` or `end` is no time.
    """
    from lsst.daf.butler import CollectionType, Timespan

    name = calib_collection(str(ref.dataId["instrument"]), setup)
    registry = repo.butler.registry
    when = span(begin or None, end or None)
    with speaking(str(repo.path)), repo.butler.transaction():
        if name not in set(repo.butler.collections.query("*")):
            repo.butler.collections.register(name, CollectionType.CALIBRATION)
        same = [a for a in registry.queryDatasetAssociations(ref.datasetType, name) if a.ref.dataId == ref.dataId]
        if any(one.ref.id == ref.id for one in same):
            return
        spans: list[Any] = [one.timespan for one in same if one.timespan is not None]
        if not end:
            later = [one.begin for one in spans if _after(one.begin, when.begin)]
            when = Timespan(when.begin, min(later)) if later else when
        if any(one.overlaps(when) for one in spans):
            registry.decertify(name, ref.datasetType, when, dataIds=[ref.dataId])
        registry.certify(name, [ref], when)


def _after(begin: Any, other: Any) -> bool:
    """Whether a validity begins after another; an open begin (None) is before all."""
    return begin is not None and (other is None or begin > other)
