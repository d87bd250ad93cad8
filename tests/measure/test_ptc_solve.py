"""From points to the product: the gain that is taken, its errors, amplifiers that fail, gains made continuous."""

from __future__ import annotations

import importlib
from dataclasses import replace

import numpy as np
import pytest
from tests.helpers.transfer import A00, Truth, draw, levels

from fullwell.base.errors import UsageError
from fullwell.measure.ptc.adopt import BIASED_NOTE, Adopted, adopt, common
from fullwell.measure.ptc.solve import SolveConfig, solve, solve_amplifier
from fullwell.products import Estimate, Points

QUICK = SolveConfig(full="none")
BRIGHT = np.linspace(3000.0, 100_000.0, 39)


def one(name: str, gain: float, error: float = 0.001, reason: str = "", biased: bool = False) -> Estimate:
    return Estimate(name=name, gain=gain, error=error, reason=reason, biased=biased, low=1.0, high=9.0, points=5)


def dead(amp: str, n: int = 39) -> Points:
    return Points(amp=amp, mean=np.full(n, 3.0), variance=np.zeros(n), reasons=("no variance: dead",) * n)


def test_the_first_unbiased_estimator_is_taken():
    gains = {"fullcov": 1.0, "exp": 1.01, "zero_flux": 1.02, "cov_sum": 1.03, "pair": 1.2}
    left = dict(gains)
    for name in ("fullcov", "exp", "zero_flux", "cov_sum"):
        taken = adopt([one(n, g) for n, g in left.items()], lags=8)
        assert (taken.estimator, taken.gain, taken.note) == (name, gains[name], "")
        del left[name]
    taken = adopt([one("pair", 1.2, biased=True), one("exp", np.nan, reason="two points")])
    assert (taken.estimator, taken.note) == ("pair", BIASED_NOTE) and np.isnan(taken.model_error)
    none = adopt([one("exp", np.nan, reason="two points")])
    assert (none.estimator, none.failure) == ("", "exp: two points") and np.isnan(none.gain)


def test_an_extrapolation_without_lever_yields_to_the_sum_of_covariances():
    wide = [one("exp", 0.9, 0.2), one("zero_flux", 0.7, 0.1), one("cov_sum", 0.77, 0.004)]
    assert adopt(wide, lags=8).estimator == "cov_sum"
    assert adopt([one("exp", 0.9, np.nan), one("cov_sum", 0.77, 0.004)], lags=8).estimator == "cov_sum"
    assert adopt([one("exp", 0.9, np.nan)]).estimator == "exp"


def test_model_error_is_the_spread_beyond_chance():
    near = adopt([one("fullcov", 1.0), one("exp", 1.001), one("zero_flux", 0.999)])
    assert near.model_error == 0.0
    far = adopt([one("fullcov", 1.0), one("exp", 1.01), one("zero_flux", 0.99)])
    assert far.model_error == pytest.approx(np.sqrt(0.01**2 - 2e-6), rel=1e-9)
    vague = adopt([one("fullcov", 1.0), one("exp", 1.01), one("cov_sum", 1.1, 0.1)], lags=8)
    assert vague.model_error == pytest.approx(0.01, rel=0.02)
    assert np.isnan(adopt([one("fullcov", 1.0)]).model_error)


def test_an_estimator_can_be_asked_for():
    both = [one("fullcov", 1.0), one("line", 1.3, biased=True), one("power", np.nan, reason="no")]
    assert adopt(both, estimator="line").note == BIASED_NOTE
    assert adopt(both, estimator="power").failure == "power: no"
    with pytest.raises(UsageError, match="did you mean 'line'"):
        adopt(both, estimator="lines")
    with pytest.raises(UsageError, match="'exp' was not run"):
        adopt(both, estimator="exp")
    assert adopt([one("cov_sum", 1.0)], lags=2).note.startswith("too large by one to four per cent")


def test_the_estimator_of_most_amplifiers_names_the_product():
    assert common([Adopted("exp"), Adopted("exp"), Adopted("fullcov"), Adopted()]) == "exp"
    assert common([Adopted("exp"), Adopted("fullcov")]) == "fullcov"
    assert common([Adopted()]) == ""


def test_a_detector_of_three_amplifiers():
    truth = [Truth(gain=0.70), Truth(gain=0.77), Truth(gain=0.84)]
    points = [draw(truth=t, seed=k, amp=f"C{k}") for k, t in enumerate(truth)]
    ptc = solve(points, pairs=tuple((f"a{k}", f"b{k}") for k in range(39)), inputs=("x",))
    assert ptc.estimator == "fullcov_no_b" and ptc.fit_type == "FULLCOVARIANCE_NO_B" and ptc.status == ("", "", "")
    for k, t in enumerate(truth):
        assert abs(ptc.gain[k] - t.gain) < 4 * ptc.gain_error[k] and ptc.gain_error[k] < 0.002 * t.gain
        assert abs(ptc.a00[k] - A00) < 4 * ptc.a00_error[k]
        assert ptc.read_noise[k] == pytest.approx(5.2, rel=0.005)
        assert ptc.read_noise_adu[k] == pytest.approx(5.2 / t.gain, rel=1e-6)
        assert ptc.gain_model_error[k] < 0.003 * t.gain
    assert ptc.a.shape == (3, 9, 9) and ptc.noise_matrix.shape == (3, 9, 9) and np.isfinite(ptc.b).all()
    assert ptc.model.shape == ptc.used.shape == (3, 39) and ptc.used.sum() > 110
    assert ptc.chi2 == pytest.approx(np.ones(3), abs=0.15)
    assert ptc.covariance_model.shape == (3, 39, 9, 9)
    np.testing.assert_allclose(ptc.covariance_model[:, :, 0, 0], ptc.model, rtol=1e-6)
    np.testing.assert_allclose(ptc.turnoff, [levels()[-1] / t.gain for t in truth])
    assert ptc.pairs[0] == ("a0", "b0") and ptc.inputs == ("x",) and ptc.history[0].step == "ptc_solve"
    assert ptc.range_high == pytest.approx(ptc.turnoff) and ptc.to_gain().estimator == "fullcov_no_b"


@pytest.mark.parametrize(("b", "fit_type"), [(0.0, "FULLCOVARIANCE_NO_B"), (-1.5e-6, "FULLCOVARIANCE")])
def test_b_is_free_where_the_data_ask_for_it(b, fit_type):
    truth = Truth(b=b)
    ptc = solve([draw(truth=truth, seed=k, amp=f"C{k}") for k in range(3)], SolveConfig(simple=(), diagnose=False))
    assert ptc.fit_type == fit_type
    assert (np.abs(ptc.gain - truth.gain) < 4 * ptc.gain_error).all()
    assert (np.abs(ptc.a00 - A00) < 4 * ptc.a00_error).all()


def test_one_amplifier_that_fails_leaves_the_others_alone():
    good = draw(amp="good", seed=3)
    nan = Points(amp="nan", mean=np.full(39, np.nan), variance=np.full(39, np.nan))
    strange = replace(draw(amp="strange", seed=3), variance=-good.variance)
    ptc = solve([dead("dead"), good, nan, strange], QUICK)
    assert ptc.status[0] == "none of 39 pairs is usable: no variance: dead"
    assert ptc.status[1] == "" and ptc.status[2].startswith("none of 39 pairs is usable")
    assert ptc.status[3] and np.isnan(ptc.gain[[0, 2, 3]]).all()
    alone = solve([good], QUICK)
    assert ptc.gain[1] == alone.gain[0] and ptc.estimator == "exp" and ptc.fit_type == "EXPAPPROXIMATION"
    assert ptc.history[0].note == "gain by exp; no gain: dead, nan, strange"
    assert ptc.diagnosis[0] == (ptc.status[0],)


def test_a_breakdown_in_one_amplifier_is_its_status(monkeypatch):
    module = importlib.import_module("fullwell.measure.ptc.solve")
    real = module.solve_amplifier

    def broken(points, config, extra):
        if points.amp == "B":
            raise np.linalg.LinAlgError("SVD did not converge")
        return real(points, config, extra)

    monkeypatch.setattr(module, "solve_amplifier", broken)
    ptc = solve([draw(amp="A"), draw(amp="B")], QUICK)
    assert ptc.status == ("", "the solution broke down: SVD did not converge")
    assert np.isfinite(ptc.gain[0]) and np.isnan(ptc.gain[1])


def test_one_level_only():
    pairs = np.full(6, 50_000.0)
    taken = solve_amplifier(draw(pairs, seed=4)).adopted
    assert taken.estimator == "cov_sum" and abs(taken.gain - 0.77) < 4 * taken.error and taken.error < 0.02 * 0.77
    ptc = solve([draw(pairs, lags=0, amp="C7")])
    assert ptc.estimator == "pair_noise_subtracted" and np.isnan(ptc.gain_model_error[0])
    assert ptc.notes == (f"amplifier C7: gain of pair_noise_subtracted, {BIASED_NOTE}",)
    assert ptc.gain[0] == pytest.approx(0.77 * (1 - A00 * 50_000), rel=0.02)


def test_two_points_only():
    ptc = solve([draw(np.array([5e3, 5e4]), lags=0)])
    assert ptc.estimator == "pair_noise_subtracted" and ptc.status == ("",)
    known = {item.name: item for item in ptc.estimates[0]}
    assert "2 usable points" in known["exp"].reason and "2 points" in known["zero_flux"].reason


def test_an_outlier_has_a_reason_and_no_say():
    clean = draw(seed=9)
    hit = np.arange(39) == 25
    wild = replace(clean, variance=np.where(hit, 0.9, 1) * clean.variance)
    ptc = solve([wild], QUICK)
    assert "outlier" in ptc.points[0].reasons[25] and not ptc.used[0, 25]
    line = next(item for item in ptc.estimates[0] if item.name == "line")
    assert line.points == 38


def test_an_amplifier_with_another_estimator_is_noted():
    short = np.full(39, 50_000.0)
    ptc = solve([draw(amp="A"), draw(amp="B", seed=2), draw(short, amp="C")], QUICK)
    assert ptc.estimator == "exp"
    assert ptc.notes == ("amplifier C: gain of cov_sum, the others have that of exp",)


def test_gains_are_made_continuous_where_flats_are_given():
    truth = (0.75, 0.77, 0.79)
    points = [draw(truth=Truth(gain=g, pixels=40_000), seed=k, amp=f"C{k}") for k, g in enumerate(truth)]
    amp_of = np.repeat(np.arange(3), 40)[None, :].repeat(60, 0)
    flat = 5000.0 / np.array(truth)[amp_of]
    before, ptc = solve(points, QUICK), solve(points, QUICK, flats=[flat], amp_of=amp_of)
    assert ptc.metadata["gain_unadjusted"] == before.gain.tolist()
    ratio = ptc.gain / np.array(truth)
    np.testing.assert_allclose(ratio / ratio.mean(), 1, atol=1e-6)
    assert abs(np.log(ptc.gain / before.gain)).max() < 0.02 and np.median(ptc.gain / before.gain) == 1
    assert ptc.read_noise / ptc.gain == pytest.approx(before.read_noise / before.gain)
    assert ptc.notes[0].startswith("gains were made continuous with 1 flats, by ")
    with pytest.raises(UsageError, match="amplifier of each pixel"):
        solve(points, QUICK, flats=[flat])


def test_calls_that_cannot_be_meant():
    with pytest.raises(UsageError, match="no points to solve"):
        solve([])
    with pytest.raises(UsageError, match="amplifiers have 5 and 39 pairs"):
        solve([draw(), draw(np.linspace(1e4, 5e4, 5))])
    with pytest.raises(UsageError, match="no estimator of the gain named 'nonsense'"):
        solve([draw()], SolveConfig(estimator="nonsense", full="none"))


def test_pulls_of_the_adopted_gain():
    """30 draws, exponential and zero flux: mean and width of the pulls are 0 and 1 within 4 sigma."""
    truth, signal = Truth(pixels=40_000), np.linspace(2000.0, 60_000.0, 30)
    for name in ("exp", "zero_flux"):
        pulls = []
        for seed in range(30):
            config = SolveConfig(full="none", simple=(), diagnose=False, estimator=name)
            taken = solve_amplifier(draw(signal, truth=truth, lags=0, seed=seed), config).adopted
            pulls.append((taken.gain - 0.77) / taken.error)
        assert abs(np.mean(pulls)) < 4 / np.sqrt(30) and abs(np.std(pulls) - 1) < 4 / np.sqrt(60)
