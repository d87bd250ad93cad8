"""Products of several tables in one FITS file, and the photon transfer table of the LSST library.

The primary header says what the product is; each table is an HDU of its name; FULLWELL holds what goes with it. Texts
are written with escapes for what is not ASCII.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fullwell.base.errors import FileError, FullwellWarning
from fullwell.base.provenance import Record, content_id
from fullwell.io.atomic import atomic_path
from fullwell.io.codec import from_json, to_json
from fullwell.io.fitsfile import FitsFile, decoding
from fullwell.io.framefile import read_keys
from fullwell.io.layout import header_of, history_table, key_table
from fullwell.products import Ptc

__all__ = ["has_tables", "read_tables", "write_lsst", "write_tables"]

BASE = ("observation", "inputs", "notes", "metadata")
FIRST = {"ptc": "AMPLIFIERS"}
"""Kind of product -> name of its first table."""
EDITED = "a table was edited after it was written"
_ESCAPE = re.compile(r"\\x[0-9a-f]{2}|\\u[0-9a-f]{4}|\\U[0-9a-f]{8}|\\[\\nrt]")


def _filled(column: Any) -> Any:
    """A column as an array; astropy masks NaN and empty texts, which are given back."""
    if hasattr(column, "filled"):
        column = column.filled({"f": np.nan, "U": "", "S": b""}.get(column.dtype.kind, 0))
    return np.asarray(getattr(column, "value", column))


def _plain(column: Any) -> Any:
    """The values of a column; texts as escaped ASCII."""
    values = _filled(column)
    if values.dtype.kind not in "UO":
        return values
    texts = [str(v).encode("unicode_escape").decode("ascii") for v in values.ravel()]
    return np.array(texts, f"S{max(map(len, texts), default=1) or 1}").reshape(values.shape)


def _said(texts: Any) -> list[str]:
    """Escaped texts as they were."""

    def whole(found: re.Match[str]) -> str:
        return found[0].encode("ascii").decode("unicode_escape")

    return [_ESCAPE.sub(whole, str(text)) for text in texts]


def _hdu(table: Any, name: str) -> Any:
    from astropy.io import fits

    columns = []
    for label in table.colnames:
        values, unit = _plain(table[label]), table[label].unit
        kind, width = values.dtype, int(np.prod(values.shape[1:], dtype=int))
        code = {"b": "L", "i": "K", "u": "K", "f": "D"}.get(kind.kind, f"{kind.itemsize}A")
        form = code if code.endswith("A") else f"{width}{code}"
        dim = f"({','.join(str(n) for n in reversed(values.shape[1:]))})" if values.ndim > 2 else None
        stored = values.astype({"K": np.int64, "D": np.float64}.get(code, kind))
        columns.append(
            fits.Column(label, format=form, dim=dim, array=stored, unit=str(unit).replace(" ", "") if unit else None)
        )
    return fits.BinTableHDU.from_columns(columns, name=name)


def _content(tables: Mapping[str, Any]) -> str:
    """An id of all cells, to tell whether someone edited them."""
    parts: list[Any] = []
    for name, table in tables.items():
        for label in table.colnames:
            values = _plain(table[label])
            if values.dtype.kind == "S":
                parts.append([name, label, [text.decode() for text in values.ravel().tolist()]])
            else:
                form = {"b": np.uint8, "i": np.int64, "u": np.int64}.get(values.dtype.kind, np.float64)
                parts += [[name, label], values.astype(form)]
    return content_id(*parts)


def write_tables(product: Ptc, path: Path, cards: Mapping[str, Any], overwrite: bool) -> None:
    """Write a product of several tables, whole or not at all; `cards` : what its header says."""
    from astropy.io import fits

    tables = product.to_tables()
    words = {**cards, "FWSCHEMA": product.schema, "ESTIMATOR": product.estimator, "FIT_TYPE": product.fit_type}
    hdus = fits.HDUList([fits.PrimaryHDU(header=header_of(words))])
    hdus.extend(_hdu(table, name) for name, table in tables.items())
    if product.history:
        hdus.append(history_table(product.history))
    record = {name: getattr(product, name) for name in BASE}
    record |= {"history": list(product.history), "id": product.id, "content": _content(tables)}
    record |= {"estimator": product.estimator, "fit_type": product.fit_type, "version": product.version}
    hdus.append(key_table({"fullwell": to_json(record)}))
    with atomic_path(path, overwrite=overwrite) as temporary, open(temporary, "wb") as handle:
        hdus.writeto(handle, checksum=True, output_verify="fix+ignore")


def has_tables(file: FitsFile) -> bool:
    """Whether a file holds a product of several tables, ours."""
    schema = str(file.hdus[0].header.get("FWSCHEMA", ""))
    return schema.removeprefix("fullwell/") in FIRST


def read_tables(file: FitsFile, cls: type[Ptc], more: Mapping[str, Any]) -> Ptc:
    """The product of a file of several tables.

    Raises
    ------
    FileError
        a table or a column is missing or damaged.
    """
    stored = read_keys(file).get("fullwell")
    record = from_json(stored, where=file.path) if isinstance(stored, str) else {}
    tables = {h.name: file.table(h) for h in file.hdus if h.kind == "table" and h.name not in ("HISTORY", "FULLWELL")}
    if FIRST[cls.kind] not in tables:
        raise FileError(
            f"the {cls.kind} has no table {FIRST[cls.kind]}", where=file.path, remedy="was the file cut short?"
        )
    for table in tables.values():
        for label in table.colnames:
            values = _filled(table[label])
            table[label] = _said(values) if values.dtype.kind == "U" else values
    fields: dict[str, Any] = {k: v for k, v in record.items() if k in BASE}
    fields["history"] = tuple(r for r in record.get("history", ()) if isinstance(r, Record))
    if record and record.get("content") == _content(tables):
        fields["id"] = record.get("id", "")
    else:
        fields["notes"] = (*fields.get("notes", ()), EDITED)
        warnings.warn(f"{file.path}: {EDITED}", FullwellWarning, stacklevel=4)
    meta = record or {str(k).lower(): v for k, v in file.hdus[0].header.items()}
    with decoding(file.path, f"the {cls.kind} tables"):
        return cls.from_tables(tables, meta, **{**fields, **more, "source": file.path})


def write_lsst(product: Ptc, path: str | os.PathLike[str], *, overwrite: bool = True) -> None:
    """Write a photon transfer as the LSST library does: one table, version 2.6, in a FITS file.

    Raises
    ------
    FileError
        the file cannot be written; nothing is left then.
    """
    from astropy.io import fits

    table = product.to_lsst()
    meta, table.meta = dict(table.meta), {}
    body = fits.table_to_hdu(table)
    body.header.extend(header_of(meta), update=True)
    hdus = fits.HDUList([fits.PrimaryHDU(), body])
    with atomic_path(Path(path), overwrite=overwrite) as temporary, open(temporary, "wb") as handle:
        hdus.writeto(handle, checksum=True, output_verify="fix+ignore")
