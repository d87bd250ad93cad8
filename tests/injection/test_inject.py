"""Injection: the acceptance tests S1-S3, S10, S11, S14-S16 of the injection note."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from fullwell import io
from fullwell.cameras import Box
from fullwell.frames import Frame, GainMap, Observation
from fullwell.frames.psf import GaussianPsf, GridPsf, ImagePsf, MoffatPsf
from fullwell.injection import EffectiveGain, inject
from fullwell.injection.catalog import Status
from fullwell.injection.draw import BAND

PSF = GaussianPsf(4.0)


def frame_of(shape: tuple[int, int] = (200, 300), level: float = 100.0, noise: float = 25.0, **more: Any) -> Frame:
    rng = np.random.default_rng(7)
    image = (level + rng.normal(0, math.sqrt(level + noise), shape)).astype(np.float32)
    variance = (np.maximum(image, 0) + noise).astype(np.float32)
    return Frame.from_arrays(image, variance, np.zeros(shape, np.uint32), unit="electron", **more)


def gain_of(frame: Frame, k: Any = 1.0, **more: Any) -> EffectiveGain:
    values = np.broadcast_to(np.asarray(k, np.float32), frame.shape).copy()
    return EffectiveGain(values, frame.box, frame.unit, "flat", **more)


def stars(n: int = 60, seed: int = 3, shape: tuple[int, int] = (200, 300)) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {
        "x": rng.uniform(-5, shape[1] + 5, n),
        "y": rng.uniform(-5, shape[0] + 5, n),
        "flux": 10 ** rng.uniform(2, 5, n),
    }


def flat_source(frame: Frame, level: float) -> tuple[dict[str, Any], ImagePsf]:
    """A source that gives every pixel of the frame `level`: a box as PSF."""
    ny, nx = frame.shape
    psf = ImagePsf(np.ones((ny, nx)))
    return {"x": [nx // 2], "y": [ny // 2], "flux": [level * ny * nx]}, psf


@pytest.mark.parametrize("k", [0.25, 0.5, 1.0, 4 / 3, 4.0])
@pytest.mark.parametrize("noise", ["poisson", "gaussian"])
def test_s1_realised_variance_is_k_times_flux(k: float, noise: Any) -> None:
    before = frame_of((601, 601))
    catalog, psf = flat_source(before, 1000.0)
    done = inject(before, catalog, gain=gain_of(before, k), psf=psf, noise=noise)
    added = (done.frame.image.array.astype(float) - before.image.array)[10:-10, 10:-10]
    n = added.size
    assert added.var() / (1000.0 * k) == pytest.approx(1, abs=4 * math.sqrt(2 / n))
    assert added.mean() == pytest.approx(1000.0, abs=4 * math.sqrt(1000 * k / n))


def test_s2_the_invariant_of_each_pixel_stays() -> None:
    before = frame_of()
    rng = np.random.default_rng(1)
    k = (1 / rng.uniform(0.6, 0.9, before.shape)).astype(np.float32)
    done = inject(before, stars(), gain=gain_of(before, k, background=40.0), psf=PSF)

    def rest(frame: Frame) -> Any:
        assert frame.variance is not None
        return frame.variance.array.astype(float) - k.astype(float) * frame.image.array

    assert done.frame.variance is not None
    assert (np.abs(rest(done.frame) - rest(before)) <= 1e-6 * (done.frame.variance.array + k * 1e-3)).all()
    assert (done.frame.image.array != before.image.array).mean() > 0.05


def test_s2_the_term_of_the_flat_follows_its_law() -> None:
    before = frame_of()
    gain = gain_of(before, 1.25, background=50.0, flat_variance=np.full(before.shape, 1e-4, np.float32))
    done = inject(before, stars(), gain=gain, psf=PSF)
    b0, b1 = (f.image.array.astype(float) + 50.0 for f in (before, done.frame))
    assert before.variance is not None and done.frame.variance is not None
    grown = done.frame.variance.array.astype(float) - before.variance.array
    assert grown == pytest.approx(1.25 * (b1 - b0) + 1e-4 * (b1**2 - b0**2), rel=1e-5, abs=2e-3)


def test_s3_a_wrong_k_does_not_change_the_flux() -> None:
    before = frame_of((401, 401))
    catalog, psf = flat_source(before, 1000.0)
    means = [
        (inject(before, catalog, gain=gain_of(before, k), psf=psf).frame.image.array - before.image.array).mean()
        for k in (1.0, 2.0)
    ]
    assert abs(means[1] / means[0] - 1) < 1e-3
    assert abs(means[0] / 1000 - 1) < 4 * math.sqrt(1 / 1000 / 401**2)


def same(a: Frame, b: Frame) -> bool:
    assert a.variance is not None and b.variance is not None and a.mask is not None and b.mask is not None
    pairs = ((a.image, b.image), (a.variance, b.variance), (a.mask, b.mask))
    return all(np.array_equal(p.array, q.array, equal_nan=p.array.dtype.kind == "f") for p, q in pairs)


@pytest.mark.parametrize("noise", ["poisson", "gaussian", "none"])
def test_s10_the_order_does_not_matter(noise: Any) -> None:
    before = frame_of()
    gain = gain_of(before, 1.3)
    a, b = stars(40, 1), stars(50, 2)
    both = {key: np.concatenate([a[key], b[key]]) for key in a}
    shuffled = {key: np.random.default_rng(5).permutation(both[key][:, None])[:, 0] for key in both}
    ways = [
        inject(inject(before, a, gain=gain, psf=PSF, noise=noise), b, noise=noise),
        inject(inject(before, b, gain=gain, psf=PSF, noise=noise), a, noise=noise),
        inject(before, both, gain=gain, psf=PSF, noise=noise),
        inject(before, shuffled, gain=gain, psf=PSF, noise=noise),
    ]
    assert all(same(ways[0].frame, other.frame) for other in ways[1:])
    assert all((ways[0].truth["flux_drawn"] == other.truth["flux_drawn"]).all() for other in ways[1:])


def test_s10_tiles_and_threads_do_not_matter() -> None:
    before = frame_of((2 * BAND + 90, 300))
    assert before.mask is not None
    gain, catalog = gain_of(before, 1.3), stars(300, 4, before.shape)
    whole = inject(before, catalog, gain=gain, psf=PSF).frame
    for jobs in (2, 8):
        assert same(whole, inject(before, catalog, gain=gain, psf=PSF, jobs=jobs).frame)
    for size in (64, 100, 256):
        for y in range(0, before.shape[0], size):
            for x in range(0, 300, size):
                box = Box(x, y, size, size).intersection(before.box)
                part = inject(before[box], catalog, gain=gain, psf=PSF).frame
                assert same(part, whole[box])


def test_a_source_less_changes_only_its_own_pixels() -> None:
    before = frame_of()
    gain, catalog = gain_of(before), stars()
    catalog["id"] = np.arange(60)
    all_of_them = inject(before, catalog, gain=gain, psf=PSF)
    less = inject(before, {k: np.delete(v, 30) for k, v in catalog.items()}, gain=gain, psf=PSF)
    row = all_of_them.truth[30]
    far = np.ones(before.shape, bool)
    far[max(row["y0"], 0) : row["y1"], max(row["x0"], 0) : row["x1"]] = False
    assert np.array_equal(all_of_them.frame.image.array[far], less.frame.image.array[far])
    assert not np.array_equal(all_of_them.frame.image.array[~far], less.frame.image.array[~far])


def test_exposures_and_seeds_have_noise_of_their_own() -> None:
    catalog = stars()
    first, second = (frame_of(observation=Observation(exposure_id=i)) for i in (1, 2))
    images = [
        inject(f, catalog, gain=gain_of(f), psf=PSF, seed=s).frame.image.array - f.image.array
        for f, s in ((first, 0), (first, 0), (first, 1), (second, 0))
    ]
    assert np.array_equal(images[0], images[1])
    bright = images[0] > 100
    for other in images[2:]:
        assert not np.array_equal(images[0], other)
        z = (images[0] - other)[bright] / np.sqrt(2 * images[0][bright])
        assert z.std() == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize(
    "psf",
    [PSF, MoffatPsf(3.0, 4.5), ImagePsf(GaussianPsf(4.0).table(half=24)[::4, ::4])],
    ids=["gauss", "moffat", "image"],
)
@pytest.mark.parametrize("place", [(60.0, 60.0), (60.5, 59.5), (60.23, 59.81)])
def test_s11_the_flux_in_an_aperture_is_that_of_the_catalogue(psf: Any, place: tuple[float, float]) -> None:
    empty = Frame.from_arrays(np.zeros((121, 121), np.float32), unit="electron")
    catalog = {"x": [place[0]], "y": [place[1]], "flux": [1e5]}
    done = inject(empty, catalog, gain=gain_of(empty), psf=psf, noise="none", saturation="none", aperture=12.0)
    y, x = np.mgrid[:121, :121]
    weight = np.clip(12.5 - np.hypot(x - place[0], y - place[1]), 0, 1)
    image = done.frame.image.array.astype(float)
    assert (image * weight).sum() == pytest.approx(1e5, rel=1e-4)
    centre = (image * x).sum() / image.sum(), (image * y).sum() / image.sum()
    assert centre == pytest.approx(place, abs=2e-3)


def test_a_moved_profile_is_the_profile_at_the_new_place() -> None:
    empty = Frame.from_arrays(np.zeros((61, 61), np.float32), unit="electron")
    x, y = 30.31, 29.74
    done = inject(
        empty, {"x": [x], "y": [y], "flux": [1.0]}, gain=gain_of(empty), psf=GaussianPsf(3.0), noise="none"
    ).frame.image.array
    s = 3.0 / (2 * math.sqrt(2 * math.log(2))) * math.sqrt(2)

    def line(at: float) -> Any:
        return np.array([(math.erf((i + 0.5 - at) / s) - math.erf((i - 0.5 - at) / s)) / 2 for i in range(61)])

    assert np.abs(done - np.outer(line(y), line(x))).max() < 1e-5 * done.max()


def test_s14_interpolated_nan_edges_and_negative_wings() -> None:
    before = frame_of()
    assert before.mask is not None and before.variance is not None
    before.image.array[50, 40:60] = np.nan
    before.mask["NO_DATA"] = np.isnan(before.image.array) | (np.indices(before.shape)[1] == 100)
    k = np.full(before.shape, 1.2, np.float32)
    k[120:130] = np.nan
    wings = PSF.table(half=16)[::4, ::4]
    wings = ImagePsf(wings - 0.2 * np.roll(wings, 6, axis=1))
    done = inject(before, stars(400), gain=gain_of(before, k), psf=wings).frame
    assert done.variance is not None and done.mask is not None
    assert np.array_equal(np.isnan(done.image.array), np.isnan(before.image.array))
    assert (done.variance.array >= before.variance.array).all()
    assert (done.image.array < before.image.array).any()
    untouched = before.mask["NO_DATA"] | np.isnan(k)
    assert np.array_equal(done.image.array[untouched], before.image.array[untouched], equal_nan=True)
    changed = (done.image.array != before.image.array) & ~np.isnan(before.image.array)
    assert (done.mask["INJECTED"] | ~changed).all()
    assert not changed[~done.mask["INJECTED"]].any() and changed.any()


@pytest.mark.parametrize("way", ["mark", "reapply", "skip"])
def test_s14_interpolated_pixels(way: Any) -> None:
    before = frame_of((61, 61))
    assert before.mask is not None and before.variance is not None
    bad = np.zeros((61, 61), bool)
    bad[:, 30] = True
    before.mask["BAD"] = before.mask["INTRP"] = bad
    catalog = {"x": [30.0], "y": [30.0], "flux": [1e5]}
    done = inject(before, catalog, gain=gain_of(before, 1.5), psf=PSF, interpolated=way).frame
    assert done.variance is not None and before.variance is not None and done.mask is not None
    d = done.image.array.astype(float) - before.image.array
    v = done.variance.array.astype(float) - before.variance.array
    if way == "skip":
        assert (d[:, 30] == 0).all()
    elif way == "mark":
        mean = inject(before, catalog, gain=gain_of(before, 1.5), psf=PSF, noise="none").frame.image.array
        assert np.array_equal(done.image.array[:, 30], mean[:, 30])
        assert v[:, 30] == pytest.approx(1.5 * d[:, 30], rel=1e-3, abs=1e-3)
        assert done.mask["INJECTED_INTERP"][30, 30] and not done.mask["INJECTED_INTERP"][30, 31]
    else:
        assert d[:, 30] == pytest.approx((d[:, 29] + d[:, 31]) / 2, rel=1e-5, abs=1e-3)
        assert v[:, 30] == pytest.approx((v[:, 29] + v[:, 31]) / 4, rel=1e-5, abs=1e-3)


def test_s15_light_above_the_full_well_is_cut() -> None:
    before = frame_of()
    catalog = {"x": [100.0, 200.0], "y": [100.0, 100.0], "flux": [5e6, 1e3], "id": [1, 2]}
    k = 1.25
    done = inject(before, catalog, gain=gain_of(before, k, background=10.0), psf=PSF, saturation=5e4)
    sat = done.frame.mask["SAT"] if done.frame.mask is not None else None
    assert sat is not None and sat[100, 100] and sat.sum() > 10
    assert done.frame.image.array[sat] == pytest.approx(k * 5e4 - 10.0, rel=1e-6)
    assert done.frame.image.array.max() <= k * 5e4 - 10.0 + 0.01
    assert list(done.truth["n_sat"]) == [sat.sum(), 0]
    assert [bool(s & Status.SATURATED) for s in done.truth["status"]] == [True, False]
    again = inject(done.frame, {"x": [100.0], "y": [100.0], "flux": [1e5], "id": [3]}, gain=done.gain, psf=PSF)
    assert np.array_equal(again.frame.image.array[sat], done.frame.image.array[sat])


def test_s16_everything_comes_back_from_fits(tmp_path: Any) -> None:
    from astropy.table import Table

    before = frame_of(gain_map=GainMap(1.0, "abc"), psf=GaussianPsf(4.0), photo_calib=3.0, background=12.5)
    done = inject(before, stars(), gain=gain_of(before, 1.1), seed=12)
    io.write_frame(done.frame, tmp_path / "out.fits")
    back = io.read(tmp_path / "out.fits")
    assert same(back, done.frame)
    assert back.mask is not None and done.frame.mask is not None
    assert back.mask.counts() == done.frame.mask.counts() and back.mask.counts()["INJECTED_CORE"]
    assert back.history == done.frame.history and back.last("inject") is not None
    assert back.metadata["FW INJECT SEED"] == 12 and back.metadata["INJECTED"] is True
    assert back.metadata["FW INJECT CATALOGUE"] == done.sources.catalogue
    assert (back.psf, back.photo_calib, back.background) == (GaussianPsf(4.0), 3.0, 12.5)
    done.truth.write(tmp_path / "truth.ecsv")
    truth = Table.read(tmp_path / "truth.ecsv")
    assert all(np.array_equal(truth[c], done.truth[c], equal_nan=truth[c].dtype.kind == "f") for c in truth.colnames)
    assert truth.meta["catalogue"] == done.truth.meta["catalogue"]


def test_the_psf_may_depend_on_the_place() -> None:
    empty = Frame.from_arrays(np.zeros((101, 201), np.float32), unit="electron")
    small, large = (GaussianPsf(f).table(half=15)[::4, ::4] for f in (3.0, 5.0))
    grid = GridPsf(np.array([0.0, 200.0]), np.array([50.0]), np.array([[small, large]]))
    catalog = {"x": [20.0, 180.0], "y": [50.0, 50.0], "flux": [1.0, 1.0]}
    by_grid = inject(empty, catalog, gain=gain_of(empty), psf=grid, noise="none").frame.image.array

    def function(x: float, y: float) -> Any:
        return (1 - x / 200) * small / small.sum() + x / 200 * large / large.sum()

    by_call = inject(empty, catalog, gain=gain_of(empty), psf=function, noise="none").frame.image.array
    assert by_grid[50, 20] > 1.5 * by_grid[50, 180]
    assert by_grid[50, 20] == pytest.approx(0.9 * small[15, 15] + 0.1 * large[15, 15], rel=1e-3)
    assert by_call == pytest.approx(by_grid, abs=2e-4)


def test_remove_gives_the_frame_back() -> None:
    before = frame_of()
    assert inject(before, stars(), gain=gain_of(before), psf=PSF).remove() is before
