"""`fullwell ptc`: raw flats to gains, every estimator, pages; what is wrong with a pair is named and harms no other."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

import fullwell as fw
from fullwell.simulation import flat_pairs, sensor_of

PAIRS = 8


@pytest.fixture(scope="module")
def series() -> Any:
    return flat_pairs(
        sensor_of("ptc", 0, cosmic_rays=0.0), seed=11, raw=True, n=PAIRS, spacing="linear", e_min=3000, e_max=50000
    )


@pytest.fixture(scope="module")
def raw(series: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight pairs of flats of four amplifiers."""
    folder = tmp_path_factory.mktemp("flats")
    for i, pair in enumerate(series):
        for k, frame in enumerate(pair):
            fw.write_raw(frame, folder / f"flat_{i}{'ab'[k]}.fits")
    return folder


@pytest.fixture
def flats(raw: Path, tmp_path: Path) -> Path:
    """A copy of them to spoil."""
    return Path(shutil.copytree(raw, tmp_path / "flats"))


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.fits"))


def amplifiers(done: Any) -> dict[str, dict[str, Any]]:
    return {a["name"]: a for a in done.data["detectors"][0]["amplifiers"]}


def agree(done: Any, series: Any, but: str = "") -> None:
    """Every gain within 4 sigma of the truth, `but` for one amplifier."""
    truth = dict(zip(series.truth.amps, series.truth.gain, strict=True))
    for name, amp in amplifiers(done).items():
        if name != but:
            error = math.hypot(amp["gain"]["error"], amp["gain_model_error"] or 0.0)
            assert abs(amp["gain"]["value"] - truth[name]) < 4 * error, (name, amp["gain"], truth[name])


def spoil(path: Path, change: Any, dtype: Any = None) -> None:
    """Change the pixels of a raw file."""
    with fits.open(path, memmap=False) as hdus:
        number = next(i for i, hdu in enumerate(hdus) if hdu.data is not None)
        data = hdus[number].data.astype(dtype or hdus[number].data.dtype)
        change(data)
        header = hdus[number].header
        for key in ("BZERO", "BSCALE"):
            header.remove(key, ignore_missing=True)
        hdus[number].data = data
        hdus.writeto(path, overwrite=True)


def columns_of(series: Any, name: str) -> tuple[slice, slice]:
    amp = next(a for a in series.sensor.detector if a.name == name)
    return amp.raw.slices


def test_numbers_products_and_pages(run, raw: Path, series: Any, tmp_path: Path) -> None:
    done = run("ptc", *files(raw), "-o", tmp_path / "out", "--json")
    assert done.code == 0, done.err
    found = done.data["detectors"][0]
    assert (
        found["estimator"] in ("fullcov", "fullcov_no_b", "exp")
        and len(found["pairs"]) == PAIRS
        and not found["left_over"]
    )
    agree(done, series)
    names = {e["name"] for e in amplifiers(done)["A"]["estimators"]}
    assert {"pair", "zero_flux", "cov_sum", "line", "quadratic", "power", "eotest", "exp"} <= names and names & {
        "fullcov",
        "fullcov_no_b",
    }
    ptc = fw.read_product(found["files"]["ptc"])
    gain = fw.read_product(found["files"]["gain"])
    assert ptc.id == found["id"] and gain.estimator == found["estimator"] and gain.inputs == (ptc.id,)
    page = Path(done.data["report"]).read_text()
    assert page.count("data:image") >= 7 and "could not" not in page and "Error" not in page
    assert "Why the estimators differ" in page
    assert "Bokeh" in (page := Path(found["files"]["page"]).read_text()) and "<script src" not in page


def test_the_words_for_people(run, raw: Path, tmp_path: Path) -> None:
    done = run("ptc", *files(raw), "-o", tmp_path / "out")
    assert done.code == 0 and "adopted: " in done.out and "cov_sum" in done.out
    assert "Why the gains differ" in done.out or "nothing bends" in done.out.lower()


def test_a_dry_run_shows_the_pairs_and_writes_nothing(run, raw: Path, tmp_path: Path) -> None:
    done = run("ptc", *files(raw), "-o", tmp_path / "out", "--dry-run")
    assert done.code == 0 and "flat_0a.fits" in done.out and not (tmp_path / "out").exists()


def test_python_gives_the_same(raw: Path, series: Any) -> None:
    def corrected(path: Path) -> Any:
        return fw.isr(fw.read(path), recipe="ptc")

    both = [(corrected(a), corrected(b)) for a, b in zip(files(raw)[::2], files(raw)[1::2], strict=True)]
    ptc = fw.ptc(both)
    error = np.hypot(ptc.gain_error, ptc.gain_model_error)
    assert (np.abs(ptc.gain - series.truth.gain) < 4 * error).all() and len(ptc.pairs) == PAIRS


def test_arrays_are_enough(series: Any) -> None:
    rng = np.random.default_rng(4)
    pairs = [
        tuple(rng.normal(rng.poisson(level, (200, 200)), 5.0) / 1.7 for _ in range(2))
        for level in np.linspace(500, 30000, 10)
    ]
    ptc = fw.ptc(pairs, noise=5.0 / 1.7)
    assert abs(ptc.gain[0] - 1.7) < 4 * math.hypot(ptc.gain_error[0], ptc.gain_model_error[0])


def test_flats_of_unequal_light_give_many_levels_a_pair(run, flats: Path, series: Any, tmp_path: Path) -> None:
    done = run("ptc", *files(flats)[-4:], "-o", tmp_path / "out", "--no-report", "--bins", 12, "--json")
    assert done.code == 0, done.err
    found = done.data["detectors"][0]
    assert len(found["pairs"]) == 24 and found["pairs"][0] == found["pairs"][11] != found["pairs"][12]
    points = fw.read_product(found["files"]["ptc"]).points[0]
    assert len(points) == 24 and (np.diff(points.mean[:12]) > 0).all()


def test_a_missing_partner_is_named(run, flats: Path, series: Any, tmp_path: Path) -> None:
    (flats / "flat_3b.fits").unlink()
    done = run("ptc", *files(flats), "-o", tmp_path / "out", "--no-report", "--json")
    left = done.data["detectors"][0]["left_over"]
    assert done.code == 0 and [one["name"] for one in left] == ["flat_3a.fits"] and left[0]["why"]
    agree(done, series)


def test_a_saturated_flat_is_a_point_left_out(run, flats: Path, series: Any, tmp_path: Path) -> None:
    spoil(flats / "flat_4b.fits", lambda data: data.__setitem__(slice(None), 65535), np.uint16)
    done = run("ptc", *files(flats), "-o", tmp_path / "out", "--no-report", "--json")
    assert done.code == 0, done.err
    for amp in amplifiers(done).values():
        assert [n for n, why in amp["rejected"]] == [4] and "saturat" in amp["rejected"][0][1]
    agree(done, series)


def test_a_file_that_is_cut_off_is_told(run, flats: Path, series: Any, tmp_path: Path) -> None:
    (flats / "flat_4b.fits").write_bytes((flats / "flat_4b.fits").read_bytes()[:3000])
    done = run("ptc", *files(flats), "-o", tmp_path / "out", "--no-report", "--json")
    assert done.code == 1 and "flat_4b.fits" in str(done.data["failures"])
    agree(done, series)


def test_wrong_pairs_are_named(run, flats: Path, tmp_path: Path) -> None:
    names = tmp_path / "pairs.txt"
    lines = [f"flat_{i}a.fits flat_{(i + 1) % PAIRS}b.fits" for i in range(PAIRS)]
    names.write_text("# crossed\n" + "\n".join(lines))
    done = run("ptc", *files(flats), "-o", tmp_path / "out", "--no-report", "--pairs", names, "--json")
    assert done.code == 1
    for amp in amplifiers(done).values():
        assert amp["status"] and len(amp["rejected"]) == PAIRS and all("differ" in why for _, why in amp["rejected"])


def test_a_dead_amplifier_fails_alone(run, flats: Path, series: Any, tmp_path: Path) -> None:
    part = columns_of(series, "C")
    rng = np.random.default_rng(5)
    for path in files(flats):
        spoil(path, lambda data: data.__setitem__(part, rng.normal(1000, 4, data[part].shape)), np.uint16)
    done = run("ptc", *files(flats), "-o", tmp_path / "out", "--no-report", "--json")
    assert done.code == 1
    assert [f["name"] for f in done.data["failures"]] == ["C"] and amplifiers(done)["C"]["status"]
    agree(done, series, but="C")


def test_not_a_number_fails_alone(run, flats: Path, series: Any, tmp_path: Path) -> None:
    part = columns_of(series, "B")
    for path in files(flats):
        spoil(path, lambda data: data.__setitem__(part, np.nan), np.float32)
    done = run("ptc", *files(flats), "-o", tmp_path / "out", "--no-report", "--json")
    assert done.code == 1 and [f["name"] for f in done.data["failures"]] == ["B"]
    agree(done, series, but="B")


def test_two_points_give_what_they_can(run, flats: Path, series: Any, tmp_path: Path) -> None:
    done = run("ptc", *files(flats)[:2], *files(flats)[-2:], "-o", tmp_path / "out", "--no-report", "--json")
    found = done.data["detectors"][0]
    assert done.code == 0 and found["estimator"] in ("cov_sum", "zero_flux")
    agree(done, series)
    full = next(e for e in amplifiers(done)["A"]["estimators"] if e["name"].startswith("fullcov"))
    assert full["reason"] and full["gain"]["value"] is None


def test_one_level_is_the_sum_of_covariances(run, flats: Path, series: Any, tmp_path: Path) -> None:
    done = run("ptc", *files(flats)[-2:], "-o", tmp_path / "out", "--no-report", "--json")
    assert done.code == 0 and done.data["detectors"][0]["estimator"] == "cov_sum"
    agree(done, series)


def test_one_level_without_covariances_is_marked(run, flats: Path, tmp_path: Path) -> None:
    done = run("ptc", *files(flats)[-2:], "-o", tmp_path / "out", "--no-report", "--lags", 0, "--json")
    found = done.data["detectors"][0]
    assert done.code == 0 and found["estimator"].startswith("pair")
    assert "unknown amount" in str(found["notes"]) + str(amplifiers(done)["A"]["diagnosis"])


def test_light_in_the_overscan_is_told(run, flats: Path, series: Any, tmp_path: Path) -> None:
    amp = next(a for a in series.sensor.detector if a.name == "A")
    rows, columns = amp.raw.slices
    for path in files(flats):

        def leak(data: Any) -> None:
            part = data[rows, columns]
            data[rows, columns] = np.clip(part + 0.05 * (part.max() - 1000.0), 0, 65535)

        spoil(path, leak, np.uint16)
    done = run("ptc", *files(flats), "-o", tmp_path / "out", "--no-report", "--json")
    reasons = str(amplifiers(done)["A"]["rejected"])
    assert "overscan" in reasons
    agree(done, series, but="A")


def test_no_flats_is_an_error_with_a_remedy(run, tmp_path: Path) -> None:
    bias = flat_pairs(sensor_of("ptc"), seed=1, raw=True, n=1, spacing="log").bias_pair()[0]
    fw.write_raw(bias, tmp_path / "bias.fits")
    done = run("ptc", tmp_path / "bias.fits", "-o", tmp_path / "out")
    assert done.code == 2 and "flat" in done.err and "--flat" in done.err
    assert run("ptc", "-o", tmp_path / "out").code == 2


def test_a_test_stand_is_one_more_estimator(run, raw: Path, tmp_path: Path) -> None:
    Table({"AMP": [1, 2, 3, 4], "PTC_GAIN": [1.2, 1.4, 1.4, 1.6]}).write(tmp_path / "results.fits")
    done = run(
        "ptc", *files(raw), "-o", tmp_path / "out", "--no-report", "--eotest", tmp_path / "results.fits", "--json"
    )
    found = {e["name"]: e for e in amplifiers(done)["B"]["estimators"]}
    assert found["eotest_ptc_gain"]["gain"]["value"] == pytest.approx(1.4)
    broken = run("ptc", *files(raw), "-o", tmp_path / "out", "--eotest", files(raw)[0])
    assert broken.code == 2 and "table" in broken.err
