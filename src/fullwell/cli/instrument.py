"""`fullwell instrument list|check`: the shipped cameras, and the proof that a camera's geometry holds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fullwell.cli.inputs import camera
from fullwell.cli.options import common
from fullwell.cli.output import Door, significant

if TYPE_CHECKING:
    from fullwell.cameras import Camera, Detector

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
    """Prove the geometry of a camera: sections tile, nothing overlaps; and draw it."""
    from fullwell import instruments

    subject, detectors = _subject(name)
    findings = instruments.check(subject)
    rows = []
    for detector in _kinds(detectors):
        ny, nx = detector.box.shape
        like = sum(d.amplifiers is detector.amplifiers for d in detectors)
        rows.append([detector.name, like, len(detector), f"{nx} x {ny}", _span(detector, "gain")])
    columns = ("detector", "of this kind", "amplifiers", "size", "gain [electron/adu]")
    door.table(columns, rows, title=f"{subject.name}: {len(detectors)} detectors")
    if findings:
        door.table(("finding", "where", "what"), [[f.level, f.where, f.text] for f in findings])
    else:
        door.say("the sections tile every detector, and no detectors overlap")
    for f in findings:
        if f.level == "error":
            door.failures.append({"name": f.where, "code": "geometry", "error": f.text, "where": f.where})
    if output is not None:
        _draw(subject, output)
        door.say(f"drawn in {output}")
    keys = ("detector", "of_this_kind", "amplifiers", "size", "gain")
    door.give(
        camera=subject.name,
        kinds=[dict(zip(keys, row, strict=True)) for row in rows],
        findings=[{"level": f.level, "where": f.where, "what": f.text} for f in findings],
        figure=str(output) if output is not None else None,
    )


def _kinds(detectors: list[Detector]) -> list[Detector]:
    """The first detector of each set of amplifiers."""
    return list({id(d.amplifiers): d for d in reversed(detectors)}.values())[::-1]


def _span(detector: Detector, label: str) -> str:
    values = detector.values(label)
    low, high = values.min(), values.max()
    return significant(low, 4) if low == high or low != low else f"{significant(low, 4)} to {significant(high, 4)}"


def _subject(name: str) -> tuple[Camera, list[Detector]]:
    """The camera of a shipped name or a camera file, or that of the frames of a folder (one of each geometry).

    Raises
    ------
    UsageError
        a camera whose geometry is in the headers alone; a folder without frames.
    """
    from fullwell import instruments, io
    from fullwell.base.errors import UsageError
    from fullwell.cameras import Camera

    path = Path(name)
    if path.is_dir() or path.suffix.lower() in (".fits", ".fit", ".fts", ".gz", ".fz"):
        paths = [path] if path.is_file() else sorted(p for p in path.iterdir() if ".fit" in p.name.lower())
        found: dict[Any, Detector] = {}
        for one in paths:
            headers = io.read_headers(one)
            detector = instruments.identify(headers).detector(headers)
            found.setdefault((detector.name, detector.box, detector.raw_box, len(detector)), detector)
        if not found:
            raise UsageError(f"there are no FITS files in '{name}'")
        return Camera(name, tuple(found.values())), list(found.values())
    instrument = camera(name)
    if instrument.camera is None:
        raise UsageError(
            f"'{instrument.name}' has no geometry of its own: it is in the headers of each file",
            remedy="give a frame or a folder of frames instead of the name",
        )
    return instrument.camera, list(instrument.camera)


def _draw(subject: Camera, path: Path) -> None:
    from fullwell import io
    from fullwell.base.figures import figure

    drawn = figure("camera", "layout")(subject)
    with io.atomic_path(path) as temporary:
        drawn.savefig(temporary, format=path.suffix.lstrip(".") or "png")
