"""`fullwell inject FRAME CATALOG -o OUT`: sources into a corrected frame, with their truth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from fullwell.cli.options import OutFile, common
from fullwell.cli.output import Door

app = typer.Typer(add_completion=False)


def _option(name: str, metavar: str, text: str) -> Any:
    return typer.Option(name, metavar=metavar, help=text, show_default=False)


Noise = Annotated[str, typer.Option("--noise", metavar="LAW", help="poisson, gaussian or none.")]
Variance = Annotated[str, typer.Option("--variance", metavar="WAY", help="auto, realised, expected or none.")]
Interpolated = Annotated[str, typer.Option("--interpolated", metavar="WAY", help="mark, reapply or skip.")]
Seed = Annotated[int, typer.Option("--seed", metavar="N", min=0, help="Of the random numbers; recorded.")]
Number = Annotated[int, typer.Option("--number", metavar="N", min=1, help="Of generated stars.")]
Verify = Annotated[bool, typer.Option("--verify", help="Try to tell the sources from data; exit 1 if that works.")]
Catalog = Annotated[
    Path | None, typer.Argument(metavar="CATALOG", show_default=False, help="Sources: CSV, ECSV, FITS or Parquet.")
]
Flat = Annotated[Path | None, _option("--flat", "FILE", "The flat that was divided out.")]
Repo = Annotated[Path | None, _option("--repo", "REPO", "Repository that has the flat of the frame.")]
Psf = Annotated[
    str | None, _option("--psf", "PSF", "gaussian:FWHM, moffat:FWHM:BETA [pixel], or a FITS image; else the frame's.")
]
Photo = Annotated[float | None, _option("--photo", "N", "nJy per electron (adu) after the flat.")]
Saturation = Annotated[float | None, _option("--saturation", "N", "Full well [electron]; else the detector's.")]
Generate = Annotated[
    str | None, _option("--generate", "LAYOUT", "In place of CATALOG: stars, laid uniform, grid or halton.")
]
Mag = Annotated[str | None, _option("--mag", "LOW:HIGH", "AB magnitudes of generated stars.")]
Flux = Annotated[str | None, _option("--flux", "LOW:HIGH", "Or their fluxes [unit of the image].")]


@app.command(
    epilog="Example: fullwell inject done/frame.fits --generate uniform --number 100 --mag 18:24 --photo 3.1 "
    "--psf moffat:4:3.5 -o injected.fits"
)
@common(work=True)
def inject(
    door: Door,
    frame: Annotated[Path, typer.Argument(metavar="FRAME", show_default=False, help="Corrected frame.")],
    output: OutFile,
    catalog: Catalog = None,
    flat: Flat = None,
    repo: Repo = None,
    psf: Psf = None,
    photo: Photo = None,
    seed: Seed = 0,
    noise: Noise = "poisson",
    variance: Variance = "auto",
    interpolated: Interpolated = "mark",
    saturation: Saturation = None,
    generate: Generate = None,
    number: Number = 100,
    mag: Mag = None,
    flux: Flux = None,
    verify: Verify = False,
) -> None:
    """Put sources into a corrected frame, with the noise that they would have had; their truth is written beside it."""
    import fullwell.injection as injection
    from fullwell import io
    from fullwell.base.errors import UsageError
    from fullwell.cli.inputs import apart

    if (catalog is None) == (generate is None):
        raise UsageError("give either CATALOG or --generate", remedy="fullwell inject FRAME stars.ecsv -o OUT")
    truth_path = output.with_name(output.name.removesuffix(".gz").removesuffix(".fits") + ".truth.ecsv")
    for path in (output, truth_path):
        apart(path, [p for p in (frame, catalog, flat) if p is not None])
    before = io.read(frame)
    if generate is not None:
        sources: Any = injection.make_catalog(
            before, number, layout=generate, mag=_range(mag), flux=_range(flux), seed=seed
        )
    else:
        sources = catalog
    if door.dry_run:
        if catalog is not None:
            io.read_table(catalog)
        door.say(f"would put {number if generate else catalog} into {frame}, write {output} and {truth_path}")
        door.give(output=str(output), truth=str(truth_path))
        return
    given = io.read_product(flat) if flat is not None else "auto"
    done = injection.inject(
        before, sources, flat=given, repo=repo, psf=psf, photo=photo, seed=seed, noise=noise,  # type: ignore[arg-type]
        variance=variance, interpolated=interpolated, saturation=saturation, jobs=door.jobs,  # type: ignore[arg-type]
    )  # fmt: skip
    io.write_frame(done.frame, output)
    with io.atomic_path(truth_path) as temporary:
        done.truth.write(temporary, format="ascii.ecsv", overwrite=True)
    numbers = dict(done.frame.history[-1].numbers)
    door.say(f"{frame} -> {output}: {done.frame.history[-1].note}; truth in {truth_path.name}")
    for text in done.gain.notes:
        door.note(f"  {text}")
    door.give(output=str(output), truth=str(truth_path), seed=seed, notes=list(done.gain.notes), **numbers)
    if verify:
        _verify(door, done, given, repo, photo)


def _verify(door: Door, done: Any, flat: Any, repo: Path | None, photo: float | None) -> None:
    """Print the verdicts; exit code 1 where the sources can be told from data.

    The adversary takes the K of the flat for true, where the flat is at hand; else that of the frame, which is said.
    """
    import fullwell.injection as injection
    from fullwell.base.errors import DataError

    known = flat != "auto" or repo is not None
    gain = injection.effective_gain(done.before, flat=flat, repo=repo, photo=photo) if known else done.gain
    try:
        report = injection.distinguishability(done.before, done, gain=gain)
    except DataError as error:
        raise DataError(
            f"the frame is written, the removal test was not made: {error.problem}",
            where=error.where,
            remedy=error.remedy,
        ) from None
    if gain.method not in ("stored", "flat"):
        door.note(
            "warning: the test takes for true the K that the sources were drawn with, found from the frame itself: an "
            "error of K is not seen. A test that stands on its own needs the flat: --flat or --repo"
        )
    door.say(str(report))
    door.give(verify=report.to_dict())
    if not report.ok:
        raise typer.Exit(1)


def _range(text: str | None) -> tuple[float, float] | None:
    """``18:24`` as two numbers; one number is both ends."""
    from fullwell.base.errors import UsageError

    if text is None:
        return None
    try:
        ends = [float(part) for part in text.split(":")]
    except ValueError:
        ends = []
    if len(ends) not in (1, 2):
        raise UsageError(f"'{text}' is no range", remedy="write LOW:HIGH, for example 18:24")
    return ends[0], ends[-1]
