"""What the commands of `fullwell repo` share: the group, options that name repositories and times, data ids."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from fullwell.repo import Repository

__all__ = [
    "Begin",
    "End",
    "Instruments",
    "Repo",
    "Setup",
    "Trust",
    "Where",
    "app",
    "as_id",
    "by_id",
    "data_id",
    "opened",
]

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="The repository: frames and calibrations by what they are, not by their file names.",
)

Repo = Annotated[
    Path | None,
    typer.Option(
        "--repo",
        metavar="REPO",
        show_default=False,
        help="Repository, or a folder made one; else that of FULLWELL_REPO, else the folder here.",
    ),
]
Trust = Annotated[
    bool, typer.Option("--trust", help="Import code that the repository names and fullwell does not know.")
]
Where = Annotated[
    str,
    typer.Option(
        "--where", metavar="CONDITION", show_default=False, help="As \"exposure.observation_type = 'science'\"."
    ),
]
Begin = Annotated[
    str | None,
    typer.Option("--begin", metavar="TIME", show_default=False, help="ISO time (TAI); open without."),
]
End = Annotated[
    str | None,
    typer.Option("--end", metavar="TIME", show_default=False, help="ISO time (TAI), not in the span; open without."),
]
Setup = Annotated[
    str,
    typer.Option("--setup", metavar="NAME", show_default=False, help="Of an instrument with several read-out modes."),
]
Instruments = Annotated[
    list[str] | None, typer.Option("--instrument", metavar="NAME", show_default=False, help="Only this; repeat.")
]

_NUMBERS = ("exposure", "visit", "detector", "day_obs", "seq_num")


def opened(place: Path | None, *, writeable: bool = False, trust: bool = False) -> Repository:
    """The repository that the options name.

    Raises
    ------
    FileError
        there is none. UsageError: it names unknown code and is not trusted.
    """
    import os

    from fullwell.base.errors import FileError
    from fullwell.repo import open_repo

    if place is not None:
        return open_repo(place, writeable=writeable, trust=trust)
    here = os.environ.get("FULLWELL_REPO") or "."
    try:
        return open_repo(here, writeable=writeable, trust=trust)
    except FileError as error:
        if error.code != "FW180":
            raise
        raise FileError(
            error.problem,
            where=str(Path(here).resolve()),
            remedy="name one with --repo, or in the variable FULLWELL_REPO",
            code=error.code,
        ) from None


def data_id(words: list[str] | None) -> dict[str, Any]:
    """``["detector=0", "exposure=2025011500058"]`` as a data id.

    Raises
    ------
    UsageError
        a word is not of the form key=value, or a number is none.
    """
    from fullwell.base.errors import UsageError

    out: dict[str, Any] = {}
    for word in words or []:
        key, equals, value = word.partition("=")
        if not (equals and key and value):
            raise UsageError(f"'{word}' is no part of a data id", remedy="write key=value, for example detector=0")
        if key in _NUMBERS and not value.lstrip("-").isdigit():
            raise UsageError(f"{key} '{value}' is no number", remedy=f"for example {key}=0")
        out[key] = int(value) if key in _NUMBERS else value
    return out


def as_id(text: str) -> Any:
    """The id that a word is; None where it is none."""
    from uuid import UUID

    try:
        return UUID(text)
    except ValueError:
        return None


def by_id(repo: Repository, ident: Any) -> Any:
    """The dataset of an id.

    Raises
    ------
    MissingProduct
        the repository does not know it.
    """
    from fullwell.base.errors import MissingProduct

    ref = repo.butler.get_dataset(ident)
    if ref is None:
        raise MissingProduct(
            f"there is no dataset {ident}",
            where=str(repo.path),
            remedy="fullwell repo ls datasets lists the ids",
            code="FW303",
        )
    return ref
