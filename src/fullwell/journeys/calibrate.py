"""Calibrations from the frames of one set-up: noise and gain from pairs, then bias, darks, flats, defects.

The order of dependence: overscan needs nothing; the read noise needs bias pairs (or the overscan); the
gain needs flat pairs; the combined bias, darks and flats are then made in electron where the gain is
known, else in adu.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from fullwell.base.errors import FullwellError, GeometryError, MissingProduct
from fullwell.base.progress import progress
from fullwell.cameras import Detector
from fullwell.conductor import Digests, Workers
from fullwell.frames import Frame
from fullwell.journeys.gains import as_cold, by_temperature, gain_of, noise_of, own_noise
from fullwell.journeys.night import Item, Night, ReduceOptions, Setup
from fullwell.pipeline.spool import Spool
from fullwell.products import Bias, Dark, Defects, Flat, Gain, Product
from fullwell.reduction import cut_out, isr, match

__all__ = ["Calibrations", "Desk", "calibrate"]

P = TypeVar("P", bound=Product)


@dataclass
class Calibrations:
    """What was made for one set-up, and what became of each file."""

    setup: Setup
    gain: Gain | None = None
    bias: list[Bias] = field(default_factory=list)
    dark: list[Dark] = field(default_factory=list)
    flat_darks: list[Bias] = field(default_factory=list)
    flat: list[Flat] = field(default_factory=list)
    defects: list[Defects] = field(default_factory=list)
    pairs: int = 0
    points: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    used: dict[str, str] = field(default_factory=dict)
    failed: dict[str, FullwellError] = field(default_factory=dict)

    def for_frame(self, frame: Frame, kinds: Sequence[str], accept: Iterable[str] = ()) -> dict[str, Product]:
        """The products of `matching`, cut to the window of the frame.

        Raises
        ------
        MissingProduct
            as `matching`. GeometryError: one does not cover the window.
        """
        return {role: cut_out(p, frame) for role, p in self.matching(frame, kinds, accept).items()}

    def matching(self, frame: Frame, kinds: Sequence[str], accept: Iterable[str] = ()) -> dict[str, Product]:
        """The products of `kinds` that belong to a frame, by its observation; of some there may be none.

        Raises
        ------
        MissingProduct
            products of a kind exist, and none agrees.
        """
        out: dict[str, Product] = {} if self.gain is None else {"gain": self.gain}
        if self.flat_darks:
            out["bias"] = self._flat_dark(frame, tuple(accept))
        for kind in kinds:
            candidates: list[Any] = getattr(self, kind)
            if candidates:
                out[kind] = match(kind, candidates, frame, tuple(accept))
        return out

    def _flat_dark(self, frame: Frame, accept: tuple[str, ...]) -> Bias:
        """The combined dark, bias included, of the exposure time of `frame`."""
        time = frame.observation.collecting_time
        alike = [d for d in self.flat_darks if abs(d.observation.exposure_time - time) <= 0.01 * max(time, 1e-3)]
        if not alike:
            have = ", ".join(f"{d.observation.exposure_time:g} s" for d in self.flat_darks)
            raise MissingProduct(
                f"there are no bias frames, and no darks of {time:g} s: the darks are of {have}",
                where=frame.source,
                remedy="take bias frames, so that darks can be scaled, or darks of this exposure time",
            )
        return match("bias", alike, frame, accept)


class Desk:
    """Reads frames and corrects them; keeps the digested calibrations and the threads.

    `recipe_of` is the recipe that the instrument names: one of a full order also runs the steps that are dormant
    in the recipes for any camera.
    """

    def __init__(self, options: ReduceOptions, folder: Path, jobs: int = 1) -> None:
        self.options = options
        self.digests = Digests()
        self.recipe_of = "generic"
        self.workers = Workers(1)
        self.spool = Spool(folder, options.memory << 20)
        self.jobs = jobs

    def map(self, work: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[Any]:
        """``work(item)`` of all items, in order, `jobs` at a time."""
        if self.jobs == 1:
            yield from map(work, items)
            return
        with ThreadPoolExecutor(self.jobs) as pool:
            yield from pool.map(work, items)

    def read(self, item: Item) -> Frame:
        """The raw frame of an item, with the kind and times that were decided for it."""
        from fullwell import io

        frame = io.read(
            item.path,
            instrument=item.instrument,
            detector=self.options.detector,
            options=self.options.camera_options(),
        )
        return replace(frame, observation=replace(item.observation, **_keep(frame)), source=str(item.path))

    def correct(self, frame: Frame, products: dict[str, Product], recipe: str, off: Iterable[str] = ()) -> Frame:
        """One frame through a recipe with the user's settings."""
        from fullwell.recipes import RECIPES

        steps = RECIPES[recipe].steps
        settings: dict[str, dict[str, Any]] = {}
        if self.recipe_of == "lsst":
            settings = {name: {} for name in RECIPES[recipe].dormant}
        settings.update({k: v for k, v in self.options.settings.items() if k in steps})
        return isr(
            frame,
            products,
            recipe=recipe,
            settings=settings,
            off=[s for s in (*self.options.off, *off) if s in steps],
            workers=self.workers,
            digests=self.digests,
            keep_components=self.options.components and recipe == "generic",
        )


def _keep(frame: Frame) -> dict[str, Any]:
    """What the reader knows better than the scan: the detector that was read."""
    obs = frame.observation
    return {"detector": obs.detector, "detector_id": obs.detector_id}


def calibrate(night: Night, setup: Setup, desk: Desk) -> Calibrations:
    """All calibrations that the frames of `setup` allow."""
    made = Calibrations(setup)
    items = [i for i in night.items if Setup.of(i.observation) == setup]
    desk.recipe_of = items[0].instrument.recipe
    detector = _detector(items, desk)
    if detector is None:
        made.notes.append("None of these frames can be read: no calibrations are made.")
        return made
    bias_frames = _corrected(_items(night, "bias", made), desk, made, {}, "bias", off=("gain", "variance"))
    used = as_cold(bias_frames, night, setup)
    noise = noise_of(used, made)
    flats = _flat_frames(night, desk, made, bias_frames)
    made.gain = gain_of(detector, items[0].observation, desk.options, made, flats, noise)
    if made.gain is not None and used and desk.options.read_noise is None:
        made.gain = own_noise(made.gain, used)
    electron = made.gain is not None and np.isfinite(made.gain.gain).all()
    if not electron:
        made.notes.append(
            "The gain is not known: there is no pair of flats of one filter, no --gain, and no plausible gain in the "
            "headers. Frames stay in adu and their variance has no Poisson term."
        )
    _build_bias(night, desk, made)
    _build_darks(night, desk, made)
    _build_flats(night, desk, made)
    _build_defects(desk, made)
    if night.of("science", setup):
        if not made.dark and not made.flat_darks:
            made.notes.append("There is no combined dark: the dark current stays in the science frames.")
        if not made.flat:
            made.notes.append("There is no combined flat: the science frames are not divided by one.")
    return made


def _make(made: Calibrations, name: str, build: Callable[[Any], P], frames: Sequence[Frame]) -> list[P]:
    """What `build` makes of the frames, in a list; [] where it cannot, with the reason kept under `name`."""
    try:
        return [build(frames)]
    except FullwellError as err:
        made.failed[name] = err
        return []


def _items(night: Night, kind: str, made: Calibrations) -> list[Item]:
    """Frames of one kind that can be combined: those of the size and window that most of them have."""
    items = night.of(kind, made.setup)
    if not items:
        return items
    (most, _), *others = Counter((i.shape, i.observation.window) for i in items).most_common()
    for item in items if others else ():
        if (item.shape, item.observation.window) != most:
            made.failed[item.name] = GeometryError(
                f"it has {_by(item.shape)} pixels, most {kind} frames {_by(most[0])}",
                where=str(item.path),
                remedy="leave it out with --skip, or reduce frames of this size in a folder of their own",
            )
    return [i for i in items if (i.shape, i.observation.window) == most]


def _by(shape: Sequence[int]) -> str:
    return " x ".join(str(n) for n in shape)


def _corrected(
    items: Sequence[Item],
    desk: Desk,
    made: Calibrations,
    products: dict[str, Product] | Callable[[Frame], dict[str, Product]],
    recipe: str,
    off: Iterable[str] = (),
) -> list[Frame]:
    """Frames through a recipe; one that fails is recorded and left out."""
    desk.spool.release()

    def work(item: Item) -> Frame | FullwellError:
        try:
            frame = desk.read(item)
            chosen = products(frame) if callable(products) else products
            return desk.spool.keep(desk.correct(frame, chosen, recipe, off))
        except FullwellError as err:
            if desk.options.fail_fast:
                raise
            return err

    out = []
    for item, done in zip(items, progress(desk.map(work, items), f"{recipe} frames", len(items)), strict=True):
        if isinstance(done, FullwellError):
            made.failed[item.name] = done
        else:
            out.append(done)
    return out


def _flat_frames(night: Night, desk: Desk, made: Calibrations, bias_frames: Sequence[Frame]) -> list[Frame]:
    """Flats in adu above the bias, for the gain."""
    from fullwell.measure import build_bias

    biases = [b for group in by_temperature(bias_frames) for b in _make(made, "combined bias", build_bias, group)]

    def products(frame: Frame) -> dict[str, Product]:
        return {"bias": match("bias", biases, frame, desk.options.accept)} if biases else {}

    return _corrected(_items(night, "flat", made), desk, made, products, "flat", off=("gain", "variance"))


def _build_bias(night: Night, desk: Desk, made: Calibrations) -> None:
    from fullwell.measure import build_bias

    products: dict[str, Product] = {} if made.gain is None else {"gain": made.gain}
    frames = _corrected(_items(night, "bias", made), desk, made, products, "bias")
    for group in by_temperature(frames):
        made.bias += _make(made, "combined bias", build_bias, group)
    if not frames:
        made.notes.append("There are no bias frames: what the overscan leaves of the bias is not subtracted.")


def _build_darks(night: Night, desk: Desk, made: Calibrations) -> None:
    from fullwell.measure import build_dark

    items = _items(night, "dark", made)
    bare = not made.bias and not _overscanned(items, desk, made)
    recipe = "bias" if bare else "dark"
    frames = _corrected(items, desk, made, lambda f: made.for_frame(f, ("bias",), desk.options.accept), recipe)
    for group in by_temperature(frames):
        if bare:
            _build_flat_darks(group, made)
        else:
            made.dark += _make(made, "combined dark", partial(build_dark, biases=made.bias), group)


def _overscanned(items: Sequence[Item], desk: Desk, made: Calibrations) -> bool:
    """Whether the level of the amplifiers can be taken off by an overscan: asked of the first frame that is sound."""
    for item in items:
        for frame in _corrected([item], desk, made, {}, "bias"):
            record = frame.last("overscan_serial")
            return record is not None and bool(record.numbers.get("level"))
    return False


def _build_flat_darks(frames: Sequence[Frame], made: Calibrations) -> None:
    """Darks that still hold the bias cannot be scaled: one combination per exposure time, used as it is."""
    from fullwell.measure import build_bias

    for time in sorted({f.observation.collecting_time for f in frames}):
        group = [f for f in frames if f.observation.collecting_time == time]
        made.flat_darks += _make(made, f"combined dark of {time:g} s", build_bias, group)
    made.notes.append(
        "There are neither bias frames nor an overscan: darks hold the bias and cannot be scaled. They are subtracted "
        "as they are, bias and dark together, from frames of the same exposure time."
    )


def _build_flats(night: Night, desk: Desk, made: Calibrations) -> None:
    from fullwell.measure import build_flat

    def products(frame: Frame) -> dict[str, Product]:
        return made.for_frame(frame, ("bias", "dark"), desk.options.accept)

    frames = _corrected(_items(night, "flat", made), desk, made, products, "flat")
    for name in sorted({f.observation.filter for f in frames}):
        group = [f for f in frames if f.observation.filter == name]
        made.flat += _make(made, f"combined flat, filter {name or '(none)'}", build_flat, group)


def _build_defects(desk: Desk, made: Calibrations) -> None:
    from fullwell.measure import build_defects

    if made.dark or made.flat:
        try:
            made.defects.append(build_defects(darks=made.dark, flats=made.flat, biases=made.bias))
        except FullwellError as err:
            made.failed["defects"] = err


def _detector(items: Sequence[Item], desk: Desk) -> Detector | None:
    """The geometry of the first frame that can be read."""
    for item in items:
        with contextlib.suppress(FullwellError):
            return desk.read(item).detector
    return None
