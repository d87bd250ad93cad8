"""`fullwell rerun ID --repo REPO`: make a dataset again and compare."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fullwell.cli.options import common
from fullwell.cli.output import Door
from fullwell.cli.repo_options import Repo, Trust, opened

app = typer.Typer(add_completion=False)


@app.command(epilog="Example: fullwell rerun 52101f38-3247-589b-9fa5-b97fa8815ec8 --repo R")
@common()
def rerun(
    door: Door,
    dataset: Annotated[str, typer.Argument(metavar="ID", help="Id of a dataset, or a file that carries one.")],
    repo: Repo = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="DIR", help="Keep the new file there.", show_default=False),
    ] = None,
    trust: Trust = False,
) -> None:
    """Make a dataset again from the same inputs with the same settings, and say whether the same came out."""
    import tempfile

    from fullwell.pipeline.rerun import rerun as repeat

    with opened(repo, trust=trust) as found, tempfile.TemporaryDirectory(prefix="fullwell-rerun-") as scratch:
        made = repeat(found, dataset, output or scratch)
    where = ", ".join(f"{k}={v}" for k, v in made.data_id.items())
    rows = [(p.name, "yes" if p.same else "NO", p.differ, p.largest, p.note) for p in made.parts]
    door.table(("part", "same", "differ", "largest", "note"), rows, title=f"{made.dataset_type} {where}")
    for hdu, key, before, now in made.cards:
        door.say(f"{hdu} {key}: {before!r} before, {now!r} now")
    if made.version != made.now:
        door.say(f"it was made by version {made.version}, this is {made.now}")
    door.say("the same came out" if made.ok else "something else came out")
    door.give(**made.to_dict())
    if not made.ok:
        raise typer.Exit(1)
