"""Points of pairs of flats against outputs of the LSST extraction task on the same simulated pairs.

Means, variances and covariances are the same but for rounding. Where ours are meant to differ the test says how much:

- the peer's factor of a clip is that of one round, ours that of the rounds that are done;
- the peer's means of rows hold the hits of cosmic rays, ours do not;
- the peer counts the pixels of binned flats before binning;
- the peer's test of the histogram takes all pixels of the unscaled difference, ours a random choice of the scaled one.
"""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fullwell.measure.levels import clip_factor
from fullwell.measure.ptc import ExtractConfig, PairValues, measure_pair

CASES = [(case, label, level) for case in (1, 2) for level in (0, 1)
         for label in ("default", "kshist_edges", "gainSIMPLE_bin2", "gainNONE_full")]  # fmt: skip


class Reference:
    """One configuration of one case at one level of light."""

    def __init__(self, folder: Any, case: int, label: str, level: int) -> None:
        self.file = np.load(folder / f"case{case}.npz")
        meta = json.loads(str(self.file["meta_json"]))
        self.cfg = meta["configs"][label]
        self.amps, self.label, self.level = meta["amps"], label, level
        bits = sum(1 << meta["maskPlanes"][name] for name in self.cfg["maskNameList"])
        self.good: NDArray[np.bool_] = (self.file["in/mask"] & bits) == 0
        self.rounds = self.cfg["nIterSigmaClipPtc"]
        self.clip = self.cfg["nSigmaClipPtc"]

    def __getitem__(self, name: str) -> NDArray[Any]:
        return np.asarray(self.file[f"{self.label}/{name}_{self.level}"])

    def ours(self, amp: int) -> PairValues:
        """What we measure of an amplifier with the same settings."""
        x, y, w, h = self.amps[amp]["bbox"]
        box = np.s_[y : y + h, x : x + w]
        if self.cfg["detectorMeasurementRegion"] == "FULL":
            box = np.s_[:, :]
        good, edge = self.good[box].copy(), self.cfg["numEdgeSuspect"]
        if edge:
            inner = good[edge:-edge, edge:-edge].copy()
            good[:] = False
            good[edge:-edge, edge:-edge] = inner
        config = ExtractConfig(
            clip=self.clip, rounds=self.rounds, lags=self.cfg["maximumRangeCovariancesAstier"] - 1,
            binning=self.cfg["binSize"], pixels=self.cfg["minNumberGoodPixelsForCovariance"],
            ks_test=self.cfg["doKsHistMeasurement"], ks_limit=0.0,
        )  # fmt: skip
        one, two = (self.file[f"in/flat_{self.level}_{k}"][box].astype(np.float32) for k in (0, 1))
        return measure_pair(one, two, good, config=config)


@pytest.mark.parametrize("case, label, level", CASES)
def test_levels_variances_and_covariances_of_the_reference(shared, case, label, level):
    """Means to 1e-6 and variances to 1e-4 of their statistical error, covariances within float32 rounding.

    Rounding: the pixels of the difference are float32 in both codes, 1e-6 of the variance. Means of binned flats are
    those of whole cells here and of all pixels there: within two sigma.
    """
    reference = Reference(shared / "oracle" / "ptc_extract", case, label, level)
    for k in range(len(reference.amps)):
        found = reference.ours(k)
        assert not found.reason
        error = math.sqrt(found.variance / found.pixels[0, 0] / 2)
        far = 2.0 if "bin" in label else 1e-6
        assert abs(found.mean - reference["rawMeans"][k]) < far * error
        assert abs(found.delta - reference["rawDeltas"][k]) < 2 * far * error
        once = clip_factor(reference.clip)
        variance = found.variance * clip_factor(reference.clip, reference.rounds) / once
        assert abs(variance - reference["rawVars"][k]) < 1e-4 * found.variance_error
        theirs = reference["covariances"][k].copy()
        ours = found.covariance * (clip_factor(reference.clip, reference.rounds + 1) / once) ** 2
        ours[0, 0] *= once / clip_factor(reference.clip, reference.rounds + 1)
        assert np.abs(ours - theirs).max() < 1e-6 * found.variance


@pytest.mark.parametrize("case, level", [(1, 0), (1, 1), (2, 0), (2, 1)])
def test_the_ratio_is_that_of_the_reference_gain(shared, case, level):
    """The reference's pair gain without correction is 1/<D^2/S>, to 1e-7 (float32 sums along rows)."""
    reference = Reference(shared / "oracle" / "ptc_extract", case, "gainNONE_full", level)
    assert 1 / reference.ours(0).ratio == pytest.approx(reference["gainList"][0], rel=1e-7)


@pytest.mark.parametrize("case, level", [(1, 0), (1, 1), (2, 0), (2, 1)])
def test_row_means_are_free_of_hits(shared, case, level):
    """Ours is 2/columns of the sum of the covariances along the row, within 4 sigma; the reference has the hits on top.

    The relative error of a variance of n rows is sqrt(2/n).
    """
    reference = Reference(shared / "oracle" / "ptc_extract", case, "default", level)
    for k in range(len(reference.amps)):
        found = reference.ours(k)
        expected = 2 * (found.covariance[0, 0] + 2 * found.covariance[1:, 0].sum()) / found.columns
        rows = reference.amps[k]["bbox"][3]
        assert abs(found.row_variance / expected - 1) < 4 * math.sqrt(2 / rows)
        assert reference["rowMeanVariance"][k] > found.row_variance


@pytest.mark.parametrize("case", [1, 2])
def test_pixels_of_binned_flats_are_counted_after_binning(shared, case):
    """The reference counts them before: four times as many, so that its weights are twice what they should be."""
    reference = Reference(shared / "oracle" / "ptc_extract", case, "gainSIMPLE_bin2", 1)
    ours = reference.ours(0).pixels[0, 0]
    assert 3.9 < reference["nPixelCovariances"][0] / ours < 4.1


@pytest.mark.parametrize("case, level", [(1, 1), (2, 1)])
def test_histogram_of_the_difference(shared, case, level):
    """Variance of the fitted Gaussian within 1 % of the reference's; no amplifier of a bright pair is rejected."""
    reference = Reference(shared / "oracle" / "ptc_extract", case, "kshist_edges", level)
    for k in range(len(reference.amps)):
        found = reference.ours(k)
        assert found.hist_variance == pytest.approx(reference["histVars"][k], rel=0.01)
        assert found.ks > 0.01 and reference["kspValues"][k] > 0.01
