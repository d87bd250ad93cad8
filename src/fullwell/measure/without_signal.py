"""The variance without the pixel's own signal, for weights that do not bias.

Model        V' = V - K (I - s) - phi^2 ((I + b)^2 - (s + b)^2): what the pixel would have with the sky s alone.
Why          a variance made of the pixel's own counts is low where the pixel is low by chance: a flux weighted with 1/V
             is too small. Without the source, weights know nothing of its noise.
Expected     a variance made from a model holds the model's signal, not the counts: then that signal is to be given.
References   injection note A.3, A.5.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fullwell.base.errors import DataError, GeometryError, UsageError
from fullwell.base.provenance import Record
from fullwell.frames import Frame, Plane
from fullwell.measure.noise_budget import sky_of, usable
from fullwell.measure.noise_products import part_of, used_products, where_of
from fullwell.measure.noise_terms import by_amp, law_of
from fullwell.products import Flat, Product

if TYPE_CHECKING:
    from fullwell.repo import Repository

__all__ = ["without_signal"]

F8 = NDArray[np.float64]


def without_signal(
    frame: Frame,
    gain: Any = None,
    *,
    products: Mapping[str, Product] | None = None,
    repo: Repository | str | os.PathLike[str] | None = None,
    sky: float | NDArray[Any] | None = None,
    signal: NDArray[Any] | None = None,
) -> Frame:
    """The same frame, its variance that of the sky without the sources.

    Parameters
    ----------
    gain : `injection.EffectiveGain`; else K is taken from the flat and gains that the frame was corrected with
        (`products`, `repo`), or from the parts of the variance that it kept.
    sky : level [unit], one number or (ny, nx); by default the clipped median of each amplifier.
    signal : (ny, nx) [unit] that the variance was made with, where that is a model ("expected"); above the sky.

    Returns
    -------
    Frame
        new variance, float32, NaN where K is not known; image and mask are shared; the history says what was done.

    Raises
    ------
    DataError
        the frame has no variance, or K is known of no pixel.
    UsageError
        the variance was made from a model and no `signal` is given. GeometryError: planes of other sizes.
    """
    ok = usable(frame)
    assert frame.variance is not None
    image = frame.image.array.astype(np.float64)
    k, background, phi = _gain_of(frame, gain, products, repo)
    if not np.isfinite(k[ok]).any():
        raise DataError(
            "nothing says how many electrons a pixel holds, so its signal cannot be taken out",
            where=where_of(frame),
            remedy="give gain=fullwell.injection.effective_gain(frame), or the flat, or the repository",
        )
    told = frame.gain_map.convention if frame.gain_map is not None else "realised"
    if (gain.convention if gain is not None else told) == "expected" and signal is None:
        raise UsageError(
            "the variance was made from a model: the counts of the pixels are not in it",
            where=where_of(frame),
            remedy="give signal=, the model without the sky",
        )
    level = _level(frame, ok, sky)
    if signal is not None:
        _same(frame, signal, "signal")
        image = level + np.asarray(signal, np.float64)
    out = frame.variance.array - k * (image - level) - phi * ((image + background) ** 2 - (level + background) ** 2)
    numbers = {"sky": float(np.median(level)), "unit": frame.unit}
    done = replace(frame, variance=Plane(out.astype(np.float32), frame.box, frame.variance.unit), components={})
    return done.with_history(Record("without_signal", numbers=numbers))


def _same(frame: Frame, plane: Any, what: str) -> None:
    if np.shape(plane) != frame.shape:
        raise GeometryError(
            f"the {what} has shape {np.shape(plane)}, the frame {frame.shape}", where=where_of(frame), remedy="cut it"
        )


def _level(frame: Frame, ok: NDArray[np.bool_], sky: Any) -> F8:
    if sky is None:
        found = sky_of(frame, ok)
        return np.full(frame.shape, found[""]) if frame.detector is None else by_amp(frame, found, 0.0)
    if np.ndim(sky):
        _same(frame, sky, "sky")
    return np.broadcast_to(np.asarray(sky, np.float64), frame.shape)


def _gain_of(frame: Frame, gain: Any, products: Any, repo: Any) -> tuple[F8, Any, Any]:
    """K, background and relative variance of the flat, (ny, nx) or numbers."""
    if gain is not None:
        if gain.box != frame.box:
            raise GeometryError(f"the effective gain covers {gain.box}, the frame {frame.box}", where=where_of(frame))
        phi = 0.0 if gain.flat_variance is None else np.asarray(gain.flat_variance, np.float64)
        return np.asarray(gain.k, np.float64), gain.background, phi
    found, _ = used_products(frame, products, repo)
    law = law_of(frame, found)
    flat, kept, record = found.get("flat"), frame.components.get("flat"), frame.last("flat")
    if kept is not None:
        square = (frame.image.array.astype(np.float64) + law.background) ** 2
        return law.k, law.background, np.divide(kept.array, square, out=np.zeros(frame.shape), where=square > 0)
    carried = record is None or record.config.get("propagate_variance", True)
    if isinstance(flat, Flat) and flat.variance is not None and carried:
        at = part_of(flat, frame)
        return law.k, law.background, flat.variance[at].astype(np.float64) / flat.image[at].astype(np.float64) ** 2
    return law.k, law.background, 0.0
