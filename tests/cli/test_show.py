"""show: levels and noise against numbers put into the file by hand."""

from __future__ import annotations

import math
import time
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from fullwell.cli.show import _profile, _robust


def test_median_and_scatter_of_normal_noise_with_outliers() -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(1000, 5, 100_000)
    values[:500] = 60_000
    median, error, sigma = _robust(values)
    assert error == pytest.approx(math.sqrt(math.pi / 2) * 5 / math.sqrt(100_000), rel=0.02)
    shift = 0.0063 * 5  # the median of 99.5 % good values lies at the quantile 0.5025, 0.0063 sigma above
    assert abs(median - 1000 - shift) < 4 * error
    assert abs(sigma - 5) < 4 * 5 / math.sqrt(2 * 100_000)


def test_scatter_of_integers_finer_than_a_step() -> None:
    rng = np.random.default_rng(2)
    values = np.round(rng.normal(100.3, 0.6, 50_000)).astype(np.uint16)
    sigma = _robust(values)[2]
    assert sigma == pytest.approx(math.sqrt(0.6**2 + 1 / 12), rel=0.02)


def test_all_equal_and_no_finite_value() -> None:
    assert _robust(np.full(10, 7.0)) == (7.0, 0.0, 0.0)
    assert all(math.isnan(v) for v in _robust(np.full(10, np.nan)))


def test_profile_rises_with_y() -> None:
    image = np.repeat(np.arange(16.0)[:, None], 4, axis=1)
    assert _profile(image) == "▁▁▂▂▃▃▄▄▅▅▆▆▇▇██"


def test_a_raw_frame_of_four_amplifiers(run, night: Path) -> None:
    path = night / "flat" / "flat_00300.fits"
    start = time.process_time()
    done = run("show", path, "--json")
    assert time.process_time() - start < 1.0
    (entry,) = done.data["files"]
    assert entry["is"] == "raw frame"
    assert entry["observation"]["kind"] == "flat"
    assert [row["amplifier"] for row in entry["levels"]] == ["A", "B", "C", "D"]
    pixels = fits.getdata(path)
    assert entry["shape"] == list(pixels.shape)
    for row in entry["levels"]:
        assert row["data"]["unit"] == "adu"
        assert row["overscan"]["value"] == pytest.approx(1000, abs=60)
        assert row["data"]["value"] > row["overscan"]["value"] + 5000
        assert 2 < row["noise"]["value"] < 8
        assert row["noise"]["error"] < 0.1


def test_a_corrected_frame_shows_unit_and_history(run, night: Path, tmp_path: Path) -> None:
    raw = night / "science" / "science_00400.fits"
    assert run("isr", raw, "-o", tmp_path, "--gain", 1.5, "-q").code == 0
    done = run("show", tmp_path / "science_00400.fits")
    assert "processed frame, 512 x 512 pixels, electron" in done.out
    assert "left out" in done.out
    assert "no flat was given" in done.out


def test_a_product_shows_what_it_is(run, night: Path, tmp_path: Path) -> None:
    out = tmp_path / "bias.fits"
    assert run("build", "bias", *sorted((night / "bias").glob("*.fits")), "-o", out, "-q").code == 0
    (entry,) = run("show", out, "--json").data["files"]
    assert entry["is"] == "calibration product, bias"
    assert entry["product"]["unit"] == "electron"
    assert len(entry["inputs"]) == 4


def test_a_file_of_several_images_of_no_known_layout_is_still_shown(run, night: Path) -> None:
    done = run("show", night / "science" / "truth" / "science_00400.fits")
    assert done.code == 0
    assert "MEAN_CHARGE" in done.out
    assert "It is not shown as a frame" in done.out


def test_a_file_that_is_not_there_does_not_stop_the_others(run, night: Path) -> None:
    done = run("show", "none.fits", night / "bias" / "bias_00100.fits")
    assert done.code == 1
    assert "none.fits: failed\nFW100" in done.err
    assert "raw frame" in done.out


def test_a_text_file_called_fits(run, tmp_path: Path) -> None:
    path = tmp_path / "note.fits"
    path.write_text("SIMPLE = no\n" * 400)
    done = run("show", path)
    assert done.code == 1
    assert "FW1" in done.err
    assert "Traceback" not in done.err
