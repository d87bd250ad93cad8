"""The science frames of a reduction: jobs of the pipeline, each a frame, entered in the repository of the output."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from fullwell.base.errors import FileError, FullwellError
from fullwell.frames import Frame, Plane
from fullwell.journeys.calibrate import Calibrations, Desk
from fullwell.journeys.keeping import ISR, Keeper
from fullwell.journeys.night import Item, Night
from fullwell.pipeline.jobs import Done, Input, Job, Output, Written
from fullwell.pipeline.plan import expected_id

if TYPE_CHECKING:
    from fullwell.pipeline.executors.worker import Cache

__all__ = ["FrameResult", "reduce_science"]

CALIBRATION_KINDS = ("bias", "dark", "flat", "defects")


@dataclass
class FrameResult:
    """What became of one science frame.

    Parameters
    ----------
    name : of the raw file; output : path of the reduced frame, None where it failed.
    state : "done", "kept" (it was there already, made of the same inputs) or "failed".
    products : role -> id of what was applied; left_out : step -> reason.
    sky : median of the good pixels; noise : their scatter from pixel to pixel; expected : root of the median variance,
        all in `unit`.
    ratio : scatter of the differences of neighbours, each in units of what their two variances say: 1 where the
        variance is true. Unlike noise/expected it does not depend on how the light is spread over the frame.
    """

    name: str
    output: Path | None = None
    state: str = "done"
    unit: str = ""
    products: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    sky: float = float("nan")
    noise: float = float("nan")
    expected: float = float("nan")
    ratio: float = float("nan")
    error: FullwellError | None = None

    def to_dict(self) -> dict[str, Any]:
        """The row as JSON types; measured numbers as {"value", "error", "unit"}."""
        return {
            "name": self.name,
            "output": None if self.output is None else str(self.output),
            "state": self.state,
            "products": self.products,
            "left_out": self.left_out,
            "sky": {"value": self.sky, "error": None, "unit": self.unit},
            "noise": {"value": self.noise, "error": None, "unit": self.unit},
            "expected_noise": {"value": self.expected, "error": None, "unit": self.unit},
            "noise_ratio": {"value": self.ratio, "error": None, "unit": ""},
            "error": None if self.error is None else str(self.error),
        }


@dataclass
class _Work:
    """One science frame on its way."""

    item: Item
    made: Calibrations
    result: FrameResult
    output: Path
    job: Job | None = None
    error: BaseException | None = None


class Science:
    """The science frames of a run: planned, computed by the driver of the pipeline in threads, entered by its sink."""

    def __init__(self, night: Night, made: Sequence[Calibrations], out: Path, desk: Desk, keeper: Keeper) -> None:
        self.desk, self.keeper, self.out = desk, keeper, out
        pairs = [(item, one) for one in made for item in night.of("science", one.setup)]
        paths = _outputs([item.path for item, _ in pairs], out)
        self.works = [
            _Work(item, one, FrameResult(item.name), path) for (item, one), path in zip(pairs, paths, strict=True)
        ]
        self.by_job: dict[str, _Work] = {}

    def plan(self) -> None:
        """The job of each frame; a frame for which a calibration is missing fails here."""
        from fullwell import __version__, io

        options = self.desk.options
        settings = options.model_dump(mode="json", include={"off", "settings", "components", "compress"})
        for work in self.works:
            item = work.item
            try:
                outline = Frame(
                    Plane(np.zeros((1, 1), np.float32)), observation=item.observation, source=str(item.path)
                )
                products = work.made.matching(outline, CALIBRATION_KINDS, options.accept)
                config = {**settings, "digest": io.file_digest(item.path)}
            except FullwellError as err:
                work.error = err
                continue
            work.result.products = {role: p.id for role, p in products.items()}
            inputs = [Input("raw", self.keeper.raw_ids[item.path], str(item.path), "raw")]
            inputs += [Input(role, str(UUID(p.id)), "", p.kind) for role, p in products.items()]
            data_id = {k: v for k, v in self.keeper.data_ids[item.path].items() if k != "physical_filter"}
            ident = expected_id("reduce", ISR, data_id, inputs, config, __version__)
            output = Output(ISR, ident, str(work.output.resolve()), data_id)
            context = {"run": self.keeper.run, "recipe": "reduce", "version": __version__, "config": ""}
            work.job = Job(ident, "reduce", tuple(inputs), (output,), config, context)
            self.by_job[ident] = work
            if item.path in self.keeper.failed:
                self.keeper.refused.add(ident)

    def keep(self) -> list[Done]:
        """Frames that an earlier run made of the same, and that are sound; a damaged one is taken away."""

        def look(work: _Work) -> Frame | None:
            return _kept(work.output, work.job.id) if work.job is not None else None

        out = []
        for work, frame in zip(self.works, self.desk.map(look, self.works), strict=True):
            if frame is not None and work.job is not None:
                work.result.state, work.result.output = "kept", work.output
                _measure(frame, work.result)
                out.append(Done(work.job.id, "reduce", "kept", outputs=_written(work.job)))
        return out

    def compute(self, job: Job, cache: Cache) -> None:
        """One frame: the task that the driver runs."""
        from fullwell import io
        from fullwell.pipeline.tasks import cards_of

        work, desk = self.by_job[job.id], self.desk
        work.error = None
        try:
            raw = desk.read(work.item)
            products = work.made.for_frame(raw, CALIBRATION_KINDS, desk.options.accept)
            done = desk.correct(raw, products, "generic")
            done = replace(done, metadata={**done.metadata, **cards_of(job, products), "FWRAW": work.item.name})
            io.write_frame(done, work.output, compress=desk.options.compress)
            _measure(done, work.result)
            work.result.output = work.output
        except Exception as err:
            work.error = err
            raise

    def run(self) -> list[FrameResult]:
        """All frames, in the order of the night.

        Raises
        ------
        FullwellError
            with the option `fail_fast`, that of the first frame that failed. KeyboardInterrupt: the user's.
        """
        from fullwell.pipeline.driver import Options, run
        from fullwell.pipeline.executors.threads import Threads

        self.plan()
        kept = self.keep()
        if kept:
            self.keeper.enter_frames(kept)
        left = [w.job for w in self.works if w.job is not None and w.result.state != "kept"]
        options = self.desk.options
        stopped = ""
        if left and not (options.fail_fast and any(w.error for w in self.works)):
            threads = Threads(self.desk.jobs, {"reduce": self.compute})
            try:
                how = Options(fail_fast=options.fail_fast, label="science frames")
                summary = run(left, {}, threads, _Sink(self.keeper), None, how)
            finally:
                threads.close()
            if summary.interrupted:
                raise KeyboardInterrupt
            stopped = summary.stopped
        first = next((w.error for w in self.works if w.error is not None), None)
        if options.fail_fast and first is not None:
            raise first
        return [self._finish(work, stopped) for work in self.works]

    def _finish(self, work: _Work, stopped: str) -> FrameResult:
        result = work.result
        if work.error is None and result.output is None and work.job is not None:
            frame = _kept(work.output, work.job.id)  # another reduction was quicker
            if frame is not None:
                result.state, result.output = "kept", work.output
                _measure(frame, result)
        if work.error is None and result.output is None:
            work.error = FileError(f"the run stopped before this frame: {stopped}", where=str(work.output))
        if work.error is not None:
            if not isinstance(work.error, FullwellError):
                raise work.error
            result.state, result.error = "failed", work.error
        return result


@dataclass(frozen=True)
class _Sink:
    """The repository of the output, as the driver sees it."""

    keeper: Keeper

    def ingest(self, block: Sequence[Done]) -> None:
        """Enter the frames of a block."""
        self.keeper.enter_frames(block)


def reduce_science(
    night: Night, made: Sequence[Calibrations], out: Path, desk: Desk, keeper: Keeper
) -> list[FrameResult]:
    """Reduce all science frames of a night; see `Science.run`."""
    return Science(night, made, out, desk, keeper).run()


def _written(job: Job) -> tuple[Written, ...]:
    return tuple(Written(o.dataset_type, o.id, o.path, o.data_id) for o in job.outputs)


def _outputs(paths: Iterable[Path], out: Path) -> list[Path]:
    """One output path per raw file: the name without its suffixes, made unique."""
    seen: dict[str, int] = {}
    made = []
    for path in paths:
        stem = re.sub(r"\.(fits?|fts|fz|gz|png|tiff?)$", "", path.name, flags=re.I)
        stem = re.sub(r"\.(fits?|fts)$", "", stem, flags=re.I)
        stem = re.sub(r"[#%]", "_", stem)  # which the index of the output folder cannot keep
        n = seen[stem] = seen.get(stem, 0) + 1
        made.append(out / (f"{stem}.fits" if n == 1 else f"{stem}_{n}.fits"))
    return made


def _kept(path: Path, ident: str) -> Frame | None:
    """The frame of id `ident` that an earlier run left, if it can be read; one that cannot is removed."""
    from fullwell import io
    from fullwell.io.identity import embedded_id, same_id

    try:
        if not (path.exists() and same_id(embedded_id(path), ident)):
            return None
    except OSError:
        return None
    try:
        return io.read(path)
    except FullwellError:
        path.unlink()
        return None


def _measure(frame: Frame, result: FrameResult) -> None:
    """Sky, scatter from pixel to pixel, and what the variance says it should be."""
    result.unit = frame.unit
    result.left_out = {r.step: r.note for r in frame.history if r.state == "left out"}
    ok = frame.good()
    if not ok.any() or frame.variance is None:
        return
    image, variance = frame.image.array, frame.variance.array
    result.sky = float(np.median(image[ok]))
    pair = ok[:, 1:] & ok[:, :-1]
    if pair.any():
        step = (image[:, 1:] - image[:, :-1])[pair]
        result.noise = _scatter(step) / math.sqrt(2)
        result.ratio = _scatter(step / np.sqrt((variance[:, 1:] + variance[:, :-1])[pair]))
    result.expected = float(np.sqrt(np.median(variance[ok])))


def _scatter(values: NDArray[Any]) -> float:
    """Standard deviation of a normal distribution with the median absolute deviation of `values`."""
    from fullwell.measure.levels import MAD_TO_SIGMA

    return float(MAD_TO_SIGMA * np.median(np.abs(values - np.median(values))))
