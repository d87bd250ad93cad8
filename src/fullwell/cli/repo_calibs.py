"""`fullwell repo certify|decertify`: when calibrations are valid."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fullwell.cli.options import common
from fullwell.cli.output import Door
from fullwell.cli.repo_options import Begin, End, Repo, Setup, Trust, as_id, by_id, data_id, opened

if TYPE_CHECKING:
    from fullwell.repo import Repository

__all__ = ["certify", "decertify"]


@common(work=True)
def certify(
    door: Door,
    what: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE|ID|TYPE...",
            show_default=False,
            help="Product files (entered first), ids of datasets, or with --run dataset types.",
        ),
    ],
    repo: Repo = None,
    begin: Begin = None,
    end: End = None,
    run: Annotated[
        str | None, typer.Option("--run", metavar="RUN", show_default=False, help="Run that the types are taken from.")
    ] = None,
    setup: Setup = "",
    transfer: Annotated[
        str, typer.Option("--transfer", metavar="HOW", help="Of product files: copy, direct, link or move.")
    ] = "copy",
    trust: Trust = False,
) -> None:
    """Make calibrations valid for a span of time; one that overlaps with another's is refused."""
    from fullwell.repo import listing
    from fullwell.repo.calibs import certify as validate
    from fullwell.repo.calibs import span
    from fullwell.repo.intake import enter_products

    span(begin, end)
    files = [Path(w) for w in what if Path(w).is_file()]
    words = [w for w in what if not Path(w).is_file()]
    with opened(repo, writeable=True, trust=trust) as found:
        refs = [ref for word in words for ref in _meant(found, word, run)]
        if door.dry_run:
            for one in (*files, *refs):
                door.say(f"would certify {one}")
            door.give(repo=str(found.path), certified=[], begin=begin, end=end)
            return
        stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}"
        with found.butler.transaction():
            if files:
                refs += enter_products(found, files, stamp, transfer=transfer)
            names = validate(found, refs, begin, end, setup=setup)
        told = [listing.describe(found, ref) for ref in refs]
        for one in told:
            shown = ", ".join(f"{k}={v}" for k, v in one["data_id"].items())
            door.say(f"{one['dataset']} {shown} of {one['run']}: valid {begin or '…'} to {end or '…'}")
        door.give(repo=str(found.path), collections=names, certified=told, begin=begin, end=end)


def _meant(repo: Repository, word: str, run: str | None) -> list[Any]:
    from fullwell.base.errors import FileError, MissingProduct, UsageError
    from fullwell.repo.layout import DATASETS
    from fullwell.repo.repository import speaking

    ident = as_id(word)
    if ident is not None:
        return [by_id(repo, ident)]
    if word not in DATASETS:
        raise FileError(
            "there is no such file, id or dataset type", where=word, remedy=f"types are {', '.join(DATASETS)}"
        )
    if run is None:
        raise UsageError(f"of which run are the {word} datasets?", remedy="name it with --run; see repo ls collections")
    with speaking(str(repo.path)):
        refs = repo.butler.query_datasets(word, collections=run, find_first=False, explain=False, limit=None)
    if not refs:
        raise MissingProduct(
            f"there is no {word} in the run {run}", where=str(repo.path), remedy="see repo ls datasets"
        )
    return list(refs)


@common(work=True)
def decertify(
    door: Door,
    dataset: Annotated[str, typer.Argument(metavar="TYPE", help="Dataset type.")],
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE...", show_default=False, help="Of this detector, filter … only."),
    ] = None,
    repo: Repo = None,
    begin: Begin = None,
    end: End = None,
    setup: Setup = "",
    trust: Trust = False,
) -> None:
    """End the validity of calibrations within a span of time; the datasets stay."""
    from fullwell.repo.calibs import certified, shown, span
    from fullwell.repo.calibs import decertify as end_validity

    when = span(begin, end)
    with opened(repo, writeable=True, trust=trust) as found:
        chosen = certified(found, dataset, data_id(words), setup=setup, during=when)
        for one in chosen:
            verb = "would end" if door.dry_run else "ended"
            door.say(f"{verb} the validity of {dataset} {one.shown} of {one.run} within {shown(when)}")
        if not chosen:
            door.note(f"no {dataset} is valid in {shown(when)}: nothing to end")
        if not door.dry_run:
            for instrument in dict.fromkeys(one.instrument for one in chosen):
                ids = [one.data_id for one in chosen if one.instrument == instrument]
                end_validity(found, dataset, instrument, begin, end, setup=setup, data_ids=ids)
        door.give(
            repo=str(found.path),
            decertified=[] if door.dry_run else [{"dataset": dataset, "id": o.id, "run": o.run} for o in chosen],
            begin=begin,
            end=end,
        )
