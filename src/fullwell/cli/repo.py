"""`fullwell repo`: make a repository, fill it, see what is in it, say which calibrations are valid when."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from fullwell.cli.options import common
from fullwell.cli.output import Door
from fullwell.cli.repo_calibs import certify, decertify
from fullwell.cli.repo_more import bring, check, export, history
from fullwell.cli.repo_options import Instruments, Repo, Trust, Where, app, as_id, by_id, data_id, opened

__all__ = ["app"]


@app.command(epilog="Examples: fullwell repo create R; fullwell repo create --folder night/")
@common(work=True)
def create(
    door: Door,
    place: Annotated[
        Path | None, typer.Argument(metavar="[REPO]", show_default=False, help="Folder of the new repository.")
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(
            "--folder",
            metavar="FOLDER",
            show_default=False,
            help="Make this folder a repository in place: its files stay, the index goes into FOLDER/.fullwell/repo.",
        ),
    ] = None,
    db: Annotated[
        str,
        typer.Option(
            "--db",
            metavar="URL",
            show_default=False,
            help="PostgreSQL database, as postgresql://user@host/name, without a password; else SQLite inside.",
        ),
    ] = "",
    namespace: Annotated[
        str, typer.Option("--namespace", metavar="SCHEMA", show_default=False, help="Schema of that database.")
    ] = "",
) -> None:
    """Make a new repository."""
    from fullwell.base.errors import UsageError
    from fullwell.repo import create as make
    from fullwell.repo.layout import FOLDER_REPO
    from fullwell.repo.secrets import refuse_password

    if place is None and folder is None:
        raise UsageError("no place for the repository", remedy="fullwell repo create REPO, or --folder FOLDER")
    refuse_password(db)
    if namespace and not db:
        raise UsageError("--namespace without --db", remedy="SQLite has no schemas; give --db URL or leave it out")
    where = place if place is not None else folder / FOLDER_REPO  # type: ignore[operator]
    database = db or "SQLite"
    if not door.dry_run:
        with make(where, db=db, namespace=namespace, files=folder or "") as repo:
            door.say(f"repository {repo.path}, index in {database}, files in {repo.root}")
            files, named = shlex.quote(str(folder)) if folder else "FILES", shlex.quote(str(place or folder))
            door.say(f"next: fullwell repo ingest {files} --repo {named}")
    else:
        door.say(f"would make the repository {where}, index in {database}")
    door.give(repo=str(where), database=database, namespace=namespace or None, files=str(folder or where))


@app.command(epilog="Example: fullwell repo ingest night/ --repo R --transfer copy")
@common(work=True)
def ingest(
    door: Door,
    places: Annotated[
        list[Path], typer.Argument(metavar="PLACE...", show_default=False, help="Raw files, or folders of them.")
    ],
    repo: Repo = None,
    transfer: Annotated[
        str,
        typer.Option("--transfer", metavar="HOW", help="direct (files stay where they are), link, copy or move."),
    ] = "direct",
    trust: Trust = False,
) -> None:
    """Enter raw frames; what is known already stays as it is."""
    from fullwell.cli.output import failure
    from fullwell.repo.ingest import ingest as enter

    with opened(repo, writeable=True, trust=trust) as into:
        jobs = max(door.jobs, 4)
        done = enter(into, places, transfer=transfer, jobs=jobs, fail_fast=door.fail_fast, dry_run=door.dry_run)
        for path, error in done.failed.items():
            door.failures.append(failure(str(path), error))
            door.note(str(error))
        for path in done.known:
            if door.verbose:
                door.note(f"{path}: known already")
        for note in done.notes:
            door.note(note)
        verb = "would enter" if door.dry_run else "entered"
        frames = sum(map(len, done.entered.values()))
        known = f"; {len(done.known)} files known already" if done.known else ""
        failed = f"; {len(done.failed)} failed" if done.failed else ""
        door.say(f"{verb} {frames} frames of {len(done.entered)} files{known}{failed}")
        result = done.to_dict()
        door.give(repo=str(into.path), **{k: result[k] for k in ("entered", "known", "notes")})


_WHATS = ("instruments", "exposures", "datasets", "collections")


@app.command(epilog="Example: fullwell repo ls exposures --where \"exposure.observation_type = 'science'\" --repo R")
@common()
def ls(
    door: Door,
    what: Annotated[
        str,
        typer.Argument(metavar="[WHAT]", show_default=False, help="instruments, exposures, datasets or collections."),
    ] = "instruments",
    repo: Repo = None,
    where: Where = "",
    kinds: Annotated[
        list[str] | None,
        typer.Option("--type", metavar="TYPE", show_default=False, help="Dataset type; repeat for several."),
    ] = None,
    within: Annotated[
        list[str] | None,
        typer.Option("--collection", metavar="NAME", show_default=False, help="Only in this collection; repeat."),
    ] = None,
    instrument: Instruments = None,
    trust: Trust = False,
) -> None:
    """List what is in a repository."""
    from fullwell.base.errors import UsageError
    from fullwell.repo import listing

    if what not in _WHATS:
        raise UsageError(f"there is nothing to list by the name '{what}'", remedy=f"one of {', '.join(_WHATS)}")
    if where and what in ("instruments", "collections"):
        raise UsageError(f"{what} are listed without a condition", remedy="leave --where out")
    if (kinds or within) and what != "datasets":
        raise UsageError("--type and --collection choose among datasets", remedy="fullwell repo ls datasets …")
    with opened(repo, trust=trust) as found:
        if instrument:
            unknown = sorted(set(instrument) - set(found.instruments()))
            if unknown:
                raise UsageError(
                    f"the repository has no instrument '{unknown[0]}'",
                    where=str(found.path),
                    remedy=f"it has {', '.join(found.instruments()) or 'none yet'}",
                )
        if what == "exposures":
            rows = listing.exposures(found, where, instrument)
        elif what == "datasets":
            rows = listing.datasets(found, where, kinds or (), within or (), instrument)
        elif what == "collections":
            rows = listing.collections(found)
        else:
            rows = [r for r in listing.instruments(found) if not instrument or r["instrument"] in instrument]
        _show(door, what, rows)
        door.give(repo=str(found.path), **{what: rows})


def _show(door: Door, what: str, rows: list[dict[str, Any]]) -> None:
    def cell(value: Any) -> Any:
        return ", ".join(map(str, value)) or "-" if isinstance(value, list) else "-" if value in (None, "") else value

    if not rows:
        door.note(f"no {what}")
        return
    for kind in dict.fromkeys(tuple(row) for row in rows):
        some = [row for row in rows if tuple(row) == kind]
        door.table(kind, [[cell(v) for v in row.values()] for row in some])
    if what != "instruments":
        door.note(f"{len(rows)} {what}")


@app.command(epilog="Example: fullwell repo find flat detector=0 exposure=2024110800246 --repo R")
@common()
def find(
    door: Door,
    dataset: Annotated[str, typer.Argument(metavar="TYPE|ID", help="Dataset type, or id of a dataset.")],
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE...", show_default=False, help="Data id; a calibration by its exposure."),
    ] = None,
    repo: Repo = None,
    within: Annotated[
        list[str] | None,
        typer.Option("--collection", metavar="NAME", show_default=False, help="Searched in this order; repeat."),
    ] = None,
    trust: Trust = False,
) -> None:
    """Find one dataset: its id, run and file; of a calibration also when it is valid."""
    from fullwell.repo import listing

    with opened(repo, trust=trust) as found:
        ident = as_id(dataset)
        ref = by_id(found, ident) if ident else found.find(dataset, within, **data_id(words))
        told = listing.describe(found, ref)
    rows = [(k, v) for k, v in told.items() if k not in ("data_id", "valid")]
    rows += list(told["data_id"].items())
    rows += [("valid", f"{v['begin'] or '…'} to {v['end'] or '…'} in {v['collection']}") for v in told.get("valid", ())]
    for key, value in rows:
        door.say(f"{key:16} {value}")
    door.give(**told)


app.command(epilog="Example: fullwell repo certify bias.fits flat_r.fits --begin 2024-11-01 --repo R")(certify)
app.command(epilog="Example: fullwell repo decertify flat physical_filter=r --begin 2024-12-01 --repo R")(decertify)
app.command(epilog="Example: fullwell repo history 52101f38-3247-589b-9fa5-b97fa8815ec8 --repo R")(history)
app.command(epilog='Example: fullwell repo export take-away/ --where "exposure.day_obs = 20241108" --repo R')(export)
app.command("import", epilog="Example: fullwell repo import take-away/ --repo R2")(bring)
app.command(epilog="Examples: fullwell repo check --repo R; fullwell repo check --repair --repo R")(check)
