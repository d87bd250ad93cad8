"""`fullwell reduce FOLDER -o OUT`: a folder of raw frames to calibrated science frames."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fullwell.cli.inputs import Accept, CameraName, Off, Overscan, ReadNoise, Trim
from fullwell.cli.options import OutFolder, Sets, common, parse_sets
from fullwell.cli.output import Door, failure, with_error

if TYPE_CHECKING:
    from fullwell.journeys.reduce import ReduceResult

app = typer.Typer(add_completion=False)

Glob = Annotated[
    list[str] | None,
    typer.Option(metavar="GLOB", show_default=False, help="Names of such files; repeat. Default: from the headers."),
]


def _number(name: str, help: str) -> Any:
    return typer.Option(name, metavar="N", min=0, show_default=False, help=help)


@app.command(epilog="Example: fullwell reduce night/ -o reduced/ --flat 'dome*.fits' --overscan '[2049:2080,1:2048]'")
@common(work=True)
def reduce(
    door: Door,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", show_default=False, help="Raw frames of any camera.")],
    output: OutFolder,
    bias: Glob = None,
    dark: Glob = None,
    flat: Glob = None,
    science: Glob = None,
    skip: Glob = None,
    camera_name: CameraName = None,
    detector: Annotated[
        str | None, typer.Option("--detector", metavar="NAME", show_default=False, help="Of a file with several.")
    ] = None,
    overscan: Overscan = None,
    trim: Trim = None,
    gain: Annotated[float | None, _number("--gain", "Of every amplifier [electron/adu].")] = None,
    read_noise: ReadNoise = None,
    saturation: Annotated[float | None, _number("--saturation", "Above the overscan [adu].")] = None,
    exposure_time: Annotated[float | None, _number("--exposure-time", "Where headers have none [s].")] = None,
    accept: Accept = None,
    off: Off = None,
    sets: Sets = None,
    variance_components: Annotated[
        bool, typer.Option("--variance-components", help="Keep the parts of the variance as planes.")
    ] = False,
    compress: Annotated[bool, typer.Option("--compress", help="Write tile-compressed, without loss.")] = False,
) -> None:
    """Reduce a folder: calibrations from its own frames, science frames in electron with variance, a report."""
    from fullwell.base.config import load
    from fullwell.journeys import reduce as journey
    from fullwell.journeys.night import ReduceOptions

    given = {
        **{k: tuple(v) for k, v in {"bias": bias, "dark": dark, "flat": flat, "science": science}.items() if v},
        **{k: tuple(v) for k, v in {"skip": skip, "accept": accept, "off": off}.items() if v},
        "camera": camera_name,
        "detector": detector,
        "overscan": overscan,
        "trim": trim,
        "gain": gain,
        "read_noise": read_noise,
        "saturation": saturation,
        "exposure_time": exposure_time,
        "settings": parse_sets(sets),
        "components": variance_components,
        "compress": compress,
    }
    values = {k: v for k, v in given.items() if v is not None}
    options = load(ReduceOptions, {**values, "fail_fast": door.fail_fast}, where="command line")
    result = journey.run(folder, output, options, jobs=door.jobs, dry_run=door.dry_run)
    data = result.to_dict()
    door.give(**data, options=dict(door.origins))
    _files(door, data)
    if not door.dry_run:
        _results(door, data)
    _failures(door, result)


def _files(door: Door, data: dict[str, Any]) -> None:
    """Which file was taken for what."""
    if door.dry_run or door.verbose:
        rows = [[f["name"], f["kind"], f["filter"] or "-", f["why"]] for f in data["files"]]
        door.table(("file", "taken for", "filter", "because of"), rows)
    else:
        kinds: dict[str, int] = {}
        for f in data["files"]:
            label = f["kind"] if f["kind"] in ("bias", "dark") else f"{f['kind']} {f['filter']}".strip()
            kinds[label] = kinds.get(label, 0) + 1
        door.say("files: " + ", ".join(f"{n} {label}" for label, n in kinds.items()))
    for name, why in data["ignored"].items():
        door.note(f"left alone: {name}, {why}")


def _results(door: Door, data: dict[str, Any]) -> None:
    for setup in data["gain"]:
        title = f"\nGain of {setup['setup']}, estimator {setup['estimator']}"
        rows = [[a["name"], _shown(a["gain"]), _shown(a["read_noise"])] for a in setup["amplifiers"]]
        unit = next((a["read_noise"]["unit"] for a in setup["amplifiers"]), "electron")
        door.table(("amplifier", "gain [electron/adu]", f"read noise [{unit}]"), rows, title=title)
    for note in data["notes"]:
        door.note(f"note: {note}")
    numbers = ("sky", "noise", "expected_noise", "noise_ratio")
    frames = [[f["name"], f["state"], *(f[n]["value"] for n in numbers), f["sky"]["unit"]] for f in data["frames"]]
    if frames:
        head = ("frame", "state", "sky", "noise", "noise by variance", "ratio", "unit")
        door.table(head, frames, title="\nScience frames")
    door.say(f"\nrepository: {data['repo']}")
    door.say(f"{data['seconds']:.1f} s, report: {data['report']}")


def _shown(value: dict[str, Any]) -> str:
    return with_error(value["value"], value["error"])


def _failures(door: Door, result: ReduceResult) -> None:
    """Every error by file, on stderr; they decide the exit code."""
    import sys

    broken: dict[str, Any] = {p.name: e for p, e in result.night.failed.items()}
    for made in result.calibrations:
        broken.update(made.failed)
    broken.update({f.name: f.error for f in result.frames if f.error is not None})
    alike: dict[tuple[str, str, str | None], list[str]] = {}
    for name, error in broken.items():
        alike.setdefault((error.code, error.problem, error.remedy), []).append(name)
    for names in alike.values():
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        print(f"{', '.join(names[:3])}{more}: failed\n{broken[names[0]]}", file=sys.stderr)
    for name, error in broken.items():
        door.failures.append(failure(name, error))
