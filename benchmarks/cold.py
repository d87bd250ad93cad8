"""The command line from a cold start: help, and one frame from file to file with compiled kernels at hand."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from harness import Result, at_most, informative, interleave

TOOL = str(Path(sys.executable).with_name("fullwell"))


def _run(*command: str) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def night(folder: Path) -> list[str]:
    """A raw frame and the command that corrects it."""
    import fullwell.io as io
    from fullwell.frames import Frame, Plane
    from scene import Scene

    scene = Scene()
    det = scene.detector
    import numpy as np

    raw = np.empty(det.raw_box.shape, np.uint16)
    for amp, segment in zip(det, scene.raw, strict=True):
        raw[amp.raw.slices] = amp.raw_orientation.apply(segment)
    cards = {"INSTRUME": "bench", "EXPTIME": 30.0, "IMAGETYP": "object", "OBJECT": "field"}
    io.write_raw(Frame(Plane(raw, unit="adu"), detector=det, raw=True, metadata=cards), folder / "raw.fits")
    return [TOOL, "isr", str(folder / "raw.fits"), "-o", str(folder / "out"), "-q"]


def family() -> list[Result]:
    """The figures of this family."""
    times = interleave(
        {
            "python": lambda: _run(sys.executable, "-c", "pass"),
            "help": lambda: _run(TOOL, "--help"),
        },
        9,
    )
    out = [
        at_most("fullwell --help", times["help"].cpu, "one second of CPU", 0.3),
        informative("fullwell --help, CPU", times["help"].cpu / times["python"].cpu, "bare python"),
    ]
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as name:
        command = night(Path(name))
        try:
            _run(*command)
        except subprocess.CalledProcessError as error:
            out.append(Result("cold run of one frame", None, "one second of CPU", "<= 1.7", False, str(error)))
        else:
            cold = interleave({"frame": lambda: _run(*command)}, 5, 1)
            out.append(at_most("cold run of one frame", cold["frame"].cpu, "one second of CPU", 1.7))
    return out


if __name__ == "__main__":
    from harness import table

    print(table(family()))
