"""What a file says of itself, free of file formats: the headers of its HDUs and the sizes of their arrays.

`io` builds these from FITS (or from the name and tags of an image file); instruments read them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["FileHeaders", "HduHeader"]


@dataclass(frozen=True)
class HduHeader:
    """One HDU.

    Parameters
    ----------
    index : 0-based; name : EXTNAME, "" if it has none.
    header : keyword -> value, keywords in upper case; HIERARCH keywords without the word.
    shape : (ny, nx) of its image, None where it holds none; a cube has more numbers.
    dtype : NumPy type of the pixels after BZERO and BSCALE, "" where there is no image.
    """

    index: int
    name: str
    header: Mapping[str, Any]
    shape: tuple[int, ...] | None = None
    dtype: str = ""


@dataclass(frozen=True)
class FileHeaders:
    """All HDUs of a file."""

    path: str
    hdus: tuple[HduHeader, ...]
    comments: Mapping[str, str] = field(default_factory=dict)

    def __iter__(self) -> Iterator[HduHeader]:
        return iter(self.hdus)

    @property
    def primary(self) -> Mapping[str, Any]:
        """The primary header."""
        return self.hdus[0].header

    @property
    def images(self) -> list[HduHeader]:
        """HDUs that hold an array."""
        return [hdu for hdu in self.hdus if hdu.shape is not None and len(hdu.shape) > 1]

    def merged(self, *names: str) -> dict[str, Any]:
        """Primary header with those of the HDUs `names` laid over it; later ones win."""
        out = dict(self.primary)
        for hdu in self.hdus:
            if hdu.name in names:
                out.update(hdu.header)
        return out
