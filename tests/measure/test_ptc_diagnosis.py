"""What bends a curve: each cause is found where it is put in alone, and nowhere else; ratios are as predicted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.helpers.transfer import Truth, draw, levels

from fullwell.measure.ptc.diagnosis import findings
from fullwell.measure.ptc.predict import curve_points
from fullwell.measure.ptc.solve import SolveConfig, Solved, solve_amplifier

STRAIGHT = Truth(a00=-1e-30)
BRIGHT = np.linspace(3000.0, 100_000.0, 39)
UNEQUAL = 0.003 * np.random.default_rng(2).normal(size=39)
QUICK = SolveConfig(full="none")

ALONE = {
    "Brighter-fatter": {"truth": Truth()},
    "Flux mismatch": {"mismatch": UNEQUAL},
    "Read noise": {"signal": levels()},
    "Clipping": {"clip": 0.96997},
    "Factor": {"clip": 2.0},
    "Cosmic rays": {"hit": (1e-4, 5000.0)},
    "Non-linearity": {"beta": -2e-7},
    "Saturation": {"full_well": 80_000.0},
    "Pattern": {"pattern": 1e-3},
}


def solved(**given) -> Solved:
    return solve_amplifier(draw(**({"signal": BRIGHT, "truth": STRAIGHT} | given)), QUICK)


def causes(found: Solved) -> set[str]:
    return {item.cause for item in findings(found.points, found.fits)}


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("cause", sorted(ALONE))
def test_each_cause_is_found_alone_and_no_other_is(cause, seed):
    found = solved(seed=seed, **ALONE[cause])
    assert causes(found) == {cause}
    assert any(text.startswith(f"{cause}: ") for text in found.diagnosis)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("given", [{}, {"lags": 0}, {"timed": False}, {"truth": Truth(a00=-1e-30, pixels=40_000)}])
def test_nothing_is_claimed_where_nothing_bends(given, seed):
    found = solved(seed=seed, **given)
    assert causes(found) == set()
    assert len(found.diagnosis) == 1 and found.diagnosis[0].startswith("Nothing bends the curve: ")
    assert "the estimators agree within" in found.diagnosis[0]


@pytest.mark.parametrize("adu", [-20.0, 20.0])
def test_a_pedestal_is_found_with_its_size(adu):
    found = solved(signal=levels(), pedestal=adu)
    assert causes(found) == {"Pedestal", "Read noise"}
    text = next(text for text in found.diagnosis if text.startswith("Pedestal"))
    size, error = text.split("a mean of ")[1].split(" adu")[0].split(" ± ")
    assert abs(float(size) - adu) < 4 * float(error)
    assert ("more noise than the overscan" in text) == (adu < 0)


def test_sizes_are_those_put_in():
    by = {name: findings(run.points, run.fits)[0] for name, run in ((n, solved(**g)) for n, g in ALONE.items())}
    assert by["Non-linearity"].effect == pytest.approx(-2e-7 * BRIGHT.max() / 0.77, rel=0.06)
    assert by["Clipping"].effect == pytest.approx(1 / 0.96997 - 1, abs=1e-3)
    assert by["Factor"].effect == pytest.approx(-0.5, abs=1e-3)
    points = solved(**ALONE["Flux mismatch"]).points
    expected = points.delta**2 / 2 / points.mean / points.ratio
    assert by["Flux mismatch"].effect == pytest.approx(-expected.mean(), rel=1e-6)
    assert "a clip at 3 sigma, repeated" in by["Clipping"].text
    assert "a pattern of 0.1 % of the signal" in by["Pattern"].text
    assert "was not halved" in by["Factor"].text
    assert by["Saturation"].effect < -0.3 and "The last good level is 1.03" in by["Saturation"].text


def test_a_chi_square_that_was_clipped_or_its_median():
    straight = draw(BRIGHT, truth=STRAIGHT)
    for factor, said in ((0.454936, "the median of the ratio image"), (1 / 1.55, "a clip of the ratio image")):
        wrong = replace(straight, ratio=straight.ratio * factor)
        found = solve_amplifier(wrong, QUICK)
        assert any(said in text for text in found.diagnosis)


def test_brighter_fatter_and_a_response_that_bends_are_told_apart():
    both = solved(truth=Truth(), beta=-2e-7)
    assert causes(both) == {"Brighter-fatter", "Non-linearity"}
    blind = solved(truth=Truth(), lags=0, timed=False)
    assert causes(blind) == {"Brighter-fatter"}
    assert "would tell it from a non-linear response" in blind.diagnosis[0]
    assert causes(solved(beta=-2e-7, lags=0)) == {"Non-linearity"}
    assert causes(solved(beta=-2e-7, timed=False)) == {"Non-linearity"}
    assert causes(solved(truth=Truth(), lags=0)) == {"Brighter-fatter"}


def test_the_answer_has_the_numbers_of_the_user():
    found = solved(truth=Truth(), signal=levels())
    answer = found.diagnosis[-1]
    assert answer.startswith("Why the gains differ: the pair formula is a chord")
    known = {item.name: item for item in found.estimates}
    for name in ("pair_noise_subtracted", "line", "quadratic"):
        assert f"{known[name].found:.3f} (predicted {known[name].predicted:.3f})" in answer
    assert "|a00| M = 0.27" in answer


def test_one_level_tells_nothing():
    found = solve_amplifier(draw(np.full(5, 50_000.0), lags=0))
    assert "by an unknown amount" in found.diagnosis[0]


SERIES = ({}, {"signal": BRIGHT}, {"mismatch": UNEQUAL}, {"pedestal": 15.0}, {"signal": np.geomspace(150, 120_000, 45)})


@pytest.mark.parametrize("given", SERIES)
def test_predicted_ratios_agree_with_found_ones(given):
    """Within 1 %, and within four of their errors, of every estimator: on points of brighter-fatter of eq. 20."""
    run = solve_amplifier(draw(seed=21, **given))
    assert run.adopted.estimator == "fullcov_no_b"
    seen = 0
    for item in run.estimates:
        if item.reason:
            continue
        assert abs(item.found / item.predicted - 1) < max(0.01, 4 * item.found_error), item
        seen += 1
    assert seen >= 12


def test_curve_points_keep_what_is_the_users():
    points = draw(seed=5, mismatch=UNEQUAL)
    points = replace(points, ratio=np.where(np.arange(39) == 4, np.nan, points.ratio))
    run = solve_amplifier(points, QUICK)
    ideal = curve_points(run.points, run.fits["exp"])
    for name in ("mean", "delta", "noise", "variance_error"):
        np.testing.assert_array_equal(getattr(ideal, name), getattr(points, name))
    assert np.isnan(ideal.ratio[4]) and ideal.reasons == run.points.reasons
    curve = run.fits["exp"].curve(points.mean)
    np.testing.assert_allclose(ideal.variance, curve)
    np.testing.assert_allclose(ideal.ratio[5], (curve[5] + points.delta[5] ** 2 / 2) / points.mean[5])
    far = ideal.covariance[-1, 0, 1]
    assert far == pytest.approx(points.covariance[-8:, 0, 1].mean(), rel=0.25)
