"""A corrected frame of 4k x 4k pixels (image, variance, mask: 192 MB) from the page cache, whole and in part."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import fullwell.io as fio
from chain import plain_steps
from fullwell.base.provenance import Record
from fullwell.cameras import Box
from fullwell.frames import Frame, GainMap, Observation
from fullwell.io.hot import read_image
from harness import Result, at_least, at_most, idle, informative, interleave, not_judged
from scene import Scene

SIZE = 4096
PLANES = ("IMAGE", "VARIANCE", "MASK")
NAME = "get of a 4k x 4k frame"
BOX = Box(1900, 1900, 300, 300)


def frame() -> Frame:
    """A frame of random pixels with the header, detector and history of a corrected one."""
    rng = np.random.default_rng(0)
    image = rng.normal(1000, 30, (SIZE, SIZE)).astype(np.float32)
    cards = {f"KEY{i}": i * 1.5 for i in range(90)}
    history = tuple(Record(name, config=cfg.model_dump(mode="json")) for name, cfg in plain_steps().items())
    return Frame.from_arrays(
        image, image + 9, rng.integers(0, 64, image.shape).astype(np.uint32), unit="electron",
        detector=Scene().detector, observation=Observation(), metadata=cards, history=history, gain_map=GainMap(),
    )  # fmt: skip


def by_astropy(path: Path) -> list[Any]:
    """The planes as astropy gives them, big-endian."""
    from astropy.io import fits

    with fits.open(path, memmap=False) as hdus:
        return [hdus[name].data for name in PLANES]


def by_fitsio(path: Path) -> list[Any]:
    """The planes as fitsio gives them."""
    import fitsio

    with fitsio.FITS(path) as file:
        return [file[name].read() for name in PLANES]


def by_numpy(path: Path, places: list[tuple[int, str]]) -> list[Any]:
    """The planes from the bytes at known places, swapped in memory."""
    out = []
    for offset, dtype in places:
        array = np.fromfile(path, dtype, SIZE * SIZE, offset=offset).reshape(SIZE, SIZE)
        out.append(array.byteswap(inplace=True).view(array.dtype.newbyteorder("=")))
    return out


def whole(path: Path) -> list[Result]:
    """All of the frame against the fastest of the plain readers."""
    from astropy.io import fits

    with fits.open(path) as hdus:
        places = [(hdus[name].fileinfo()["datLoc"], hdus[name].data.dtype.str) for name in PLANES]
    plain = {
        "astropy": lambda: by_astropy(path),
        "fitsio": lambda: by_fitsio(path),
        "numpy": lambda: by_numpy(path, places),
        "hot": lambda: [read_image(path, name) for name in PLANES],
    }
    quiet = idle()
    times = interleave({**plain, "read": lambda: fio.read(path), "part": lambda: fio.read_part(path)}, 7)
    quiet = quiet and idle()
    out = []
    for what in ("read", "part"):
        for clock in ("cpu", "wall"):
            best = min(plain, key=lambda name: getattr(times[name], clock))
            taken = getattr(times[what], clock)
            ratio = taken / getattr(times[best], clock)
            call = "read" if what == "read" else "read_part"
            note = f"{taken * 1e3:.0f} ms"
            result = at_most(f"{NAME}, {call}, {clock}", ratio, f"fastest plain reader ({best})", 1.3, note)
            fair = quiet or clock == "cpu"
            out.append(result if fair else not_judged(result, "the machine was busy with other work"))
    return out


def parts(path: Path, packed: Path) -> list[Result]:
    """One plane, and 300 x 300 pixels of one, against the whole frame."""
    times = interleave(
        {
            "whole": lambda: fio.read(path),
            "image": lambda: fio.read_part(path, "image"),
            "box": lambda: fio.read_part(path, "image", BOX),
            "header": lambda: fio.read_part(path, "metadata"),
        },
        7,
    )
    pair = interleave({"whole": lambda: fio.read(packed), "box": lambda: fio.read_part(packed, "image", BOX)}, 3, 1)
    cpu = {name: t.cpu for name, t in times.items()}
    size = f"{BOX.width} x {BOX.height} pixels"
    return [
        at_least(f"{NAME}, image alone, speed", cpu["whole"] / cpu["image"], "the whole frame", 2.5),
        at_least(f"{NAME}, {size} of its image, speed", cpu["whole"] / cpu["box"], "the whole frame", 20),
        informative(f"{NAME}, metadata, speed", cpu["whole"] / cpu["header"], "the whole frame"),
        at_least(f"{NAME}, compressed, {size}, speed", pair["whole"].cpu / pair["box"].cpu, "the whole frame", 10),
    ]


def family() -> list[Result]:
    """The figures of this family."""
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as name:
        path, packed = Path(name) / "frame.fits", Path(name) / "packed.fits"
        given = frame()
        fio.write_frame(given, path)
        fio.write_frame(given, packed, compress=True)
        del given
        return [*whole(path), *parts(path, packed)]


def main() -> None:
    """This family alone."""
    from harness import table

    print(table(family()))


if __name__ == "__main__":
    main()
