"""`fullwell isr FILE... -o DIR`: instrument signature removal of single frames."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fullwell.cli.inputs import Off, output_of
from fullwell.cli.options import Files, OutFolder, common
from fullwell.cli.output import Door

if TYPE_CHECKING:
    from fullwell.frames import Frame
    from fullwell.products import Product

app = typer.Typer(add_completion=False)

Recipe = Annotated[
    str, typer.Option("--recipe", metavar="NAME", help="Order of the steps; 'fullwell steps' lists them.")
]
Components = Annotated[bool, typer.Option("--variance-components", help="Keep the parts of the variance as planes.")]
Repo = Annotated[
    Path | None,
    typer.Option("--repo", metavar="REPO", help="Take the calibrations that are valid there.", show_default=False),
]
Compress = Annotated[bool, typer.Option("--compress", help="Write tile-compressed, without loss.")]


@app.command(epilog="Example: fullwell isr raw/*.fits --bias bias.fits --flat flat.fits --gain gain.ecsv -o done")
@common(work=True, reads=True, corrects=("bias", "dark", "flat", "ptc", "defects", "crosstalk", "linearity"))
def isr(
    door: Door,
    files: Files,
    output: OutFolder,
    recipe: Recipe = "auto",
    repo: Repo = None,
    off: Off = None,
    variance_components: Components = False,
    compress: Compress = False,
) -> None:
    """Correct single frames: image in electron (adu where no gain is known), variance, mask, history."""
    from fullwell.base.progress import progress
    from fullwell.conductor import Digests, Workers

    workers, digests, done = Workers(door.jobs), Digests(), []
    outputs = {path: output_of(path, output, files) for path in files}
    _distinct(outputs)
    found = _finder(repo)
    for path in progress(files, "ISR"):
        with door.guard(str(path)):
            from fullwell import io
            from fullwell.reduction import isr as correct

            frame = door.reader.read(path)
            given = _together(found(frame), door.given.of(frame))
            if door.dry_run:
                done.append(_plan(door, path, outputs[path], frame, given, recipe, off or []))
                continue
            result = correct(
                frame,
                given,
                recipe=recipe,
                settings=door.settings,
                off=off or (),
                workers=workers,
                keep_components=variance_components,
                digests=digests,
            )
            io.make_folder(output)
            io.write_frame(result, outputs[path], compress=compress)
            done.append(_report(door, path, outputs[path], result))
    door.give(files=done, recipe=recipe, options=dict(door.origins))


def _finder(repo: Path | None) -> Callable[[Frame], dict[str, Product]]:
    """Frame -> the products of the repository that are valid for it, cut to its window; none without a repository."""
    if repo is None:
        return lambda frame: {}
    from fullwell.reduction import cut_out
    from fullwell.repo import open_repo
    from fullwell.repo.fitting import Calibrations

    store = Calibrations(open_repo(repo))
    return lambda frame: {kind: cut_out(p, frame) for kind, p in store.of(frame.observation).items()}


def _together(found: dict[str, Product], given: dict[str, Product]) -> dict[str, Product]:
    """What the options give over what the repository has; a gain that is given stands for its photon transfer too."""
    if {"gain", "ptc"} & set(given):
        found = {role: p for role, p in found.items() if role not in ("gain", "ptc")}
    return {**found, **given}


def _distinct(outputs: Mapping[Path, Path]) -> None:
    """Two inputs of one name would write one file: an error, before anything is done."""
    from fullwell.base.errors import UsageError

    seen: dict[Path, Path] = {}
    for path, out in outputs.items():
        if out in seen:
            raise UsageError(
                f"{seen[out]} and {path} would both be written as {out.name}",
                where=str(out.parent),
                remedy="correct them in two calls with two output folders",
            )
        seen[out] = path


def _report(door: Door, path: Path, out: Path, frame: Frame) -> dict[str, Any]:
    skipped = [r for r in frame.history if r.state != "done" or r.note]
    done = [r.step for r in frame.history if r.state == "done"]
    door.say(f"{path} -> {out} [{frame.unit}]: {', '.join(done)}")
    for record in skipped:
        door.note(f"  {record.step}: {record.state}{f', {record.note}' if record.note else ''}")
    return {
        "input": str(path),
        "output": str(out),
        "unit": frame.unit,
        "history": [
            {"step": r.step, "state": r.state, "note": r.note, "inputs": dict(r.inputs)} for r in frame.history
        ],
        "mask": frame.mask.counts() if frame.mask is not None else {},
    }


def _plan(
    door: Door,
    path: Path,
    out: Path,
    frame: Frame,
    given: dict[str, Product],
    recipe: str,
    off: list[str],
) -> dict[str, Any]:
    """What would be done to one frame, as a table."""
    from fullwell.recipes import RECIPES
    from fullwell.reduction import plan
    from fullwell.reduction.isr import _with_gain as nominal

    order = RECIPES["generic" if recipe == "auto" else recipe]
    roles = nominal(dict(given), frame.detector) if frame.detector is not None else dict(given)
    planned = plan(order, frame, roles, door.settings, off)
    rows = [
        [p.step.name, p.state, (p.product.source or p.product.id[:8]) if p.product is not None else "-", p.note]
        for p in planned
    ]
    door.table(("step", "state", "product", "note"), rows, title=f"{path} -> {out}, recipe {order.name}")
    keys = ("step", "state", "product", "note")
    return {"input": str(path), "output": str(out), "plan": [dict(zip(keys, row, strict=True)) for row in rows]}
