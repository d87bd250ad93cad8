"""File to file: a raw in the page cache to a corrected frame with checksums; reading alone."""

from __future__ import annotations

import ctypes
import gc
import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

import rivals
from chain import plain_steps
from fullwell.base.provenance import Record
from fullwell.conductor import Workers
from fullwell.conductor.hotsink import HotSink
from fullwell.conductor.program import BLOCK_ROWS
from fullwell.conductor.store import ArraySource
from fullwell.frames import Frame, GainMap, Observation
from fullwell.io import plain_hdus
from fullwell.io.hot import MappedRaw, index, read_image
from fullwell.io.hotwrite import MappedWriter, blank_plane
from harness import Result, at_least, at_most, informative, interleave, quietly
from scene import Scene


def blank_frame(scene: Scene) -> Frame:
    """A corrected frame without pixels: what the headers are made of."""
    shape, types = scene.detector.box.shape, (np.float32, np.float32, np.uint32)
    image, variance, mask = (blank_plane(shape, t) for t in types)
    cards = {f"KEY{i}": i * 1.5 for i in range(90)}
    history = tuple(Record(name, config=cfg.model_dump(mode="json")) for name, cfg in plain_steps().items())
    return Frame.from_arrays(
        image, variance, mask, unit="electron", detector=scene.detector, observation=Observation(), metadata=cards,
        history=history, gain_map=GainMap(),
    )  # fmt: skip


def correct(scene: Scene, source: Path, target: Path, workers: Workers) -> None:
    """One frame from file to file."""
    mapped = MappedRaw.open(source, scene.detector, ("EXPTIME", "DARKTIME", "IMAGETYP"))
    blocks, exposure = ArraySource.of_mapped(mapped), scene.exposure()
    program = scene.program(plain_steps(), blocks, BLOCK_ROWS, exposure)
    hdus = plain_hdus(blank_frame(scene))
    with MappedWriter(target, hdus) as writer:
        program.run(blocks, HotSink(scene.detector, writer), exposure, workers)
        writer.commit(hdus)


class Bare:
    """Reads the raw and writes as many bytes as a corrected frame has, and nothing else."""

    def __init__(self, source: Path, size: int) -> None:
        self.source, self.size = source, size
        self.buffer = bytearray(source.stat().st_size)
        self.piece = memoryview(bytes(np.random.default_rng(0).bytes(1 << 19)))

    def __call__(self, target: Path) -> None:
        with open(self.source, "rb", buffering=0) as file:
            file.readinto(self.buffer)
        target.unlink(missing_ok=True)
        file = os.open(target, os.O_RDWR | os.O_CREAT)
        os.posix_fallocate(file, 0, self.size)
        for at in range(0, self.size, len(self.piece)):
            os.pwrite(file, self.piece[: self.size - at], at)
        os.close(file)


def private_memory() -> int:
    """Anonymous memory of this process [byte]."""
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
        if line.startswith("Anonymous:"):
            return int(line.split()[1]) * 1024
    return 0


def memory(scene: Scene, source: Path, target: Path) -> Result:
    """What a frame takes beyond what the process holds between frames and its masters."""
    import threading

    workers, peak, stop = Workers(1), [0], threading.Event()
    _ = scene.digested, correct(scene, source, target, Workers(1))
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    fresh = private_memory()
    correct(scene, source, target, workers)

    def watch() -> None:
        while not stop.wait(0.002):
            peak[0] = max(peak[0], private_memory())

    watcher = threading.Thread(target=watch)
    watcher.start()
    for _ in range(3):
        correct(scene, source, target, workers)
    stop.set()
    watcher.join()
    used = (peak[0] - fresh) / source.stat().st_size
    return at_most("private memory of a worker, masters apart", used, "size of the raw file", 0.5)


def two_workers(scene: Scene, source: Path, folder: Path) -> Result:
    """Eight frames with one worker and with two, a frame each at a time."""
    jobs = list(range(8))

    def one(i: int, workers: Workers) -> None:
        correct(scene, source, folder / f"out{i}.fits", workers)

    alone, pair = Workers(1), Workers(1)

    def parallel() -> None:
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda i: one(i, pair), jobs))

    times = interleave({"one": lambda: [one(i, alone) for i in jobs], "two": parallel}, 5, 1)
    return at_least("T18 two workers, file to file", times["one"].wall / times["two"].wall, "one worker (wall)", 1.8)


def reading(source: Path, single: Path) -> list[Result]:
    """T1 and T2: one image to native numbers; the index of 17 HDUs."""
    import fitsio
    from astropy.io import fits

    out = read_image(single)
    held = bytearray(single.stat().st_size)

    def bare() -> None:
        with open(single, "rb", buffering=0) as file:
            file.readinto(held)

    def astropy_headers() -> None:
        with fits.open(source) as hdus:
            for hdu in hdus:
                len(hdu.header)

    times = interleave(
        {
            "ours": lambda: read_image(single, out=out),
            "bare": bare,
            "astropy": lambda: fits.getdata(single, memmap=False),
            "fitsio": lambda: fitsio.read(single),
            "index": lambda: index(source),
            "headers": astropy_headers,
        },
        11,
    )
    cpu = {name: t.cpu for name, t in times.items()}
    return [
        at_most("T1 raw to native uint16", cpu["ours"] / cpu["bare"], "read() into a reused buffer", 1.5),
        at_least("T1 raw to native uint16, speed", cpu["astropy"] / cpu["ours"], "astropy", 5),
        at_least("T1 raw to native uint16, speed", cpu["fitsio"] / cpu["ours"], "fitsio", 8),
        at_least("T2 index of 17 HDUs, speed", cpu["headers"] / cpu["index"], "astropy", 8),
    ]


def against_others(scene: Scene, source: Path, folder: Path) -> list[Result]:
    """Ours, numpy and ccdproc with astropy."""
    made, workers = rivals.masters(scene), Workers(1)
    times = interleave(
        {
            "ours": lambda: correct(scene, source, folder / "a.fits", workers),
            "numpy": lambda: rivals.numpy_file(scene, source, folder / "b.fits"),
            "ccdproc": lambda: rivals.ccdproc_file(scene, made, source, folder / "c.fits"),
        },
        7,
    )
    cpu = {name: t.cpu for name, t in times.items()}
    return [
        at_least("T8 file to file, speed", cpu["ccdproc"] / cpu["ours"], "ccdproc and astropy", 8),
        at_least("T8 file to file, speed", cpu["numpy"] / cpu["ours"], "numpy and astropy", 5),
    ]


def family(scene: Scene) -> list[Result]:
    """The figures of this family."""
    from astropy.io import fits

    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as name:
        folder = Path(name)
        source, target = folder / "raw.fits", folder / "out.fits"
        scene.write_raw(source)
        fits.PrimaryHDU(scene.raw.reshape(-1, scene.raw.shape[-1])).writeto(folder / "single.fits")
        held = memory(scene, source, target)
        workers = Workers(1)
        bare = Bare(source, target.stat().st_size)
        times = interleave(
            {
                "bare": lambda: bare(folder / "bare.fits"),
                "ours": lambda: correct(scene, source, target, workers),
            },
            9,
        )
        with fits.open(target, checksum=True) as hdus:
            assert hdus["IMAGE"].data.shape == scene.detector.box.shape
        results = [
            at_most("file to file, plain steps", times["ours"].cpu / times["bare"].cpu, "bare read and write", 2.4),
            informative(
                "file to file, plain steps, wall", times["ours"].wall / times["bare"].wall, "bare read and write"
            ),
            held,
            *reading(source, folder / "single.fits"),
            quietly(lambda: two_workers(scene, source, folder), 1),
            *against_others(scene, source, folder),
        ]
    return results


def main() -> None:
    """This family alone."""
    from harness import table

    results: list[Any] = family(Scene())
    print(table(results))


if __name__ == "__main__":
    main()
