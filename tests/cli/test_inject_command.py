"""`fullwell inject`."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from astropy.table import Table

from fullwell import io
from fullwell.cli.main import main
from fullwell.frames import Frame, GainMap
from fullwell.frames.psf import GaussianPsf


@pytest.fixture
def corrected(tmp_path: Any) -> Any:
    rng = np.random.default_rng(1)
    image = rng.poisson(200, (150, 160)).astype(np.float32)
    frame = Frame.from_arrays(
        image, image + 25, np.zeros(image.shape, np.uint32), unit="electron", gain_map=GainMap(), psf=GaussianPsf(4.0)
    )
    io.write_frame(frame, tmp_path / "frame.fits")
    return tmp_path / "frame.fits"


def test_generated_stars(corrected: Any, tmp_path: Any, capsys: Any) -> None:
    out = tmp_path / "out.fits"
    args = [
        "inject",
        str(corrected),
        "--generate",
        "grid",
        "--number",
        "20",
        "--flux",
        "1e3:1e4",
        "-o",
        str(out),
        "--json",
    ]
    assert main(args) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["drawn"] == 20 and told["k_method"] == "stored"
    truth = Table.read(tmp_path / "out.truth.ecsv")
    added = io.read(out).image.array.astype(float) - io.read(corrected).image.array
    assert added.sum() == pytest.approx(truth["flux_drawn"].sum(), rel=1e-5)


def test_a_catalogue_and_mistakes(corrected: Any, tmp_path: Any, capsys: Any) -> None:
    stars, out = tmp_path / "stars.csv", tmp_path / "out.fits"
    Table({"x": [50.0], "y": [40.0], "flux": [1e4]}).write(stars, format="ascii.csv")
    assert main(["inject", str(corrected), str(stars), "-o", str(out), "--dry-run"]) == 0 and not out.exists()
    assert main(["inject", str(corrected), str(stars), "-o", str(out), "--noise", "none"]) == 0
    assert io.read(out).last("inject").config["noise"] == "none"
    capsys.readouterr()
    for wrong in ([], [str(stars), "--generate", "grid"], ["--generate", "grid", "--flux", "a:b"]):
        assert main(["inject", str(corrected), *wrong, "-o", str(out)]) == 2
    assert main(["inject", str(corrected), str(stars), "-o", str(corrected)]) == 2
    assert "FW600" in capsys.readouterr().err
