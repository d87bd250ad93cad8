"""Calibrations in a repository: files entered with the ids of their making, certified for a span of time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from fullwell.base.errors import UsageError
from fullwell.repo.layout import DATASETS, calib_collection, defaults_collection, gen_run
from fullwell.repo.repository import speaking

if TYPE_CHECKING:
    from lsst.daf.butler import DatasetRef

    from fullwell.repo.repository import Repository

__all__ = [
    "Entry",
    "Valid",
    "certified",
    "certify",
    "certify_from",
    "certify_onward",
    "decertify",
    "enter_files",
    "forget",
    "moment_text",
    "prepend",
    "shown",
    "span",
    "validity",
]


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
            for run in dict.fromkeys(one.run for one in every):
                repo.ensure(run)
            butler.ingest(*fresh, transfer=None, record_validation_info=True)
    return refs


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
    from lsst.daf.butler.registry import ConflictingDefinitionError

    when = span(begin, end)
    by_instrument: dict[str, list[DatasetRef]] = {}
    for ref in refs:
        if not ref.datasetType.isCalibration():
            raise UsageError(f"a {ref.datasetType.name} is no calibration", remedy="only calibrations are certified")
        by_instrument.setdefault(str(ref.dataId["instrument"]), []).append(ref)
    registry, names, name = repo.butler.registry, [], ""
    try:
        # Of the registry alone: after a failure in an inner transaction of files the library forgets the outer one.
        with speaking(str(repo.path)), registry.transaction():
            for instrument, some in by_instrument.items():
                name = calib_collection(instrument, setup)
                repo.ensure(name, "calibration")
                names.append(name)
                try:
                    registry.certify(name, some, when)
                except ConflictingDefinitionError as error:
                    raise _Overlap from error
    except _Overlap as error:
        raise UsageError(
            f"the span {shown(when)} overlaps with what is certified: {_overlapping(repo, name, refs, when)}",
            where=f"{repo.path}, collection {name}",
            remedy="end their validity first (fullwell repo decertify), or give a span that does not overlap",
            code="FW612",
        ) from error
    return names


class _Overlap(Exception):
    """Leaves the transaction, so that the database can be asked again."""


def _overlapping(repo: Repository, name: str, refs: Sequence[DatasetRef], when: Any) -> str:
    mine = {(r.datasetType.name, r.dataId) for r in refs}
    out = []
    with speaking(str(repo.path)):
        for kind in {r.datasetType for r in refs}:
            for one in repo.butler.registry.queryDatasetAssociations(kind, name):
                if (kind.name, one.ref.dataId) in mine and one.timespan is not None and one.timespan.overlaps(when):
                    out.append(f"{kind.name} of {one.ref.run}, valid {shown(one.timespan)}")
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
    name, registry = calib_collection(instrument, setup), repo.butler.registry
    with speaking(str(repo.path)):
        if any(one.timespan is not None for one in registry.queryDatasetAssociations(kind, name)):
            registry.decertify(name, kind, span(begin, end), dataIds=chosen)


@dataclass(frozen=True)
class Valid:
    """A calibration in a calibration collection.

    Parameters
    ----------
    id, run : of the dataset. instrument : whose collection. data_id : its values. span : when it is valid.
    """

    id: str
    run: str
    instrument: str
    data_id: Mapping[str, Any]
    span: Any

    @property
    def shown(self) -> str:
        """The data id as text."""
        return ", ".join(f"{k}={v}" for k, v in self.data_id.items())


def certified(
    repo: Repository, dataset: str, data_id: Mapping[str, Any] | None = None, *, setup: str = "", during: Any = None
) -> list[Valid]:
    """The calibrations of a type that are valid at any moment of a span.

    Parameters
    ----------
    data_id : values that they agree with; setup : of the read-out mode; during : a span, None for all times.

    Raises
    ------
    UsageError
        there is no such dataset type, or it has no such key.
    """
    if dataset not in DATASETS or not DATASETS[dataset].calibration:
        known = ", ".join(name for name, one in DATASETS.items() if one.calibration)
        raise UsageError(f"there is no calibration '{dataset}'", remedy=f"known: {known}")
    wanted = dict(data_id or {})
    strange = sorted(set(wanted) - set(DATASETS[dataset].dimensions))
    if strange:
        raise UsageError(
            f"a {dataset} is not told apart by '{strange[0]}'",
            remedy=f"but by {', '.join(DATASETS[dataset].dimensions)}",
        )
    out = []
    names = {calib_collection(instrument, setup): instrument for instrument in repo.instruments()}
    with speaking(str(repo.path)):
        have = sorted(repo.collections() & names.keys())
        found = repo.butler.registry.queryDatasetAssociations(dataset, have) if have else ()
        for one in found:
            values = {str(k): v for k, v in one.ref.dataId.required.items()}
            fits = all(values[k] == v for k, v in wanted.items())
            if fits and one.timespan is not None and (during is None or one.timespan.overlaps(during)):
                instrument = names[one.collection]
                out.append(Valid(str(one.ref.id), str(one.ref.run), instrument, values, one.timespan))
    return sorted(out, key=lambda v: (v.instrument, v.shown, str(v.span)))


def shown(span: Any) -> str:
    """A span as text; "…" where it is open."""
    return f"{moment_text(span.begin) or '…'} to {moment_text(span.end) or '…'}"


def moment_text(moment: Any) -> str | None:
    """A time as ISO text [TAI], fractions of a second only where there are any; None for an open end."""
    if moment is None:
        return None
    whole, _, fraction = str(moment.tai.isot).partition(".")
    return f"{whole}.{fraction.rstrip('0')}".rstrip(".")


def validity(repo: Repository, ref: DatasetRef) -> list[tuple[str, Any]]:
    """(collection, span) of each certification of a dataset."""
    with speaking(str(repo.path)):
        found = repo.butler.registry.queryDatasetAssociations(ref.datasetType, ...)
        return [(one.collection, one.timespan) for one in found if one.ref.id == ref.id and one.timespan is not None]


def prepend(repo: Repository, chain: str, run: str, instrument: str = "") -> None:
    """Put a run first in a chain, and the chain into the defaults of the instrument."""
    collections, have = repo.butler.collections, repo.collections()
    with speaking(str(repo.path)), repo.butler.transaction():
        repo.ensure(run)
        repo.ensure(chain, "chained")
        children = collections.get_info(chain).children
        if children[:1] != (run,):
            if run in children:
                collections.remove_from_chain(chain, run)
            collections.prepend_chain(chain, run)
        if instrument and defaults_collection(instrument) in have:
            members = collections.get_info(defaults_collection(instrument)).children
            if chain not in members:
                collections.prepend_chain(defaults_collection(instrument), chain)


def new_run(repo: Repository, instrument: str, stamp: str) -> str:
    """The RUN of calibrations made at `stamp`, entered where it is new."""
    name = gen_run(instrument, stamp)
    repo.ensure(name)
    return name


def certify_from(repo: Repository, ref: DatasetRef, begin: str = "", end: str = "", *, setup: str = "") -> None:
    """`certify_onward` of one calibration."""
    certify_onward(repo, [(ref, begin)], end, setup=setup)


def certify_onward(
    repo: Repository, items: Sequence[tuple[DatasetRef, str]], end: str = "", *, setup: str = ""
) -> None:
    """Make calibrations valid, each from its begin until `end`, or until the next one that is certified.

    An older one ends where this one begins; of two with the same begin this one takes the place. So calibrations that
    are made night after night follow one another without gaps. One that is certified already stays as it is.

    Parameters
    ----------
    items : (calibration, begin of its validity). begin, end : ISO times [TAI], "" is open.

    Raises
    ------
    UsageError
        a begin or `end` is no time; nothing is certified then.
    """

    groups: dict[tuple[str, Any], list[tuple[DatasetRef, Any]]] = {}
    for ref, begin in items:
        name = calib_collection(str(ref.dataId["instrument"]), setup)
        groups.setdefault((name, ref.datasetType), []).append((ref, span(begin or None, end or None)))
    registry = repo.butler.registry
    with speaking(str(repo.path)), repo.butler.transaction():
        for (name, kind), some in groups.items():
            repo.ensure(name, "calibration")
            there: dict[Any, list[tuple[Any, UUID]]] = {}
            for one in registry.queryDatasetAssociations(kind, name):
                if one.timespan is not None:
                    there.setdefault(one.ref.dataId, []).append((one.timespan, one.ref.id))
            for ended, when, refs in _steps(some, there, bool(end)):
                if ended:
                    registry.decertify(name, kind, when, dataIds=ended)
                registry.certify(name, refs, when)


def _steps(
    some: Sequence[tuple[DatasetRef, Any]], there: dict[Any, list[tuple[Any, UUID]]], ends: bool
) -> Iterator[tuple[list[Any], Any, list[DatasetRef]]]:
    """What is to be done one after the other: data ids to be freed within a span, the span, what is valid in it."""
    from lsst.daf.butler import Timespan

    steps: list[tuple[list[Any], Any, list[DatasetRef]]] = []
    at: dict[Any, int] = {}
    for ref, when in some:
        mine = there.setdefault(ref.dataId, [])
        if any(ident == ref.id for _, ident in mine):
            continue
        later = [] if ends else [s.begin for s, _ in mine if _after(s.begin, when.begin)]
        free = Timespan(when.begin, min(later)) if later else when
        over = any(s.overlaps(free) for s, _ in mine)
        there[ref.dataId] = [(rest, i) for s, i in mine for rest in s.difference(free)] + [(free, ref.id)]
        first = at.get(ref.dataId, -1) + 1
        number = next((n for n in range(first, len(steps)) if steps[n][1] == free), len(steps))
        if number == len(steps):
            steps.append(([], free, []))
        at[ref.dataId] = number
        steps[number][2].append(ref)
        if over:
            steps[number][0].append(ref.dataId)
    yield from steps


def _after(begin: Any, other: Any) -> bool:
    """Whether a validity begins after another; an open begin (None) is before all."""
    return begin is not None and (other is None or begin > other)


def forget(repo: Repository, ids: Sequence[UUID]) -> None:
    """Take datasets out of the repository; their files stay as they are, and may be those of other datasets by now.

    The library offers this for whole runs only, so that its parts are called here: records of files, then of datasets.
    """
    from fullwell.repo.bulk import known_refs

    refs = known_refs(repo, list(ids))
    if not refs:
        return
    butler: Any = repo.butler
    with speaking(str(repo.path)), butler.transaction():
        for one in {(a.collection, r.datasetType, r.dataId) for r in refs if r.datasetType.isCalibration()
                    for a in butler.registry.queryDatasetAssociations(r.datasetType, ...)
                    if a.ref.id == r.id and a.timespan is not None}:  # fmt: skip
            butler.registry.decertify(one[0], one[1], span(), dataIds=[one[2]])
        butler._datastore.forget(refs)
        butler.registry.removeDatasets(refs)
