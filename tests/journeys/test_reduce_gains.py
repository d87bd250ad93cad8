"""The gain of a folder: pairs or photon transfer, and what is said of the header's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fullwell.conductor.verbs import plain_detector
from fullwell.frames import Frame, Observation
from fullwell.journeys.calibrate import Calibrations
from fullwell.journeys.gains import gain_of
from fullwell.journeys.night import ReduceOptions, Setup
from fullwell.products import Gain

GAIN, NOISE, SIDE = 1.5, 5.0, 360
KERNEL = {(0, 0): -2.4e-6, (1, 0): 3e-7, (0, 1): 9e-7}
"""Charge that moves into a pixel per electron of its neighbours' and of the level; over all neighbours it sums to 0."""


def flat(level: float, seed: int, shared: bool, waves: float = 0.0) -> Frame:
    """A flat of `level` [electron] in adu; `shared`: brighter-fatter to first order."""
    rng = np.random.default_rng(seed)
    noise = rng.poisson(level, (SIDE, SIDE)) - level
    if shared:
        moved = KERNEL[0, 0] * noise
        for axis, part in ((1, KERNEL[1, 0]), (0, KERNEL[0, 1])):
            moved = moved + part * (np.roll(noise, 1, axis) + np.roll(noise, -1, axis))
        noise = noise + level * moved
    light = level * (1 + waves * np.sin(np.arange(SIDE) / 40 + seed)[:, None])
    image = (light + noise) / GAIN + rng.normal(0, NOISE, (SIDE, SIDE))
    seen = Observation(kind="flat", exposure_time=level / 1000, mjd=60000 + seed / 1e3, obs_id=f"f{seed}")
    return Frame.from_arrays(
        image.astype(np.float32), unit="adu", observation=seen, source=f"f{seed}.fits",
        detector=plain_detector((SIDE, SIDE), "0"),
    )  # fmt: skip


def measured(
    levels: tuple[float, ...], header: float = np.nan, shared: bool = True, waves: float = 0.0, **options: float
) -> tuple[Gain, list[str]]:
    """The gain that is adopted of two flats of each level, and the notes."""
    flats = [flat(level, 2 * k + i, shared, waves) for k, level in enumerate(levels) for i in (0, 1)]
    obs = replace(flats[0].observation, header_gain=header, sources={"header_gain": "EGAIN"})
    detector = flats[0].detector
    assert detector is not None
    made = Calibrations(Setup.of(obs))
    noise = {detector.names[0]: (NOISE, 0.01)}
    gain = gain_of(detector, obs, ReduceOptions(**options), made, flats, noise)
    assert gain is not None
    return gain, made.notes


LEVELS = (1500.0, 4000.0, 9000.0, 16000.0, 25000.0, 36000.0, 48000.0)


def test_photon_transfer_is_used_where_brighter_fatter_bends_the_pairs() -> None:
    gain, notes = measured(LEVELS)
    assert gain.estimator != "pair"
    assert abs(gain.gain[0] - GAIN) < 4 * np.hypot(gain.gain_error, np.nan_to_num(gain.gain_model_error))[0]
    assert gain.gain[0] == pytest.approx(GAIN, rel=0.01)
    assert any("free of brighter-fatter: it is used in place" in note for note in notes)
    assert not any("too large by about as much" in note for note in gain.notes)
    assert gain.read_noise[0] == pytest.approx(NOISE * gain.gain[0])
    assert gain.read_noise_adu[0] == NOISE


def test_a_stated_noise_stays_in_electrons() -> None:
    gain, _ = measured(LEVELS, read_noise=7.5)
    assert gain.estimator != "pair"
    assert gain.read_noise[0] == 7.5
    assert gain.read_noise_adu[0] == pytest.approx(7.5 / gain.gain[0])


@pytest.mark.parametrize("waves", [0.0, 0.003])
def test_one_level_stays_with_the_pairs(waves: float) -> None:
    """Whether the flats are alike or differ in structure, which looks like shared charge."""
    gain, notes = measured((16000.0, 16000.0), shared=False, waves=waves)
    assert gain.estimator == "pair"
    assert gain.gain[0] == pytest.approx(GAIN, rel=0.05)
    assert any("Pixels far from each other are correlated" in note for note in notes) == bool(waves), notes


def test_photon_transfer_far_from_the_pairs_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    import fullwell.measure.ptc as package

    whole = package.photon_transfer

    def far(*args, **more):
        found = whole(*args, **more)
        return replace(found, gain=0.1 * found.gain)

    monkeypatch.setattr(package, "photon_transfer", far)
    gain, notes = measured(LEVELS)
    assert gain.estimator == "pair"
    assert any("% from the gain of the pairs" in note for note in notes), notes


@pytest.mark.parametrize(("header", "wrong"), [(1.9, True), (1.502, False)])
def test_a_header_that_is_wrong_is_told(header: float, wrong: bool) -> None:
    gain, notes = measured((16000.0, 16000.0), header, shared=False)
    (note,) = [n for n in notes if n.startswith("The header says")]
    assert ("which is wrong" in note) == wrong
    assert ("they agree" in note) != wrong
    assert f"{header:g} e-/adu (EGAIN)" in note and "is used." in note
    assert f"{gain.gain[0] / header - 1:+.1%}" in note
    # two pairs of 360 x 360 pixels: sqrt(2/N)/sqrt(2) = 0.28 % of 1.5, and the correlation of eight neighbours, which
    # bounds brighter-fatter, is known to sqrt(8/N) = 0.8 %, 1.1 % of each: 0.4 is some 20 to 30 times their sum
    if wrong:
        assert 15 < int(note.split("% from it, ")[1].split(" times")[0]) < 35
