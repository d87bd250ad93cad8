"""ISR from file to file: blocks of rows go from the mapped raw straight into the output file, where that can be.

No plane is ever whole in memory, and several workers share the digested calibrations. It needs a plain FITS raw,
amplifiers that fill their rows from edge to edge, and a recipe of row steps only; anything else is read, corrected
and written as a whole, and the result says why.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from fullwell.base.errors import FileError
from fullwell.base.provenance import Record
from fullwell.cameras import Detector
from fullwell.conductor import Digests, Workers
from fullwell.conductor.hotsink import HotSink, why_not_tiles
from fullwell.conductor.store import ArraySource
from fullwell.instruments import CameraOptions, Instrument
from fullwell.products import Product
from fullwell.recipes import Recipe
from fullwell.reduction.isr import Job, Settings, corrected, finish, isr, make_job, run_rows

__all__ = ["FileRun", "isr_file"]


@dataclass(frozen=True)
class FileRun:
    """What was done with one file.

    Parameters
    ----------
    output : the corrected frame. history : as in it. unit : of its image.
    mapped : whether it went by blocks from file to file; `reason` why not.
    """

    output: Path
    history: tuple[Record, ...]
    unit: str
    mapped: bool
    reason: str = ""


def isr_file(
    source: Path | str,
    output: Path | str,
    products: Mapping[str, Product] | None = None,
    *,
    instrument: Instrument | str | None = None,
    detector: Detector | str | int | None = None,
    options: CameraOptions | None = None,
    recipe: str | Recipe = "auto",
    settings: Settings | None = None,
    off: Iterable[str] = (),
    workers: Workers | None = None,
    digests: Digests | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> FileRun:
    """Correct the raw frame in file `source` and write it to `output`, whole or not at all.

    Parameters
    ----------
    source : raw frame. output : FITS file in the IMAGE, MASK, VARIANCE layout.
    instrument, detector, options : as of `io.read`.
    products, recipe, settings, off, workers, digests : as of `isr`.
    metadata : cards added to the header.

    Raises
    ------
    as `io.read`, `isr` and `io.write_frame`.
    """
    from fullwell import io

    source, output, more = Path(source), Path(output), dict(metadata or {})
    how: dict[str, Any] = {"instrument": instrument, "detector": detector, "options": options}
    reason = _not_mapped(source)
    if not reason:
        outline = io.read_outline(source, **how)
        outline = replace(outline, metadata={**outline.metadata, **more})
        job = make_job(outline, products, recipe, settings, off, workers, False, digests)
        reason = _not_rows(job)
        if not reason:
            return _mapped(source, output, job)
    frame = io.read(source, **how)
    frame = replace(frame, metadata={**frame.metadata, **more})
    done = isr(frame, products, recipe=recipe, settings=settings, off=off, workers=workers, digests=digests)
    io.write_frame(done, output)
    return FileRun(output, done.history, done.unit, False, reason)


def _not_mapped(source: Path) -> str:
    """Why the pixels of a file cannot be mapped; "" if they may be."""
    from fullwell.io.hot import NotPlain, index

    try:
        for hdu in index(source):
            if hdu.image or hdu.compressed:
                hdu.code(str(source))
    except NotPlain as err:
        return err.problem
    except FileError:
        if not source.is_file() or _begins(source) == b"SIMPLE  =":
            raise
        return "the file is compressed, or of another format"
    return ""


def _begins(source: Path) -> bytes:
    with source.open("rb") as file:
        return file.read(9)


def _not_rows(job: Job) -> str:
    """Why the job cannot go by blocks alone; "" if it can."""
    whole = [p.step.name for p in job.planned if p.state == "done" and p.step.scope == "detector"]
    if whole:
        return f"step '{whole[0]}' needs the whole detector"
    if not any(p.step.name == "variance" and p.state == "done" for p in job.planned):
        return "the recipe makes no variance"
    return why_not_tiles(job.detector)


def _mapped(source: Path, output: Path, job: Job) -> FileRun:
    from fullwell import io
    from fullwell.io.hot import MappedRaw
    from fullwell.io.hotwrite import MappedWriter, blank_plane

    group = [p for p in job.planned if p.state == "done"]
    shape = job.detector.box.shape
    image, variance, mask = (blank_plane(shape, t) for t in (np.float32, np.float32, np.uint32))
    blocks = ArraySource.of_mapped(MappedRaw.open(source, job.detector))
    frame = corrected(job, job.frame, group, image, variance, mask, {})
    with MappedWriter(output, io.plain_hdus(finish(job, frame))) as writer:
        run_rows(job, job.frame, group, blocks, HotSink(job.detector, writer))
        done = finish(job, frame)
        writer.commit(io.plain_hdus(done))
    return FileRun(output, done.history, done.unit, True)
