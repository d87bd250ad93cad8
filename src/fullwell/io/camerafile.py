"""A user's description of a camera: a TOML file to an instrument."""

from __future__ import annotations

import os
import tomllib
from typing import TYPE_CHECKING

from fullwell.base.errors import FileError
from fullwell.io.fitsfile import sniff

if TYPE_CHECKING:
    from fullwell.instruments import Instrument

__all__ = ["read_camera"]


def read_camera(path: str | os.PathLike[str]) -> Instrument:
    """The instrument that a TOML file describes (`fullwell.instruments.from_mapping` says how).

    Raises
    ------
    FileError
        the file is missing or no TOML; the message names the line.
    """
    from fullwell import instruments

    sniff(path)
    try:
        with open(path, "rb") as handle:
            values = tomllib.load(handle)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as err:
        raise FileError(
            f"this is no camera file: {err}",
            where=str(path),
            remedy="a camera file is TOML; mend the line, or begin from the file of the demo camera",
            code="FW105",
        ) from err
    return instruments.from_mapping(values, str(path))
