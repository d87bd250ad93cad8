"""A frame in a notebook: thumbnail, what it is, what is masked, what was done. Works without scripts.

`card` is the form, for frames and for calibration products.
"""

from __future__ import annotations

import base64
import io as bytestream
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from fullwell.base.provenance import Record
    from fullwell.frames.frame import Frame

__all__ = ["card", "frame_html", "thumbnail"]

SIDE = 128


def thumbnail(array: NDArray[np.generic], side: int = SIDE) -> bytes:
    """A PNG of at most `side` pixels on its longer edge: every n-th pixel, 1st to 99th percentile, row 0 below."""
    from PIL import Image

    step = max(1, -(-max(array.shape) // side))
    small = np.asarray(array[::step, ::step], np.float64)
    finite = small[np.isfinite(small)]
    low, high = np.percentile(finite, [1, 99]) if finite.size else (0.0, 1.0)
    scaled = np.clip((small - low) / (high - low if high > low else 1.0), 0, 1)
    grey = (255 * np.nan_to_num(scaled)).astype(np.uint8)[::-1]
    stream = bytestream.BytesIO()
    Image.fromarray(grey).save(stream, "PNG")
    return stream.getvalue()


def frame_html(frame: Frame) -> str:
    """The frame as HTML; the history can be folded out."""
    obs = frame.observation
    rows = {
        "instrument": f"{obs.instrument}, detector {obs.detector}",
        "observation": " ".join(p for p in (obs.obs_id, obs.kind, obs.filter) if p),
        "exposure": f"{obs.exposure_time:g} s" if np.isfinite(obs.exposure_time) else "",
        "image": f"{frame.shape[0]} x {frame.shape[1]} {frame.image.dtype}, {frame.unit}{', raw' if frame.raw else ''}",
        "variance": frame.variance.unit if frame.variance is not None else "none",
        "masked": ", ".join(f"{name} {n}" for name, n in frame.mask.counts().items()) if frame.mask is not None else "",
    }
    return card(rows, frame.history, frame.image.array)


def card(
    rows: Mapping[str, str], history: Sequence[Record] = (), image: NDArray[np.generic] | None = None, below: str = ""
) -> str:
    """A table of names and texts (empty ones are left out), the history to be folded out, a thumbnail of `image`.

    `below` is HTML that follows the table.
    """
    table = "".join(
        f"<tr><th style='text-align:left'>{escape(k)}</th><td style='text-align:left'>{escape(v)}</td></tr>"
        for k, v in rows.items()
        if v
    )
    done = "".join(
        f"<li>{escape(r.step)}: {escape(r.state)}{escape(f' ({r.note})') if r.note else ''}</li>" for r in history
    )
    fold = f"<details><summary>history, {len(history)} steps</summary><ol>{done}</ol></details>" if done else ""
    picture = ""
    if image is not None:
        data = base64.b64encode(thumbnail(image)).decode()
        picture = f"<img alt='thumbnail of the image' src='data:image/png;base64,{data}'>"
    return (
        f"<div style='display:flex;gap:1em;align-items:flex-start'>{picture}"
        f"<div><table>{table}</table>{below}{fold}</div></div>"
    )
