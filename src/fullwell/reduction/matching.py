"""Which calibration belongs to a frame: detector, binning, window, read-out mode, gain setting, temperature, optics.

A product is taken only where every field that matters for its kind agrees. A miss names the nearest
candidate, each field that differs, and the option that accepts it.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from fullwell.base.errors import GeometryError, MissingProduct
from fullwell.cameras import Box
from fullwell.frames import Frame, Observation
from fullwell.products import Defects, ImageProduct, Product

__all__ = ["ACCEPTABLE", "FIELDS", "Mismatch", "cut_out", "differences", "match"]

COMMON = ("instrument", "detector", "binning", "readout_mode", "gain_setting")
FIELDS: dict[str, tuple[str, ...]] = {
    "bias": (*COMMON, "temperature"),
    "dark": (*COMMON, "temperature"),
    "flat": (*COMMON, "filter"),
    "defects": ("instrument", "detector", "binning"),
    "gain": COMMON,
    "ptc": COMMON,
    "crosstalk": ("instrument", "detector"),
    "linearity": COMMON,
}
"""Fields that must agree, by kind of product."""

ACCEPTABLE = ("temperature", "readout_mode", "gain_setting", "filter", "detector", "instrument")
"""Differences that a user may accept by name; binning and size cannot be."""

TEMPERATURE_STEP = 1.0
"""Largest difference of set temperatures (or, where none is set, of twice that of measured ones) [Celsius]."""

P = TypeVar("P", bound=Product)


@dataclass(frozen=True)
class Mismatch:
    """One field in which a product differs from what a frame needs."""

    field: str
    wanted: Any
    found: Any

    def __str__(self) -> str:
        return f"{self.field} {_show(self.found)} instead of {_show(self.wanted)}"


def differences(kind: str, product: Observation, frame: Observation) -> list[Mismatch]:
    """Fields in which a product of `kind`, made for observation `product`, differs from `frame`."""
    found = []
    for name in FIELDS.get(kind, COMMON):
        if name == "temperature":
            pair = _temperatures(product, frame)
            if pair is not None:
                found.append(Mismatch("temperature", pair[1], pair[0]))
        else:
            have, want = getattr(product, name), getattr(frame, name)
            if have != want:
                found.append(Mismatch(name, want, have))
    return found


def _temperatures(product: Observation, frame: Observation) -> tuple[float, float] | None:
    for label, step in (("set_temperature", TEMPERATURE_STEP), ("temperature", 2 * TEMPERATURE_STEP)):
        have, want = getattr(product, label), getattr(frame, label)
        if math.isfinite(have) and math.isfinite(want):
            return (have, want) if abs(have - want) > step else None
    return None


def match(kind: str, candidates: Iterable[P], frame: Frame, accept: Collection[str] = ()) -> P:
    """The product of `kind` that belongs to `frame`: all fields agree, nearest in time.

    Parameters
    ----------
    accept : names of fields of which a difference is accepted.

    Raises
    ------
    MissingProduct
        none agrees; names the nearest candidate, what differs, and the option to accept it.
    """
    obs = frame.observation
    ranked = []
    for product in candidates:
        wrong = differences(kind, product.observation, obs)
        left = [w for w in wrong if w.field not in accept]
        age = abs(product.observation.mjd - obs.mjd)
        ranked.append((len(left), len(wrong), age if math.isfinite(age) else math.inf, left, product))
    ranked.sort(key=lambda item: item[:3])
    where = frame.source or obs.obs_id
    need = f"{kind} for {obs.instrument} detector {obs.detector}" + (f", filter {obs.filter}" if kind == "flat" else "")
    if not ranked:
        raise MissingProduct(f"there is no {need}", where=where, remedy=f"give --{kind} FILE, or switch the step off")
    _, _, _, left, best = ranked[0]
    if left:
        listed = "; ".join(str(m) for m in left)
        fields = sorted({m.field for m in left})
        if all(f in ACCEPTABLE for f in fields):
            remedy = "accept it with " + " ".join(f"--accept {f}" for f in fields)
        else:
            remedy = f"make a {kind} with the same {fields[0]}"
        raise MissingProduct(
            f"no {need} agrees; the nearest, {best.source or best.id[:12]}, has {listed}", where=where, remedy=remedy
        )
    return best


def cut_out(product: P, frame: Frame) -> P:
    """The part of a full-frame product that a windowed frame needs; the product itself where sizes agree.

    Raises
    ------
    GeometryError
        the product does not cover the window.
    """
    detector = frame.detector
    shape = detector.box.shape if detector is not None else frame.shape
    window = frame.observation.window
    if isinstance(product, ImageProduct):
        if product.image.shape == shape and (window is None or product.observation.window == window):
            return product
        box = _window_box(frame, shape)
        assert product.box is not None
        if box is None or not product.box.contains(box):
            raise GeometryError(
                f"the {product.kind} covers {product.image.shape} pixels (rows, columns), the frame {shape}",
                where=f"{product.source or product.id[:12]} for {frame.source or frame.observation.obs_id}",
                remedy=f"make a {product.kind} of the same size and binning, or one of the full frame",
            )
        at = box.shifted(-product.box.x0, -product.box.y0).slices
        planes: dict[str, Any] = {"image": product.image[at]}
        for label in ("variance", "mask", "count"):
            plane = getattr(product, label)
            planes[label] = None if plane is None else plane[at]
        return replace(product, box=None, id=f"{product.id}[{box.x0},{box.y0},{box.width},{box.height}]", **planes)
    if isinstance(product, Defects) and window is not None and product.observation.window != window:
        moved = _window_box(frame, shape)
        assert moved is not None
        inside = [b.intersection(moved).shifted(-moved.x0, -moved.y0) for b in product.boxes]
        keep = [i for i, b in enumerate(inside) if b.area]
        codes = tuple(product.codes[i] for i in keep) if product.codes else ()
        return replace(product, boxes=tuple(inside[i] for i in keep), codes=codes, id=f"{product.id}{window}")
    return product


def _window_box(frame: Frame, shape: tuple[int, int]) -> Box | None:
    """Window of the frame in binned pixels of the full assembled image."""
    window = frame.observation.window
    if window is None:
        return None
    bx, by = frame.observation.binning
    return Box(window[0] // bx, window[1] // by, shape[1], shape[0])


def _show(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g} C"
    if isinstance(value, tuple):
        return "x".join(str(v) for v in value)
    return repr(value) if value == "" else str(value)
