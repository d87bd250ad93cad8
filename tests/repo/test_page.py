"""The page on the repository: its Python runs, its commands do what it says."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from repos import CAMERA, exposure

from fullwell.repo.repository import Repository

PAGE = Path(__file__).resolve().parents[2] / "docs" / "repository.md"


def test_the_python_of_the_page_runs(calibrated: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(calibrated.path.parent)
    text = (
        PAGE.read_text().replace("FullwellDemo", CAMERA).replace("2025011500058", str(exposure(calibrated, band="r")))
    )
    text = text.replace('"R"', f'"{calibrated.path.name}"').replace("(0, 0, 100, 50)", "(0, 0, 30, 20)")
    plain, ours = re.findall(r"^```python\n(.*?)^```$", text, re.S | re.M)
    names: dict[str, object] = {}
    exec(compile(plain, str(PAGE), "exec"), names)
    assert np.all(names["flat"].image.array == 1.0)  # type: ignore[attr-defined]
    assert names["corner"].array.shape == (20, 30)  # type: ignore[attr-defined]
    exec(compile(ours, str(PAGE), "exec"), names)
    assert names["product"].kind == "flat"  # type: ignore[attr-defined]
    assert Path(str(names["path"])).name == "sky_r_0006.fits"


def test_the_collections_of_the_page_are_those_that_are_made(calibrated: Repository) -> None:
    listed = re.findall(r"^\| `<Instrument>/(\S+?)(?:/<\w+>)?` \|", PAGE.read_text(), re.M)
    made = {name.removeprefix(f"{CAMERA}/").removesuffix("/a") for name in calibrated.butler.collections.query("*")}
    assert set(listed) == made == {"raw/all", "calib", "calibgen", "defaults"}
