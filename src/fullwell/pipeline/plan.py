"""The plan of a run: which jobs, on which inputs, and why; what is there already, what is stale, what is missing.

The id of an output follows from what it is made of: the task, the ids of its inputs, the settings and the version of
the program. So a dataset is up to date where the repository knows the id that the plan expects.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid5

from fullwell.base.errors import UsageError
from fullwell.base.provenance import content_id
from fullwell.pipeline.jobs import Input, Job, Output
from fullwell.pipeline.judging import day_begin, relocated, required, why
from fullwell.pipeline.recipes import Recipe, TaskSpec
from fullwell.pipeline.settings import check_settings
from fullwell.repo.calibs import shown
from fullwell.repo.layout import DATASETS, file_path, gen_run, user_chain
from fullwell.repo.marks import Mark, marks

if TYPE_CHECKING:
    from fullwell.repo.bulk import Certified, RawRow, Shelf
    from fullwell.repo.repository import Repository

__all__ = ["Plan", "PlannedJob", "expected_id", "make_plan"]

NAMESPACE = UUID("6b1d2c1e-6f0b-5a57-9a39-3f1c2f6f7b11")
SPARED = ("gain",)
"""Calibrations that a job goes without where their making failed: it stays true, in adu or with nominal gains."""

_SCALES = ("memory",)
"""Settings that change how, not what, is computed."""


def expected_id(
    task: str,
    dataset: str,
    data_id: Mapping[str, Any],
    inputs: Iterable[Input],
    config: Mapping[str, Any],
    version: str,
) -> str:
    """The id of a dataset that is made in this way; the same at every site."""
    made_of = sorted((i.role, i.id) for i in inputs)
    return str(uuid5(NAMESPACE, content_id(task, dataset, dict(data_id), made_of, dict(config), version)))


@dataclass(frozen=True)
class PlannedJob:
    """A job of a plan.

    Parameters
    ----------
    job : what would be done. state : "new", "stale" (made of something else than it would be now), "exists", "missing"
        (an input is not there). reason : why, for people. after : ids of jobs whose outputs it reads.
    begin : from when its output is valid, where it is a calibration (ISO, TAI).
    """

    job: Job
    state: str
    reason: str = ""
    after: tuple[str, ...] = ()
    begin: str = ""

    @property
    def runs(self) -> bool:
        """Whether there is something to do."""
        return self.state in ("new", "stale")


@dataclass
class Plan:
    """What a run would do.

    Parameters
    ----------
    recipe, instrument, where : what was asked for. stamp : of the run. jobs : in the order of the recipe.
    notes : sentences for people about what is not done. cameras : camera file -> digest.
    again : plans the same anew, see `lost` of `make_plan`.
    """

    recipe: str
    instrument: str
    where: str
    stamp: str
    version: str
    runs: Mapping[str, str]
    jobs: list[PlannedJob] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    cameras: dict[str, str] = field(default_factory=dict)
    again: Callable[..., Plan] | None = field(default=None, repr=False, compare=False)

    @property
    def to_run(self) -> list[PlannedJob]:
        """Jobs to be done."""
        return [j for j in self.jobs if j.runs]

    @property
    def missing(self) -> list[PlannedJob]:
        """Jobs that cannot be done because an input is not there."""
        return [j for j in self.jobs if j.state == "missing"]

    def counts(self) -> dict[tuple[str, str], int]:
        """(task, state) -> number of jobs."""
        return dict(Counter((j.job.task, j.state) for j in self.jobs))

    def header(self) -> dict[str, Any]:
        """What is kept with the jobs so that the run can be resumed, JSON types only."""
        return {
            "recipe": self.recipe,
            "instrument": self.instrument,
            "where": self.where,
            "stamp": self.stamp,
            "fullwell": self.version,
            "runs": dict(self.runs),
            "begins": {j.job.id: j.begin for j in self.to_run if j.begin},
            "cameras": dict(self.cameras),
        }

    def to_dict(self) -> dict[str, Any]:
        """The plan as JSON types."""
        return {
            **{k: v for k, v in self.header().items() if k not in ("begins", "cameras")},
            "notes": self.notes,
            "jobs": [
                {
                    "id": j.job.id,
                    "task": j.job.task,
                    "data_id": dict(j.job.outputs[0].data_id),
                    "state": j.state,
                    "reason": j.reason,
                    "inputs": dict(Counter(i.role for i in j.job.inputs)),
                }
                for j in self.jobs
            ],
        }


class _Planner:
    """State of the making of one plan."""

    def __init__(
        self,
        repo: Repository,
        recipe: Recipe,
        instrument: str,
        where: str,
        stamp: str,
        user: str,
        setup: str,
        accept: Collection[str],
        lost: Mapping[str, str],
    ) -> None:
        from fullwell import __version__
        from fullwell.repo.bulk import shelf

        self.repo, self.recipe, self.instrument, self.where = repo, recipe, instrument, where
        self.accept, self.lost = accept, lost
        self.accepted: Counter[tuple[str, Certified]] = Counter()
        self.spared: set[tuple[str, int]] = set()
        self.marks: dict[str, Mark] = {}
        self.replaced: set[str] = set()
        self.version = __version__
        made = [t.output for t in recipe.tasks]
        runs = {o: gen_run(instrument, stamp) for o in made if o in DATASETS and DATASETS[o].calibration}
        runs |= {o: f"{user_chain(user, recipe.name)}/{stamp}" for o in made if o not in runs}
        mine = user_chain(user, recipe.name)
        self.chains = (mine, f"{mine.rsplit('/', 1)[0]}/*")
        self.plan = Plan(recipe.name, instrument, where, stamp, __version__, runs)
        kinds = {k for t in recipe.tasks for k in (*t.needs, *t.takes)} | {t.output for t in recipe.tasks}
        self.shelf: Shelf = shelf(repo, instrument, sorted(k for k in kinds if DATASETS[k].calibration), setup)
        self.made: dict[tuple[str, int, str], PlannedJob] = {}
        self.root = repo.root
        self.full = _full(instrument)
        self.days: dict[str, str] = {}

    def rows(self, spec: TaskSpec) -> list[RawRow]:
        """The raw frames that a task may read."""
        from fullwell.repo.bulk import raws

        both = " AND ".join(f"({w})" for w in (self.where, spec.where) if w)
        if both not in self._cache:
            self._cache[both] = raws(self.repo, self.instrument, both)
            self.replaced |= {row.id for row in self._cache[both] if row.id in self.marks and self._other(row)}
        return self._cache[both]

    def _other(self, row: RawRow) -> bool:
        """Whether another file has the place of a raw frame now."""
        return row.id not in self.replaced and self.marks[row.id].differs(row.path)

    _cache: dict[str, list[RawRow]]

    def make(self) -> Plan:
        """All jobs of all tasks."""
        self._cache, self.marks = {}, marks(self.repo)
        drafts: list[tuple[TaskSpec, PlannedJob]] = []
        for spec in self.recipe.tasks:
            rows = self.rows(spec) if spec.raws else []
            some = self._by_exposure(spec, rows) if spec.by_exposure else self._by_detector(spec, rows)
            for draft in some:
                if draft.job.id in self.lost:
                    draft = replace(draft, state="missing", reason=self.lost[draft.job.id])
                out = draft.job.outputs[0]
                key = (spec.output, int(out.data_id["detector"]), str(out.data_id.get("physical_filter", "")))
                if not spec.by_exposure:
                    self.made[key] = draft
                if draft.job.id in self.lost and spec.output in SPARED:
                    self.spared.add(key[:2])
                drafts.append((spec, draft))
        self.plan.jobs = self._judged(drafts)
        self._note_idle()
        self._note_accepted()
        return self.plan

    def _note_idle(self) -> None:
        """Say which calibrations are there and yet never taken, since they are valid at no time."""
        valid = {one.id for some in self.shelf.by_place.values() for one in some}
        runs: dict[tuple[str, str], list[str]] = defaultdict(list)
        for one in self.plan.jobs:
            kind = one.job.outputs[0].dataset_type
            if one.state == "exists" and DATASETS[kind].calibration and one.job.id not in valid:
                runs[str(one.job.context["run"]), one.begin].append(kind)
        for (run, begin), kinds in runs.items():
            what = " ".join(dict.fromkeys(kinds))
            self.plan.notes.append(
                f"{len(kinds)} calibrations of {run} are there, but valid at no time; to make them valid: "
                f"fullwell repo certify {what} --run {run}" + (f" --begin {begin}" if begin else "")
            )

    def _by_exposure(self, spec: TaskSpec, rows: Sequence[RawRow]) -> Iterable[PlannedJob]:
        (role, kind), *_ = spec.raws.items()
        if not any(row.kind == kind for row in rows):
            self.plan.notes.append(f"nothing for task '{spec.task}': of {len(rows)} raw frames none is a {kind} frame")
        for row in rows:
            if row.kind == kind:
                data_id = {"instrument": row.instrument, "detector": row.detector, "exposure": row.exposure}
                yield self._job(spec, data_id, [_raw(role, row)], [row])

    def _by_detector(self, spec: TaskSpec, rows: Sequence[RawRow]) -> Iterable[PlannedJob]:
        filtered = "physical_filter" in DATASETS[spec.output].dimensions
        groups: dict[tuple[int, str], dict[str, list[RawRow]]] = defaultdict(lambda: defaultdict(list))
        for row in rows:
            for role, kind in spec.raws.items():
                if row.kind == kind:
                    groups[row.detector, row.physical_filter if filtered else ""][role].append(row)
        if not spec.raws:
            enough = set(spec.any_of or (*spec.needs, *spec.takes))
            groups.update({(d, ""): {} for kind, d, _ in self.made if kind in enough})  # type: ignore[dict-item]
        for (detector, optics), found in sorted(groups.items()):
            few = [r for r, n in spec.fewest.items() if len(found.get(r, ())) < n]
            label = f"{spec.output} of detector {detector}" + (f", filter {optics}" if optics else "")
            if few:
                have = len(found.get(few[0], ()))
                self.plan.notes.append(
                    f"no {label}: it takes {spec.fewest[few[0]]} {spec.raws[few[0]]} frames, there are {have}"
                )
                continue
            data_id: dict[str, Any] = {"instrument": self.instrument, "detector": detector}
            if filtered:
                data_id["physical_filter"] = optics
            every = [(role, row) for role in spec.raws for row in found[role]]
            yield self._job(spec, data_id, [_raw(role, row) for role, row in every], [row for _, row in every])

    def _job(self, spec: TaskSpec, data_id: dict[str, Any], inputs: list[Input], rows: Sequence[RawRow]) -> PlannedJob:
        """One job with its calibrations; "missing" where one that it needs is not there."""
        absent, after, told = [], [], {}
        absent += [
            f"{row.path} is not the file that was entered: put that one back, or take the frame out of the repository "
            "(the library's command butler prune-datasets) and enter this one"
            for row in rows
            if row.id in self.replaced
        ][:1]
        optics = str(data_id.get("physical_filter") or (rows[0].physical_filter if rows and spec.by_exposure else ""))
        when = rows[0].timespan if rows else None
        for kind in (*spec.needs, *spec.takes):
            if kind == "gain" and any(one.dataset_type == "ptc" for one in inputs):
                continue
            found, problem = self._calibrations(spec, kind, int(data_id["detector"]), optics, when)
            if problem:
                absent.append(problem)
            for one, run, maker in found:
                inputs.append(one)
                told[one.id] = {"run": run}
                if maker is not None:
                    after.append(maker)
        config = {**spec.config, **({"full": True} if self.full else {})}
        kept = self._kept(config)
        ident = expected_id(spec.task, spec.output, data_id, inputs, kept, self.version)
        run = self.plan.runs[spec.output]
        place = {**data_id, **({"day_obs": rows[0].day_obs} if spec.by_exposure else {})}
        output = Output(spec.output, ident, str(self.root / file_path(spec.output, run, place)), data_id)
        context = {
            "recipe": self.recipe.name,
            "run": run,
            "version": self.version,
            "config": content_id(kept),
            "inputs": told,
            "frames": {row.id: {"exposure": row.exposure, "detector": row.detector} for row in rows},
        }
        job = Job(ident, spec.task, tuple(inputs), (output,), config, context, f"{data_id['detector']}/{optics}")
        begin = "" if spec.by_exposure else day_begin(rows) if rows else self._inherited(after)
        self.days[ident] = begin
        state, reason = ("missing", "; ".join(absent)) if absent else ("new", "")
        return PlannedJob(job, state, reason, tuple(after), begin if DATASETS[spec.output].calibration else "")

    def _kept(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """The settings that the pixels follow from; a camera file by what it holds, wherever it lies."""
        from fullwell import io

        kept = {k: v for k, v in config.items() if k not in _SCALES}
        camera = str(kept.get("camera") or "")
        if Path(camera).suffix:
            if camera not in self.plan.cameras:
                self.plan.cameras[camera] = io.file_digest(camera)
            kept["camera"] = self.plan.cameras[camera]
        return kept

    def _inherited(self, after: Sequence[str]) -> str:
        """A product of products is valid from when the first of them is: what was made together belongs together."""
        return min((self.days[a] for a in after if self.days.get(a)), default="")

    def _calibrations(
        self, spec: TaskSpec, kind: str, detector: int, optics: str, when: Any
    ) -> tuple[list[tuple[Input, str, str | None]], str]:
        """(input, its run, the job that makes it) of a kind: made in this plan, or certified; of a task for all
        filters the flats of all. Then why the job cannot go without, "" where it can."""
        keys = [(kind, detector, optics if kind == "flat" else "")]
        if kind == "flat" and not optics:
            keys = sorted(k for k in self.made if k[:2] == (kind, detector))
        out: list[tuple[Input, str, str | None]] = []
        for key in keys:
            planned = self.made.get(key)
            if planned is not None and planned.state != "missing":
                made = planned.job.outputs[0]
                role = kind if len(keys) == 1 else f"{kind} {key[2]}"
                out.append((Input(role, made.id, made.path, kind), str(planned.job.context["run"]), planned.job.id))
            elif planned is not None and planned.job.id in self.lost and kind not in SPARED:
                return [], f"no {kind}: {self.lost[planned.job.id]}"
        if out or when is None:
            return out, f"no {kind}" if not out and kind in spec.needs else ""
        found, problem = self._certified(spec, kind, detector, optics, when)
        return [(Input(kind, one.id, str(one.path), kind), one.run, None) for one in found], problem

    def _certified(
        self, spec: TaskSpec, kind: str, detector: int, optics: str, when: Any
    ) -> tuple[list[Certified], str]:
        """The calibration that is valid for an exposure, or the nearest where that is accepted; then what is wrong."""
        found = self.shelf.valid(kind, detector, optics, when)
        if len(found) > 1:
            runs = " and ".join(one.run for one in found)
            return [], f"{len(found)} {kind} are valid during the exposure, of {runs}: end the validity of one"
        if found:
            return found, ""
        near = self.shelf.nearest(kind, detector, optics, when)
        if near is not None and kind in self.accept:
            self.accepted[kind, near] += 1
            return [near], ""
        expected = spec.by_exposure and near is not None and (kind, detector) not in self.spared
        if not (kind in spec.needs or expected):
            return [], ""
        way = f"; to take it all the same: --accept {kind}" if near is not None else ""
        return [], f"no {kind}: {self.shelf.near(kind, detector, optics, when)}{way}"

    def _note_accepted(self) -> None:
        """Say which calibrations were taken because the user accepts it."""
        for (kind, near), number in self.accepted.items():
            self.plan.notes.append(
                f"accepted for {number} jobs: the {kind} of run {near.run}, valid {shown(near.timespan)}, is taken"
            )

    def _judged(self, drafts: Sequence[tuple[TaskSpec, PlannedJob]]) -> list[PlannedJob]:
        """Which jobs have been done already, which have been done otherwise."""
        from fullwell.repo.bulk import existing, known_refs, places

        refs = {str(ref.id): ref for ref in known_refs(self.repo, [UUID(d.job.id) for _, d in drafts])}
        files = {str(i): p for i, p in places(self.repo, refs.values()).items()}
        moved = {ident: (str(path), refs[ident].run) for ident, path in files.items()}
        found: dict[str, Any] = {}
        out: list[PlannedJob] = []
        for spec, draft in drafts:
            job, path = relocated(draft.job, moved), files.get(draft.job.id)
            if draft.state == "missing":
                state, reason = "missing", draft.reason
            elif path is None:
                if spec.output not in found:
                    found[spec.output] = existing(self.repo, spec.output, self.chains) if spec.by_exposure else {}
                state, reason = self._age(spec, job, draft.begin, found[spec.output])
            elif not path.exists():
                state, reason = "new", f"its file is gone: {path}"
            elif other := self._instead(spec, job, draft.begin):
                state, reason = "stale", f"made before, but another is valid instead: {other}"
            else:
                state, reason = "exists", "made of the same inputs, settings and version"
            out.append(replace(draft, job=job, state=state, reason=reason))
        return out

    def _age(
        self, spec: TaskSpec, job: Job, begin: str, there: Mapping[tuple[Any, ...], tuple[str, Any]]
    ) -> tuple[str, str]:
        key = tuple(job.outputs[0].data_id[d] for d in required(spec.output))
        reason = why(there[key][1], job) if key in there else self._instead(spec, job, begin)
        return ("stale", reason) if reason else ("new", "not made yet")

    def _instead(self, spec: TaskSpec, job: Job, begin: str) -> str:
        """How a calibration of the same frames that is valid differs from what the job makes; "" if there is none."""
        from fullwell.repo.calibs import moment_text

        data_id = job.outputs[0].data_id
        place = (spec.output, int(data_id["detector"]), str(data_id.get("physical_filter", "")))
        there = [] if spec.by_exposure else self.shelf.by_place.get(place, ())
        if any(one.id == job.id for one in there):
            return ""
        frames = {i.id for i in job.inputs if i.dataset_type == "raw"}
        for one in there:
            if frames or (moment_text(one.timespan.begin) or "") == begin:
                reason = why(one.path, job, frames)
                if reason:
                    return reason
        return ""


def _raw(role: str, row: RawRow) -> Input:
    return Input(role, row.id, str(row.path), "raw")


def _full(instrument: str) -> bool:
    """Whether the camera's own recipe is the full one, so that dormant steps run."""
    from fullwell import instruments
    from fullwell.repo.dimensions import instrument_of

    return instruments.get(instrument_of(instrument)).recipe == "lsst"


def make_plan(
    repo: Repository,
    recipe: Recipe,
    *,
    instrument: str = "",
    where: str = "",
    stamp: str = "",
    user: str = "",
    setup: str = "",
    accept: Collection[str] = (),
    lost: Mapping[str, str] | None = None,
) -> Plan:
    """Say what a recipe would do on the raw frames of a repository that fulfil a condition; nothing is written.

    Parameters
    ----------
    instrument : "" for the only one. where : condition in the library's language.
    stamp : of the run, "" for the present time. user : whose outputs; "" for who runs this.
    setup : of the calibrations, where an instrument has several read-out modes.
    accept : kinds of calibration of which the nearest of a detector (and filter) is taken where none is valid for an
        exposure; without it such an exposure is "missing".
    lost : id of a job -> why it failed, of an earlier run; what uses its output does without where it may (`SPARED`).

    Raises
    ------
    UsageError
        no frame fulfils the condition, it cannot be read, or there are several instruments and none is chosen.
        ConfigError: a setting of a step that there is not.
    """
    from fullwell.pipeline.runs import now_stamp, only_instrument, who

    name = only_instrument(repo, instrument)
    check_settings(recipe)
    known = [kind for kind, one in DATASETS.items() if one.calibration]
    strange = sorted(set(accept) - set(known))
    if strange:
        raise UsageError(
            f"there is no calibration '{strange[0]}' to accept", where="--accept", remedy=f"one of {', '.join(known)}"
        )
    args = (repo, recipe, name, where, stamp or now_stamp(), user or who(), setup, frozenset(accept), dict(lost or {}))
    plan = _Planner(*args).make()
    plan.again = partial(make_plan, repo, recipe, instrument=name, where=where, user=user, setup=setup, accept=accept)
    return plan
