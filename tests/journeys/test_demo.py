"""The demo: truth against measurement, with errors that are true."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path

import numpy as np
import pytest

from fullwell.cli.main import main
from fullwell.journeys import demo, reduce
from fullwell.journeys.checks import Check
from fullwell.simulation import NightPlan

SMALL = NightPlan(biases=4, darks=4, dark_time=60.0, bands=("g",), flats=3, pairs=3, exposures=1)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> demo.DemoResult:
    return demo.run(tmp_path_factory.mktemp("demo") / "out", seed=3, plan=SMALL)


def test_a_small_night_from_end_to_end(small: demo.DemoResult) -> None:
    assert small.ok and small.reduction.ok
    names = [check.name for check in small.checks]
    assert names == [
        *(f"{what} {amp}" for what in ("gain", "read noise", "dark rate") for amp in "ABCD"),
        "flat structure g",
        "star flux g",
        "injection AUC",
        *(f"PTC gain {amp}" for amp in "ABCD"),
    ]
    assert small.ptc is not None and (small.out / "ptc" / "ptc.fits").exists()
    assert len(list((small.out / "raw").iterdir())) == 4 + 4 + 3 + 6 + 1
    assert (small.out / "report.html").read_text().rstrip().endswith("</html>")
    calib = {p.name for p in (small.out / "reduced" / "calib").iterdir()}
    assert calib == {"bias.fits", "dark.fits", "flat_g.fits", "gain.ecsv", "defects.ecsv"}


def test_every_check_has_its_error_and_its_bound(small: demo.DemoResult) -> None:
    for check in small.checks:
        row = check.to_dict()
        assert {"name", "unit", "truth", "measured", "error", "pull", "bound", "ok"} == set(row)
        assert abs(row["pull"]) < 4 and row["ok"]
        assert row["pull"] == pytest.approx((row["measured"] - row["truth"]) / row["error"])
        if not check.name.startswith("PTC"):
            assert check.bound > 0 and check.error <= 1.5 * check.bound, check


def test_a_wrong_number_would_be_told() -> None:
    """A pull of four is a failure, on either side."""
    assert Check("gain", "electron/adu", 1.5, 1.5 + 0.0399, 0.01).ok
    assert not Check("gain", "electron/adu", 1.5, 1.5 + 0.0401, 0.01).ok
    assert not Check("gain", "electron/adu", 1.5, 1.5 - 0.0401, 0.01).ok
    assert Check("gain", "", 1.0, 1.1, 0.1).to_dict()["bound"] is None


def test_the_reduction_does_not_see_the_truth(small: demo.DemoResult) -> None:
    """No card of a raw frame tells gain, noise or rates, and the gains are those of pairs."""
    from astropy.io import fits

    header = fits.getheader(next(iter(sorted((small.out / "raw").glob("science*")))))
    assert not {"GAIN", "RDNOISE", "EGAIN", "SATURATE", "DARKRATE"} & set(header)
    gain = small.reduction.calibrations[0].gain
    assert gain is not None and gain.estimator == "pair"


def test_the_same_seed_gives_the_same_numbers(
    small: demo.DemoResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reduce, "_write_report", lambda result: None)
    again = demo.run(tmp_path, seed=3, plan=SMALL, jobs=1, report=False)
    assert [c.to_dict() for c in again.checks] == [c.to_dict() for c in small.checks]


@pytest.mark.slow
def test_json_and_the_time_of_the_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command prints every check as JSON, and takes less than a minute of a processor."""
    begin = time.process_time()
    assert main(["demo", "-o", str(tmp_path / "out"), "--json"]) == 0
    assert time.process_time() - begin < 60
    data = json.loads(capsys.readouterr().out)
    assert len(data["checks"]) == 21 and all(math.isfinite(c["pull"]) for c in data["checks"])
    assert Path(data["report"]).exists() and data["ok"]


@pytest.mark.slow
def test_pulls_have_mean_zero_and_width_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty nights of twenty cameras. Checks of one kind and night share the gain or the sky, so that the mean over
    nights of a kind has an error of at most 1/sqrt(20), where they are all one number, and its width 1/sqrt(40)."""
    monkeypatch.setattr(reduce, "_write_report", lambda result: None)
    pulls: dict[str, list[list[float]]] = {}
    for seed in range(101, 121):
        checks = demo.run(tmp_path / str(seed), seed=seed, report=False).checks
        for kind in ("gain", "read noise", "dark rate", "flat structure", "star flux", "PTC gain"):
            own = [c for c in checks if c.name.startswith(kind)]
            near = [math.isnan(c.bound) or c.error <= 1.5 * c.bound for c in own]
            assert own and all(near) and all(c.ok for c in own), [c.to_dict() for c in own]
            pulls.setdefault(kind, []).append([c.pull for c in own])
    for kind, found in pulls.items():
        values = np.array(found)
        error = values.mean(axis=1).std(ddof=1) / math.sqrt(len(values))
        assert abs(values.mean()) < 4 * error, kind
        assert abs(values.std(ddof=1) - 1) < 0.2, kind
