"""Figures of the removal test: every kind of pixel and every test is on them, with units."""

from __future__ import annotations

import numpy as np
import pytest

from fullwell.base.errors import DataError
from fullwell.base.figures import caption, figure
from fullwell.injection.report import AmplifierSlopes, Report, Sample, Verdict


def report(native: float = 1.3) -> Report:
    rng = np.random.default_rng(1)

    def sample(slope: float) -> Sample:
        flux = rng.uniform(0, 1000, 300)
        return Sample(flux, slope * flux, np.repeat([0, 1], 150))

    slopes = tuple(AmplifierSlopes(n, native, 0.01, 1.31, 0.01, 1.0, 0.001, (9, 9)) for n in ("A", "B"))
    verdicts = {
        "T1": Verdict.judged("T1", 1.01, 0.01, 1.0),
        "T3": Verdict.judged("T3", 0.51, 0.01, 0.5),
        "T5": Verdict("T5", note="not installed"),
    }
    naive = {"T1": Verdict.judged("T1", 0.75, 0.01, 1.0), "T3": Verdict.judged("T3", 1.0, 0.0, 0.5)}
    samples = {"native": sample(1.3), "injected": sample(1.3), "naive": sample(1.0)}
    return Report(verdicts, naive, 1.0, slopes, (18, 18), "nJy", samples)


def test_slopes_by_amplifier() -> None:
    drawn = report().plot("slopes")
    panels = [ax for ax in drawn.axes if ax.get_visible()]
    assert [ax.get_title(loc="left").split()[0] for ax in panels] == ["A", "B"]
    for ax in panels:
        assert [line.get_label() for line in ax.lines] == ["native", "injected", "naive"]
        assert ax.get_xlabel() == "flux [nJy]"
        native, injected, naive = (np.median(y / x) for x, y in (line.get_data() for line in ax.lines))
        assert native == pytest.approx(1.3) and injected == pytest.approx(1.3) and naive == pytest.approx(1.0)
        assert "native 1.3000 ± 0.0100" in ax.texts[0].get_text()
    assert panels[0].get_ylabel() == "variance [nJy²]"
    assert "orange" in caption("injection", "slopes")


def test_statistics_with_bars_of_four_errors() -> None:
    (ax,) = report().plot("tests").axes
    assert [t.get_text()[:2] for t in ax.get_yticklabels()] == ["T1", "T3"], "what was not tried is not drawn"
    ours, naive = ax.containers
    np.testing.assert_allclose(np.asarray(ours.lines[0].get_xdata(), float), [0.01, 0.01], atol=1e-12)
    np.testing.assert_allclose(np.asarray(naive.lines[0].get_xdata(), float), [-0.25, 0.5], atol=1e-12)
    (left, right) = np.array(ours.lines[2][0].get_segments()[0])[:, 0]
    assert right - left == pytest.approx(0.08)


def test_nothing_to_draw_is_an_error() -> None:
    with pytest.raises(DataError, match="slope"):
        figure("injection", "slopes")(report(native=float("nan")))
    empty = Report({"T5": Verdict("T5")}, {}, 1.0, (), (0, 0), "nJy", {})
    with pytest.raises(DataError, match="no test"):
        empty.plot("tests")
