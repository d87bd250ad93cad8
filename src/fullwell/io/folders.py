"""Folders and the identity of files."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from fullwell.base.errors import FileError

__all__ = ["file_digest", "make_folder"]


def make_folder(path: Path | str) -> Path:
    """The folder `path`, made with its parents where it is not there, and proved writable.

    Raises
    ------
    FileError
        it cannot be made or written, or a file of that name is in the way.
    """
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError as err:
        raise FileError(f"'{path}' is a file, not a folder", remedy="give another output folder") from err
    except OSError as err:
        raise FileError(
            f"the folder '{path}' cannot be made: {err.strerror}", remedy="give an output folder that you may write"
        ) from err
    if not os.access(path, os.W_OK | os.X_OK):
        raise FileError(
            f"the folder '{path}' cannot be written",
            remedy="give an output folder that you may write, or change its permissions",
        )
    return path


def file_digest(path: Path | str) -> str:
    """32 hexadecimal digits of a hash of the bytes of a file: the same file has the same id anywhere.

    Raises
    ------
    FileError
        the file cannot be read.
    """
    try:
        with open(path, "rb") as stream:
            return hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    except OSError as err:
        raise FileError(f"'{path}' cannot be read: {err.strerror}", where=str(path)) from err
