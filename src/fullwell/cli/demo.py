"""`fullwell demo`: a simulated night, reduced, and compared with the truth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fullwell.cli.options import common
from fullwell.cli.output import Door

app = typer.Typer(add_completion=False)


@app.command(epilog="The page of the report is the last line of the output.")
@common(work=True)
def demo(
    door: Door,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Folder.")] = Path("fullwell-demo"),
    seed: Annotated[int, typer.Option("--seed", metavar="N", min=0, help="Of the simulated night; recorded.")] = 1,
) -> None:
    """Simulate a night of a small camera, reduce it, and compare every result with the truth."""
    from fullwell.journeys import demo as journey

    if door.dry_run:
        door.say(f"would simulate a night with seed {seed} and reduce it in {output}")
        door.give(output=str(output), seed=seed)
        return
    result = journey.run(output, seed=seed, jobs=door.jobs)
    data = result.to_dict()
    rows = [[c["name"], c["unit"], c["truth"], c["measured"], c["error"], f"{c['pull']:+.2f}"] for c in data["checks"]]
    door.table(("check", "unit", "truth", "measured", "error", "pull"), rows)
    for check in data["checks"]:
        if not check["ok"]:
            door.failures.append({"name": check["name"], "code": "check", "error": f"pull {check['pull']:+.2f}"})
    if not result.ok and not door.failures:
        door.failures.append({"name": "reduction", "code": "frame", "error": "not every frame was reduced"})
    door.say(f"\nrepository: {data['repo']}")
    door.say(f"{len(rows)} checks, {data['seconds']:.1f} s, report: {data['report']}")
    door.give(**data)
