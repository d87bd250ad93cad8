"""Pairs of flats from headers alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from fullwell.base.errors import UsageError
from fullwell.frames import Observation
from fullwell.measure.pairing import pair_up


@dataclass
class File:
    """A header by name."""

    name: str
    observation: Observation
    metadata: Mapping[str, Any] = field(default_factory=dict)


def flat(name: str, time: float = 1.0, mjd: float = float("nan"), **more: Any) -> File:
    """A flat of an exposure time [s] taken at `mjd`."""
    metadata = more.pop("metadata", {})
    return File(name, Observation(kind="flat", exposure_time=time, mjd=mjd, **more), metadata)


def names(found: tuple[list[tuple[File, File]], Any]) -> list[str]:
    return [f"{a.name}{b.name}" for a, b in found[0]]


def test_exposure_takes_neighbours_in_time_and_names_what_is_left():
    """Five of one time: the pairs of least distance, the odd one out with a reason; a single names the nearest."""
    files = [
        flat("e", 2, 9.0),
        flat("a", 2, 1.0),
        flat("b", 2.004, 1.1),
        flat("c", 2, 5.0),
        flat("d", 2, 9.1),
        flat("x", 3),
    ]
    found = pair_up(files, "exposure")
    assert names(found) == ["ab", "ed"]
    assert found[1] == [
        ("c", "the other 4 flats of exposure time 2 s are paired already"),
        ("x", "no other flat of its setup has exposure time 3 s; the nearest is 2.004 s"),
    ]


@pytest.mark.parametrize(
    "times, options, pairs",
    [
        ((10.0, 10.005), {}, 1),
        ((10.0, 10.006), {}, 0),
        ((10.0, 10.006), {"relative": 1e-3}, 1),
        ((0.010, 0.014), {}, 1),
        ((0.010, 0.014), {"tolerance": 0.0, "relative": 1e-3}, 0),
    ],
)
def test_the_tolerance_of_exposure_times_is_absolute_or_relative(times, options, pairs):
    """5 ms by default; relative where that is more."""
    assert len(pair_up([flat("a", times[0]), flat("b", times[1])], "exposure", **options)[0]) == pairs


@pytest.mark.parametrize("other", [{"filter": "r"}, {"detector": "9"}, {"binning": (2, 2)}, {"readout_mode": "fast"}])
def test_only_flats_of_one_setup_are_paired(other):
    """Filter, detector, binning and readout mode are the same in a pair."""
    assert pair_up([flat("a"), flat("b", **other)])[0] == []


def test_flux_pairs_by_a_keyword_to_a_thousandth():
    """100 and 100.09 are of one light, 100.3 is not; the exposure times do not matter; no keyword is said."""
    files = [flat(n, t, metadata={"LIGHT": v}) for n, t, v in (("a", 1, 100.0), ("b", 2, 100.3), ("c", 3, 100.09))]
    found = pair_up([*files, flat("d")], flux_key="LIGHT")
    assert names(found) == ["ac"]
    assert dict(found[1]) == {
        "b": "no other flat of its setup has light 100.3; the nearest is 100.09",
        "d": "keyword LIGHT is absent or no number",
    }


def test_group_and_order():
    """Groups of the header; without times or groups, first with second."""
    files = [flat("a", group="u"), flat("b", group="v"), flat("c", group="u"), flat("d", group="")]
    found = pair_up(files, "group")
    assert names(found) == ["ac"]
    assert found[1][0] == ("d", "its header names no group")
    untimed = [File(n, Observation(kind="flat")) for n in "abc"]
    assert names(pair_up(untimed)) == ["ab"]
    assert names(pair_up([flat("a", 1, 9.0), flat("b", 5, 1.0)], "order")) == ["ab"]


def test_given_pairs_and_a_name_that_is_wrong():
    """A list by name; a misspelt name is answered with the nearest."""
    files = [flat("one.fits"), flat("two.fits"), flat("six.fits", 7)]
    found = pair_up(files, given=[("six.fits", "one.fits")])
    assert names(found) == ["six.fitsone.fits"]
    assert found[1] == [("two.fits", "it is in no pair of the list")]
    with pytest.raises(UsageError, match=r"names 'too\.fits'") as error:
        pair_up(files, given=[("too.fits", "one.fits")])
    assert error.value.remedy == "did you mean 'two.fits'?"
    with pytest.raises(UsageError, match=r"pairs 'one\.fits' with itself"):
        pair_up(files, given=[("one.fits", "one.fits")])


def test_what_is_no_flat_is_left_out_and_rules_are_known():
    """A bias frame in the list is named; an unknown rule is an error; so is flux without a keyword."""
    dark = File("k", Observation(kind="dark", exposure_time=1.0))
    assert pair_up([flat("a"), flat("b"), dark])[1] == [("k", "it is a dark frame, no flat")]
    with pytest.raises(UsageError, match="no rule 'time'"):
        pair_up([flat("a")], "time")
    with pytest.raises(UsageError, match="needs a keyword"):
        pair_up([flat("a")], "flux")
