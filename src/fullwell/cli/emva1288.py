"""`fullwell emva1288 FOLDER`: the data sheet of a camera after EMVA 1288, release 4.0."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fullwell.cli.options import common
from fullwell.cli.output import Door, with_error

if TYPE_CHECKING:
    from fullwell.io import CameraTest
    from fullwell.products import Emva1288

app = typer.Typer(add_completion=False)


@app.command(epilog="Example: fullwell emva1288 EMVA1288_ReferenceSet_001/ -o camera/")
@common(work=True)
def emva1288(
    door: Door,
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER", show_default=False, help="Images with a descriptor or headers; or a descriptor."
        ),
    ],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="DIR", show_default=False, help="For report and figures.")
    ] = None,
    photons: Annotated[
        float | None,
        typer.Option(
            "--photons", metavar="N", min=0, show_default=False, help="Per pixel and second, overrules files."
        ),
    ] = None,
    region: Annotated[
        str, typer.Option("--region", metavar="SECTION", show_default=False, help="[x1:x2,y1:y2], counted from 1.")
    ] = "",
    channel: Annotated[
        str | None,
        typer.Option("--channel", metavar="Y,X", show_default=False, help="Of a colour mosaic of 2x2: 0,0 to 1,1."),
    ] = None,
    top: Annotated[float, typer.Option("--top", metavar="F", help="End of the fits, share of saturation.")] = 0.7,
) -> None:
    """Camera test after EMVA 1288 release 4.0: quantum efficiency, gain, noise, capacity, linearity, DSNU, PRNU."""
    import time

    from fullwell import io
    from fullwell.base.config import load
    from fullwell.journeys import cameratest
    from fullwell.measure.emva import EmvaConfig

    begin = time.perf_counter()
    rate = math.nan if photons is None else photons
    options = cameratest.CameraTestOptions(rate=rate, region=region, channel=_channel(channel))
    config = load(EmvaConfig, {"top": top}, where="command line")
    if door.dry_run:
        _plan(door, io.find_camera_test(folder, rate=rate))
        return
    result = cameratest.run(folder, options, config, jobs=door.jobs)
    _tell(door, result, str(folder))
    seconds = time.perf_counter() - begin
    door.give(**result.to_dict(), options=dict(door.origins), seconds=seconds)
    if output is not None:
        paths = cameratest.write(result, output, seconds)
        door.give(report=str(paths["report"]), files={k: str(v) for k, v in paths.items()})
        door.say(f"{seconds:.1f} s, report: {paths['report']}")


def _plan(door: Door, test: CameraTest) -> None:
    """What there is to measure."""
    stacks = [0 if s is None else len(s.files) for s in (test.bright_stack, test.dark_stack)]
    door.say(
        f"{len(test.bright)} bright and {len(test.dark)} dark levels, stacks of {stacks[0]} bright and "
        f"{stacks[1]} dark images"
    )
    counts = {"bright": len(test.bright), "dark": len(test.dark), "bright_stack": stacks[0], "dark_stack": stacks[1]}
    door.give(**counts, notes=list(test.notes))
    for note in test.notes:
        door.note(f"note: {note}")


def _tell(door: Door, result: Emva1288, folder: str) -> None:
    """The data sheet as a table, notes on stderr."""
    rows = [
        (q.name, q.symbol, with_error(q.value, q.error), with_error(q.corrected, q.corrected_error), q.unit)
        for q in result.quantities
    ]
    heads = ("quantity", "symbol", "by the standard", "freed of brighter-fatter", "unit")
    door.table(heads, rows, title=f"EMVA 1288, release 4.0 Linear: {folder}")
    door.say(f"\ngain freed of brighter-fatter: {result.correction or 'none'}")
    for q in result.quantities:
        if q.note:
            door.note(f"note: {q.symbol}: {q.note}")
    for note in result.notes:
        door.note(f"note: {note}")


def _channel(text: str | None) -> tuple[int, int] | None:
    """``"0,1"`` as (0, 1).

    Raises
    ------
    UsageError
        it is not two digits 0 or 1.
    """
    from fullwell.base.errors import UsageError

    if text is None:
        return None
    parts = [p.strip() for p in text.split(",")]
    if len(parts) != 2 or not set(parts) <= {"0", "1"}:
        raise UsageError(
            f"'{text}' is no channel", where="--channel", remedy="write row and column of its pixel, as 0,1"
        )
    return int(parts[0]), int(parts[1])
