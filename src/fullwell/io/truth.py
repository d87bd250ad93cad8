"""Maps, a table and numbers in one FITS file: how the truth about a simulated frame is kept."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fullwell.io.atomic import atomic_path

__all__ = ["write_maps"]


def write_maps(
    path: str | os.PathLike[str],
    images: Mapping[str, NDArray[Any]],
    *,
    table: Any = None,
    table_name: str = "STARS",
    numbers: Mapping[str, Any] | None = None,
    units: Mapping[str, str] | None = None,
    overwrite: bool = True,
) -> None:
    """Write named maps (ny, nx) as image HDUs, with checksums; the file appears whole or not at all.

    Parameters
    ----------
    images : name -> map; EXTNAME is the name in upper case, booleans become bytes.
    table : astropy table for the HDU `table_name`, None for none.
    numbers : JSON-able values for the HDU NUMBERS, one row of (key, value) each, the value as JSON text.
    units : name -> BUNIT.

    Raises
    ------
    FileError
        the file cannot be written.
    """
    from astropy.io import fits
    from astropy.table import Table

    hdus: list[Any] = [fits.PrimaryHDU()]
    hdus[0].header["FWSCHEMA"] = ("fullwell/truth", "not a frame of a camera")
    for name, image in images.items():
        hdu = fits.ImageHDU(image.astype(np.uint8) if image.dtype == bool else image, name=name.upper())
        if units and units.get(name):
            hdu.header["BUNIT"] = units[name]
        hdus.append(hdu)
    if table is not None:
        plain = Table({name: np.asarray(table[name]) for name in table.colnames})
        hdus.append(fits.table_to_hdu(plain))
        hdus[-1].name = table_name
        for i, name in enumerate(table.colnames, 1):
            if table[name].unit is not None:
                hdus[-1].header[f"TUNIT{i}"] = str(table[name].unit)
    if numbers:
        rows = [(key, json.dumps(value)) for key, value in numbers.items()]
        hdus.append(fits.table_to_hdu(Table(rows=rows, names=("key", "value"))))
        hdus[-1].name = "NUMBERS"
    with atomic_path(path, overwrite=overwrite) as temporary:
        fits.HDUList(hdus).writeto(temporary, checksum=True)
