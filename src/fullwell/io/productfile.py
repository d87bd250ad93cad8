"""Calibration products to files and back.

Images (bias, dark, flat) are FITS in the layout of frames, as the LSST library writes its own; tables (gain,
defects, crosstalk, linearity) are ECSV, which people read, or a FITS table where the name ends in ``.fits``; photon
transfer has several tables, in one FITS file.
What a product was made of, and what it applies to, goes with it in either form. The only keys that depend on
the moment of writing are CALIB_CREATION_DATE and CALIB_CREATION_TIME, and the comments of the checksums.
"""

from __future__ import annotations

import dataclasses
import os
import warnings
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from fullwell.base.errors import FileError, FullwellWarning, UsageError
from fullwell.base.provenance import Record, content_id
from fullwell.frames import Mask
from fullwell.io.atomic import atomic_path
from fullwell.io.codec import from_json, to_json
from fullwell.io.defectfile import is_regions, read_regions, read_text_defects
from fullwell.io.fitsfile import FitsFile, decoding, open_fits, sniff
from fullwell.io.framefile import read_history, read_keys, read_layout
from fullwell.io.layout import header_of, history_table, image_hdu, key_table, mask_header, record_line
from fullwell.io.tablesfile import has_tables, read_tables, write_tables
from fullwell.products import PRODUCTS, ImageProduct, Product, Ptc

__all__ = ["read_product", "write_product"]

_PLANES = ("image", "variance", "mask", "count")
_BASE = ("observation", "inputs", "notes", "metadata")
_KINDS = {"linearizer": "linearity", "crosstalk": "crosstalk", "manual_defects": "defects"}
_FITS = (".fits", ".fits.gz", ".fit", ".fits.fz")
_ORIGIN = ("FWRECIPE", "FWCONFIG", "FWVERS")


def _cards(product: Product) -> dict[str, Any]:
    """What every file of a product says in its header, in the words of the LSST library."""
    seen, now = product.observation, datetime.now(UTC)
    kind = product.kind.upper()
    cards: dict[str, Any] = {
        "OBSTYPE": product.kind,
        f"{kind}_SCHEMA": product.schema,
        f"{kind}_VERSION": product.version,
        "FWID": product.id,
        "INSTRUME": seen.instrument,
        "DETECTOR": seen.detector_id,
        "DET_NAME": seen.detector,
        "FILTER": seen.filter,
        "CALIBDATE": seen.begin,
        "CALIB_ID": f"detector={seen.detector_id} detectorName={seen.detector} filter={seen.filter or 'None'}",
        "CALIB_CREATION_DATE": f"{now:%Y-%m-%d}",
        "CALIB_CREATION_TIME": f"{now:%H:%M:%S}",
    }
    detector = getattr(product, "detector", None)
    if detector is not None and detector.serial:
        cards["DET_SER"] = detector.serial
    cards.update({f"CPP_INPUT_{i}": name for i, name in enumerate(product.inputs)})
    return cards


def _origin(product: Product) -> dict[str, Any]:
    """What the metadata say about the making: ids of dataset and inputs, recipe, settings, version."""
    return {k: v for k, v in product.metadata.items() if k.startswith("LSST ") or k in _ORIGIN}


def _image_hdus(product: ImageProduct, compress: bool | str) -> Any:
    from astropy.io import fits

    assert product.box is not None
    cards = {**_origin(product), **_cards(product), "LSST ISR UNITS": product.unit}
    primary = header_of(cards)
    for record in product.history:
        primary.add_history(record_line(record).encode("ascii", "backslashreplace").decode())
    place = {"FWX0": product.box.x0, "FWY0": product.box.y0, "LTV1": -float(product.box.x0)}
    place["LTV2"] = -float(product.box.y0)
    hdus = fits.HDUList([fits.PrimaryHDU(header=primary)])
    image = np.asarray(product.image).astype(np.float32, copy=False)
    hdus.append(image_hdu(image, "IMAGE", {"BUNIT": product.unit, **place}, compress))
    if product.mask is not None:
        bits = np.asarray(product.mask).astype(np.uint32, copy=False).view(np.int32)
        schema = Mask(np.zeros((1, 1), np.uint32)).schema
        hdus.append(image_hdu(bits, "MASK", {**mask_header(schema), **place}, compress))
    if product.variance is not None:
        unit = {"BUNIT": f"({product.unit})2" if "/" in product.unit else f"{product.unit}2" if product.unit else ""}
        variance = np.asarray(product.variance).astype(np.float32, copy=False)
        hdus.append(image_hdu(variance, "VARIANCE", {**unit, **place}, compress))
    if product.count is not None:
        hdus.append(image_hdu(np.asarray(product.count).astype(np.int32), "COUNT", place, compress))
    if product.history:
        hdus.append(history_table(product.history))
    skip = (*_PLANES, "history", "source")
    names = [f.name for f in dataclasses.fields(product) if f.name not in skip and not f.name.startswith("_")]
    values = {name: getattr(product, name) for name in names}
    hdus.append(key_table({"kind": product.kind, "version": product.version, **values}))
    return hdus


def _digest(table: Any) -> str:
    """An id of the cells of a table, to tell whether someone edited them."""
    cells = []
    for name in table.colnames:
        column = table[name]
        column = column.filled() if hasattr(column, "filled") else column
        values = np.asarray(getattr(column, "value", column))
        cells.append([name, [to_json(v) for v in values.tolist()]])
    return content_id(cells)


def is_edited(table: Any) -> bool:
    """Whether the cells of an ECSV table of ours, with its meta, are not those that were written."""
    stored = table.meta.get("fullwell")
    record = from_json(stored, where="the table") if isinstance(stored, str) else {}
    return bool(record) and record.get("content") != _digest(table)


def _table(product: Product, path: Path) -> Any:
    """The product's table with all that goes with it in ``meta``."""
    from astropy.table import Table

    make = getattr(product, "to_table", None)
    if make is None or not hasattr(type(product), "from_table"):
        raise UsageError(f"a {product.kind or type(product).__name__} has no table form", where=str(path))
    table = Table(make())
    lookup = table.meta.pop("LOOKUP_VALUES", None)
    meta = {k: v for k, v in _cards(product).items() if k not in table.meta}
    base = {name: getattr(product, name) for name in _BASE}
    record = {**base, "history": list(product.history), "id": product.id, "content": _digest(table)}
    made = _origin(product)
    table.meta = {**dict(table.meta), **meta, **made, "schema": product.schema, "version": product.version}
    table.meta["fullwell"] = to_json(record)
    return table, lookup


def _write_table(product: Product, path: Path, overwrite: bool) -> None:
    table, lookup = _table(product, path)
    with atomic_path(path, overwrite=overwrite) as temporary:
        if not path.name.endswith(_FITS):
            if lookup is not None:
                table.meta["LOOKUP_VALUES"] = np.asarray(lookup).tolist()
            table.write(temporary, format="ascii.ecsv", overwrite=True)
            return
        from astropy.io import fits

        meta, table.meta = dict(table.meta), {}
        words = {"schema": "FWSCHEMA", "version": "FWVERS", "id": "FWID"}
        made = _origin(product)
        cards = {words.get(str(k), str(k)): v for k, v in meta.items() if k != "fullwell" and k not in made}
        units = {name: str(table[name].unit) for name in table.colnames if table[name].unit is not None}
        for name in units:
            table[name].unit = None
        body = fits.table_to_hdu(table)
        for name, unit in units.items():
            body.columns[name].unit = unit.replace(" ", "")
        body.name = product.kind.upper()
        body.header.extend(header_of(cards), update=True)
        hdus = fits.HDUList([fits.PrimaryHDU(header=header_of(made)), body])
        if lookup is not None:
            column = fits.Column("LOOKUP_VALUES", format=f"{np.shape(lookup)[1]}E", array=np.asarray(lookup))
            hdus.append(fits.BinTableHDU.from_columns([column], name="LOOKUP_VALUES"))
        hdus.append(key_table({"fullwell": meta["fullwell"]}))
        with open(temporary, "wb") as handle:
            hdus.writeto(handle, checksum=True, output_verify="fix+ignore")


def write_product(
    product: Product, path: str | os.PathLike[str], *, compress: bool | str = False, overwrite: bool = True
) -> None:
    """Write a calibration product, whole or not at all.

    Parameters
    ----------
    path : an image product is FITS whatever its name; a table is FITS where the name ends in ``.fits``, else ECSV;
        photon transfer is FITS, and the name must say so.
    compress : as `write_frame`, for images.

    Raises
    ------
    FileError
        the file cannot be written; nothing is left then. UsageError: the product has no form on disk.
    """
    target = Path(path)
    if isinstance(product, Ptc):
        if not target.name.endswith(_FITS):
            raise UsageError(
                "a photon transfer has several tables, which no ECSV file holds",
                where=str(target),
                remedy="give a name that ends in .fits; ptc.to_table().write(...) gives the adopted numbers alone",
            )
        write_tables(product, target, {**_origin(product), **_cards(product)}, overwrite)
        return
    if not isinstance(product, ImageProduct):
        _write_table(product, target, overwrite)
        return
    hdus = _image_hdus(product, compress)
    with atomic_path(target, overwrite=overwrite) as temporary, open(temporary, "wb") as handle:
        hdus.writeto(handle, checksum=True, output_verify="fix+ignore")


def _class(kind: str, path: str, wanted: str | None) -> type[Product]:
    name = _KINDS.get(kind.strip().lower(), kind.strip().lower())
    if wanted is not None and name != wanted:
        raise FileError(
            f"this is a {name or 'file of unknown kind'}, not a {wanted}",
            where=path,
            remedy=f"give a {wanted} file",
            code="FW106",
        )
    if name not in PRODUCTS:
        known = ", ".join(PRODUCTS)
        raise FileError(
            f"'{name}' is no calibration product" if name else "the file does not say which product it holds",
            where=f"{path}, keyword OBSTYPE",
            remedy=f"known products: {known}",
            code="FW106",
        )
    return PRODUCTS[name]


def _warn_newer(cls: type[Product], version: Any, path: str) -> None:
    def numbers(text: Any) -> tuple[int, ...]:
        return tuple(int(p) if p.isdigit() else 0 for p in str(text).split("."))

    if numbers(version) > numbers(cls.version):
        warnings.warn(
            f"{path}: this {cls.kind} has version {version}, newer than {cls.version}: read as far as it is known",
            FullwellWarning,
            stacklevel=3,
        )


def _read_image(file: FitsFile, wanted: str | None) -> Product:
    keys = read_keys(file)
    primary = file.hdus[0].header
    cls = _class(str(keys.get("kind") or primary.get("OBSTYPE") or ""), file.path, wanted)
    if not issubclass(cls, ImageProduct):
        raise FileError(f"a {cls.kind} is no image", where=file.path, remedy="is it the right file?", code="FW106")
    frame = read_layout(file)
    known = {f.name for f in dataclasses.fields(cls)}
    if keys.get("kind"):
        _warn_newer(cls, keys.get("version", "0"), file.path)
        values = {k: v for k, v in keys.items() if k in known}
        unit = values.pop("unit", frame.unit)
    else:
        unit = {"flat": "", "dark": frame.unit if "/" in frame.unit else f"{frame.unit}/s"}.get(cls.kind, frame.unit)
        values = {k: keys[k] for k in ("observation", "detector") if k in keys}
        values |= {"metadata": dict(frame.metadata), "id": str(primary.get("LSST BUTLER ID") or "")}
    count = next((h for h in file.hdus if h.name == "COUNT" and h.shape is not None), None)
    fields: dict[str, Any] = {
        **values,
        "image": frame.image.array,
        "variance": None if frame.variance is None else frame.variance.array,
        "mask": None if frame.mask is None else _standard_bits(frame.mask),
        "count": None if count is None else file.pixels(count).astype(np.uint16),
        "box": frame.box,
        "unit": unit,
        "history": read_history(file),
        "source": file.path,
    }
    return cls(**fields)


def _standard_bits(mask: Mask) -> Any:
    """The bits of a mask moved to our numbers; planes that we do not know are left out."""
    ours = Mask(np.zeros((1, 1), np.uint32)).schema
    if all(ours.get(name) == number for name, number in mask.schema.items() if name in ours) and not (
        set(mask.schema) - set(ours)
    ):
        return mask.array
    out = np.zeros(mask.array.shape, np.uint32)
    for name in mask.schema:
        if name in ours:
            out |= np.where(mask[name], np.uint32(1 << ours[name]), np.uint32(0))
    return out


def _from_table(
    table: Any, path: str, wanted: str | None, record: Mapping[str, Any], extra: Mapping[str, Any]
) -> Product:
    meta = {str(k).lower(): v for k, v in table.meta.items()}
    schema = str(meta.get("schema") or meta.get("fwschema") or "")
    kind = schema.removeprefix("fullwell/") if schema.startswith("fullwell/") else str(meta.get("obstype") or "")
    if not kind and {"x0", "y0", "width", "height"} <= set(table.colnames):
        kind = "defects"
    cls = _class(kind, path, wanted)
    if schema:
        _warn_newer(cls, meta.get("version") or meta.get("fwvers") or "0", path)
    more: dict[str, Any] = {k: v for k, v in record.items() if k in _BASE}
    if record:
        more["history"] = tuple(r for r in record.get("history", ()) if isinstance(r, Record))
        if record.get("content") == _digest(table):
            more["id"] = record.get("id", "")
        else:
            note = "the table was edited after it was written"
            more["notes"] = (*more.get("notes", ()), note)
            warnings.warn(f"{path}: {note}", FullwellWarning, stacklevel=3)
    make: Any = getattr(cls, "from_table", None)
    if make is None:
        raise FileError(f"a {cls.kind} is no table", where=path, remedy="is it the right file?", code="FW106")
    with decoding(path, f"the {cls.kind} table"):
        product = make(table, **{**more, **extra, "source": path})
    assert isinstance(product, Product)
    return product


def _read_fits(path: str, wanted: str | None, extra: Mapping[str, Any]) -> Product:
    with open_fits(path) as file:
        if any(h.name == "IMAGE" or h.header.get("EXTTYPE") == "IMAGE" for h in file.hdus):
            return _read_image(file, wanted)
        if has_tables(file):
            cls = _class(str(file.hdus[0].header["FWSCHEMA"]).removeprefix("fullwell/"), path, wanted)
            assert issubclass(cls, Ptc)
            _warn_newer(cls, file.hdus[0].header.get("PTC_VERSION") or "0", path)
            return read_tables(file, cls, extra)
        tables = [h for h in file.hdus if h.kind == "table" and h.name not in ("HISTORY", "FULLWELL")]
        if not tables:
            raise FileError(
                "the file holds neither an image nor a table of a product",
                where=path,
                remedy="is it a raw frame? build the product first (fullwell build)",
                code="FW106",
            )
        table = file.table(tables[0])
        if is_regions(table):
            _class("defects", path, wanted)
            return read_regions(table, path)
        table.meta = {**file.hdus[0].header, **tables[0].header, **dict(table.meta)}
        if len(tables) > 1 and tables[1].name == "LOOKUP_VALUES":
            table.meta["LOOKUP_VALUES"] = np.asarray(file.table(tables[1])["LOOKUP_VALUES"])
        stored = read_keys(file).get("fullwell")
        record = from_json(stored, where=path) if isinstance(stored, str) else {}
        return _from_table(table, path, wanted, record, extra)


def read_product(path: str | os.PathLike[str], kind: str | None = None, **more: Any) -> Product:
    """Read a calibration product.

    Our own files; combined bias, dark and flat, defects, crosstalk, linearity and photon transfer of the LSST library;
    defects as a table of boxes (ECSV, FITS, text of four columns) or of FITS regions.

    Parameters
    ----------
    kind : what it must be ("flat" …); None: what the file says.
    more : fields of the product that the file does not hold, e.g. `amps` of a crosstalk matrix of the LSST library.

    Raises
    ------
    FileError
        missing, damaged, of another kind, or no product at all. A newer version gives a `FullwellWarning`.
    """
    name = str(path)
    what = sniff(path)
    if what in ("fits", "packed"):
        return _read_fits(name, kind, more)
    if what == "ecsv":
        from astropy.table import Table

        with decoding(name, "the table"):
            table = Table.read(name, format="ascii.ecsv")
        stored = table.meta.pop("fullwell", None)
        record = from_json(stored, where=name) if isinstance(stored, str) else {}
        return _from_table(table, name, kind, record, more)
    if what == "text" and kind in (None, "defects"):
        return read_text_defects(name)
    problem = "the file is empty" if what == "empty" else "this is no file of a calibration product"
    raise FileError(problem, where=name, remedy="products are FITS images or ECSV tables", code="FW106")
