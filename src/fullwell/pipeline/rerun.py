"""Making a dataset again, to see whether the same comes out.

The job is taken from the plan of the run that made it. Where that is gone, as in an exported repository, it is put
together from what the file says of its inputs and from the record of the run, which holds the settings.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import numpy as np

from fullwell.base.errors import FileError, FullwellError, MissingProduct, UsageError
from fullwell.pipeline.jobs import Input, Job, Output
from fullwell.pipeline.runs import RECORD, run_folder
from fullwell.repo.provenance import Origin, read_origin

if TYPE_CHECKING:
    from lsst.daf.butler import DatasetRef

    from fullwell.repo.repository import Repository

__all__ = ["VOLATILE", "Part", "Rerun", "compare", "rerun"]

VOLATILE: Mapping[str, str] = {
    "CHECKSUM": "covers the header, which holds the time of making",
    "CALIB_CREATION_DATE": "when the product was made",
    "CALIB_CREATION_TIME": "when the product was made",
}
"""Keywords that may differ between two makings of a dataset, and why."""


@dataclass(frozen=True)
class Part:
    """One part of a file, compared.

    Parameters
    ----------
    name : of the HDU, or "table". same : whether all values are. differ : how many values differ.
    largest : difference of numbers; nan where there are none. note : of what else differs (shape, type).
    """

    name: str
    same: bool
    differ: int = 0
    largest: float = float("nan")
    note: str = ""


@dataclass
class Rerun:
    """What came of making a dataset again.

    Parameters
    ----------
    id, dataset_type, data_id, path : of the dataset. task : that made it.
    source : where the job was found ("plan" of the run, or "record": put together anew).
    version : of the program that made it; now : that of this one.
    parts : of the file. cards : (HDU, keyword, before, now) that differ beyond `VOLATILE`.
    """

    id: str
    dataset_type: str
    data_id: Mapping[str, Any]
    path: Path
    task: str
    source: str
    version: str
    now: str
    parts: list[Part] = field(default_factory=list)
    cards: list[tuple[str, str, Any, Any]] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether the same came out."""
        return not self.cards and all(part.same for part in self.parts)

    def to_dict(self) -> dict[str, Any]:
        """JSON types only."""
        return {
            **vars(self),
            "data_id": dict(self.data_id),
            "path": str(self.path),
            "parts": [vars(part) for part in self.parts],
            "cards": [[hdu, key, _plain(old), _plain(new)] for hdu, key, old, new in self.cards],
            "ok": self.ok,
        }


def _plain(value: Any) -> Any:
    return value if isinstance(value, str | int | float | bool | type(None)) else str(value)


def rerun(repo: Repository, dataset: Any, folder: Path | str) -> Rerun:
    """Make a dataset again in `folder`, and compare.

    Parameters
    ----------
    dataset : id, reference, or path of a file that carries an id. folder : the new file is left there.

    Raises
    ------
    UsageError
        it was not made by a task (a raw frame, a product from elsewhere), or its settings are not known any more.
    MissingProduct
        the dataset or one of its inputs is not in the repository. FileError: a file of these is gone.
    FullwellError
        whatever the task raises.
    """
    from fullwell import __version__
    from fullwell.pipeline.executors.worker import Cache
    from fullwell.pipeline.tasks import TASKS

    ref, path = _found(repo, dataset)
    origin = read_origin(path)
    if ref.datasetType.name in ("raw", RECORD) or not origin.recipe:
        raise UsageError(
            f"this {ref.datasetType.name} was not made by a task: there is nothing to repeat",
            where=str(path),
            remedy="give the id of a calibration or a corrected frame that a run has made (fullwell repo ls datasets)",
        )
    job, source = _planned(repo, ref, origin), "plan"
    if job is None:
        job, source = _rebuilt(repo, ref, origin), "record"
    job = _with_inputs(repo, job)
    target = Path(folder) / path.name
    target.parent.mkdir(parents=True, exist_ok=True)
    again = replace(job, outputs=tuple(replace(o, path=str(target)) for o in job.outputs if o.id == str(ref.id)))
    TASKS[job.task](again, Cache())
    result = Rerun(
        str(ref.id),
        ref.datasetType.name,
        dict(ref.dataId.required),
        path,
        job.task,
        source,
        origin.version,
        __version__,
    )
    result.parts, result.cards = compare(path, target)
    return result


def _found(repo: Repository, dataset: Any) -> tuple[DatasetRef, Path]:
    """The dataset and its file."""
    from fullwell.repo.bulk import known_refs
    from fullwell.repo.provenance import dataset_id

    ident = dataset_id(dataset)
    refs = known_refs(repo, [UUID(ident)])
    if not refs:
        raise MissingProduct(
            f"the dataset {ident} is not in this repository",
            where=str(repo.path),
            remedy="fullwell repo ls datasets lists the ids",
            code="FW303",
        )
    path = repo.file_of(refs[0])
    if not path.exists():
        raise FileError(
            f"the file of this {refs[0].datasetType.name} is gone, so that there is nothing to compare with",
            where=str(path),
            remedy="fullwell repo check tells what else is missing; a run of its recipe makes it again",
            code="FW183",
        )
    return refs[0], path


def _planned(repo: Repository, ref: DatasetRef, origin: Origin) -> Job | None:
    """The job in the plan of the run that made the dataset; None where that plan is gone or cannot be read."""
    from fullwell.pipeline.journal import load

    stamp = (origin.run or ref.run).rsplit("/", 1)[-1]
    try:
        saved = load(run_folder(repo, stamp))
    except FullwellError:
        return None
    return next((job for job in saved.jobs if any(out.id == str(ref.id) for out in job.outputs)), None)


def _rebuilt(repo: Repository, ref: DatasetRef, origin: Origin) -> Job:
    """The job as the file and the record of its run tell it."""
    from fullwell.repo.bulk import known_refs

    told = _told(repo, ref, origin)
    known = {str(r.id): r for r in known_refs(repo, [UUID(s.id) for s in origin.inputs])}
    inputs = tuple(Input(s.role, s.id, "", s.dataset_type) for s in origin.inputs)
    data_id = dict(ref.dataId.required)
    frames = {
        i: {"exposure": r.dataId["exposure"], "detector": r.dataId["detector"]}
        for i, r in known.items()
        if r.datasetType.name == "raw"
    }
    context = {
        "run": origin.run,
        "version": origin.version,
        "config": origin.config,
        "inputs": {s.id: {"run": s.run} for s in origin.inputs if s.run and s.dataset_type != "raw"},
        "frames": frames,
    }
    output = Output(ref.datasetType.name, str(ref.id), "", data_id)
    return Job(str(ref.id), origin.recipe, inputs, (output,), told, context)


def _told(repo: Repository, ref: DatasetRef, origin: Origin) -> Mapping[str, Any]:
    """The settings whose digest the file has, from the record of its run, or of any other run."""
    from fullwell.repo.bulk import made_files
    from fullwell.repo.repository import speaking

    with speaking(str(repo.path)):
        records = sorted(made_files(repo, [RECORD]), key=lambda one: one[0].run != ref.run)
    for _, path in records:
        for task in _tasks(path):
            if task.get("digest") == origin.config:
                found: Mapping[str, Any] = task["config"]
                return found
    raise UsageError(
        f"the settings of this {ref.datasetType.name} are not known any more: no record of a run has {origin.config}",
        where=str(repo.path),
        remedy="repeat it in the repository where it was made, or with fullwell run and the settings that you know",
    )


def _tasks(path: Path) -> list[dict[str, Any]]:
    import json

    try:
        found = json.loads(path.read_text())["tasks"]
    except (OSError, ValueError, KeyError):
        return []
    return list(found)


def _with_inputs(repo: Repository, job: Job) -> Job:
    """The job with its inputs where they are now."""
    from fullwell.repo.bulk import known_refs, places

    paths = {str(i): p for i, p in places(repo, known_refs(repo, [UUID(i.id) for i in job.inputs])).items()}
    for one in job.inputs:
        what = f"the {one.dataset_type or one.role} {one.id}, from which it was made,"
        if one.id not in paths:
            raise MissingProduct(
                f"{what} is not in this repository",
                where=str(repo.path),
                remedy="repeat it where it was made, or export it together with its inputs",
                code="FW303",
            )
        if not paths[one.id].exists():
            raise FileError(
                f"the file of {what} is gone",
                where=str(paths[one.id]),
                remedy="fullwell repo check tells what else is missing",
                code="FW183",
            )
    return replace(job, inputs=tuple(replace(i, path=str(paths[i.id])) for i in job.inputs))


def compare(one: Path, other: Path) -> tuple[list[Part], list[tuple[str, str, Any, Any]]]:
    """Parts of two files, and the keywords in which they differ beyond those of `VOLATILE`.

    Parameters
    ----------
    one, other : FITS files, or ECSV tables.
    """
    if one.suffix == ".ecsv":
        return _compare_tables(one, other)
    from astropy.io import fits

    parts: list[Part] = []
    cards: list[tuple[str, str, Any, Any]] = []
    with fits.open(one, memmap=False) as old, fits.open(other, memmap=False) as new:
        names = [(hdu.name or str(i), i) for i, hdu in enumerate(old)]
        for name, i in names:
            if i >= len(new):
                parts.append(Part(name, False, note="the new file does not have it"))
                continue
            parts.append(_values(name, old[i].data, new[i].data))
            cards += _keywords(name, dict(_pairs(old[i].header)), dict(_pairs(new[i].header)))
        parts += [Part(hdu.name, False, note="the old file does not have it") for hdu in new[len(old) :]]
    return parts, cards


def _pairs(header: Any) -> Iterator[tuple[str, Any]]:
    """Keyword and value; of a keyword that comes several times (COMMENT, HISTORY) all values as one text."""
    for key in dict.fromkeys(header.keys()):
        yield key, "\n".join(map(str, header[key])) if header.count(key) > 1 else header[key]


def _keywords(name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> list[tuple[str, str, Any, Any]]:
    keys = [k for k in dict.fromkeys([*old, *new]) if k not in VOLATILE]
    return [(name, k, old.get(k), new.get(k)) for k in keys if old.get(k) != new.get(k)]


def _values(name: str, old: Any, new: Any) -> Part:
    """Two arrays; values that are no numbers are alike."""
    if old is None or new is None:
        return Part(name, old is new, note="" if old is new else "one of the two has no data")
    if old.shape != new.shape or old.dtype != new.dtype:
        return Part(name, False, note=f"{old.shape} {old.dtype} before, {new.shape} {new.dtype} now")
    if old.dtype.names:
        differ = sum(int(np.count_nonzero(np.asarray(old[c]) != np.asarray(new[c]))) for c in old.dtype.names)
        return Part(name, differ == 0, differ)
    off = (old != new) & ~((old != old) & (new != new))
    largest = float(np.max(np.abs(old[off].astype(float) - new[off]))) if off.any() else float("nan")
    return Part(name, not off.any(), int(np.count_nonzero(off)), largest)


def _compare_tables(one: Path, other: Path) -> tuple[list[Part], list[tuple[str, str, Any, Any]]]:
    from astropy.table import Table

    old, new = (Table.read(path, format="ascii.ecsv") for path in (one, other))
    cards = _keywords("table", dict(old.meta), dict(new.meta))
    if old.colnames != new.colnames or len(old) != len(new):
        return [Part("table", False, note="other columns or another number of rows")], cards
    differ = sum(
        sum(not _alike(a, b) for a, b in zip(old[name].tolist(), new[name].tolist(), strict=True))
        for name in old.colnames
    )
    return [Part("table", differ == 0, differ)], cards


def _alike(one: Any, other: Any) -> bool:
    return bool(one == other) or (one != one and other != other)
