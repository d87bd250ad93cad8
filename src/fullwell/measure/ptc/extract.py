"""Points of all amplifiers from a series of pairs of flats, two frames in memory at a time.

A pair is loaded when its turn comes and let go of before the next: the memory is that of two frames, however many pairs
there are. Amplifiers of a pair are measured in threads. A pair that cannot be read, and an amplifier that cannot be
measured, become points with a reason; nothing stops the others and every amplifier has one point per pair.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fullwell.base.errors import DataError, FullwellError, UsageError
from fullwell.cameras import Box
from fullwell.frames import Frame
from fullwell.measure.levels import amplifier_boxes
from fullwell.measure.ptc.area import evenly_lit
from fullwell.measure.ptc.checks import checked
from fullwell.measure.ptc.config import ExtractConfig
from fullwell.measure.ptc.noise import bias_noise, overscan_numbers
from fullwell.measure.ptc.points import PairValues, empty, measure_pair
from fullwell.products import Points

__all__ = ["ExtractConfig", "FlatSource", "PairSource", "measure_points"]

FlatSource: TypeAlias = Frame | Path | str | Callable[[], Frame]
PairSource: TypeAlias = tuple[FlatSource, FlatSource] | Callable[[], tuple[Frame, Frame]]
Measure: TypeAlias = Callable[..., Any]
NAN = math.nan


@dataclass(frozen=True)
class Entry:
    """One amplifier of one pair: `values` of the pixels, and the `numbers` of its frames."""

    values: PairValues
    numbers: Mapping[str, float]


def load_flat(source: FlatSource) -> Frame:
    """The frame of a source: itself, called for, or read from a file (a corrected frame)."""
    if isinstance(source, Frame):
        return source
    if isinstance(source, (str, os.PathLike)):
        from fullwell.io import read

        return read(Path(source))
    return source()


def load_pair(source: PairSource) -> tuple[Frame, Frame]:
    """The two frames of a source of a pair; UsageError where they are not two."""
    both = source() if callable(source) else source
    if not isinstance(both, Sequence) or len(both) != 2:
        raise UsageError("a pair has two flats", where=f"{type(both).__name__}", remedy="give tuples of two frames")
    return load_flat(both[0]), load_flat(both[1])


def measure_points(
    pairs: Iterable[PairSource],
    *,
    config: ExtractConfig | None = None,
    jobs: int = 1,
    biases: Sequence[FlatSource] | None = None,
    noise: float | Mapping[str, Any] | None = None,
) -> tuple[Points, ...]:
    """The points of every amplifier, one per pair, in the order of the pairs.

    Parameters
    ----------
    pairs : pairs of frames, of paths of corrected frames, or of functions that return a frame; or functions that
        return two. Frames assembled, in adu above the overscan, not divided by a flat. Loaded one pair at a time.
    jobs : threads over the amplifiers of a pair.
    biases : bias frames corrected like the flats, in order of pairs, for the read noise where no overscan gives it.
    noise : read noise [adu] where neither gives it: of all, or by amplifier, value or (value, error); see
        `config.noise`.

    Returns
    -------
    One `Points` per amplifier of the detector, in its order; an image without a detector is amplifier "0".

    Raises
    ------
    UsageError
        no pair at all. DataError : none of the pairs could be read.
    """
    cfg = config or ExtractConfig()
    series = PointSeries(cfg)
    source = iter(pairs)
    with ThreadPoolExecutor(jobs) if jobs > 1 else nullcontext() as pool:
        for pair in source:
            series.add(pair, pool)
            del pair
    found = _bias_noise(biases or (), series, cfg)
    return series.points(found, {} if noise is None else noise)


class PointSeries:
    """Points as they are gathered, pair by pair.

    Attributes
    ----------
    boxes : of the amplifiers, once a pair was read. entries : per pair amplifier -> `Entry`, or why it was not read.
    """

    def __init__(self, config: ExtractConfig) -> None:
        self.config = config
        self.boxes: dict[str, Box] = {}
        self.entries: list[dict[str, Entry] | str] = []
        self._lit: dict[str, NDArray[np.bool_]] = {}
        self._shape: tuple[Any, ...] = ()

    def add(self, source: PairSource, pool: Executor | None = None) -> None:
        """Load a pair, measure it, and keep numbers only."""
        try:
            one, two = load_pair(source)
            self._begin(one)
            self._fits(one, two)
        except (FullwellError, OSError) as error:
            self.entries.append(f"the pair could not be used: {getattr(error, 'problem', error)}")
            return
        numbers = _numbers_of(one, two, self.config.charge_key)
        wrong = _wrong_pair(one, two)

        def work(name: str) -> Entry:
            values = empty(self.config.lags, wrong) if wrong else self._measure(name, one, two)
            return Entry(values, numbers | overscan_numbers(one, two, name))

        if self.config.level == "detector":
            first = work(next(iter(self.boxes)))
            found = [Entry(first.values, numbers | overscan_numbers(one, two, name)) for name in self.boxes]
        else:
            found = list((pool.map if pool else map)(work, self.boxes))
        self.entries.append(dict(zip(self.boxes, found, strict=True)))

    def _begin(self, frame: Frame) -> None:
        """Boxes and evenly lit pixels, from the first frame that could be read."""
        if self.boxes:
            return
        cfg = self.config
        region = None if cfg.region is None else Box(*cfg.region)
        self._shape = (frame.box, frame.detector.name if frame.detector else "")
        if cfg.level == "detector":
            names = frame.detector.names if frame.detector else ("0",)
            whole = amplifier_boxes(None, frame.box, region, edge=cfg.edge)["0"]
            self.boxes = dict.fromkeys(names, whole)
        else:
            self.boxes = amplifier_boxes(
                frame.detector, frame.box, region, edge=cfg.edge if cfg.edge_of == "amplifier" else 0
            )
            if cfg.edge and cfg.edge_of == "detector":
                inner = amplifier_boxes(None, frame.box, edge=cfg.edge)["0"]
                self.boxes = {name: box.intersection(inner) for name, box in self.boxes.items()}
        if cfg.vignetting:
            self._lit = {name: _evenly_lit(frame, box, cfg) for name, box in self.boxes.items() if box.area}

    def _fits(self, one: Frame, two: Frame) -> None:
        """Both frames show the detector of the series, in adu."""
        for frame in (one, two):
            if frame.unit not in ("adu", ""):
                raise DataError(f"{_name(frame)} is in {frame.unit}, not adu", remedy="switch the gain step off")
            if (frame.box, frame.detector.name if frame.detector else "") != self._shape:
                raise DataError(f"{_name(frame)} has another size, window or detector than the first pair")

    def _measure(self, name: str, one: Frame, two: Frame) -> PairValues:
        """One amplifier of a pair."""
        box, cfg = self.boxes[name], self.config
        if not box.area:
            return empty(cfg.lags, "no pixel of the amplifier is in the region")
        a, b = one[box], two[box]
        good = self._lit.get(name)
        saturated = 0
        if a.mask is not None or b.mask is not None:
            good, saturated = _usable(a, b, good, cfg.masked)
        found = measure_pair(a.image.array, b.image.array, good, config=cfg, saturated=saturated)
        times = (a.observation.exposure_time, b.observation.exposure_time)
        if found.reason and abs(found.delta) > cfg.mismatch * found.mean and not math.isclose(*times, rel_tol=0.01):
            return replace(found, reason=f"wrong pair: exposure times {times[0]:g} and {times[1]:g} s; {found.reason}")
        return found

    def points(self, bias: Mapping[str, tuple[float, float]], given: float | Mapping[str, Any]) -> tuple[Points, ...]:
        """All that was gathered, with the checks that look at the whole series."""
        if not self.entries:
            raise UsageError("there is no pair of flats", remedy="take two flats of each exposure time")
        if not self.boxes:
            raise DataError(
                f"none of the {len(self.entries)} pairs could be read", where=str(self.entries[0]),
                remedy="'fullwell show' tells what is in a file",
            )  # fmt: skip
        stated = given if isinstance(given, Mapping) else dict.fromkeys(self.boxes, given)
        made = [self._of_amplifier(name, bias.get(name), stated.get(name)) for name in self.boxes]
        return checked(made, self.config)

    def _of_amplifier(self, name: str, bias: tuple[float, float] | None, given: Any) -> Points:
        """The points of one amplifier, not yet compared with the others."""
        lost = dict.fromkeys(NUMBERS, NAN)
        rows = [
            Entry(empty(self.config.lags, e), lost) if isinstance(e, str) else e[name] for e in self.entries
        ]  # fmt: skip
        values, numbers = [r.values for r in rows], [r.numbers for r in rows]
        noise = np.array([[n["noise"], n["noise_error"]] for n in numbers])
        noise = chosen_noise(noise, bias, given, self.config.noise)
        columns = np.array([v.columns for v in values])
        factors = [v.factor for v in values if math.isfinite(v.variance)]
        return Points(
            amp=name,
            **{key: np.array([getattr(v, key) for v in values]) for key in MEASURED},
            **{key: np.array([n[key] for n in numbers]) for key in NUMBERS if not key.startswith("noise")},
            noise=noise[:, 0],
            noise_error=noise[:, 1],
            covariance=np.stack([v.covariance for v in values]),
            pixels=np.stack([v.pixels for v in values]),
            columns=float(np.nanmean(columns)) if np.isfinite(columns).any() else NAN,
            reasons=tuple(v.reason for v in values),
            notes=tuple("; ".join(v.notes) for v in values),
            clip_factor=factors[0] if factors else 1.0,
        )


MEASURED = (
    *("mean", "delta", "variance", "variance_error", "raw_variance", "ratio", "ratio_error", "ratio_median"),
    *("row_variance", "ks", "hist_variance", "hist_chi2", "rejected"),
)
NUMBERS = ("exposure_time", "charge", "mjd", "temperature", "overscan", "noise", "noise_error")


def chosen_noise(
    overscan: NDArray[np.float64], bias: tuple[float, float] | None, given: Any, choice: str
) -> NDArray[np.float64]:
    """(n, 2) read noise and error of each pair: of the overscan, else of bias pairs, else as given; or of one only."""
    fixed = (float(given), NAN) if isinstance(given, (int, float)) else given
    out = np.full(overscan.shape, np.nan)
    for origin, values in (("overscan", overscan), ("bias", bias), ("given", fixed)):
        if choice in ("auto", origin) and values is not None:
            new = np.broadcast_to(np.asarray(values, np.float64), out.shape)
            out = np.where(np.isfinite(out[:, :1]), out, new)
    return out


def _bias_noise(
    biases: Sequence[FlatSource], series: PointSeries, cfg: ExtractConfig
) -> dict[str, tuple[float, float]]:
    """Read noise of each amplifier from bias frames in order of pairs, two in memory at a time."""
    if not series.boxes or cfg.noise not in ("auto", "bias"):
        return {}
    found: list[dict[str, tuple[float, float]]] = []
    for first, second in zip(biases[::2], biases[1::2], strict=False):
        one, two = load_flat(first), load_flat(second)
        found.append(bias_noise(one, two, series.boxes, cfg))
        del one, two
    out = {}
    for name in series.boxes if found else ():
        squares = np.array([f[name] for f in found])
        value = math.sqrt(float(np.mean(squares[:, 0] ** 2)))
        out[name] = (value, float(np.sqrt(np.sum(squares[:, 1] ** 2))) / len(found))
    return out


def _name(frame: Frame) -> str:
    return frame.source or frame.observation.obs_id or "a frame"


def _numbers_of(one: Frame, two: Frame, charge_key: str) -> dict[str, float]:
    """Exposure time, light, time and temperature of a pair: means of the two, the time that of the first."""
    a, b = one.observation, two.observation
    charge = NAN
    if charge_key:
        values = [frame.metadata.get(charge_key) for frame in (one, two)]
        if all(isinstance(v, (int, float)) for v in values):
            charge = float(np.mean(np.array(values, np.float64)))
    times = [t for t in (a.mjd, b.mjd) if math.isfinite(t)]
    return {
        "exposure_time": (a.exposure_time + b.exposure_time) / 2,
        "temperature": (a.temperature + b.temperature) / 2,
        "charge": charge,
        "mjd": min(times) if times else NAN,
    }


def _wrong_pair(one: Frame, two: Frame) -> str:
    """Why the headers say that two frames are no pair of flats, "" if they do not."""
    a, b = one.observation, two.observation
    for frame in (one, two):
        if frame.observation.kind in ("bias", "dark", "arc"):
            return f"{_name(frame)} is a {frame.observation.kind} frame, no flat"
    if a.filter != b.filter:
        return f"wrong pair: filters {a.filter or 'none'} and {b.filter or 'none'}"
    return ""


def _usable(a: Frame, b: Frame, lit: NDArray[np.bool_] | None, planes: Sequence[str]) -> tuple[NDArray[np.bool_], int]:
    """Pixels of two frames that carry none of `planes`, and how many are saturated in either."""
    good = np.ones(a.shape, np.bool_) if lit is None else lit.copy()
    saturated = np.zeros(a.shape, np.bool_)
    for mask in (a.mask, b.mask):
        if mask is None or not mask.array.any():
            continue
        hit = mask.any_of([p for p in planes if p in mask.schema])
        if hit.any():
            good &= ~hit
            saturated |= mask["SAT"]
    return good, int(np.count_nonzero(saturated))


def _evenly_lit(frame: Frame, box: Box, cfg: ExtractConfig) -> NDArray[np.bool_]:
    """Pixels of an amplifier with nearly the most light that the vignetting leaves."""
    if frame.detector is None:
        raise UsageError("the vignetting needs a camera with a focal plane", remedy="name the camera")
    y, x = np.mgrid[box.slices]
    u, v = frame.detector.to_focal_plane(x, y)
    return evenly_lit(np.hypot(u, v) / 1000.0, cfg.vignetting, cfg.vignetting_drop, cfg.vignetting_pixels)[0]
