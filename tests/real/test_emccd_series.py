"""Photon transfer of single pixels from real time series of an EMCCD without gain, against its README."""

from __future__ import annotations

import gzip
import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from fullwell.measure.ptc import series_points

GAINS = (3.777, 3.877, 3.968, 3.977, 4.033, 3.980, 3.800, 3.960, 3.846)
MEANS = (462.6, 837.8, 1680.3, 3608.1, 7861.3, 17306.7)
VARIANCES = (117.7, 214.2, 426.3, 923.9, 1998.7, 4430.1)


@pytest.fixture(scope="module")
def series(shared: Path) -> tuple[list[NDArray[Any]], NDArray[Any], NDArray[Any]]:
    """Six levels (5000, 3, 3), and offset and noise of each pixel [adu]."""

    def read(name: str) -> NDArray[Any]:
        packed = (shared / "data" / "emccd-timeseries" / "ADU" / f"1x-gain_{name}.tif.gz").read_bytes()
        return np.asarray(tifffile.imread(io.BytesIO(gzip.decompress(packed))))

    return [read(f"level-0{k}") for k in range(1, 7)], read("no-signal_S0"), read("no-signal_sigma")


def test_gain_of_each_pixel(series):
    """g = sum m^2 / sum m (V - sigma^2) over six levels: the README's nine values to their last digit."""
    levels, offset, noise = series
    points = series_points(levels, offset=offset, noise=noise)
    found = [(p.mean**2).sum() / (p.mean * (p.variance - p.noise**2)).sum() for p in points]
    assert np.abs(np.array(found) - GAINS).max() < 5.1e-4
    assert np.mean(found) == pytest.approx(3.913, abs=5e-4)
    bright = math.sqrt(3 / 5000) * 3.913
    assert max(abs(g - np.mean(found)) for g in found) < 4 * bright


def test_means_over_the_region(series):
    """Mean signals and variances of the six levels as the README has them, all points good."""
    levels, offset, noise = series
    (points,) = series_points(levels, offset=offset, noise=noise, pooled=True)
    assert points.good.all()
    assert points.mean == pytest.approx(MEANS, abs=0.05)
    assert points.variance - points.noise**2 == pytest.approx(VARIANCES, abs=0.15)
    assert points.noise[0] == pytest.approx(15.53, abs=0.005)
