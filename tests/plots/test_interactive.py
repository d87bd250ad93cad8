"""Interactive pages: what the sources hold, what the selector filters, and that nothing is fetched."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from detector_ptc import DEAD, detector_ptc

from fullwell.base.errors import DataError, FileError, UsageError
from fullwell.plots.interactive import PAGES, html, write
from fullwell.plots.interactive.ptc import page
from fullwell.plots.interactive.ptc_data import USED, colours
from fullwell.products import Bias, Ptc


class Links(HTMLParser):
    """Addresses that a browser would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.scripts = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.scripts += tag == "script"
        self.found += [str(value) for name, value in attrs if name in ("src", "href")]


def source(model: object, column: str) -> dict[str, list[object]]:
    from bokeh.models import ColumnDataSource

    sources = [s for s in model.select({"type": ColumnDataSource}) if column in s.data]
    assert len(sources) == 1
    return sources[0].data


def test_the_page_fetches_nothing(tmp_path: Path) -> None:
    path = write(detector_ptc(2), tmp_path / "ptc.html")
    text = path.read_text()
    links = Links()
    links.feed(text)
    assert links.found == []
    assert links.scripts >= 2
    assert "Photon transfer: lsstcam, detector R22_S11" in text
    assert len(text) < 4e6
    assert "$$" not in str(detector_ptc(2).facts())  # such text alone would load the typesetting of formulas


def test_points_know_amplifier_pair_and_reason() -> None:
    ptc = detector_ptc(4)
    _, model = page(ptc)
    data = source(model, "marker")
    measured = sum(int(np.isfinite(p.mean).sum()) for p in ptc.points)
    assert len(data["amp"]) == measured == 3 * 39
    k = data["reason"].index("the flats differ by 2.31 %, more than 1 %")
    assert (data["amp"][k], data["pair"][k]) == ("C10", "21: flat_040 and flat_041")
    assert data["variance"][k] == ptc.points[0].variance[20]
    assert data["marker"][k] != "circle"
    assert {m for m, r in zip(data["marker"], data["reason"], strict=True) if r == USED} == {"circle"}
    assert sum(r == USED for r in data["reason"]) == int(ptc.used.sum())


def test_hover_and_selection_are_shared_by_all_figures() -> None:
    from bokeh.models import GlyphRenderer, Scatter, Tabs
    from bokeh.plotting import figure

    _, model = page(detector_ptc(4))
    dots = [
        r
        for r in model.select({"type": GlyphRenderer})
        if isinstance(r.glyph, Scatter) and "marker" in r.data_source.data
    ]
    assert len(dots) >= 8
    assert len({r.data_source.id for r in dots}) == len({r.view.id for r in dots}) == 1
    # WebGL would give points the markers of others as soon as an amplifier is switched off
    assert {drawn.output_backend for drawn in model.select({"type": figure})} == {"canvas"}
    (tabs,) = model.select({"type": Tabs})
    titles = [tab.title for tab in tabs.tabs]
    assert titles == ["Curve", "Pair gain", "Estimators", "Saturation", "Covariances", "Noise", "Numbers"]


def test_the_selector_names_all_amplifiers_and_starts_with_all() -> None:
    from bokeh.models import CheckboxButtonGroup

    ptc = detector_ptc(4)
    _, model = page(ptc)
    (group,) = model.select({"type": CheckboxButtonGroup})
    assert group.labels == list(ptc.amps)
    assert group.active == [0, 1, 2, 3]
    (script,) = group.js_property_callbacks["change:active"]
    filters, sources = script.args["filters"], script.args["sources"]
    assert [len(f.booleans) for f in filters] == [len(s.data["amp"]) for s in sources]
    assert sum(script.args["one"].booleans) == 64  # the map is of the first amplifier alone


def test_numbers_hold_status_and_diagnosis() -> None:
    ptc = detector_ptc(4)
    data = source(page(ptc)[1], "words")
    assert data["status"][ptc.amps.index(DEAD)] == "no signal: every pair is as dark as the bias"
    assert data["words"][0].startswith("Brighter-fatter")


def test_a_page_of_variances_alone_leaves_tabs_out() -> None:
    from bokeh.models import Tabs

    ptc = detector_ptc(1, 6, estimates=((),), a=np.zeros((0, 0, 0)))
    points = ptc.points[0]
    bare = type(points)(amp=points.amp, mean=points.mean, variance=points.variance)
    _, model = page(detector_ptc(1, 6, estimates=((),), a=np.zeros((0, 0, 0)), points=(bare,)))
    (tabs,) = model.select({"type": Tabs})
    assert [tab.title for tab in tabs.tabs] == ["Curve", "Pair gain", "Noise", "Numbers"]


def test_errors_of_pages(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no points to draw"):
        html(Ptc(amps=("A",), gain=np.full(1, np.nan), gain_error=np.full(1, np.nan)))
    with pytest.raises(UsageError, match="interactive page"):
        html(Bias(image=np.zeros((2, 2), np.float32), unit="adu"))
    with pytest.raises(FileError):
        write(detector_ptc(1, 6), tmp_path / "no" / "such" / "ptc.html")
    assert "ptc" in set(PAGES)


def test_colours_differ() -> None:
    assert len(set(colours(16))) == 16


def test_help_and_figures_do_not_load_bokeh() -> None:
    import subprocess
    import sys

    code = "import sys, fullwell.plots; assert 'bokeh' not in sys.modules and 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
