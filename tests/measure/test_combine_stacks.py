"""Combination of stacks: levels before rejection, masks, variances, memory, files, errors."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from astropy.io import fits

from fullwell.base.errors import ConfigError, DataError, GeometryError, UsageError
from fullwell.frames import Frame, Observation, bit
from fullwell.measure import Clip, combine
from fullwell.measure.rejection import factors, median_factor


def frame(value, shape=(4, 5), **more):
    return Frame.from_arrays(np.full(shape, value, np.float32), unit="adu", **more)


def test_scale_is_applied_before_rejection():
    """Flats at 1:2:3:4 of one level: unscaled the brightest would look like an outlier; scaled, only the hit is."""
    rng = np.random.default_rng(1)
    pattern = rng.normal(1000, 50, (20, 30)).astype(np.float32)
    stack = [pattern * f + rng.normal(0, 1, pattern.shape).astype(np.float32) for f in (1, 2, 3, 4, 5)]
    stack[4][3, 4] += 5000
    out = combine(stack, scale="median")
    assert out.rejected_by_input[4] >= 1 and not np.isnan(out.image).any()
    assert out.count[3, 4] == 4
    np.testing.assert_allclose(out.scales, 3.0 / np.array([1, 2, 3, 4, 5]), rtol=1e-3)
    assert abs(out.image[3, 4] / (3 * pattern[3, 4]) - 1) < 0.01


def test_zero_brings_the_levels_together():
    """Bias levels 100, 110, 120: after the zero all are 110."""
    out = combine([frame(100), frame(110), frame(120)], zero="median", clip="none")
    assert (out.image == 110).all() and (out.variance_scatter == 0).all()
    assert out.zeros.tolist() == [-10, 0, 10]


def test_lists_are_taken_as_they_are():
    out = combine([frame(10), frame(20)], method="mean", scale=[2, 0.5], zero=[1, 2])
    assert (out.image == np.float32((18 + 9) / 2)).all()


def test_masked_pixels_take_no_part_and_no_data_is_marked():
    a, b, c, d = (frame(v, mask=np.zeros((4, 5), np.uint32)) for v in (10, 11, 12, 900))
    d.mask["SAT"] = np.ones((4, 5), bool)
    d.mask["CROSSTALK"] = np.ones((4, 5), bool)
    for f in (a, b, c):
        f.mask["BAD"] = np.eye(4, 5, dtype=bool)
    out = combine([a, b, c, d])
    assert out.image[0, 1] == 11 and out.count[0, 1] == 3
    assert np.isnan(out.image[1, 1]) and out.mask[1, 1] == bit("NO_DATA") and out.count[1, 1] == 0
    assert out.rejected[0, 1] == 0


def test_all_rejected_of_nan_input():
    stack = [np.full((2, 3), np.nan, np.float32) for _ in range(5)]
    out = combine(stack)
    assert np.isnan(out.image).all() and np.isnan(out.variance).all() and (out.mask == bit("NO_DATA")).all()


def test_default_rejects_one_wild_value_of_four():
    rng = np.random.default_rng(4)
    stack = [rng.normal(100, 3, (50, 50)).astype(np.float32) for _ in range(4)]
    stack[2][10, :] += 500
    out = combine(stack, keep_rejections=True)
    assert not out.kept(2)[10].any() and out.notes == ()
    assert (out.mask[10] & bit("REJECTED")).all()
    assert abs(out.image[10].mean() - 100) < 4 * 3 / np.sqrt(3 * 50)


def test_note_where_the_threshold_cannot_reject():
    """Of 10 values none is further than 9/sqrt(10) = 2.85 sample deviations from the mean."""
    stack = [frame(v) for v in range(10)]
    out = combine(stack, clip=Clip(centre="mean", spread="std", ddof=1, low=3, high=3))
    assert "cannot reject anything" in out.notes[0] and "2.85" in out.notes[0]
    assert (
        combine([*stack, frame(3), frame(4)], clip=Clip(centre="mean", spread="std", ddof=1, low=3, high=3)).notes == ()
    )
    assert "4 or more" in combine([frame(1)] * 3).notes[0]


def test_integers_have_a_smallest_spread():
    """Nine values of 100 and one of 101: the MAD is 0, but one count is no outlier."""
    stack = [np.full((1, 4), 100, np.uint16) for _ in range(9)] + [np.full((1, 4), 101, np.uint16)]
    assert combine(stack).rejected.sum() == 0
    stack[-1][:] = 103
    assert (combine(stack).rejected == 1).all()


def test_known_factors_of_the_median():
    """n Var(median)/sigma^2 from tables of order statistics: 3: 1.3461, 4: 1.1930 (0.2982 n), 5: 1.4342 (0.2868 n)."""
    for n, value in ((1, 1), (2, 1), (3, 1.3461), (4, 1.1928), (5, 1.4342), (10, 1.3833)):
        assert abs(median_factor(n) - value) < 2e-4
    assert abs(median_factor(10001) - np.pi / 2) < 1e-3


@pytest.mark.parametrize("n", [4, 5, 10])
@pytest.mark.parametrize("method", ["clipped", "median", "mean"])
def test_both_variances_are_those_of_the_result(n, method):
    """Gaussian noise of variance 9: mean of V over the variance of the image, 200000 pixels.

    Error of the ratio: that of the variance of the image, sqrt(2/P) = 0.32 %, with as much for the factors (of the
    mean of the scatter, 2/(P (n - 1)), as well): 4 sigma is under 2.2 %.
    """
    rng = np.random.default_rng(n)
    stack = [
        Frame.from_arrays(
            rng.normal(50, 3, (400, 500)).astype(np.float32), np.full((400, 500), 9, np.float32), unit="adu"
        )
        for _ in range(n)
    ]
    out = combine(stack, method=method)
    truth = float(out.image.var(dtype=np.float64))
    assert out.propagated
    pixels = out.image.size
    tolerance = 4 * np.sqrt(2 / pixels * (1 + 1 / (n - 1)) + 2 / 150_000)
    assert abs(out.variance.mean(dtype=np.float64) / truth - 1) < tolerance
    assert abs(np.nanmean(out.variance_scatter, dtype=np.float64) / truth - 1) < tolerance


def test_factors_are_one_where_nothing_is_lost():
    assert factors(10, "mean", Clip.none()) == (1.0, 1.0)
    scatter, propagated = factors(20, "clipped", Clip(low=9, high=9))
    assert abs(scatter - 1) < 1e-3 and abs(propagated - 1) < 1e-3


def test_weights_do_not_change_what_is_rejected():
    rng = np.random.default_rng(9)
    stack = [rng.normal(0, 1, (30, 40)).astype(np.float32) for _ in range(6)]
    stack[1][5, 5] = 80
    plain, weighted = combine(stack), combine(stack, weights=[1, 5, 1, 1, 1, 1])
    assert np.array_equal(plain.count, weighted.count)
    kept = [0, 2, 3, 4, 5]
    assert abs(weighted.image[5, 5] - np.mean([stack[i][5, 5] for i in kept])) < 1e-6


def test_inverse_variance_weights():
    stack = [
        Frame.from_arrays(np.full((3, 3), v, np.float32), np.full((3, 3), s, np.float32), unit="adu")
        for v, s in ((10, 1), (20, 4))
    ]
    out = combine(stack, method="mean", weights="inverse_variance")
    assert np.allclose(out.image, (10 + 20 / 4) / 1.25) and np.allclose(out.variance, 1 / 1.25)


def test_result_does_not_depend_on_bands_or_threads():
    rng = np.random.default_rng(5)
    stack = [rng.poisson(500, (60, 700)).astype(np.uint16) for _ in range(8)]
    one = combine(stack)
    small = combine(stack, memory=60 * 700 * 20 + 8 * 700 * 20 + (3 << 20) + 600_000)
    two = combine(stack, workers=2)
    for other in (small, two):
        assert np.array_equal(one.image, other.image) and np.array_equal(one.variance, other.variance)
        assert np.array_equal(one.rejected_by_input, other.rejected_by_input)


def test_inputs_are_not_changed():
    rng = np.random.default_rng(6)
    stack = [frame(v) for v in rng.normal(10, 1, 5)]
    before = [f.image.array.copy() for f in stack]
    combine(stack, scale="median", zero="mean")
    assert all(np.array_equal(a, f.image.array) for a, f in zip(before, stack, strict=True))


@pytest.mark.parametrize("kind", ["plain", "gz", "float"])
def test_files(tmp_path, kind):
    rng = np.random.default_rng(7)
    arrays = [rng.poisson(900, (40, 50)).astype(np.float32 if kind == "float" else np.uint16) for _ in range(5)]
    paths = []
    for i, a in enumerate(arrays):
        paths.append(tmp_path / f"{i}.fits{'.gz' if kind == 'gz' else ''}")
        fits.writeto(paths[-1], a)
    out = combine(paths)
    assert np.array_equal(out.image, combine(arrays).image)
    assert out.inputs == tuple(str(p) for p in paths) and out.unit == "adu"


def test_frame_files_keep_mask_and_variance(tmp_path):
    from fullwell.io import write_frame

    rng = np.random.default_rng(8)
    stack = []
    for i in range(5):
        f = Frame.from_arrays(
            rng.normal(10, 1, (30, 20)).astype(np.float32), np.full((30, 20), 1.5, np.float32),
            np.zeros((30, 20), np.uint32), unit="electron",
        )  # fmt: skip
        f.mask["SAT"] = rng.random((30, 20)) < 0.1
        stack.append(f)
        write_frame(f, tmp_path / f"{i}.fits")
        write_frame(f, tmp_path / f"{i}z.fits", compress=True)
    here = combine(stack)
    for names in ([f"{i}.fits" for i in range(5)], [f"{i}z.fits" for i in range(5)]):
        out = combine([tmp_path / n for n in names])
        assert out.unit == "electron" and out.propagated
        assert np.array_equal(out.count, here.count)
        np.testing.assert_allclose(out.image, here.image, atol=0.0 if "z" not in names[0] else 0.2)


MEMORY = """
import sys, tracemalloc
import numpy as np
from fullwell.measure import combine
paths = sys.argv[2:]
combine(paths[:4])
tracemalloc.start()
combine(paths, memory=int(sys.argv[1]))
print(tracemalloc.get_traced_memory()[1])
"""


def test_memory_stays_below_the_option(tmp_path):
    """30 files of 2 MiB: the result takes 16 MiB, the stack would take 60 as it is and 240 as double."""
    rng = np.random.default_rng(9)
    a = rng.poisson(900, (256, 4096)).astype(np.uint16)
    paths = []
    for i in range(30):
        paths.append(str(tmp_path / f"{i}.fits"))
        fits.writeto(paths[-1], np.roll(a, i * 17))
    option = 24 << 20
    found = subprocess.run(
        [sys.executable, "-c", MEMORY, str(option), *paths], capture_output=True, text=True, check=True
    )
    assert int(found.stdout) < option


def test_errors_name_the_files():
    big, small = frame(1, (4, 5), source="a.fits"), frame(1, (4, 6), source="b.fits")
    with pytest.raises(GeometryError, match=r"a\.fits.*\(4, 5\).*b\.fits.*\(4, 6\)"):
        combine([big, small])
    other = frame(1, source="c.fits", observation=Observation(binning=(2, 2)))
    with pytest.raises(GeometryError, match="binning"):
        combine([big, other])
    with pytest.raises(GeometryError, match="unit"):
        combine([big, Frame.from_arrays(np.zeros((4, 5), np.float32), unit="electron")])
    with pytest.raises(UsageError, match="nothing to combine"):
        combine([])
    with pytest.raises(ConfigError, match="no method"):
        combine([big], method="mode")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="for 2 inputs"):
        combine([big, big], scale=[1.0])
    with pytest.raises(ConfigError, match="too few"):
        combine([big, big], memory=100)
    with pytest.raises(DataError, match="nothing to scale by") as caught:
        combine([big, frame(-3, source="dark.fits")], scale="median")
    assert caught.value.where == "dark.fits"


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.uint8, np.float64])
def test_files_of_other_types(tmp_path, dtype):
    rng = np.random.default_rng(10)
    arrays = [rng.integers(0, 120, (9, 11)).astype(dtype) for _ in range(4)]
    for i, a in enumerate(arrays):
        fits.writeto(tmp_path / f"{i}.fits", a)
    out = combine(sorted(tmp_path.glob("*.fits")), method="mean")
    np.testing.assert_allclose(out.image, np.mean(arrays, axis=0), rtol=1e-6)


def test_scaled_and_blank_pixels_are_read_by_the_general_reader(tmp_path):
    hdu = fits.PrimaryHDU(np.array([[1, 2, -99]], np.int16))
    hdu.header["BLANK"] = -99
    for i in range(3):
        hdu.writeto(tmp_path / f"{i}.fits")
    out = combine(sorted(tmp_path.glob("*.fits")), method="mean")
    assert out.image[0, :2].tolist() == [1, 2] and np.isnan(out.image[0, 2]) and out.count[0, 2] == 0


def test_one_and_two_frames():
    one = combine([frame(7)])
    assert (one.image == 7).all() and np.isnan(one.variance).all() and (one.count == 1).all()
    two = combine([frame(6), frame(8)])
    assert (two.image == 7).all() and (two.variance == 1).all()


def test_many_frames():
    rng = np.random.default_rng(11)
    stack = [rng.normal(3, 1, (2, 70)).astype(np.float32) for _ in range(300)]
    out = combine(stack, method="median")
    np.testing.assert_allclose(out.image, np.median(stack, axis=0), rtol=1e-6)


def test_result_as_a_frame():
    like = frame(1, observation=Observation(filter="g"))
    like.metadata["OBJECT"] = "M 1"
    out = combine([frame(1), frame(2), frame(3)]).to_frame(like)
    assert out.unit == "adu" and out.variance.unit == "adu2" and out.observation.filter == "g"
    assert out.metadata["OBJECT"] == "M 1" and out.history[-1].step == "combine"


def test_variance_where_the_number_of_values_differs():
    """Half of the pixels lack two of seven values: right in both halves (error of the ratio as above)."""
    rng = np.random.default_rng(12)
    stack = [rng.normal(0, 1, (300, 600)).astype(np.float32) for _ in range(7)]
    for image in stack[:2]:
        image[:, 300:] = np.nan
    out = combine(stack)
    for half, n in ((np.s_[:, :300], 7), (np.s_[:, 300:], 5)):
        ratio = np.mean(out.variance[half], dtype=np.float64) / np.var(out.image[half], dtype=np.float64)
        assert abs(ratio - 1) < 4 * np.sqrt(2 / 90_000 * (1 + 1 / (n - 1)) + 2 / 150_000)


def test_default_rejects_nothing_of_three_values():
    """Of three values the MAD is the smaller distance from the middle one: 5 sigma of it reject 7 % of good data."""
    stack = list(np.random.default_rng(8).normal(100, 3, (3, 200, 200)).astype(np.float32))
    out = combine(stack)
    assert out.rejected.sum() == 0 and (out.count == 3).all()
    assert np.allclose(out.image, np.mean(stack, axis=0), rtol=1e-6)
    # mean of N = 40000 sample variances of 3 values over 3: sigma^2/3 with relative error sqrt(2/(2 N))
    assert abs(out.variance.mean() / 3 - 1) < 4 / np.sqrt(out.image.size)
    assert combine(stack, clip=Clip(fewest=3)).rejected.mean() / 3 == pytest.approx(0.07, abs=0.01)
    masked = [*stack, np.full((200, 200), np.nan, np.float32), np.full((200, 200), np.nan, np.float32)]
    assert combine(masked).rejected.sum() == 0


def test_infinite_pixel_takes_no_part_in_a_plain_mean():
    """Five frames of variance 1, one of them infinite in a pixel: mean of four, variance 1/4."""
    one = np.ones((4, 4), np.float32)
    frames = [Frame.from_arrays(one.copy(), one.copy(), unit="adu") for _ in range(5)]
    frames[1].image.array[0, 0] = np.inf
    for weights in (None, [1, 7, 1, 1, 1]):
        out = combine(frames, method="mean", weights=weights)
        assert out.image[0, 0] == 1 and out.variance[0, 0] == 0.25 and out.count[0, 0] == 4
