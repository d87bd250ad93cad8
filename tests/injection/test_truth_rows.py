"""Each row of the truth names the row of the catalogue that it is about."""

import numpy as np

import fullwell as fw
from fullwell.injection import EffectiveGain


def test_row_leads_back_to_the_catalogue() -> None:
    rng = np.random.default_rng(3)
    frame = fw.Frame.from_arrays(np.zeros((64, 64), np.float32), np.ones((64, 64), np.float32), unit="electron")
    gain = EffectiveGain(np.ones((64, 64), np.float32), frame.box, "electron", "flat", read_noise=1.0)
    catalog = {"x": rng.uniform(5, 58, 20), "y": rng.uniform(5, 58, 20), "flux": rng.uniform(100, 900, 20)}
    truth = fw.inject(frame, catalog, gain=gain, psf="gaussian:3").truth
    assert sorted(truth["row"]) == list(range(20)) and list(truth["row"]) != list(range(20))
    np.testing.assert_array_equal(truth["flux_true"], catalog["flux"][truth["row"]])
