"""Catalogues: columns, units, files, generators; what bad input says."""

from __future__ import annotations

import sys
import warnings
from typing import Any

import numpy as np
import pytest
from astropy.table import Table

from fullwell.base.errors import DataError, FileError, FullwellWarning, UsageError
from fullwell.cameras import Box
from fullwell.frames import Frame
from fullwell.frames.psf import GaussianPsf
from fullwell.injection import EffectiveGain, effective_gain, inject, make_catalog
from fullwell.injection.catalog import Status
from fullwell.products import Dark

SHAPE = (80, 100)


def frame_of(unit: str = "electron", **more: Any) -> Frame:
    return Frame.from_arrays(np.zeros(SHAPE, np.float32), np.ones(SHAPE, np.float32), unit=unit, **more)


def put(columns: Any, frame: Frame | None = None, **more: Any) -> Any:
    frame = frame or frame_of()
    gain = EffectiveGain(np.ones(SHAPE, np.float32), frame.box, frame.unit, "flat")
    return inject(frame, columns, gain=gain, **{"psf": GaussianPsf(4.0), "noise": "none", **more})


def wcs_of() -> Any:
    from astropy.wcs import WCS

    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval, wcs.wcs.crpix, wcs.wcs.cdelt = [150.0, 2.0], [50.5, 40.5], [-0.2 / 3600, 0.2 / 3600]
    return wcs


def test_magnitudes_njy_and_fluxes_agree() -> None:
    place = {"x": [50.0], "y": [40.0]}
    mag = 20.0
    nano = 10 ** ((31.4 - mag) / 2.5)
    for columns, frame, photo in (
        ({"mag": [mag]}, frame_of("nJy"), None),
        ({"nJy": [nano]}, frame_of("nJy"), None),
        ({"MAG_AB": [mag]}, frame_of(), 2.5),
        ({"flux": [nano / 2.5]}, frame_of(photo_calib=2.5), None),
    ):
        done = put({**place, **columns}, frame, photo=photo)
        assert done.truth["mag"][0] == pytest.approx(mag, abs=1e-9)
        assert done.frame.image.array.sum() == pytest.approx(nano if frame.unit == "nJy" else nano / 2.5, rel=1e-5)


def test_a_flux_has_its_own_unit() -> None:
    table = Table({"x": [50.0], "y": [40.0], "flux": [1.0]})
    table["flux"].unit = "uJy"
    assert put(table, photo=2.0).truth["flux_true"][0] == pytest.approx(500.0)
    table["flux"].unit = "m"
    with pytest.raises(DataError, match="is in m"):
        put(table, photo=2.0)


def test_places_on_the_sky_and_in_pixels_agree() -> None:
    done = put({"ra": [150.0005], "dec": [2.0005], "flux": [1e3]}, wcs=wcs_of())
    x, y = (float(v) for v in wcs_of().all_world2pix(150.0005, 2.0005, 0))
    assert (done.truth["x"][0], done.truth["y"][0]) == pytest.approx((x, y))
    image = done.frame.image.array.astype(float)
    assert (image * np.arange(100)).sum() / image.sum() == pytest.approx(x, abs=1e-3)


@pytest.mark.parametrize("form", ["csv", "ecsv", "fits", "parquet"])
def test_files(form: str, tmp_path: Any) -> None:
    columns = {"x": [50.0, 20.0], "y": [40.0, 30.0], "flux": [1e3, 2e3]}
    path = tmp_path / f"stars.{form}"
    if form == "parquet":
        pa = pytest.importorskip("pyarrow")
        from pyarrow import parquet

        parquet.write_table(pa.table(columns), path)
    else:
        Table(columns).write(path, format={"csv": "ascii.csv", "ecsv": "ascii.ecsv", "fits": "fits"}[form])
    assert np.array_equal(put(path).frame.image.array, put(columns).frame.image.array)
    with pytest.raises(FileError):
        put(tmp_path / f"none.{form}")


GOOD = {"x": [50.0], "y": [40.0], "flux": [1e3]}


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({**GOOD, "fluxx": [1.0]}, "did you mean 'flux'"),
        ({**GOOD, "magnitude": [20.0]}, "mag and flux"),
        ({"x": [50.0], "flux": [1.0]}, "no positions"),
        ({"x": [50.0], "y": [40.0]}, "no fluxes"),
        ({"ra": [1.0], "dec": [1.0], "flux": [1.0]}, "no celestial"),
        ({"x": [50.0], "y": [40.0], "mag": [20.0]}, "photometric"),
        ({**GOOD, "flux": ["bright"]}, "texts"),
        ({"x": [1.0, 2.0], "y": [1.0, 2.0], "flux": [1.0, 1.0], "id": [3, 3]}, "2 times"),
        ({**GOOD, "id": [1.5]}, "whole numbers"),
        ({**GOOD, "X_PIX": [50.0]}, "both give 'x'"),
    ],
)
def test_what_bad_catalogues_say(columns: Any, words: str) -> None:
    with pytest.raises((UsageError, DataError)) as told:
        put(columns)
    assert words in str(told.value)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"psf": None}, "no PSF"),
        ({"psf": np.ones((4, 4))}, "no middle"),
        ({"psf": "airy:3"}, "no PSF"),
        ({"noise": "shot"}, "poisson"),
        ({"saturation": -1.0}, "full well"),
        ({"seed": -1}, "seed"),
    ],
)
def test_what_bad_options_say(more: Any, words: str) -> None:
    with pytest.raises((UsageError, DataError)) as told:
        put(GOOD, **more)
    assert words in str(told.value)


def test_rows_that_cannot_be_drawn_are_told_and_flagged() -> None:
    columns = {
        "x": [50.0, 50.0, 999.0, np.nan, 50.0, 99.0, 20.0],
        "y": [40.0, 40.0, 40.0, 40.0, 40.0, 40.0, 60.0],
        "flux": [1e3, np.nan, 1e3, 1e3, 1e3, 1e3, -500.0],
        "source_type": ["star", "star", "star", "star", "quasarr", "DeltaFunction", "Star"],
        "id": np.arange(7),
    }
    with pytest.warns(FullwellWarning, match="1 MAG_BAD, 1 TYPE_UNKNOWN, 1 POSITION_BAD of 7"):
        done = put(columns, noise="poisson")
    wanted = [0, "MAG_BAD", "NO_OVERLAP", "POSITION_BAD", "TYPE_UNKNOWN", "PARTIAL", "NEGATIVE_FLUX"]
    assert list(done.truth["status"]) == [int(Status[w]) if w else 0 for w in wanted]
    assert list(done.truth["n_pix"] > 0) == [True, False, False, False, False, True, True]
    assert done.truth["flux_drawn"][6] == pytest.approx(-500.0)
    assert done.frame.variance.array.min() == 1.0


def test_other_bands_are_left() -> None:
    from fullwell.frames import Observation

    frame = frame_of(observation=Observation(band="r"))
    table = {"x": [50.0, 20.0], "y": [40.0, 40.0], "flux": [1e3, 1e3], "band": ["r", "u"], "id": [1, 2]}
    assert list(put(table, frame).truth["n_pix"] > 0) == [True, False]
    table = {"x": [50.0], "y": [40.0], "mag_r": [20.0], "u_mag": [25.0]}
    assert put(table, frame, photo=1.0).truth["mag"][0] == 20.0


def test_columns_are_carried_and_seeds_are_those_of_rows() -> None:
    columns = {**GOOD, "keep_me": ["a"], "group_id": [7], "id": [5]}
    done = put(columns)
    assert (done.truth["keep_me"][0], done.truth["group_id"][0]) == ("a", 7)
    images = [
        put({**columns, "seed": [s]}, noise="poisson", seed=t).frame.image.array for s, t in ((1, 1), (1, 2), (2, 1))
    ]
    assert np.array_equal(images[0], images[1]) and not np.array_equal(images[0], images[2])
    assert np.array_equal(images[0], put(columns, noise="poisson", seed=1).frame.image.array)


@pytest.mark.slow
def test_a_million_rows() -> None:
    n = 1_000_000
    rng = np.random.default_rng(1)
    columns = {"x": rng.uniform(-1e5, 1e5, n), "y": rng.uniform(-1e5, 1e5, n), "flux": rng.uniform(1, 1e4, n)}
    done = put(columns)
    inside = (np.abs(columns["x"] - 49.5) < 50) & (np.abs(columns["y"] - 39.5) < 40)
    assert len(done.truth) == n and (done.truth["n_pix"] > 0).sum() >= inside.sum()


@pytest.mark.parametrize("layout", ["uniform", "grid", "halton", "clustered"])
def test_generators(layout: str) -> None:
    box = Box(10, 20, 400, 200)
    table = make_catalog(box, 500, layout=layout, mag=(18, 24), slope=0.3, near=[(100, 100)], radius=5.0, seed=3)
    again = make_catalog(box, 500, layout=layout, mag=(18, 24), slope=0.3, near=[(100, 100)], radius=5.0, seed=3)
    assert all((table[c] == again[c]).all() for c in table.colnames)
    assert table["mag"].min() >= 18 and table["mag"].max() <= 24
    if layout == "clustered":
        assert table["x"].std() == pytest.approx(5.0, rel=4 / np.sqrt(1000))
        return
    assert ((table["x"] >= 9.5) & (table["x"] < 409.5) & (table["y"] >= 19.5) & (table["y"] < 219.5)).all()
    counts = np.histogram2d(table["x"], table["y"], [8, 4], [[9.5, 409.5], [19.5, 219.5]])[0]
    assert counts.std() < {"uniform": 8.0, "grid": 3.0, "halton": 2.0}[layout]


def test_magnitudes_follow_their_slope() -> None:
    table = make_catalog(Box(0, 0, 10, 10), 40000, mag=(18.0, 24.0), slope=0.3)
    bright = (np.asarray(table["mag"]) < 21).mean()
    expected = (10**0.9 - 1) / (10**1.8 - 1)
    assert bright == pytest.approx(expected, abs=4 * np.sqrt(expected / 40000))


def test_profiles_are_drawn_by_galsim() -> None:
    pytest.importorskip("galsim")
    columns = {
        "x": [50.3], "y": [40.2], "flux": [1e4], "source_type": ["Sersic"], "n": [1.0], "half_light_radius": [0.8],
        "q": [0.5], "beta": [0.0],
    }  # fmt: skip
    done = put(columns, wcs=wcs_of())
    image = done.frame.image.array.astype(float)
    y, x = np.mgrid[:80, :100]
    assert image.sum() == pytest.approx(1e4, rel=0.02)
    assert (image * x).sum() / image.sum() == pytest.approx(50.3, abs=0.03)
    wide, high = (np.sqrt((image * (v - c) ** 2).sum() / image.sum()) for v, c in ((x, 50.3), (y, 40.2)))
    assert wide > 1.2 * high
    types = ["exponential", "deVaucouleurs", "trail"]
    pixels = {"half_light_radius_pix": [3.0] * 3, "trail_length_pix": [20.0] * 3}
    three = {
        "x": [20.0, 50.0, 80.0],
        "y": [40.0] * 3,
        "flux": [1e4] * 3,
        "source_type": types,
        **pixels,
        "id": [1, 2, 3],
    }
    assert (put(three).truth["flux_laid"] > 8e3).all()


def test_profiles_that_cannot_be_drawn(monkeypatch: Any) -> None:
    pytest.importorskip("galsim")
    columns = {"x": [50.0], "y": [40.0], "flux": [1e4], "source_type": ["sersic"], "n": [9.0]}
    done = put({**columns, "half_light_radius_pix": [3.0]})
    assert done.truth["status"][0] == int(Status.SERSIC_EXTREME)
    with pytest.raises(UsageError, match="arcsec"):
        put({**columns, "half_light_radius": [3.0]})
    monkeypatch.setitem(sys.modules, "galsim", None)
    with pytest.raises(UsageError, match="not installed"):
        put({**columns, "half_light_radius_pix": [3.0]})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        put(GOOD)


def test_a_catalogue_that_is_nowhere_on_the_frame_is_told() -> None:
    columns = {"x": [500.0, -300.0], "y": [40.0, 40.0], "flux": [10.0, 10.0]}
    with pytest.warns(FullwellWarning, match="2 off the frame"):
        put(columns)
    columns["x"][0] = 50.0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        put(columns)


def test_profiles_without_their_shape_are_counted() -> None:
    pytest.importorskip("galsim")
    columns = {"x": [50.0, 20.0], "y": [40.0, 40.0], "flux": [10.0, 10.0], "source_type": ["star", "sersic"]}
    with pytest.warns(FullwellWarning, match="1 SHAPE_BAD of 2"):
        done = put(columns)
    assert done.frame.last("inject").numbers["status"] == {"shape_bad": 1}


def test_a_product_that_is_no_flat_is_told_by_its_kind() -> None:
    with pytest.raises(UsageError, match="a Dark was given for the flat") as told:
        effective_gain(frame_of(), flat=Dark(image=np.zeros(SHAPE, np.float32), unit="electron/s"))  # type: ignore[arg-type]
    assert len(str(told.value)) < 200


def test_stars_beyond_all_bounds_are_not_drawn() -> None:
    columns = {"x": [50.0] * 4, "y": [40.0] * 4, "flux": [1e30, -1e30, 10.0, 10.0], "draw_size": [0, 0, 10**5, -5]}
    with pytest.warns(FullwellWarning, match="2 MAG_BAD, 2 SHAPE_BAD of 4"):
        done = put({**columns, "id": np.arange(4)}, noise="poisson")
    assert done.truth["status"].tolist() == [
        Status.MAG_BAD,
        Status.MAG_BAD | Status.NEGATIVE_FLUX,
        *2 * [Status.SHAPE_BAD],
    ]
    assert not done.frame.image.array.any()
    with pytest.raises(DataError, match="a seed of -5"):
        put({"x": [50.0], "y": [40.0], "flux": [10.0], "seed": [-5]})
