"""PNG and TIFF images of camera tests: 8 or 16 bits, grey; the pages of a TIFF are a series.

Row 0 is the first row of the file, as it is for FITS. Texts stored in a PNG and the tags of a TIFF page stand
in for a header.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fullwell.base.errors import FileError, HeaderError
from fullwell.instruments.headers import FileHeaders, HduHeader
from fullwell.io.fitsfile import decoding

__all__ = ["picture_headers", "picture_pixels"]

_MOST_PIXELS = 1 << 30


def _refuse_colour(path: str, what: str) -> HeaderError:
    return HeaderError(
        f"this image has {what}: a colour image cannot be calibrated as one detector",
        where=path,
        remedy="export the raw grey values of the sensor (8 or 16 bit, one channel)",
        code="FW131",
    )


def _png(path: str) -> Any:
    """The open Pillow image of a grey PNG."""
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = None
    image = Image.open(path)
    if image.size[0] * image.size[1] > _MOST_PIXELS:
        raise HeaderError(f"an image of {image.size} pixels is too large to be true", where=path)
    if image.mode not in ("L", "I", "I;16", "I;16B", "F"):
        raise _refuse_colour(path, f"the mode {image.mode}")
    return image


def _dtype_of_mode(mode: str) -> str:
    return {"L": "uint8", "I": "int32", "F": "float32"}.get(mode, "uint16")


def _page_header(page: Any) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for tag in page.tags.values():
        if isinstance(tag.value, (str, int, float)) and not isinstance(tag.value, bool):
            out[str(tag.name).upper()] = tag.value
    return out


def picture_headers(path: str, kind: str) -> FileHeaders:
    """The headers of a PNG or TIFF (`kind` "png" or "tiff"): one HDU per image in the file.

    Raises
    ------
    HeaderError
        the image is in colour. FileError: it is damaged.
    """
    with decoding(path, f"the {kind.upper()} image"):
        if kind == "png":
            with _png(path) as image:
                texts = {str(k).upper(): v for k, v in image.info.items() if isinstance(v, (str, int, float))}
                shape = (image.size[1], image.size[0])
                return FileHeaders(path, (HduHeader(0, "", texts, shape, _dtype_of_mode(image.mode)),))
        import tifffile

        with tifffile.TiffFile(path) as file:
            hdus = []
            for index, page in enumerate(file.pages):
                _check_page(path, page)
                hdus.append(HduHeader(index, "", _page_header(page), tuple(page.shape), str(page.dtype)))
        return FileHeaders(path, tuple(hdus))


def _check_page(path: str, page: Any) -> None:
    if len(page.shape) != 2:
        raise _refuse_colour(path, f"{page.shape[-1]} channels")
    if page.shape[0] * page.shape[1] > _MOST_PIXELS:
        raise HeaderError(f"an image of {page.shape} pixels is too large to be true", where=path)


def picture_pixels(path: str, kind: str, page: int = 0) -> NDArray[Any]:
    """The pixels of one image of the file, shape (ny, nx), native type.

    Raises
    ------
    FileError
        the file is damaged, or it has no such page.
    """
    with decoding(path, f"the {kind.upper()} image"):
        if kind == "png":
            with _png(path) as image:
                array = np.array(image)
        else:
            import tifffile

            with tifffile.TiffFile(path) as file:
                if not 0 <= page < len(file.pages):
                    raise FileError(
                        f"there is no page {page}", where=path, remedy=f"the file has {len(file.pages)} pages"
                    )
                array = file.pages[page].asarray()  # type: ignore[union-attr]
    return np.array(array, dtype=array.dtype.newbyteorder("="), order="C")
