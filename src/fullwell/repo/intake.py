"""Product files that were made without a repository, entered by what they say."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import NAMESPACE_URL, UUID, uuid5

from fullwell.base.errors import UsageError
from fullwell.repo.bulk import known_types
from fullwell.repo.calibs import Entry, new_run
from fullwell.repo.dimensions import Records, butler_name
from fullwell.repo.ingest import TRANSFERS
from fullwell.repo.layout import DATASETS, PRODUCT_CLASSES, file_uri, gen_run, safe
from fullwell.repo.repository import speaking

if TYPE_CHECKING:
    from lsst.daf.butler import DatasetRef

    from fullwell.repo.repository import Repository

__all__ = ["enter_products"]


def enter_products(
    repo: Repository, paths: Iterable[str | os.PathLike[str]], stamp: str, *, transfer: str = "copy"
) -> list[DatasetRef]:
    """Enter product files that were made without a repository, in the RUN ``<Instrument>/calibgen/<stamp>``.

    The id of a dataset is the one that its file carries, else one made of the product's own: the same file gives the
    same id, and is entered once.

    Parameters
    ----------
    paths : files of products; each says which instrument, detector and filter it is for.
    transfer : one of `ingest.TRANSFERS`.

    Raises
    ------
    UsageError
        two files for one data id, a kind of product that repositories do not keep, an unknown way of transfer.
        FileError: the file is no product.
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
    strange = sorted({one.dataset for one in entries.values()} - set(known_types(repo, PRODUCT_CLASSES)))
    if strange:
        raise UsageError(
            f"this repository was made before there was a {strange[0]}",
            where=str(repo.path),
            remedy="make a new one (fullwell repo create), and enter the frames and calibrations there",
        )
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
                fresh.append(FileDataset(file_uri(one.path), [ref]))
        if fresh:
            butler.ingest(*fresh, transfer=TRANSFERS[transfer], record_validation_info=True)
    return refs


def _entry(path: Path, stamp: str, records: Records) -> Entry:
    """What a product file is called in a repository; its instrument, detector and filter are added to the records."""
    from fullwell import io
    from fullwell.repo.provenance import read_origin

    product = io.read_product(path)
    seen = product.observation
    if product.kind not in PRODUCT_CLASSES:
        raise UsageError(
            f"repositories keep no {product.kind}", where=str(path), remedy=f"but {', '.join(PRODUCT_CLASSES)}"
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
