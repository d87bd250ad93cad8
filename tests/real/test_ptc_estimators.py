"""The estimators on real tables: ratios as another fit of the same points has them, and what is said of the curve."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.real.test_ptc_tables import latiss, lsstcam, of_latiss, published, test_stand

from fullwell.measure.ptc import FitConfig, SolveConfig, solve_amplifier
from fullwell.measure.ptc.solve import Solved

test_stand.__test__ = False  # type: ignore[attr-defined]


def ratios(run: Solved) -> dict[str, float]:
    return {item.name: item.found for item in run.estimates if not item.reason}


@pytest.mark.parametrize(
    ("high", "pair", "line", "quadratic"),
    [(40e3, 1.010, 1.057, 0.996), (100e3, 1.069, 1.187, 1.026), (130e3, 1.092, 1.230, 1.023)],
)
def test_ratios_of_the_test_stand(shared: Path, high: float, pair: float, line: float, quadratic: float) -> None:
    """Pair gains above 1 kadu without correction for the noise; the reference differs by 0.2 %, its error."""
    points = test_stand(shared)
    run = solve_amplifier(points, SolveConfig(fit=FitConfig(high=high)))
    found = ratios(run)
    assert found["line"] == pytest.approx(line, abs=0.003)
    assert found["quadratic"] == pytest.approx(quadratic, abs=0.003)
    faint = tuple(old or ("faint" if m < 1000 else "") for old, m in zip(run.points.reasons, points.mean, strict=True))
    use = np.array([not reason for reason in faint])
    assert np.mean(points.mean[use] / points.variance[use]) / run.adopted.gain == pytest.approx(pair, abs=0.004)


def test_lsstcam_is_free_of_brighter_fatter_and_says_what_bends(shared: Path) -> None:
    run = solve_amplifier(lsstcam(shared))
    taken = run.adopted
    assert taken.estimator == "exp" and abs(taken.gain / published(shared) - 1) < 0.006
    assert 0 < taken.model_error < 0.004
    assert [text.split(":")[0] for text in run.diagnosis][:1] == ["Brighter-fatter"]
    assert any(text.startswith("Saturation: from 94904 adu") for text in run.diagnosis)
    known = {item.name: item for item in run.estimates}
    for name in ("pair_noise_subtracted", "line", "power", "emva1288"):
        assert abs(known[name].found / known[name].predicted - 1) < 0.01
    assert np.isfinite(known["emva1288"].found_error)


@pytest.mark.parametrize("amp", ["C00", "C05", "C10", "C17"])
def test_latiss_line_is_a_fifth_too_large(shared: Path, amp: str) -> None:
    """Ratios that the curve predicts are those found, within 1 %, on levels from 5 kadu up."""
    run = solve_amplifier(of_latiss(amp, latiss(shared, "")[amp]))
    known = {item.name: item for item in run.estimates}
    assert 1.15 < known["line"].found < 1.25
    for name in ("pair_noise_subtracted", "line"):
        assert abs(known[name].found / known[name].predicted - 1) < 0.01
    assert run.diagnosis[0].startswith("Brighter-fatter")


def test_errors_of_a_table_without_errors_follow_from_the_scatter(shared: Path) -> None:
    points = test_stand(shared)
    run = solve_amplifier(points)
    known = {item.name: item for item in run.estimates}
    assert 1e-4 < known["pair_noise_subtracted"].error < 0.003
    given = replace(points, variance_error=0.01 * points.variance)
    exact = {item.name: item for item in solve_amplifier(given).estimates}
    assert exact["lab_quadratic"].error != known["lab_quadratic"].error
