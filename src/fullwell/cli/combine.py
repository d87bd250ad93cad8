"""`fullwell combine FILE... -o OUT`: any stack of frames into one."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer

from fullwell.cli.inputs import apart
from fullwell.cli.options import Files, OutFile, common
from fullwell.cli.output import Door

app = typer.Typer(add_completion=False)

Method = Literal["clipped", "mean", "median", "min", "max"]


@app.command(epilog="Example: fullwell combine done/*.fits -o deep.fits --zero median --weights inverse_variance")
@common(work=True)
def combine(
    door: Door,
    files: Files,
    output: OutFile,
    method: Annotated[Method, typer.Option("--method", metavar="clipped|mean|median|min|max", help="How.")] = "clipped",
    low: Annotated[
        float | None, typer.Option("--low", metavar="K", min=0, help="Clip below, sigma.", show_default=False)
    ] = None,
    high: Annotated[
        float | None, typer.Option("--high", metavar="K", min=0, help="Clip above, sigma.", show_default=False)
    ] = None,
    centre: Annotated[
        Literal["median", "mean"] | None, typer.Option("--centre", metavar="median|mean", help="Of the clip.")
    ] = None,
    spread: Annotated[
        Literal["mad", "std"] | None, typer.Option("--spread", metavar="mad|std", help="Of the clip.")
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option("--weights", metavar="inverse_variance|W,...", help="One per file, or by variance."),
    ] = None,
    scale: Annotated[
        str | None, typer.Option("--scale", metavar="median|mean|F,...", help="Bring to one level, before rejection.")
    ] = None,
    zero: Annotated[
        str | None, typer.Option("--zero", metavar="median|mean|Z,...", help="Subtract a level, before rejection.")
    ] = None,
    memory: Annotated[float, typer.Option("--memory", metavar="GIB", min=0.01, help="Bound on memory [GiB].")] = 1.0,
) -> None:
    """Combine frames pixel by pixel, with variance, count and rejections."""
    from fullwell import io, measure

    apart(output, files)
    clip = _clip(low, high, centre, spread)
    how: dict[str, Any] = {"method": method, "weights": _list(weights), "scale": _list(scale), "zero": _list(zero)}
    door.give(inputs=[str(f) for f in files], output=str(output), **how)
    if door.dry_run:
        door.say(f"{len(files)} files -> {output}: {method}")
        return
    made = measure.combine([str(f) for f in files], clip=clip, memory=int(memory * (1 << 30)), workers=door.jobs, **how)
    io.write_frame(made.to_frame(like=io.read(files[0])), output)
    notes = list(made.notes)
    for note in notes:
        door.note(f"note: {note}")
    rows = [(name, int(n)) for name, n in zip(map(str, files), made.rejected_by_input, strict=True)]
    door.table(("file", "values rejected"), rows, title=f"{len(files)} files -> {output} [{made.unit}]")
    door.give(unit=made.unit, notes=notes, rejected=dict(rows))


def _clip(low: float | None, high: float | None, centre: str | None, spread: str | None) -> Any:
    """The clip that the options describe; None where they say nothing."""
    from fullwell.measure.rejection import Clip

    given = {"low": low, "high": high, "centre": centre, "spread": spread}
    named = {k: v for k, v in given.items() if v is not None}
    return Clip(**named) if named else None  # type: ignore[arg-type]


def _list(text: str | None) -> Any:
    """Numbers separated by commas as a list; a word as it is.

    Raises
    ------
    UsageError
        a list with something that is not a number.
    """
    from fullwell.base.errors import UsageError

    if text is None or ("," not in text and not text.replace(".", "").isdigit()):
        return text
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(
            f"'{text}' is not a list of numbers", remedy="one number per file, separated by commas"
        ) from None
