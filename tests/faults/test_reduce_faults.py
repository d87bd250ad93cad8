"""`reduce` when things go wrong: damaged frames stop nobody else, and nothing half-written has a final name."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from nights import Night, in_hdus, listing, pixels, sensor

from fullwell import io
from fullwell.base.errors import FileError, FullwellError
from fullwell.cli.main import main
from fullwell.journeys import reduce
from fullwell.journeys.night import ReduceOptions
from fullwell.simulation import grid_detector

VOLATILE = {"CHECKSUM", "CALIB_CREATION_DATE", "CALIB_CREATION_TIME"}
"""Cards that differ between two runs on the same files: when it was written. docs/reduce.md lists them."""


@pytest.fixture
def no_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page takes longer than such a night."""
    monkeypatch.setattr(reduce, "_write_report", lambda result: None)


@pytest.fixture
def night(tmp_path: Path, no_page: None) -> Night:
    made = Night(tmp_path / "raw").all()
    made.science()
    return made


def run(night: Night, **options: Any) -> reduce.ReduceResult:
    return reduce.run(night.folder, night.folder.parent / "out", ReduceOptions(**options))


def sound(folder: Path) -> list[str]:
    """Names of the files below `folder`, each opened to its end and its checksums verified; hidden ones left out."""
    names = []
    files = (p for p in folder.rglob("*") if p.is_file() and ".fullwell" not in p.parts)
    for path in sorted(p for p in files if not p.name.startswith(".")):
        names.append(str(path.relative_to(folder)))
        if path.suffix == ".fits":
            with warnings.catch_warnings(), fits.open(path, checksum=True) as hdus:
                warnings.simplefilter("error")
                for hdu in hdus:
                    assert hdu.verify_checksum() == 1 and hdu.verify_datasum() == 1, (path, hdu.name)
                    assert hdu.data is None or hdu.data.size
        elif path.suffix == ".ecsv":
            io.read_product(path)
        elif path.suffix == ".json":
            json.loads(path.read_text())
        else:
            assert path.suffix == ".html" and path.read_text().rstrip().endswith("</html>"), path
    return names


def same(one: Path, two: Path) -> None:
    """Every FITS file of `one` is in `two` with the same pixels, DATASUM and cards, but for `VOLATILE`."""
    files = [p.relative_to(one) for p in sorted(one.rglob("*.fits"))]
    assert files and files == [p.relative_to(two) for p in sorted(two.rglob("*.fits"))]
    for name in files:
        assert pixels(one / name) == pixels(two / name), name
        with fits.open(one / name) as a, fits.open(two / name) as b:
            for first, second in zip(a, b, strict=True):
                cards = [
                    [(c.keyword, c.value) for c in h.header.cards if c.keyword not in VOLATILE] for h in (first, second)
                ]
                assert cards[0] == cards[1], (name, first.name)


def spoil(path: Path, **cards: Any) -> None:
    """Change cards of the primary header as bytes, so that the file contradicts itself."""
    data = path.read_bytes()
    for key, value in cards.items():
        at = data.index(f"{key:8}= ".encode())
        data = data[:at] + f"{key:8}= {value!s:>20}".ljust(80).encode() + data[at + 80 :]
    path.write_bytes(data)


def to_float(path: Path, change: Any) -> None:
    """The raw frame as 32 bit floating point after `change` of its pixels in place."""
    with fits.open(path) as hdus:
        image, header = hdus[0].data.astype(np.float32), hdus[0].header.copy()
    for key in ("BZERO", "BSCALE", "CHECKSUM", "DATASUM"):
        header.remove(key, ignore_missing=True)
    change(image)
    fits.PrimaryHDU(image, header).writeto(path, overwrite=True)


DAMAGES: dict[str, tuple[Any, str]] = {
    "cut off": (lambda p: p.write_bytes(p.read_bytes()[:6000]), "cut off"),
    "NAXIS1 too large": (lambda p: spoil(p, NAXIS1=8000), "cut off"),
    "NAXIS too small": (lambda p: spoil(p, NAXIS=1), ""),
    "text": (lambda p: p.write_text("seeing 1.2, clouds\n"), "text"),
    "empty": (lambda p: p.write_bytes(b""), "empty"),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["sky_g_0012.fits", "flat_g_0008.fits", "bias_0001.fits"])
def test_a_damaged_frame_stops_nobody_else(night: Night, damage: str, name: str) -> None:
    spoilt, words = night.folder / name, DAMAGES[damage][1]
    DAMAGES[damage][0](spoilt)
    result = run(night, skip=())
    assert not result.ok
    errors = {p.name: e for p, e in result.night.failed.items()}
    for made in result.calibrations:
        errors.update(made.failed)
    errors.update({f.name: f.error for f in result.frames if f.error is not None})
    assert set(errors) == {name}
    assert words in errors[name].problem and name in str(errors[name])
    done = {f.name for f in result.frames if f.output is not None}
    assert done == {"sky_g_0012.fits", "sky_g_0013.fits"} - {name}
    assert set(sound(night.folder.parent / "out")) >= {"sky_g_0013.fits", "calib/bias.fits", "calib/flat_g.fits"}


def test_a_file_without_an_image_is_left_alone(night: Night) -> None:
    fits.BinTableHDU(np.zeros(3, [("star", "i4")])).writeto(night.folder / "catalogue.fits")
    result = run(night)
    assert result.ok and result.night.ignored == {
        night.folder / "catalogue.fits": "it holds no image and does not say what it is"
    }


def test_only_damaged_frames(night: Night, capsys: pytest.CaptureFixture[str]) -> None:
    for path in night.folder.iterdir():
        path.write_bytes(b"")
    assert main(["reduce", str(night.folder), "-o", str(night.folder.parent / "out")]) == 2
    assert "empty" in capsys.readouterr().err


def test_a_missing_amplifier_is_named(tmp_path: Path, no_page: None) -> None:
    night = Night(tmp_path / "raw", sensor(in_hdus(grid_detector(2, 2, (24, 32), prescan=4, serial=12)))).all()
    (bad,) = night.science()
    with fits.open(bad) as hdus:
        fits.HDUList([h.copy() for h in hdus if h.name != "C10"]).writeto(tmp_path / "less.fits")
    os.replace(tmp_path / "less.fits", bad)
    result = run(night)
    (failed,) = [f for f in result.frames if f.error is not None]
    assert failed.name == bad.name
    assert sum(f.output is not None for f in result.frames) == 1


def holes(image: np.ndarray) -> None:
    image[10, 20:23] = np.nan
    image[30, 5] = np.inf
    image[31, 5] = -np.inf


@pytest.mark.parametrize("name", ["sky_g_0012.fits", "flat_g_0008.fits", "bias_0001.fits", "dark_0005.fits"])
def test_nan_and_inf_in_a_raw_frame_stay_where_they_are(night: Night, name: str) -> None:
    to_float(night.folder / name, holes)
    result = run(night)
    assert result.ok, [f.error for f in result.frames]
    frame = io.read(result.frames[0].output)
    good = frame.good()
    assert frame.variance is not None
    assert np.isfinite(frame.image.array[good]).all() and np.isfinite(frame.variance.array[good]).all()
    expected = np.ones_like(good)
    if name.startswith("sky"):
        for y, x in ((10, 20), (10, 21), (10, 22), (30, 5), (31, 5)):
            expected[y, x] = False
    np.testing.assert_array_equal(good[5:40], expected[5:40])
    assert abs(result.frames[0].sky - 600) < 4 * 600 * 0.02


def test_a_row_of_overscan_without_values(night: Night) -> None:
    """A row whose overscan is lost is filled from its neighbours or marked; the other rows keep their values."""
    whole = run(night)
    before = io.read(whole.frames[0].output).image.array

    def lose(image: np.ndarray) -> None:
        image[17, 64:] = np.nan

    to_float(night.folder / "sky_g_0012.fits", lose)
    result = run(night)
    frame = io.read(result.frames[0].output)
    others = np.arange(48) != 17
    np.testing.assert_array_equal(frame.image.array[others], before[others])
    assert result.frames[0].state == "done"


def test_an_overscan_without_noise(night: Night) -> None:
    """Electronics that send a constant instead of an overscan: the level is right, its noise 0, and nothing is NaN."""
    for path in night.folder.iterdir():
        to_float(path, lambda image: image.__setitem__((slice(None), slice(64, None)), 1000.0))
    result = run(night)
    assert result.ok
    frame = io.read(result.frames[0].output)
    assert frame.variance is not None and frame.good().mean() > 0.99
    assert np.isfinite(frame.variance.array).all() and (frame.variance.array > 0).all()


def test_copies_of_one_bias_give_no_noise_and_say_so(night: Night) -> None:
    first = (night.folder / "bias_0001.fits").read_bytes()
    for i in (2, 3, 4):
        (night.folder / f"bias_000{i}.fits").write_bytes(first)
    result = run(night, read_noise=6.0)
    assert any("no noise" in note for note in result.calibrations[0].notes)
    assert all(f.output is not None for f in result.frames)


@contextmanager
def small_files(limit: int) -> Iterator[None]:
    """No file may grow beyond `limit` bytes, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, old)


def test_a_full_disk_leaves_nothing_half_written(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    """First the index of the repository does not fit, then the frames, which are larger than the calibrations."""
    out = night.folder.parent / "out"
    with small_files(20000), pytest.raises(FileError, match="cannot be written"):
        run(night)
    assert sound(out) == [] and not [p for p in out.rglob("*") if p.is_file()]
    options = ReduceOptions(components=True)
    reference = reduce.run(night.folder, night.folder.parent / "reference", options)
    calib = max(p.stat().st_size for p in (night.folder.parent / "reference" / "calib").iterdir())
    frame = reference.frames[0].output.stat().st_size
    assert frame > calib + 2880
    write = io.write_frame

    def limited(*args: Any, **more: Any) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (calib, hard))
        try:
            write(*args, **more)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    with monkeypatch.context() as patch:
        patch.setattr(io, "write_frame", limited)
        result = run(night, components=True)
    assert [f.state for f in result.frames] == ["failed", "failed"]
    assert all(not name.startswith("sky") for name in sound(out))
    assert run(night, components=True).ok
    same(night.folder.parent / "reference", out)


def test_a_full_file_system(night: Night) -> None:
    disk = night.folder.parent / "disk"
    disk.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(disk)], capture_output=True)
    if mount.returncode:
        pytest.skip("a small file system cannot be mounted here; test_a_full_disk_leaves_nothing_half_written can")
    try:
        try:
            result = reduce.run(night.folder, disk / "out")
            assert not result.ok
            message = str(next(f.error for f in result.frames if f.error is not None))
        except FullwellError as err:
            message = str(err)
        assert "disk is full" in message and "disk not full" in message and "run the command again" in message
        sound(disk)
        assert not list(disk.rglob(".fw-*"))
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_folders_that_cannot_be_written(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileError, match="cannot be made"):
        reduce.run(night.folder, "/proc/fullwell/out")
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(FileError, match="cannot be written"):
        run(night)


COMMAND = "import sys; from fullwell.cli.main import main; sys.exit(main(sys.argv[1:]))"
AT_COMMIT = """
import os, signal, sys
from fullwell.io import atomic
left, commit = int(os.environ["KILL_AT"]), atomic._commit
def dying(*args):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return commit(*args)
atomic._commit = dying
"""


def start(night: Night, out: Path, before: str = "", **environment: str) -> subprocess.Popen[bytes]:
    call = [sys.executable, "-c", before + COMMAND, "reduce", str(night.folder), "-o", str(out), "-q"]
    return subprocess.Popen(call, env={**os.environ, **environment}, stdout=subprocess.DEVNULL)


@pytest.fixture(scope="module")
def long_night(tmp_path_factory: pytest.TempPathFactory) -> tuple[Night, Path, float]:
    """A night of two bands, its undisturbed result, and how long a process takes for it [s]."""
    folder = tmp_path_factory.mktemp("killed")
    made = Night(folder / "raw", sensor(grid_detector(1, 1, (150, 200), serial=16))).all(bands=("g", "r"))
    made.science(n=4)
    begin = time.monotonic()
    assert start(made, folder / "whole").wait() == 0
    seconds = time.monotonic() - begin
    assert len(sound(folder / "whole")) == 6 + 6 + 2
    return made, folder / "whole", seconds


def finish(night: Night, out: Path, whole: Path, killed: int) -> int:
    """After a kill: what has a final name is sound, nothing else is visible; the same run again completes."""
    assert killed == -signal.SIGKILL
    there = sound(out) if out.exists() else []
    before = {name: (out / name).stat().st_mtime_ns for name in there}
    result = reduce.run(night.folder, out)
    assert result.ok
    assert {f.name for f in result.frames if f.state == "kept"} == {n for n in there if n.startswith("sky")}
    same(whole, out)
    hidden = {p.name for p in out.rglob("*") if p.name.startswith(".")}
    assert hidden == {".fullwell"}, "what the killed process left is swept"
    for name, moment in before.items():
        assert (out / name).stat().st_mtime_ns == moment or name.startswith("report")
    return len(there)


@pytest.mark.parametrize("at", [1, 8, pytest.param(14, marks=pytest.mark.slow)])
def test_killed_between_write_and_rename(
    long_night: tuple[Night, Path, float], tmp_path: Path, no_page: None, at: int
) -> None:
    """The file of that moment is complete but has no name yet: what came before is there, and no more."""
    night, whole, _ = long_night
    killed = start(night, tmp_path / "out", AT_COMMIT, KILL_AT=str(at)).wait()
    assert list((tmp_path / "out").rglob(".fw-*"))
    assert finish(night, tmp_path / "out", whole, killed) == at - 1


def kill_at(long_night: tuple[Night, Path, float], tmp_path: Path, fractions: list[float]) -> None:
    night, whole, seconds = long_night
    for i, fraction in enumerate(fractions):
        out = tmp_path / f"out{i}"
        process = start(night, out)
        time.sleep(fraction * seconds)
        process.kill()
        if process.wait() == 0:
            same(whole, out)
        else:
            finish(night, out, whole, -signal.SIGKILL)


def test_killed_at_three_moments(long_night: tuple[Night, Path, float], tmp_path: Path, no_page: None) -> None:
    kill_at(long_night, tmp_path, [0.5, 0.65, 0.8])


@pytest.mark.slow
def test_killed_at_ten_random_moments(long_night: tuple[Night, Path, float], tmp_path: Path, no_page: None) -> None:
    kill_at(long_night, tmp_path, np.random.default_rng(20250115).uniform(0.1, 1.0, 10).tolist())


def test_raw_frames_are_never_written_to(night: Night) -> None:
    before = listing(night.folder)
    (night.folder / "flat_g_0008.fits").chmod(0o444)
    run(night), run(night, components=True, compress=True)
    assert listing(night.folder) == before
