"""`fullwell simulate SCENE -o DIR`: raw FITS files and their truth."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from fullwell.cli.options import OutFolder, common
from fullwell.cli.output import Door

app = typer.Typer(add_completion=False)

PAIRS = "flat-pairs"


@app.command(epilog="Examples: fullwell simulate flat -o sim --count 2; fullwell simulate flat-pairs -o ptc --seed 7")
@common(work=True)
def simulate(
    door: Door,
    scene: Annotated[
        str,
        typer.Argument(metavar="SCENE", help="bias, dark, flat, science, flat-pairs, night, or a scene file (TOML)."),
    ],
    output: OutFolder,
    seed: Annotated[int, typer.Option("--seed", metavar="N", min=0, help="Of the random numbers; recorded.")] = 1,
    sensor: Annotated[
        str, typer.Option("--sensor", metavar="NAME", help="Simulated sensor; demo, or ptc for flat-pairs.")
    ] = "",
    sensor_seed: Annotated[int, typer.Option("--sensor-seed", metavar="N", min=0, help="Of its fixed pattern.")] = 0,
    count: Annotated[
        int | None,
        typer.Option("--count", metavar="N", min=1, help="Exposures, each with its own noise: 1. Pairs: 39."),
    ] = None,
    truth: Annotated[bool, typer.Option("--truth/--no-truth", help="Write the truth beside each frame.")] = True,
) -> None:
    """Simulate exposures: raw FITS, and what is true of them."""
    from fullwell import io
    from fullwell import simulation as sim
    from fullwell.base.progress import progress

    sensor = sensor or ("ptc" if scene == PAIRS else "demo")
    model = sim.sensor_of(sensor, sensor_seed)
    if scene == PAIRS:
        _flat_pairs(door, model, output, seed, count or 39, truth)
        return
    count = count or 1
    if door.dry_run:
        names = [s.kind for s in _scenes(scene)] if scene != "night" else [scene]
        door.say(f"would write {count} of each of {', '.join(names)} into {output}, sensor {sensor}")
        door.give(scenes=names, sensor=sensor, output=str(output))
        return
    made = (
        sim.night(model, seed=seed) if scene == "night" else _exposures(_scenes(scene), model, seed, count, door.jobs)
    )
    io.make_folder(output)
    rows: list[dict[str, Any]] = []
    for name, one in progress(made, "simulate"):
        row = {"kind": one.frame.observation.kind, "frame": str(output / f"{name}.fits"), "truth": None}
        io.write_raw(one.frame, output / f"{name}.fits")
        if truth:
            row["truth"] = str(output / "truth" / f"{name}.fits")
            io.make_folder(output / "truth")
            sim.write_truth(one.truth, output / "truth" / f"{name}.fits")
        rows.append(row)
    door.table(("kind", "frame", "truth"), [[str(v) for v in row.values()] for row in rows])
    door.give(frames=rows, sensor=sensor, seed=seed)


def _flat_pairs(door: Door, model: Any, output: Path, seed: int, count: int, truth: bool) -> None:
    """Write a series of flat pairs for photon transfer, to a fifth above the full well, and one file of its truth."""
    from fullwell import io
    from fullwell import simulation as sim
    from fullwell.base.progress import progress
    from fullwell.simulation.camera_file import camera_text

    top = 1.2 * model.full_well if model.config.full_well else 100000.0
    spacing = "sheet" if count >= 10 else "log"
    series = sim.flat_pairs(
        model, seed=seed, raw=True, workers=door.jobs, n=count, e_max=top, spacing=spacing, mismatch_rms=0.001
    )
    if door.dry_run:
        door.say(f"would write {count} pairs of flats into {output}, from 150 to {top:.0f} electron")
        door.give(scenes=["flat"], pairs=count, output=str(output))
        return
    io.make_folder(output)
    rows: list[dict[str, Any]] = []
    for i, pair in enumerate(progress(series, "simulate", len(series))):
        names = [str(output / f"pair_{i:03d}_{k}.fits") for k in (1, 2)]
        for name, frame in zip(names, pair, strict=True):
            io.write_raw(frame, name)
        light, time = series.truth.light[i].tolist(), float(series.truth.exposure_time[i])
        rows.append({"exposure_time": time, "light": light, "flats": names})
    if model.cards.get("INSTRUME") == "simulated":
        camera = output / "camera.toml"
        with io.atomic_path(camera) as path:
            path.write_text(camera_text(model.detector))
        door.say(f"its files are of no shipped camera; read them with --camera {camera}")
    told = str(output / "truth" / "flat_pairs.fits") if truth else None
    if told:
        io.make_folder(output / "truth")
        sim.write_series_truth(series, told)
    shown = [[f"{row['exposure_time']:.4g}", *(f"{x:.1f}" for x in row["light"]), *row["flats"]] for row in rows]
    door.table(("time [s]", "light 1 [e]", "light 2 [e]", "flat 1", "flat 2"), shown)
    door.give(pairs=rows, truth=told, sensor=model.detector.name, seed=seed)


def _exposures(scenes: list[Any], model: Any, seed: int, count: int, jobs: int) -> Iterator[tuple[str, Any]]:
    """(file name without suffix, simulated) of `count` exposures of each scene; exposure i has the seed `seed` + i."""
    from fullwell import simulation as sim
    from fullwell.frames import Observation
    from fullwell.simulation.header import instrument_of

    jobs_of = [scene for scene in scenes for _ in range(count)]
    for i, scene in enumerate(jobs_of):
        observation = Observation(instrument=instrument_of(model), seq_num=i + 1)
        one = sim.simulate(scene, model, seed=seed + i, observation=observation, workers=jobs)
        yield f"{scene.kind}_{seed + i:05d}", one


def _scenes(name: str) -> list[Any]:
    """A scene of a kind with its defaults, or those of a scene file: one table, or an array of tables ``[[scene]]``.

    Raises
    ------
    FileError, ConfigError, UsageError
    """
    import tomllib

    from fullwell import simulation as sim
    from fullwell.base.errors import ConfigError, FileError

    if name in sim.SCENES:
        return [sim.SCENES[name]()]
    path = Path(name)
    if not path.suffix:
        sim.scene_of({"kind": name})
    try:
        content = tomllib.loads(path.read_text())
    except OSError as error:
        raise FileError(f"the scene file cannot be read: {error.strerror}", where=name) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"the scene file is not TOML: {error}", where=name) from None
    tables = content.get("scene", [content])
    return [sim.scene_of(table, f"{name}, scene {i}") for i, table in enumerate(tables, 1)]
