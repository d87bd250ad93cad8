"""`fullwell ptc` says what it had to guess or do without, and harms no result of another setup."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

PEDESTAL = 1000.0


def write(folder: Path, levels: tuple[float, ...], **cards: object) -> list[Path]:
    """Pairs of flats of 160 x 160 pixels: gain 1.5 electron/adu, read noise 4 adu, no overscan."""
    rng = np.random.default_rng(5)
    folder.mkdir(exist_ok=True)
    out = []
    for level in levels:
        for letter in "ab":
            image = PEDESTAL + rng.poisson(1.5 * level, (160, 160)) / 1.5 + rng.normal(0, 4.0, (160, 160))
            header = fits.Header({"EXPTIME": level / 1000.0, **cards})
            path = folder / f"{cards.get('CCDSUM', 'f')}_{level:06.0f}{letter}.fits".replace(" ", "")
            fits.PrimaryHDU(image.astype(np.float32), header).writeto(path)
            out.append(path)
    return out


def test_kinds_that_were_guessed_and_a_level_that_is_unknown_are_said(run, tmp_path: Path) -> None:
    levels = tuple(np.geomspace(300, 30_000, 8))
    flats = write(tmp_path / "flats", levels)
    done = run("ptc", *flats, "-o", tmp_path / "out", "--json")
    notes = done.data["detectors"][0]["notes"]
    assert sum("16 files" in text and "taken as flats" in text for text in notes) == 1
    assert sum("neither overscan nor a pair of bias frames" in text for text in notes) == 1
    assert sum("the estimators that should agree do not (" in text for text in notes) == 1
    shown = (tmp_path / "out" / "report.html").read_text()
    for text in ("taken as flats", "neither overscan", "should agree do not"):
        assert text in shown and text in done.err
    bias = write(tmp_path / "bias", (0.0,), IMAGETYP="bias")
    named = write(tmp_path / "named", levels, IMAGETYP="flat")
    good = run("ptc", *named, *bias, "-o", tmp_path / "good", "--no-report", "--json")
    assert good.data["detectors"][0]["notes"] == []
    found = {e["name"]: e["gain"] for e in good.data["detectors"][0]["amplifiers"][0]["estimators"]}
    for name in ("zero_flux", "cov_sum", "pair_noise_subtracted"):  # the bias takes the level off
        assert abs(found[name]["value"] - 1.5) < 4 * found[name]["error"], name
    assert "note:" not in good.err
    assert "A turnoff at the brightest pair is a lower limit" in shown and ". The model error is" in shown


def test_setups_of_one_detector_keep_a_file_each(run, tmp_path: Path) -> None:
    files = [f for binning in ("1 1", "2 2") for f in write(tmp_path / "in", (2000, 8000), CCDSUM=binning)]
    done = run("ptc", *files, "-o", tmp_path / "out", "--no-report", "--json")
    products = [d["files"]["ptc"] for d in done.data["detectors"]]
    assert len(set(products)) == 2 and all(Path(p).is_file() for p in products)


def test_points_left_out_are_said_without_a_page(run, tmp_path: Path) -> None:
    files = write(tmp_path / "in", (1000, 2000, 4000, 8000), IMAGETYP="flat")
    with fits.open(files[3], mode="update") as hdus:
        hdus[0].data[:] *= 1.3
    done = run("ptc", *files, "-o", tmp_path / "out", "--no-report")
    assert f"left out: pair 1 ({files[2].name}, {files[3].name}), all amplifiers: the levels of the two" in done.err


@pytest.mark.parametrize("rule", ["order", "group"])
def test_a_flat_without_a_partner_is_told_in_words(run, rule: str, tmp_path: Path) -> None:
    files = write(tmp_path / "in", (1000,), IMAGETYP="flat")
    extra = write(tmp_path / "more", (1500,), IMAGETYP="flat")[:1]
    done = run("ptc", *files, *extra, "-o", tmp_path / "out", "--pair-by", rule, "--dry-run")
    assert ("the other 2 flats of its setup are paired" if rule == "order" else "names no group") in done.err
