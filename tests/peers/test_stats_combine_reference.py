"""Stacking as the LSST library does it: clipped mean, mean, median, and its calibration combination.

Images agree exactly: both sum the kept float32 values in double precision and round once. The propagated variances
differ by one rounding (1.2e-7).
"""

from __future__ import annotations

import json

import numpy as np
import pytest

from fullwell.frames import Frame
from fullwell.measure import Clip, combine, statistics
from fullwell.measure.levels import clip_factor
from fullwell.measure.rejection import factors, median_factor

CASES = ("case1_n9", "case2_n4")
LABELS = (("c3i3_sat", 3.0, 3, ("SAT",)), ("c5.5i3_none", 5.5, 3, ()), ("c4i1_sat_intrp", 4.0, 1, ("SAT", "INTRP")))


def reference(shared, case):
    return np.load(shared / "oracle" / "stats_combine" / f"{case}.npz")


def frames(data, variance=False):
    """The input stack as frames; mask bits have the same numbers as ours for BAD, SAT, INTRP, DETECTED."""
    return [
        Frame.from_arrays(i, v if variance else None, m.astype(np.uint32), unit="adu")
        for i, v, m in zip(data["in/stack"], data["in/var"], data["in/mask"], strict=True)
    ]


def raw_scatter(made, clip, method):
    """Our variance from the scatter without our correction for the clip: what the library gives."""
    out = made.variance_scatter.copy()
    number = made.count + made.rejected
    for n in np.unique(number):
        out[number == n] /= np.float32(factors(int(n), method, clip)[0])
    return out


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("label", LABELS, ids=lambda v: v[0])
def test_clipped_mean(shared, case, label):
    data = reference(shared, case)
    name, sigma, rounds, planes = label
    clip = Clip.lsst(sigma, rounds)
    made = combine(frames(data), method="clipped", clip=clip, mask_planes=planes)
    want = data[f"stack/{name}_MEANCLIP_errIn0/image"]
    assert np.array_equal(made.image, want, equal_nan=True)
    variance = data[f"stack/{name}_MEANCLIP_errIn0/variance"]
    np.testing.assert_allclose(raw_scatter(made, clip, "clipped"), variance, rtol=1e-6)
    deviation = data[f"stack/{name}_STDEVCLIP_errIn0/image"]
    np.testing.assert_allclose(np.sqrt(variance * made.count), deviation, rtol=1e-6)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("label", LABELS, ids=lambda v: v[0])
def test_mean_with_both_variances(shared, case, label):
    data = reference(shared, case)
    name, _, _, planes = label
    made = combine(frames(data, variance=True), method="mean", mask_planes=planes)
    assert np.array_equal(made.image, data[f"stack/{name}_MEAN_errIn1/image"], equal_nan=True)
    np.testing.assert_allclose(made.variance_scatter, data[f"stack/{name}_MEAN_errIn0/variance"], rtol=1e-6)
    np.testing.assert_allclose(made.variance, data[f"stack/{name}_MEAN_errIn1/variance"], rtol=1e-6)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("label", LABELS, ids=lambda v: v[0])
def test_median(shared, case, label):
    data = reference(shared, case)
    name, _, _, planes = label
    made = combine(frames(data), method="median", mask_planes=planes)
    assert np.array_equal(made.image, data[f"stack/{name}_MEDIAN_errIn0/image"], equal_nan=True)


def test_mistake_variance_of_a_median_is_the_limit_of_many(shared):
    """The library multiplies s^2/n by pi/2 for any n; for nine values the exact factor, which we take, is smaller."""
    data = reference(shared, "case1_n9")
    made = combine(frames(data), method="median", mask_planes=())
    want = data["stack/c5.5i3_none_MEDIAN_errIn0/variance"]
    whole = made.count == 9
    np.testing.assert_allclose(made.variance_scatter[whole] / median_factor(9) * (np.pi / 2), want[whole], rtol=2e-6)


def test_mistake_propagated_variance_of_a_median_ignores_the_inputs(shared):
    """With variances asked for, the library still takes the scatter for a median; ours is factor/n * mean(V)."""
    data = reference(shared, "case1_n9")
    made = combine(frames(data, variance=True), method="median", mask_planes=())
    same = np.array_equal(
        data["stack/c5.5i3_none_MEDIAN_errIn1/variance"],
        data["stack/c5.5i3_none_MEDIAN_errIn0/variance"],
        equal_nan=True,
    )
    assert same
    inputs = np.where(np.isfinite(data["in/stack"]), data["in/var"], np.nan)
    want = np.nanmean(inputs, axis=0) / made.count * np.vectorize(median_factor)(made.count)
    np.testing.assert_allclose(made.variance, want, rtol=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_calibration_combination(shared, case):
    """Mean, scaled mean and median of the calibration task; planes SAT, DETECTED, INTRP excluded."""
    data = reference(shared, case)
    planes = ("SAT", "DETECTED", "INTRP", "NO_DATA")
    headers = json.loads(str(data["meta_json"]))["headers"]
    n = len(data["in/stack"])
    methods = {"meanclip": "clipped", "mean_scaled": "clipped", "meanstats": "clipped", "median": "median"}
    for short, method in methods.items():
        label = f"combine_{short}"
        scale = np.array([headers[label][f"CPP_INPUT_SCALE_{i}"] for i in range(n)])
        made = combine(
            frames(data),
            method=method,
            clip=Clip.lsst() if method == "clipped" else None,
            scale=1 / scale,
            mask_planes=planes,
        )
        filled = (data[f"{label}/mask"] & 1) != 0
        np.testing.assert_allclose(made.image[~filled], data[f"{label}/image"][~filled], rtol=3e-7)
        assert np.array_equal(np.isnan(made.image), filled)


SHORT = ("meanclip", "mean_scaled", "meanstats")


def of_the_task(data, short, method, variance):
    """Our combination with the scales of the calibration task, and the pixels it could combine."""
    label = f"combine_{short}"
    header = json.loads(str(data["meta_json"]))["headers"][label]
    scale = np.array([header[f"CPP_INPUT_SCALE_{i}"] for i in range(len(data["in/stack"]))])
    planes = ("SAT", "DETECTED", "INTRP", "NO_DATA")
    clip = Clip.lsst() if method == "clipped" else None
    made = combine(frames(data, variance), method=method, clip=clip, scale=1 / scale, mask_planes=planes)
    return made, (data[f"{label}/mask"] & 1) == 0


@pytest.mark.parametrize("short", SHORT)
def test_variance_of_the_calibration_task_from_the_scatter(shared, short):
    """Nine frames: more than five, so that the task takes the scatter, as we do without our factor for the clip.

    Tolerance: scaled values of level m and scatter s are rounded to 2^-24 m, which moves s by 2^-24 m/s; m/s is 400
    at most where nothing is scaled, and two values may be all that is left.
    """
    data = reference(shared, "case1_n9")
    made, good = of_the_task(data, short, "clipped", variance=False)
    want = data[f"combine_{short}/variance"]
    got = raw_scatter(made, Clip.lsst(), "clipped")
    steep = np.abs(made.image) / np.sqrt(want * made.count)
    error = np.abs(got / want - 1)
    assert (error[good] <= 4 * 2.0**-24 * (2 + steep[good])).all()


@pytest.mark.parametrize("short", SHORT)
def test_variance_of_the_calibration_task_from_the_inputs(shared, short):
    """Four frames: up to five the task takes the variances of the inputs, as we do without our factor for the clip."""
    data = reference(shared, "case2_n4")
    made, good = of_the_task(data, short, "clipped", variance=True)
    got = made.variance.copy()
    number = made.count + made.rejected
    for n in np.unique(number[good]):
        got[number == n] /= np.float32(factors(int(n), "clipped", Clip.lsst())[1])
    np.testing.assert_allclose(got[good], data[f"combine_{short}/variance"][good], rtol=4 * 2.0**-23)


@pytest.mark.parametrize("case", CASES)
def test_mistake_variance_of_a_median_in_the_calibration_task(shared, case):
    """Always the scatter times pi/2, however few the frames; with the exact factor, which we take, it is ours."""
    data = reference(shared, case)
    made, good = of_the_task(data, "median", "median", variance=False)
    exact = np.vectorize(median_factor)(np.maximum(made.count, 1))
    want = data["combine_median/variance"]
    np.testing.assert_allclose((made.variance_scatter / exact * (np.pi / 2))[good], want[good], rtol=2e-6)


def test_clipped_statistics_of_one_image(shared):
    """MEANCLIP of a whole frame at 3 sigma, 3 rounds: same mean; sigma is corrected by ours."""
    data = reference(shared, "case1_n9")
    stats = json.loads(str(data["meta_json"]))["stats"]["c3i3_sat_frame0"]
    frame = frames(data)[0]
    found = statistics(frame.image.array, frame.mask["SAT"], sigma=3.0, rounds=3)
    assert abs(found.median - stats["MEDIAN"][0]) < 1e-6
    assert abs(found.mean - stats["MEANCLIP"][0]) < 4 * stats["MEANCLIP"][1]
    assert abs(found.sigma * np.sqrt(clip_factor(3.0, 3)) - stats["STDEVCLIP"][0]) < 4 * stats["STDEVCLIP"][1]
