"""Many datasets by few queries: what a plan needs to know of a repository."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fullwell.base.errors import UsageError
from fullwell.repo.calibs import shown
from fullwell.repo.layout import calib_collection, raw_run
from fullwell.repo.lookup import files_of
from fullwell.repo.repository import speaking

if TYPE_CHECKING:
    from lsst.daf.butler import DatasetRef

    from fullwell.repo.repository import Repository

__all__ = [
    "Certified",
    "RawRow",
    "Shelf",
    "enter_refs",
    "existing",
    "expanded",
    "known_refs",
    "known_types",
    "made_files",
    "places",
    "raws",
    "shelf",
]


EXAMPLE = "exposure.day_obs = 20241108 AND detector IN (0..8) AND physical_filter = 'r_03'"
"""A condition on exposures."""


@dataclass(frozen=True)
class RawRow:
    """A raw frame as the repository knows it.

    Parameters
    ----------
    id, path : of the dataset. instrument, exposure, detector, physical_filter, day_obs : of its data id.
    kind : type of the exposure. timespan : of the exposure. obs_id : the camera's own name of it.
    """

    id: str
    path: Path
    instrument: str
    exposure: int
    detector: int
    physical_filter: str
    day_obs: int
    kind: str
    obs_id: str
    timespan: Any


def raws(repo: Repository, instrument: str, where: str = "") -> list[RawRow]:
    """The raw frames of an instrument that fulfil a condition, by exposure and detector.

    Parameters
    ----------
    where : in the library's language ("exposure.day_obs = 20241108 AND detector IN (0..8)"); "" for all.

    Raises
    ------
    UsageError
        the condition cannot be read, or no raw frame of the instrument fulfils it.
    """
    place = f"{repo.path}, condition {where!r}" if where else str(repo.path)
    try:
        with speaking(place), repo.butler.query() as query:
            chosen = query.where(instrument=instrument)
            if where:
                chosen = chosen.where(where)
            refs = list(chosen.datasets("raw", [raw_run(instrument)], find_first=False))
            exposures = {r.id: r for r in query.where(instrument=instrument).dimension_records("exposure")}
    except UsageError as error:
        raise UsageError(
            error.problem, where=place, remedy=error.remedy or f"write it as in: {EXAMPLE}", code=error.code
        ) from error
    rows = []
    for ref, path in files_of(repo, refs):
        seen = exposures[ref.dataId["exposure"]]
        rows.append(
            RawRow(
                str(ref.id),
                path,
                instrument,
                int(seen.id),
                int(ref.dataId["detector"]),
                str(seen.physical_filter),
                int(seen.day_obs),
                str(seen.observation_type),
                str(seen.obs_id),
                seen.timespan,
            )
        )
    if not rows:
        raise UsageError(
            f"no raw frame of {instrument} fulfils {where!r}" if where else f"there are no raw frames of {instrument}",
            where=str(repo.path),
            remedy="fullwell repo ls lists what there is",
        )
    return sorted(rows, key=lambda r: (r.exposure, r.detector))


@dataclass(frozen=True)
class Certified:
    """A calibration that is valid for a span of time."""

    id: str
    kind: str
    run: str
    path: Path
    detector: int
    physical_filter: str
    timespan: Any


@dataclass
class Shelf:
    """All certified calibrations of an instrument, to be picked without further queries.

    Parameters
    ----------
    by_place : (kind, detector, physical filter; "" for a kind of all filters) -> what is valid there, in order of time.
    """

    instrument: str
    by_place: Mapping[tuple[str, int, str], Sequence[Certified]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._begins = {place: [c.timespan.nsec[0] for c in found] for place, found in self.by_place.items()}

    def valid(self, kind: str, detector: int, physical_filter: str, timespan: Any) -> list[Certified]:
        """What is valid at any moment of an exposure: one, as the library's own look-up finds it, or several, which
        that look-up refuses."""
        place = (kind, detector, physical_filter if kind in FILTERED else "")
        found = self.by_place.get(place, ())
        first, last = timespan.nsec
        start = max(bisect_right(self._begins.get(place, ()), first) - 1, 0)
        out = []
        for one in found[start:]:
            if one.timespan.nsec[0] >= last:
                break
            if one.timespan.nsec[1] > first:
                out.append(one)
        return out

    def nearest(self, kind: str, detector: int, physical_filter: str, timespan: Any) -> Certified | None:
        """Of the calibrations of a detector (and a filter) the one whose validity is nearest to an exposure."""
        same = self.by_place.get((kind, detector, physical_filter if kind in FILTERED else ""), ())
        return min(same, key=lambda c: _distance(c.timespan, timespan), default=None)

    def near(self, kind: str, detector: int, physical_filter: str, timespan: Any) -> str:
        """A sentence about what comes nearest to a calibration that is missing."""
        one = self.nearest(kind, detector, physical_filter, timespan)
        if one is not None:
            return f"the nearest {kind} of detector {detector} is valid {shown(one.timespan)} (run {one.run})"
        others = [key for key, found in self.by_place.items() if key[0] == kind and found]
        if not others:
            return f"no {kind} of {self.instrument} is certified: build and certify it (fullwell run calibs)"
        alike = [o for o in others if o[1] == detector] or others
        places = sorted(f"detector {d}" + (f", filter {f}" if f else "") for _, d, f in alike)
        return f"there is a {kind} of {'; '.join(places[:4])}"


def _distance(span: Any, other: Any) -> int:
    """Time between two spans that do not overlap [ns]."""
    (a, b), (c, d) = span.nsec, other.nsec
    return max(c - b, a - d, 0)


FILTERED = ("flat",)
"""Kinds of which each physical filter has its own."""


def known_types(repo: Repository, names: Iterable[str]) -> list[str]:
    """Those dataset types that the repository has; one that was made earlier lacks those that came later."""
    have = {kind.name for kind in repo.butler.registry.queryDatasetTypes()}
    return [name for name in names if name in have]


def shelf(repo: Repository, instrument: str, kinds: Iterable[str], setup: str = "") -> Shelf:
    """The certified calibrations of some kinds."""
    collection = calib_collection(instrument, setup)
    found: dict[tuple[str, int, str], list[Certified]] = defaultdict(list)
    with speaking(str(repo.path)):
        if collection not in repo.collections():
            return Shelf(instrument)
        for kind in known_types(repo, kinds):
            rows = list(repo.butler.registry.queryDatasetAssociations(kind, collection))
            paths = places(repo, {row.ref for row in rows})
            for row in rows:
                if row.timespan is None or row.ref.dataId["instrument"] != instrument or row.ref.id not in paths:
                    continue
                optics = str(row.ref.dataId["physical_filter"]) if kind in FILTERED else ""
                number = int(row.ref.dataId["detector"])
                one = Certified(str(row.ref.id), kind, row.ref.run, paths[row.ref.id], number, optics, row.timespan)
                found[kind, number, optics].append(one)
    return Shelf(instrument, {place: sorted(some, key=lambda c: c.timespan.nsec) for place, some in found.items()})


def places(repo: Repository, refs: Iterable[Any]) -> dict[Any, Path]:
    """Id of a dataset -> path of its file."""
    return {ref.id: path for ref, path in files_of(repo, refs)}


def existing(repo: Repository, dataset: str, chains: Sequence[str]) -> dict[tuple[Any, ...], tuple[str, Path]]:
    """Data id (values in the order of the dimensions) -> (id, path) of the first one in some chains; {} if none.

    `chains` : names, or patterns with ``*``; those that are not there are left out.
    """
    from lsst.daf.butler import CollectionType

    with speaking(str(repo.path)):
        have = sorted(repo.butler.collections.query("*", collection_types=CollectionType.CHAINED))
        names = [name for pattern in chains for name in have if fnmatchcase(name, pattern)]
        if not names:
            return {}
        refs = list(repo.butler.query_datasets(dataset, list(dict.fromkeys(names)), explain=False, limit=None))
        return {tuple(ref.dataId.required_values): (str(ref.id), path) for ref, path in files_of(repo, refs)}


def known_refs(repo: Repository, ids: Sequence[Any]) -> list[Any]:
    """The datasets of those ids that the repository knows."""
    found: list[Any] = []
    with speaking(str(repo.path)):
        for start in range(0, len(ids), 500):
            found += repo.butler.get_many_datasets(ids[start : start + 500])
    return found


def made_files(repo: Repository, datasets: Iterable[str]) -> list[tuple[Any, Path]]:
    """(dataset, file) of all datasets of some types, whatever their run."""
    out: list[tuple[Any, Path]] = []
    with speaking(str(repo.path)):
        for name in known_types(repo, datasets):
            refs = list(repo.butler.query_datasets(name, "*", find_first=False, explain=False, limit=None))
            out += files_of(repo, refs)
    return out


def expanded(repo: Repository, dataset: str, data_ids: Iterable[Mapping[str, Any]]) -> list[Any]:
    """Data ids of a dataset type with their dimension records, found by one query.

    One whose records are not in the repository comes as it is; to enter a dataset with it is an error.
    """
    from lsst.daf.butler import DataCoordinate

    butler = repo.butler
    dimensions = butler.get_dataset_type(dataset).dimensions
    plain = [DataCoordinate.standardize(dict(d), universe=butler.dimensions, dimensions=dimensions) for d in data_ids]
    with speaking(str(repo.path)), butler.query() as query:
        rows = query.join_data_coordinates(set(plain)).data_ids(dimensions).with_dimension_records()
        full = {row: row for row in rows}
    return [full.get(one, one) for one in plain]


def enter_refs(repo: Repository, items: Iterable[tuple[DatasetRef, Path]]) -> None:
    """Enter finished files where they lie, in one transaction; datasets that are known stay.

    Raises
    ------
    UsageError
        a dataset of another id has the place of one of these. FileError: the database cannot be written.
    """
    from lsst.daf.butler import FileDataset

    files = [FileDataset(str(path), [ref]) for ref, path in items]
    if files:
        with speaking(str(repo.path)), repo.butler.transaction():
            repo.butler.ingest(*files, transfer=None, record_validation_info=True, skip_existing=True)
