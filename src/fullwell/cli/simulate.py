"""`fullwell simulate SCENE -o DIR`: raw FITS files and their truth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from fullwell.cli.options import OutFolder, common
from fullwell.cli.output import Door

app = typer.Typer(add_completion=False)


@app.command(epilog="Examples: fullwell simulate flat -o sim --count 2; fullwell simulate scene.toml -o sim --seed 7")
@common(work=True)
def simulate(
    door: Door,
    scene: Annotated[
        str, typer.Argument(metavar="SCENE", help="Kind (bias, dark, flat, science) or a scene file (TOML).")
    ],
    output: OutFolder,
    seed: Annotated[int, typer.Option("--seed", metavar="N", min=0, help="Of the random numbers; recorded.")] = 1,
    sensor: Annotated[str, typer.Option("--sensor", metavar="NAME", help="Simulated sensor.")] = "demo",
    count: Annotated[int, typer.Option("--count", metavar="N", min=1, help="Exposures, each with its own noise.")] = 1,
    truth: Annotated[bool, typer.Option("--truth/--no-truth", help="Write the truth beside each frame.")] = True,
) -> None:
    """Simulate exposures: raw FITS, and what is true of them."""
    from fullwell import io
    from fullwell import simulation as sim
    from fullwell.base.progress import progress

    scenes = _scenes(scene)
    model = sim.sensor_of(sensor)
    jobs = [(s, seed + i) for i, s in enumerate(s for s in scenes for _ in range(count))]
    rows: list[dict[str, Any]] = []
    for number, (one, own) in enumerate(progress(jobs, "simulate")):
        name = f"{one.kind}_{seed}_{number:04d}"
        row: dict[str, Any] = {"kind": one.kind, "seed": own, "frame": str(output / f"{name}.fits"), "truth": None}
        if truth:
            row["truth"] = str(output / f"{name}.truth.fits")
        if not door.dry_run:
            output.mkdir(parents=True, exist_ok=True)
            made = sim.simulate(one, model, seed=own)
            io.write_raw(made.frame, output / f"{name}.fits")
            if truth:
                sim.write_truth(made.truth, output / f"{name}.truth.fits")
        rows.append(row)
    door.table(("kind", "seed", "frame", "truth"), [[str(v) for v in row.values()] for row in rows])
    door.give(frames=rows, sensor=sensor)


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
