"""`fullwell noise`: budget of one frame, check of several, figures, JSON, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from fullwell import io
from fullwell.reduction import isr
from fullwell.simulation import ScienceScene, masters, sensor_of, simulate


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two corrected exposures of one field, the first with its parts kept, and what they were corrected with."""
    out = tmp_path_factory.mktemp("noise")
    sensor = sensor_of("demo", 1, dark_rate=0.5, cosmic_rays=0.0)
    products = masters(sensor, seed=4)
    for k in range(2):
        raw = simulate(ScienceScene(), sensor, seed=k).frame
        io.write_frame(isr(raw, products, keep_components=k == 0), out / f"{k}.fits")
        io.write_raw(raw, out / f"raw{k}.fits")
    for role in ("bias", "dark", "flat"):
        io.write_product(products[role], out / f"{role}.fits")
    return out


def means(data: dict) -> dict[str, float]:
    found: dict[str, float] = data["budget"]["frame"]["mean"]
    return found


def test_kept_and_recomputed_agree(run, folder: Path) -> None:
    products = [x for role in ("bias", "dark", "flat") for x in (f"--{role}", folder / f"{role}.fits")]
    one, two = run("noise", folder / "0.fits", "--json"), run("noise", folder / "1.fits", *products, "--json")
    assert (one.code, two.code) == (0, 0)
    assert (one.data["budget"]["method"], two.data["budget"]["method"]) == ("kept", "recomputed")
    for term in ("sky", "dark", "read_noise", "bias_frame", "dark_frame"):
        assert means(two.data)[term] == pytest.approx(means(one.data)[term], rel=0.01), term
    assert one.data["check"] is None and one.data["budget"]["closure"] < 1e-6


def test_a_table_for_people(run, folder: Path) -> None:
    done = run("noise", folder / "0.fits")
    assert done.code == 0
    assert "photons of the sky" in done.out and "by amplifier" in done.out and "by flux" in done.out
    assert "no photon transfer (--ptc)" in done.err


def test_several_exposures_are_checked_and_drawn(run, folder: Path, tmp_path: Path) -> None:
    flat = ("--bias", folder / "bias.fits", "--dark", folder / "dark.fits", "--flat", folder / "flat.fits")
    done = run("noise", folder / "0.fits", folder / "1.fits", *flat, "-o", tmp_path / "new", "--json")
    whole = done.data["check"]["levels"][0]
    assert abs(whole["pull"]) < 4 and whole["error"] < 0.01
    assert {Path(p).name for p in done.data["figures"].values()} == {"noise_budget.png", "variance_check.png"}
    assert all(Path(p).read_bytes().startswith(b"\x89PNG") for p in done.data["figures"].values())


def test_what_it_refuses(run, folder: Path) -> None:
    raw = run("noise", folder / "raw0.fits")
    assert raw.code == 2 and "the frame has no variance" in raw.err
    wrong = run("noise", folder / "1.fits", "--flat", folder / "bias.fits")
    assert wrong.code == 2 and "the flat is a bias" in wrong.err
    alone = run("noise", folder / "1.fits")
    assert alone.code == 2 and "--variance-components" in alone.err
    matched = run("noise", folder / "0.fits", "--match", "--json")
    assert matched.code == 2 and "two or more exposures" in matched.data["failures"][0]["error"]
