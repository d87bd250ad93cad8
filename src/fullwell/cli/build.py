"""`fullwell build bias|dark|flat|defects`: combined calibrations from raw frames."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from fullwell.cli.inputs import apart
from fullwell.cli.options import Files, OutFile, common
from fullwell.cli.output import Door

if TYPE_CHECKING:
    from fullwell.frames import Frame
    from fullwell.products import Product

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Combined bias, dark and flat, and defects.")


@app.command(epilog="Example: fullwell build bias bias_*.fits -o bias.fits --gain gain.ecsv")
@common(work=True, reads=True, corrects=())
def bias(door: Door, files: Files, output: OutFile) -> None:
    """Combine bias frames; in electron where the gain is known, else in adu."""
    from fullwell import measure

    _build(door, files, output, "bias", measure.build_bias)


@app.command(epilog="Example: fullwell build dark dark_*.fits -o dark.fits --bias bias.fits --gain gain.ecsv")
@common(work=True, reads=True, corrects=("bias",))
def dark(door: Door, files: Files, output: OutFile) -> None:
    """Combine darks to a rate per second of dark time; cosmic rays are clipped."""
    from fullwell import measure
    from fullwell.products import Bias

    biases = [b for b in door.given.roles.get("bias", ()) if isinstance(b, Bias)]
    _build(door, files, output, "dark", partial(measure.build_dark, biases=biases))


@app.command(epilog="Example: fullwell build flat dome_r_*.fits -o flat_r.fits --bias bias.fits --gain gain.ecsv")
@common(work=True, reads=True, corrects=("bias", "dark", "defects"))
def flat(door: Door, files: Files, output: OutFile) -> None:
    """Combine flats of one filter to the relative response, mean 1."""
    from fullwell import measure

    _build(door, files, output, "flat", measure.build_flat)


@app.command(epilog="Example: fullwell build defects bias.fits dark.fits flat_r.fits -o defects.ecsv")
@common(work=True)
def defects(door: Door, files: Files, output: OutFile) -> None:
    """Find defective pixels and columns in combined darks, flats and biases."""
    from fullwell import io, measure
    from fullwell.base.errors import UsageError

    given: dict[str, list[Any]] = {"dark": [], "flat": [], "bias": []}
    for path in files:
        product = io.read_product(path)
        if product.kind not in given:
            raise UsageError(
                f"defects are not found in a {product.kind}",
                where=str(path),
                remedy="give darks, flats, biases",
            )
        given[product.kind].append(product)
    if door.dry_run:
        door.say(f"{len(files)} products -> {output}")
        return
    found = measure.build_defects(darks=given["dark"], flats=given["flat"], biases=given["bias"])
    _write(door, found, output)


def _build(door: Door, files: list[Path], output: Path, recipe: str, make: Callable[[list[Frame]], Product]) -> None:
    """Correct the frames with the recipe of their kind, combine, write."""
    from fullwell import io
    from fullwell.base.progress import progress
    from fullwell.conductor import Digests, Workers
    from fullwell.pipeline.spool import Spool
    from fullwell.reduction import isr

    apart(output, files)
    if door.dry_run:
        door.say(f"{len(files)} frames -> {output}: recipe {recipe}, then {recipe} combined")
        door.give(inputs=[str(f) for f in files], output=str(output), recipe=recipe)
        return
    io.make_folder(output.parent)
    workers, digests, frames, spool = Workers(door.jobs), Digests(), [], Spool(output.parent)
    for path in progress(files, f"{recipe} frames"):
        with door.guard(str(path)):
            frame = door.reader.read(path)
            if frame.observation.kind not in (recipe, "unknown"):
                door.note(f"note: {path.name} is a {frame.observation.kind} frame by its header, used as a {recipe}")
            given = door.given.of(frame)
            done = isr(frame, given, recipe=recipe, settings=door.settings, workers=workers, digests=digests)
            frames.append(spool.keep(done))
    if not frames:
        return
    _write(door, make(frames), output)


def _write(door: Door, product: Product, output: Path) -> None:
    from fullwell import io

    io.write_product(product, output)
    for note in product.notes:
        door.note(f"note: {note}")
    unit = getattr(product, "unit", "")
    door.say(f"{product.kind} {product.id[:12]}{f' [{unit}]' if unit else ''} -> {output}")
    door.give(
        output=str(output),
        kind=product.kind,
        id=product.id,
        unit=unit,
        inputs=list(product.inputs),
        notes=product.notes,
    )
