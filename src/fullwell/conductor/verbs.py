"""The public verbs of a step: ``remove(frame, product=None, config=None)`` and ``add(…)``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from fullwell.base.errors import GeometryError, MissingProduct, UnitError, UsageError
from fullwell.base.provenance import Record
from fullwell.cameras import Amplifier, Box, Detector
from fullwell.conductor.block import Block, Buffers, Exposure
from fullwell.conductor.layout import Layout
from fullwell.conductor.placement import assembled, raw
from fullwell.conductor.program import BLOCK_ROWS
from fullwell.conductor.store import gather, scatter
from fullwell.frames import Frame, Mask, Plane
from fullwell.products import Gain, ImageProduct

if TYPE_CHECKING:
    from fullwell.conductor.step import Step

__all__ = ["WholeFrame", "check", "check_product", "check_shape", "make_verb", "plain_detector"]


def plain_detector(shape: tuple[int, int], name: str = "0") -> Detector:
    """A detector of one amplifier that covers an image of `shape`, without overscan."""
    box = Box.from_shape(shape)
    return Detector(name, 0, (Amplifier("A", shape, box, box, box),))


def make_verb(step: Step, name: Literal["remove", "add"]) -> Callable[..., Frame]:
    """A function on frames that runs one direction of `step` on a copy."""

    def verb(frame: Frame, product: Any = None, config: Any = None, **settings: Any) -> Frame:
        if config is not None and settings:
            raise UsageError(f"give {step.name} a config or settings by name, not both")
        cfg = config if config is not None else step.config(**settings)
        return run_single(step, name, frame, product, cfg)

    verb.__name__ = verb.__qualname__ = name
    verb.__module__ = step.function.__module__
    verb.__doc__ = (
        f"{'Take out' if name == 'remove' else 'Put in'} the effect '{step.name}'; the frame given is not changed.\n\n"
        f"Parameters\n----------\nframe : {step.area} frame, unit {step.unit}.\n"
        f"product : {step.needs or 'none'}.\nconfig : {step.config.__name__}, or its fields by name.\n\n"
        "Returns\n-------\nFrame with its own planes and one more record in its history. Variance of the step\n"
        "is in its variance plane, made where there was none; the step 'variance' adds noise and light.\n\n"
        "Raises\n------\nUnitError, MissingProduct, GeometryError.\n"
    )
    return verb


def check(step: Step, frame: Frame, product: Any, name: str = "remove") -> None:
    """Unit, area and presence of the product, as the step declares them."""
    wanted = step.unit if name == "remove" or step.leaves == "same" else step.leaves
    if wanted != "any" and frame.unit != wanted:
        raise UnitError(
            f"step '{step.name}' takes {wanted}, the frame is in {frame.unit}",
            where=frame.source or frame.observation.obs_id,
            remedy="put 'gain' before it in the recipe" if wanted == "electron" else "use it before the gain step",
        )
    if step.needs and product is None and not step.optional:
        raise MissingProduct(f"step '{step.name}' needs a {step.needs}", where=frame.source)
    if step.area == "raw" and not frame.raw:
        raise GeometryError(f"step '{step.name}' works on raw frames, this one is assembled", where=frame.source)
    if step.area == "assembled" and frame.raw:
        raise GeometryError(f"step '{step.name}' works on assembled frames, this one is raw", where=frame.source)
    shape = None if frame.detector is None and frame.raw else (frame.detector or frame).box.shape
    if step.scope == "rows":
        check_shape(frame)
    check_product(step, product, frame.unit, shape=shape, where=frame.source or frame.observation.obs_id)


def check_shape(frame: Frame) -> None:
    """Whether the image is that of its detector, so that every amplifier lies inside it.

    Raises
    ------
    GeometryError
        a part of a frame, or a frame with the geometry of another detector; both boxes are named.
    """
    if frame.detector is None:
        return
    own = frame.detector.raw_box if frame.raw else frame.detector.box
    fits = frame.box.contains(own) if frame.raw else frame.box == own
    if not fits or (frame.box.x0, frame.box.y0) != (0, 0):
        raise GeometryError(
            f"the image covers {frame.box}, detector {frame.detector.name} has {own}",
            where=frame.source or frame.observation.obs_id,
            remedy="take the whole frame, or the geometry that belongs to this window",
        )


def check_product(
    step: Step, product: Any, unit: str, *, shape: tuple[int, int] | None = None, where: str = ""
) -> None:
    """Whether `product` can be used by `step` on an image that is in `unit` at that point of the recipe.

    Parameters
    ----------
    step : the step that takes the product.
    product : a product; None and products without pixels pass.
    unit : "adu" or "electron", of the image when the step runs.
    shape : (ny, nx) of the assembled image, None where it is not known.
    where : the frame, for the message.

    Raises
    ------
    UsageError
        the product is of another kind than the step needs.
    UnitError
        a bias or dark is in another unit than the image; the id of the product is named.
    GeometryError
        the pixels of the product do not cover the same shape; both shapes are named.
    """
    kind = getattr(product, "kind", "")
    if step.needs and kind and kind != step.needs:
        raise UsageError(f"step '{step.name}' takes a {step.needs}, not a {kind}", where=where or None)
    if not isinstance(product, ImageProduct):
        return
    name = f"{kind} {product.source or product.id}"
    own = product.unit.removesuffix("/s")
    if kind in ("bias", "dark") and own != unit:
        raise UnitError(
            f"the {name} is in {product.unit}, the image is in {unit} when step '{step.name}' runs",
            where=where or None,
            remedy=f"take a {kind} made in {unit}, or move the gain step",
        )
    if shape is not None and product.image.shape != shape:
        raise GeometryError(
            f"the {name} has shape {product.image.shape}, the image {shape}",
            where=where or None,
            remedy="take a calibration of the same detector, window and binning",
        )


class WholeFrame:
    """A frame's planes as blocks of rows and back: raw segments or assembled data."""

    def __init__(self, frame: Frame, exposure: Exposure) -> None:
        self.layout = Layout(exposure.detector, "segment" if frame.raw else "data")
        self.exposure = exposure
        self.place = (raw if frame.raw else assembled)(exposure.detector, frame.shape)
        self.first = 0 if frame.raw else self.layout.data_rows[0]
        heights = [amp.shape[0] for amp in exposure.detector]
        self.last = int((self.layout.shift + heights).max()) if frame.raw else self.layout.data_rows[1]
        self.image = frame.image.array.astype(np.float32, order="C")
        self.variance = (
            np.zeros(frame.shape, np.float32)
            if frame.variance is None
            else frame.variance.array.astype(np.float32, order="C")
        )
        self.mask = (
            np.zeros(frame.shape, np.uint32) if frame.mask is None else frame.mask.array.astype(np.uint32, order="C")
        )
        self.has_variance = frame.variance is not None
        self.components = {name: p.array.astype(np.float32, order="C") for name, p in frame.components.items()}

    def load(self, block: Block) -> None:
        """Fill all planes of a block (the source protocol)."""
        for plane, out in ((self.image, block.image), (self.variance, block.variance), (self.mask, block.mask)):
            self._move(gather, plane, block, out)
        block.has_variance, block.has_mask = self.has_variance, True
        for name, plane in self.components.items():
            part = block.component(name)
            if part is not None:
                self._move(gather, plane, block, part)

    def store(self, block: Block) -> None:
        """Place all planes of a block."""
        self._move(scatter, self.image, block, block.image)
        self._move(scatter, self.mask, block, block.mask)
        self._move(scatter, self.variance, block, block.start_variance())
        for name, part in block.components.items():
            plane = self.components.setdefault(name, np.zeros_like(self.image))
            self._move(scatter, plane, block, part)

    def _move(self, move: Any, plane: np.ndarray, block: Block, array: np.ndarray) -> None:
        place, layout = self.place, block.layout
        low, height = np.zeros_like(place.height), layout.data_height
        if self.layout.part == "segment":
            low, height = layout.shift, layout.shift + place.height
            place = replace(place, offset=place.offset + layout.first * place.col_step - layout.shift * place.row_step)
        row = block.r0 - self.first
        if move is gather:
            gather(plane, layout, place, row, array, low, height)
        else:
            scatter(array, layout, place, row, plane, low, height)


def run_single(step: Step, name: Literal["remove", "add"], frame: Frame, product: Any, cfg: Any) -> Frame:
    """Run one direction of one step on a copy of `frame`."""
    check(step, frame, product, name)
    if step.scope == "detector":
        out = frame.copy()
        step.direction(name)(out, product, cfg)
        return out.with_history(_record(step, name, product, cfg, {}))
    if frame.mask is not None:
        frame = replace(frame, mask=frame.mask.standard())
    detector = frame.detector or plain_detector(frame.shape)
    obs = frame.observation
    exposure = Exposure(
        detector,
        obs,
        unit=frame.unit,
        gain=detector.values("gain"),
        read_noise=detector.values("read_noise"),
        dark_time=obs.collecting_time,
        keep_components=bool(frame.components),
    )
    whole = WholeFrame(frame, exposure)
    given = product
    if product is not None and step.digest is not None:
        given = step.digest(product, whole.layout, exposure)
    if step.prepare is not None and name == "remove":
        from fullwell.conductor.program import Program, Rows

        given = step.prepare(Rows(Program([], whole.layout), whole, exposure, 0), given, cfg)
    buffers, function, unit = Buffers(), step.direction(name), frame.unit
    has_variance = whole.has_variance
    for r0 in range(whole.first, whole.last, BLOCK_ROWS * 4):
        block = Block(exposure, whole.layout, r0, min(r0 + BLOCK_ROWS * 4, whole.last), buffers)
        whole.load(block)
        function(block, given, cfg)
        block.settle_rows()
        unit, has_variance = block.unit, block.has_variance
        whole.store(block)
    numbers = step.finish(exposure, given, cfg) if step.finish is not None and name == "remove" else {}
    return replace(
        frame,
        detector=_informed(detector, product) if isinstance(product, Gain) else frame.detector,
        image=Plane(whole.image, frame.box, unit),
        variance=Plane(whole.variance, frame.box, f"{unit}2") if has_variance else None,
        mask=Mask(whole.mask, frame.box, schema=frame.mask.schema if frame.mask is not None else None),
        components={name: Plane(array, frame.box, f"{unit}2") for name, array in whole.components.items()},
        history=(*frame.history, _record(step, name, product, cfg, numbers)),
    )


def _informed(detector: Detector, gain: Gain) -> Detector:
    """The detector with the gains and read noises that were measured, so that later steps know them."""
    return detector.with_values(
        gain=dict(zip(gain.amps, gain.gain.tolist(), strict=True)),
        read_noise=dict(zip(gain.amps, gain.read_noise.tolist(), strict=True)),
    )


def _record(step: Step, name: str, product: Any, cfg: Any, numbers: dict[str, Any]) -> Record:
    inputs = {step.needs: product.id} if step.needs and hasattr(product, "id") else {}
    label = step.name if name == "remove" else f"add {step.name}"
    return Record(label, config=cfg.model_dump(mode="json"), inputs=inputs, numbers=numbers)
