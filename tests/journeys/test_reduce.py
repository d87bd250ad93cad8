"""`reduce` on made-up nights: every sort of folder that observers have."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from nights import Night, in_hdus, listing, pixels, sensor

from fullwell import io
from fullwell.base.errors import FileError, FullwellError, MissingProduct, UsageError
from fullwell.cli.main import main
from fullwell.journeys import reduce
from fullwell.journeys.night import ReduceOptions
from fullwell.repo import open_repo
from fullwell.simulation import FlatScene, grid_detector

PLAIN = grid_detector(1, 1, (48, 64))


@pytest.fixture(autouse=True)
def no_page(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page takes longer than such a night; tests marked with the name `page` write it."""
    if "page" not in request.node.name:
        monkeypatch.setattr(reduce, "_write_report", lambda result: None)


def run(night: Night, jobs: int = 1, out: str = "out", **options: Any) -> reduce.ReduceResult:
    return reduce.run(night.folder, night.folder.parent / out, ReduceOptions(**options), jobs=jobs)


def check_sky(result: reduce.ReduceResult, sky: float = 600.0) -> None:
    """The sky of each frame and its noise are the true ones, in electron.

    3072 pixels of 600 electron with a noise of 25 give their mean to 0.45; the gain, from at least one pair of flats,
    to sqrt(2/3072) = 2.6 % at worst, which is the larger part. The ratio is a scatter by the median of deviations,
    of 0.37 of the efficiency of the rms, on differences that share pixels (half more variance):
    sqrt(1.5 / (2 * 0.37 * 3024)) = 2.6 %.
    """
    gain = result.calibrations[0].gain
    assert gain is not None
    own = float(np.max(gain.gain_error / gain.gain))
    for frame in result.frames:
        assert frame.error is None, frame.error
        assert frame.unit == "electron"
        assert abs(frame.sky - sky) < 4 * math.hypot(0.6, sky * own)
        assert abs(frame.ratio - 1) < 4 * 0.026


GEOMETRIES: dict[str, tuple[Any, bool, dict[str, Any]]] = {
    "no overscan, nothing said": (PLAIN, False, {}),
    "prescan to trim, no overscan": (grid_detector(1, 1, (48, 64), prescan=4), True, {}),
    "overscan in the header": (None, True, {}),
    "overscan by option": (None, False, {"overscan": "[65:80,1:48]", "trim": "[1:64,1:48]"}),
    "overscan not wanted": (None, True, {"overscan": "none"}),
    "an HDU per amplifier": (in_hdus(grid_detector(2, 2, (48, 64), prescan=4, serial=12)), False, {}),
}


@pytest.mark.parametrize("name", GEOMETRIES)
def test_geometries(tmp_path: Path, name: str) -> None:
    detector, said, options = GEOMETRIES[name]
    night = Night(tmp_path / "raw", sensor(detector), sections=said).all()
    before = listing(night.folder)
    result = run(night, **options)
    assert result.ok and len(result.frames) == 1
    check_sky(result)
    frame = io.read(result.frames[0].output)
    assert frame.shape == ((96, 128) if "HDU" in name else (48, 64))
    assert set(result.products) == {"bias", "dark", "flat_g", "defects", "gain"}
    assert listing(night.folder) == before, "the folder of raw frames is not written to"


def test_the_bias_of_a_camera_without_overscan_has_the_variance_of_read_noise(tmp_path: Path) -> None:
    """Its level of 1500 electron is no charge: 36 + 1.5**2/12 over four frames, and not 385."""
    result = run(Night(tmp_path / "raw", sensor(PLAIN), sections=False).all())
    bias = result.calibrations[0].bias[0]
    # the read noise is measured from two pairs to 1/sqrt(4 * 3072) = 0.9 %, the variance to twice that, and the gain
    # that turns adu into electron squared to 1.8 %; the clip of four values changes the weights by some per cent
    assert bias.variance is not None
    assert abs(float(np.mean(bias.variance)) / ((36 + 1.5**2 / 12) / 4) - 1) < 4 * 0.041


def test_two_filters_have_their_own_flats(tmp_path: Path) -> None:
    night = Night(tmp_path / "raw", sensor(vignetting=0.2)).all(bands=("g", "r"))
    result = run(night)
    flats = {flat.observation.filter: flat for flat in result.calibrations[0].flat}
    assert set(flats) == {"g", "r"}
    for band, flat in flats.items():
        assert len(flat.inputs) == 4 and all(f"flat_{band}" in name for name in flat.inputs)
    used = {f.name: f.products["flat"] for f in result.frames}
    assert used == {"sky_g_0016.fits": flats["g"].id, "sky_r_0017.fits": flats["r"].id}


def test_a_filter_without_flats_fails_alone_and_names_the_nearest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    night = Night(tmp_path / "raw").all()
    night.science("r")
    out = tmp_path / "out"
    assert main(["reduce", str(night.folder), "-o", str(out)]) == 1
    message = capsys.readouterr().err
    assert "sky_r_0013.fits: failed" in message and "filter g instead of r" in message
    assert "--accept filter" in message
    assert (out / "sky_g_0012.fits").exists() and not (out / "sky_r_0013.fits").exists()
    assert main(["reduce", str(night.folder), "-o", str(out), "--accept", "filter"]) == 0
    assert (out / "sky_r_0013.fits").exists()


def test_fail_fast_stops_at_the_first(tmp_path: Path) -> None:
    night = Night(tmp_path / "raw").all()
    night.science("r")
    with pytest.raises(MissingProduct, match="filter g instead of r"):
        run(night, fail_fast=True)


def test_no_flats_at_all(tmp_path: Path) -> None:
    """Without a pair of flats there is no gain: the frame stays in adu, without a Poisson term, and says so."""
    night = Night(tmp_path / "raw")
    night.bias(), night.dark(), night.science()
    result = run(night)
    assert result.ok and result.frames[0].unit == "adu"
    assert any("Poisson" in note for note in result.calibrations[0].notes)
    assert any("no combined flat" in note for note in result.calibrations[0].notes)
    assert not any("no combined dark" in note for note in result.calibrations[0].notes)
    assert "flat" in result.frames[0].left_out
    frame = io.read(result.frames[0].output)
    assert frame.variance is not None and frame.last("variance").numbers["without_gain"] == ["0"]
    # R^2 = (6/1.5)^2 + 1/12. The overscan median of 10 pixels adds pi/20 of it to every frame; then come 0.6^2/3 from
    # three darks of 100 s, and (1 - 0.6)^2/4 from four biases, of which the darks hold 0.6 already:
    # 1.157 (1 + 0.12 + 0.04) = 1.342. R^2 is known from two pairs of 3072 pixels to 1.8 %.
    share = float(np.median(frame.variance.array)) / (16 + 1 / 12)
    assert abs(share / 1.342 - 1) < 4 * 0.018
    again = run(night, out="given", gain=1.5)
    check = again.frames[0]
    assert check.unit == "electron" and abs(check.sky - 600) < 4 * 0.6 and abs(check.ratio - 1) < 4 * 0.026


def test_no_bias_with_overscan(tmp_path: Path) -> None:
    night = Night(tmp_path / "raw")
    night.dark(), night.flat(), night.science()
    result = run(night, read_noise=6.0)
    assert result.ok and "bias" in result.frames[0].left_out
    assert any("no bias frames" in note for note in result.calibrations[0].notes)
    assert abs(result.frames[0].sky - 600) < 4 * 600 * 0.018 + 4 * 0.6


def test_no_bias_without_overscan_needs_darks_of_the_same_time(tmp_path: Path) -> None:
    """Darks that hold the level cannot be scaled: they are used as they are, or the frame fails and says why."""
    night = Night(tmp_path / "raw", sensor(PLAIN), sections=False)
    night.dark(4, time=60.0), night.dark(4, time=5.0), night.flat(), night.science()
    made = run(night, gain=1.5, read_noise=6.0)
    (frame,) = made.frames
    assert made.ok and abs(frame.sky - 600) < 4 * 0.7 and abs(frame.ratio - 1) < 4 * 0.026
    assert len(made.calibrations[0].flat_darks) == 2 and not made.calibrations[0].dark
    other = Night(tmp_path / "short" / "raw", sensor(PLAIN), sections=False)
    other.dark(4, time=5.0), other.science()
    failed = run(other, gain=1.5)
    assert not failed.ok and "no darks of 60 s" in str(failed.frames[0].error)


def test_binnings_and_sizes_are_kept_apart(tmp_path: Path) -> None:
    night = Night(tmp_path / "raw", sections=False, cards={"XBINNING": 1, "YBINNING": 1})
    small = sensor(grid_detector(1, 1, (24, 32), serial=8))
    night.all()
    for scene in ("bias", "dark", "flat", "science"):
        night.sensor = small
        getattr(night, scene)(XBINNING=2, YBINNING=2)
    result = run(night, overscan="none")
    assert [c.setup.binning for c in result.calibrations] == [(1, 1), (2, 2)]
    assert all(f.error is None for f in result.frames)
    shapes = {f.name: io.read(f.output).shape for f in result.frames}
    assert set(shapes.values()) == {(48, 80), (24, 40)}


def test_a_frame_of_another_size_fails_alone(tmp_path: Path) -> None:
    """Same camera and binning, another window that the header does not tell: refused with both sizes, others go on."""
    night = Night(tmp_path / "raw", sensor(PLAIN), sections=False).all()
    night.sensor = sensor(grid_detector(1, 1, (24, 32)))
    night.bias(1), night.flat(n=1), night.science()
    result = run(night)
    assert not result.ok
    (bad,) = [f for f in result.frames if f.error is not None]
    assert bad.name == "sky_g_0015.fits" and "(48, 64)" in str(bad.error) and "(24, 32)" in str(bad.error)
    (good,) = [f for f in result.frames if f.error is None]
    assert abs(good.ratio - 1) < 4 * 0.026
    assert set(result.calibrations[0].failed) == {"bias_0013.fits", "flat_g_0014.fits"}


def test_a_window_takes_its_part_of_the_calibrations(tmp_path: Path) -> None:
    """XORGSUBF, YORGSUBF say where the window begins: rows 10 to 33, columns 20 to 51 of the calibrations."""
    model = sensor(PLAIN, vignetting=0.5)
    night = Night(tmp_path / "raw", model, sections=False).all()
    (full,) = night.science()
    frame = io.read(full)
    header = {**frame.metadata, "XORGSUBF": 20, "YORGSUBF": 10}
    cut = frame.image.array[10:34, 20:52].copy()
    from astropy.io import fits

    hdu = fits.PrimaryHDU(cut)
    hdu.header.update({k: v for k, v in header.items() if k not in ("SIMPLE", "BITPIX") and not k.startswith("NAXIS")})
    hdu.writeto(night.folder / "window.fits")
    result = run(night)
    done = {f.name: f for f in result.frames}
    assert done["window.fits"].error is None, done["window.fits"].error
    part, whole = io.read(done["window.fits"].output), io.read(done[full.name].output)
    np.testing.assert_array_equal(part.image.array, whole.image.array[10:34, 20:52])
    np.testing.assert_array_equal(part.variance.array, whole.variance.array[10:34, 20:52])


def test_darks_of_another_temperature_are_refused(tmp_path: Path) -> None:
    night = Night(tmp_path / "raw")
    night.bias(), night.flat(), night.science()
    night.dark(**{"CCD-TEMP": -80.0, "SET-TEMP": -80.0})
    result = run(night)
    failed = result.calibrations[0].failed
    assert set(failed) == {f"dark_{i:04d}.fits" for i in (10, 11, 12)}
    assert all("temperature -100 C instead of -80 C" in str(e) for e in failed.values())
    night.bias(**{"CCD-TEMP": -80.0, "SET-TEMP": -80.0})
    result = run(night)
    assert "temperature -80 C instead of -100 C" in str(result.frames[0].error)
    assert "--accept temperature" in str(result.frames[0].error)
    assert len(result.calibrations[0].bias) == 2
    assert run(night, accept=("temperature",)).frames[0].error is None


def test_files_of_unknown_kind_ask_for_an_option(tmp_path: Path) -> None:
    night = Night(tmp_path / "raw").all()
    night.flat(n=2, IMAGETYP=None)
    with pytest.raises(UsageError) as info:
        run(night)
    assert "2 of 14 files do not say what they are: flat_g_0013.fits, flat_g_0014.fits" in str(info.value)
    assert "--flat GLOB" in str(info.value) and "--skip GLOB" in str(info.value)
    assert not (tmp_path / "out").exists()
    assert run(night, flat=("flat_g_*",)).ok
    assert run(night, out="less", skip=("flat_g_001[34]*",)).ok


def test_globs_that_overlap_or_match_nothing(tmp_path: Path) -> None:
    night = Night(tmp_path / "raw").all()
    with pytest.raises(UsageError, match=r"--flat 'dome\*' matches no file"):
        run(night, flat=("dome*",))
    result = run(night, flat=("flat_*",), bias=("*_0008*",))
    assert "named by both --bias and --flat" in str(result.night.failed[night.folder / "flat_g_0008.fits"])
    assert not result.ok


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"off": ("bais",)}, "--off names 'bais'.*did you mean 'bias'"),
        ({"settings": {"nonsense": {}}}, "--set names 'nonsense'.*known: "),
        ({"settings": {"flat": {"nope": 1}}}, "unknown setting 'nope'"),
        ({"accept": ("binning",)}, "--accept names 'binning'"),
    ],
)
def test_a_slip_in_an_option_is_told_before_anything_is_read(
    tmp_path: Path, options: dict[str, Any], told: str
) -> None:
    night = Night(tmp_path / "raw").all()
    with pytest.raises(FullwellError) as info:
        run(night, **options)
    assert re.search(told, str(info.value), re.S)
    assert not (tmp_path / "out").exists()


def test_frames_in_a_folder_below_are_not_read_and_that_is_said(tmp_path: Path) -> None:
    night = Night(tmp_path / "raw").all()
    (night.folder / "second" / "part").mkdir(parents=True)
    for name in ("a.FITS.gz", "part/b.fit", "notes.txt"):
        (night.folder / "second" / name).write_bytes(b"")
    out = night.folder / "reduced"
    for _ in range(2):
        result = reduce.run(night.folder, out, ReduceOptions())
        assert result.ok and list(result.night.ignored) == [night.folder / "second"]
        assert "a folder with 2 frames" in result.night.ignored[night.folder / "second"]


def test_the_header_gives_the_read_noise_that_was_measured(tmp_path: Path) -> None:
    """The night's frames have 6 electron; a header that says 9 changes neither the variance nor RDNOISE."""
    night = Night(tmp_path / "raw")
    night.bias(RDNOISE=9.0), night.dark(RDNOISE=9.0), night.flat(RDNOISE=9.0), night.science(RDNOISE=9.0)
    result = run(night)
    gain = result.calibrations[0].gain
    assert gain is not None
    written = fits.getval(result.frames[0].output, "RDNOISE", "IMAGE")
    assert written == pytest.approx(float(gain.read_noise[0]), rel=1e-6)
    assert abs(written - 6) < 4 * float(gain.read_noise_error[0])


def test_folders_that_cannot_be(tmp_path: Path) -> None:
    night = Night(tmp_path / "raw")
    night.bias(1)
    with pytest.raises(UsageError, match="output folder is the folder of the raw frames"):
        run(night, out="raw")
    with pytest.raises(UsageError, match="there is no folder"):
        reduce.run(tmp_path / "nowhere", tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="no FITS"):
        reduce.run(tmp_path / "empty", tmp_path / "out")
    (tmp_path / "file").write_text("x")
    with pytest.raises(FileError, match="is a file, not a folder"):
        run(night, out="file")


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    night = Night(tmp_path / "raw").all()
    before = listing(tmp_path)
    result = reduce.run(night.folder, tmp_path / "out", dry_run=True)
    assert listing(tmp_path) == before
    kinds = [(i.name, i.kind, i.why) for i in result.night.items]
    assert kinds[0] == ("bias_0001.fits", "bias", "IMAGETYP=bias") and len(kinds) == 12


def test_jobs_do_not_change_a_bit(tmp_path: Path) -> None:
    night = Night(tmp_path / "raw").all(bands=("g", "r"))
    run(night, jobs=1, out="one"), run(night, jobs=2, out="two")
    one, two = (sorted((tmp_path / d).rglob("*.fits")) for d in ("one", "two"))
    assert [p.name for p in one] == [p.name for p in two] and len(one) == 6
    for a, b in zip(one, two, strict=True):
        assert pixels(a) == pixels(b), a.name


def test_a_small_memory_does_not_change_a_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames that wait in unnamed files give the same as frames that wait in memory."""
    night = Night(tmp_path / "raw").all()
    run(night, out="one")
    from fullwell.journeys import calibrate

    used: list[int] = []
    write = calibrate.Spool._file

    def counted(self: Any, array: Any) -> Any:
        used.append(array.nbytes)
        return write(self, array)

    monkeypatch.setattr(calibrate.Spool, "_file", counted)
    monkeypatch.setattr(calibrate.Spool, "release", lambda self: setattr(self, "held", 1 << 40))
    run(night, out="two")
    assert used
    for a in sorted((tmp_path / "one").rglob("*.fits")):
        assert pixels(a) == pixels(tmp_path / "two" / a.relative_to(tmp_path / "one")), a.name
    hidden = {p.name for p in (tmp_path / "two").rglob("*") if p.name.startswith((".", "tmp"))}
    assert hidden == {".fullwell"}


def test_the_same_again_keeps_and_changes_nothing(tmp_path: Path) -> None:
    night = Night(tmp_path / "raw").all()
    first = run(night)
    before = listing(tmp_path)
    second = run(night)
    assert [f.state for f in first.frames] == ["done"] and [f.state for f in second.frames] == ["kept"]
    assert listing(tmp_path) == before
    assert second.frames[0].sky == first.frames[0].sky and second.frames[0].ratio == first.frames[0].ratio


def test_a_damaged_repository_is_told_and_can_be_made_anew(tmp_path: Path) -> None:
    night = Night(tmp_path / "raw").all()
    run(night)
    place = tmp_path / "out" / ".fullwell" / "repo"
    (place / "gen3.sqlite3").write_bytes(b"no database" * 1000)
    with pytest.raises(FileError, match="damaged") as error:
        run(night)
    assert f"move {place} away" in str(error.value.remedy)
    place.rename(tmp_path / "away")
    assert [f.state for f in run(night).frames] == ["kept"]
    with open_repo(place) as repo:
        assert len(list(repo.butler.query_datasets("post_isr_image"))) == 1


def test_two_reductions_into_one_folder_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other makes the repository, and then the frames, just before this one would."""
    from fullwell.journeys.science import Science
    from fullwell.repo import repository

    really = repository.create

    def late(*args: Any, **more: Any) -> Any:
        really(*args, **more).close()
        return really(*args, **more)

    monkeypatch.setattr(repository, "create", late)
    night = Night(tmp_path / "raw").all()
    assert [f.state for f in run(night).frames] == ["done"]
    monkeypatch.setattr(Science, "keep", lambda self: [])
    (frame,) = run(night).frames
    assert frame.state == "kept" and math.isfinite(frame.sky)


def test_raw_files_of_another_name_are_entered_by_it(tmp_path: Path) -> None:
    night = Night(tmp_path / "raw").all()
    run(night)
    for path in (*night.folder.glob("sky_*"), *night.folder.glob("bias_0001*")):
        path.rename(path.with_name(f"new_{path.name}"))
    assert not [note for note in run(night).notes if "repository" in note]
    with open_repo(tmp_path / "out") as repo:
        raws = list(repo.butler.query_datasets("raw"))
        assert len(raws) == 12 and all(repo.file_of(ref).exists() for ref in raws)


def test_names_that_the_index_cannot_keep(tmp_path: Path) -> None:
    night = Night(tmp_path / "raw #1").all()
    (path,) = night.folder.glob("sky_*")
    path.rename(path.with_name("sky#1%23.fits"))
    (frame,) = run(night).frames
    assert frame.output is not None and frame.output.name == "sky_1_23.fits"
    with open_repo(tmp_path / "out") as repo:
        (ref,) = repo.butler.query_datasets("post_isr_image")
        assert repo.file_of(ref) == frame.output
        assert repo.file_of(repo.find("raw", detector=0, exposure=ref.dataId["exposure"])).name == "sky#1%23.fits"


def test_what_changed_is_made_again(tmp_path: Path) -> None:
    night = Night(tmp_path / "raw").all()
    run(night)
    assert run(night, settings={"flat": {"propagate_variance": False}}).frames[0].state == "done"
    assert run(night, settings={"flat": {"propagate_variance": False}}).frames[0].state == "kept"
    night.bias(1)
    assert run(night, settings={"flat": {"propagate_variance": False}}).frames[0].state == "done"
    out = tmp_path / "out" / "sky_g_0012.fits"
    good = pixels(out)
    out.write_bytes(out.read_bytes()[:4000])
    assert run(night, settings={"flat": {"propagate_variance": False}}).frames[0].state == "done"
    assert pixels(out) == good


def test_unequal_flats_do_not_pair(tmp_path: Path) -> None:
    """Levels that differ by more than a tenth give no gain, even from many flats."""
    night = Night(tmp_path / "raw")
    night.bias()
    for level in (5000.0, 10000.0, 20000.0):
        night.add("flat_g", FlatScene(level=level, band="g", time=5.0))
    night.science()
    assert run(night).frames[0].unit == "adu"


def test_page_and_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    night = Night(tmp_path / "raw").all()
    assert main(["reduce", str(night.folder), "-o", str(tmp_path / "out"), "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["frames"][0]["sky"]["unit"] == "electron" and data["frames"][0]["state"] == "done"
    page = (tmp_path / "out" / "report.html").read_text()
    for word in ("sky_g_0012.fits", "bias_0001.fits", "combined into the bias", "estimator pair"):
        assert word in page, word
    assert "http://" not in page.replace("http://www.w3.org", "") and "https://" not in page
