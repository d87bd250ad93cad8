"""The page of photon transfer of one detector: linked figures in tabs, an amplifier selector, points as CSV."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from fullwell.plots.interactive import ptc_data as data
from fullwell.plots.interactive.page import interactive
from fullwell.plots.ptc_covariances import NEAREST
from fullwell.plots.ptc_parts import curves, kinds_of
from fullwell.products import Ptc

__all__ = ["page"]

TIPS = [
    ("amplifier", "@amp"),
    ("pair", "@pair"),
    ("state", "@reason"),
    ("mean", "@mean{0,0.0} adu"),
    ("variance", "@variance{0,0.0} adu²"),
    ("residual", "@residual{0.0} σ"),
    ("pair gain", "@gain{0.0000} e-/adu"),
    ("exposure time", "@time{0.00} s"),
    ("flats differ by", "@delta{0.00} %"),
]
SIGNS = {"x": "✕", "s": "□", "^": "△", "v": "▽", "D": "◇", "+": "+"}
CHOOSE = """
const on = new Set(group.active.map(k => group.labels[k]));
const first = group.labels[Math.min(...group.active)];
filters.forEach((filter, k) => { filter.booleans = Array.from(sources[k].data.amp, a => on.has(a)); });
one.booleans = Array.from(lags.data.amp, a => a === first);
if (map) map.title.text = "strength a(i, j) of " + (first ?? "no amplifier") + " [1e-6 / e-]";
"""
SAVE = """
const names = ["amp", "pair", "reason", "mean", "variance", "model", "residual", "gain", "noise", "time", "charge"];
const on = new Set(group.active.map(k => group.labels[k]));
const cell = v => typeof v === "string" ? '"' + v.replaceAll('"', '""') + '"' : (Number.isFinite(v) ? v : "");
const rows = [names.join(",")];
points.data.amp.forEach((a, k) => { if (on.has(a)) rows.push(names.map(n => cell(points.data[n][k])).join(",")); });
const link = document.createElement("a");
link.href = URL.createObjectURL(new Blob([rows.join("\\n") + "\\n"], {type: "text/csv"}));
link.download = "photon_transfer_points.csv";
link.click();
"""


@interactive("ptc")
def page(ptc: Ptc, *, amps: Sequence[str] | None = None) -> tuple[str, Any]:
    """Variance, pair gain, estimators, saturation, covariances and noise of one detector, in tabs.

    A point under the mouse is marked in every figure of its tab, with its amplifier, pair and reason; points that
    are selected in one figure stay bright in all.

    Raises
    ------
    DataError
        no point was measured.
    """
    from bokeh.layouts import column
    from bokeh.models import TabPanel, Tabs

    drawn = curves(ptc, amps)
    paint = dict(zip([c.name for c in drawn], data.colours(len(drawn)), strict=True))
    book = _Book(ptc, drawn, paint)
    tabs = [
        TabPanel(title=title, child=column(*_words(title), *children, sizing_mode="stretch_width"))
        for title, children in (
            ("Curve", book.curve()),
            ("Pair gain", book.pair_gain()),
            ("Estimators", book.estimators()),
            ("Saturation", book.saturation()),
            ("Covariances", book.covariances()),
            ("Noise", book.noise()),
            ("Numbers", book.numbers()),
        )
        if children
    ]
    title = f"Photon transfer: {ptc.observation.instrument}, detector {ptc.observation.detector}"
    layout = column(_head(ptc, title, book), book.selector(), Tabs(tabs=tabs, sizing_mode="stretch_width"),
                    sizing_mode="stretch_width", styles={"margin": "0 auto", "max-width": "1180px"})  # fmt: skip
    return title, layout


def _words(title: str) -> list[Any]:
    """What the tab of that title shows, where it needs words."""
    from bokeh.models import Div

    if title not in data.WORDS:
        return []
    text = f"<p style='max-width:62em;margin:.4em 0;color:#4a515b'>{escape(data.WORDS[title])}</p>"
    return [Div(text=text, sizing_mode="stretch_width")]


def _head(ptc: Ptc, title: str, book: _Book) -> Any:
    """Title, facts, and the marks of the points."""
    from bokeh.models import Div

    facts = "; ".join(f"{k} {v}" for k, v in ptc.facts().items() if v)
    marks = ["● used in the fit"]
    marks += [f"{SIGNS[m]} left out: {escape(kind)} ({n})" for kind, (m, _, n) in kinds_of(book.drawn).items()]
    dead = [f"{c.name} ({escape(c.status or 'no point was measured')})" for c in book.drawn if not c.measured.any()]
    gone = f"<p style='margin:.3em 0;color:#a2310a'>Without a point: {'; '.join(dead)}</p>" if dead else ""
    return Div(
        text=f"<h1 style='font-size:1.5em;margin:.3em 0'>{escape(title)}</h1>"
        f"<p style='margin:.3em 0'>{escape(facts)}</p>{gone}"
        f"<p style='margin:.3em 0'>{' &ensp; '.join(marks)} &ensp; colours are amplifiers</p>",
        sizing_mode="stretch_width",
    )


class _Book:
    """The figures of one page on common sources, so that selection, hover and the choice of amplifiers are shared."""

    def __init__(self, ptc: Ptc, drawn: Sequence[Any], paint: dict[str, str]) -> None:
        from bokeh.models import BooleanFilter, CDSView, ColumnDataSource

        def source(columns: dict[str, list[Any]]) -> tuple[Any, Any, Any]:
            keep = BooleanFilter(booleans=[True] * len(columns["amp"]))
            return ColumnDataSource(columns), keep, CDSView(filter=keep)

        self.ptc, self.drawn = ptc, drawn
        self.points, self.point_filter, self.point_view = source(data.point_columns(ptc, drawn, paint))
        self.lines, self.line_filter, self.line_view = source(data.curve_columns(drawn, paint))
        self.estimates, self.estimate_filter, self.estimate_view = source(data.estimate_columns(ptc, paint))
        self.lags, self.one, self.lag_view = source(data.lag_columns(ptc, drawn))
        self.map: Any = None
        first = next((c.name for c in drawn if c.measured.any()), "")
        self.one.booleans = [a == first for a in self.lags.data["amp"]]
        self.first = first

    def figure(self, x: str, y: str, labels: tuple[str, str], **more: Any) -> Any:
        """Points `y` against `x` with hover and selection that all figures share.

        Drawn on a canvas: WebGL gives points the markers of others where a filter leaves some out.
        """
        from bokeh.models import HoverTool, NumeralTickFormatter
        from bokeh.plotting import figure

        drawn = figure(
            height=more.pop("height", 300), sizing_mode="stretch_width", x_axis_label=labels[0],
            y_axis_label=labels[1], tools="pan,box_zoom,wheel_zoom,box_select,lasso_select,tap,reset,save",
            **more,
        )  # fmt: skip
        drawn.toolbar.logo = None
        for axis, kind in ((drawn.xaxis, "x_axis_type"), (drawn.yaxis, "y_axis_type")):
            if more.get(kind) != "log":
                axis.formatter = NumeralTickFormatter(format="0,0.[00]")
        dots = drawn.scatter(
            x, y, source=self.points, view=self.point_view, marker="marker", size=7, color="colour", fill_alpha=0.75,
            hover_fill_color="black", hover_line_color="black", nonselection_alpha=0.08, selection_line_color="black",
        )  # fmt: skip
        drawn.add_tools(HoverTool(renderers=[dots], tooltips=TIPS))
        return drawn

    def line(self, drawn: Any, x: str, y: str) -> None:
        """The model of each amplifier."""
        drawn.multi_line(x, y, source=self.lines, view=self.line_view, line_color="colour", line_width=1.2)

    def level(self, drawn: Any, *at: float) -> None:
        """Grey horizontal lines."""
        from bokeh.models import Span

        for value in at:
            drawn.add_layout(Span(location=value, dimension="width", line_color="#888888", line_dash="dotted"))

    def curve(self) -> list[Any]:
        """Variance, variance over mean, residuals, one below the other on one axis."""
        mean = "mean signal [adu]"
        top = self.figure("mean", "variance", (mean, "variance [adu²]"), x_axis_type="log", y_axis_type="log")
        middle = self.figure("mean", "ratio", (mean, "variance / mean [adu]"), x_axis_type="log", x_range=top.x_range)
        bottom = self.figure(
            "mean", "residual", (mean, "residual [σ]"), x_axis_type="log", x_range=top.x_range, height=230,
            y_range=(-6, 6),
        )  # fmt: skip
        self.line(top, "mean", "variance")
        self.line(middle, "mean", "ratio")
        self.level(bottom, -2, 0, 2)
        return [top, middle, bottom]

    def pair_gain(self) -> list[Any]:
        """Pair gain against the mean, with what brighter-fatter leads to."""
        low, high = self._range("gain")
        drawn = self.figure(
            "mean", "gain", ("mean signal [adu]", "pair gain [e-/adu]"), y_range=(low, high), height=460
        )
        self.line(drawn, "reach", "chord")
        return [drawn]

    def saturation(self) -> list[Any]:
        """Pair gain and mean against exposure time, or against the charge of the photodiode."""
        x, label = next(
            ((n, lab) for n, lab in (("time", "exposure time [s]"), ("charge", "charge of the photodiode"))
             if any(v == v for v in self.points.data[n])), ("", ""),
        )  # fmt: skip
        if not x:
            return []
        low, high = self._range("gain")
        top = self.figure(x, "gain", (label, "pair gain [e-/adu]"), y_range=(low, high + 0.5 * (high - low)))
        return [top, self.figure(x, "mean", (label, "mean signal [adu]"), x_range=top.x_range)]

    def noise(self) -> list[Any]:
        """Noise against signal, both logarithmic."""
        labels = ("mean signal [adu]", "noise [adu]")
        return [self.figure("mean", "deviation", labels, x_axis_type="log", y_axis_type="log", height=460)]

    def estimators(self) -> list[Any]:
        """Gains by amplifier, and ratios to the reference by estimator with the prediction as a bar."""
        from bokeh.models import HoverTool
        from bokeh.plotting import figure
        from bokeh.transform import jitter

        names = list(dict.fromkeys(self.estimates.data["estimator"]))
        if not names:
            return []
        common = {"sizing_mode": "stretch_width", "tools": "pan,box_zoom,wheel_zoom,box_select,tap,reset,save"}
        tips = [
            *(("amplifier", "@amp"), ("estimator", "@estimator"), ("gain", "@gain{0.00000} ± @error{0.00000} e-/adu")),
            *(("found", "@found{0.0000}"), ("predicted", "@predicted{0.0000}"), ("biased", "@biased")),
            ("note", "@note"),
        ]
        amps = [c.name for c in self.drawn]
        gains = figure(height=330, x_range=amps, x_axis_label="amplifier", y_axis_label="gain [e-/adu]", **common)
        ratio = figure(
            height=110 + 26 * len(names), y_range=names[::-1], x_axis_label="gain / gain of the reference", **common
        )
        look = {"size": 7, "color": "colour", "fill_alpha": 0.7, "hover_color": "black", "nonselection_alpha": 0.1}
        shared = {"source": self.estimates, "view": self.estimate_view}
        one = gains.scatter(jitter("amp", 0.4, range=gains.x_range), "gain", **shared, **look)
        ratio.scatter(
            "predicted", "estimator", marker="dash", angle=1.5708, size=28, line_width=2.5, color="#222222", **shared
        )
        two = ratio.scatter("found", jitter("estimator", 0.4, range=ratio.y_range), **shared, **look)
        for drawn, dots in ((gains, one), (ratio, two)):
            drawn.toolbar.logo = None
            drawn.add_tools(HoverTool(renderers=[dots], tooltips=tips))
        return [gains, ratio]

    def covariances(self) -> list[Any]:
        """Map of a of the first amplifier chosen, and covariance / mean^2 of the nearest lags."""
        from bokeh.layouts import row
        from bokeh.models import HoverTool
        from bokeh.palettes import RdBu11
        from bokeh.plotting import figure
        from bokeh.transform import linear_cmap

        if not self.lags.data["amp"] or max(self.lags.data["i"]) < 1:
            return []
        top = max(abs(t) for t in self.lags.data["tone"])
        self.map = figure(
            width=480, height=440, tools="save", title=f"strength a(i, j) of {self.first} [1e-6 / e-]",
            x_axis_label="serial lag i", y_axis_label="parallel lag j",
        )  # fmt: skip
        self.map.toolbar.logo = None
        self.map.grid.visible = False
        shared = {"source": self.lags, "view": self.lag_view}
        cells = self.map.rect(
            "i", "j", 0.96, 0.96, fill_color=linear_cmap("tone", RdBu11, -top, top), line_color=None, **shared
        )
        self.map.text(
            "i",
            "j",
            "text",
            text_color="ink",
            text_align="center",
            text_baseline="middle",
            text_font_size="8px",
            **shared,
        )
        tips = [("amplifier", "@amp"), ("lag", "@i, @j"), ("a", "@a{0.0000} e-6 / e-")]
        self.map.add_tools(HoverTool(renderers=[cells], tooltips=tips))
        panels = [
            self.figure(
                "mean",
                f"c{i}{j}",
                ("mean signal [adu]", f"lag ({i}, {j}) [1e-6 / e-]"),
                height=220,
                y_range=self._range(f"c{i}{j}"),
            )
            for i, j in NEAREST[:2]
        ]
        from bokeh.layouts import column

        side = column(*panels, sizing_mode="stretch_width")
        return [row(self.map, side, sizing_mode="stretch_width")]

    def numbers(self) -> list[Any]:
        """The adopted numbers of every amplifier, and what bends its curve."""
        from bokeh.models import ColumnDataSource, DataTable, Div, TableColumn

        heads = {
            "amp": ("amplifier", 70), "gain": ("gain [e-/adu]", 140), "systematic": ("systematic", 80),
            "noise": ("read noise [e-]", 120), "a00": ("a00 [1e-6 / e-]", 120), "turnoff": ("turnoff [adu]", 120),
            "chi2": ("chi²", 50), "points": ("points used", 85), "status": ("status", 380),
        }  # fmt: skip
        columns = data.table_columns(self.ptc, self.drawn)
        table = DataTable(
            source=ColumnDataSource(columns), index_position=None, sizing_mode="stretch_width",
            columns=[TableColumn(field=n, title=t, width=w) for n, (t, w) in heads.items()],
            height=40 + 25 * len(self.drawn),
        )  # fmt: skip
        words = "".join(
            f"<p style='margin:.3em 0'><b>{escape(a)}</b> {escape(w)}</p>"
            for a, w in zip(columns["amp"], columns["words"], strict=True)
            if w
        )
        words = f"<h2 style='font-size:1.15em'>What bends the curves</h2>{words}" if words else ""
        return [table, Div(text=f"<div style='max-width:62em'>{words}</div>", sizing_mode="stretch_width")]

    def selector(self) -> Any:
        """Buttons of the amplifiers; all, none, and the points as CSV."""
        from bokeh.layouts import row
        from bokeh.models import Button, CheckboxButtonGroup, CustomJS

        names = [c.name for c in self.drawn]
        group = CheckboxButtonGroup(labels=names, active=list(range(len(names))))
        given = {
            "group": group, "filters": [self.point_filter, self.line_filter, self.estimate_filter],
            "sources": [self.points, self.lines, self.estimates], "one": self.one, "lags": self.lags, "map": self.map,
        }  # fmt: skip
        group.js_on_change("active", CustomJS(args=given, code=CHOOSE))
        every, none, save = (Button(label=text, width=70) for text in ("all", "none", "CSV"))
        every.js_on_click(CustomJS(args={"group": group}, code="group.active = group.labels.map((_, k) => k);"))
        none.js_on_click(CustomJS(args={"group": group}, code="group.active = [];"))
        save.js_on_click(CustomJS(args={"group": group, "points": self.points}, code=SAVE))
        return row(group, every, none, save)

    def _range(self, name: str) -> tuple[float, float]:
        """Lowest and highest of a column over the points used, with a margin; above a tenth of the signal for lags."""
        kept = [
            (m, v)
            for m, v, reason in zip(
                self.points.data["mean"], self.points.data[name], self.points.data["reason"], strict=True
            )
            if reason == data.USED and v == v
        ]
        top = max((m for m, _ in kept), default=0.0)
        values = [v for m, v in kept if m > (0.1 if name.startswith("c") else 0.0) * top]
        if not values:
            return 0.0, 1.0
        low, high = min(values), max(values)
        if name.startswith("c"):
            low, high = min(low, 0.0), max(high, 0.0)
        pad = 0.25 * (high - low or abs(high) or 1.0)
        return low - pad, high + pad
