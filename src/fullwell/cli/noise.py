"""`fullwell noise FRAME...`: what the variance of a frame is made of, and whether repeated exposures bear it out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fullwell.cli.options import Files, common
from fullwell.cli.output import Door

if TYPE_CHECKING:
    from fullwell.frames import Frame
    from fullwell.measure.noise_budget import NoiseBudget
    from fullwell.measure.variance_check import VarianceCheck

app = typer.Typer(add_completion=False)

Product = Annotated[
    Path | None, typer.Option(metavar="FILE", show_default=False, help="That the frame was corrected with.")
]
Repo = Annotated[
    Path | None,
    typer.Option("--repo", metavar="REPO", show_default=False, help="Find the products there by the ids of the frame."),
]
Level = Annotated[
    list[float] | None,
    typer.Option(metavar="N", show_default=False, help="Edge of a range of flux [unit of the image]; two or more."),
]
Sky = Annotated[
    float | None, typer.Option(metavar="N", show_default=False, help="Level of the sky [unit of the image].")
]
Match = Annotated[bool, typer.Option("--match", help="Scale the exposures to one level first.")]
Figures = Annotated[
    Path | None, typer.Option("-o", "--output", metavar="DIR", show_default=False, help="Folder for the figures.")
]


@app.command(epilog="Example: fullwell noise done/science_00400.fits --repo night --ptc ptc.fits -o figures/")
@common()
def noise(
    door: Door,
    files: Files,
    repo: Repo = None,
    bias: Product = None,
    dark: Product = None,
    flat: Product = None,
    gain: Product = None,
    ptc: Product = None,
    linearity: Product = None,
    level: Level = None,
    sky: Sky = None,
    match: Match = False,
    output: Figures = None,
) -> None:
    """Say how much of the variance is signal, sky, read noise, flat …; of several exposures, whether it is true."""
    from fullwell import io
    from fullwell.measure.noise_budget import noise_budget
    from fullwell.measure.variance_check import check_variance

    roles = {"bias": bias, "dark": dark, "flat": flat, "gain": gain, "ptc": ptc, "linearity": linearity}
    products = {role: io.read_product(path) for role, path in roles.items() if path is not None}
    frames: list[Frame] = [io.read(path) for path in files]
    found = noise_budget(frames[0], products, repo, levels=level or (), sky=sky)
    drawn: dict[str, Any] = {"noise_budget": found}
    check = None
    if len(frames) > 1 or match:
        check = check_variance(frames, products=products, repo=repo, levels=level or (), match=match)
        drawn["variance_check"] = check
    figures = {} if output is None else _draw(drawn, output)
    door.give(budget=found.to_dict(), check=None if check is None else check.to_dict(), figures=figures)
    _say(door, found)
    if check is not None:
        _say_check(door, check)
    for path in figures.values():
        door.say(f"figure: {path}")


def _draw(drawn: dict[str, Any], folder: Path) -> dict[str, str]:
    from fullwell import io

    io.make_folder(folder)
    out = {}
    for name, thing in drawn.items():
        path = folder / f"{name}.png"
        with io.atomic_path(path) as temporary:
            thing.plot().savefig(temporary, format="png")
        out[name] = str(path)
    return out


def _say(door: Door, budget: NoiseBudget) -> None:
    from fullwell.measure.noise_budget import TERMS

    whole = budget.frame
    rows = [
        [
            name.replace("_", " "),
            whole.mean[name],
            f"{100 * whole.mean[name] / whole.variance:.2f}",
            whole.median[name],
            TERMS.get(name, "a part that the frame kept"),
        ]
        for name in budget.terms()
    ]
    rows.append(["all", whole.variance, "100.00", whole.variance_median, f"{whole.pixels} pixels"])
    for name, value in whole.outside.items():
        share = f"{100 * value / whole.variance:.2f}"
        rows.append([name.replace("_", " "), value, share, "-", "not in the variance, where nothing corrects it"])
    unit = f"{budget.unit}²"
    head = ("term", f"mean [{unit}]", "%", f"median [{unit}]", "what it is")
    door.table(head, rows, title=f"{budget.name}: {budget.method}", left=("term", "what it is"))
    for title, shares in (("by amplifier", budget.amps), ("by flux", budget.levels)):
        more = sorted({name for s in shares for name in s.outside})
        lines = [
            [s.name, s.pixels, f"{s.flux:.5g}", s.variance]
            + [f"{100 * s.mean[n] / s.variance:.2f}" for n in budget.terms()]
            + [f"{100 * s.outside[n] / s.variance:.2f}" for n in more]
            for s in shares
        ]
        names = [n.replace("_", " ") for n in (*budget.terms(), *more)]
        door.table(("pixels of", "number", "flux", f"V [{unit}]", *names), lines, title=f"\n{title}, % of the variance")
    door.say(f"\nThe terms differ from the variance by {budget.closure:.1e} of it.")
    for note in budget.notes:
        door.note(f"note: {note}")


def _say_check(door: Door, check: VarianceCheck) -> None:
    rows = [
        [c.name, c.pixels, f"{c.flux:.5g}", f"{c.chi2:.4f}", f"{c.error:.4f}", f"{c.pull:+.1f}"]
        for c in (check.whole, *check.amps, *check.levels)
    ]
    head = ("pixels of", "number", "flux", "residual²/V", "error", "(x-1)/error")
    door.table(head, rows, title=f"\n{check.frames} exposures about their mean")
    for note in check.notes:
        door.note(f"note: {note}")
