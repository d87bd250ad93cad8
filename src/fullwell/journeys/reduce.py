"""The observer's journey: a folder of frames in, calibrated science frames and a report out."""

from __future__ import annotations

import difflib
import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fullwell.base.errors import FullwellError, UsageError
from fullwell.journeys.calibrate import Calibrations, Desk, calibrate
from fullwell.journeys.keeping import Keeper, preload
from fullwell.journeys.night import SUFFIXES, Night, ReduceOptions, Setup, scan
from fullwell.journeys.science import FrameResult, reduce_science
from fullwell.products import Product

__all__ = ["FrameResult", "ReduceResult", "run"]

RECIPE_NAMES = ("bias", "dark", "flat", "generic")
"""Recipes that a run uses."""


@dataclass
class ReduceResult:
    """Everything that a run made and found."""

    folder: Path
    out: Path
    options: ReduceOptions
    night: Night
    calibrations: list[Calibrations] = field(default_factory=list)
    products: dict[str, Path] = field(default_factory=dict)
    frames: list[FrameResult] = field(default_factory=list)
    report: Path | None = None
    seconds: float = 0.0
    repository: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether every file could be read and every science frame was reduced."""
        broken = self.night.failed or any(c.failed for c in self.calibrations)
        return not broken and all(f.state != "failed" for f in self.frames)

    def to_dict(self) -> dict[str, Any]:
        """The result as JSON types."""
        return {
            "folder": str(self.folder),
            "out": str(self.out),
            "report": None if self.report is None else str(self.report),
            "seconds": self.seconds,
            "files": [
                {"name": i.name, "kind": i.kind, "why": i.why, "filter": i.observation.filter} for i in self.night.items
            ],
            "unreadable": {p.name: str(e) for p, e in self.night.failed.items()},
            "ignored": {p.name: why for p, why in self.night.ignored.items()},
            "calibrations": {name: str(path) for name, path in self.products.items()},
            "gain": [_gain_rows(c) for c in self.calibrations],
            "notes": [*(note for c in self.calibrations for note in c.notes), *self.notes],
            **self.repository,
            "frames": [f.to_dict() for f in self.frames],
        }


def run(
    folder: Path | str,
    out: Path | str,
    options: ReduceOptions | None = None,
    *,
    jobs: int = 1,
    dry_run: bool = False,
) -> ReduceResult:
    """Reduce a folder of frames.

    Parameters
    ----------
    folder : with raw frames of any camera; nothing is written there.
    out : folder for the reduced frames, ``calib/`` and ``report.html``; made where it is not there.
    options : what the headers do not say.
    jobs : frames at a time.
    dry_run : only say which file is what and which calibrations would be made.

    Returns
    -------
    ReduceResult
        a frame that failed has its error there and does not stop the others.

    Raises
    ------
    UsageError
        nothing to reduce, files of unknown kind, a step or field that does not exist.
    ConfigError
        a setting that its step does not have, or out of range.
    FileError
        `out` cannot be written.
    """
    from fullwell import io

    begin = time.monotonic()
    options = options or ReduceOptions()
    folder, out = Path(folder), Path(out)
    if out.resolve() == folder.resolve():
        raise UsageError("the output folder is the folder of the raw frames", remedy="give another folder with -o")
    _check(options)
    if not dry_run:
        preload()
    night = scan(folder, options)
    _look_below(night, out)
    result = ReduceResult(folder, out, options, night)
    if dry_run:
        return result
    for place in (out, out / "calib"):
        io.make_folder(place)
        io.sweep(place)
    with Keeper(out) as keeper:
        keeper.enter_raws(night.items)
        desk = Desk(options, out, jobs)
        for setup in night.setups:
            made = calibrate(night, setup, desk)
            result.calibrations.append(made)
            _write_products(made, result, len(night.setups) > 1, keeper)
        result.frames = reduce_science(night, result.calibrations, out, desk, keeper)
        result.repository = keeper.to_dict()
        result.notes = keeper.notes
    result.seconds = time.monotonic() - begin
    _write_report(result)
    return result


def _check(options: ReduceOptions) -> None:
    """Steps, settings and accepted fields exist: looked at before any file is read, for a slip must not be silent."""
    from fullwell.base.config import load
    from fullwell.recipes import RECIPES, steps_of
    from fullwell.reduction.matching import ACCEPTABLE

    steps = {s.name: s for name in RECIPE_NAMES for s in steps_of(RECIPES[name])}
    for option, names, known in (
        ("--off", options.off, tuple(steps)),
        ("--set", options.settings, tuple(steps)),
        ("--accept", options.accept, ACCEPTABLE),
    ):
        for name in names:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                raise UsageError(
                    f"{option} names '{name}', which there is not",
                    remedy=f"did you mean '{near[0]}'?" if near else f"known: {', '.join(known)}",
                )
    for name, values in options.settings.items():
        load(steps[name].config, values, where=f"settings of step '{name}'")


def _look_below(night: Night, out: Path) -> None:
    """Folders in the folder that hold frames: they are not read, and that is said."""
    for path in sorted(p for p in night.folder.iterdir() if p.is_dir() and not p.name.startswith(".")):
        count = sum(p.is_file() and p.name.lower().endswith(SUFFIXES) for p in path.rglob("*"))
        if count and path.resolve() != out.resolve():
            night.ignored[path] = f"a folder with {count} frames: only the frames of one folder are reduced together"


def _write_products(made: Calibrations, result: ReduceResult, many: bool, keeper: Keeper) -> None:
    """Write the products of a set-up and enter them in the repository."""
    from fullwell import io

    first = next(i for i in result.night.items if Setup.of(i.observation) == made.setup)
    entered = []
    every: list[Product] = [*made.bias, *made.flat_darks, *made.dark, *made.flat, *made.defects]
    if made.gain is not None:
        every.append(made.gain)
    for product in every:
        name = _product_name(product, made, every, many)
        suffix = ".fits" if product.kind in ("bias", "dark", "flat") else ".ecsv"
        path = result.out / "calib" / f"{name}{suffix}"
        ready = keeper.ready_product(product, first)
        if not _same(path, product):
            io.write_product(ready, path)
        result.products[name] = path
        entered.append((product, path, first, str(made.setup) if many else ""))
    keeper.enter_products(entered)


def _same(path: Path, product: Product) -> bool:
    """Whether the file holds this very product, sound: then it stays as it is."""
    from fullwell import io

    try:
        return path.exists() and io.read_product(path).id == product.id
    except FullwellError:
        return False


def _product_name(product: Product, made: Calibrations, every: list[Product], many: bool) -> str:
    """Kind, filter of a flat, temperature where it tells two apart, set-up where there are several."""
    obs = product.observation
    parts: list[str] = [product.kind]
    if product.kind == "flat" and obs.filter:
        parts.append(obs.filter)
    if sum(p.kind == product.kind for p in every) > 1 and product.kind != "flat":
        t = obs.set_temperature if np.isfinite(obs.set_temperature) else obs.temperature
        parts.append(f"{t:+.0f}C")
    if many:
        s = made.setup
        parts += [s.instrument, s.detector, f"{s.binning[0]}x{s.binning[1]}", s.readout_mode, s.gain_setting]
    return re.sub(r"[^A-Za-z0-9.+-]+", "_", "_".join(p for p in parts if p)).strip("_")


def _gain_rows(made: Calibrations) -> dict[str, Any]:
    """Gain and read noise of a set-up as JSON types; the read noise is in adu where no gain is known."""
    gain = made.gain
    if gain is None:
        return {"setup": str(made.setup), "estimator": "none", "amplifiers": []}
    value, error, unit = gain.read_noise, gain.read_noise_error, "electron"
    if gain.read_noise_adu is not None and not np.isfinite(gain.gain).any():
        value, unit = gain.read_noise_adu, "adu"
    rows = [
        {
            "name": amp,
            "gain": {"value": gain.gain[i], "error": gain.gain_error[i], "unit": "electron/adu"},
            "read_noise": {"value": value[i], "error": error[i], "unit": unit},
        }
        for i, amp in enumerate(gain.amps)
    ]
    return {"setup": str(made.setup), "estimator": gain.estimator, "amplifiers": rows}


def _write_report(result: ReduceResult) -> None:
    from fullwell.journeys.summary import write_reduce_report

    result.report = write_reduce_report(result)
