"""Tables of others, whatever their form: FITS, ECSV, CSV, white space, Parquet."""

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
        there is no such file, or no table in it; Parquet without pyarrow.
    """
    from astropy.table import Table

    name = str(path)
    if name.lower().endswith((".parquet", ".parq", ".pq")):
        return _parquet(name)
    fits = name.lower().endswith((".fits", ".fit", ".fits.gz"))
    try:
        return Table.read(name, format="fits") if fits else Table.read(name, format="ascii")
    except OSError as error:
        raise FileError(f"the table cannot be read: {error.strerror or error}", where=name) from None
    except Exception as error:
        raise FileError(
            f"the file holds no table that can be read: {_first_line(error)}",
            where=name,
            remedy="FITS, ECSV, CSV, white space or Parquet",
        ) from None


def _first_line(error: Exception) -> str:
    """What is said first; after it come all the formats that were tried."""
    lines = [line.strip(" *") for line in str(error).splitlines()]
    return next((line for line in lines if line), type(error).__name__)[:200]


def _parquet(name: str) -> Any:
    """The table of a Parquet file, which needs pyarrow."""
    from astropy.table import Table

    try:
        from pyarrow import parquet
    except ImportError:
        raise FileError(
            "Parquet is read by pyarrow, which is not installed",
            where=name,
            remedy="pip install pyarrow, or give a CSV",
        ) from None
    try:
        stored = parquet.read_table(name)
        return Table({column: stored[column].to_numpy() for column in stored.column_names})
    except OSError as error:
        raise FileError(f"the table cannot be read: {error.strerror or error}", where=name) from None
    except Exception as error:
        raise FileError(
            f"the file holds no table that can be read: {error}", where=name, remedy="is it Parquet?"
        ) from None
