"""What commands take in common: calibration products by option, output names, cameras, frames that are being read."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from fullwell.cameras import Detector
    from fullwell.frames import Frame
    from fullwell.products import Product

__all__ = [
    "Accept",
    "CameraName",
    "Gains",
    "Given",
    "Off",
    "Overscan",
    "ProductFile",
    "ReadNoise",
    "Reader",
    "Trim",
    "apart",
    "camera",
    "output_of",
    "products",
    "with_gain",
]

ProductFile = Annotated[
    list[Path] | None,
    typer.Option(metavar="FILE", show_default=False, help="Product; repeat for several, the one that fits is taken."),
]
Accept = Annotated[
    list[str] | None,
    typer.Option(
        "--accept", metavar="FIELD", show_default=False, help="Accept this difference of frame and calibration; repeat."
    ),
]
Gains = Annotated[
    str | None,
    typer.Option(
        "--gain",
        metavar="FILE|G|AMP=G,...",
        help="Gain or ptc product, one number for all amplifiers, or one for each [electron/adu].",
        show_default=False,
    ),
]
ReadNoise = Annotated[
    float | None,
    typer.Option("--read-noise", metavar="N", min=0, help="Of all amplifiers [electron].", show_default=False),
]
CameraName = Annotated[
    str | None,
    typer.Option(
        "--camera",
        metavar="NAME|FILE",
        help="Shipped camera or camera file; by default from the headers.",
        rich_help_panel="Camera",
        show_default=False,
    ),
]
Overscan = Annotated[
    str | None,
    typer.Option(
        "--overscan",
        metavar="SECTION|auto|none",
        help="FITS section of the serial overscan.",
        rich_help_panel="Camera",
        show_default=False,
    ),
]
Trim = Annotated[
    str | None,
    typer.Option(
        "--trim",
        metavar="SECTION|auto|none",
        help="FITS section of the pixels to keep.",
        rich_help_panel="Camera",
        show_default=False,
    ),
]
Off = Annotated[
    list[str] | None,
    typer.Option("--off", metavar="STEP", help="Leave this step out; may be repeated.", show_default=False),
]


def camera(name: str | None) -> Any:
    """The instrument of `--camera`: a shipped name, or a camera file where it has a suffix; None for None."""
    if name is None:
        return None
    from fullwell import instruments, io

    return io.read_camera(name) if Path(name).suffix or "/" in name else instruments.get(name)


@dataclass
class Reader:
    """Reads raw frames as the options of the camera say; None leaves a field to the headers."""

    camera: str | None = None
    detector: str | None = None
    hdu: str | None = None
    overscan: str | None = None
    parallel_overscan: str | None = None
    trim: str | None = None
    corner: str | None = None
    saturation: float | None = None

    @cached_property
    def instrument(self) -> Any:
        """The instrument of ``--camera``, or None."""
        return camera(self.camera)

    @cached_property
    def options(self) -> Any:
        """`CameraOptions` of what was stated, or None.

        Raises
        ------
        ConfigError
            a value out of range.
        """
        given = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "camera"}
        given = {key: value for key, value in given.items() if value is not None}
        for key in ("detector", "hdu"):
            if str(given.get(key, "")).isdigit():
                given[key] = int(given[key])
        if not given:
            return None
        from fullwell.base.config import load
        from fullwell.instruments import CameraOptions

        return load(CameraOptions, given, where="command line")

    def read(self, path: Path) -> Frame:
        """The frame in `path`.

        Raises
        ------
        FileError, HeaderError, GeometryError
        """
        from fullwell import io

        return io.read(path, instrument=self.instrument, options=self.options)


def products(**files: list[Path] | None) -> dict[str, list[Product]]:
    """Read role -> products; roles without a file are left out.

    Raises
    ------
    UsageError
        a file holds a product of another kind than its option says.
    FileError
    """
    from fullwell import io
    from fullwell.base.errors import UsageError

    out: dict[str, list[Product]] = {}
    for role, paths in files.items():
        for path in paths or ():
            product = io.read_product(path)
            if product.kind != role:
                raise UsageError(
                    f"--{role} is given a {product.kind}", where=str(path), remedy=f"give it as --{product.kind} {path}"
                )
            out.setdefault(role, []).append(product)
    return out


@dataclass(frozen=True)
class Given:
    """What frames are to be corrected with, as the options say; read and checked before the first frame."""

    roles: Mapping[str, list[Product]]
    gain: str | None = None
    read_noise: float | None = None
    accept: Collection[str] = ()

    def of(self, frame: Frame) -> dict[str, Product]:
        """Role -> the product that belongs to `frame`, cut to its window; the gain where one is known.

        Raises
        ------
        MissingProduct
            none of the products given for a role agrees with the frame.
        UsageError
            ``--accept`` names a field that cannot be accepted; ``--gain`` does not fit the amplifiers.
        """
        out = _chosen(self.roles, frame, self.accept)
        if "ptc" in out and self.gain is None and self.read_noise is not None:
            from fullwell.base.errors import UsageError

            raise UsageError(
                "--read-noise is given beside --ptc, which holds the read noise",
                where=out["ptc"].source,
                remedy="leave --read-noise out, or give gain and noise with --gain and --read-noise",
            )
        gain = with_gain(self.gain, self.read_noise, frame.detector)
        return out if gain is None else {**out, gain.kind: gain}


def _chosen(roles: Mapping[str, list[Product]], frame: Frame, accept: Collection[str]) -> dict[str, Product]:
    from fullwell.base.errors import UsageError
    from fullwell.reduction import cut_out, match
    from fullwell.reduction.matching import ACCEPTABLE

    for field in accept:
        if field not in ACCEPTABLE:
            raise UsageError(f"a difference in '{field}' cannot be accepted", remedy=f"one of {', '.join(ACCEPTABLE)}")
    return {kind: cut_out(match(kind, given, frame, accept), frame) for kind, given in roles.items()}


def with_gain(given: str | None, read_noise: float | None, detector: Detector | None) -> Product | None:
    """The gain of ``--gain`` and ``--read-noise`` as a product, for the amplifiers of `detector`.

    A path is read, of a gain or a photon transfer; ``1.5`` holds for all amplifiers; ``C00=1.5,C01=1.6`` names them.

    Raises
    ------
    UsageError
        no such file and not a number; an amplifier that the detector has not, or one without a gain.
    """
    import numpy as np

    from fullwell.base.errors import UsageError
    from fullwell.products import Gain

    if given is None and read_noise is None:
        return None
    if given is not None and Path(given).is_file():
        return _gain_file(Path(given))
    names = detector.names if detector is not None else ("A",)
    values = dict.fromkeys(names, float("nan")) if given is None else _numbers(given, names)
    missing = [name for name in names if name not in values]
    if missing:
        raise UsageError(
            f"--gain says nothing of amplifier {missing[0]}", remedy="name all of them, or give one number"
        )
    noise = np.full(len(names), np.nan if read_noise is None else read_noise)
    nan = np.full(len(names), np.nan)
    gains = np.array([values[name] for name in names])
    return Gain(amps=names, gain=gains, gain_error=nan, read_noise=noise, read_noise_error=nan, estimator="option")


def _gain_file(path: Path) -> Product:
    """The gain, or the photon transfer, in a file."""
    from fullwell import io
    from fullwell.base.errors import UsageError

    product = io.read_product(path)
    if product.kind not in ("gain", "ptc"):
        raise UsageError(
            f"--gain is given a {product.kind}", where=str(path), remedy=f"give it as --{product.kind} {path}"
        )
    return product


def _numbers(text: str, names: tuple[str, ...]) -> dict[str, float]:
    from fullwell.base.errors import UsageError

    out = {}
    for part in text.split(","):
        name, equals, value = part.rpartition("=")
        try:
            number = float(value)
        except ValueError:
            raise UsageError(
                f"--gain '{text}' is neither a file nor a number",
                remedy="--gain gain.ecsv, --gain 1.5 or --gain A=1.5,B=1.6",
            ) from None
        if not 0 < number < float("inf"):
            raise UsageError(f"a gain of {value} cannot be", where=f"--gain {text}", remedy="electron/adu, above 0")
        if equals and name.strip() not in names:
            raise UsageError(f"there is no amplifier '{name.strip()}'", where=f"--gain {text}", remedy=", ".join(names))
        out.update({name.strip(): number} if equals else dict.fromkeys(names, number))
    return out


def apart(output: Path, inputs: Iterable[Path], remedy: str = "give another name with -o") -> None:
    """Refuse an output that is one of the inputs.

    Raises
    ------
    UsageError
        it is; `remedy` says what to do.
    """
    from fullwell.base.errors import UsageError

    if output.resolve() in {p.resolve() for p in inputs}:
        raise UsageError("the output would replace an input file", where=str(output), remedy=remedy)


def output_of(path: Path, folder: Path, inputs: Iterable[Path] = ()) -> Path:
    """``folder/name.fits`` for an input file, whatever its suffix; never one of the inputs.

    Raises
    ------
    UsageError
        the output would replace an input.
    """
    name = path.name
    for suffix in (".gz", ".fz", ".bz2", ".fits", ".fit", ".fts", ".png", ".tiff", ".tif"):
        name = name[: -len(suffix)] if name.lower().endswith(suffix) else name
    out = folder / f"{name}.fits"
    apart(out, (path, *inputs), "give another folder with -o; raw data stay")
    return out
