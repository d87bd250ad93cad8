"""isr, build, combine, simulate, instrument: from files to files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from fullwell import io
from fullwell.base.errors import UsageError
from fullwell.cli.inputs import output_of, with_gain
from fullwell.products import Gain


@pytest.fixture(scope="module")
def masters(night: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Combined bias, dark and flat of the simulated night, made by the commands."""
    from fullwell.cli.main import main

    out = tmp_path_factory.mktemp("calib")
    files = {kind: [str(p) for p in sorted((night / kind).glob("*.fits"))] for kind in ("bias", "dark", "flat")}
    gain = ["--gain", "1.5", "-q"]
    made = {kind: out / f"{kind}.fits" for kind in files}
    bias, dark = ["--bias", str(made["bias"])], ["--dark", str(made["dark"])]
    assert main(["build", "bias", *files["bias"], "-o", str(made["bias"]), *gain]) == 0
    assert main(["build", "dark", *files["dark"], "-o", str(made["dark"]), *gain, *bias]) == 0
    assert main(["build", "flat", *files["flat"], "-o", str(made["flat"]), *gain, *bias, *dark]) == 0
    return made


def test_products_have_the_kind_and_unit_of_their_recipe(masters: dict[str, Path]) -> None:
    units = {kind: io.read_product(path).unit for kind, path in masters.items()}
    assert units == {"bias": "electron", "dark": "electron/s", "flat": ""}
    flat = io.read_product(masters["flat"])
    assert np.nanmedian(flat.image) == pytest.approx(1, abs=0.05)


def test_isr_with_all_products(run, night: Path, masters: dict[str, Path], tmp_path: Path) -> None:
    raws = sorted((night / "science").glob("*.fits"))
    options = [x for kind, path in masters.items() for x in (f"--{kind}", path)]
    done = run("isr", *raws, *options, "--gain", 1.5, "--read-noise", 5, "-o", tmp_path / "new" / "deep", "--json")
    assert done.code == 0
    assert [f["output"] for f in done.data["files"]] == [str(tmp_path / "new" / "deep" / p.name) for p in raws]
    steps = {r["step"]: r for r in done.data["files"][0]["history"]}
    assert steps["flat"]["state"] == "done"
    assert steps["flat"]["inputs"]["flat"] == io.read_product(masters["flat"]).id
    frame = io.read(tmp_path / "new" / "deep" / raws[0].name)
    assert frame.unit == "electron"
    assert frame.variance is not None
    sky = np.nanmedian(frame.image.array)
    assert 200 < sky < 1500
    # sky noise in electron: shot noise of sky and dark, read noise; all of it is in the variance
    ratio = np.nanmedian(frame.variance.array) / sky
    assert 1.0 < ratio < 1.3


def test_a_dry_run_writes_nothing(run, night: Path, tmp_path: Path) -> None:
    raw = night / "science" / "science_00400.fits"
    done = run("isr", raw, "-o", tmp_path / "out", "--gain", 1.5, "--dry-run", "--json")
    assert done.code == 0
    assert not (tmp_path / "out").exists()
    plan = {row["step"]: row["state"] for row in done.data["files"][0]["plan"]}
    assert plan["gain"] == "done"
    assert plan["bias"] == "left out"


def test_a_step_switched_off_is_recorded(run, night: Path, tmp_path: Path) -> None:
    raw = night / "science" / "science_00400.fits"
    done = run("isr", raw, "-o", tmp_path, "--gain", 1.5, "--off", "interpolation", "--json", "-q")
    states = {r["step"]: r["state"] for r in done.data["files"][0]["history"]}
    assert states["interpolation"] == "off"


def test_components_of_the_variance_are_kept_on_request(run, night: Path, tmp_path: Path) -> None:
    raw = night / "science" / "science_00400.fits"
    run("isr", raw, "-o", tmp_path, "--gain", 1.5, "--read-noise", 5, "--variance-components", "-q")
    assert io.read(tmp_path / raw.name).components


def test_without_any_gain_the_frame_stays_in_adu(run, night: Path, tmp_path: Path) -> None:
    raw = night / "science" / "science_00400.fits"
    done = run("isr", raw, "-o", tmp_path, "--recipe", "bootstrap", "--json", "-q")
    assert done.data["files"][0]["unit"] == "adu"


def test_a_frame_that_fails_does_not_stop_the_others(run, night: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.fits"
    bad.write_bytes((night / "science" / "science_00400.fits").read_bytes()[:20_000])
    good = night / "science" / "science_00401.fits"
    done = run("isr", bad, good, "-o", tmp_path / "out", "--gain", 1.5, "--json")
    assert done.code == 1
    assert [f["name"] for f in done.data["failures"]] == [str(bad)]
    assert (tmp_path / "out" / good.name).exists()
    fast = run("isr", bad, good, "-o", tmp_path / "fast", "--gain", 1.5, "--fail-fast")
    assert fast.code == 1
    assert not (tmp_path / "fast" / good.name).exists()


def test_a_calibration_of_another_kind_is_refused(run, night: Path, masters: dict[str, Path], tmp_path: Path) -> None:
    raw = night / "science" / "science_00400.fits"
    done = run("isr", raw, "-o", tmp_path, "--flat", masters["bias"])
    assert done.code == 2
    assert "FW600: --flat is given a bias" in done.err
    assert f"give it as --bias {masters['bias']}" in done.err


def test_an_unknown_difference_cannot_be_accepted(run, night: Path, masters: dict[str, Path], tmp_path: Path) -> None:
    raw = night / "science" / "science_00400.fits"
    done = run("isr", raw, "-o", tmp_path, "--gain", 1.5, "--bias", masters["bias"], "--accept", "binning")
    assert done.code == 1
    assert "a difference in 'binning' cannot be accepted" in done.err


def test_raw_data_are_never_written_to(run, night: Path) -> None:
    raw = night / "science" / "science_00400.fits"
    before = raw.read_bytes()
    done = run("isr", raw, "-o", raw.parent, "--gain", 1.5)
    assert done.code == 2
    assert "the output would replace an input file" in done.err
    assert raw.read_bytes() == before


def test_two_files_of_one_name_are_refused_before_anything_is_done(run, night: Path, tmp_path: Path) -> None:
    raw = night / "science" / "science_00400.fits"
    twin = tmp_path / raw.name
    twin.write_bytes(raw.read_bytes())
    done = run("isr", raw, twin, "-o", tmp_path / "out", "--gain", 1.5)
    assert done.code == 2
    assert "would both be written as science_00400.fits" in done.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["a.fits", "a.FIT", "a.fits.gz", "a.fits.fz", "a.png"])
def test_output_names(name: str, tmp_path: Path) -> None:
    assert output_of(Path("in") / name, tmp_path) == tmp_path / "a.fits"


def test_gains_by_amplifier(night: Path) -> None:
    detector = io.read(night / "bias" / "bias_00100.fits").detector
    found = with_gain("A=1.1,B=1.2,C=1.3,D=1.4", 5.5, detector)
    assert isinstance(found, Gain)
    np.testing.assert_allclose(found.gain, (1.1, 1.2, 1.3, 1.4))
    np.testing.assert_allclose(found.read_noise, 5.5)
    np.testing.assert_allclose(found.read_noise_adu, 5.5 / found.gain)
    assert found.estimator == "option"
    assert with_gain(None, None, detector) is None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("none.ecsv", "neither a file nor a number"),
        ("-1", "a gain of -1 cannot be"),
        ("nan", "a gain of nan cannot be"),
        ("A=1.1", "says nothing of amplifier B"),
        ("A=1,B=1,C=1,D=1,E=1", "there is no amplifier 'E'"),
    ],
)
def test_gains_that_cannot_be_meant(text: str, problem: str, night: Path) -> None:
    detector = io.read(night / "bias" / "bias_00100.fits").detector
    with pytest.raises(UsageError, match=problem):
        with_gain(text, None, detector)


def test_combine_is_the_mean_of_the_files(run, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    stack = rng.normal(100, 5, (6, 8, 9)).astype(np.float32)
    for i, plane in enumerate(stack):
        fits.writeto(tmp_path / f"in{i}.fits", plane)
    files = sorted(tmp_path.glob("in*.fits"))
    out = tmp_path / "out.fits"
    done = run("combine", *files, "-o", out, "--method", "mean", "--json")
    assert done.code == 0
    np.testing.assert_allclose(io.read(out).image.array, stack.mean(axis=0), rtol=1e-6)
    done = run("combine", *files, "-o", out, "--method", "mean", "--weights", "1,1,1,1,1,5")
    expected = (stack[:5].sum(axis=0) + 5 * stack[5]) / 10
    np.testing.assert_allclose(io.read(out).image.array, expected, rtol=1e-6)


def test_combine_does_not_replace_an_input(run, tmp_path: Path) -> None:
    fits.writeto(tmp_path / "a.fits", np.ones((4, 4), np.float32))
    done = run("combine", tmp_path / "a.fits", "-o", tmp_path / "a.fits")
    assert done.code == 2


def test_combine_refuses_weights_that_are_no_numbers(run, tmp_path: Path) -> None:
    done = run("combine", "a.fits", "b.fits", "-o", tmp_path / "o.fits", "--weights", "1,x")
    assert done.code == 2
    assert "'1,x' is not a list of numbers" in done.err


def test_simulation_is_that_of_its_seed(run, night: Path, tmp_path: Path) -> None:
    run("simulate", "bias", "-o", tmp_path, "--seed", 101, "-q", "--no-truth")
    again = fits.getdata(tmp_path / "bias_00101.fits")
    np.testing.assert_array_equal(again, fits.getdata(night / "bias" / "bias_00101.fits"))
    assert not (tmp_path / "truth").exists()


def test_simulate_flat_pairs_with_their_truth(run, tmp_path: Path) -> None:
    done = run("simulate", "flat-pairs", "-o", tmp_path / "ptc", "--count", "3", "--seed", "5", "--json", "-q")
    pairs = done.data["pairs"]
    assert [len(pair["flats"]) for pair in pairs] == [2, 2, 2]
    headers = [[fits.getheader(name) for name in pair["flats"]] for pair in pairs]
    assert all(
        a["EXPTIME"] == b["EXPTIME"] == pair["exposure_time"] for (a, b), pair in zip(headers, pairs, strict=True)
    )
    assert {h["IMAGETYP"] for two in headers for h in two} == {"flat"}
    assert io.read(pairs[0]["flats"][0]).observation.instrument == "demo"
    with fits.open(done.data["truth"]) as hdus:
        np.testing.assert_allclose(hdus["LEVELS"].data["light1"], [pair["light"][0] for pair in pairs])
    planned = run("simulate", "flat-pairs", "-o", tmp_path / "none", "--dry-run", "--json", "-q")
    assert planned.data["pairs"] == 39
    assert not (tmp_path / "none").exists()


def test_simulate_a_scene_file(run, tmp_path: Path) -> None:
    scene = tmp_path / "scene.toml"
    scene.write_text('[[scene]]\nkind = "flat"\nlevel = 5000\nband = "r"\n[[scene]]\nkind = "dark"\ntime = 60\n')
    done = run("simulate", scene, "-o", tmp_path / "sim", "--json", "-q")
    assert [f["kind"] for f in done.data["frames"]] == ["flat", "dark"]
    assert fits.getheader(tmp_path / "sim" / "flat_00001.fits")["FILTER"] == "r"


@pytest.mark.parametrize(
    ("content", "problem"),
    [('kind = "flatt"', "a scene cannot be of kind 'flatt'"), ('kind = "flat"\nlevl = 1', "did you mean 'level'?")],
)
def test_scene_files_with_mistakes(run, tmp_path: Path, content: str, problem: str) -> None:
    scene = tmp_path / "scene.toml"
    scene.write_text(content)
    done = run("simulate", scene, "-o", tmp_path / "sim")
    assert done.code == 2
    assert problem in done.err
    assert not (tmp_path / "sim").exists()


def test_an_unknown_scene(run, tmp_path: Path) -> None:
    done = run("simulate", "flatt", "-o", tmp_path)
    assert done.code == 2
    assert "kinds: bias, dark, flat, science" in done.err


def test_instrument_check_proves_and_draws(run, tmp_path: Path) -> None:
    out = tmp_path / "camera.png"
    done = run("instrument", "check", "demo", "-o", out)
    assert done.code == 0
    assert "the sections tile every detector" in done.out
    assert out.read_bytes().startswith(b"\x89PNG")


def test_instrument_check_of_frames(run, night: Path) -> None:
    done = run("instrument", "check", night / "bias", "--json")
    assert done.code == 0
    assert done.data["kinds"][0]["amplifiers"] == 4
    assert done.data["findings"] == []


def test_a_camera_without_geometry_of_its_own(run) -> None:
    done = run("instrument", "check", "generic")
    assert done.code == 2
    assert "give a frame or a folder of frames" in done.err


def test_instruments_are_listed(run) -> None:
    from fullwell import instruments

    found = run("instrument", "list", "--json").data["instruments"]
    assert {row["name"] for row in found} == set(instruments.names())
