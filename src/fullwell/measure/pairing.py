"""Which frames belong together in pairs: those that had the same light.

`match_pairs` looks at the pixels of frames in memory; `pair_up` at headers alone, before a pixel is read.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol, TypeAlias, TypeVar

import numpy as np

from fullwell.base.errors import UsageError
from fullwell.frames import Frame, Observation
from fullwell.measure.levels import statistics

__all__ = ["Header", "Pair", "PairRule", "as_pairs", "match_pairs", "name_of", "pair_up"]

Pair = tuple[Frame, Frame]
PairRule: TypeAlias = Literal["auto", "exposure", "flux", "group", "order", "given"]


class Header(Protocol):
    """What pairing needs to know of a file: a name for messages, and what its header says."""

    @property
    def name(self) -> str:
        """File name or id, unique in the list."""

    @property
    def observation(self) -> Observation:
        """Times, filter, group."""

    @property
    def metadata(self) -> Mapping[str, Any]:
        """Keywords."""


H = TypeVar("H", bound=Header)


def as_pairs(first: Any, second: Frame | None, what: str) -> list[Pair]:
    """Pairs of two frames, of pairs, or of frames paired in order, once they are of one size and unit.

    Raises
    ------
    UsageError
        no pair, or frames that differ in box or unit; `what` ("flat", "bias") is named.
    """
    if isinstance(first, Frame):
        if second is None:
            raise UsageError(f"a pair needs two {what} frames")
        first = [(first, second)]
    pairs = list(first)
    if pairs and isinstance(pairs[0], Frame):
        pairs = list(zip(pairs[::2], pairs[1::2], strict=False))
    if not pairs:
        raise UsageError(f"there is no pair of {what} frames", remedy=f"take two {what} frames of the same setting")
    a = pairs[0][0]
    for b in [f for pair in pairs for f in pair]:
        if a.box != b.box or a.unit != b.unit:
            raise UsageError(
                f"the {what} frames differ: {a.box} {a.unit}, {b.box} {b.unit}",
                where=f"{name_of(a)}, {name_of(b)}",
                remedy="pair frames of one size, window and unit",
            )
    return pairs


def name_of(frame: Frame) -> str:
    """File or id of a frame, for messages."""
    return frame.source or frame.observation.obs_id or "frame"


def match_pairs(
    flats: Sequence[Frame], rule: Literal["exposure", "level"] = "exposure", mismatch: float | None = None
) -> list[Pair]:
    """Pairs of flats of one filter that had the same light; each flat is in one pair at most.

    Frames are taken in order of time where they all have one, else as given.

    Parameters
    ----------
    rule : "exposure": one exposure time and one level, as a lamp gives it; frames of other times may lie between.
        "level": consecutive frames of one level, whatever their times, as in twilight.
    mismatch : largest difference of two levels, relative to the larger; default 0.02 with "exposure", else 0.1.
    """
    order = list(flats)
    limit = {"exposure": 0.02, "level": 0.1}[rule] if mismatch is None else mismatch
    if all(math.isfinite(f.observation.mjd) for f in order):
        order.sort(key=lambda f: f.observation.mjd)
    level = {id(f): statistics(f.image.array[:: max(1, f.shape[0] // 256)], sigma=np.inf).median for f in order}
    waiting: dict[tuple[str, float], Frame] = {}
    pairs = []
    for frame in order:
        time = frame.observation.exposure_time if rule == "exposure" else math.nan
        key = (frame.observation.filter, round(time, 2) if math.isfinite(time) else -1.0)
        other = waiting.pop(key, None)
        if other is None:
            waiting[key] = frame
            continue
        a, b = level[id(other)], level[id(frame)]
        if min(a, b) > 0 and abs(a - b) <= limit * max(a, b):
            pairs.append((other, frame))
        else:
            waiting[key] = frame
    return pairs


def pair_up(
    items: Sequence[H],
    rule: str = "auto",
    *,
    flux_key: str = "",
    given: Sequence[tuple[str, str]] = (),
    tolerance: float = 0.005,
    relative: float = 0.0,
    flux_tolerance: float = 1e-3,
) -> tuple[list[tuple[H, H]], list[tuple[str, str]]]:
    """Pairs of flats by their headers, and those left over as (name, reason).

    Frames are paired within one detector, filter, binning, window and readout mode. A set of n frames of the same light
    gives n//2 pairs that share no frame, those next to each other in time; pairs come in order of time.

    Parameters
    ----------
    rule : "exposure": exposure times that agree; "flux": the values of keyword `flux_key`; "group": the group of the
        header; "order": first with second, third with fourth, as given; "given": the names in `given`; "auto": given
        where there is a list, flux where there is a keyword, else exposure, else group or order where no time is known.
    tolerance : of exposure times [s], or `relative` to them where that is more.
    flux_tolerance : of the values of `flux_key`, relative.

    Raises
    ------
    UsageError
        a rule that is none, "flux" without keyword, or a name in `given` that no file has.
    """
    if rule == "auto":
        timed = any(math.isfinite(i.observation.exposure_time) for i in items)
        untimed = "group" if any(i.observation.group for i in items) else "order"
        rule = "given" if given else "flux" if flux_key else "exposure" if timed else untimed
    if rule == "given":
        return _as_given(items, given)
    if rule not in ("exposure", "flux", "group", "order") or (rule == "flux" and not flux_key):
        raise UsageError(
            f"there is no rule '{rule}' of pairing" if rule != "flux" else "the rule 'flux' needs a keyword",
            remedy="auto, exposure, flux (with the keyword of the light), group, order or given",
        )
    sets: dict[tuple[Any, ...], list[int]] = {}
    left: list[tuple[str, str]] = []
    value: dict[int, float] = {}
    for k, item in enumerate(items):
        label, why = _label(item, rule, flux_key)
        if why:
            left.append((item.name, why))
            continue
        value[k] = float(label) if isinstance(label, float) else math.nan
        sets.setdefault((*_setup(item.observation), "" if isinstance(label, float) else label), []).append(k)
    pairs: list[tuple[int, int]] = []
    for members in sets.values():
        width = (lambda v: max(tolerance, relative * v)) if rule == "exposure" else (lambda v: flux_tolerance * abs(v))
        for alike in _clusters(members, value, width) if rule in ("exposure", "flux") else [members]:
            made, rest = _neighbours_in_time(items, alike, rule == "order")
            pairs += made
            for k in rest:
                left.append((items[k].name, _alone(items, k, alike, members, value, rule)))
    order = _time_order(items, [first for first, _ in pairs], rule == "order")
    place = {k: n for n, k in enumerate(order)}
    return [(items[a], items[b]) for a, b in sorted(pairs, key=lambda pair: place[pair[0]])], left


def _setup(o: Observation) -> tuple[Any, ...]:
    """What two flats of a pair have in common, but for the light."""
    return (o.instrument, o.detector, o.filter, o.binning, o.window, o.readout_mode, o.gain_setting)


def _label(item: Header, rule: str, flux_key: str) -> tuple[float | str, str]:
    """What a file is paired by, and why there is no such thing."""
    if item.observation.kind not in ("flat", "unknown"):
        return "", f"it is a {item.observation.kind} frame, no flat"
    if rule == "exposure":
        time = item.observation.exposure_time
        return float(time), "" if math.isfinite(time) else "its header has no exposure time"
    if rule == "flux":
        found = item.metadata.get(flux_key)
        good = isinstance(found, (int, float)) and not isinstance(found, bool) and math.isfinite(found)
        return (float(found), "") if good else ("", f"keyword {flux_key} is absent or no number")  # type: ignore[arg-type]
    group = item.observation.group if rule == "group" else "all"
    return group, "" if group else "its header names no group"


def _clusters(members: Sequence[int], value: Mapping[int, float], width: Any) -> list[list[int]]:
    """Sets of members whose values are within `width` of the smallest of the set."""
    out: list[list[int]] = []
    for k in sorted(members, key=lambda k: value[k]):
        if out and value[k] - value[out[-1][0]] <= width(value[k]) * (1 + 1e-9):
            out[-1].append(k)
        else:
            out.append([k])
    return out


def _time_order(items: Sequence[Header], members: Sequence[int], as_given: bool) -> list[int]:
    """Members in order of time where all have one, else as given."""
    if as_given or not all(math.isfinite(items[k].observation.mjd) for k in members):
        return sorted(members)
    return sorted(members, key=lambda k: items[k].observation.mjd)


def _neighbours_in_time(
    items: Sequence[Header], members: Sequence[int], as_given: bool
) -> tuple[list[tuple[int, int]], list[int]]:
    """Disjoint pairs of the least total distance in time, and the one left over of an odd number."""
    order = _time_order(items, members, as_given)
    rest: list[int] = []
    if len(order) % 2:
        times = [items[k].observation.mjd for k in order]
        known = not as_given and all(math.isfinite(t) for t in times)

        def total(out: int) -> float:
            kept = times[:out] + times[out + 1 :]
            return sum(b - a for a, b in zip(kept[::2], kept[1::2], strict=True))

        drop = min(range(len(order) - 1, -1, -2), key=total) if known else len(order) - 1
        rest = [order.pop(drop)]
    return list(zip(order[::2], order[1::2], strict=True)), rest


def _alone(
    items: Sequence[Header], k: int, alike: Sequence[int], members: Sequence[int], value: Mapping[int, float], rule: str
) -> str:
    """Why a flat has no partner."""
    what = {"exposure": "exposure time", "flux": "light", "group": "group", "order": "its setup"}[rule]
    unit = " s" if rule == "exposure" else ""
    shown = f" {value[k]:g}{unit}" if rule in ("exposure", "flux") else ""
    if len(alike) > 1:
        return f"the other {len(alike) - 1} flats of {what}{shown} are paired already"
    if rule == "order":
        return "there is no other flat of its setup"
    others = [value[m] for m in members if m != k and math.isfinite(value[m])]
    near = f"; the nearest is {min(others, key=lambda v: abs(v - value[k])):g}{unit}" if others and shown else ""
    return f"no other flat of its setup has {what}{shown}{near}"


def _as_given(items: Sequence[H], given: Sequence[tuple[str, str]]) -> tuple[list[tuple[H, H]], list[tuple[str, str]]]:
    """Pairs by name; what is not named is left over."""
    by_name = {item.name: item for item in items}
    pairs = []
    for names in given:
        for name in names:
            if name not in by_name:
                near = difflib.get_close_matches(name, list(by_name), n=1)
                raise UsageError(
                    f"the list of pairs names '{name}', which is not among the {len(items)} flats",
                    remedy=f"did you mean '{near[0]}'?" if near else "give names as the files have them",
                )
        if names[0] == names[1]:
            raise UsageError(f"the list of pairs pairs '{names[0]}' with itself", remedy="name two flats")
        pairs.append((by_name[names[0]], by_name[names[1]]))
    used = {name for names in given for name in names}
    return pairs, [(item.name, "it is in no pair of the list") for item in items if item.name not in used]
