"""Raw files behind the data ids of a repository."""

from __future__ import annotations

from fullwell.base.errors import HeaderError
from fullwell.frames import Frame
from fullwell.instruments import CameraOptions

__all__ = ["read_raw"]


def read_raw(path: str, detector: int, options: CameraOptions | None = None) -> Frame:
    """The raw frame of one detector.

    Parameters
    ----------
    path : of the file; detector : number, which chooses among several detectors of a file.
    options : what the user stated when the camera does not tell.

    Raises
    ------
    FileError, HeaderError, GeometryError
        see `fullwell.io.read`.
    """
    from fullwell import io

    try:
        return io.read(path, options=options)
    except HeaderError as error:
        if "detectors" not in error.problem:
            raise
        return io.read(path, detector=detector, options=options)
