"""Figures: what they draw is what they were given; no global state; readable style."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import matplotlib as mpl
import numpy as np
import pytest

from fullwell.base.errors import DataError, GeometryError
from fullwell.base.figures import FIGURES, figure
from fullwell.frames import Frame
from fullwell.plots.canvas import COLOURS, limits, thinned
from fullwell.plots.histogram import draw_histogram
from fullwell.products import Bias, Flat, Gain
from fullwell.simulation import ScienceScene, sensor_of, simulate


@pytest.fixture(scope="module")
def raw() -> Frame:
    return simulate(ScienceScene(), sensor_of("demo"), seed=1).frame


def _gain() -> Gain:
    two = np.array([1.5, 1.25])
    return Gain(
        amps=("A", "B"), gain=two, gain_error=two / 100, read_noise=two * 4, read_noise_error=two / 50, estimator="pair"
    )


def test_all_figures_are_registered() -> None:
    import fullwell.plots  # noqa: F401

    wanted = {
        "bias/overview",
        "checks/pulls",
        "dark/overview",
        "flat/overview",
        "frame/histogram",
        "frame/image",
        "frames/before_after",
        "gain/overview",
        "gain/photon_transfer",
        "night/overview",
    }
    assert wanted <= set(FIGURES)


def test_drawing_changes_no_global_state(raw: Frame) -> None:
    before = dict(mpl.rcParams)
    figure("frame", "image")(raw)
    assert dict(mpl.rcParams) == before
    code_of_pyplot = sys.modules.get("matplotlib.pyplot")
    assert code_of_pyplot is None or not code_of_pyplot.get_fignums()


def test_figures_may_be_drawn_in_threads() -> None:
    checks = [{"name": str(i), "unit": "", "pull": float(i % 3)} for i in range(12)]

    def draw(_: int) -> str:
        from fullwell.report.embed import data_uri

        return data_uri(figure("checks", "pulls")(checks))

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(draw, range(8)))) == 1


def test_frame_shows_every_amplifier_and_the_pixels_where_they_lie(raw: Frame) -> None:
    ax = figure("frame", "image")(raw).axes[0]
    assert [t.get_text() for t in ax.texts] == ["A", "B", "C", "D"]
    boxes = {tuple(p.get_bbox().bounds) for p in ax.patches}
    assert boxes == {(a.raw.x0 - 0.5, a.raw.y0 - 0.5, a.raw.width, a.raw.height) for a in raw.detector}
    assert tuple(ax.images[0].get_extent()) == (-0.5, raw.shape[1] - 0.5, -0.5, raw.shape[0] - 0.5)


def test_flagged_pixels_are_coloured_on_top() -> None:
    mask = np.zeros((4, 5), np.uint32)
    mask[1, 2] = 2
    frame = Frame.from_arrays(np.arange(20.0).reshape(4, 5), mask=mask, unit="electron")
    layer = figure("frame", "image")(frame).axes[0].images[1].get_array()
    assert layer[1, 2, 3] == pytest.approx(0.85)
    assert np.count_nonzero(layer[..., 3]) == 1


def test_histogram_of_whole_numbers_has_bins_of_whole_steps() -> None:
    from matplotlib.figure import Figure

    ax = Figure().add_subplot()
    values = np.random.default_rng(1).normal(100, 2, 20_000).round().astype(np.uint16)
    draw_histogram(ax, values, "adu")
    edges = np.unique(ax.patches[0].get_xy()[:, 0])
    np.testing.assert_allclose(np.diff(edges), 1)
    assert edges[0] % 1 == 0.5


def test_pulls_beyond_the_limit_have_the_warning_colour() -> None:
    checks = [{"name": "a", "unit": "", "pull": 0.5}, {"name": "b", "unit": "", "pull": -5.0}]
    ax = figure("checks", "pulls")(checks).axes[0]
    points = {float(c[0].get_xdata()[0]): c[0].get_color() for c in ax.containers}
    assert points == {0.5: COLOURS[0], -5.0: COLOURS[1]}
    low, high = ax.get_xlim()
    assert low < -6
    assert high > 6


def test_levels_of_a_product_by_amplifier() -> None:
    detector = sensor_of("demo").detector
    image = np.zeros(detector.box.shape, np.float32)
    for i, amp in enumerate(detector):
        image[amp.trimmed.slices] = 10 * i
    bars = Bias(image=image, unit="adu", detector=detector).plot().axes[3].containers[0]
    assert [float(v) for v in bars[0].get_ydata()] == [0, 10, 20, 30]


def test_masked_pixels_are_left_out_of_the_histogram() -> None:
    image = np.ones((20, 20), np.float32)
    mask = np.zeros((20, 20), np.uint32)
    mask[3, 4] = 1
    title = Flat(image=image, mask=mask).plot().axes[2].get_title(loc="left")
    assert title == "1 pixels left out"


def test_photon_transfer_line_is_noise_and_gain_of_the_product() -> None:
    means = np.array([100.0, 1000.0, 10000.0])
    axes = figure("gain", "photon_transfer")(_gain(), points={"B": (means, means / 1.25 + 16)}).axes
    (points, line) = axes[0].lines
    np.testing.assert_allclose(points.get_ydata(), means / 1.25 + 16)
    # read noise 5 e- at 1.25 e-/adu is 4 adu
    np.testing.assert_allclose(line.get_ydata(), line.get_xdata() / 1.25 + 16)


def test_photon_transfer_of_an_unknown_amplifier() -> None:
    with pytest.raises(GeometryError, match="has no amplifier 'X'"):
        figure("gain", "photon_transfer")(_gain(), points={"X": (np.ones(2), np.ones(2))})


def test_gain_overview_with_errors() -> None:
    top, bottom = _gain().plot(truth={"A": 1.51}).axes
    assert [float(v) for v in top.containers[0][0].get_ydata()] == [1.5, 1.25]
    assert bottom.get_ylabel() == "read noise [e-]"


def test_night_names_the_frames_left_out() -> None:
    frames = [{"name": f"b{i}", "kind": "bias", "filter": "", "level": 1000.0 + i, "unit": "adu"} for i in range(4)]
    frames[2]["note"] = "low"
    frames.append({"name": "f", "kind": "flat", "filter": "r", "level": None, "unit": "adu"})
    ax = figure("night", "overview")(frames).axes[0]
    assert [t.get_text() for t in ax.texts] == ["b2"]
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["bias (4)", "flat r (1)", "left out"]


def test_display_range_is_about_the_sky() -> None:
    image = np.random.default_rng(2).normal(500, 10, (200, 200))
    image[50, 50] = 60_000
    low, high = limits(image)
    assert 400 < low < 490
    assert 510 < high < 700


def test_an_image_of_one_value_has_a_range() -> None:
    assert limits(np.full((5, 5), 3.0)) == pytest.approx((2.5, 3.5), rel=1e-12)


def test_no_finite_pixel_is_an_error_of_ours() -> None:
    with pytest.raises(DataError, match="no finite pixel"):
        thinned(np.full((3, 3), np.nan))
