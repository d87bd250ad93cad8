"""Pages: complete in themselves, true to what was put in, never with a hole."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from fullwell.base.errors import FileError
from fullwell.frames import Frame
from fullwell.report import Page

CHECKS = [
    {"name": "gain A", "unit": "e-/adu", "truth": 1.5, "measured": 1.503, "error": 0.002, "bound": 0.0016, "pull": 1.5},
    {"name": "gain B", "unit": "e-/adu", "truth": 1.4, "measured": 1.41, "error": 0.002, "bound": 0.0016, "pull": 5.0},
]


def _page() -> Page:
    page = Page("A <night>", subtitle="demo", facts={"seed": 1})
    page.add_section("Checks", "First.\n\nSecond.")
    page.add_checks(CHECKS)
    page.add_figure("checks", "pulls", CHECKS, caption="Pulls.")
    return page


def _cells(html: str) -> list[list[str]]:
    rows = re.findall(r"<tr.*?>(.*?)</tr>", html, re.S)
    return [re.findall(r"<td[^>]*>(.*?)</td>", row, re.S) for row in rows if "<td" in row]


def test_numbers_are_shown_with_errors_and_pulls() -> None:
    assert _cells(_page().html()) == [
        ["gain A", "e-/adu", "1.5000", "1.5030 ± 0.0020", "+1.50", "1.25"],
        ["gain B", "e-/adu", "1.4000", "1.4100 ± 0.0020", "+5.00", "1.25"],
    ]


def test_a_failed_check_is_seen_at_the_head_and_in_its_row() -> None:
    html = _page().html()
    assert re.search(r'class="verdict bad">\s*<strong>1 of 2</strong> checks hold', html)
    assert html.count('<tr class="bad">') == 1
    page = Page("x")
    page.add_checks(CHECKS[:1])
    assert 'class="verdict good"' in page.html()


def test_a_check_without_a_pull_fails() -> None:
    page = Page("x")
    page.add_checks([{**CHECKS[0], "pull": None}])
    assert page.verdict == (0, 1)


def test_text_is_escaped() -> None:
    page = _page()
    page.add_text("a < b & <script>alert(1)</script>")
    page.add_warning("<b>")
    html = page.html()
    assert "<script>" not in html
    assert "A &lt;night&gt;" in html
    assert "<li>&lt;b&gt;</li>" in html


def test_nothing_is_fetched() -> None:
    html = _page().html()
    assert not re.search(r"(src|href)=\"(?!data:|#)", html)
    assert "url(" not in html
    assert "@import" not in html


def test_lines_are_svg_and_pictures_are_webp() -> None:
    page = Page("x")
    page.add_figure("checks", "pulls", CHECKS)
    page.add_figure("frame", "image", Frame.from_arrays(np.arange(12.0).reshape(3, 4), unit="adu"))
    kinds = re.findall(r'<img src="data:([a-z/+]+);base64', page.html())
    assert kinds == ["image/svg+xml", "image/webp"]


@pytest.mark.parametrize(
    ("name", "message"),
    [("nope", "there is no figure named"), ("image", "no finite pixel")],
)
def test_a_figure_that_fails_is_a_red_box_with_its_error(name: str, message: str) -> None:
    page = Page("x")
    page.add_figure("frame", name, Frame.from_arrays(np.full((3, 4), np.nan), unit="adu"), caption="A frame.")
    html = page.html()
    assert "could not be drawn" in html
    assert message in html
    assert "<img" not in html
    assert message in json.dumps(page.data())


def test_the_same_page_gives_the_same_bytes() -> None:
    assert _page().html() == _page().html()


def test_a_picture_of_noise_stays_small() -> None:
    noise = np.random.default_rng(1).normal(1000, 10, (1000, 1000))
    page = Page("x")
    page.add_figure("frame", "image", Frame.from_arrays(noise, unit="adu"))
    assert len(page.html()) < 400_000


def test_tables_with_units_states_and_missing_numbers() -> None:
    page = Page("x")
    page.add_table(
        ("amplifier", "gain", "noise"),
        [["A", {"value": 1.5, "error": 0.01, "unit": "e-/adu"}, 5.25], ["B", float("nan"), None]],
        units={"noise": "electron"},
        states=["", "off"],
    )
    html = page.html()
    assert _cells(html) == [["A", "1.500 ± 0.010 e-/adu", "5.2500"], ["B", "-", "-"]]
    assert 'noise<span class="unit">electron</span>' in html
    assert '<tr class="off">' in html


def test_the_data_lie_beside_the_page(tmp_path: Path) -> None:
    page = _page()
    page.add_table(("a",), [[float("inf")]])
    path = page.write(tmp_path / "night.html")
    data = json.loads((tmp_path / "night.json").read_text())
    assert path.read_text() == page.html()
    assert data["version"] == 1
    assert data["checks"] == {"passed": 1, "of": 2}
    table = data["sections"][0]["parts"][1]
    assert [c["name"] for c in table["columns"]][:3] == ["check", "unit", "truth"]
    assert table["rows"][1][2] == 1.4
    assert table["rows"][1][4]["value"] == 5.0
    assert data["sections"][0]["parts"][-1]["rows"] == [[None]]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["night.html", "night.json"]


def test_a_folder_that_is_not_there_is_an_error_of_ours(tmp_path: Path) -> None:
    with pytest.raises(FileError):
        _page().write(tmp_path / "none" / "night.html")


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs a browser: apt-get install chromium")
@pytest.mark.slow
def test_a_browser_shows_the_page(tmp_path: Path) -> None:
    page = tmp_path / "night.html"
    _page().write(page)
    shot = tmp_path / "night.png"
    call = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", f"--screenshot={shot}", "--window-size=900,1200"]
    subprocess.run([*call, page.as_uri()], check=True, capture_output=True, timeout=120, env={**os.environ})
    from PIL import Image

    pixels = np.asarray(Image.open(shot).convert("RGB"), float)
    dark = (pixels.mean(axis=2) < 100).mean()
    reddish = (pixels[..., 0] - pixels[..., 2] > 15).mean()
    assert 0.005 < dark < 0.3
    assert reddish > 0.002
