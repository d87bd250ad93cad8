"""The chain of separate steps against its fused twin: does the conductor's design stand?

Run as a script it prints the ratio for the block sizes given: ``python benchmarks/chain.py 16 32 64 --two``.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

import fullwell.effects as _effects
import fused
import fused_full
from fullwell.conductor import STEPS, StepConfig, Workers
from fullwell.conductor.program import BLOCK_ROWS
from fullwell.conductor.store import MemorySink
from harness import Result, at_least, at_most, informative, interleave, quietly
from scene import COLUMNS, HEIGHT, PRESCAN, ROWS, SKIP, TIME, WIDTH, Scene

PLAIN = (
    "overscan_serial saturation gain linearity assemble bias dark defects variance flat"  # in the order of the recipe
)
__all__ = ["_effects", "family", "plain_steps"]


def plain_steps(**overscan: Any) -> dict[str, StepConfig]:
    """The plain steps with a mean overscan per row."""
    given = {"overscan_serial": {"method": "mean_per_row", "clip": 0.0, **overscan}}
    return {name: STEPS[name].config(**given.get(name, {})) for name in PLAIN.split()}


def twin_arguments(scene: Scene) -> tuple[Any, ...]:
    """What both twins take, up to the output planes; the error of the overscan is put into the noise."""
    digested, det = scene.digested, scene.detector
    c = digested["linearity"].curves[0].coefficients
    gain = det.values("gain")
    scaled = (c / gain[:, None] ** np.arange(1, 3)).astype(np.float32)
    return (
        scene.stored,
        PRESCAN,
        WIDTH,
        PRESCAN + WIDTH + SKIP,
        COLUMNS - PRESCAN - WIDTH - 2 * SKIP,
        digested["bias"].image,
        digested["dark"].image,
        digested["flat"].inverse,
        scene.bad,
        scaled[:, 0].copy(),
        scaled[:, 1].copy(),
        gain.astype(np.float32),
        np.sqrt(det.values("read_noise") ** 2 + gain**2 * overscan_error(scene)).astype(np.float32),
        det.values("saturation").astype(np.float32),
        np.float32(TIME),
    )


def overscan_error(scene: Scene) -> np.ndarray:
    """Variance of the level of a row as the step finds it, (n_amp,) [adu**2]."""
    steps = {"overscan_serial": plain_steps()["overscan_serial"]}
    given = scene.program(steps, scene.source(), BLOCK_ROWS, scene.exposure()).stages[0].given
    return given.row_factor / (COLUMNS - PRESCAN - WIDTH - 2 * SKIP)


def planes(scene: Scene) -> list[np.ndarray]:
    """Image, variance and mask in memory that is in use already."""
    return [np.ones(scene.detector.box.shape, t) for t in (np.float32, np.float32, np.uint32)]


def measure(scene: Scene, sizes: list[int], two: bool = False, rounds: int = 9) -> dict[str, Any]:
    """Timings of copy, twins and chains; checks that all compute the same.

    The noise of the overscan is known to both sides beforehand; `full` times its measurement too.
    """
    workers = {1: Workers(1), 2: Workers(2)}
    out, past = planes(scene), planes(scene)
    args = twin_arguments(scene)
    exposure, source, sink = scene.exposure(), scene.source(), MemorySink(scene.detector)
    src, dst = np.ones(out[0].size, np.float32), np.ones(out[0].size, np.float32)
    shape = scene.detector.box.shape
    cases: dict[str, Any] = {
        "copy": lambda: np.copyto(dst, src),
        "twin": lambda: fused.plain(*args, 0, HEIGHT, shape, *out),
        "streaming twin": lambda: fused.streamed(*args, 0, HEIGHT, shape, *past),
    }
    for rows in sizes:
        program = scene.program(plain_steps(), source, rows, exposure)
        for n in (1, 2) if two else (1,):
            cases[f"chain {rows} x {n}"] = lambda p=program, n=n: p.run(source, sink, exposure, workers[n])
    times = interleave(cases, rounds)
    for got, want, other in zip((sink.image, sink.variance, sink.mask), out, past, strict=True):
        np.testing.assert_allclose(got, want, rtol=3e-5, atol=2e-3)
        np.testing.assert_array_equal(want, other)
    return times


FULL = "dither overscan_serial saturation gain overscan_parallel linearity assemble bias dark defects variance flat"


def full_steps() -> dict[str, StepConfig]:
    """The plain steps with dither, a median per row and the parallel overscan."""
    given = {"overscan_serial": {"method": "median_per_row", "clip": 0.0}, "overscan_parallel": {"clip": 0.0}}
    return {name: STEPS[name].config(**given.get(name, {})) for name in FULL.split()}


def full(scene: Scene) -> Result:
    """The full chain against a twin that does the same (and leaves out the search for bleeds and outliers)."""
    out, args, exposure = planes(scene), twin_arguments(scene), scene.exposure()
    source, sink, one = scene.source(), MemorySink(scene.detector), Workers(1)
    program = scene.program(full_steps(), source, BLOCK_ROWS, exposure)
    seed = np.uint64(program.stages[0].given.seed)
    rows = HEIGHT + SKIP, ROWS - SKIP

    def chain() -> None:
        program.prepare(source, exposure, scene.digested)
        program.run(source, sink, exposure, one)

    shape = scene.detector.box.shape
    times = interleave({"chain": chain, "twin": lambda: fused_full.full(*args, seed, *rows, HEIGHT, shape, *out)}, 7)
    np.testing.assert_allclose(np.median(sink.image - out[0]), 0, atol=0.02)
    assert np.mean(np.abs(sink.image - out[0]) < 1) > 0.99
    return at_most("chain of all steps", times["chain"].cpu / times["twin"].cpu, "fused twin", 1.7)


def two_threads(scene: Scene) -> Result:
    """The twin on two halves of the frame at once."""
    from concurrent.futures import ThreadPoolExecutor

    out, args, shape = planes(scene), twin_arguments(scene), scene.detector.box.shape
    half = out[0].size // 2
    src, dst = np.ones(half * 2, np.float32), np.ones(half * 2, np.float32)
    with ThreadPoolExecutor(2) as pool:

        def both(work: Any) -> None:
            for job in [pool.submit(work, i) for i in range(2)]:
                job.result()

        middle = HEIGHT // 2
        times = interleave(
            {
                "copy": lambda: both(
                    lambda i: np.copyto(dst[i * half : (i + 1) * half], src[i * half : (i + 1) * half])
                ),
                "twin": lambda: both(lambda i: fused.streamed(*args, i * middle, (i + 1) * middle, shape, *out)),
            },
            7,
        )
    share = bandwidth(times, scene, "twin", wall=True)
    return at_least("T4 fused twin, two threads", share, "copyto on two threads, bytes per second (wall)", 0.75)


def bandwidth(times: dict[str, Any], scene: Scene, name: str, wall: bool = False) -> float:
    """Bytes of the twin (27 a pixel: 2 + 4 + 4 + 4 + 1 in, 12 out) over those of copyto, per second."""
    pixels = scene.detector.box.area
    kind = "wall" if wall else "cpu"
    return pixels * 27 / getattr(times[name], kind) / (pixels * 8 / getattr(times["copy"], kind))


def family(scene: Scene) -> list[Result]:
    """The figures of this family."""
    times = measure(scene, [BLOCK_ROWS])
    chain = times[f"chain {BLOCK_ROWS} x 1"].cpu
    return [
        at_most("chain of plain steps", chain / times["twin"].cpu, "fused twin", 1.4),
        informative(
            "chain of plain steps, streaming twin", chain / times["streaming twin"].cpu, "twin, streaming stores"
        ),
        full(scene),
        at_least("T4 fused twin", bandwidth(times, scene, "twin"), "copyto, bytes per second", 0.45),
        informative("T4 streaming twin", bandwidth(times, scene, "streaming twin"), "copyto, bytes per second"),
        quietly(lambda: two_threads(scene)),
    ]


def main() -> None:
    """Ratios for block sizes from the command line."""
    sizes = [int(a) for a in sys.argv[1:] if a.isdigit()] or [BLOCK_ROWS]
    scene = Scene()
    times = measure(scene, sizes, "--two" in sys.argv)
    for name, t in times.items():
        print(f"{name:16s} {t.cpu * 1e3:6.1f} ms cpu {t.wall * 1e3:6.1f} wall, {t.cpu / times['twin'].cpu:.2f} twins")
    result = full(scene)
    print(f"{result.name}: {result.ratio} of its twin")
    print(f"twin: {bandwidth(times, scene, 'twin'):.2f} of copy bandwidth")


if __name__ == "__main__":
    main()
