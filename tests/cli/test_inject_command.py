"""`fullwell inject`."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from astropy.table import Table

from fullwell import io
from fullwell.cli.main import main
from fullwell.frames import Frame, GainMap
from fullwell.frames.psf import GaussianPsf
from fullwell.products import Flat


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


def test_fluxes_from_below_zero_are_refused(corrected: Any, tmp_path: Any, capsys: Any) -> None:
    for wrong in ("--flux=-5:10", "--flux=0:10"):
        args = ["inject", str(corrected), "--generate", "grid", wrong, "-o", str(tmp_path / "out.fits")]
        assert main(args) == 2
        told = capsys.readouterr().err
        assert "no logarithm" in told and "Traceback" not in told
    assert not (tmp_path / "out.fits").exists()


def test_a_trial_run_finds_that_there_is_no_catalogue(corrected: Any, tmp_path: Any, capsys: Any) -> None:
    out = str(tmp_path / "out.fits")
    assert main(["inject", str(corrected), str(tmp_path / "none.csv"), "-o", out, "--dry-run"]) == 2
    assert "none.csv" in capsys.readouterr().err


def test_a_file_without_a_table_is_told_in_a_line(corrected: Any, tmp_path: Any, capsys: Any) -> None:
    (tmp_path / "empty.csv").touch()
    assert main(["inject", str(corrected), str(tmp_path / "empty.csv"), "-o", str(tmp_path / "out.fits")]) == 2
    told = capsys.readouterr().err
    assert "holds no table" in told and len(told.splitlines()) < 6


def test_sources_that_are_not_whole_stars_on_the_frame_are_counted(corrected: Any, tmp_path: Any, capsys: Any) -> None:
    stars, out = tmp_path / "stars.csv", tmp_path / "out.fits"
    stars.write_text("x,y,flux\n50,40,1e4\n-500,40,10\n20,20,-100\n0,0,50\n")
    assert main(["inject", str(corrected), str(stars), "-o", str(out), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["status"] == {"no_overlap": 1, "negative_flux": 1, "partial": 1} and told["drawn"] == 3
    assert "1 no_overlap" in io.read(out).last("inject").note


def test_the_removal_test_says_why_it_was_not_made(corrected: Any, tmp_path: Any, capsys: Any) -> None:
    out = tmp_path / "out.fits"
    args = ["inject", str(corrected), "--generate", "grid", "--number", "3", "--flux", "1e4", "-o", str(out)]
    assert main([*args, "--verify"]) == 2
    told = capsys.readouterr().err
    assert "the frame is written, the removal test was not made: " in told and "native stars" in told
    assert out.exists()


def test_the_removal_test_takes_the_gain_of_the_flat(corrected: Any, tmp_path: Any, monkeypatch: Any) -> None:
    """Of a flat that was given, K is made anew; without one it is that of the frame, and this is said."""
    from types import SimpleNamespace

    from fullwell import injection
    from fullwell.cli.inject import _verify

    before = io.read(corrected)
    flat = Flat(image=np.full(before.shape, 0.8, np.float32), observation=before.observation)
    before = replace(before, gain_map=replace(before.gain_map, flat_id=flat.id))
    own = injection.EffectiveGain(np.ones(before.shape, np.float32), before.box, "electron", "self-calibrated")
    seen, notes = [], []

    def tried(frame: Any, after: Any, gain: Any) -> Any:
        seen.append(gain)
        return SimpleNamespace(ok=True, to_dict=dict)

    monkeypatch.setattr(injection, "distinguishability", tried)
    door = SimpleNamespace(say=lambda text: None, give=lambda **data: None, note=notes.append)
    done: Any = SimpleNamespace(before=before, gain=own)
    _verify(door, done, flat, None, None)  # type: ignore[arg-type]
    assert seen[0].method == "flat" and np.allclose(seen[0].k, 1.25) and not notes
    _verify(door, done, "auto", None, None)  # type: ignore[arg-type]
    assert seen[1] is own and "--flat or --repo" in notes[0]
