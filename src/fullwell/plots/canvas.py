"""The sheet that figures are drawn on: our style, no global state, provenance in the file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from fullwell.base.errors import DataError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "BLACK",
    "BLUE",
    "COLOURS",
    "GREEN",
    "ORANGE",
    "PINK",
    "RED",
    "SKY",
    "STYLE",
    "limits",
    "sheet",
    "style",
    "styled",
    "thinned",
]

BLUE, RED, GREEN, PINK, ORANGE, SKY, BLACK = COLOURS = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#000000",
)
"""The colours of the style file by name: a name such as "C1" would be looked up after the style is gone."""

STYLE = Path(__file__).with_name("fullwell.mplstyle")
_LOCK = RLock()
F = TypeVar("F", bound=Callable[..., Any])


@contextmanager
def style(**more: Any) -> Iterator[None]:
    """Our style, with Matplotlib settings `more` on top, for the duration of a ``with`` block.

    Matplotlib keeps its settings for the whole process, so one thread draws at a time; the caller's settings
    come back afterwards.
    """
    import matplotlib as mpl

    settings: Any = dict(mpl.rc_params_from_file(STYLE, use_default_template=True))
    settings.update(more)
    with _LOCK, mpl.rc_context(settings):
        yield


def styled(function: F) -> F:
    """Decorator: draw under our style."""

    @wraps(function)
    def drawn(*args: Any, **kwargs: Any) -> Any:
        with style():
            return function(*args, **kwargs)

    return drawn  # type: ignore[return-value]


def sheet(width: float = 7.0, height: float = 4.5) -> Figure:
    """An empty figure of `width` x `height` [inch], not known to pyplot, so that threads are safe."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def thinned(array: NDArray[Any], pixels: int = 250_000) -> NDArray[np.float64]:
    """About `pixels` finite values of `array`, evenly taken.

    Raises
    ------
    DataError
        no value is finite.
    """
    flat = np.asarray(array).ravel()
    flat = flat[:: max(flat.size // pixels, 1)].astype(np.float64)
    flat = flat[np.isfinite(flat)]
    if not flat.size:
        raise DataError("there is no finite pixel to draw", remedy="look at the mask: every pixel may be flagged")
    return flat


def limits(array: NDArray[Any], contrast: float = 0.25) -> tuple[float, float]:
    """Display range of an image by the zscale rule: a line through the sorted values, steepened by `contrast`.

    References: IRAF ``display`` help, zscale; as in `astropy.visualization.ZScaleInterval`.
    """
    from astropy.visualization import ZScaleInterval

    low, high = ZScaleInterval(contrast=contrast).get_limits(thinned(array, 20_000))
    return (float(low), float(high)) if high > low else (float(low) - 0.5, float(low) + 0.5)
