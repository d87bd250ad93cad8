"""Tables of others, whatever their form: FITS, ECSV, CSV, white space."""

from __future__ import annotations

import os
from typing import Any

from fullwell.base.errors import FileError

__all__ = ["read_table"]


def read_table(path: str | os.PathLike[str]) -> Any:
    """The first table in a file, an astropy Table.

    Raises
    ------
    FileError
        there is no such file, or no table in it.
    """
    from astropy.table import Table

    name = str(path)
    fits = name.lower().endswith((".fits", ".fit", ".fits.gz"))
    try:
        return Table.read(name, format="fits") if fits else Table.read(name, format="ascii")
    except OSError as error:
        raise FileError(f"the table cannot be read: {error.strerror or error}", where=name) from None
    except Exception as error:
        raise FileError(
            f"the file holds no table that can be read: {error}", where=name, remedy="FITS, ECSV, CSV or white space"
        ) from None
