"""`reduce` on folders of real frames against the figures of their READMEs, measured by others on the same pixels.

Regions of the READMEs are in raw pixels; `shifted` brings them to the assembled frame. Noise and gain are measured
on frames corrected as the journey corrects them; each must agree within four standard errors of the estimator.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fullwell import io
from fullwell.cameras import Box, Detector
from fullwell.frames import Frame
from fullwell.journeys import reduce
from fullwell.journeys.calibrate import Desk
from fullwell.journeys.night import ReduceOptions
from fullwell.measure import build_bias, pair_gain, pair_noise, statistics

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Done:
    """A reduced folder."""

    result: reduce.ReduceResult
    desk: Desk

    @property
    def made(self) -> Any:
        (made,) = self.result.calibrations
        return made

    def frames(self, kind: str, recipe: str, bias: Any = None, words: str = "") -> list[Frame]:
        """Frames of a kind as the journey has them for noise and gain: overscan, assembly, bias; in adu."""
        items = [i for i in self.result.night.of(kind) if words in i.name]
        given = {} if bias is None else {"bias": bias}
        return [self.desk.correct(self.desk.read(i), given, recipe, off=("gain", "variance")) for i in items]


def reduced(shared: Path, out: Path, name: str, **options: Any) -> Done:
    given = ReduceOptions(**options)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reduce, "_write_report", lambda result: None)
        result = reduce.run(shared / "data" / name, out, given, jobs=2)
    assert result.ok
    return Done(result, Desk(given, out))


@pytest.fixture(scope="module")
def efosc2(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Done:
    return reduced(shared, tmp_path_factory.mktemp("efosc2"), "efosc2-imaging")


@pytest.fixture(scope="module")
def arcsat(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Done:
    return reduced(shared, tmp_path_factory.mktemp("arcsat"), "arcsat-2025")


@pytest.fixture(scope="module")
def lab(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Done:
    return reduced(shared, tmp_path_factory.mktemp("lab"), "stl1001e-lab", flat=("flat_*",))


@pytest.fixture(scope="module")
def esis(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Done:
    named = {"bias": ("ESIS1_0486[01]*",), "flat": ("ESIS1_0480[34]*",), "dark": ("ESIS1_01[78]*",)}
    camera = str(ROOT / "docs" / "examples" / "esis1.toml")
    out = tmp_path_factory.mktemp("esis")
    return reduced(shared, out, "esis1-ccd230", camera=camera, science=("ESIS1_000*",), **named)


def test_efosc2_files_are_what_they_are(efosc2: Done) -> None:
    """Bias frames call themselves darks of 0 s; flats through a grism are another filter."""
    kinds: dict[str, int] = {}
    for item in efosc2.result.night.items:
        label = f"{item.kind} {item.observation.filter}" if item.kind in ("flat", "science") else item.kind
        kinds[label] = kinds.get(label, 0) + 1
    assert kinds == {"bias": 5, "flat g#782": 3, "flat Gr#3": 3, "science g#782": 3}
    inputs = {flat.observation.filter: [Path(n).name[6:19] for n in flat.inputs] for flat in efosc2.made.flat}
    assert inputs == {"g#782": ["2022-01-28T00"] * 3, "Gr#3": ["2022-01-30T11"] * 3}
    (flat,) = [f for f in efosc2.made.flat if f.observation.filter == "g#782"]
    assert all(f.products["flat"] == flat.id for f in efosc2.result.frames)


def test_efosc2_the_low_bias_is_left_out_with_a_reason(efosc2: Done) -> None:
    """README: medians 219, 222, 223, 223, 223 adu."""
    (bias,) = efosc2.made.bias
    assert len(bias.inputs) == 4 and not any("190238" in name for name in bias.inputs)
    (note,) = [n for n in bias.notes if n.startswith("Left out")]
    assert "190238.210" in note and "level" in note
    level = np.median(bias.image[100:900, 94:894]) / efosc2.made.gain.gain[0]
    # whole counts, of which the medians of the four frames are 222, 223, 223, 223
    assert 222 <= level <= 223


def test_efosc2_noise_and_gain(efosc2: Done) -> None:
    """README: noise 10.33, 10.24, 10.31, 10.31 adu; gain 1.177, 1.189, 1.182 of the pairs of sky flats."""
    biases = efosc2.frames("bias", "bias")
    data = biases[0].detector.amplifiers[0].data
    region = Box(100, 100, 800, 800).shifted(-data.x0, -data.y0)
    for i, value in enumerate((10.33, 10.24, 10.31, 10.31)):
        got = pair_noise(biases[i], biases[i + 1], region)["0"]
        assert abs(got.value - value) < 4 * got.error
    flats = efosc2.frames("flat", "flat", build_bias(biases), "2022-01-28")
    narrow = Box(520, 300, 100, 300).shifted(-data.x0, -data.y0)
    for (i, j), value in (((0, 1), 1.177), ((1, 2), 1.189), ((0, 2), 1.182)):
        one = pair_gain([(flats[i], flats[j])], noise={"0": (10.31, 0.01)}, region=narrow)
        assert abs(one.gain[0] - value) < 4 * one.gain_error[0]


def test_efosc2_the_header_is_overruled_and_the_variance_is_true(efosc2: Done) -> None:
    """The measured gain is used. Pairs of bright flats share charge between neighbours, which makes the gain too
    large by some per cent (`gain_model_error`); the noise of the sky then lies above its variance, by at most 3 %."""
    gain = efosc2.made.gain
    assert gain.estimator == "pair" and efosc2.made.pairs == 2
    assert gain.gain_model_error[0] > 4 * gain.gain_error[0]
    assert any("The header says 1.1 e-/adu" in n and "is wrong" in n and "is used" in n for n in efosc2.made.notes)
    assert abs(gain.read_noise_adu[0] - 10.30) < 4 * 10.3 / np.sqrt(2 * 2 * 1e6) + 0.03
    for frame in efosc2.result.frames:
        assert frame.unit == "electron" and abs(frame.ratio - 1) < 0.03


def test_arcsat_stays_in_adu_and_says_so(arcsat: Done) -> None:
    (frame,) = arcsat.result.frames
    assert frame.unit == "adu" and np.isnan(arcsat.made.gain.gain).all()
    assert any("Frames stay in adu and their variance has no Poisson term" in n for n in arcsat.made.notes)
    done = io.read(frame.output)
    assert done.unit == "adu"
    record = done.last("variance")
    assert record.numbers["without_gain"] == ["0"] and record.numbers["without_read_noise"] == []
    gain = io.read_product(arcsat.result.products["gain"])
    np.testing.assert_array_equal(gain.read_noise_adu, arcsat.made.gain.read_noise_adu)


def test_arcsat_levels(arcsat: Done) -> None:
    """README, [200:450, 600:850]: bias 1361.86 +- 12.36, flat 19416, science 1385; dark - bias 2.20 clipped."""
    (bias,), (dark,), (flat,) = arcsat.made.bias, arcsat.made.dark, arcsat.made.flat
    region = Box(600, 200, 250, 250).slices
    assert abs(bias.image[region].mean(dtype=float) - 1361.86) < 0.005
    # the clip of two frames of 1e6 pixels with a noise of 17.8 adu: 0.02 adu
    assert abs(statistics(dark.image).mean * 30 - 2.20) < 4 * 17.8 / np.sqrt(dark.image.size) + 0.005
    assert dark.observation.dark_time == 30.0 and flat.observation.filter == "g"
    done = io.read(arcsat.result.frames[0].output)
    level = np.median(done.image.array[region] * flat.image[region]) + 1363
    # median of whole counts of science and dark, each to half a count
    assert abs(level - 1385) <= 1.0


def test_arcsat_variance_of_one_bias_and_one_dark(arcsat: Done) -> None:
    """Frame, dark and bias have equal times: the bias cancels, and two read noises are left, 12.49 sqrt 2 = 17.66 adu.

    The sky of 27 adu adds little. Neighbours scatter by the variance to 0.2 % (1e6 pixels) and the unknown Poisson
    term, at most 27/g adu2 of 311: 4 % in the noise at 1 electron/adu.
    """
    (frame,) = arcsat.result.frames
    assert frame.expected == pytest.approx(arcsat.made.gain.read_noise_adu[0] * np.sqrt(2), rel=0.01)
    assert 1 - 4 * 0.002 < frame.ratio < 1.04 + 4 * 0.002


def test_lab_temperatures_are_kept_apart(lab: Done) -> None:
    """Six bias frames at -5, four at -10 C; darks of both; README, [300:700, 300:700]: medians 991 and 990 adu.

    Those are 991.5 and 990.5 without their half; the median of whole counts is known to half a count.
    """
    gain = lab.made.gain.gain[0]
    biases = {b.observation.set_temperature: b for b in lab.made.bias}
    assert {t: len(b.inputs) for t, b in biases.items()} == {-5.0: 6, -10.0: 4}
    for t, level in ((-5.0, 991.5), (-10.0, 990.5)):
        assert abs(np.median(biases[t].image[300:700, 300:700]) / gain - level) <= 0.5
        assert all(f"bias_m{-int(t):02d}C" in name for name in biases[t].inputs)
    darks = {d.observation.set_temperature: d for d in lab.made.dark}
    times = {t: sorted(d.statistics["dark_times"]) for t, d in darks.items()}
    assert times == {-5.0: [60, 150, 300], -10.0: [60, 150, 300]}
    assert darks[-5.0].statistics["bias"] == biases[-5.0].id


def test_lab_dark_rates(lab: Done) -> None:
    """README: 0.3629 t + 1.40 adu at -5 C, 0.1797 t + 0.97 at -10 C: the bias drifted between biases and darks.

    A mean of rates holds the intercept times the mean of 1/t, which the product states. A hot pixel counts or not as
    the clip falls, which in this sensor, with 2 % of them, moves clipped means by up to 2 %.
    """
    gain = lab.made.gain.gain[0]
    for dark in lab.made.dark:
        slope, start = (0.3629, 1.40) if dark.observation.set_temperature == -5.0 else (0.1797, 0.97)
        expected = slope + start * dark.statistics["bias_share"]
        assert abs(statistics(dark.image).mean / gain / expected - 1) < 0.02


def test_lab_noise_and_gain(lab: Done) -> None:
    """README, [300:700, 300:700]: noise 6.709, 6.706, 6.708 (-5 C), 6.565, 6.555 (-10 C); gain 1.941, 1.949, 1.956."""
    region = Box(300, 300, 400, 400)
    cold, warm = lab.frames("bias", "bias", words="m10C"), lab.frames("bias", "bias", words="m05C")
    for frames, values in ((warm, (6.709, 6.706, 6.708)), (cold, (6.565, 6.555))):
        for i, value in enumerate(values):
            got = pair_noise(frames[2 * i], frames[2 * i + 1], region)["0"]
            assert abs(got.value - value) < 4 * got.error
    flats = lab.frames("flat", "flat", build_bias(warm))
    for i, value in enumerate((1.941, 1.949, 1.956)):
        one = pair_gain([(flats[2 * i], flats[2 * i + 1])], noise={"0": (6.708, 0.007)}, region=region)
        assert abs(one.gain[0] - value) < 4 * one.gain_error[0]


def test_lab_the_noise_is_that_of_the_flats_temperature(lab: Done) -> None:
    """6.708 adu at -5 C and not the 6.64 of both temperatures; three pairs of 1e6 pixels know it to 0.003."""
    gain = lab.made.gain
    assert abs(gain.read_noise_adu[0] - 6.708) < 4 * 6.7 / np.sqrt(2 * 3 * 160000)
    assert any("The header says 2.06 e-/adu" in note and "is wrong" in note for note in lab.made.notes)
    assert not lab.result.frames


def one_level(esis: Done) -> Done:
    """The same folder with one prescan level per tap, as the README has it, instead of one per row."""
    settings = {"overscan_serial": {"method": "median"}}
    return Done(esis.result, Desk(esis.desk.options.model_copy(update={"settings": settings}), esis.desk.spool.folder))


def taps(detector: Detector, box: Box) -> dict[str, Box]:
    """A region of each tap in read order, in assembled coordinates."""
    out = {}
    for amp in detector:
        inner = amp.orientation.box(box.shifted(-amp.data.x0, -amp.data.y0), amp.data.shape)
        out[amp.name] = inner.shifted(amp.trimmed.x0, amp.trimmed.y0)
    return out


def test_esis_four_taps(esis: Done) -> None:
    """README, read order: noise 4.026, 3.864, 4.166, 4.239 DN; gain 2.535, 2.510, 2.529, 2.511 e-/DN.

    The README takes one prescan level per tap off, so this test does: the median per row of the journey adds its own
    error to the noise.
    """
    own = one_level(esis)
    biases = own.frames("bias", "bias")
    detector = biases[0].detector
    noise = pair_noise(biases[0], biases[1], taps(detector, Box(100, 20, 900, 480)))
    for amp, value in zip(detector.names, (4.026, 3.864, 4.166, 4.239), strict=True):
        assert abs(noise[amp].value - value) < 4 * noise[amp].error
    flats = own.frames("flat", "flat")
    out = pair_gain([(flats[0], flats[1])], noise=noise, region=taps(detector, Box(300, 100, 500, 300)))
    for got, error, value in zip(out.gain, out.gain_error, (2.535, 2.510, 2.529, 2.511), strict=True):
        assert abs(got - value) < 4 * error


def test_esis_dark_rates(esis: Done) -> None:
    """README, (12 s - 2 s)/10 s in [20:500, 60:1000]: 0.0205, 0.0216, 0.0130, 0.0165 DN/s.

    Noise of 4 DN in two frames of 451200 pixels, and in the medians of 520 x 40 prescan pixels: 0.0093 DN over 10 s.
    """
    short, long = one_level(esis).frames("dark", "dark")
    assert (short.observation.exposure_time, long.observation.exposure_time) == (1.999, 11.999)
    boxes = taps(short.detector, Box(60, 20, 940, 480))
    error = 4.24 * np.sqrt(2) * np.sqrt(1 / 451200 + np.pi / 2 / 20800) / 10
    for (name, box), rate in zip(boxes.items(), (0.0205, 0.0216, 0.0130, 0.0165), strict=True):
        step = statistics(long.image[box].array).mean - statistics(short.image[box].array).mean
        assert abs(step / 10 - rate) < 4 * error, name


def test_esis_variance(esis: Done) -> None:
    """Neighbours along a row are correlated in this camera's noise: differences scatter 4 % less than pixels do."""
    fe55 = next(f for f in esis.result.frames if "00002" in f.name)
    assert fe55.unit == "electron" and 0.94 < fe55.ratio < 1.02
