"""Figures of photon transfer: the artists hold what the product holds, and empty products are errors of ours."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from detector_ptc import A00, DEAD, GAIN, NOISE, detector_ptc

from fullwell.base.errors import DataError, GeometryError, UsageError
from fullwell.base.figures import FIGURES, caption, figure
from fullwell.cameras import Detector
from fullwell.frames import Observation
from fullwell.plots.ptc_covariances import strength
from fullwell.plots.ptc_focal_plane import parameter_values
from fullwell.plots.ptc_linearity import straight
from fullwell.plots.ptc_noise import regimes
from fullwell.plots.ptc_pair_gain import extrapolate
from fullwell.plots.ptc_parts import OTHER, chord_gain, curves, kind_of, kinds_of
from fullwell.plots.ptc_saturation import onset
from fullwell.plots.ptc_variance import pulls_of
from fullwell.products import Points, Ptc

NAMES = (
    *("overview", "variance", "pair_gain", "estimators", "saturation", "covariances", "gain_histogram", "noise"),
    *("focal_plane", "linearity"),
)


def one(**changes: object) -> Ptc:
    return detector_ptc(1, **changes)


def labels(drawn: object) -> list[str]:
    return [text.get_text() for text in drawn.legends[0].get_texts()]


def line_of(ax: object, label: str) -> tuple[np.ndarray, np.ndarray]:
    lines = {str(line.get_label()): line for line in ax.lines}
    lines |= {str(bars.get_label()): bars[0] for bars in ax.containers if hasattr(bars, "has_yerr")}
    return np.asarray(lines[label].get_xdata()), np.asarray(lines[label].get_ydata())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("amps", [1, 4])
def test_every_figure_draws_and_says_how_it_is_read(name: str, amps: int) -> None:
    ptc = detector_ptc(amps)
    drawn = ptc.plot(name)
    drawn.draw_without_rendering()
    assert any("[" in ax.get_xlabel() + ax.get_ylabel() or ax.get_xlabel() for ax in drawn.axes)
    words = caption("ptc", name)
    assert len(words) > 200
    assert "Parameters" not in words and "`ptc`" not in words


def test_all_are_registered() -> None:
    assert {f"ptc/{name}" for name in NAMES} <= set(FIGURES)


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_product_is_an_error_with_a_remedy(name: str) -> None:
    empty = Ptc(amps=("A", "B"), gain=np.full(2, np.nan), gain_error=np.full(2, np.nan))
    with pytest.raises(DataError) as caught:
        empty.plot(name)
    assert caught.value.remedy


def test_an_empty_product_says_what_there_is_not() -> None:
    empty = Ptc(amps=("A",), gain=np.full(1, np.nan), gain_error=np.full(1, np.nan), source="night.fits")
    with pytest.raises(DataError, match="no gains of pairs to draw") as caught:
        empty.plot("pair_gain")
    assert caught.value.where == "night.fits"
    with pytest.raises(GeometryError, match="no amplifier 'X'"):
        one().plot("variance", amps=["X"])


def test_the_curve_shows_points_model_and_residuals() -> None:
    ptc = one()
    top, middle, bottom = ptc.plot("variance").axes
    points, used = ptc.points[0], ptc.used[0]
    x, y = line_of(top, "used in the fit")
    np.testing.assert_array_equal(x, points.mean[used])
    np.testing.assert_array_equal(y, points.variance[used])
    np.testing.assert_allclose(line_of(middle, "used in the fit")[1], (points.variance / points.mean)[used])
    pull = (points.variance - ptc.model[0]) / points.variance_error
    np.testing.assert_allclose(line_of(bottom, "used in the fit")[1], pull[used])
    assert top.get_xscale() == top.get_yscale() == "log"
    models = [line for line in middle.lines if line.get_color() == "#000000" and line.get_linestyle() == "-"]
    np.testing.assert_allclose(models[0].get_xdata()[[0, -1]], points.mean[used][[0, -1]])
    level = [
        line.get_ydata()[0] for line in middle.lines if (line.get_color(), line.get_linestyle()) == ("#009E73", "--")
    ]
    assert level == [1 / ptc.gain[0]]


def test_points_left_out_are_marked_by_the_kind_of_their_reason() -> None:
    drawn = detector_ptc(2).plot("variance")
    assert labels(drawn)[4:] == [
        "left out: above the turnoff (4)",
        "left out: saturated (4)",
        "left out: cosmic rays (2)",
        "left out: the flats differ (2)",
    ]
    marks = {str(line.get_label()): line.get_marker() for line in drawn.axes[0].lines}
    assert len({marks[k] for k in ("above the turnoff", "saturated", "cosmic rays", "the flats differ")}) == 4


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("the flats differ by 2.31 %, more than 1 %", "the flats differ"),
        ("cosmic rays: 0.4 % of the pixels", "cosmic rays"),
        ("KS probability 0.003 below 0.01", "KS probability"),
        ("residual of -7.1 sigma", "residual"),
        ("above the turnoff (92239 adu)", "above the turnoff"),
        ("mean 184632 adu is above the turnoff at 177403.2 adu", "mean is above the turnoff"),
        ("0.45% of the pixels are saturated, more than 0.10%", "the pixels are saturated"),
        ("12 good pixels are left, fewer than 1000", "good pixels are left"),
        ("the levels of the two flats, 900 and 880.5 adu, differ by 2.31%", "the levels of the two flats differ"),
        ("912.3 adu per s, +1.2% from the series: lamp drift or shutter", "lamp drift or shutter"),
        ("light in the overscan: its level rose by 3.1 adu", "light in the overscan"),
        ("1.5", "1.5"),
    ],
)
def test_kind_of_a_reason(reason: str, kind: str) -> None:
    assert kind_of(reason) == kind


def test_rare_reasons_share_a_mark_and_are_all_drawn() -> None:
    reasons = [f"{word} 1" for word in ("one", "two", "three", "four", "five", "six", "seven", "eight")]
    points = Points(amp="C10", mean=np.arange(1.0, 10), variance=np.arange(1.0, 10), reasons=("", *reasons))
    ptc = one(points=(points,), used=np.zeros((0, 0), bool), model=np.zeros((0, 0)))
    kinds = kinds_of(curves(ptc))
    assert list(kinds)[-1] == OTHER
    assert kinds[OTHER][2] == 3
    ax = ptc.plot("variance").axes[0]
    assert sum(len(line.get_xdata()) for line in ax.lines if str(line.get_label()) in kinds) == 8


def test_a_dead_amplifier_keeps_its_panel_and_says_so() -> None:
    ptc = detector_ptc(4)
    drawn = ptc.plot("variance")
    panel = drawn.axes[3 * ptc.amps.index(DEAD)]
    assert panel.get_title(loc="left") == f"{DEAD}: no gain"
    assert "no point was measured" in [text.get_text() for text in panel.texts]
    top = ptc.plot().axes[0]
    assert top.get_title(loc="left") == f"without a gain: {DEAD}"


def test_points_off_the_scale_are_counted() -> None:
    bottom = one().plot("variance").axes[2]
    low, high = bottom.get_ylim()
    pull = pulls_of(curves(one())[0])
    above, below = int(np.sum(pull > high)), int(np.sum(pull < low))
    assert (above, below) == (2, 4)
    assert "off scale: 2 above, 4 below" in [text.get_text() for text in bottom.texts]


def test_chord_gain_is_mean_over_variance_of_the_exponential_model() -> None:
    mean = np.array([1.0, 1e4, 1e5])
    variance = np.expm1(2 * A00 * GAIN * mean) / (2 * A00 * GAIN**2)
    np.testing.assert_allclose(chord_gain(GAIN, A00, mean), mean / variance, rtol=1e-9)
    # to the digits given for the formula beside the sequential accumulation: 1.044 at 16 ke-, 1.294 at 100 ke-
    np.testing.assert_allclose(chord_gain(1.0, A00, np.array([16e3, 100e3])), [1.044, 1.294], atol=5e-4)
    assert chord_gain(GAIN, 0.0, mean).tolist() == [GAIN] * 3


def test_pair_gain_is_extrapolated_to_the_gain() -> None:
    ptc = one()
    curve = curves(ptc)[0]
    line = extrapolate(curve)
    assert line is not None
    truth = float(ptc.gain[0])
    # a parabola through X / (1 - exp(-X)) up to 150 ke- (X = 0.8) meets zero within X^4 / 720 of the gain
    assert abs(line.zero / truth - 1) < 4 * line.error / truth + 0.8**4 / 720 + 0.0005 * 4
    assert line.slope == pytest.approx(-A00 * truth, rel=0.05)
    ax = ptc.plot("pair_gain").axes[0]
    assert line.formula() in ax.get_title(loc="left")
    x, y = line_of(ax, "zero flux")
    assert (x.tolist(), y.tolist()) == ([0], [line.zero])
    points = ptc.points[0]
    expected = points.mean / (points.variance - points.noise**2)
    np.testing.assert_allclose(line_of(ax, "used in the fit")[1], expected[ptc.used[0]])


def test_two_points_have_no_extrapolation_and_still_a_figure() -> None:
    ptc = detector_ptc(1, 2)
    assert extrapolate(curves(ptc)[0]) is None
    for name in NAMES:
        ptc.plot(name).draw_without_rendering()


def test_estimators_found_and_predicted() -> None:
    ptc = detector_ptc(4)
    top, bottom = ptc.plot("estimators").axes
    names = [text.get_text() for text in bottom.get_yticklabels()]
    assert "emva1288" not in names
    assert names[:5] == ["zero_flux", "cov_sum", "exp", "fullcov", "eotest"]
    row = names.index("line")
    found = [e.found for estimates in ptc.estimates for e in estimates if e.name == "line"]
    marks = [line for line in bottom.lines if len(line.get_xdata()) == 3 and round(line.get_ydata()[1]) == row]
    np.testing.assert_allclose(marks[0].get_xdata(), found)
    bars = [line.get_xdata()[0] for line in bottom.lines if list(line.get_ydata()) == [row - 0.38, row + 0.38]]
    assert bars == [1.26]
    texts = [text.get_text() for text in top.get_legend().get_texts()]
    assert "line (biased)" in texts and "fullcov (adopted)" in texts


def test_estimators_of_a_product_without_any() -> None:
    with pytest.raises(DataError, match="no estimates to draw"):
        one(estimates=((),)).plot("estimators")


def test_onset_of_saturation_is_the_time_at_which_the_mean_reaches_the_turnoff() -> None:
    curve = curves(one(turnoff=np.array([200_000.0]), turnoff_error=np.array([2000.0])))[0]
    time, mean = curve.points.exposure_time, curve.points.mean
    start = onset(curve, time)
    assert start is not None
    np.testing.assert_allclose(np.interp(start, time, mean), [198_000, 200_000, 202_000], rtol=1e-9)
    assert onset(curves(one(turnoff=np.array([9e5])))[0], time) is None


def test_without_times_the_charge_is_taken_and_without_both_it_is_said() -> None:
    points = one().points[0]
    nothing = np.full(len(points), np.nan)
    charged = one(points=(replace(points, exposure_time=nothing, charge=points.mean * 2),))
    assert "charge" in charged.plot("saturation").axes[0].get_xlabel()
    with pytest.raises(DataError, match="no exposure time"):
        one(points=(replace(points, exposure_time=nothing),)).plot("linearity")


def test_linearity_residual_in_per_cent() -> None:
    points = one().points[0]
    exact = replace(points, mean=4000 * points.exposure_time + 30)
    top, bottom = one(points=(exact,)).plot("linearity").axes
    np.testing.assert_allclose(line_of(bottom, "used in the fit")[1], 0, atol=1e-9)
    assert "4000 adu / s\noffset 30 adu" in [text.get_text() for text in top.texts]


def test_points_weigh_the_same_relative_to_their_mean_in_the_line() -> None:
    curve = curves(one())[0]
    time, mean = curve.points.exposure_time[curve.used], curve.points.mean[curve.used]
    expected, *_ = np.linalg.lstsq(np.c_[1 / mean, time / mean], np.ones(mean.size), rcond=None)
    np.testing.assert_allclose(straight(curve, curve.points.exposure_time), expected, rtol=1e-9)


def test_noise_has_slope_one_half_of_light_and_zero_of_electronics() -> None:
    mean = np.r_[np.geomspace(0.01, 0.2, 8), np.geomspace(500, 2000, 8)]
    variance = mean / GAIN + (NOISE / GAIN) ** 2
    points = Points(amp="C10", mean=mean, variance=variance, variance_error=0.001 * variance)
    ptc = one(points=(points,), used=np.zeros((0, 0), bool), model=np.zeros((0, 0)))
    ptc = replace(ptc, gain=np.array([GAIN]), read_noise_adu=np.array([NOISE / GAIN]))
    flat, shot = regimes(curves(ptc)[0])
    assert flat is not None and shot is not None
    assert (flat.points, shot.points) == (8, 8)
    assert shot.slope == pytest.approx(0.5, abs=1e-6)
    assert flat.slope == pytest.approx(0.0, abs=2e-3)  # the light of 0.2 adu adds 0.3 % of the noise
    words = ptc.plot("noise").axes[0].texts[0].get_text()
    assert "slope 0.5000" in words and "equal at 35.1 adu" in words


def test_covariance_map_is_a_with_serial_lag_along_x() -> None:
    ptc = one()
    axes = ptc.plot("covariances").axes
    cells = axes[0].collections[0].get_array()
    np.testing.assert_allclose(np.asarray(cells).reshape(8, 8), 1e6 * ptc.a[0].T)
    titles = [ax.get_title(loc="left") for ax in axes]
    assert [t for t in titles if t.startswith("lag")] == [
        f"lag ({i}, {j})" for i, j in ((0, 1), (1, 0), (1, 1), (0, 2), (2, 0))
    ]


def test_covariances_without_a_fit_come_from_the_brightest_used_pair() -> None:
    ptc = one(a=np.zeros((0, 0, 0)))
    curve = curves(ptc)[0]
    k = np.flatnonzero(curve.used)[-1]
    mean, cov = curve.points.mean[k], curve.points.covariance[k]
    found = strength(ptc, curve)
    assert found[0, 1] == pytest.approx(cov[0, 1] / mean**2)
    assert found[0, 0] == pytest.approx((cov[0, 0] - mean / curve.gain) / mean**2)
    assert found[0, 0] < 0


def test_variances_alone_have_no_covariances() -> None:
    points = one().points[0]
    bare = replace(points, covariance=np.zeros((0, 0, 0)), pixels=np.zeros((0, 0, 0), np.int64))
    with pytest.raises(DataError, match="variances alone"):
        one(points=(bare,), a=np.zeros((0, 0, 0))).plot("covariances")


def test_histogram_counts_every_pair_and_marks_the_median() -> None:
    ptc = one()
    ax = ptc.plot("gain_histogram").axes[0]
    gains = 1 / ptc.points[0].ratio
    words = ax.texts[0].get_text().split("\n")
    assert words[:2] == [f"median {np.median(gains):.4f}", "of 39 pairs"]
    inside = sum(patch.get_height() for patch in ax.patches)
    assert inside + int(words[2].split()[0]) == 39
    assert [line.get_xdata()[0] for line in ax.lines] == [np.median(gains), ptc.gain[0]]


def test_focal_plane_colours_each_amplifier_where_it_lies() -> None:
    ptc = detector_ptc(16)
    ax = ptc.plot("focal_plane").axes[0]
    mesh = ax.collections[0]
    known = np.isfinite(ptc.gain)
    np.testing.assert_array_equal(mesh.get_array(), ptc.gain[known])
    corner = mesh.get_paths()[0].vertices.min(axis=0)
    assert corner.tolist() == [-0.5, 2001.5]  # C10 is the first of the upper row
    assert "without a value (hatched): 1" in ax.get_title(loc="left")
    assert f"{DEAD}\n-" in [text.get_text() for text in ax.texts]


def test_focal_plane_of_several_detectors_names_those_far_off() -> None:
    products = []
    for k, name in enumerate(("R22_S10", "R22_S11", "R22_S12")):
        obs = Observation(instrument="lsstcam", detector=name, detector_id=93 + k)
        products.append(detector_ptc(16, 6, seed=k, observation=obs))
    gain = products[2].gain.copy()
    gain[4] = 2.5
    products[2] = replace(products[2], gain=gain)
    drawn = figure("ptc", "focal_plane")(products)
    assert drawn._supxlabel.get_text() == "far from the others: R22_S12 C14: 2.5"
    assert drawn.axes[0].get_xlabel() == "x [mm]"
    x = [path.vertices[:, 0].mean() for path in drawn.axes[0].collections[0].get_paths()]
    assert len(x) == 45
    assert x[0] < x[15] < x[30]


def test_focal_plane_without_a_place_or_with_a_detector_given() -> None:
    lost = detector_ptc(4, observation=Observation())
    assert "places are unknown" in lost.plot("focal_plane").axes[0].get_xlabel()
    from fullwell import instruments

    detector = instruments.get("lsstcam").camera["R22_S11"]
    assert isinstance(detector, Detector)
    assert lost.plot("focal_plane", camera=detector).axes[0].get_xlabel() == "x [pixel]"


def test_parameters_of_the_map_are_fields_and_estimators() -> None:
    ptc = detector_ptc(4)
    assert parameter_values(ptc, "a00") is not None
    pair = [next((e.gain for e in row if e.name == "pair"), np.nan) for row in ptc.estimates]
    np.testing.assert_array_equal(parameter_values(ptc, "pair"), pair)
    with pytest.raises(UsageError, match="no parameter 'fluff'") as caught:
        ptc.plot("focal_plane", parameter="fluff")
    assert "read_noise" in str(caught.value.remedy)
    with pytest.raises(DataError, match="no amplifier has a value of 'rolloff'"):
        ptc.plot("focal_plane", parameter="rolloff")


def test_overview_works_without_points_and_with_one_amplifier() -> None:
    bare = replace(detector_ptc(4), points=())
    assert [ax.get_ylabel() for ax in bare.plot().axes] == [
        *("gain [e-/adu]", "read noise [e-]", "a00 [1e-6 / e-]", "turnoff [adu]")
    ]
    words = " ".join(text.get_text() for fig in one().plot().subfigs for text in fig.texts)
    assert "amplifier C10" in words and "chi²" in words


def test_overview_collapses_all_curves_on_one() -> None:
    ptc = detector_ptc(4)
    ax = ptc.plot().axes[0]
    x, y = line_of(ax, "used in the fit")
    line = next(line for line in ax.lines if str(line.get_label()).startswith("brighter-fatter"))
    ends = line.get_xdata()[[0, -1]]
    median = float(np.nanmedian(ptc.a00))
    np.testing.assert_allclose(line.get_ydata()[[0, -1]], 1 / chord_gain(1.0, median, ends), rtol=1e-9)
    # of the first container: light x exp model, within the scatter of the points and 3 % of a00
    np.testing.assert_allclose(y, 1 / chord_gain(1.0, A00, x), rtol=0.012)


def test_a_page_of_a_report_takes_every_figure() -> None:
    from fullwell.report import Page

    page = Page("Photon transfer")
    ptc = detector_ptc(4)
    for name in NAMES:
        page.add_figure("ptc", name, ptc, caption=caption("ptc", name))
    parts = page.sections[0].parts
    assert [p["error"] for p in parts] == [""] * len(NAMES)
    assert all(p["image"].startswith("data:image/svg") for p in parts)


def test_the_other_models_stand_beside_the_fitted_one() -> None:
    ptc = one()
    bare = figure("ptc", "variance")(ptc).axes[1].get_lines()
    models = {name: np.array(ptc.model) * (1 + 0.01 * k) for k, name in enumerate(("line", "quadratic", "exp"), 1)}
    axes = figure("ptc", "variance")(replace(ptc, models=models)).axes[1]
    assert len(axes.get_lines()) == len(bare) + 3
