"""T5 and T6: median overscan and crosstalk on top of the plain chain; numpy and ccdproc on the same amplifiers."""

from __future__ import annotations

from typing import Any

import numpy as np

import fused
import rivals
from chain import plain_steps, planes, twin_arguments
from fullwell.conductor import STEPS, StepConfig, Workers
from fullwell.conductor.program import BLOCK_ROWS
from fullwell.conductor.store import MemorySink
from harness import Result, at_least, at_most, informative, interleave
from scene import HEIGHT, Scene


def crossed_steps() -> dict[str, StepConfig]:
    """The plain steps with an exact median per row and 16 x 16 crosstalk."""
    out: dict[str, StepConfig] = {}
    for name, cfg in plain_steps(method="median_per_row").items():
        out[name] = cfg
        if name == "gain":
            out["crosstalk"] = STEPS["crosstalk"].config(flag="none")
    return out


def runner(scene: Scene, steps: dict[str, StepConfig]) -> Any:
    """A call that corrects the frame in memory, masters in read-out order already."""
    source, exposure, sink, one = scene.source(), scene.exposure(), MemorySink(scene.detector), Workers(1)
    program = scene.program(steps, source, BLOCK_ROWS, exposure)

    def run() -> MemorySink:
        program.prepare(source, exposure, scene.digested)
        program.run(source, sink, exposure, one)
        return sink

    return run


def family(scene: Scene) -> list[Result]:
    """The figures of this family."""
    ours, crossed = runner(scene, plain_steps()), runner(scene, crossed_steps())
    out, args, shape = planes(scene), twin_arguments(scene), scene.detector.box.shape
    times = interleave({"plain": ours, "crossed": crossed}, 9)
    made, (frame, one) = rivals.masters(scene), rivals.whole(scene)
    image, variance, mask = rivals.numpy_chain(scene)
    sink = ours()
    np.testing.assert_allclose(sink.image, image, rtol=1e-4, atol=2e-2)
    np.testing.assert_array_equal(sink.mask, mask)
    assert abs(np.median(sink.variance / variance) - 1) < 2e-3
    others = interleave(
        {
            "twin": lambda: fused.streamed(*args, 0, HEIGHT, shape, *out),
            "ours": ours,
            "numpy": lambda: rivals.numpy_chain(scene),
            "ccdproc": lambda: rivals.ccdproc_amps(scene, made),
            "ccd_process": lambda: rivals.ccd_process(frame, one),
        },
        7,
    )
    cpu = {name: t.cpu for name, t in others.items()}
    results = [
        at_most("T5 median overscan, crosstalk", times["crossed"].cpu / times["plain"].cpu, "chain of plain steps", 1.8)
    ]
    for rival, label, limit in (
        ("numpy", "numpy in float32", 6),
        ("ccdproc", "ccdproc by amplifier", 15),
        ("ccd_process", "ccd_process(error=True)", 25),
    ):
        results.append(at_least("T6 fused kernel, speed", cpu[rival] / cpu["twin"], label, limit))
        results.append(informative("T6 chain of plain steps, speed", cpu[rival] / cpu["ours"], label))
    return results
