"""Which calibration belongs to a frame, and what is said when none does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fullwell.base.errors import GeometryError, MissingProduct
from fullwell.cameras import Box
from fullwell.frames import Frame, Observation
from fullwell.products import Defects, Flat
from fullwell.reduction import cut_out, match

OBS = Observation("cam", "0", filter="g", binning=(2, 2), set_temperature=-10.0, readout_mode="fast", mjd=100.0)


def flat(**change: object) -> Flat:
    return Flat(image=np.ones((4, 5), np.float32), observation=replace(OBS, **change))  # type: ignore[arg-type]


def frame(**change: object) -> Frame:
    obs = replace(OBS, **change)  # type: ignore[arg-type]
    return Frame.from_arrays(np.zeros((4, 5), np.float32), unit="adu", observation=obs, source="s.fits")


def test_nearest_in_time_of_those_that_agree() -> None:
    old, new, other = flat(mjd=50.0), flat(mjd=101.0), flat(mjd=100.0, filter="r")
    assert match("flat", [old, new, other], frame()) is new


def test_grism_and_filter_are_not_mixed() -> None:
    with pytest.raises(MissingProduct, match=r"has filter g~grism#3 instead of g[\s\S]*--accept filter"):
        match("flat", [flat(filter="g~grism#3")], frame())


def test_a_difference_can_be_accepted_by_name() -> None:
    other = flat(filter="r")
    assert match("flat", [other], frame(), accept=("filter",)) is other


def test_binning_cannot_be_accepted() -> None:
    with pytest.raises(MissingProduct, match=r"binning 1x1 instead of 2x2[\s\S]*make a flat with the same binning"):
        match("flat", [flat(binning=(1, 1))], frame(), accept=("binning_",))


def test_temperature_matters_for_darks_only_beyond_the_step() -> None:
    dark = flat(set_temperature=-9.5)
    assert match("dark", [dark], frame()) is dark
    with pytest.raises(MissingProduct, match="temperature -5 C instead of -10 C"):
        match("dark", [flat(set_temperature=-5.0)], frame())
    assert match("flat", [flat(set_temperature=-5.0)], frame())


def test_nothing_at_all_names_the_option() -> None:
    with pytest.raises(MissingProduct, match=r"there is no bias for cam detector 0[\s\S]*--bias FILE"):
        match("bias", [], frame())


def test_a_windowed_frame_takes_a_cut_out() -> None:
    image = np.arange(100, dtype=np.float32).reshape(10, 10)
    full = Flat(image=image, variance=image * 2, observation=replace(OBS, binning=(1, 1)))
    shot = frame(binning=(1, 1), window=(3, 2, 5, 4))
    part = cut_out(full, shot)
    assert np.array_equal(part.image, image[2:6, 3:8]) and np.array_equal(part.variance, 2 * image[2:6, 3:8])
    assert part.id != full.id
    boxes = Defects(boxes=(Box(0, 0, 4, 3), Box(9, 9, 1, 1)), codes=("hot", "cold"))
    assert cut_out(boxes, shot).boxes == (Box(0, 0, 1, 1),) and cut_out(boxes, shot).codes == ("hot",)


def test_sizes_that_differ_without_a_window_are_refused() -> None:
    other = Flat(image=np.ones((8, 8), np.float32), observation=OBS)
    with pytest.raises(GeometryError, match=r"covers \(8, 8\) pixels .* the frame \(4, 5\)"):
        cut_out(other, frame())
