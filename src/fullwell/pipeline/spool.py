"""Corrected frames kept for a combination: in memory up to a limit, then in unnamed files that vanish with the run."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from fullwell.base.errors import FileError
from fullwell.frames import Frame, Mask, Plane

__all__ = ["Spool"]


class Spool:
    """A place for frames.

    Parameters
    ----------
    folder : where files go; they have no name, so that nothing is left behind even by a killed process.
    memory : bytes of pixels that are kept in memory before files are used.
    """

    def __init__(self, folder: Path, memory: int = 1 << 30) -> None:
        self.folder = folder
        self.memory = memory
        self.held = 0

    def keep(self, frame: Frame) -> Frame:
        """The same frame, its planes in memory or mapped from a file."""
        planes = [frame.image, frame.variance, frame.mask]
        size = sum(p.array.nbytes for p in planes if p is not None)
        if self.held + size <= self.memory:
            self.held += size
            return frame
        image, variance, mask = frame.image, frame.variance, frame.mask
        return replace(
            frame,
            image=Plane(self._file(image.array), image.box, image.unit),
            variance=None if variance is None else Plane(self._file(variance.array), variance.box, variance.unit),
            mask=None if mask is None else Mask(self._file(mask.array), mask.box, schema=mask.schema),
        )

    def release(self) -> None:
        """Forget what was kept in memory: the frames of one combination are done."""
        self.held = 0

    def _file(self, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        try:
            with tempfile.TemporaryFile(dir=self.folder) as stream:
                mapped = np.memmap(stream, array.dtype, "w+", shape=array.shape)
                mapped[...] = array
                mapped.flush()
        except OSError as err:
            raise FileError(
                f"a corrected frame cannot be kept: {err.strerror}",
                where=str(self.folder),
                remedy="free some space there, or give an output folder on another disk (-o)",
            ) from err
        return mapped
