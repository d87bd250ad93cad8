"""Points of all amplifiers from series of pairs: streaming, read noise, what the whole series says against a point."""

from __future__ import annotations

import gc
import math
import weakref
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from fullwell.base.errors import DataError, FileError, UsageError
from fullwell.base.provenance import Record
from fullwell.cameras import Amplifier, Box, Detector
from fullwell.frames import Frame, Mask, Observation, Plane
from fullwell.measure.ptc import BinConfig, ExtractConfig, binned_points, measure_binned, measure_points, series_points

GAIN, NOISE = 0.8, 4.0
AMPS = ("A", "B", "C")
WIDE, HIGH = 110, 100


def detector() -> Detector:
    """Three amplifiers side by side."""
    return Detector(
        "d", 0,
        tuple(
            Amplifier(
                name, (HIGH, WIDE + 16), Box(0, 0, WIDE, HIGH), Box(k * (WIDE + 16), 0, WIDE + 16, HIGH),
                Box(k * WIDE, 0, WIDE, HIGH), serial_overscan=Box(WIDE, 0, 16, HIGH),
            )
            for k, name in enumerate(AMPS)
        ),
    )  # fmt: skip


DETECTOR = detector()


def flat(
    level: float, seed: int, *, numbers: Mapping[str, Any] | None = None, kind: str = "flat", dark: str = "",
    **observation: Any,
) -> Frame:  # fmt: skip
    """A corrected flat of `level` [electron], with the numbers of the overscan step in its history."""
    rng = np.random.default_rng(seed)
    light = np.full((HIGH, WIDE * len(AMPS)), level)
    if dark:
        light[DETECTOR[dark].trimmed.slices] = 1e-4 * level
    image = (rng.poisson(light) / GAIN + rng.normal(0, NOISE, light.shape)).astype(np.float32)
    record = Record("overscan_serial", numbers=numbers or {})
    return Frame(
        Plane(image, unit="adu"), detector=DETECTOR, history=(record,), source=f"f{seed}",
        observation=Observation(kind=kind, **{"exposure_time": level / 1000, "mjd": 60000.0 + seed, **observation}),
    )  # fmt: skip


def overscan(level: float = 1000.0, noise: float = NOISE, odd: Mapping[str, tuple[float, float]] | None = None) -> dict:
    """Numbers that the overscan step leaves, with other values for the amplifiers in `odd`."""
    values = {name: (odd or {}).get(name, (level, noise)) for name in AMPS}
    return {"level": {n: v[0] for n, v in values.items()}, "noise": {n: v[1] for n, v in values.items()}}


def pairs(*levels: float, **more: Any) -> list[tuple[Callable[[], Frame], Callable[[], Frame]]]:
    """Pairs that are made when they are asked for."""
    return [
        (lambda v=v, k=k: flat(v, 2 * k, **more), lambda v=v, k=k: flat(v, 2 * k + 1, **more))
        for k, v in enumerate(levels)
    ]


def test_points_of_a_series_and_their_numbers():
    """Variance over mean, noise of the overscan with its error, times: within 4 sigma, for every amplifier."""
    found = measure_points(pairs(500, 5000, 50000, numbers=overscan()), config=ExtractConfig(lags=3))
    assert [p.amp for p in found] == list(AMPS)
    for p in found:
        assert p.reasons == ("", "", "") and p.lags == 3
        truth = np.array([500, 5000, 50000]) / GAIN**2 + NOISE**2
        assert (np.abs(p.variance - truth) < 4 * p.variance_error).all()
        assert p.noise.tolist() == [NOISE] * 3 and p.noise_error[0] == pytest.approx(NOISE / math.sqrt(4 * 1600))
        assert p.overscan.tolist() == [1000.0] * 3
        assert p.exposure_time.tolist() == [0.5, 5.0, 50.0] and p.mjd.tolist() == [60000.0, 60002.0, 60004.0]
        assert p.columns == pytest.approx(WIDE, rel=1e-3)


def test_threads_give_the_same_points():
    """Two threads, the same numbers to the last bit."""
    one, two = (measure_points(pairs(500, 5000), jobs=j) for j in (1, 2))
    for a, b in zip(one, two, strict=True):
        assert np.array_equal(a.variance, b.variance) and np.array_equal(a.covariance, b.covariance)


@pytest.mark.parametrize("jobs, lazy", [(1, True), (2, True), (1, False), (2, False)])
def test_two_frames_are_in_memory_however_many_pairs_there_are(jobs, lazy):
    """Frames alive while a further one is loaded, from functions or from a generator of pairs: one at most."""
    alive: list[weakref.ref[Frame]] = []
    most = 0

    def load(level: float, seed: int) -> Frame:
        nonlocal most
        gc.collect()
        most = max(most, sum(r() is not None for r in alive))
        frame = flat(level, seed)
        alive.append(weakref.ref(frame))
        return frame

    calls = (((lambda k=k: load(1000, k)), (lambda k=k: load(1000, k + 50))) for k in range(12))
    many = calls if lazy else ((load(1000, k), load(1000, k + 50)) for k in range(12))
    measure_points(many, jobs=jobs, config=ExtractConfig(lags=1))
    assert len(alive) == 24 and most == 1


def test_read_noise_from_bias_pairs_or_as_given():
    """Without an overscan the bias pairs, within 4 sigma; else what is given; a choice takes one origin alone."""

    def bias(k: int) -> Callable[[], Frame]:
        return lambda: flat(0, 100 + k, kind="bias")

    biases = [bias(k) for k in range(4)]
    found = measure_points(pairs(5000), biases=biases, noise={"A": 9.0})
    for p in found:
        assert abs(p.noise[0] - NOISE) < 4 * p.noise_error[0]
        assert p.noise_error[0] == pytest.approx(NOISE / math.sqrt(2 * 11000) / math.sqrt(2), rel=0.05)
    given = measure_points(pairs(5000), noise={"A": 9.0, "B": (8.0, 0.1)})
    assert [float(p.noise[0]) for p in given[:2]] == [9.0, 8.0] and math.isnan(given[2].noise[0])
    assert given[1].noise_error[0] == 0.1
    chosen = measure_points(
        pairs(5000, numbers=overscan()), biases=biases, noise={"A": 9.0}, config=ExtractConfig(noise="given")
    )
    assert chosen[0].noise[0] == 9.0 and math.isnan(chosen[1].noise[0])


def test_a_pair_that_cannot_be_read_keeps_its_place():
    """A missing file, a frame in electron, one of another size, a bias frame: reasons, and the others are measured."""

    def missing() -> Frame:
        raise FileError("no such file", where="x.fits")

    electrons = flat(5000, 7)
    electrons.image = Plane(electrons.image.array, unit="electron")
    small = Frame.from_arrays(np.ones((5, 5), np.float32), unit="adu", source="small")
    good = (flat(5000, 1), flat(5000, 2))
    given = [(missing, good[0]), good, (electrons, good[1]), (good[0], small), (good[0], flat(5000, 3, kind="bias"))]
    for p in measure_points(given):
        assert p.reasons == (
            "the pair could not be used: no such file",
            "",
            "the pair could not be used: f7 is in electron, not adu",
            "the pair could not be used: small has another size, window or detector than the first pair",
            "f3 is a bias frame, no flat",
        )
        assert p.good.tolist() == [False, True, False, False, False] and p.covariance.shape == (5, 9, 9)


def test_nothing_at_all_is_an_error():
    """No pair; no pair that can be read; three frames instead of two."""

    def missing() -> Frame:
        raise FileError("no such file")

    with pytest.raises(UsageError, match="no pair of flats"):
        measure_points([])
    with pytest.raises(DataError, match="none of the 1 pairs could be read"):
        measure_points([(missing, missing)])
    with pytest.raises(DataError) as error:
        measure_points([(flat(1, 1),) * 3])
    assert "a pair has two flats" in (error.value.where or "")


def test_a_wrong_pair_is_named_by_its_exposure_times():
    """Levels 20 % apart with times 20 % apart."""
    found = measure_points([(flat(5000, 1), flat(6000, 2)), (flat(5000, 3), flat(5500, 4, exposure_time=5.0))])[0]
    assert found.reasons[0].startswith("wrong pair: exposure times 5 and 6 s; the levels of the two flats")
    assert found.reasons[1].startswith("the levels of the two flats") and "the lamp drifts" in found.reasons[1]
    other = measure_points([(flat(5000, 1, filter="g"), flat(5000, 2, filter="r")), (flat(500, 3), flat(500, 4))])[0]
    assert other.reasons == ("wrong pair: filters g and r", "")


def test_masked_and_saturated_pixels():
    """One masked column takes no part; more than 0.5 % of saturated pixels, in either flat, make a bad point."""
    a, b = flat(5000, 1), flat(5000, 2)
    for frame in (a, b):
        frame.mask = Mask(np.zeros(frame.shape, np.uint32), frame.box)
    bad, hot = np.zeros(a.shape, bool), np.zeros(a.shape, bool)
    bad[:, 5], hot[:60, WIDE] = True, True
    assert a.mask is not None and b.mask is not None
    a.mask["BAD"], b.mask["SAT"] = bad, hot
    a.image.array[:, 5] = 1e6
    found = measure_points([(a, b)])
    assert found[0].reasons == ("",) and found[0].pixels[0, 0, 0] == HIGH * (WIDE - 1)
    assert found[1].reasons == ("0.55% of the pixels are saturated, more than 0.50%",)
    assert found[2].reasons == ("",) and found[2].pixels[0, 0, 0] == HIGH * WIDE


def test_regions_edges_and_the_whole_detector():
    """Sizes of what is left; the detector as one gives all amplifiers the same numbers."""
    two = [(flat(5000, 1), flat(5000, 2))]
    few = {"pixels": 100}

    def counts(**settings: Any) -> list[int]:
        return [int(p.pixels[0, 0, 0]) for p in measure_points(two, config=ExtractConfig(**few, **settings))]

    assert counts(edge=5) == [100 * 90] * 3
    assert counts(edge=5, edge_of="detector") == [105 * 90, 110 * 90, 105 * 90]
    assert counts(region=(100, 0, 60, 50)) == [10 * 50, 50 * 50, 0]
    assert counts(level="detector", region=(10, 0, 300, 50)) == [300 * 50] * 3


def test_a_dead_amplifier_is_told_and_harms_none():
    """One with 1e-4 of the light; the others stay."""
    found = measure_points(pairs(5000, 50000, dark="B"))
    assert found[0].good.all() and found[2].good.all()
    assert not found[1].good.any() and all("dead" in r or "no light" in r for r in found[1].reasons)


def test_light_in_the_overscan_is_told_by_level_and_by_scatter():
    """The level of one amplifier rises by 2 % of the signal, the scatter of another triples; a drift is none."""
    given = []
    for k, light in enumerate((500.0, 5000.0, 50000.0)):
        odd = {
            "A": (1000 + 0.02 * light / GAIN, NOISE),
            "B": (1000.0, NOISE if k < 2 else 3 * NOISE),
            "C": (1000.0 + k, 4),
        }
        given += [tuple(flat(light, 2 * k + i, numbers=overscan(odd=odd)) for i in (0, 1))]
    a, b, c = measure_points(given)
    assert a.reasons[0] == "" and a.reasons[2].startswith("light in the overscan: its level rose by 1238 adu, 1.98%")
    assert b.reasons[:2] == ("", "") and b.reasons[2].startswith("light in the overscan: its scatter is 12 adu, 4 in")
    assert c.good.all()


def test_a_lamp_that_drifts_between_pairs_is_noted_and_used():
    """A pair of 6 % more light per second than the rest: its variance is of its own mean, it stays."""
    given = pairs(1000, 2000, 4000, 8000)
    given[2] = (lambda: flat(4000, 4, exposure_time=3.77), lambda: flat(4000, 5, exposure_time=3.77))
    found = measure_points(given)[0]
    assert found.good.all()
    assert [bool(n) for n in found.notes] == [False, False, True, False] and "lamp drift or shutter" in found.notes[2]


def test_two_points_are_measured():
    """Two pairs make two good points."""
    assert all(p.good.all() and len(p) == 2 for p in measure_points(pairs(1000, 4000, numbers=overscan())))


def test_charge_of_a_keyword():
    """Mean of the two; NaN where one has none."""
    two = [flat(1000, k) for k in (1, 2)]
    for k, frame in enumerate(two):
        frame.metadata["DIODE"] = 3.0 + k
    config = ExtractConfig(charge_key="DIODE")
    found = measure_points([tuple(two), (two[0], flat(1000, 3))], config=config)[0]
    assert found.charge[0] == 3.5 and math.isnan(found.charge[1])


def spectrum(seed: int, factor: float = 1.0) -> np.ndarray:
    """A lamp spectrum of 30 to 20 000 electron with pixels of unequal sensitivity [adu]."""
    y, x = np.mgrid[:500, :600]
    sensitivity = 1 + 0.05 * np.random.default_rng(0).normal(size=x.shape)
    light = (30 + 20000 * np.exp(-(((y - 250) / 60) ** 2)) * (1 + np.sin(x / 7)) / 2) * sensitivity * factor
    rng = np.random.default_rng(seed)
    return rng.poisson(light) / GAIN + rng.normal(0, NOISE, light.shape)


@pytest.mark.parametrize("spacing", ["count", "linear", "log"])
def test_flats_of_unequal_light_give_points_of_many_levels(spacing):
    """Every bin lies on mean/gain + noise^2: chi2 of the pulls within 4 sigma; the second flat is 1 % brighter."""
    config = BinConfig(spacing=spacing, bins=25)
    found = binned_points(spectrum(1), spectrum(2, 1.01), config=config, noise=NOISE)
    use = found.good
    assert use.sum() >= 15 and found.mean[use].max() > 50 * found.mean[use].min()
    pulls = ((found.variance - found.mean / GAIN - NOISE**2) / found.variance_error)[use]
    assert abs((pulls**2).sum() - use.sum()) < 4 * math.sqrt(2 * use.sum())
    assert (found.noise == NOISE).all()


def test_binned_pairs_of_frames_are_joined_by_amplifier():
    """Bins of two pairs, one lost pair with its reason; too little light is a reason, too."""

    def frame(seed: int) -> Callable[[], Frame]:
        return lambda: Frame.from_arrays(spectrum(seed), unit="adu")

    def missing() -> Frame:
        raise FileError("no such file")

    (found,) = measure_binned(
        [(frame(1), frame(2)), (missing, frame(3)), (frame(3), frame(4))], config=BinConfig(bins=5)
    )
    assert len(found) == 11 and found.reasons[-1] == "the pair could not be used: no such file"
    assert found.good.sum() == 10
    assert "too few" in binned_points(spectrum(1), spectrum(2), config=BinConfig(low=1e6)).reasons[0]
    with pytest.raises(UsageError, match="no pair could be read"):
        measure_binned([(missing, missing)])


def test_series_of_single_pixels():
    """Pulls of the variance have width 1 although a drift triples the plain variance; bad values are named."""
    rng = np.random.default_rng(4)
    drift = np.linspace(-1, 1, 3000)[:, None, None] * 250
    levels = [rng.normal(5000.0, 100.0, (3000, 10, 10)) + drift for _ in range(2)]
    levels[1][5, 0, 0] = np.nan
    levels[1][:, 0, 1] = 7.0
    found = series_points(levels, offset=1000.0, noise=5.0)
    pulls = np.array([(p.variance[0] - 1e4) / p.variance_error[0] for p in found])
    assert abs(pulls.mean()) < 4 / math.sqrt(100) and abs(pulls.std() - 1) < 4 / math.sqrt(200)
    assert min(p.raw_variance[0] for p in found) > 2.5e4
    assert found[0].mean[0] == pytest.approx(4000, abs=4 * 100 / math.sqrt(3000))
    assert found[0].reasons == ("", "a value of the series is not finite")
    assert found[1].reasons == ("", "dead: the series does not vary")
    (pooled,) = series_points(levels[:1], offset=1000.0, pooled=True)
    assert abs(pooled.variance[0] - 1e4) < 4 * pooled.variance_error[0] and pooled.pixels[0, 0, 0] == 300_000
