"""The effects against outputs of the reference code. Tolerances are roundings; other differences are named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fullwell.cameras import Amplifier, Box, Detector, Orientation
from fullwell.conductor.verbs import plain_detector
from fullwell.effects import (
    bias,
    crosstalk,
    dark,
    flat,
    gain,
    interpolation,
    linearity,
    saturation,
    saturation_grow,
    variance,
)
from fullwell.frames import Frame, Mask, Observation
from fullwell.measure import statistics
from fullwell.products import Bias, Crosstalk, Dark, Flat, Gain, Linearity

ULP = 2.0**-23


def load(path: Path) -> tuple[Any, dict[str, Any]]:
    data = np.load(path)
    return data, json.loads(str(data["meta_json"]))


def detector_of(amps: list[dict[str, Any]]) -> Detector:
    """The geometry of an oracle file: segments as they lie in the raw image, corners of the assembled one."""
    made = []
    for a in amps:
        raw = Box(*a["rawBBox"])
        data, serial, parallel, prescan = (
            Box(*a[k]).shifted(-raw.x0, -raw.y0)
            for k in ("rawDataBBox", "serialOverscan", "parallelOverscan", "serialPrescan")
        )
        turn = Orientation(flip_x=serial.x0 < data.x0, flip_y=parallel.y0 < data.y0)
        inner = [turn.undo_box(box, raw.shape) for box in (data, prescan, serial, parallel)]
        place = Orientation(flip_x="R" in a["corner"], flip_y="U" in a["corner"])
        made.append(
            Amplifier(a["name"], raw.shape, inner[0], raw, Box(*a["bbox"]), *inner[1:], turn, place, gain=a["gain"])
        )
    return Detector("oracle", 0, tuple(made))


LABELS = ["linear", "linear_srcmask", "quadratic", "raw_full", "raw_full_electron", "trimmed_badamp"]


@pytest.mark.parametrize("case", [1, 2])
@pytest.mark.parametrize("label", LABELS)
def test_crosstalk(shared: Path, case: int, label: str) -> None:
    data, meta = load(shared / f"oracle/crosstalk/case{case}.npz")
    run = meta["configs"][label]
    config, detector = run["config"], detector_of(meta["amps"])
    square = config["doQuadraticCrosstalkCorrection"]
    product = Crosstalk(
        amps=detector.names,
        coefficients=data["in/coeffs"],
        quadratic=data["in/coeffsSqr"] if square else None,
        valid=data["in/coeffValid"],
        unit=run["units_of_coeffs"],
    )
    frame = Frame.from_arrays(data[f"in/{run['input']}"], unit="adu", detector=detector, raw=run["input"] == "raw")
    nominal = Gain.of_detector(detector)
    if label == "raw_full_electron":  # the reference compares with its threshold in electron
        frame = gain.remove(frame, nominal)
    out = crosstalk.remove(
        frame,
        product,
        threshold=config["minPixelToMask"],
        flag="correction" if config["doSubtrahendMasking"] else "source",
        sample_rows=10_000,
        skip=("C02",) if label == "trimmed_badamp" else (),
    )
    planes = data[f"outmask/{label}"] >> meta["maskPlanes"]["CROSSTALK"] & 1
    np.testing.assert_array_equal(out.mask["CROSSTALK"], planes == 1)
    if label == "raw_full_electron":
        out = gain.add(out, nominal)
    # One rounding of the result, one of the sum of seven products of up to 30 adu, two more with gains there and back.
    want = data[f"out/{label}"]
    assert np.abs(want - data[f"in/{run['input']}"]).max() > 20
    np.testing.assert_allclose(out.image.array, want, rtol=2 * ULP, atol=1e-4)


MODELS = ["Polynomial", "Squared", "Spline", "Spline_gain", "Spline_offset", "DoubleSpline", "DoubleSpline_gain"]
MODELS += ["LookupTable", "LookupTable_round", "Proportional", "None"]


@pytest.mark.parametrize("label", MODELS)
def test_linearity(shared: Path, label: str) -> None:
    data, meta = load(shared / "oracle/linearize_apply/case1.npz")
    call, values = meta["calls"][label], data["in/values"]
    detector = plain_detector(values.shape).with_values(gain={"A": call["gain"]})
    frame = Frame.from_arrays(values, unit="adu" if call["gain"] == 1 else "electron", detector=detector)
    product = Linearity.same(("A",), call["type"], data[f"in/coeffs_{label}"], table=data["in/table"])
    got = linearity.remove(frame, product).image.array
    # One rounding of the result, one of the count before; the correction is at most 1.4e3 adu. The reference ends a
    # spline 0.1 adu (0.01 for the double one) before its last node: 1e-3 adu there.
    np.testing.assert_allclose(got, data[f"out/{label}"], rtol=2 * ULP, atol=1e-3)


def functions(shared: Path) -> tuple[Any, dict[str, Any]]:
    return load(shared / "oracle/isr_functions/case1.npz")


def frame_of(data: Any, meta: dict[str, Any], unit: str = "adu", **more: Any) -> Frame:
    detector = detector_of(meta["amps"])
    mask = Mask(data["in/mask"].astype(np.uint32), schema=meta["maskPlanes"])
    frame = Frame.from_arrays(data["in/image"], data["in/variance"], unit=unit, detector=detector, **more)
    frame.mask = mask
    return frame


def equal(out: Frame, data: Any, label: str, planes: tuple[str, ...] = ("image", "variance")) -> None:
    for plane in planes:
        got = getattr(out, plane).array
        np.testing.assert_allclose(got, data[f"out/{label}/{plane}"], rtol=4 * ULP, atol=2e-3, err_msg=plane)


def test_bias(shared: Path) -> None:
    data, meta = functions(shared)
    product = Bias(image=data["in/bias"], variance=data["in/biasVar"], unit="adu")
    equal(bias.remove(frame_of(data, meta), product), data, "bias")


def test_dark(shared: Path) -> None:
    """Dark time 30 s against a master of 2 s; without the shot noise of the dark charge, which the reference lacks."""
    data, meta = functions(shared)
    product = Dark(image=data["in/dark"] / 2, variance=data["in/darkVar"] / 4, unit="adu/s")
    frame = frame_of(data, meta, observation=Observation(dark_time=30.0))
    equal(dark.remove(frame, product, shot_noise=False), data, "dark")


@pytest.mark.parametrize("label", ["flat_USER", "flat_MEAN", "flat_MEDIAN"])
def test_flat(shared: Path, label: str) -> None:
    """The reference divides by flat / scale; ours takes a flat that is normalised."""
    data, meta = functions(shared)
    image = data["in/flat"].astype(np.float64)
    scale = {"flat_USER": 1.25, "flat_MEAN": image.mean(), "flat_MEDIAN": np.median(image)}[label]
    product = Flat(
        image=(image / scale).astype(np.float32), variance=(data["in/flatVar"] / scale**2).astype(np.float32)
    )
    out = flat.remove(frame_of(data, meta), product)
    for plane in ("image", "variance"):
        # Six roundings: flat, its inverse, products; squares of them in the variance.
        np.testing.assert_allclose(getattr(out, plane).array, data[f"out/{label}/{plane}"], rtol=12 * ULP)


def test_gain(shared: Path) -> None:
    data, meta = functions(shared)
    frame = frame_of(data, meta)
    equal(gain.remove(frame, Gain.of_detector(frame.detector)), data, "applyGains")


def test_variance(shared: Path) -> None:
    """V = I/g + (R/g)**2 in adu; ours is floored where the reference goes on below zero."""
    data, _ = functions(shared)
    frame = Frame.from_arrays(data["in/image"], unit="adu")
    frame.detector = plain_detector(frame.shape).with_values(gain={"A": 1.6}, read_noise={"A": 6.0})
    floor = 0.1 * (6 / 1.6) ** 2
    want = np.maximum(data["out/updateVariance/variance"], floor)
    np.testing.assert_allclose(variance.flag(frame).variance.array, want, rtol=4 * ULP, atol=1e-5)


def test_growing_of_saturation(shared: Path) -> None:
    data, meta = functions(shared)
    out = saturation_grow.flag(frame_of(data, meta), radius=3)
    want = data["out/growMasks3/mask"] >> meta["maskPlanes"]["SAT"] & 1
    np.testing.assert_array_equal(out.mask["SAT"], want == 1)


def plane(data: Any, meta: dict[str, Any], key: str, name: str) -> np.ndarray:
    """One plane of a mask of the file, bool."""
    return (data[key] >> meta["maskPlanes"][name] & 1) == 1


def test_saturation_and_its_growing(shared: Path) -> None:
    """Counts from 60000 on are SAT; grown by two steps before filling. Image and variance are left as they are.

    The reference grows what it has flagged just now; 21 pixels that were SAT before it leaves as they are.
    """
    data, meta = functions(shared)
    image, before = data["in/image"], plane(data, meta, "in/mask", "SAT")
    frame = Frame.from_arrays(image, unit="adu", detector=plain_detector(image.shape), raw=True)
    out = saturation.flag(frame, saturation=60000.0)
    assert out.mask["SAT"].sum() == 177
    np.testing.assert_array_equal(out.mask["SAT"] | before, plane(data, meta, "out/saturation_grow0/mask", "SAT"))
    np.testing.assert_array_equal(out.image.array, data["out/saturation_grow0/image"])
    flagged = frame_of(data, meta)
    flagged.mask["SAT"] = out.mask["SAT"]
    grown = saturation_grow.flag(flagged, radius=2)
    np.testing.assert_array_equal(grown.mask["SAT"] | before, plane(data, meta, "out/saturation_grow2/mask", "SAT"))
    filled = interpolation.fill(grown, planes=("SAT",), avoid=("BAD",), widest=1000, edge=1000)
    np.testing.assert_array_equal(filled.mask["INTRP"], plane(data, meta, "out/saturation_grow2/mask", "INTRP"))


def test_widened_trails_lie_within_a_growing_by_four(shared: Path) -> None:
    """The reference widens runs of saturated pixels along the row by up to four, by their length, where it is asked
    to; ours grows by a distance that does not depend on the length. The widest of theirs is within ours of four.
    """
    data, meta = functions(shared)
    widened = plane(data, meta, "out/widenSatTrails/mask", "SAT")
    out = saturation_grow.flag(frame_of(data, meta), radius=4).mask["SAT"]
    assert widened.sum() == 31 and not (widened & ~out).any()
    assert (widened & ~saturation_grow.flag(frame_of(data, meta), radius=3).mask["SAT"]).any()


def test_gains_that_bring_all_amplifiers_to_one_level(shared: Path) -> None:
    """Not a step of ours: after it counts are no electrons. It is the gain step with gains times M/m, m the median of
    an amplifier in electron, M the median of these. Tolerance: six roundings, gain and its square among them.
    """
    data, meta = functions(shared)
    frame = frame_of(data, meta)
    assert frame.detector is not None
    nominal = Gain.of_detector(frame.detector)
    electron = gain.remove(frame, nominal)
    level = np.array([np.median(electron[amp.trimmed].image.array) for amp in frame.detector])
    out = gain.remove(frame, Gain.of_detector(frame.detector.with_values(
        gain=dict(zip(nominal.amps, (nominal.gain * np.median(level) / level).tolist(), strict=True))
    )))  # fmt: skip
    for name in ("image", "variance"):
        want = data[f"out/applyGains_norm/{name}"]
        np.testing.assert_allclose(getattr(out, name).array, want, rtol=6 * ULP, err_msg=name)


def test_the_one_value_for_bad_pixels_is_our_statistic_and_no_step_of_ours(shared: Path) -> None:
    """The reference puts one number of the whole image into all BAD pixels, next to stars and on gradients alike, and
    keeps their variance: we leave what cannot be filled from neighbours as it is, without INTRP. The numbers agree.
    """
    data, meta = functions(shared)
    bad = plane(data, meta, "in/mask", "BAD")
    found = statistics(data["in/image"], bad, sigma=3.0, rounds=3)
    for label, value in (("MEDIAN", found.median), ("MEANCLIP", found.mean)):
        want = data[f"out/setBad_{label}/image"]
        np.testing.assert_allclose(want[bad], value, rtol=ULP)
        np.testing.assert_array_equal(want[~bad], data["in/image"][~bad])
        np.testing.assert_array_equal(data[f"out/setBad_{label}/variance"], data["in/variance"])
    ours = interpolation.fill(frame_of(data, meta), planes=("BAD",), avoid=(), widest=1, edge=0)
    left = bad & ~ours.mask["INTRP"]
    assert left.any()
    np.testing.assert_array_equal(ours.image.array[left], data["in/image"][left])


def test_far_from_the_only_neighbour_nothing_is_made_up(shared: Path) -> None:
    """A gap of twelve pixels at the edge. The reference fades to a number of the caller's (0 here, else a level of the
    image) and keeps it for the six farthest, flags all INTRP, and puts 0, or that level, into their variance: values
    from nowhere. Ours gives the nearest pixel and its variance up to six away, and leaves the same six as they are.
    """
    data, meta = functions(shared)
    bad = plane(data, meta, "in/mask", "BAD")
    fallback = (data["out/interp_fallback/image"] == 0) & bad
    assert fallback.sum() == 12 and plane(data, meta, "out/interp_fallback/mask", "INTRP")[fallback].all()
    assert not data["out/interp_fallback/variance"][fallback].any()
    assert data["out/interp_bad/variance"][fallback].min() > 10 * np.median(data["in/variance"])
    out = interpolation.fill(frame_of(data, meta), planes=("BAD",), avoid=(), widest=1000, edge=6)
    np.testing.assert_array_equal(bad & ~out.mask["INTRP"], fallback)
    for y in np.unique(np.nonzero(fallback)[0]):
        for name in ("image", "variance"):
            got, given = getattr(out, name).array[y], data[f"in/{name}"][y]
            np.testing.assert_array_equal(got[6:12], given[12])
            np.testing.assert_array_equal(got[:6], given[:6])


def test_growing_and_filling_in_turn(shared: Path) -> None:
    """SAT grown by one step, then SAT and BAD filled: the same planes."""
    data, meta = functions(shared)
    grown = saturation_grow.flag(frame_of(data, meta), radius=1)
    out = interpolation.fill(grown, planes=("SAT", "BAD"), avoid=(), widest=1000, edge=1000)
    for name in ("SAT", "BAD", "INTRP"):
        np.testing.assert_array_equal(out.mask[name], plane(data, meta, "out/interp_badsat_grow1/mask", name), name)


def test_interpolation_fills_the_same_pixels_and_agrees_within_the_noise(shared: Path) -> None:
    """Another rule, so other values: the pixels filled are the same except far from the edge, and unbiased."""
    data, meta = functions(shared)
    out = interpolation.fill(frame_of(data, meta), planes=("BAD",), avoid=(), widest=1000, edge=1000)
    filled = (data["out/interp_bad/mask"] >> meta["maskPlanes"]["INTRP"] & 1) == 1
    np.testing.assert_array_equal(out.mask["INTRP"], filled)
    ours, theirs = (a[filled] - np.median(data["in/image"]) for a in (out.image.array, data["out/interp_bad/image"]))
    noise = 1.4826 * np.median(np.abs(data["in/image"] - np.median(data["in/image"])))
    # 206 pixels of columns and spots, each a mean of one or two neighbours: the medians agree within 4 sigma/sqrt(206).
    assert abs(np.median(ours - theirs)) < 4 * noise / np.sqrt(filled.sum())
    np.testing.assert_array_equal(out.image.array[~filled], data["in/image"][~filled])
