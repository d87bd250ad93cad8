"""Calibrations from the frames of one set-up: noise and gain from pairs, then bias, darks, flats, defects.

The order of dependence: overscan needs nothing; the read noise needs bias pairs (or the overscan); the
gain needs flat pairs; the combined bias, darks and flats are then made in electron where the gain is
known, else in adu.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from fullwell.base.errors import FullwellError, MissingProduct
from fullwell.base.progress import progress
from fullwell.conductor import Digests, Workers
from fullwell.frames import Frame
from fullwell.journeys.night import Item, Night, ReduceOptions, Setup
from fullwell.journeys.spool import Spool
from fullwell.products import Bias, Dark, Defects, Flat, Gain, Product
from fullwell.reduction import cut_out, differences, isr, match

__all__ = ["Calibrations", "Desk", "calibrate"]


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
        """The products of `kinds` that belong to `frame`, cut to its window; a kind of which none was made is left out.

        Raises
        ------
        MissingProduct
            products of a kind exist, and none agrees.
        """
        out: dict[str, Product] = {} if self.gain is None else {"gain": self.gain}
        if self.flat_darks:
            out["bias"] = cut_out(self._flat_dark(frame, tuple(accept)), frame)
        for kind in kinds:
            candidates: list[Any] = getattr(self, kind)
            if candidates:
                out[kind] = cut_out(match(kind, candidates, frame, tuple(accept)), frame)
        return out

    def _flat_dark(self, frame: Frame, accept: tuple[str, ...]) -> Bias:
        """The combined dark, bias included, of the exposure time of `frame`."""
        time = _dark_time(frame)
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
    desk.recipe_of = next(i.instrument.recipe for i in night.items if Setup.of(i.observation) == setup)
    bias_frames = _corrected(night.of("bias", setup), desk, made, {}, "bias", off=("gain", "variance"))
    used = _as_cold(bias_frames, night, setup)
    noise = _noise(used, made)
    flats = _flat_frames(night, setup, desk, made, bias_frames)
    made.gain = _gain(night, setup, desk, made, flats, noise)
    if made.gain is not None and used:
        made.gain = _own_noise(made.gain, used)
    electron = made.gain is not None and np.isfinite(made.gain.gain).all()
    if not electron:
        made.notes.append(
            "The gain is not known: there is no pair of flats of one filter, no --gain, and no plausible gain in the "
            "headers. Frames stay in adu and their variance has no Poisson term."
        )
    _build_bias(night, setup, desk, made)
    _build_darks(night, setup, desk, made)
    _build_flats(night, setup, desk, made)
    _build_defects(desk, made)
    return made


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


def _noise(frames: Sequence[Frame], made: Calibrations) -> Mapping[str, tuple[float, float]]:
    """Read noise of each amplifier [adu] and its error, from pairs of bias frames of one temperature; {} if none.

    A single bias frame gives the scatter between neighbours of a row, which holds its fixed pattern too.
    """
    from fullwell.measure import pair_noise

    pairs = _bias_pairs(frames)
    if pairs:
        made.notes.append(f"Read noise from {len(pairs)} pair{'s' if len(pairs) > 1 else ''} of bias frames.")
        return pair_noise(pairs)
    if not frames:
        return {}
    made.notes.append(
        "Read noise from the scatter between neighbours in one bias frame: an upper limit, since it holds the fixed "
        "pattern. Two bias frames would give it without."
    )
    return _single_noise(frames[0])


def _single_noise(frame: Frame) -> Mapping[str, tuple[float, float]]:
    from fullwell.measure import statistics

    out = {}
    detector = frame.detector
    assert detector is not None
    for amp in detector:
        part = frame[amp.trimmed]
        good = part.good()
        step = np.diff(part.image.array.astype(float), axis=1)
        found = statistics(step, ~(good[:, 1:] & good[:, :-1]))
        value = found.sigma / math.sqrt(2)
        # neighbouring steps share a pixel: their variances are correlated by 1/4, which adds half to the variance
        out[amp.name] = (value, value * math.sqrt(1.5) / math.sqrt(2 * max(found.count, 1)))
    return out


def _own_noise(gain: Gain, frames: Sequence[Frame]) -> Gain:
    """The gain with the noise of single pixels where an overscan value per row was subtracted.

    The gain itself needs the noise of the frames as they are, which holds the error of that value; the variance of
    a pixel gets that error from the overscan step, so that here it must not be counted again.
    """
    from fullwell.measure import pair_noise

    record = frames[0].last("overscan_serial")
    pairs = _bias_pairs(frames)
    if not pairs or record is None or record.state != "done" or "per_row" not in str(record.config.get("method")):
        return gain
    own = pair_noise(pairs, centre_rows=True)
    value = np.array([own[name].value for name in gain.amps])
    error = np.array([own[name].error for name in gain.amps])
    spread = np.nan_to_num(gain.gain_error)
    return replace(
        gain,
        read_noise=gain.gain * value,
        read_noise_error=np.hypot(gain.gain * error, value * spread),
        read_noise_adu=value,
        id="",
    )


def _bias_pairs(frames: Sequence[Frame]) -> list[tuple[Frame, Frame]]:
    """Successive frames of one temperature, each in one pair."""
    return [p for group in _by_temperature(frames) for p in zip(group[::2], group[1::2], strict=False)]


def _as_cold(frames: Sequence[Frame], night: Night, setup: Setup) -> list[Frame]:
    """Bias frames of the temperature of the flats, else of the science frames; all where none has it."""
    wanted = [i.observation for kind in ("flat", "science") for i in night.of(kind, setup)]
    for obs in wanted[:1]:
        alike = [
            f for f in frames if not any(d.field == "temperature" for d in differences("bias", f.observation, obs))
        ]
        if alike:
            return alike
    return list(frames)


def _by_temperature(frames: Sequence[Frame]) -> list[list[Frame]]:
    """Frames grouped by set temperature (or measured one, to 2 C), in order."""
    groups: dict[float, list[Frame]] = {}
    for frame in frames:
        obs = frame.observation
        t = (
            obs.set_temperature
            if math.isfinite(obs.set_temperature)
            else 2 * round(obs.temperature / 2)
            if math.isfinite(obs.temperature)
            else math.nan
        )
        key = next((k for k in groups if k == t or (math.isnan(k) and math.isnan(t))), t)
        groups.setdefault(key, []).append(frame)
    return list(groups.values())


def _flat_frames(
    night: Night, setup: Setup, desk: Desk, made: Calibrations, bias_frames: Sequence[Frame]
) -> list[Frame]:
    """Flats in adu above the bias, for the gain."""
    from fullwell.measure import build_bias

    biases = [build_bias(group) for group in _by_temperature(bias_frames)]

    def products(frame: Frame) -> dict[str, Product]:
        return {"bias": match("bias", biases, frame, desk.options.accept)} if biases else {}

    return _corrected(night.of("flat", setup), desk, made, products, "flat", off=("gain", "variance"))


def _gain(
    night: Night,
    setup: Setup,
    desk: Desk,
    made: Calibrations,
    flats: Sequence[Frame],
    noise: Mapping[str, tuple[float, float]],
) -> Gain | None:
    """By option, else measured from pairs, else from the header with a note, else the camera's, else none."""
    from fullwell.measure import pair_gain

    detector = _detector(night, setup, desk)
    options = desk.options
    names = detector.names
    header = next((i.observation for i in night.items if Setup.of(i.observation) == setup), None)
    read_noise_adu = np.array([noise.get(n, (math.nan, 0.0))[0] for n in names])
    if options.gain is not None:
        return _fixed(names, options.gain, options.read_noise, read_noise_adu, "option", options.saturation)
    pairs = flat_pairs(flats)
    if pairs:
        gain = pair_gain(pairs, noise=noise or None)
        made.pairs = len(pairs)
        made.points = _points(pairs)
        made.notes.append(f"Gain from {len(pairs)} pair{'s' if len(pairs) > 1 else ''} of flats.")
        if header is not None and math.isfinite(header.header_gain):
            off = float(np.median(gain.gain)) / header.header_gain - 1
            made.notes.append(
                f"The header says {header.header_gain:g} e-/adu; the measured gain, {off:+.1%} from it, is used."
            )
        return gain
    if header is not None and math.isfinite(header.header_gain):
        made.notes.append(
            f"Gain {header.header_gain:g} e-/adu taken from the header ({header.sources.get('header_gain', 'GAIN')}): "
            "there is no pair of flats to measure it."
        )
        own = options.read_noise if options.read_noise is not None else header.header_read_noise
        return _fixed(names, header.header_gain, own, read_noise_adu, "header", options.saturation)
    if np.isfinite(detector.values("gain")).all():
        return Gain.of_detector(detector)
    nan = np.full(len(names), np.nan)
    if not np.isfinite(read_noise_adu).any():
        return None
    return Gain(
        amps=names, gain=nan, gain_error=nan, read_noise=nan, read_noise_error=nan, read_noise_adu=read_noise_adu,
        estimator="none",
    )  # fmt: skip


def _points(pairs: Sequence[tuple[Frame, Frame]]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Amplifier -> (means [adu], variances of one image [adu2]) of the pairs, for the figure."""
    from fullwell.measure.pairs import pair_point

    detector = pairs[0][0].detector
    assert detector is not None
    out = {}
    for amp in detector:
        found = [
            pair_point(
                a.image[amp.trimmed].array, b.image[amp.trimmed].array, (a.good() & b.good())[amp.trimmed.slices]
            )
            for a, b in pairs
        ]
        means = [(p.mean1 + p.mean2) / 2 for p in found]
        out[amp.name] = np.array(means), np.array([p.variance / (1 + p.ratio**2) for p in found])
    return out


def _fixed(
    names: tuple[str, ...],
    gain: float,
    read_noise: float | None,
    measured_adu: np.ndarray,
    estimator: str,
    saturation: float | None,
) -> Gain:
    n = len(names)
    nan = np.full(n, np.nan)
    stated = nan if read_noise is None else np.full(n, float(read_noise))
    return Gain(
        amps=names,
        gain=np.full(n, gain),
        gain_error=nan,
        read_noise=np.where(np.isfinite(measured_adu), measured_adu * gain, stated),
        read_noise_error=nan,
        saturation=None if saturation is None else np.full(n, saturation),
        estimator=estimator,
    )


def _detector(night: Night, setup: Setup, desk: Desk) -> Any:
    for item in night.items:
        if Setup.of(item.observation) == setup:
            detector = desk.read(item).detector
            assert detector is not None
            return detector
    raise MissingProduct(f"no frame of {setup}")


def flat_pairs(flats: Sequence[Frame], mismatch: float = 0.1) -> list[tuple[Frame, Frame]]:
    """Pairs of consecutive flats of one filter whose levels agree to `mismatch`; each flat is used once."""
    by_filter: dict[str, list[Frame]] = {}
    for frame in flats:
        by_filter.setdefault(frame.observation.filter, []).append(frame)
    pairs = []
    for group in by_filter.values():
        levels = [float(np.median(f.image.array)) for f in group]
        i = 0
        while i + 1 < len(group):
            a, b = levels[i], levels[i + 1]
            if min(a, b) > 0 and abs(a - b) <= mismatch * max(a, b):
                pairs.append((group[i], group[i + 1]))
                i += 2
            else:
                i += 1
    return pairs


def _build_bias(night: Night, setup: Setup, desk: Desk, made: Calibrations) -> None:
    from fullwell.measure import build_bias

    products: dict[str, Product] = {} if made.gain is None else {"gain": made.gain}
    frames = _corrected(night.of("bias", setup), desk, made, products, "bias")
    for group in _by_temperature(frames):
        made.bias.append(build_bias(group))
    if not frames:
        made.notes.append("There are no bias frames: what the overscan leaves of the bias is not subtracted.")


def _build_darks(night: Night, setup: Setup, desk: Desk, made: Calibrations) -> None:
    from fullwell.measure import build_dark

    items = night.of("dark", setup)
    bare = not made.bias and not _overscanned(items, desk, made)
    recipe = "bias" if bare else "dark"
    frames = _corrected(items, desk, made, lambda f: made.for_frame(f, ("bias",), desk.options.accept), recipe)
    for group in _by_temperature(frames):
        if bare:
            _build_flat_darks(group, made)
        else:
            made.dark.append(build_dark(group))


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

    for time in sorted({_dark_time(f) for f in frames}):
        made.flat_darks.append(build_bias([f for f in frames if _dark_time(f) == time]))
    made.notes.append(
        "There are neither bias frames nor an overscan: darks hold the bias and cannot be scaled. They are subtracted "
        "as they are, bias and dark together, from frames of the same exposure time."
    )


def _dark_time(frame: Frame) -> float:
    obs = frame.observation
    return obs.dark_time if math.isfinite(obs.dark_time) else obs.exposure_time


def _build_flats(night: Night, setup: Setup, desk: Desk, made: Calibrations) -> None:
    from fullwell.measure import build_flat

    def products(frame: Frame) -> dict[str, Product]:
        return made.for_frame(frame, ("bias", "dark"), desk.options.accept)

    frames = _corrected(night.of("flat", setup), desk, made, products, "flat")
    for name in sorted({f.observation.filter for f in frames}):
        group = [f for f in frames if f.observation.filter == name]
        try:
            made.flat.append(build_flat(group))
        except FullwellError as err:
            made.notes.append(f"No flat for filter {name or '(none)'}: {err.problem}.")


def _build_defects(desk: Desk, made: Calibrations) -> None:
    from fullwell.measure import build_defects

    if made.dark or made.flat:
        made.defects.append(build_defects(darks=made.dark, flats=made.flat, biases=made.bias))
