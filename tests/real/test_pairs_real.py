"""Gain, read noise and dark rate of real frames against the figures in the READMEs of the data, same regions.

The figures are themselves measurements of the same pixels, so that agreement within 4 of our own standard errors is
a weak demand; the tests also ask for the digits that the READMEs give, where method and pixels are the same.
"""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits

from fullwell.cameras import Amplifier, Box, Detector, Orientation
from fullwell.frames import Frame, Observation
from fullwell.measure import build_bias, build_dark, build_flat, combine, pair_gain, pair_noise


def load(path, **obs):
    image = fits.getdata(path).astype(np.float32)
    return Frame.from_arrays(image, unit="adu", source=path.name, observation=Observation(**obs))


LAB = Box(300, 300, 400, 400)


@pytest.fixture(scope="module")
def lab(shared):
    folder = shared / "data" / "stl1001e-lab"
    return {p.name.split(".")[0]: p for p in folder.glob("*.fits.gz")}


def test_lab_read_noise(lab):
    """Pairs at -5 C: 6.709, 6.706, 6.708 adu; at -10 C: 6.565, 6.555 (5 sigma clip, uncorrected to 1.5e-5)."""
    for setting, pairs in (("m05C", {0: 6.709, 2: 6.706, 4: 6.708}), ("m10C", {0: 6.565, 2: 6.555})):
        for i, value in pairs.items():
            got = pair_noise(*(load(lab[f"bias_{setting}_0{k}"]) for k in (i, i + 1)), LAB)["0"]
            assert abs(got.value - value) < 4 * got.error and abs(got.value - value) < 0.002
            assert got.error == pytest.approx(6.7 / np.sqrt(2 * 160000), rel=0.05)


def test_lab_gain(lab):
    """Pairs (0,1), (2,3), (4,5): 1.941, 1.949, 1.956, mean 1.949 +- 0.004 e-/adu; read noise 13.1 e-."""
    biases = [load(lab[f"bias_m05C_0{i}"]) for i in range(6)]
    flats = [load(lab[f"flat_m05C_023s_0{i}"]) for i in range(6)]
    for i, value in ((0, 1.941), (2, 1.949), (4, 1.956)):
        one = pair_gain([(flats[i], flats[i + 1])], biases, region=LAB)
        assert abs(one.gain[0] - value) < 4 * one.gain_error[0] and abs(one.gain[0] - value) < 0.001
    out = pair_gain(flats, biases, region=LAB)
    assert abs(out.gain[0] - 1.949) < 4 * out.gain_error[0] and 0.0035 < out.gain_error[0] < 0.0045
    assert abs(out.read_noise[0] - 13.1) < 4 * out.read_noise_error[0]


@pytest.mark.parametrize("setting,slope", [("m05C", 0.3629), ("m10C", 0.1797)])
def test_lab_dark_rate(lab, setting, slope):
    """Clipped means over time: 0.3629 adu/s at -5 C, 0.1797 at -10 C, with intercepts that are not zero.

    The README takes the master bias off and clips at 5 sigma. Its slope is a least-squares line through six means; the
    scatter of the six about the line gives the standard error: 0.0002 and 0.0001 adu/s.
    """
    bias = combine([load(lab[f"bias_{setting}_0{i}"]) for i in range(4 if setting == "m10C" else 6)], method="median")
    frames = []
    for t in (10, 20, 30, 60, 150, 300):
        frame = load(lab[f"dark_{setting}_{t:03d}s"], dark_time=float(t))
        frame.image.array -= bias.image
        frames.append(frame)
    from fullwell.measure import statistics

    levels = [statistics(f.image.array).mean for f in frames]
    times = np.array([10, 20, 30, 60, 150, 300.0])
    line = np.polyfit(times, levels, 1)
    error = np.std(levels - np.polyval(line, times), ddof=2) / np.sqrt(np.sum((times - times.mean()) ** 2))
    assert abs(line[0] - slope) < 4 * error
    dark = build_dark(frames, intercept=True)
    assert dark.unit == "adu/s" and any("at no dark time taken off" in n for n in dark.notes)
    assert abs(statistics(dark.image).mean - slope) < 0.02 * slope


def test_efosc2_gain_and_the_low_bias(shared):
    """Noise 10.33, 10.24, 10.31, 10.31 adu; gains 1.177, 1.189, 1.182; the first bias (4 adu low) is left out."""
    folder = shared / "data" / "efosc2-imaging"
    biases = [load(p) for p in sorted(folder.glob("EFOSC.2022-01-26*.gz"))]
    region = Box(100, 100, 800, 800)
    for i, value in enumerate((10.33, 10.24, 10.31, 10.31)):
        got = pair_noise(biases[i], biases[i + 1], region)["0"]
        assert abs(got.value - value) < 4 * got.error and abs(got.value - value) < 0.006
    out = build_bias(biases)
    assert len(out.inputs) == 4 and "190238" in out.notes[0] and "level" in out.notes[0]
    flats = [load(p, filter="g") for p in sorted(folder.glob("EFOSC.2022-01-28T000*.gz"))]
    noise = {"0": (10.31, 0.01)}
    for f in flats:
        f.image.array -= out.image
    narrow = Box(520, 300, 100, 300)
    for (i, j), value in (((0, 1), 1.177), ((1, 2), 1.189), ((0, 2), 1.182)):
        one = pair_gain([(flats[i], flats[j])], noise=noise, region=narrow)
        assert abs(one.gain[0] - value) < 4 * one.gain_error[0] and abs(one.gain[0] - value) < 0.003
    flat = build_flat(flats, region=Box(100, 100, 800, 800))
    assert abs(float(np.mean(flat.image[100:900, 100:900], dtype=np.float64)) - 1) < 1e-4
    assert len(flat.inputs) == 3


ROWS, COLS = 520, 1076


def tap_detector():
    """Four taps, each read towards its outer corner, as one image of 1040 x 2152."""
    amps = []
    for corner in ("LL", "LR", "UL", "UR"):
        right, up = corner[1] == "R", corner[0] == "U"
        place, turn = Box(COLS * right, ROWS * up, COLS, ROWS), Orientation(flip_x=right, flip_y=up)
        whole = Box(0, 0, COLS, ROWS)
        amps.append(Amplifier(corner, (ROWS, COLS), whole, place, place, raw_orientation=turn, orientation=turn))
    return Detector("ESIS1", 0, tuple(amps))


def test_esis_four_taps(shared):
    """README: noise 4.026, 3.864, 4.166, 4.239 DN in [20:500, 100:1000]; gain 2.535, 2.510, 2.529, 2.511 e-/DN in
    [100:400, 300:800], read order, above the prescan level (median of columns 5-44)."""
    folder = shared / "data" / "esis1-ccd230"
    detector = tap_detector()
    frames = {}
    for number in (4803, 4804, 4860, 4861):
        frame = load(folder / f"ESIS1_0{number}.fit.gz")
        frame.detector = detector
        for amp in detector:
            segment = amp.orientation.undo(frame.image.array[amp.trimmed.slices])
            segment -= np.float32(np.median(segment[:, 5:45]))
        frames[number] = frame

    def regions(box):
        out = {}
        for amp in detector:
            inner = amp.orientation.box(box, (ROWS, COLS))
            out[amp.name] = inner.shifted(amp.trimmed.x0, amp.trimmed.y0)
        return out

    noise = pair_noise(frames[4860], frames[4861], regions(Box(100, 20, 900, 480)))
    for amp, value in zip(detector.names, (4.026, 3.864, 4.166, 4.239), strict=True):
        assert abs(noise[amp].value - value) < 4 * noise[amp].error
        assert abs(noise[amp].value - value) < 0.002
    out = pair_gain([(frames[4803], frames[4804])], noise=noise, region=regions(Box(300, 100, 500, 300)))
    for got, error, value in zip(out.gain, out.gain_error, (2.535, 2.510, 2.529, 2.511), strict=True):
        assert abs(got - value) < 4 * error and abs(got - value) < 0.002
        assert 0.8 * got * np.sqrt(2 / 150000) < error < 1.2 * got * np.sqrt(2 / 150000)
