"""Masks of defects found as the LSST calibration task finds them, on the same frames."""

from __future__ import annotations

import json

import numpy as np
import pytest

from fullwell.frames import Frame, Observation
from fullwell.measure.defects import DefectRules, bad_in_bias, bad_in_dark, bad_in_flat, fill_columns, merge

CASES = ("case1", "case2")
HALF = 200
TIME = 20.0


def reference(shared, case):
    data = np.load(shared / "oracle" / "defects" / f"{case}.npz")
    return data, json.loads(str(data["meta_json"]))


def rules_of(cfg):
    """The task's settings in our words. Its gap is a difference of row numbers, ours a number of good pixels."""
    deviation = cfg["thresholdType"] == "STDEV"
    full = cfg["badPixelsToFillColumnThreshold"]
    return DefectRules(
        dark_rate=cfg["darkCurrentThreshold"],
        bright_sigma=cfg["nSigmaBright"] if deviation else None,
        flat_low=None if deviation else cfg["fracThresholdFlat"],
        flat_sigma=-cfg["nSigmaDark"] if deviation else None,
        flat_high=None,
        bias_level=cfg["biasThreshold"],
        column_count=cfg["badOnAndOffPixelColumnThreshold"],
        column_gap=cfg["goodPixelColumnGapThreshold"] - 1,
        full_column=int(full) if full > 0 else None,
    )


def found(data, cfg, border=False):
    """Our mask of one input. The dark time is not recorded; any from 12 s to 21 s gives this result."""
    rules = rules_of(cfg)
    image = data[f"in/{cfg['imgtype']}"]
    frame = Frame.from_arrays(image, unit="electron", observation=Observation(dark_time=TIME))
    if cfg["imgtype"] == "DARK":
        bad = bad_in_dark(frame, rules)
    elif cfg["imgtype"] == "FLAT":
        bad = bad_in_flat(frame, rules)[0]
    else:
        bad = bad_in_bias(frame, rules)
    if border:
        ud, lr = cfg["nPixBorderUpDown"], cfg["nPixBorderLeftRight"]
        inside = np.zeros_like(bad)
        inside[ud:-ud, lr:-lr] = True
        bad &= inside
    return fill_columns(bad, rules, (HALF,) if rules.full_column else ())[0]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("label", ["dark_stdev", "dark_value", "dark_cols", "bias_value"])
def test_darks_and_bias_are_equal(shared, case, label):
    data, meta = reference(shared, case)
    assert np.array_equal(found(data, meta["configs"][label]), data[f"out/mask_{label}"])


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("label", ["flat_stdev", "flat_value"])
def test_mistake_cold_pixels_beside_the_midline_are_not_reported(shared, case, label):
    """The task drops defects in the rows next to where the halves of a sensor meet (199, 200), though the pixels there
    have 0.6 of the light of their neighbours. Elsewhere the masks are equal."""
    data, meta = reference(shared, case)
    ours, theirs = found(data, meta["configs"][label]), data[f"out/mask_{label}"]
    different = ours != theirs
    assert set(np.nonzero(different)[0]) <= {HALF - 1, HALF}
    assert different.any() and ours[different].all()
    assert data["in/FLAT"][different].max() < 0.7


@pytest.mark.parametrize("case", CASES)
def test_whole_columns_and_borders(shared, case):
    """A column of one half with more than 60 bad pixels is bad from end to end; nothing is searched in the border."""
    data, meta = reference(shared, case)
    assert np.array_equal(
        found(data, meta["configs"]["dark_border_fill"], border=True), data["out/mask_dark_border_fill"]
    )


@pytest.mark.parametrize("case", CASES)
def test_merging(shared, case):
    data, _ = reference(shared, case)
    masks = [data[f"out/mask_dark_{k}"] for k in ("stdev", "value", "cols")]
    whole = merge(masks, "or")
    assert np.array_equal(whole, painted(data["out/boxes_merge_OR"], whole.shape))
    assert np.array_equal(merge(masks, "fraction", 0.5), painted(data["out/boxes_merge_FRACTION"], whole.shape))
    edged = whole.copy()
    edged[:5] = edged[-5:] = True
    edged[:, :5] = edged[:, -5:] = True
    assert np.array_equal(edged, painted(data["out/boxes_merge_edges"], whole.shape))


@pytest.mark.parametrize("case", CASES)
def test_mistake_merging_by_and_finds_nothing(shared, case):
    """The task asks for a share above 1 and so never selects a pixel; ours keeps what all inputs have."""
    data, _ = reference(shared, case)
    assert len(data["out/boxes_merge_AND"]) == 0
    masks = [data[f"out/mask_dark_{k}"] for k in ("stdev", "value", "cols")]
    assert merge(masks, "and").sum() == np.logical_and.reduce(masks).sum() > 600


def painted(boxes, shape):
    out = np.zeros(shape, bool)
    for x, y, w, h in boxes:
        out[y : y + h, x : x + w] = True
    return out
