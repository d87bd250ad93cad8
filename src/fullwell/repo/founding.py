"""The place of a new repository: whether it may lie there, and how it gets there whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from fullwell.base.errors import FileError, FullwellError, UsageError

__all__ = ["check_place", "move", "relative_root", "taken", "writing"]


def check_place(place: Path) -> None:
    """Refuse a folder that holds a repository, or whose name the library takes for something else.

    Raises
    ------
    UsageError
        see there.
    """
    if (place / "butler.yaml").exists():
        raise taken(place)
    if re.search("#|%[0-9A-Fa-f]{2}", place.name):
        raise UsageError(
            "the library cannot keep a repository in a folder whose name holds '#', or '%' with two digits",
            where=str(place),
            remedy="give a folder of another name",
            code="FW615",
        )


def taken(place: Path) -> UsageError:
    """The error of a place that holds a repository already."""
    return UsageError("there is a repository already", where=str(place), remedy="give another folder, or open this one")


@contextlib.contextmanager
def writing(place: Path, plain: Path) -> Iterator[None]:
    """Leave nothing of a repository that could not be made, so that the same call can be tried again."""
    try:
        yield
    except BaseException as error:
        shutil.rmtree(plain, ignore_errors=True)
        if not isinstance(error, OSError) or isinstance(error, FullwellError):
            raise
        raise FileError(
            f"the repository cannot be made: {error.strerror or error}",
            where=str(error.filename or place),
            remedy="give a folder that can be written to",
        ) from error


def relative_root(place: Path, files: Path) -> str:
    """The root of the files as seen from the repository, so that the whole can be moved."""
    return "<butlerRoot>/" + os.path.relpath(files.resolve(), place.resolve())


def move(plain: Path, place: Path) -> None:
    """The finished repository to its place: as a whole, or, into a folder that is there, the index first.

    Raises
    ------
    UsageError
        another process has made one there meanwhile.
    """
    if plain.parent != place:
        try:
            os.rename(plain, place)
        except OSError as error:
            raise taken(place) if error.errno in (errno.ENOTEMPTY, errno.EEXIST) else error from None
        return
    for item in sorted(plain.iterdir(), key=lambda one: one.name == "butler.yaml"):
        try:
            os.close(os.open(place / item.name, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            raise taken(place / item.name) from None
        os.replace(item, place / item.name)
    plain.rmdir()
