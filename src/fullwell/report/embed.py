"""Figures as part of a page: drawn by the registry, SVG where they are lines, WebP where they hold pixels."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from typing import Any

from fullwell.base.figures import figure

__all__ = ["data_uri", "embedded"]


def embedded(kind: str, name: str, thing: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    """{"image": data URI, "width", "height"} of a figure, or {"error": what went wrong}.

    Every error is caught here, also those of libraries: a page with a red box says more than no page.
    """
    try:
        drawn = figure(kind, name)(thing, **options)
        width, height = (round(96 * inch) for inch in drawn.get_size_inches())
        return {"image": data_uri(drawn), "width": width, "height": height, "error": ""}
    except Exception as error:
        return {"image": "", "error": f"{type(error).__name__}: {error}"}


def data_uri(drawn: Any) -> str:
    """A Matplotlib figure as a data URI; the same figure gives the same text every time."""
    from fullwell.plots.canvas import style

    picture = any(ax.images for ax in drawn.axes)
    buffer = io.BytesIO()
    with style(**{"svg.fonttype": "none", "svg.hashsalt": "fullwell"}):
        if picture:
            drawn.savefig(buffer, format="webp", dpi=130, pil_kwargs={"quality": 80, "method": 4})
        else:
            drawn.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    kind = "image/webp" if picture else "image/svg+xml"
    return f"data:{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"
