"""How what was made before is judged: whether it is what a job would make, and why not; from when it is valid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import replace
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from fullwell.pipeline.jobs import Job
from fullwell.repo.layout import DATASETS

if TYPE_CHECKING:
    from fullwell.repo.bulk import RawRow

__all__ = ["day_begin", "relocated", "required", "why"]

UNDATED = 19700101
"""Day of exposures without a date."""


def required(dataset: str) -> tuple[str, ...]:
    """Dimensions of a dataset type in the order in which the library has them in its data ids."""
    order = ("instrument", "detector", "physical_filter", "exposure")
    return tuple(d for d in order if d in DATASETS[dataset].dimensions)


def relocated(job: Job, moved: Mapping[str, tuple[str, str]]) -> Job:
    """The job with datasets that the repository knows where an earlier run put them: path and run by id."""
    if not moved.keys() & {job.id, *(i.id for i in job.inputs)}:
        return job
    inputs = tuple(replace(i, path=moved[i.id][0]) if i.id in moved else i for i in job.inputs)
    told = {i: {"run": moved[i][1]} if i in moved else how for i, how in job.context["inputs"].items()}
    context, outputs = {**job.context, "inputs": told}, job.outputs
    if job.id in moved:
        path, context["run"] = moved[job.id]
        outputs = tuple(replace(o, path=path) for o in outputs)
    return replace(job, inputs=inputs, outputs=outputs, context=context)


def why(path: Any, job: Job, frames: Set[str] = frozenset()) -> str:
    """Why a dataset that is there is not what the job would make; "" where it was made of none of `frames`."""
    from fullwell.base.errors import FullwellError
    from fullwell.repo.provenance import read_origin

    try:
        told = read_origin(path)
    except (FullwellError, OSError):
        return "" if frames else "the one that is there cannot be read"
    have, want = {s.id for s in told.inputs}, {i.id for i in job.inputs}
    if frames and not frames & have:
        return ""
    reasons = []
    if have != want:
        new = sorted({i.dataset_type for i in job.inputs if i.id not in have})
        less = sorted({i.dataset_type or "one input" for i in told.inputs if i.id not in want} - set(new))
        words = [", ".join(new)] * bool(new) + [f"one less: {', '.join(less)}"] * bool(less)
        reasons.append(f"its inputs changed ({'; '.join(words)})")
    if told.config and told.config != job.context["config"]:
        reasons.append("the settings changed")
    if told.version and told.version != job.context["version"]:
        reasons.append(f"made by version {told.version}")
    return "; ".join(reasons) or "made otherwise"


def day_begin(rows: Sequence[RawRow]) -> str:
    """The noon before the first of some frames, or that of its observing day where it is earlier [TAI], ISO.

    "" (valid from ever) where the frames have no date.
    """
    first = min(rows, key=lambda row: row.timespan.nsec)
    if first.day_obs <= UNDATED:
        return ""
    noon = int((first.timespan.begin.mjd - 0.5) // 1) + 0.5
    text = f"{first.day_obs:08d}"
    day = date(int(text[:4]), int(text[4:6]), int(text[6:]))
    noon = min(noon, (day - date(1858, 11, 17)).days + 0.5)
    return f"{date(1858, 11, 17) + timedelta(days=int(noon))}T12:00:00"
