"""`fullwell show FILE...`: what a file is, in less than a second."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from fullwell.cli.inputs import Reader
from fullwell.cli.options import Files, common
from fullwell.cli.output import Door, number, significant

if TYPE_CHECKING:
    import numpy as np

    from fullwell.frames import Frame

app = typer.Typer(add_completion=False)

SAMPLE = 200_000
"""Pixels looked at in each region: a median of so many is good to 0.3 % of the noise."""
MANY = 32
"""HDUs that are listed for people."""
TICKS = "▁▂▃▄▅▆▇█"


@app.command(epilog="Example: fullwell show raw/*.fits --json")
@common(reads=True)
def show(door: Door, files: Files) -> None:
    """Say what a file is: HDUs, instrument, observation, amplifiers, levels, noise, history."""
    shown = []
    for path in files:
        with door.guard(str(path)):
            entry = describe(path, door.reader)
            shown.append(entry)
            if path is not files[0]:
                door.say()
            _print(door, entry)
    door.give(files=shown)


def describe(path: Path, reader: Reader | None = None) -> dict[str, Any]:
    """Everything that is shown of a file, as JSON types and measured numbers.

    Raises
    ------
    FileError
        the file cannot be read. One whose layout is not understood is shown with the problem.
    """
    from fullwell import io
    from fullwell.base.errors import GeometryError, HeaderError

    if path.name.endswith((".ecsv", ".csv")):
        return _product(path)
    headers = io.read_headers(path)
    out: dict[str, Any] = {"path": str(path), "hdus": [_hdu(h) for h in headers]}
    if any(_is_product(h.header) for h in list(headers)[:2]):
        return out | _product(path)
    try:
        frame = (reader or Reader()).read(path)
    except (GeometryError, HeaderError) as error:
        return out | {"is": "FITS file", "observation": {}, "history": [], "problem": str(error)}
    return out | _frame(frame)


def _hdu(hdu: Any) -> dict[str, Any]:
    shape = list(hdu.shape) if hdu.shape is not None else None
    return {"index": hdu.index, "name": hdu.name, "shape": shape, "dtype": hdu.dtype, "cards": len(hdu.header)}


def _is_product(header: Mapping[str, Any]) -> bool:
    """Whether a header is that of a calibration product, of ours or of the LSST library."""
    kind = str(header.get("OBSTYPE", "")).upper()
    if header.get("FWSCHEMA") == "fullwell/truth":
        return False
    return "FWSCHEMA" in header or f"{kind}_SCHEMA" in header


def _product(path: Path) -> dict[str, Any]:
    from fullwell import io
    from fullwell.products import ImageProduct, Ptc

    product = io.read_product(path)
    facts = {"kind": product.kind, "schema": product.schema, "id": product.id, "unit": getattr(product, "unit", "")}
    table = product.to_table() if hasattr(product, "to_table") else None
    out: dict[str, Any] = {
        "path": str(path),
        "is": f"calibration product, {product.kind}",
        "product": facts,
        "facts": product.facts(),
        "observation": _observation(product.observation),
        "inputs": list(product.inputs),
        "notes": list(product.notes),
        "history": [_record(r) for r in product.history],
    }
    if table is not None:
        out["table"] = {"columns": list(table.colnames), "rows": [[_cell(c) for c in row] for row in table[:40]]}
    if isinstance(product, Ptc) and any(product.diagnosis):
        out["diagnosis"] = dict(zip(product.amps, map(list, product.diagnosis), strict=True))
    elif isinstance(product, ImageProduct):
        out["levels"] = [_level("all", product.image, None, product.unit)]
    return out


def _cell(value: Any) -> Any:
    value = getattr(value, "value", value)
    return value.item() if hasattr(value, "item") else value


def _observation(obs: Any) -> dict[str, Any]:
    """The fields of an observation that are known."""
    from dataclasses import fields

    out = {}
    for f in fields(obs):
        value = getattr(obs, f.name)
        known = value not in ("", None, 0, -1) and not (isinstance(value, float) and math.isnan(value))
        if known and f.name != "sources":
            out[f.name] = value
    return out


def _record(record: Any) -> dict[str, Any]:
    return {"step": record.step, "state": record.state, "inputs": dict(record.inputs), "note": record.note}


def _frame(frame: Frame) -> dict[str, Any]:
    processed = not frame.raw and (frame.variance is not None or bool(frame.history))
    out: dict[str, Any] = {
        "is": "raw frame" if frame.raw else "processed frame" if processed else "image",
        "unit": frame.unit,
        "shape": list(frame.shape),
        "observation": _observation(frame.observation),
        "history": [_record(r) for r in frame.history],
    }
    if frame.mask is not None:
        out["mask"] = frame.mask.counts()
    if frame.detector is None:
        out["levels"] = [_level("all", frame.image.array, None, frame.unit)]
        return out
    levels = []
    for amp in frame.detector:
        data = frame.image[amp.raw_box("data") if frame.raw else amp.trimmed].array
        has = frame.raw and amp.serial_overscan.area > 0
        levels.append(
            _level(amp.name, data, frame.image[amp.raw_box("serial_overscan")].array if has else None, frame.unit)
        )
    out["levels"] = levels
    out["detector"] = {"name": frame.detector.name, "amplifiers": len(frame.detector)}
    return out


def _level(name: str, data: np.ndarray, overscan: np.ndarray | None, unit: str) -> dict[str, Any]:
    """Median and scatter of a region; of the overscan where there is one; the profile along y."""
    median, error, scatter = _robust(data)
    out = {
        "amplifier": name,
        "data": number(median, error, unit),
        "scatter": number(scatter, None, unit),
        "overscan": None,
        "noise": None,
        "profile": _profile(data),
    }
    if overscan is not None:
        middle, wrong, noise = _robust(overscan)
        size = min(overscan.size, SAMPLE)
        out |= {"overscan": number(middle, wrong, unit), "noise": number(noise, noise / math.sqrt(2 * size), unit)}
    return out


def _robust(values: np.ndarray) -> tuple[float, float, float]:
    """Median, its standard error, and standard deviation of what lies within 5 sigma of it; non-finite left out.

    The first guess of sigma is that of the quartiles; integers are spread by a half so that it is not zero.
    """
    import numpy as np

    flat = values.ravel()
    flat = flat[:: max(flat.size // SAMPLE, 1)].astype(np.float64)
    flat = flat[np.isfinite(flat)]
    if not flat.size:
        return math.nan, math.nan, math.nan
    low, median, high = np.percentile(flat, (25, 50, 75))
    guess = max((high - low) / 1.349, 0.5 if values.dtype.kind in "iu" else 0.0)
    kept = flat[np.abs(flat - median) <= 5 * guess] if guess > 0 else flat
    sigma = float(kept.std(ddof=1)) if kept.size > 1 else 0.0
    return float(median), math.sqrt(math.pi / 2) * sigma / math.sqrt(flat.size), sigma


def _profile(data: np.ndarray, bins: int = 16) -> str:
    """Medians of `bins` bands of rows as a line of small bars."""
    import numpy as np

    step = max(data.shape[1] // 256, 1)
    bands = [b[:: max(b.shape[0] // 32, 1), ::step] for b in np.array_split(data, min(bins, data.shape[0]))]
    values = np.array([np.nanmedian(b) if np.isfinite(b).any() else np.nan for b in bands], float)
    if not np.isfinite(values).any():
        return ""
    low, high = np.nanmin(values), np.nanmax(values)
    place = np.nan_to_num((values - low) / (high - low) if high > low else np.full(values.shape, 0.5))
    return "".join(TICKS[min(int(p * len(TICKS)), len(TICKS) - 1)] for p in place)


def _print(door: Door, entry: dict[str, Any]) -> None:
    unit = entry.get("unit") or entry.get("product", {}).get("unit", "")
    size = f", {entry['shape'][1]} x {entry['shape'][0]} pixels" if "shape" in entry else ""
    door.say(f"{entry['path']}: {entry['is']}{size}{f', {unit}' if unit else ''}")
    facts = {**entry["observation"], **entry.get("product", {}), **entry.get("facts", {})}
    for key, value in facts.items():
        shown = significant(value, 10 if key == "mjd" else 5) if isinstance(value, float) else str(value)
        door.say(f"  {key:<18} {shown}")
    if len(entry.get("hdus", ())) > 1:
        rows = [[h["index"], h["name"] or "-", h["dtype"] or "-", _size(h["shape"]), h["cards"]] for h in entry["hdus"]]
        door.table(("HDU", "name", "type", "size", "cards"), rows[:MANY])
        if len(rows) > MANY:
            door.say(f"and {len(rows) - MANY} more HDUs; --json lists all")
    if "levels" in entry:
        columns = ("amplifier", "data", "scatter", "overscan", "noise", "profile along y")
        door.table(columns, [_level_row(row) for row in entry["levels"]], title=f"Levels{f' [{unit}]' if unit else ''}")
    if "table" in entry:
        _print_table(door, entry["table"])
    for amplifier, sentences in entry.get("diagnosis", {}).items():
        for sentence in sentences:
            door.say(f"{amplifier}: {sentence}")
    if entry.get("mask"):
        door.say("Mask: " + ", ".join(f"{name} {count}" for name, count in entry["mask"].items()))
    if "problem" in entry:
        door.say(f"It is not shown as a frame:\n{entry['problem']}")
    for note in entry.get("notes", ()):
        door.say(f"Note: {note}")
    if entry["history"]:
        rows = [[r["step"], r["state"], _inputs(r["inputs"]), r["note"]] for r in entry["history"]]
        door.table(("step", "state", "used", "note"), rows, title="History")


def _print_table(door: Door, table: dict[str, Any]) -> None:
    """The columns of a table of which something is known."""
    rows = table["rows"]
    known = [
        i for i in range(len(table["columns"])) if not rows or any(r[i] != "" and r[i] == r[i] for r in rows)
    ]  # fmt: skip
    door.table([table["columns"][i] for i in known], [[row[i] for i in known] for row in rows])


def _inputs(inputs: dict[str, str]) -> str:
    if len(inputs) > 4:
        return f"{len(inputs)} inputs"
    return ", ".join(f"{role} {name[:12]}" for role, name in inputs.items()) or "-"


def _size(shape: list[int] | None) -> str:
    return " x ".join(str(n) for n in reversed(shape)) if shape else "-"


def _level_row(row: dict[str, Any]) -> list[Any]:
    values = [row[key]["value"] if row[key] else math.nan for key in ("data", "scatter", "overscan", "noise")]
    return [row["amplifier"], *values, row["profile"]]
