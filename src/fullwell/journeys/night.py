"""A folder of frames: find them, read their headers, say which is what, and group what belongs together."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from pydantic import Field

from fullwell.base.config import StepConfig
from fullwell.base.errors import FullwellError, UsageError
from fullwell.base.progress import progress
from fullwell.frames import Observation
from fullwell.instruments import CameraOptions, Instrument

__all__ = ["Item", "Night", "ReduceOptions", "Setup", "scan"]

SUFFIXES = (".fits", ".fit", ".fts", ".fits.gz", ".fit.gz", ".fts.gz", ".fits.fz", ".fz", ".png", ".tif", ".tiff")
KINDS = ("bias", "dark", "flat", "science")


class ReduceOptions(StepConfig):
    """What a user may say about a folder; everything else comes from the headers."""

    bias: tuple[str, ...] = Field(default=(), description="names (globs) of the files that are bias frames")
    dark: tuple[str, ...] = Field(default=(), description="names (globs) of the files that are dark frames")
    flat: tuple[str, ...] = Field(default=(), description="names (globs) of the files that are flats")
    science: tuple[str, ...] = Field(default=(), description="names (globs) of the files that are science frames")
    skip: tuple[str, ...] = Field(default=(), description="names (globs) of files to leave alone")
    camera: str | None = Field(default=None, description="name of a shipped camera, or a camera file")
    detector: str | None = Field(default=None, description="detector of a focal-plane file to reduce")
    overscan: str = Field(default="auto", description="FITS section of the overscan, 'auto' or 'none'")
    trim: str = Field(default="auto", description="FITS section of the data, 'auto' or 'none'")
    gain: float | None = Field(default=None, gt=0, description="gain of every amplifier [electron/adu]")
    read_noise: float | None = Field(default=None, ge=0, description="read noise of every amplifier [electron]")
    saturation: float | None = Field(default=None, gt=0, description="saturation level above the overscan [adu]")
    exposure_time: float | None = Field(default=None, ge=0, description="exposure time where headers have none [s]")
    accept: tuple[str, ...] = Field(default=(), description="differences between frame and calibration to accept")
    off: tuple[str, ...] = Field(default=(), description="steps to switch off")
    settings: dict[str, dict[str, Any]] = Field(default_factory=dict, description="step -> settings")
    components: bool = Field(default=False, description="keep the parts of the variance")
    compress: bool = Field(default=False, description="write compressed frames")
    memory: int = Field(default=1024, ge=64, description="memory for frames that wait to be combined [MiB]")
    fail_fast: bool = Field(default=False, description="stop at the first frame that fails")

    def camera_options(self) -> CameraOptions:
        """The part that concerns the geometry and electronics."""
        return CameraOptions(
            overscan=self.overscan,
            trim=self.trim,
            gain=self.gain,
            read_noise=self.read_noise,
            saturation=self.saturation,
        )


@dataclass(frozen=True)
class Item:
    """One file of the folder: what it is, and why we think so."""

    path: Path
    instrument: Instrument
    observation: Observation
    shape: tuple[int, ...]
    kind: str
    why: str

    @property
    def name(self) -> str:
        """File name."""
        return self.path.name


@dataclass(frozen=True, order=True)
class Setup:
    """What frames must share to calibrate each other."""

    instrument: str
    detector: str
    binning: tuple[int, int]
    readout_mode: str
    gain_setting: str

    @classmethod
    def of(cls, obs: Observation) -> Setup:
        """The set-up of an observation."""
        return cls(obs.instrument, obs.detector, obs.binning, obs.readout_mode, obs.gain_setting)

    def __str__(self) -> str:
        parts = [self.instrument, f"detector {self.detector}", f"binning {self.binning[0]}x{self.binning[1]}"]
        parts += [p for p in (self.readout_mode, self.gain_setting) if p]
        return ", ".join(parts)


@dataclass
class Night:
    """All files of a folder, by kind; files that could not be read are in `failed` with the reason."""

    folder: Path
    items: list[Item] = field(default_factory=list)
    failed: dict[Path, FullwellError] = field(default_factory=dict)
    ignored: dict[Path, str] = field(default_factory=dict)

    def of(self, kind: str, setup: Setup | None = None) -> list[Item]:
        """Items of one kind (and set-up), in the order of time, then name."""
        chosen = [i for i in self.items if i.kind == kind and (setup is None or Setup.of(i.observation) == setup)]
        return sorted(chosen, key=lambda i: (i.observation.mjd if math.isfinite(i.observation.mjd) else 0.0, i.name))

    @property
    def setups(self) -> list[Setup]:
        """The set-ups found, sorted."""
        return sorted({Setup.of(i.observation) for i in self.items})


def scan(folder: Path | str, options: ReduceOptions) -> Night:
    """Read the headers of all frames in `folder` (not in folders below) and decide what each is.

    A glob given by option decides; else the header; what remains unknown is an error that names the options.

    Raises
    ------
    UsageError
        no folder, no frames, a glob that matches nothing, or frames of unknown kind.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UsageError(f"there is no folder '{folder}'", remedy="give the folder that holds the FITS files")
    paths = [p for p in sorted(folder.iterdir()) if p.is_file() and p.name.lower().endswith(SUFFIXES)]
    paths = [p for p in paths if not p.name.startswith(".") and not _matches(p.name, options.skip)]
    if not paths:
        raise UsageError(f"there are no FITS, PNG or TIFF files in '{folder}'")
    _check_globs(paths, options)
    night = Night(folder)
    instrument = _instrument(options)
    for path in progress(paths, "headers"):
        try:
            item = _item(path, instrument, options)
        except FullwellError as err:
            night.failed[path] = err
            continue
        if isinstance(item, str):
            night.ignored[path] = item
        else:
            night.items.append(item)
    if not night.items:
        done = UsageError(
            f"no raw frame in '{folder}': all {len(night.ignored)} files are already processed",
            remedy="give the folder of the raw frames; 'fullwell show FILE' tells what a file is",
        )
        raise next(iter(night.failed.values()), done)
    _ask(night)
    return night


def _instrument(options: ReduceOptions) -> Instrument | None:
    from fullwell import instruments, io

    if options.camera is None:
        return None
    return io.read_camera(options.camera) if Path(options.camera).suffix else instruments.get(options.camera)


def _item(path: Path, instrument: Instrument | None, options: ReduceOptions) -> Item | str:
    """The file as an item, or why it is left alone."""
    from fullwell import instruments, io

    headers = io.read_headers(path)
    if any(hdu.name == "VARIANCE" for hdu in headers) or "FWSCHEMA" in headers.primary:
        return "an already processed frame or a calibration product"
    chosen = instrument or instruments.identify(headers)
    obs = chosen.observation(headers)
    if options.exposure_time is not None and not math.isfinite(obs.exposure_time):
        obs = replace(obs, exposure_time=options.exposure_time, dark_time=options.exposure_time)
    kind, why = _kind(path.name, obs, options)
    if kind == "unknown" and all(hdu.shape is None for hdu in headers):
        return "it holds no image and does not say what it is"
    images = headers.images
    return Item(path, chosen, replace(obs, kind=kind), images[0].shape or () if images else (), kind, why)


def _kind(name: str, obs: Observation, options: ReduceOptions) -> tuple[str, str]:
    named = [kind for kind in KINDS if _matches(name, getattr(options, kind))]
    if len(named) > 1:
        raise UsageError(
            f"'{name}' is named by both --{named[0]} and --{named[1]}", remedy="give globs that do not overlap"
        )
    if named:
        return named[0], f"--{named[0]}"
    return obs.kind, obs.sources.get("kind", "header")


def _matches(name: str, globs: Iterable[str]) -> bool:
    return any(fnmatch(name, Path(g).name) for g in globs)


def _check_globs(paths: Sequence[Path], options: ReduceOptions) -> None:
    for kind in KINDS:
        for glob in getattr(options, kind):
            if not any(_matches(p.name, (glob,)) for p in paths):
                raise UsageError(
                    f"--{kind} '{glob}' matches no file",
                    where=str(paths[0].parent),
                    remedy=f"files there: {', '.join(p.name for p in paths[:4])}{' …' if len(paths) > 4 else ''}",
                )


def _ask(night: Night) -> None:
    """Files of unknown kind: an error that names them and the options that settle it."""
    unknown = [i for i in night.items if i.kind not in KINDS]
    usual = [i for i in unknown if i.kind != "unknown"]
    for item in usual:
        night.ignored[item.path] = f"a {item.kind} frame, which no step uses"
    night.items = [i for i in night.items if i.kind in KINDS or i.kind == "unknown"]
    unknown = [i for i in unknown if i.kind == "unknown"]
    if unknown:
        names = ", ".join(i.name for i in unknown[:4]) + (" …" if len(unknown) > 4 else "")
        raise UsageError(
            f"{len(unknown)} of {len(night.items)} files do not say what they are: {names}",
            where=str(night.folder),
            remedy="name them with --bias GLOB, --dark GLOB, --flat GLOB, --science GLOB, or leave them out with "
            f"--skip GLOB (reason: {unknown[0].why})",
        )
