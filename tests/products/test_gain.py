"""Gain: what a file gives back, and what makes two gains different."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fullwell import io
from fullwell.products import Gain


def unknown(noise: float) -> Gain:
    nan = np.full(2, np.nan)
    return Gain(
        amps=("A", "B"), gain=nan, gain_error=nan, read_noise=nan, read_noise_error=nan,
        read_noise_adu=np.array([noise, 5.0]), estimator="none",
    )  # fmt: skip


def test_read_noise_in_adu_comes_back_where_the_gain_is_unknown(tmp_path: Path) -> None:
    io.write_product(unknown(4.25), tmp_path / "gain.ecsv")
    back = io.read_product(tmp_path / "gain.ecsv")
    assert isinstance(back, Gain)
    np.testing.assert_array_equal(back.read_noise_adu, [4.25, 5.0])
    assert np.isnan(back.gain).all() and np.isnan(back.read_noise).all()


def test_gains_that_differ_in_their_noise_alone_have_different_ids() -> None:
    assert unknown(4.25).id == unknown(4.25).id != unknown(4.5).id


def test_gains_that_differ_in_their_saturation_alone_have_different_ids() -> None:
    """The levels decide which pixels are SAT: a history that names the id must tell them apart."""
    one = np.ones(1)
    plain = {"amps": ("A",), "gain": one, "gain_error": one, "read_noise": one, "read_noise_error": one}
    ids = {Gain(**plain, **more).id for more in ({}, {"saturation": 5e4 * one}, {"suspect": 5e4 * one})}
    assert len(ids) == 3
    assert Gain(**plain, saturation=np.full(1, np.nan)).id == Gain(**plain).id
