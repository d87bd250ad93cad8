"""`fullwell instrument list|check`: the shipped cameras, and the proof that a camera's geometry holds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fullwell.cli.inputs import camera
from fullwell.cli.options import common
from fullwell.cli.output import Door, significant

if TYPE_CHECKING:
    from fullwell.cameras import Detector

app = typer.Typer(add_completion=False, no_args_is_help=True, help="The shipped cameras, and the check of a camera.")


@app.command("list")
@common()
def list_all(door: Door) -> None:
    """List the shipped cameras."""
    from fullwell import instruments

    rows = []
    for name in instruments.names():
        known = instruments.get(name).camera
        detectors = list(known) if known is not None else []
        amps = sorted({len(d) for d in detectors})
        rows.append([name, len(detectors) or "-", ", ".join(map(str, amps)) or "-", known.description if known else ""])
    columns = ("name", "detectors", "amplifiers", "about")
    door.table(columns, rows)
    door.give(instruments=[dict(zip(columns, row, strict=True)) for row in rows])


@app.command(epilog="Example: fullwell instrument check lsstcam -o lsstcam.png")
@common()
def check(
    door: Door,
    name: Annotated[
        str, typer.Argument(metavar="NAME|FILE|FOLDER", help="Shipped camera, camera file, or folder of frames.")
    ],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="PNG", help="Draw the camera here.", show_default=False)
    ] = None,
) -> None:
    """Prove that the sections of a camera tile its detectors, and draw it."""
    from fullwell.base.errors import FullwellError

    title, detectors = _detectors(name)
    rows = []
    for detector in detectors:
        ok, note = True, ""
        try:
            detector.check_tiling()
        except FullwellError as error:
            ok, note = False, str(error)
            door.failures.append(
                {"name": detector.name, "code": error.code, "error": error.problem, "where": error.where}
            )
        ny, nx = detector.box.shape
        rows.append(
            [detector.name, len(detector), f"{nx} x {ny}", _span(detector, "gain"), "ok" if ok else "FAILED", note]
        )
    columns = ("detector", "amplifiers", "size", "gain [e-/adu]", "tiling", "note")
    door.table(columns, rows, title=title)
    drawn = _draw(detectors, output, title) if output is not None else None
    if drawn:
        door.say(f"drawn in {drawn}")
    keys = ("detector", "amplifiers", "size", "gain", "tiling", "note")
    door.give(camera=title, detectors=[dict(zip(keys, row, strict=True)) for row in rows], figure=drawn)


def _span(detector: Detector, label: str) -> str:
    values = detector.values(label)
    low, high = values.min(), values.max()
    return significant(low, 4) if low == high or low != low else f"{significant(low, 4)} to {significant(high, 4)}"


def _detectors(name: str) -> tuple[str, list[Detector]]:
    """The detectors of a shipped camera, a camera file, or of the frames in a folder (one of each geometry).

    Raises
    ------
    UsageError
        a camera whose geometry is in the headers alone; a folder without frames.
    """
    from fullwell import instruments, io
    from fullwell.base.errors import UsageError

    folder = Path(name)
    if folder.is_dir() or folder.suffix.lower() in (".fits", ".fit", ".fts", ".gz", ".fz"):
        paths = [folder] if folder.is_file() else sorted(p for p in folder.iterdir() if ".fit" in p.name.lower())
        found: dict[Any, Detector] = {}
        for path in paths:
            headers = io.read_headers(path)
            detector = instruments.identify(headers).detector(headers)
            found.setdefault((detector.name, detector.box, detector.raw_box, len(detector)), detector)
        if not found:
            raise UsageError(f"there are no FITS files in '{name}'")
        return f"{name}, {len(found)} geometries", list(found.values())
    instrument = camera(name)
    if instrument.camera is None:
        raise UsageError(
            f"'{instrument.name}' has no geometry of its own: it is in the headers of each file",
            remedy="give a folder of frames instead of the name",
        )
    return f"{instrument.name}, {len(instrument.camera)} detectors", list(instrument.camera)


def _draw(detectors: list[Detector], path: Path, title: str) -> str:
    from fullwell import io
    from fullwell.base.figures import figure
    from fullwell.cameras import Camera

    drawn = figure("camera", "layout")(Camera(title, tuple(detectors)))
    with io.atomic_path(path) as temporary:
        drawn.savefig(temporary, format=path.suffix.lstrip(".") or "png")
    return str(path)
