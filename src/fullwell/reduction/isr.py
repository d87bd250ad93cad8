"""ISR: a recipe run on one frame.

The recipe is split where a step needs the whole detector: consecutive row steps run together on
blocks of rows, detector steps run on the assembled frame. The frame that is given is not changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fullwell.base.config import StepConfig, load
from fullwell.base.errors import MissingProduct, UnitError, UsageError
from fullwell.base.provenance import Record, content_id
from fullwell.cameras import Detector
from fullwell.conductor import Digests, Exposure, Layout, Program, Stage, Step, Workers
from fullwell.conductor.store import ArraySource, FrameSource, MemorySink, Sink, Source
from fullwell.conductor.verbs import WholeFrame, check_product, check_shape, plain_detector
from fullwell.frames import Frame, GainMap, Mask, Observation, Plane
from fullwell.products import Bias, Dark, Gain, Product
from fullwell.recipes import RECIPES, Recipe, steps_of
from fullwell.reduction.gains import check_gains, check_method, gain_role

__all__ = ["Settings", "isr", "plan"]

Settings = Mapping[str, Mapping[str, Any] | StepConfig]


@dataclass
class Planned:
    """One step of a recipe as it will be for a frame: run, or not and why."""

    step: Step
    config: StepConfig
    product: Product | None
    state: str = "done"
    note: str = ""


AGAIN = ("defects", "nan", "saturation_grow", "interpolation")
"""Steps that look for bad pixels and fill them: a second time, with other defects, is no mistake."""


@dataclass
class Job:
    """Everything that a run on one frame needs."""

    frame: Frame
    detector: Detector
    planned: list[Planned]
    exposure: Exposure
    digests: Digests
    workers: Workers
    records: list[Record] = field(default_factory=list)


def isr(
    frame: Frame,
    products: Mapping[str, Product] | None = None,
    *,
    recipe: str | Recipe = "auto",
    settings: Settings | None = None,
    off: Iterable[str] = (),
    workers: Workers | None = None,
    keep_components: bool = False,
    digests: Digests | None = None,
) -> Frame:
    """Correct one frame.

    Parameters
    ----------
    frame : raw frame in adu (or an assembled one: the steps for raw frames are then left out).
    products : role ("bias", "dark", "flat", "gain" or "ptc", "defects", "crosstalk", "linearity") -> product. A photon
        transfer ("ptc") supplies gain, read noise and turnoff.
    recipe : name or recipe; "auto" is "generic".
    settings : step -> settings, over those of the recipe.
    off : steps to switch off; the history records them.
    workers : threads; by default one, the caller's.
    keep_components : keep the parts of the variance as planes of the result.
    digests : shared between calls, so that calibrations are brought into read-out order once.

    Returns
    -------
    Frame
        assembled; image and variance float32, mask uint32; electron where the gain is known, else adu.

    Raises
    ------
    MissingProduct
        a strict recipe lacks a product.
    UnitError
        a product is in a unit that the frame is not in at that step, or the frame is in neither adu nor electron.
    UsageError
        a gain does not say how it was measured, and the setting `without_method` of the step "gain" is not set; a gain
        and a photon transfer are both given.
    RecipeError, ConfigError, GeometryError
    """
    job = make_job(frame, products, recipe, settings, off, workers, keep_components, digests)
    return finish(job, _run(job))


def make_job(
    frame: Frame,
    products: Mapping[str, Product] | None,
    recipe: str | Recipe,
    settings: Settings | None,
    off: Iterable[str],
    workers: Workers | None,
    keep_components: bool,
    digests: Digests | None,
) -> Job:
    """All that a run on `frame` needs; the parameters are those of `isr`."""
    order = _recipe(recipe)
    check_shape(frame)
    if frame.unit not in ("adu", "electron"):
        raise UnitError(
            f"the frame is in {frame.unit!r}, the steps of a recipe take adu or electron",
            where=frame.source or frame.observation.obs_id,
            remedy="say which of the two it is: frame.image.unit",
        )
    if frame.mask is not None:
        frame = replace(frame, mask=frame.mask.standard())
    detector = frame.detector or plain_detector(frame.shape, frame.observation.detector)
    roles = _with_gain(dict(products or {}), detector)
    planned = plan(order, frame, roles, settings or {}, off)
    for p in planned:
        if (
            p.step.name == "gain"
            and p.state == "done"
            and isinstance(p.product, Gain)
            and p.product.estimator == "camera"
        ):
            p.note = "nominal gain of the camera description, not a measured one"
    used = {p.step.needs: p.product for p in planned if p.state == "done" and p.step.needs and p.product is not None}
    check_gains(used, frame.source or frame.observation.obs_id)
    exposure = _exposure(frame, detector, roles, planned, keep_components)
    return Job(frame, detector, planned, exposure, digests or Digests(), workers or Workers(1))


def plan(
    order: Recipe, frame: Frame, products: Mapping[str, Product], settings: Settings, off: Iterable[str] = ()
) -> list[Planned]:
    """What each step of `order` will do to `frame`: run with which product, or not and why.

    Raises
    ------
    MissingProduct, UnitError, RecipeError, ConfigError
    UsageError
        the gain does not say how it was measured.
    """
    off = set(off)
    for name in settings:
        if name not in order.steps:
            raise UsageError(
                f"recipe '{order.name}' has no step '{name}' to set", remedy=f"its steps are {', '.join(order.steps)}"
            )
    kept = {s.name for s in steps_of(order, off)}
    unit, out = frame.unit, []
    for step in steps_of(order):
        cfg = _config(step, order, settings)
        product = products.get(step.needs) if step.needs else None
        item = Planned(step, cfg, product)
        if step.name not in kept:
            item.state, item.note = "off", "switched off"
        elif step.name in order.dormant and step.name not in settings:
            item.state, item.note = "off", "this recipe runs it only where settings are given for it"
        elif step.area == "raw" and not frame.raw:
            item.state, item.note = "left out", "the frame is already assembled"
        elif _is_done(step.name, frame):
            item.state, item.note = "left out", "it was done already, as the history of the frame says"
        elif step.name == "variance" and frame.variance is not None and not frame.history:
            item.state, item.note = "left out", "the frame came with a variance of its own"
        elif step.needs and product is None and not step.optional:
            if order.strict:
                raise MissingProduct(
                    f"step '{step.name}' of recipe '{order.name}' needs a {step.needs}",
                    where=frame.source or frame.observation.obs_id,
                    remedy=f"give one, switch the step off, or use the recipe 'generic', which leaves out "
                    f"what has no product (given: {', '.join(sorted(products)) or 'none'})",
                )
            item.state, item.note = "left out", f"no {step.needs} was given"
        elif step.name == "gain" and isinstance(product, Gain) and not (product.gain > 0).any():
            item.state, item.note = "left out", "the gain is not known"
        elif step.unit not in ("any", unit):
            item.state, item.note = "left out", f"it takes {step.unit}, the frame is in {unit}"
        if item.state == "done":
            shape = frame.detector.box.shape if frame.detector is not None else frame.shape
            check_product(step, product, unit, shape=shape, where=frame.source or frame.observation.obs_id)
            unit = unit if step.leaves == "same" else step.leaves
        out.append(item)
    check_method(out, frame.source or frame.observation.obs_id)
    return out


def _is_done(name: str, frame: Frame) -> bool:
    """Whether the frame went through a step that was not taken back and that must not be done twice."""
    names = (name, f"add {name}")
    times = [1 if r.step == name else -1 for r in frame.history if r.step in names and r.state == "done"]
    return name not in AGAIN and sum(times) > 0


def _recipe(recipe: str | Recipe) -> Recipe:
    if isinstance(recipe, Recipe):
        return recipe
    return RECIPES["generic" if recipe == "auto" else recipe]


def _config(step: Step, order: Recipe, settings: Settings) -> StepConfig:
    given = settings.get(step.name, {})
    if isinstance(given, StepConfig):
        return given
    return load(step.config, {**order.settings.get(step.name, {}), **given}, where=f"settings of step '{step.name}'")


def _with_gain(products: dict[str, Product], detector: Detector) -> dict[str, Product]:
    """The gain of a photon transfer; without either, the nominal gains of the camera where it has all of them."""
    products = gain_role(products)
    gain = products.get("gain")
    if gain is None and np.isfinite(detector.values("gain")).all():
        products["gain"] = Gain.of_detector(detector)
    elif isinstance(gain, Gain):
        if gain.amps != detector.names:
            raise UsageError(
                f"the gain is for amplifiers {', '.join(gain.amps)}, the detector has {', '.join(detector.names)}",
                where=gain.source or gain.id,
            )
    return products


def _exposure(
    frame: Frame, detector: Detector, products: Mapping[str, Product], planned: list[Planned], keep: bool
) -> Exposure:
    obs = frame.observation
    gain = products.get("gain")
    nan = np.full(len(detector), np.nan)
    gains, noise = nan, nan
    applied = any(p.step.name == "gain" and p.state == "done" for p in planned) or frame.unit == "electron"
    if isinstance(gain, Gain):
        gains = gain.gain
        known = np.isfinite(gains)
        adu = gain.read_noise_adu if gain.read_noise_adu is not None else nan
        noise = np.where(known, gain.read_noise, np.nan if applied else adu)
    seed = int(content_id(obs.instrument, obs.exposure_id, obs.obs_id, obs.detector)[:8], 16)
    return Exposure(
        detector,
        obs,
        unit=frame.unit,
        gain=gains,
        read_noise=noise,
        seed=seed,
        dark_time=obs.collecting_time,
        bias_factor=_bias_factor(planned, obs),
        keep_components=keep or bool(frame.components),
    )


def _bias_factor(planned: list[Planned], obs: Observation) -> float:
    """1 - 2 t s where the dark of this run holds s per second of the bias of this run, t the dark time; else 1."""
    done = {p.step.name: p for p in planned if p.state == "done"}
    bias, dark = (done[name].product if name in done else None for name in ("bias", "dark"))
    if not isinstance(bias, Bias) or not isinstance(dark, Dark) or dark.variance is None:
        return 1.0
    if not getattr(done["dark"].config, "propagate_variance", True):
        return 1.0
    same = dark.statistics.get("bias", "") == bias.id.split("[")[0]
    return 1.0 - 2.0 * obs.collecting_time * float(dark.statistics["bias_share"]) if same else 1.0


def _run(job: Job) -> Frame:
    """Alternate runs of row steps on blocks and detector steps on the assembled frame."""
    active = [p for p in job.planned if p.state == "done"]
    frame, i, assembled = job.frame, 0, not job.frame.raw
    while i < len(active) or not assembled:
        group: list[Planned] = []
        while i < len(active) and active[i].step.scope == "rows":
            group.append(active[i])
            i += 1
        if group or not assembled:
            frame = _rows(job, frame, group, any(p.step.name == "variance" for p in active[i:]))
            assembled = True
        while i < len(active) and active[i].step.scope == "detector":
            if frame is job.frame:
                frame = frame.copy()
            active[i].step.function(frame, active[i].product, active[i].config)
            i += 1
    return frame


def _rows(job: Job, frame: Frame, group: list[Planned], more: bool) -> Frame:
    """The row steps of `group`; with `more` the variance step is still to come, and what there is of it is kept."""
    detector = job.detector
    source: Source
    if frame.raw and (frame.mask is not None or frame.variance is not None):
        source = WholeFrame(frame, replace(job.exposure, unit=frame.unit))
    elif frame.raw:
        source = ArraySource.of_image(np.asarray(frame.image.array), detector)
    else:
        image = np.ascontiguousarray(frame.image.array, np.float32)
        variance = None if frame.variance is None else np.ascontiguousarray(frame.variance.array, np.float32)
        mask = None if frame.mask is None else np.ascontiguousarray(frame.mask.array, np.uint32)
        parts = {name: np.ascontiguousarray(p.array, np.float32) for name, p in frame.components.items()}
        source = FrameSource(detector, image, variance, mask, parts)
    sink = MemorySink(detector)
    run_rows(job, frame, group, source, sink)
    assert sink.variance is not None
    done = corrected(job, frame, group, sink.image, sink.variance, sink.mask, sink.components)
    if more and done.variance is None:
        done = replace(done, variance=Plane(sink.variance, unit=f"{done.unit}2"))
    return done


def run_rows(job: Job, frame: Frame, group: list[Planned], source: Source, sink: Sink) -> None:
    """The row steps of `group` on all blocks, from `source` to `sink`; their numbers go into the job."""
    exposure = replace(job.exposure, unit=frame.unit)
    layout = Layout(job.detector, "segment" if frame.raw else "data")
    program = Program([Stage(p.step, p.config, p.product) for p in group], layout)
    digested = {p.step.name: _digested(job, p, layout.data) for p in group if p.product is not None}
    program.prepare(source, exposure, digested)
    program.run(source, sink, exposure, job.workers)
    for stage in program.stages:
        if stage.step.finish is not None:
            numbers = stage.step.finish(exposure, stage.given, stage.config)
            job.exposure.numbers[(stage.step.name, "finish")] = [(0, numbers)]


def corrected(
    job: Job,
    frame: Frame,
    group: list[Planned],
    image: NDArray[np.float32],
    variance: NDArray[np.float32],
    mask: NDArray[np.uint32],
    components: Mapping[str, NDArray[np.float32]],
) -> Frame:
    """The assembled frame that the row steps of `group` leave, made of these planes."""
    unit = frame.unit
    for p in group:
        unit = unit if p.step.leaves == "same" else p.step.leaves
    has_variance = any(p.step.name == "variance" for p in group) or frame.variance is not None
    schema = frame.mask.schema if frame.mask is not None else None
    return replace(
        frame,
        image=Plane(image, unit=unit),
        variance=Plane(variance, unit=f"{unit}2") if has_variance else None,
        mask=Mask(mask, schema=schema),
        detector=job.detector,
        components={**frame.components, **{k: Plane(v, unit=f"{unit}2") for k, v in components.items()}},
        raw=False,
    )


def _digested(job: Job, planned: Planned, layout: Layout) -> Any:
    """The product in the form of blocks, made once per product and detector."""
    make, product = planned.step.digest, planned.product
    if make is None:
        return product
    assert product is not None
    key = (planned.step.name, product.id, job.detector, job.exposure.unit)
    return job.digests.get(key, lambda: make(product, layout, job.exposure))


def _origin(planned: Planned) -> dict[str, str]:
    """Role -> id of the product of a step; that of a gain is the photon transfer that it was taken from."""
    product = planned.product
    assert product is not None
    if isinstance(product, Gain) and product.ptc:
        return {"ptc": product.ptc}
    return {planned.step.needs or "": product.id}


def finish(job: Job, frame: Frame) -> Frame:
    """History, and the gain map K by reference to what was applied."""
    records = []
    for p in job.planned:
        numbers = job.exposure.numbers.get((p.step.name, "finish"), [(0, {})])[0][1]
        inputs = _origin(p) if p.state == "done" and p.step.needs and p.product is not None else {}
        records.append(Record(p.step.name, p.state, p.config.model_dump(mode="json"), inputs, p.note, numbers))
    flat = next((p.product for p in job.planned if p.step.name == "flat" and p.state == "done"), None)
    before = job.frame.gain_map if _is_done("flat", job.frame) else None
    flat_id = flat.id if flat else before.flat_id if before else ""
    names, gains = job.detector.names, job.exposure.gain
    gain_map = None
    if frame.unit == "electron":
        gain_map = GainMap(flat_id=flat_id)
    elif np.isfinite(gains).all():
        gain_map = GainMap(flat_id=flat_id, gain=dict(zip(names, gains.tolist(), strict=True)))
    return replace(frame, gain_map=gain_map).with_history(*records)
