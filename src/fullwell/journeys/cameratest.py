"""Camera test: a folder of images to the data sheet of EMVA 1288, its figures and its page."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fullwell import __version__, io
from fullwell.base.errors import DataError, FullwellError, UsageError
from fullwell.base.numbers import number, plain
from fullwell.cameras import Box
from fullwell.measure.emva import EmvaConfig, characterise
from fullwell.products import Emva1288
from fullwell.report import Page

__all__ = ["CameraTestOptions", "load_image", "page_of", "run", "write"]

FIGURES: tuple[tuple[str, tuple[tuple[str, dict[str, str], str], ...]], ...] = (
    ("Sensitivity and photon transfer", (
        ("sensitivity", {}, "The line goes through the origin and is fitted up to 70 % of saturation."),
        ("photon_transfer", {}, "The line of the standard is a chord of the curve. What bends it is said above."),
        ("snr", {}, "The model has shot noise, dark noise and quantisation; the second adds DSNU and PRNU."),
    )),
    ("Linearity", (
        ("linearity", {}, "The line minimises relative deviations between 5 % and 95 % of saturation."),
        ("deviation", {}, "The largest and the smallest are the linearity errors of the standard."),
    )),
    ("Dark current", (("dark_current", {}, "Without a dark current both lines are level."),)),
    ("Dark signal nonuniformity", (
        ("spectrogram", {"what": "dsnu"}, "Peaks are patterns that repeat; a flat spectrum is white."),
        ("profiles", {"what": "dsnu"}, "Of the mean of the dark stack."),
        ("histogram", {"what": "dsnu"}, "Pixels outside the Gaussian are defects."),
        ("accumulated", {"what": "dsnu"}, "How many pixels are lost where a limit is drawn."),
    )),
    ("Photo response nonuniformity", (
        ("spectrogram", {"what": "prnu"}, "Power at the lowest frequencies is uneven light as much as the sensor."),
        ("profiles", {"what": "prnu"}, "Of the bright stack less the dark one."),
        ("histogram", {"what": "prnu"}, "After a high pass, so that uneven light does not count."),
        ("accumulated", {"what": "prnu"}, "How many pixels are lost where a limit is drawn."),
    )),
)  # fmt: skip


@dataclass(frozen=True)
class CameraTestOptions:
    """What the user says about the images.

    Parameters
    ----------
    rate : photons per pixel and second, NaN to take those of descriptor or headers.
    region : FITS section of the image, counted from 1, "" for all.
    channel : (y, x) of the pixel of a mosaic of 2 x 2 that is looked at, None for all pixels.
    """

    rate: float = math.nan
    region: str = ""
    channel: tuple[int, int] | None = None


def run(
    folder: Path | str, options: CameraTestOptions | None = None, config: EmvaConfig | None = None, *, jobs: int = 1
) -> Emva1288:
    """Find the images of `folder`, measure and work out everything.

    Raises
    ------
    FileError, HeaderError, GeometryError, DataError
        as `io.find_camera_test` and `measure.emva.characterise`.
    """
    options = options or CameraTestOptions()
    test = io.find_camera_test(folder, rate=options.rate)
    return characterise(test, loader(options), config, jobs=jobs)


def loader(options: CameraTestOptions) -> Callable[[Path], NDArray[Any]]:
    """Function from file to the pixels that `options` choose."""
    return lambda path: load_image(path, options)


def load_image(path: Path, options: CameraTestOptions) -> NDArray[Any]:
    """Pixels (ny, nx) [DN] of one file, overscan left out.

    Raises
    ------
    FileError, HeaderError
        the file cannot be read, or is in colour. DataError: it has several amplifiers and no region was given.
    """
    try:
        frame = io.read(path)
    except FullwellError as error:
        if error.code == "FW131":
            remedy = "separate its channels into grey images; or raw values of a mosaic: one file, --channel Y,X"
            raise type(error)(error.problem, where=error.where, remedy=remedy, code=error.code) from None
        raise
    image = frame.image.array
    if options.region:
        return _strided(image[_slices(options.region, image.shape, path)], options.channel)
    detector = frame.detector
    if frame.raw and detector is not None:
        amps = list(detector)
        if len(amps) > 1:
            raise DataError(
                f"the image has {len(amps)} amplifiers; EMVA 1288 is about one read-out channel", where=str(path),
                remedy="choose one with --region '[x1:x2,y1:y2]', or use 'fullwell ptc' for all of them",
            )  # fmt: skip
        if amps and amps[0].data.area < image.size:
            image = image[_data_of(amps[0])]
    return _strided(image, options.channel)


def _data_of(amp: Any) -> tuple[slice, slice]:
    """Where the data of the one amplifier lie in the raw image."""
    inside: Box = amp.raw_orientation.box(amp.data, amp.shape).shifted(amp.raw.x0, amp.raw.y0)
    return inside.slices


def _slices(region: str, shape: tuple[int, ...], path: Path) -> tuple[slice, slice]:
    from fullwell.instruments.sections import parse_section

    section = parse_section(region, keyword="--region", where=str(path), shape=shape)
    if section is None:
        raise UsageError(f"the region '{region}' is empty", remedy="write [x1:x2,y1:y2], counted from 1")
    box: Box = section.box
    return box.slices


def _strided(image: NDArray[Any], channel: tuple[int, int] | None) -> NDArray[Any]:
    return image if channel is None else image[channel[0] :: 2, channel[1] :: 2]


def write(result: Emva1288, output: Path | str, seconds: float = math.nan) -> dict[str, Path]:
    """Write page, numbers and figures into the folder `output`; each file appears whole or not at all.

    Returns
    -------
    "report", "numbers" (JSON), "table" (ECSV) and "figures" (folder of PNG) -> path.

    Raises
    ------
    FileError
        the folder cannot be written.
    """
    folder = io.make_folder(output)
    paths = {"numbers": folder / "emva1288.json", "table": folder / "emva1288.ecsv", "figures": folder / "figures"}
    with io.atomic_path(paths["numbers"]) as temporary:
        Path(temporary).write_text(json.dumps(plain(result.to_dict()), indent=1, allow_nan=False), encoding="utf-8")
    with io.atomic_path(paths["table"]) as temporary:
        result.to_table().write(temporary, format="ascii.ecsv", overwrite=True)
    io.make_folder(paths["figures"])
    for _, figures in FIGURES:
        for name, options, _ in figures:
            if not _drawable(result, options, name):
                continue
            with io.atomic_path(paths["figures"] / f"{'_'.join([*options.values(), name])}.png") as temporary:
                result.plot(name, **options).savefig(temporary, format="png")
    return {"report": page_of(result, seconds).write(folder / "report.html"), **paths}


def _drawable(result: Emva1288, options: dict[str, str], name: str = "") -> bool:
    """Whether there are stacks for the figures of DSNU and PRNU, and a line for those of the linearity."""
    if name in ("linearity", "deviation"):
        return bool(np.isfinite(result.levels.deviation).any())
    return {"dsnu": result.dark, "prnu": result.bright}.get(options.get("what", ""), result) is not None


def page_of(result: Emva1288, seconds: float = math.nan) -> Page:
    """The page: the data sheet, and the standard's figures."""
    facts: dict[str, Any] = {**result.facts, "fullwell": __version__, "made": time.strftime("%Y-%m-%d %H:%M:%S")}
    if math.isfinite(seconds):
        facts["seconds"] = f"{seconds:.1f}"
    page = Page("Camera test, EMVA 1288 release 4.0 Linear", subtitle=str(result.facts.get("source", "")), facts=facts)
    page.add_section("Data sheet")
    rows = [[q.name, q.symbol, number(q.value, q.error, ""), _freed(q), q.unit, q.note] for q in result.quantities]
    page.add_table(
        ("quantity", "symbol", "by the standard", "freed of brighter-fatter", "unit", "note"), rows,
        states=["off" if math.isnan(q.value) else "" for q in result.quantities],
        caption="Errors are standard errors. The second column divides by a system gain taken from the curve instead "
        "of the line; it is empty where the gain does not enter.",
    )  # fmt: skip
    page.add_text(f"Gain freed of brighter-fatter: {result.correction or 'none'}.")
    for note in result.notes:
        page.add_text(f"Note: {note}.")
    for title, figures in FIGURES:
        shown = [f for f in figures if _drawable(result, f[1], f[0])]
        if shown:
            page.add_section(title)
        for name, options, caption in shown:
            page.add_figure(result.kind, name, result, caption=caption, **options)
    return page


def _freed(quantity: Any) -> Any:
    if math.isnan(quantity.corrected):
        return None
    return number(quantity.corrected, quantity.corrected_error, "")
