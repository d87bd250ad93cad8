"""`fullwell repo history|export|import|check`: where datasets come from, how they travel, whether all is there."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fullwell.cli.options import common
from fullwell.cli.output import Door
from fullwell.cli.repo_options import Repo, Trust, Where, opened

__all__ = ["bring", "check", "export", "history"]


@common()
def history(
    door: Door,
    dataset: Annotated[str, typer.Argument(metavar="ID|FILE", help="Id of a dataset, or a file that carries its id.")],
    repo: Repo = None,
    trust: Trust = False,
) -> None:
    """Draw what a dataset was made of, down to the raw frames: inputs by id, recipe, settings, version."""
    from fullwell.repo.provenance import history as tree

    with opened(repo, trust=trust) as found:
        node = tree(found, dataset)
        door.say(node.draw())
        door.give(repo=str(found.path), history=node.to_dict())


@common(work=True)
def export(
    door: Door,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="New folder; it is a repository of its own.")],
    ids: Annotated[
        list[str] | None, typer.Argument(metavar="[ID...]", show_default=False, help="Datasets by their ids.")
    ] = None,
    repo: Repo = None,
    where: Where = "",
    kinds: Annotated[
        list[str] | None,
        typer.Option("--type", metavar="TYPE", show_default=False, help="Dataset type; repeat for several."),
    ] = None,
    within: Annotated[
        list[str] | None,
        typer.Option("--collection", metavar="NAME", show_default=False, help="Only from this collection; repeat."),
    ] = None,
    inputs: Annotated[
        bool, typer.Option("--inputs/--no-inputs", help="Take along what the datasets were made of.")
    ] = True,
    trust: Trust = False,
) -> None:
    """Copy datasets to a folder that anyone can open, with all that the index says about them."""
    from fullwell.repo import listing
    from fullwell.repo.transport import export as copy

    with opened(repo, trust=trust) as found:
        if door.dry_run:
            rows = listing.datasets(found, where, kinds or (), within or ()) if not ids else [{"id": i} for i in ids]
            door.say(f"would export {len(rows)} datasets" + (" and their inputs" if inputs else "") + f" to {folder}")
            door.give(repo=str(found.path), folder=str(folder), chosen=len(rows))
            return
        done = copy(
            found, folder, where=where, datasets=kinds or (), collections=within, ids=ids or (), with_inputs=inputs
        )
        for ident, why in done.missing.items():
            door.note(f"left out: {ident}: {why}")
        shown = ", ".join(f"{n} {kind}" for kind, n in sorted(done.datasets.items()))
        door.say(f"exported {shown} to {done.folder}, {done.size / 1e6:.1f} MB")
        door.give(repo=str(found.path), **done.to_dict())


@common(work=True)
def bring(
    door: Door,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Made by export.")],
    repo: Repo = None,
    transfer: Annotated[
        str, typer.Option("--transfer", metavar="HOW", help="copy, link, move, or direct (files stay where they are).")
    ] = "copy",
    trust: Trust = False,
) -> None:
    """Enter what a folder of an export holds; doing it again changes nothing."""
    from fullwell.base.errors import UsageError
    from fullwell.repo.importing import import_

    if door.dry_run:
        raise UsageError(
            "an import has no dry run", remedy="open the folder of the export: fullwell repo ls datasets --repo FOLDER"
        )
    with opened(repo, writeable=True, trust=trust) as found:
        done = import_(found, folder, transfer)
        shown = ", ".join(f"{n} {kind}" for kind, n in sorted(done.entered.items())) or "nothing new"
        known = f"; {done.known} known already" if done.known else ""
        door.say(f"entered {shown}{known}; {done.certified} validities")
        door.give(repo=str(found.path), **done.to_dict())


@common(work=True)
def check(
    door: Door,
    repo: Repo = None,
    quick: Annotated[bool, typer.Option("--quick", help="Sizes and ids only; files are not read in full.")] = False,
    repair: Annotated[
        bool, typer.Option("--repair", help="Put right what can be; what cannot is moved aside, never deleted.")
    ] = False,
    undo: Annotated[
        Path | None,
        typer.Option("--undo", metavar="REPORT", show_default=False, help="Undo a repair, by the report it wrote."),
    ] = None,
    trust: Trust = False,
) -> None:
    """Compare files and index both ways: missing, damaged and stray files. Exit code 1 where anything is wrong."""
    from fullwell.base.errors import UsageError
    from fullwell.repo.check import check as compare

    if repair and undo is not None:
        raise UsageError("--repair and --undo contradict each other", remedy="one after the other")
    write = (repair or undo is not None) and not door.dry_run
    with opened(repo, writeable=write, trust=trust) as found:
        if undo is not None and not door.dry_run:
            from fullwell.repo.mend import put_back

            counts = put_back(found, undo)
            door.say(", ".join(f"{n} {what}" for what, n in counts.items()))
            door.give(repo=str(found.path), undone=counts)
            return
        report = compare(found, deep=not quick, repair=write, jobs=max(door.jobs, 4))
        door.say(report.text())
        for one in report.findings:
            if not one.done:
                door.failures.append({"name": str(one.path), "code": one.kind, "error": one.problem, "where": one.run})
        door.give(repo=str(found.path), **report.to_dict())
