"""Raw files behind the data ids of a repository: which detectors a file holds, and the frame of one of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from fullwell.base.errors import HeaderError
from fullwell.cameras import Box
from fullwell.frames import Observation
from fullwell.instruments import CameraOptions, FileHeaders, Instrument

__all__ = ["observations", "read_raw"]

SEVERAL = "FW134"
"""Code of the error of a file that holds several detectors, none of which was chosen."""


def observations(headers: FileHeaders, camera: Instrument) -> list[Observation]:
    """The observation of each detector in a file; where their numbers do not differ, they are 0, 1 … as they lie.

    Parameters
    ----------
    headers : of the whole file. camera : by whose rules they are read.
    """
    from fullwell import io

    found = [camera.observation(part) for part in io.detectors_of(headers)]
    if len({one.detector_id for one in found}) < len(found):
        found = [replace(one, detector_id=i) for i, one in enumerate(found)]
    return found


def read_raw(
    path: str,
    detector: int,
    component: str | None = None,
    box: Box | None = None,
    *,
    options: CameraOptions | None = None,
) -> Any:
    """The raw frame of one detector, or a part of it.

    Parameters
    ----------
    path : of the file; detector : number, which chooses among several detectors of a file.
    component, box : as for `fullwell.io.read_part`. options : what the user stated where the file does not tell.

    Raises
    ------
    FileError, HeaderError, GeometryError, UsageError
        see `fullwell.io.read_part`; the file holds several detectors, and not this one.
    """
    from fullwell import io

    try:
        return io.read_part(path, component, box, options=options)
    except HeaderError as error:
        if error.code != SEVERAL:
            raise
        return io.read_part(path, component, box, detector=_name(path, detector, error), options=options)


def _name(path: str, number: int, error: HeaderError) -> str:
    from fullwell import instruments, io

    headers = io.read_headers(path)
    found = observations(headers, instruments.identify(headers))
    if len(found) < 2:
        raise error
    for one in found:
        if one.detector_id == number:
            return one.detector or str(number)
    raise HeaderError(
        f"the file holds no detector {number}",
        where=path,
        remedy=f"it holds {', '.join(f'{one.detector_id} ({one.detector})' for one in found)}",
        code="FW133",
    ) from error
