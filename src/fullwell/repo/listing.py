"""What a repository holds, as rows for people and programs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fullwell.repo.lookup import files_of
from fullwell.repo.repository import speaking

if TYPE_CHECKING:
    from lsst.daf.butler import DatasetRef

    from fullwell.repo.repository import Repository

__all__ = ["collections", "data_id_of", "datasets", "describe", "exposures", "instruments"]


def data_id_of(ref: DatasetRef) -> dict[str, Any]:
    """The values that name a dataset within its type and run."""
    return {str(k): v for k, v in ref.dataId.required.items()}


def _asked(repo: Repository, where: str) -> str:
    return f"{repo.path}, condition {where!r}" if where else str(repo.path)


def instruments(repo: Repository) -> list[dict[str, Any]]:
    """For each instrument: name, number of detectors and exposures, filters."""
    out = []
    with speaking(str(repo.path)), repo.butler.query() as query:
        for name in repo.instruments():
            mine = query.where(instrument=name)
            out.append(
                {
                    "instrument": name,
                    "detectors": mine.dimension_records("detector").count(),
                    "exposures": mine.dimension_records("exposure").count(),
                    "filters": sorted(r.name for r in mine.dimension_records("physical_filter")),
                }
            )
    return out


def exposures(repo: Repository, where: str = "", names: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """The exposures that fulfil a condition, by instrument and time, with the number of their raw frames.

    Parameters
    ----------
    where : in the library's language; "" for all. names : of instruments; None for all.

    Raises
    ------
    UsageError
        the condition cannot be read.
    """
    out, known = [], _known(repo.butler)
    with speaking(_asked(repo, where)), repo.butler.query() as query:
        for name in repo.instruments() if names is None else names:
            mine = query.where(instrument=name)
            frames: dict[int, int] = {}
            if "raw" in known:
                for row in mine.join_dataset_search("raw").data_ids(["exposure", "detector"]):
                    frames[int(row["exposure"])] = frames.get(int(row["exposure"]), 0) + 1
            chosen = mine.where(where) if where else mine
            for r in sorted(chosen.dimension_records("exposure"), key=_when):
                out.append(
                    {
                        "instrument": name,
                        "exposure": int(r.id),
                        "day_obs": int(r.day_obs),
                        "seq_num": r.seq_num,
                        "kind": r.observation_type,
                        "filter": r.physical_filter,
                        "exposure_time": r.exposure_time,
                        "target": r.target_name or "",
                        "frames": frames.get(int(r.id), 0),
                    }
                )
    return out


def _when(record: Any) -> tuple[int, int]:
    """The begin of an exposure [ns], and its number."""
    return int(record.timespan.nsec[0]) if record.timespan is not None else 0, int(record.id)


def datasets(
    repo: Repository,
    where: str = "",
    kinds: Iterable[str] = (),
    within: Sequence[str] = (),
    names: Sequence[str] | None = None,
) -> list[dict[str, Any]]:
    """The datasets that fulfil a condition: id, type, run, data id, path; by type, run and data id.

    Parameters
    ----------
    where : in the library's language; "" for all. kinds : dataset types, () for all. within : collections, () for all.
    names : of instruments, None for all.

    Raises
    ------
    UsageError
        the condition cannot be read; there is no such dataset type or collection.
    """
    butler, rows = repo.butler, []
    with speaking(_asked(repo, where)):
        every = butler.collections.query_info("*" if not within else list(within), include_summary=True)
        held = {kind for one in every for kind in (one.dataset_types or ())}
        wanted = list(kinds) or sorted(held & _known(butler))
        for kind in wanted:
            for name in (repo.instruments() if names is None else names) if where else (None,):
                refs = butler.query_datasets(
                    kind,
                    collections=list(within) or "*",
                    find_first=False,
                    where=f"({where})" if where else "",
                    explain=False,
                    limit=None,
                    data_id={"instrument": name} if name else None,
                )
                rows += refs
        chosen = list({ref.id: ref for ref in rows}.values())
        if not where and names is not None:
            chosen = [ref for ref in chosen if ref.dataId.get("instrument") in names]
        paths = {ref.id: str(path) for ref, path in files_of(repo, chosen)}
    out = [
        {"dataset": r.datasetType.name, "id": str(r.id), "run": r.run, **data_id_of(r), "path": paths.get(r.id)}
        for r in chosen
    ]
    return sorted(out, key=lambda one: (one["dataset"], one["run"], str(list(one.values())[3:])))


def _known(butler: Any) -> set[str]:
    return {kind.name for kind in butler.registry.queryDatasetTypes()}


def collections(repo: Repository) -> list[dict[str, Any]]:
    """For each collection: name, kind, members of a chain, dataset types in it."""
    with speaking(str(repo.path)):
        found = repo.butler.collections.query_info("*", include_summary=True)
    return [
        {
            "collection": one.name,
            "kind": one.type.name.lower(),
            "members": list(one.children),
            "datasets": sorted(one.dataset_types or ()),
        }
        for one in sorted(found, key=lambda one: one.name)
    ]


def describe(repo: Repository, ref: DatasetRef) -> dict[str, Any]:
    """One dataset: type, id, run, data id, path, and of a calibration when it is valid."""
    from fullwell.repo.calibs import validity

    path = next((str(path) for _, path in files_of(repo, [ref])), None)
    out: dict[str, Any] = {
        "dataset": ref.datasetType.name,
        "id": str(ref.id),
        "run": ref.run,
        "data_id": data_id_of(ref),
        "path": path,
    }
    if ref.datasetType.isCalibration():
        out["valid"] = [{"collection": name, **_ends(span)} for name, span in validity(repo, ref)]
    return out


def _ends(span: Any) -> Mapping[str, str | None]:
    from fullwell.repo.calibs import moment_text

    return {"begin": moment_text(span.begin), "end": moment_text(span.end)}
