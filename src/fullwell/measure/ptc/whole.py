"""The whole measurement in one call: pairs of flats in, the product out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from fullwell.base.errors import UsageError
from fullwell.frames import Frame, Observation, Plane
from fullwell.measure.ptc.config import ExtractConfig
from fullwell.measure.ptc.extract import load_pair, measure_points
from fullwell.measure.ptc.solve import SolveConfig, solve
from fullwell.products import Ptc

__all__ = ["photon_transfer"]


def photon_transfer(
    pairs: Iterable[Any],
    *,
    biases: Sequence[Any] | None = None,
    noise: float | Mapping[str, Any] | None = None,
    config: ExtractConfig | None = None,
    solver: SolveConfig | None = None,
    jobs: int = 1,
) -> Ptc:
    """Photon transfer of pairs of flats: gain, read noise, turnoff, covariances, every estimator and why they differ.

    Parameters
    ----------
    pairs : pairs of corrected frames, of their paths, of functions that return one, or of plain arrays (ny, nx) [adu]
        above the pedestal; or a flat list of an even number of them, paired in order. One pair is in memory at a time.
    biases : bias frames corrected like the flats, in order of pairs, for the read noise where no overscan gives it.
    noise : read noise [adu] where neither gives it: a number, or amplifier -> value or (value, error).
    config, solver : settings of the measurement and of the fits; jobs : threads over amplifiers.

    Returns
    -------
    Ptc

    Raises
    ------
    UsageError
        no pair, or a list of an odd number of flats. DataError : none of the pairs could be read.
    """
    names: list[tuple[str, str]] = []
    seen: list[Observation] = []

    def loaded() -> Iterator[tuple[Frame, Frame]]:
        for pair in _pairs(pairs):
            one, two = (_frame(f) for f in pair) if _arrays(pair) else load_pair(pair)
            names.append((_name(one), _name(two)))
            seen.append(one.observation)
            yield one, two

    points = measure_points(loaded(), config=config, jobs=jobs, biases=biases, noise=noise)
    inputs = tuple(name for pair in names for name in pair)
    return solve(points, solver, pairs=names, observation=seen[0] if seen else None, inputs=inputs)


def _arrays(pair: Any) -> bool:
    return isinstance(pair, Sequence) and all(isinstance(f, np.ndarray) for f in pair)


def _frame(array: np.ndarray[Any, Any]) -> Frame:
    return Frame(Plane(np.asarray(array, np.float32), unit="adu"))


def _pairs(given: Iterable[Any]) -> Iterator[Any]:
    """Pairs as they are; single flats two by two."""
    waiting: list[Any] = []
    for item in given:
        single = isinstance(item, (Frame, str)) or hasattr(item, "__fspath__") or getattr(item, "ndim", 0) == 2
        if not single:
            yield item
            continue
        waiting.append(item)
        if len(waiting) == 2:
            yield tuple(waiting)
            waiting = []
    if waiting:
        raise UsageError("one flat is without a partner", remedy="give pairs, or an even number of flats")


def _name(frame: Frame) -> str:
    return frame.source or frame.observation.obs_id or "array"
