"""Headers made up in tests."""

from __future__ import annotations

from typing import Any

from fullwell.instruments import FileHeaders, HduHeader

PRIMARY: dict[str, Any] = {}


def one(
    header: dict[str, Any], shape: tuple[int, int] | None = (100, 120), path: str = "frame.fits", **comments: str
) -> FileHeaders:
    """A file of one HDU."""
    return FileHeaders(path, (HduHeader(0, "", header, shape, "uint16"),), {k.upper(): v for k, v in comments.items()})


def many(
    parts: dict[str, dict[str, Any]], shape: tuple[int, int], primary: dict[str, Any] | None = None
) -> FileHeaders:
    """A file with an empty primary HDU and one image HDU per entry."""
    hdus = [HduHeader(0, "", primary or {})]
    hdus += [HduHeader(i, name, header, shape, "uint16") for i, (name, header) in enumerate(parts.items(), 1)]
    return FileHeaders("mosaic.fits", tuple(hdus))
