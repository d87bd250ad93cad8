"""The tasks: what a worker does with a job. Paths in, files out; the same job gives the same pixels.

A task is a function of a `Job` and the worker's `Cache`; it reads what the job names and writes what the job
promises, each file whole, with the ids of the dataset and of all its inputs in its header.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fullwell.base.config import load as load_config
from fullwell.base.errors import DataError, GeometryError, HeaderError, MissingProduct
from fullwell.base.registry import Registry
from fullwell.frames import Frame, Observation
from fullwell.products import Bias, Product

if TYPE_CHECKING:
    from fullwell.pipeline.executors.worker import Cache
    from fullwell.pipeline.jobs import Input, Job

__all__ = ["TASKS", "cards_of"]

Task = Callable[["Job", "Cache"], None]
TASKS: Registry[Task] = Registry("task", "fullwell.tasks")
"""Name -> task; an outside package adds its own by an entry point of the group ``fullwell.tasks``."""


def cards_of(job: Job, products: Mapping[str, Product] | None = None) -> dict[str, Any]:
    """What the header of the output says: its id, run and data id, its inputs, recipe, settings and version.

    `products` : role -> calibration; their date is the time of the first frame that they were made of.
    """
    from fullwell.repo.provenance import cards

    out, told = job.outputs[0], job.context.get("inputs", {})
    dates = {role: {"date": p.observation.begin} for role, p in (products or {}).items() if p.observation.begin}
    inputs = [
        {"role": i.role, "id": i.id, "dataset_type": i.dataset_type, **told.get(i.id, {}), **dates.get(i.role, {})}
        for i in job.inputs
    ]
    return cards(
        dataset_id=out.id,
        run=str(job.context.get("run", "")),
        dataset_type=out.dataset_type,
        data_id=out.data_id,
        inputs=inputs,
        recipe=job.task,
        config_digest=str(job.context.get("config", "")),
        version=str(job.context.get("version", "")),
    )


def _product(path: str, kind: str, ident: str, cache: Cache) -> Product:
    """A calibration, read once by a worker."""
    from fullwell import io

    return cache.get((kind, ident), lambda: io.read_product(path, kind))


def products_of(job: Job, cache: Cache) -> dict[str, Product]:
    """The calibrations of a job by role."""
    return {
        i.role: _product(i.path, i.dataset_type, i.id, cache) for i in job.inputs if i.dataset_type != "raw"
    }  # fmt: skip


def _how(job: Job) -> dict[str, Any]:
    """How the raw files of a job are read: camera, its options, the detector of a file with several."""
    from fullwell import instruments, io
    from fullwell.instruments import CameraOptions

    config = job.config
    out: dict[str, Any] = {}
    camera = config.get("camera")
    if camera:
        out["instrument"] = io.read_camera(camera) if Path(camera).suffix else instruments.get(camera)
    if config.get("options"):
        out["options"] = CameraOptions(**config["options"])
    if config.get("detector") is not None:
        out["detector"] = config["detector"]
    return out


def _raw(job: Job, one: Input) -> dict[str, Any]:
    """How one raw file is read, checked to hold the frame that was entered.

    Raises
    ------
    HeaderError
        the file that has the path now is of another exposure or detector.
    """
    from fullwell import instruments, io
    from fullwell.repo.dimensions import identity
    from fullwell.repo.raws import observations

    how, told = _how(job), job.context.get("frames", {}).get(one.id)
    if told is None:
        return how
    headers = io.read_headers(one.path)
    found = [identity(o) for o in observations(headers, how.get("instrument") or instruments.identify(headers))]
    mine = [f for f in found if (f.exposure, f.detector) == (told["exposure"], told["detector"])]
    if not mine and not job.config.get("camera"):
        raise HeaderError(
            f"this file holds {', '.join(map(str, found))}; the repository has entered exposure {told['exposure']} of "
            f"detector {told['detector']} by this name",
            where=one.path,
            remedy="another file has taken its place: put the right one back",
        )
    if len(found) > 1 and mine:
        how["detector"] = mine[0].detector_name
    return how


def _workers(cache: Cache) -> tuple[Any, Any]:
    """The threads (one) and the digested calibrations of a worker."""
    from fullwell.conductor import Digests, Workers

    return cache.get("workers", lambda: Workers(1)), cache.get("digests", Digests)


def _settings(job: Job, recipe: str) -> dict[str, Any]:
    """Settings of the steps that `recipe` has; a camera of the full order runs the dormant ones too."""
    from fullwell.recipes import RECIPES

    chosen = RECIPES[recipe]
    out: dict[str, Any] = {name: {} for name in chosen.dormant} if job.config.get("full") else {}
    out.update({k: v for k, v in job.config.get("settings", {}).items() if k in chosen.steps})
    return out


def _off(job: Job, recipe: str, more: Sequence[str] = ()) -> list[str]:
    from fullwell.recipes import RECIPES

    return [s for s in (*job.config.get("off", ()), *more) if s in RECIPES[recipe].steps]


@TASKS.register("isr")
def isr_frame(job: Job, cache: Cache) -> None:
    """One raw frame to a calibrated one."""
    from fullwell.reduction import cut_out, isr_file

    workers, digests = _workers(cache)
    recipe = str(job.config.get("recipe", "generic"))
    products, source, output = products_of(job, cache), job.path("raw"), job.outputs[0].path
    how = _raw(job, next(i for i in job.inputs if i.role == "raw"))
    call: dict[str, Any] = {
        **how,
        "recipe": recipe,
        "settings": _settings(job, recipe),
        "off": _off(job, recipe),
        "workers": workers,
        "metadata": cards_of(job, products),
    }
    try:
        isr_file(source, output, products, digests=digests, **call)
    except GeometryError:
        from fullwell import io

        outline = io.read_outline(source, **how)
        if outline.observation.window is None:
            raise
        isr_file(source, output, {k: cut_out(p, outline) for k, p in products.items()}, **call)


def _corrected(
    job: Job,
    cache: Cache,
    role: str,
    recipe: str,
    products: Mapping[str, Product],
    off: Sequence[str] = (),
    only: str = "",
) -> Iterator[Frame]:
    """The raw frames of a role, or only the one of an id, through a recipe."""
    from fullwell import io
    from fullwell.reduction import isr

    workers, digests = _workers(cache)
    for one in job.inputs:
        if one.role != role or only not in ("", one.id):
            continue
        frame = io.read(one.path, **_raw(job, one))
        done = isr(
            frame,
            products,
            recipe=recipe,
            settings=_settings(job, recipe),
            off=_off(job, recipe, off),
            workers=workers,
            digests=digests,
        )
        yield replace(done, source=Path(one.path).name)


def _stack(
    job: Job, cache: Cache, role: str, recipe: str, products: Mapping[str, Product], off: Sequence[str] = ()
) -> list[Frame]:
    """All frames of a role, corrected, in memory up to a limit and then in unnamed files beside the output."""
    from fullwell.pipeline.spool import Spool

    spool = Spool(Path(job.outputs[0].path).parent, int(job.config.get("memory", 1024)) << 20)
    return [spool.keep(frame) for frame in _corrected(job, cache, role, recipe, products, off)]


def _write(job: Job, product: Product) -> None:
    """The product under its path, with what it was made of."""
    from fullwell import io

    cards = cards_of(job)
    inputs = tuple(i.id for i in job.inputs)
    io.write_product(replace(product, inputs=inputs, metadata={**product.metadata, **cards}), job.outputs[0].path)


@TASKS.register("gain")
def measure_gain(job: Job, cache: Cache) -> None:
    """Gain and read noise from pairs of flats and of bias frames."""
    from fullwell.measure import build_bias, match_pairs, pair_noise, pair_transfer, with_pixel_noise

    dark = _stack(job, cache, "bias_frames", "bias", {}, ("gain", "variance"))
    pairs = list(zip(dark[::2], dark[1::2], strict=False))
    bias: dict[str, Product] = {"bias": build_bias(dark)} if dark else {}
    flats = _stack(job, cache, "flat_frames", "flat", bias, ("gain", "variance"))
    found = match_pairs(flats, "level")
    if not found:
        raise DataError(
            f"no two of the {len(flats)} flats have the same level",
            where=f"{flats[0].source} and others" if flats else "",
            remedy="take flats in pairs of one level, or certify a gain that was measured elsewhere",
        )
    noise = pair_noise(pairs) if pairs else None
    gain, _ = pair_transfer(found, noise=noise)
    _write(job, with_pixel_noise(gain, pairs))


@TASKS.register("ptc")
def measure_ptc(job: Job, cache: Cache) -> None:
    """Photon transfer of all amplifiers: two flats are in memory at a time, whatever their number."""
    from fullwell import io
    from fullwell.measure import build_bias
    from fullwell.measure.pairing import pair_up
    from fullwell.measure.ptc import ExtractConfig, SolveConfig, measure_points, solve

    extract = load_config(ExtractConfig, job.config.get("points", {}), where="task 'ptc', settings 'points'")
    solver = load_config(SolveConfig, job.config.get("solve", {}), where="task 'ptc', settings 'solve'")
    products = products_of(job, cache)
    dark = _stack(job, cache, "bias_frames", "bias", products, ("gain", "variance"))
    if dark:
        products["bias"] = build_bias(dark)
    flats = [one for one in job.inputs if one.role == "flat_frames"]
    outlines = [io.read_outline(one.path, **_raw(job, one)) for one in flats]
    heads = [
        _Flat(one, Path(one.path).name, seen.observation, seen.metadata)
        for one, seen in zip(flats, outlines, strict=True)
    ]
    pairs, left = pair_up(heads)
    if not pairs:
        raise DataError(
            f"no two of the {len(flats)} flats are a pair: {left[0][1] if left else 'there are none'}",
            where=f"{heads[0].name} and others" if heads else "",
            remedy="take flats in pairs of one exposure time, or certify a photon transfer measured elsewhere",
        )

    def loading(flat: _Flat) -> Callable[[], Frame]:
        return lambda: next(_corrected(job, cache, "flat_frames", "ptc", products, only=flat.input.id))

    points = measure_points([(loading(a), loading(b)) for a, b in pairs], config=extract, biases=dark)
    found = solve(
        points,
        solver,
        pairs=[(_ident(a), _ident(b)) for a, b in pairs],
        observation=pairs[0][0].observation,
        notes=[f"Left out {name}: {why}." for name, why in left],
    )
    if not any(why == "" for why in found.status):
        raise DataError(f"no amplifier has a gain: {found.status[0]}", where=heads[0].name, remedy=_FEW)
    _write(job, found)


_FEW = "look at the points with fullwell ptc FILE..., which names what is wrong with each"


@dataclass(frozen=True)
class _Flat:
    """A flat that is to be paired by its header."""

    input: Input
    name: str
    observation: Observation
    metadata: Mapping[str, Any]


def _ident(flat: _Flat) -> str:
    """The id of an exposure, its name where the header has none."""
    return str(flat.observation.exposure_id) if flat.observation.exposure_id > 0 else flat.name


@TASKS.register("bias")
def make_bias(job: Job, cache: Cache) -> None:
    """Combined bias."""
    from fullwell.measure import build_bias

    _write(job, build_bias(_stack(job, cache, "bias_frames", "bias", products_of(job, cache))))


@TASKS.register("dark")
def make_dark(job: Job, cache: Cache) -> None:
    """Combined dark, per second."""
    from fullwell.measure import build_dark

    products = products_of(job, cache)
    biases = [p for p in products.values() if isinstance(p, Bias)]
    _write(job, build_dark(_stack(job, cache, "dark_frames", "dark", products), biases=biases))


@TASKS.register("flat")
def make_flat(job: Job, cache: Cache) -> None:
    """Combined flat of one filter."""
    from fullwell.measure import build_flat

    _write(job, build_flat(_stack(job, cache, "flat_frames", "flat", products_of(job, cache))))


@TASKS.register("defects")
def find_defects(job: Job, cache: Cache) -> None:
    """Defects of the combined bias, dark and flats."""
    from fullwell.measure import build_defects

    found: dict[str, list[Any]] = {"bias": [], "dark": [], "flat": []}
    for one in job.inputs:
        if one.dataset_type in found:
            product = _product(one.path, one.dataset_type, one.id, cache)
            found[one.dataset_type].append(replace(product, source=Path(one.path).name))
    if not found["dark"] and not found["flat"]:
        raise MissingProduct("there is neither a dark nor a flat to find defects in", remedy="build one of them first")
    _write(job, build_defects(darks=found["dark"], flats=found["flat"], biases=found["bias"]))
