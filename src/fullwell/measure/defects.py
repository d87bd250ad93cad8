"""Defects: pixels that darks, flats or bias frames show to be bad, as boxes with a reason.

Each input is judged on its own, amplifier by amplifier, against a smooth local level (a gradient makes no defects);
a pixel is defective when at least a fraction of the inputs of one kind say so, so that a cosmic ray in one dark is
none. The kinds are then joined, broken columns are filled, edges added.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fullwell.base.config import StepConfig
from fullwell.base.errors import GeometryError, UsageError
from fullwell.base.provenance import Record
from fullwell.cameras import Box, Detector
from fullwell.frames import Frame
from fullwell.measure.levels import amplifier_boxes, statistics
from fullwell.products import Defects, ImageProduct
from fullwell.products.defects import boxes_of

__all__ = ["DefectRules", "bad_in_bias", "bad_in_dark", "bad_in_flat", "build_defects", "fill_columns", "merge"]

TILE = 32
Source = Frame | ImageProduct


class DefectRules(StepConfig):
    """Thresholds of the search for defects."""

    dark_rate: float = Field(
        default=5.0, gt=0, description="hot: more electrons per second above the amplifier's median"
    )
    bright_sigma: float | None = Field(
        default=None, gt=0, description="hot: standard deviations above the median; for darks in adu without a gain 4.8"
    )
    flat_low: float | None = Field(
        default=0.8, gt=0, lt=1, description="cold: below this fraction of the local mean of a flat"
    )
    flat_sigma: float | None = Field(
        default=None, gt=0, description="cold: so many standard deviations below the local mean"
    )
    flat_high: float | None = Field(
        default=1.9, gt=1, description="bright in a flat: above this multiple of the local mean"
    )
    bias_level: float = Field(
        default=1000.0, gt=0, description="bad in a bias: further than this from the median, image unit"
    )
    column_count: int = Field(default=50, ge=1, description="a column with so many bad pixels is filled between them")
    column_gap: int = Field(default=30, ge=1, description="but not across so many good pixels in a row")
    full_column: int | None = Field(
        default=None, ge=1, description="a column of one half with more bad pixels than this is bad as a whole"
    )
    edge_rows: int = Field(default=0, ge=0, description="rows marked bad at the lower and upper edge of the detector")
    edge_columns: int = Field(
        default=0, ge=0, description="columns marked bad at the left and right edge of the detector"
    )
    fraction: float = Field(default=0.7, gt=0, le=1, description="part of the inputs of a kind that must agree")
    intermittent: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="also keep pixels bad in this part of the inputs and more, as 'intermittent'",
    )


@dataclass(frozen=True)
class _Plane:
    """Pixels of an input with what is known of them."""

    name: str
    image: NDArray[np.float32]
    good: NDArray[np.bool_]
    box: Box
    detector: Detector | None
    unit: str
    time: float


def _plane(item: Source) -> _Plane:
    obs = item.observation
    name = item.source or obs.obs_id or "input"
    if isinstance(item, Frame):
        good, time = item.good(("NO_DATA", "CR")), obs.collecting_time
        return _Plane(name, item.image.array, good, item.box, item.detector, item.unit, time)
    assert item.box is not None
    return _Plane(name, item.image, np.isfinite(item.image), item.box, item.detector, item.unit, 1.0)


def _parts(plane: _Plane) -> list[tuple[str, tuple[slice, slice]]]:
    boxes = amplifier_boxes(plane.detector, plane.box)
    return [(n, b.shifted(-plane.box.x0, -plane.box.y0).slices) for n, b in boxes.items() if b.area]


def _local_level(values: NDArray[np.float64], good: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Median of tiles of about 32 x 32 pixels, linear between and beyond their centres; same shape as `values`."""
    from scipy.ndimage import map_coordinates

    ny, nx = max(1, values.shape[0] // TILE), max(1, values.shape[1] // TILE)
    ys = np.linspace(0, values.shape[0], ny + 1).astype(int)
    xs = np.linspace(0, values.shape[1], nx + 1).astype(int)
    whole = float(np.median(values[good])) if good.any() else math.nan
    tiles = np.full((ny, nx), whole)
    for j in range(ny):
        for i in range(nx):
            part = np.s_[ys[j] : ys[j + 1], xs[i] : xs[i + 1]]
            if good[part].any():
                tiles[j, i] = np.median(values[part][good[part]])
    for axis in (0, 1):
        pad = [(1, 1) if a == axis else (0, 0) for a in (0, 1)]
        odd = tiles.shape[axis] > 1
        tiles = np.pad(tiles, pad, mode="reflect", reflect_type="odd") if odd else np.pad(tiles, pad, mode="edge")
    y = (np.arange(values.shape[0]) + 0.5) * ny / values.shape[0] + 0.5
    x = (np.arange(values.shape[1]) + 0.5) * nx / values.shape[1] + 0.5
    return np.asarray(map_coordinates(tiles, np.meshgrid(y, x, indexing="ij"), order=1, mode="nearest"))


def bad_in_dark(item: Source, rules: DefectRules, notes: list[str] | None = None) -> NDArray[np.bool_]:
    """Hot pixels of one dark: a product per second, or a frame with its dark time; shape (ny, nx).

    Darks in adu are judged by the gain of their detector; without one by ``bright_sigma`` (4.8).
    """
    plane = _plane(item)
    bad = np.zeros(plane.image.shape, bool)
    for name, part in _parts(plane):
        values, good = plane.image[part].astype(np.float64), plane.good[part]
        gain = 1.0
        if not plane.unit.startswith("electron"):
            gain = math.nan if plane.detector is None else plane.detector[name].gain
        found = statistics(values, ~good)
        limit = rules.dark_rate * plane.time / gain
        if rules.bright_sigma is not None or not math.isfinite(limit):
            limit = (rules.bright_sigma or 4.8) * found.sigma
            if rules.bright_sigma is None and notes is not None:
                notes.append(
                    f"Amplifier {name}: no gain or time for {plane.name}; hot is above 4.8 sigma, {limit:.3g}."
                )
        bad[part] = good & (values > found.median + limit)
    return bad


def bad_in_flat(item: Source, rules: DefectRules) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(cold, bright) pixels of one flat against its local mean, each (ny, nx); pixels that are not finite are cold."""
    plane = _plane(item)
    cold, bright = np.zeros(plane.image.shape, bool), np.zeros(plane.image.shape, bool)
    for _, part in _parts(plane):
        values, good = plane.image[part].astype(np.float64), plane.good[part]
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = values / _local_level(values, good)
        low = ~np.isfinite(values)
        if rules.flat_low is not None:
            low |= good & (ratio < rules.flat_low)
        if rules.flat_sigma is not None:
            found = statistics(ratio, ~good, sigma=3.0)
            low |= good & (ratio < found.mean - rules.flat_sigma * found.sigma)
        cold[part] = low
        if rules.flat_high is not None:
            bright[part] = good & (ratio > rules.flat_high)
    return cold, bright


def bad_in_bias(item: Source, rules: DefectRules) -> NDArray[np.bool_]:
    """Pixels of one bias further than ``bias_level`` from the median of their amplifier, (ny, nx)."""
    plane = _plane(item)
    bad = np.zeros(plane.image.shape, bool)
    for _, part in _parts(plane):
        values, good = plane.image[part].astype(np.float64), plane.good[part]
        middle = float(np.median(values[good])) if good.any() else 0.0
        bad[part] = good & (np.abs(values - middle) > rules.bias_level)
    return bad


def merge(masks: Sequence[NDArray[np.bool_]], mode: str = "fraction", fraction: float = 0.7) -> NDArray[np.bool_]:
    """Join masks of several inputs: "or", "and", or "fraction": bad where at least that part of them says so.

    Raises
    ------
    UsageError
        no mask, or an unknown mode. GeometryError: masks of different shapes.
    """
    if not masks or mode not in ("or", "and", "fraction"):
        raise UsageError(f"cannot merge {len(masks)} masks by '{mode}'", remedy="modes are 'or', 'and', 'fraction'")
    if len({m.shape for m in masks}) > 1:
        raise GeometryError(f"defects of different sizes: {sorted({m.shape for m in masks})}")
    votes = np.sum(masks, axis=0, dtype=np.int32)
    need = 1 if mode == "or" else len(masks) if mode == "and" else max(1, math.ceil(fraction * len(masks) - 1e-9))
    return np.asarray(votes >= need)


def fill_columns(
    bad: NDArray[np.bool_], rules: DefectRules, splits: Sequence[int] = ()
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(all bad pixels, those of broken columns), each (ny, nx).

    In a column with at least ``column_count`` bad pixels the good ones between them are bad too, but not across runs
    of ``column_gap`` good ones or more. Nothing is filled across the rows `splits`, where the two halves of a
    sensor meet: charge of one half never passes through the other.
    """
    out, columns = bad.copy(), np.zeros_like(bad)
    number = bad.sum(axis=0)
    for x in np.flatnonzero(number >= rules.column_count).tolist():
        rows = np.flatnonzero(bad[:, x])
        breaks = (np.diff(rows) - 1 >= rules.column_gap) | np.isin(
            np.searchsorted(splits, rows[1:], "right") - np.searchsorted(splits, rows[:-1], "right"), (0,), invert=True
        )
        for run in np.split(rows, np.flatnonzero(breaks) + 1):
            out[run[0] : run[-1] + 1, x] = True
            columns[run[0] : run[-1] + 1, x] = True
    if rules.full_column is not None:
        ends = [0, *splits, bad.shape[0]]
        for y0, y1 in pairwise(ends):
            whole = bad[y0:y1].sum(axis=0) > rules.full_column
            out[y0:y1, whole] = True
            columns[y0:y1, whole] = True
    return out, columns


def build_defects(
    darks: Sequence[Source] = (),
    flats: Sequence[Source] = (),
    biases: Sequence[Source] = (),
    *,
    manual: Sequence[Box] = (),
    rules: DefectRules | None = None,
) -> Defects:
    """Defects of one detector.

    Parameters
    ----------
    darks : combined darks (per second) or corrected dark frames; electron, or adu with a detector of known gain.
    flats : combined flats or corrected flat frames. biases : combined bias or corrected bias frames.
    manual : boxes added as they are. rules : thresholds.

    Returns
    -------
    disjoint boxes with the codes "column", "bias", "hot", "cold", "bright", "intermittent", "edge", "manual"; where
    reasons overlap the first of this list is given.

    Raises
    ------
    UsageError
        nothing to look at. GeometryError: inputs that cover different boxes.
    """
    rules = rules or DefectRules()
    sources: list[Source] = [*darks, *flats, *biases]
    if not sources:
        raise UsageError("defects need darks, flats or bias frames", remedy="give at least one of them")
    first = _plane(sources[0])
    notes: list[str] = []
    for item in sources[1:]:
        other = _plane(item)
        if other.box != first.box:
            raise GeometryError(f"{first.name} covers {first.box}, {other.name} {other.box}", where=other.name)
    votes: dict[str, list[NDArray[np.bool_]]] = {"bias": [bad_in_bias(b, rules) for b in biases]}
    votes["hot"] = [bad_in_dark(d, rules, notes) for d in darks]
    seen = [bad_in_flat(f, rules) for f in flats]
    votes["cold"], votes["bright"] = [c for c, _ in seen], [b for _, b in seen]
    classes = {code: merge(v, "fraction", rules.fraction) for code, v in votes.items() if v}
    found = np.any(list(classes.values()), axis=0)
    _, columns = fill_columns(found, rules, _splits(first))
    classes = {"column": columns, **classes}
    if rules.intermittent is not None:
        classes["intermittent"] = np.any(
            [merge(v, "fraction", rules.intermittent) for v in votes.values() if v], axis=0
        )
    ny, nx = first.image.shape
    edge = np.ones((ny, nx), bool)
    edge[rules.edge_rows : ny - rules.edge_rows, rules.edge_columns : nx - rules.edge_columns] = False
    classes["edge"] = edge
    classes["manual"] = Defects(boxes=tuple(b.shifted(-first.box.x0, -first.box.y0) for b in manual)).mask((ny, nx))
    boxes: list[Box] = []
    codes: list[str] = []
    taken = np.zeros((ny, nx), bool)
    for code, mask in classes.items():
        own = [b.shifted(first.box.x0, first.box.y0) for b in boxes_of(mask & ~taken)]
        taken |= mask
        boxes += own
        codes += [code] * len(own)
    share = float(taken.mean())
    if share > 0.005:
        notes.append(f"{share:.2%} of the pixels are defective; a good sensor has less than 0.5 %.")
    counts = {code: int(mask.sum()) for code, mask in classes.items() if mask.any()}
    inputs = tuple(_plane(s).name for s in sources)
    record = Record(
        "build_defects", config=rules.model_dump(), inputs={str(i): n for i, n in enumerate(inputs)}, numbers=counts,
    )  # fmt: skip
    return Defects(
        boxes=tuple(boxes), codes=tuple(codes), observation=sources[0].observation, inputs=inputs,
        notes=tuple(dict.fromkeys(notes)), history=(record,),
    )  # fmt: skip


def _splits(plane: _Plane) -> tuple[int, ...]:
    """Rows (from the lower edge of the input) at which a sensor of two halves read apart begins anew."""
    detector = plane.detector
    if detector is None:
        return ()
    lower = {amp.trimmed.y1 for amp in detector if amp.readout_corner[0] == "L"}
    upper = {amp.trimmed.y0 for amp in detector if amp.readout_corner[0] == "U"}
    return tuple(sorted(y - plane.box.y0 for y in lower & upper))
