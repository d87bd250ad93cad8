"""Program: the row steps of a recipe, made ready for one frame and run on blocks of rows.

Every consecutive row step runs on a block before the next block is touched, so that the pixels
stay in the cache. A step that must see some rows first (its `prepare`) gets them through `Rows`,
which runs the steps before it on just those rows: there is no pass over the whole frame between.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any

from fullwell.base.config import StepConfig
from fullwell.conductor.block import Block, Buffers, Exposure
from fullwell.conductor.layout import Layout
from fullwell.conductor.step import Step
from fullwell.conductor.store import Sink, Source

__all__ = ["BLOCK_ROWS", "Program", "Rows", "Stage", "Workers"]

BLOCK_ROWS = 32
"""Rows of a block: 32 rows of 16 amplifiers keep image, mask and variance within one core's cache."""


@dataclass
class Stage:
    """A step with its settings and what it is given."""

    step: Step
    config: StepConfig
    product: Any = None
    given: Any = None


class Workers:
    """Threads and their scratch memory, kept from frame to frame.

    Parameters
    ----------
    count : number of threads; 1 runs in the caller's thread.
    """

    def __init__(self, count: int = 1) -> None:
        self.count = max(1, count)
        self._local = threading.local()
        self._pool = ThreadPoolExecutor(self.count) if self.count > 1 else None

    @property
    def buffers(self) -> Buffers:
        """Scratch of the current thread."""
        have: Buffers | None = getattr(self._local, "buffers", None)
        if have is None:
            have = self._local.buffers = Buffers()
        return have

    def run(self, work: Any, jobs: Sequence[Any]) -> None:
        """Call ``work(job)`` for all jobs, on all threads; the first error is raised after all have stopped."""
        if self._pool is None:
            for job in jobs:
                work(job)
            return
        futures = [self._pool.submit(work, job) for job in jobs]
        wait(futures)
        for future in futures:
            future.result()

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown()

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass
class Rows:
    """Rows of the frame as they are after the steps before a given one; what `prepare` reads from."""

    program: Program
    source: Source
    exposure: Exposure
    stop: int
    buffers: Buffers = field(default_factory=Buffers)

    def read(self, r0: int, r1: int, part: str = "segment") -> Block:
        """Rows ``r0 … r1 - 1`` after the steps before. `part` limits the columns ("serial_overscan").

        The block is valid until the next call.
        """
        layout = self.program.layout if part == self.program.layout.part else Layout(self.exposure.detector, part)
        block = Block(self.exposure, layout, r0, r1, self.buffers)
        self.source.load(block)
        self.program.apply(block, self.stop)
        return block

    @property
    def layout(self) -> Layout:
        """Layout in which the frame starts."""
        return self.program.layout


class Program:
    """Row steps made ready for frames of one detector.

    Parameters
    ----------
    stages : in order.
    layout : in which blocks start ("segment" for raw frames, "data" for assembled ones).
    rows : rows of a block.
    """

    def __init__(self, stages: Sequence[Stage], layout: Layout, rows: int = BLOCK_ROWS) -> None:
        self.stages = list(stages)
        self.layout = layout
        self.rows = rows

    def apply(self, block: Block, stop: int | None = None) -> None:
        """Run the stages before `stop` (all, by default) on one block, in place."""
        for stage in self.stages[:stop]:
            stage.step.function(block, stage.given, stage.config)

    def prepare(self, source: Source, exposure: Exposure, digested: Mapping[str, Any]) -> None:
        """Give each stage its digested product, or what its `prepare` made of it and of the rows it asked for."""
        for i, stage in enumerate(self.stages):
            stage.given = digested.get(stage.step.name)
            if stage.step.prepare is not None:
                rows = Rows(self, source, exposure, i)
                stage.given = stage.step.prepare(rows, stage.given, stage.config)

    def run(self, source: Source, sink: Sink, exposure: Exposure, workers: Workers) -> None:
        """All data rows, from `source` through the stages into `sink`."""
        first, last = self.layout.data_rows

        def work(r0: int) -> None:
            block = Block(exposure, self.layout, r0, min(r0 + self.rows, last), workers.buffers)
            source.load(block)
            self.apply(block)
            if block.layout.part != "data":
                block.trim()
            sink.store(block)

        workers.run(work, range(first, last, self.rows))
