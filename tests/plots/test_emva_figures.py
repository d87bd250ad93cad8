"""Figures of a camera test: they draw what they are given, axes have units, and what is not there is an error."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from cameratests import Camera

from fullwell.base.errors import DataError
from fullwell.measure.emva import characterise
from fullwell.products import Emva1288

ALL = [
    *((name, {}) for name in ("sensitivity", "photon_transfer", "snr", "linearity", "deviation", "dark_current")),
    *((name, {"what": what}) for name in ("spectrogram", "profiles", "histogram", "accumulated")
      for what in ("dsnu", "prnu")),
]  # fmt: skip


@pytest.fixture(scope="module")
def result() -> Emva1288:
    camera = Camera(images=16)
    return characterise(camera.test(), camera.load)


@pytest.mark.parametrize(("name", "options"), ALL)
def test_axes_have_labels_with_units(result: Emva1288, name: str, options: dict[str, str]) -> None:
    figure = result.plot(name, **options)
    labels = [text for ax in figure.axes for text in (ax.get_xlabel(), ax.get_ylabel()) if text]
    plain = ("signal-to-noise ratio", "pixels per bin", "light [photons per pixel]")
    assert labels and all("[" in text or text in plain for text in labels)
    figure.canvas.draw()


def test_lines_are_those_of_the_numbers(result: Emva1288) -> None:
    top = result.plot("photon_transfer").axes[0]
    lines = {line.get_label(): line for line in top.lines}
    (k,) = [line for label, line in lines.items() if label.endswith("standard")]
    x, y = k.get_data()
    assert y[1] / x[1] == pytest.approx(result["system_gain"].value)
    assert x[1] == result.levels.signal[result.levels.sensitivity].max()
    deviation = result.plot("deviation").axes[0]
    assert np.nanmin(deviation.lines[1].get_ydata()) == result["linearity_error_min"].value
    counts = result.plot("histogram", what="dsnu").axes[0].patches[0].get_data().values
    assert counts.max() == result.dark.counts.max()


def test_light_is_time_where_photons_are_not_known(result: Emva1288) -> None:
    levels = replace(result.levels, photons=np.full(result.levels.photons.size, math.nan))
    assert replace(result, levels=levels).plot("linearity").axes[0].get_xlabel() == "light [exposure time, s]"


def test_what_is_not_there_is_an_error(result: Emva1288) -> None:
    bare = replace(result, bright=None)
    with pytest.raises(DataError, match="no stack of images for the PRNU"):
        bare.plot("spectrogram", what="prnu")
    bent = replace(result, levels=replace(result.levels, deviation=np.full(result.levels.signal.size, math.nan)))
    for name in ("linearity", "deviation"):
        with pytest.raises(DataError, match="no line of the linearity error"):
            bent.plot(name)
