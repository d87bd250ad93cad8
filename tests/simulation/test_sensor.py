"""The fixed truth of a sensor, its switches, seeds and order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fullwell.base.errors import ConfigError, GeometryError, UsageError
from fullwell.kernels import readout
from fullwell.recipes import RECIPES
from fullwell.simulation import (
    ORDER,
    SWITCHES,
    BiasScene,
    DarkScene,
    FlatScene,
    ScienceScene,
    SensorModel,
    Star,
    StarField,
    dark_ladder,
    field_series,
    grid_detector,
    maps,
    masters,
    night,
    pair_scenes,
    scene_of,
    sensor_of,
    simulate,
    write_truth,
)
from fullwell.simulation.streams import Streams, child_seed

QUIET = ("read_noise", "quantisation", "shot_noise")


def test_the_order_is_the_reverse_of_the_correction() -> None:
    """But for shot noise (after the dark charge) and defects (before read-out), as the physics note says."""
    names = [name for name in RECIPES["lsst"].steps if name in ORDER and name != "defects"]
    assert names == [name for name in reversed(ORDER) if name in names]
    assert len(names) == 9
    assert ORDER.index("dark") < ORDER.index("shot_noise") < ORDER.index("assemble")
    assert ORDER.index("defects") < ORDER.index("assemble")


@pytest.mark.parametrize("effect", sorted(SWITCHES))
def test_every_switch_does_something(effect: str) -> None:
    sensor = sensor_of(
        "demo",
        5,
        nonlinearity=0.01,
        parallel_pattern=5.0,
        crosstalk=1e-2,
        full_well=40000.0,
        cosmic_rays=20.0,
        a00=-3e-6,
    )
    scene = FlatScene(level=45000, band="g", time=20)
    on = simulate(scene, sensor, seed=9).frame.image.array
    assert not np.array_equal(on, simulate(scene, sensor, seed=9, off=[effect]).frame.image.array)


def test_switching_one_effect_off_leaves_the_numbers_of_the_others() -> None:
    """Dark charge, cosmic rays and read noise have streams of their own: differences are whole electrons or none."""
    sensor = sensor_of("ideal", 1, dark_rate=0.5, cosmic_rays=100.0, gain=1.0)
    scene = FlatScene(level=500, time=20, band="g")
    kept = ["quantisation"]
    full = simulate(scene, sensor, seed=3, off=kept)
    no_rays = simulate(scene, sensor, seed=3, off=["cosmic_rays", *kept])
    hit = full.truth.cosmic_rays
    assert hit.any()
    amp = sensor.detector.names[0]
    a, b = full.frame.amp(amp).image.array, no_rays.frame.amp(amp).image.array
    assert np.array_equal(a[~hit], b[~hit])
    assert (a[hit] > b[hit]).all()
    no_dark = simulate(scene, sensor, seed=3, off=["dark", *kept]).frame.amp(amp).image.array
    step = (a - no_dark).astype(float)
    np.testing.assert_allclose(step, np.rint(step), atol=1e-3)
    assert step.mean() == pytest.approx(10.0, abs=4 * np.sqrt(10 / step.size))
    no_light = simulate(DarkScene(time=20), sensor, seed=3, off=kept).frame.amp(amp, "serial_overscan").image.array
    assert np.array_equal(no_light, full.frame.amp(amp, "serial_overscan").image.array)


def test_results_depend_on_seeds_and_not_on_threads() -> None:
    sensor, scene = sensor_of("demo", 1), ScienceScene(band="r")
    one = simulate(scene, sensor, seed=11, workers=1).frame.image.array
    assert np.array_equal(one, simulate(scene, sensor, seed=11, workers=3).frame.image.array)
    assert not np.array_equal(one, simulate(scene, sensor, seed=12).frame.image.array)
    again = simulate(scene, sensor_of("demo", 1), seed=11).frame.image.array
    assert np.array_equal(one, again)
    assert child_seed(1, "exposure", 2) != child_seed(1, "exposure", 3)
    assert Streams(4)("a", 1).integers(1 << 60) != Streams(4)("a", 2).integers(1 << 60)


def test_crosstalk_goes_from_source_to_target() -> None:
    """A star of amplifier 0 leaves C[0, 1] of itself in amplifier 1 and nothing comes back; read-out order counts."""
    detector = grid_detector(2, 1, (40, 50), serial=10, gain=1.0, read_noise=5.0)
    sensor = sensor_of("ideal", 2, detector=detector)
    sensor.crosstalk[0, 1] = 0.01
    light = np.zeros((40, 100))
    light[7, 12] = 10000.0
    image = simulate(FlatScene(), sensor, seed=1, off=QUIET, light=light).frame
    source, target = (image.amp(name).image.array - 1000.0 for name in detector.names)
    assert source[7, 12] == 10000.0
    expected = np.zeros((40, 50))
    expected[7, 49 - 12] = 100.0
    np.testing.assert_allclose(target, expected, atol=1e-3)
    assert source.sum() == 10000.0


def test_charge_above_the_full_well_bleeds_and_is_conserved() -> None:
    charge = np.zeros((9, 2), np.float32)
    charge[4, 0] = 500.0
    assert readout.bleed(charge, 100.0) == 0.0
    np.testing.assert_array_equal(charge[:, 0], [0, 0, 100, 100, 100, 100, 100, 0, 0])
    charge[:, 1] = 150.0
    drained = readout.bleed(charge, 100.0)
    assert drained + charge[:, 1].sum() == pytest.approx(9 * 150.0)
    assert charge.max() <= 100.0


def test_dead_pixels_are_dark_and_bright_columns_collect() -> None:
    sensor = sensor_of("demo", 3, dead_pixels=5, dead_columns=1, bright_columns=1, hot_fraction=0.0)
    charge = simulate(FlatScene(level=1000, time=1), sensor, seed=1).truth.mean_charge
    dead = sensor.codes == maps.CODES["dead"]
    assert dead.any()
    assert charge[dead].max() < 1
    bright = sensor.codes == maps.CODES["bright column"]
    assert sensor.dark[bright].min() > 30
    assert simulate(FlatScene(level=1000), sensor, seed=1, off=["defects"]).truth.mean_charge[dead].min() > 500


def test_flats_have_mean_one_rings_and_dust() -> None:
    sensor = sensor_of("demo", 3)
    assert sensor.flat("g").mean(dtype=float) == pytest.approx(1, abs=1e-6)
    assert not np.array_equal(sensor.flat("g"), sensor.flat("r"))
    rings = maps.tree_rings((400, 400), 0.01, 20.0)
    assert rings.max() == pytest.approx(1.01, abs=1e-6)
    diagonal = rings[np.arange(400), np.arange(400)]
    power = np.abs(np.fft.rfft(diagonal - diagonal.mean()))
    # along the diagonal, which points away from the centre of the rings, a step is sqrt(2) pixels
    assert power.argmax() == round(400 * np.sqrt(2) / 20)
    image = np.ones((100, 100), np.float32)
    maps.dust(image, 3, 0.1, np.random.default_rng(1))
    assert 0.5 < image.min() < 0.97
    corner = maps.vignetting((11, 11), 0.3)
    assert corner[5, 5] == 1.0
    assert corner[0, 0] == pytest.approx(0.7, abs=1e-6)


def test_hot_pixels_have_a_lognormal_tail() -> None:
    dark, hot = maps.dark_rate((500, 500), 0.1, 0.0, 0.01, 50.0, 1.0, np.random.default_rng(3))
    n = hot.sum()
    assert n == pytest.approx(2500, abs=4 * 50)
    logs = np.log((dark[hot] - 0.1) / 50.0)
    assert logs.mean() == pytest.approx(0, abs=4 / np.sqrt(n))
    assert logs.std() == pytest.approx(1, abs=4 / np.sqrt(2 * n))


@pytest.mark.parametrize("profile", ["moffat", "gaussian"])
def test_a_star_has_its_flux_place_and_width(profile: str) -> None:
    star = Star(x=60.3, y=52.8, flux=1000.0)
    scene = ScienceScene(sky=0, stars=(star,), time=10, profile=profile, fwhm=4.0)
    truth = simulate(scene, sensor_of("ideal", detector=grid_detector(1, 1, (110, 120))), seed=1).truth
    image = truth.scene.astype(float)
    y, x = np.indices(image.shape)
    assert image.sum() == pytest.approx(10000, rel=1e-5)
    assert (image * x).sum() / image.sum() == pytest.approx(60.3, abs=0.02)
    assert (image * y).sum() / image.sum() == pytest.approx(52.8, abs=0.02)
    near = np.hypot(x - 60.3, y - 52.8)
    half = np.interp(-0.5, -image.ravel()[near.ravel().argsort()] / image.max(), np.sort(near.ravel()))
    assert 2 * half == pytest.approx(4.0, abs=0.4)
    assert list(truth.catalogue()["charge"].value) == [10000.0]


def test_a_detector_without_overscan_and_one_in_any_orientation() -> None:
    plain = simulate(BiasScene(), sensor_of("ideal", detector=grid_detector(1, 1, (20, 30))), seed=1).frame
    assert plain.shape == (20, 30)
    four = grid_detector(2, 2, (20, 30), serial=5, gain=1.0, read_noise=0.0)
    light = np.arange(2400.0).reshape(40, 60)
    frame = simulate(FlatScene(), sensor_of("ideal", detector=four), seed=1, off=QUIET, light=light).frame
    assert frame.shape == (40, 70)
    np.testing.assert_allclose(frame.image.array[:, :30], light[:, :30] + 1000)
    np.testing.assert_allclose(frame.image.array[:, 40:], light[:, 30:] + 1000)


def test_series_of_scenes() -> None:
    pairs = list(pair_scenes(5, 100, 10000))
    levels = [p.level for p in pairs]
    np.testing.assert_allclose(levels, np.repeat([100, 10**2.5, 1000, 10**3.5, 10000], 2))
    uneven = list(pair_scenes(200, 100, 10000, mismatch_rms=0.01))
    ratio = np.array([a.level / b.level for a, b in zip(uneven[::2], uneven[1::2], strict=True)])
    assert ratio.std() == pytest.approx(0.01 * np.sqrt(2), rel=4 / np.sqrt(400))
    assert [s.time for s in dark_ladder((1.0, 5.0), 2)] == [1, 1, 5, 5]
    field = list(field_series(ScienceScene(), 3, dither=4.0, seed=2))
    assert field[0].offset == (0.0, 0.0) != field[1].offset
    first, second = (s.placed((200, 200))[0] for s in field[:2])
    assert second.x - first.x == pytest.approx(field[1].offset[0])
    stars = StarField(n=10, separation=20).stars((200, 200))
    gaps = [np.hypot(a.x - b.x, a.y - b.y) for i, a in enumerate(stars) for b in stars[:i]]
    assert min(gaps) >= 20


def test_a_scene_from_a_mapping() -> None:
    assert scene_of({"kind": "flat", "level": 5}) == FlatScene(level=5)
    with pytest.raises(UsageError, match="kind"):
        scene_of({"level": 5})
    with pytest.raises(ConfigError, match="did you mean 'level'"):
        scene_of({"kind": "flat", "levl": 5})


def test_what_cannot_be_meant_is_refused() -> None:
    with pytest.raises(UsageError, match="effects: flat"):
        simulate(BiasScene(), sensor_of("ideal"), seed=1, off=["flats"])
    with pytest.raises(UsageError, match="presets: ideal"):
        sensor_of("lssst")
    with pytest.raises(GeometryError, match="does not fill"):
        sensor_of("ideal").with_flat("", np.ones((2, 2), np.float32))
    with pytest.raises(UsageError, match="e_min"):
        list(pair_scenes(3, 10, 5))
    with pytest.raises(UsageError):
        masters(sensor_of("ideal"), seed=1, n_bias=0)


def test_the_header_says_what_was_done_and_states_no_gain() -> None:
    frame = simulate(DarkScene(time=60), sensor_of("demo", 4), seed=77).frame
    head = frame.metadata
    assert (head["IMAGETYP"], head["EXPTIME"], head["DARKTIME"], head["SIMSEED"]) == ("dark", 60, 60, 77)
    assert head["TIMESYS"] == "TAI"
    assert not {"GAIN", "EGAIN", "RDNOISE"} & set(head)
    assert frame.observation.kind == "dark"
    assert frame.observation.mjd == pytest.approx(60690 + 60 / 86400)
    assert frame.raw and frame.unit == "adu"


def test_a_night_has_all_its_frames_once() -> None:
    sensor = sensor_of("demo", 1)
    frames = dict(night(sensor, seed=2))
    kinds = [name.rsplit("_", 1)[0] for name in frames]
    assert {k: kinds.count(k) for k in dict.fromkeys(kinds)} == {
        "bias": 12,
        "dark": 10,
        "pair": 16,
        "flat_g": 7,
        "flat_r": 7,
        "science_g": 3,
        "science_r": 3,
    }
    ids = [done.frame.observation.obs_id for done in frames.values()]
    assert len(set(ids)) == len(ids)
    times = [done.frame.observation.mjd for done in frames.values()]
    assert times == sorted(times)
    g, r = (frames[next(n for n in frames if n.startswith(k))].truth for k in ("science_g", "science_r"))
    assert [s.x for s in g.light.catalogue] == [s.x for s in r.light.catalogue]


def test_masters_scatter_as_they_say() -> None:
    """Squared error over stated variance is 1 within 4 sigma, with row errors at most sqrt(4/n)."""
    sensor = sensor_of("demo", 6)
    drawn = masters(sensor, seed=8, band="g")
    truth = {"bias": sensor.bias, "dark": sensor.dark, "flat": sensor.flat("g")}
    for role, exact in truth.items():
        product = drawn[role]
        ratio = ((product.image - exact).astype(float) ** 2).sum() / product.variance.sum(dtype=float)  # type: ignore[attr-defined]
        assert ratio == pytest.approx(1, abs=4 * np.sqrt(4 / exact.size)), role
    assert drawn["bias"].id != masters(sensor, seed=9, band="g")["bias"].id


def test_truth_is_written_whole(tmp_path: Path) -> None:
    from astropy.io import fits

    done = simulate(ScienceScene(band="g"), sensor_of("demo", 4), seed=7)
    write_truth(done.truth, tmp_path / "t.fits")
    with fits.open(tmp_path / "t.fits", checksum=True) as hdus:
        np.testing.assert_array_equal(hdus["SCENE"].data, done.truth.scene)
        assert [hdus["STARS"].header[f"TUNIT{i}"] for i in (2, 3)] == ["pix", "electron / s"]
        assert len(hdus["STARS"].data) == len(done.truth.light.catalogue)
        assert "gain" in list(hdus["NUMBERS"].data["key"])
    assert [p.name for p in tmp_path.iterdir()] == ["t.fits"]


def test_a_geometry_alone_gives_a_default_sensor() -> None:
    detector = grid_detector(2, 1, (30, 30), serial=8)
    model = SensorModel.make(detector)
    a = simulate(BiasScene(), detector, seed=1).frame.image.array
    assert np.array_equal(a, simulate(BiasScene(), model, seed=1).frame.image.array)


@pytest.mark.parametrize("name", ["demo", "lsst-e2v"])
def test_the_header_is_read_back_as_the_frame_says(name: str) -> None:
    """Small frames of the preset's header: the instrument is recognised and finds the same ids, times and kind."""
    from dataclasses import fields

    from fullwell import instruments

    sensor = sensor_of(name, bias_pattern=0.0, dark_rate=0.0, hot_fraction=0.0)
    frame = simulate(BiasScene(), sensor, seed=1).frame
    headers = instruments.FileHeaders(
        "x.fits", (instruments.HduHeader(0, "", frame.metadata, frame.shape, str(frame.image.dtype)),)
    )
    found = instruments.identify(headers)
    assert found.name == frame.observation.instrument
    read = found.observation(headers)
    for item in fields(read):
        if item.name not in ("sources", "header_gain", "header_read_noise", "group", "reason"):
            assert getattr(read, item.name) == getattr(frame.observation, item.name), item.name
