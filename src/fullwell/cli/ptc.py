"""`fullwell ptc FILE... -o DIR`: photon transfer of each amplifier, by every estimator, and why they differ."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fullwell.cli.inputs import Off
from fullwell.cli.options import OutFolder, common
from fullwell.cli.output import Door, with_error
from fullwell.cli.repo_options import Where

if TYPE_CHECKING:
    from fullwell.journeys.transfer import DetectorResult, TransferResult

app = typer.Typer(add_completion=False)

Glob = Annotated[
    list[str] | None,
    typer.Option(metavar="GLOB", show_default=False, help="Names of such files; repeat. Default: from the headers."),
]
PairBy = Annotated[
    str, typer.Option("--pair-by", metavar="auto|exposure|flux|group|order", help="Which two flats belong together.")
]
Pairs = Annotated[
    Path | None,
    typer.Option("--pairs", metavar="FILE", show_default=False, help="Text file, the names of two flats in each line."),
]
FluxKey = Annotated[
    str, typer.Option("--flux-key", metavar="KEY", show_default=False, help="Keyword of the light of a flat.")
]


Sources = Annotated[
    list[Path] | None,
    typer.Argument(metavar="FILE...", show_default=False, help="Raw flats, and bias frames; or --repo."),
]
Repo = Annotated[
    Path | None,
    typer.Option("--repo", metavar="REPO", show_default=False, help="Take the frames there, and enter the result."),
]
Instrument = Annotated[
    str, typer.Option("--instrument", metavar="NAME", show_default=False, help="Of several in the repository.")
]
Lags = Annotated[int, typer.Option("--lags", min=0, max=32, help="Largest lag of the covariances [pixel].")]
Clip = Annotated[float, typer.Option("--clip", min=2.0, help="Cut of the difference image [sigma].")]
Edge = Annotated[int, typer.Option("--edge", min=0, help="Pixels left out along each side of an amplifier.")]
Bins = Annotated[
    int,
    typer.Option("--bins", min=0, help="Flats of unequal light (spectra, twilight): so many levels from each pair."),
]
Model = Annotated[str, typer.Option("--model", metavar="auto|fullcov|fullcov_no_b|exp", help="Model of the curve.")]
Adopt = Annotated[
    str, typer.Option("--adopt", metavar="ESTIMATOR", help="Estimator to adopt; auto: free of brighter-fatter.")
]
TestStand = Annotated[
    Path | None,
    typer.Option("--eotest", metavar="FILE", show_default=False, help="Results table of a test stand, to compare."),
]
Report = Annotated[bool, typer.Option("--report/--no-report", help="Figures and pages; they take most time.")]


@app.command(epilog="Example: fullwell ptc flats/*.fits --camera lsstcam -o ptc/")
@common(work=True, reads=True, corrects=("defects", "crosstalk", "linearity"))
def ptc(
    door: Door,
    output: OutFolder,
    files: Sources = None,
    repo: Repo = None,
    where: Where = "",
    instrument: Instrument = "",
    flat: Glob = None,
    bias: Glob = None,
    pair_by: PairBy = "auto",
    pairs: Pairs = None,
    flux_key: FluxKey = "",
    lags: Lags = 8,
    clip: Clip = 5.5,
    edge: Edge = 0,
    bins: Bins = 0,
    model: Model = "auto",
    adopt: Adopt = "auto",
    eotest: TestStand = None,
    off: Off = None,
    report: Report = True,
) -> None:
    """Measure gain, read noise, turnoff and covariances from pairs of flats; set every estimator beside the others."""
    from fullwell.base.errors import UsageError
    from fullwell.cli import ptc_repo
    from fullwell.journeys.transfer import TransferOptions, run

    if bool(files) == (repo is not None):
        raise UsageError("give either files or --repo", remedy="fullwell ptc FILE... -o DIR, or --repo REPO -o DIR")
    options = TransferOptions(
        flat=tuple(flat or ()),
        bias=tuple(bias or ()),
        pair_by="given" if pairs else pair_by,
        flux_key=flux_key,
        pairs=_given(pairs),
        off=tuple(off or ()),
        settings={step: dict(values) for step, values in door.settings.items()},
        extract={"lags": lags, "clip": clip, "edge": edge, "charge_key": flux_key},
        solver={"full": "none" if model == "exp" else model, "estimator": adopt},
        bins=bins,
        pages=report,
        fail_fast=door.fail_fast,
    )
    result = run(
        files or ptc_repo.chosen(Path(repo or "."), instrument, where),
        output,
        options,
        read=door.reader.read,
        instrument=door.reader.instrument,
        products=door.given.of if repo is None else ptc_repo.corrections(repo, door.given.of),
        eotest=eotest,
        jobs=door.jobs,
        dry_run=door.dry_run,
    )
    data = result.to_dict()
    door.give(**data)
    _say(door, result, data)
    if repo is not None and not door.dry_run:
        ptc_repo.enter(door, repo, [d.files["ptc"] for d in result.detectors])


def _given(path: Path | None) -> tuple[tuple[str, str], ...]:
    """Pairs of a text file: two names in each line, '#' begins a comment."""
    from fullwell.base.errors import FileError

    if path is None:
        return ()
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise FileError(f"the list of pairs cannot be read: {error}", where=str(path)) from None
    out = []
    for number, line in enumerate(lines, 1):
        names = line.partition("#")[0].split()
        if names and len(names) != 2:
            raise FileError(
                f"line {number} has {len(names)} names",
                where=str(path),
                remedy="write the names of the two flats of a pair in each line",
            )
        if names:
            out.append((names[0], names[1]))
    return tuple(out)


def _say(door: Door, result: TransferResult, data: dict[str, Any]) -> None:
    import sys

    for found in result.detectors:
        _detector(door, found)
    for name, why in result.ignored.items():
        door.note(f"left alone: {name}, {why}")
    for name, error in result.failed.items():
        print(f"{name}: failed\n{error}", file=sys.stderr)
        door.failures.append({"name": name, "code": error.code, "error": error.problem, "where": error.where})
    for found in result.detectors:
        for amp, why in zip(found.ptc.amps, found.ptc.status, strict=True):
            if why:
                print(f"amplifier {amp} of {found.setup.detector}: no gain: {why}", file=sys.stderr)
                where = f"{found.setup.detector}, {amp}"
                door.failures.append({"name": amp, "code": "FW700", "error": why, "where": where})
    if not door.dry_run:
        door.say(f"\n{result.seconds:.1f} s, {f'report: {result.report}' if result.report else f'in {result.out}'}")


def _detector(door: Door, found: DetectorResult) -> None:
    from fullwell.journeys.transfer_page import compared, left_out, notes, sentences

    ptc = found.ptc
    pairs = f"{found.flats} flats, {len(ptc.pairs)} pairs, {found.bias} bias frames"
    door.say(f"\n{found.setup}: {pairs}")
    for name, why in found.left_over:
        door.note(f"without a partner: {name}, {why}")
    if door.dry_run:
        door.table(("first", "second"), ptc.pairs)
        return
    rows = [
        [
            ptc.amps[i],
            with_error(float(ptc.gain[i]), float(ptc.gain_error[i])),
            f"{ptc.gain_model_error[i]:.1e}" if ptc.gain_model_error[i] else "0",
            with_error(float(ptc.read_noise[i]), float(ptc.read_noise_error[i])),
            with_error(1e6 * float(ptc.a00[i]), 1e6 * float(ptc.a00_error[i])),
            f"{ptc.turnoff[i]:.0f}",
            f"{ptc.chi2[i]:.2f}",
        ]
        for i in range(len(ptc.amps))
    ]
    head = ("amplifier", "gain [e-/adu]", "model error", "read noise [e-]", "a00 [1e-6/e-]", "turnoff [adu]", "chi2")
    door.table(head, rows, title=f"adopted: {ptc.estimator}, {ptc.fit_type}")
    table = [
        [r["name"], with_error(r["gain"], r["error"]), r["found"], r["predicted"], r["about"]] for r in compared(ptc)
    ]
    door.table(
        ("estimator", "gain [e-/adu]", "found/reference", "predicted", "brighter-fatter"),
        table,
        title="\nEvery estimator (medians over amplifiers)",
    )
    door.say()
    for sentence in sentences(ptc):
        door.say(f"- {sentence}")
    for n, first, second, amps, why in left_out(ptc):
        door.note(f"left out: pair {n} ({first}, {second}), {amps}: {why}")
    for text in notes(ptc):
        door.note(f"note: {text}")
    for kind, path in found.files.items():
        door.say(f"{kind}: {path}")
