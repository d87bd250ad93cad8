"""Spatial nonuniformity of a stack of images: its variance, split into rows, columns and pixels, and its pictures.

The mean image of L images of M rows and N columns has the variance

    s2_measured = s2_row + s2_col + s2_pixel + sigma2 / L,

the means of its columns s2_cav = s2_col + (s2_pixel + sigma2 / L) / M, those of its rows
s2_rav = s2_row + (s2_pixel + sigma2 / L) / N, with sigma2 the temporal variance of one image. The parts follow:

    s2_pixel = (s2_y - s2_cav - s2_rav) / (1 - 1/M - 1/N)
    s2_col = s2_cav - s2_pixel / M,   s2_row = s2_rav - s2_pixel / N

(all freed of the temporal part first).

Reference: EMVA Standard 1288, release 4.0 Linear, section 8.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fullwell.base.errors import DataError, GeometryError
from fullwell.products.emva1288 import SpatialNoise

__all__ = ["Stack", "high_pass", "spatial_noise", "split_variance", "stack_moments"]

F8 = NDArray[np.float64]
_MARGIN = 9
_BINS = 256


@dataclass(frozen=True)
class Stack:
    """Moments of a stack of images.

    Parameters
    ----------
    mean : (M, N) mean image [DN]; temporal : mean over the pixels of the temporal variance [DN2]; images : L.
    rows, columns : temporal variance of the means of rows and of columns [DN2], beyond what `temporal` gives them:
        noise that whole rows or columns share, other in each image. The mean level of an image is taken off.
    """

    mean: F8
    temporal: float
    images: int
    rows: float = 0.0
    columns: float = 0.0


def stack_moments(images: Iterable[NDArray]) -> Stack:
    """Mean image and mean temporal variance of a stack, one image in memory at a time.

    Raises
    ------
    DataError
        fewer than two images. GeometryError: they differ in size.
    """
    mean = np.zeros((0, 0))
    squares, count = 0.0, 0
    lines: tuple[list[F8], list[F8]] = ([], [])
    for image in images:
        values = np.asarray(image, np.float64)
        count += 1
        for axis in (0, 1):
            lines[axis].append(values.mean(1 - axis) - values.mean())
        if count == 1:
            mean = values.copy()
            continue
        if values.shape != mean.shape:
            raise GeometryError(f"image {count} of the stack has {values.shape} pixels, the first {mean.shape}",
                                remedy="stack images of one size and region")  # fmt: skip
        step = values - mean
        squares += (count - 1) / count * float(np.vdot(step, step))
        mean += step / count
    if count < 2:
        raise DataError(
            f"a stack of {count} images has no temporal variance", remedy="take at least 16 images of a level"
        )
    temporal = squares / ((count - 1) * mean.size)
    shared = [float(np.var(lines[i], axis=0, ddof=1).mean()) - temporal / mean.shape[1 - i] for i in (0, 1)]
    return Stack(mean, temporal, count, *shared)


def split_variance(stack: Stack) -> dict[str, tuple[float, float]]:
    """ "measured", "total", "row", "column", "pixel" -> (variance, standard error) [DN2] of a stack.

    The errors hold for Gaussian rows, columns and pixels.
    """
    m, n = stack.mean.shape
    measured = float(stack.mean.var())
    by_columns, by_rows = float(stack.mean.mean(0).var()), float(stack.mean.mean(1).var())
    noise = stack.temporal / stack.images
    total, cav, rav = measured - noise, by_columns - noise / m, by_rows - noise / n
    pixel = (total - cav - rav) / (1 - 1 / m - 1 / n)
    column, row = cav - pixel / m, rav - pixel / n
    of_noise = noise * math.sqrt(2 / (m * n * (stack.images - 1)))
    of_pixels = math.hypot((max(pixel, 0.0) + noise) * math.sqrt(2 / (m * n)), of_noise)
    of_columns, of_rows = by_columns * math.sqrt(2 / max(n - 1, 1)), by_rows * math.sqrt(2 / max(m - 1, 1))
    return {
        "measured": (measured, math.hypot(of_pixels, of_columns, of_rows)),
        "total": (total, math.hypot(of_pixels, of_columns, of_rows)),
        "row": (row, of_rows),
        "column": (column, of_columns),
        "pixel": (pixel, of_pixels),
    }


def high_pass(image: F8) -> tuple[F8, float]:
    """`image` without its smooth part, and the share of the variance of white noise that is left in it.

    The smooth part is the image run through box filters of 7 x 7 and 11 x 11 and a binomial filter of 3 x 3 pixels. A
    rim of 9 pixels is cut where the image is large enough.
    """
    from scipy.ndimage import convolve1d, uniform_filter

    def smooth(values: F8) -> F8:
        out = uniform_filter(uniform_filter(values, 7, mode="mirror"), 11, mode="mirror")
        for axis in (0, 1):
            out = convolve1d(out, [0.25, 0.5, 0.25], axis=axis, mode="mirror")
        return out

    point = np.zeros((41, 41))
    point[20, 20] = 1.0
    kernel = point - smooth(point)
    out = image - smooth(image)
    if min(image.shape) > 4 * _MARGIN:
        out = out[_MARGIN:-_MARGIN, _MARGIN:-_MARGIN]
    return out, float(np.sum(kernel**2))


def spatial_noise(stack: Stack, dark: Stack | None = None) -> SpatialNoise:
    """Spatial noise of a stack. With `dark` the pictures (not the variances) are those of the difference of both.

    Spectrograms are powers whose mean over all frequencies is the variance of the mean image. The histogram of a
    bright stack is that of the image after `high_pass`.

    Raises
    ------
    GeometryError
        the stacks differ in size, or have fewer than 3 x 3 pixels.
    """
    m, n = stack.mean.shape
    if min(m, n) < 3 or (dark is not None and dark.mean.shape != (m, n)):
        raise GeometryError(f"stacks of {stack.mean.shape} and {dark.mean.shape if dark else 'no'} pixels",
                            remedy="both stacks are to be of one size, of at least 3 x 3 pixels")  # fmt: skip
    parts = split_variance(stack)
    noise = stack.temporal / stack.images
    flat, rest = high_pass(stack.mean)
    picture = stack.mean if dark is None else stack.mean - dark.mean
    picture_noise = noise + (dark.temporal / dark.images if dark else 0.0)
    horizontal, vertical = _spectrogram(picture), _spectrogram(picture.T)
    white = float(np.median(np.concatenate([horizontal[1, 1:], vertical[1, 1:]])))
    deviation = picture - picture.mean() if dark is None else high_pass(picture)[0]
    step = 1 / stack.images if dark is None else 0.0
    edges, counts, model, accumulated = _histogram(deviation - deviation.mean(), white, step)
    return SpatialNoise(
        images=stack.images, shape=(m, n), mean=float(stack.mean.mean()), temporal=stack.temporal,
        measured=parts["measured"][0], total=parts["total"][0], row=parts["row"][0], column=parts["column"][0],
        pixel=parts["pixel"][0], total_error=parts["total"][1], row_error=parts["row"][1],
        column_error=parts["column"][1], pixel_error=parts["pixel"][1],
        smooth_free=float(flat.var()) / rest - noise, horizontal=horizontal, vertical=vertical,
        white=white - picture_noise, nonwhiteness=float(picture.var()) / white if white > 0 else math.nan,
        profiles={"horizontal": _profiles(picture), "vertical": _profiles(picture.T)},
        edges=edges, counts=counts, model=model, accumulated=accumulated, row_noise=stack.rows,
        column_noise=stack.columns,
    )  # fmt: skip


def _spectrogram(image: F8) -> F8:
    """(2, n // 2 + 1): frequency [cycles/pixel] along the rows, and the mean power there [DN2]."""
    n = image.shape[1]
    amplitude = np.fft.rfft(image - image.mean(), axis=1)
    return np.stack([np.fft.rfftfreq(n), np.mean(np.abs(amplitude) ** 2, axis=0) / n])


def _profiles(image: F8) -> F8:
    """(4, n): mean, smallest, largest and middle row."""
    return np.stack([image.mean(0), image.min(0), image.max(0), image[image.shape[0] // 2]])


def _histogram(deviation: F8, white: float, step: float) -> tuple[F8, NDArray[np.int64], F8, F8]:
    """Edges, counts, the Gaussian of variance `white`, and the accumulated shares of |deviation|.

    At most 256 bins; where values come in steps (means of L integers), the bins are whole numbers of `step`.
    """
    reach = float(np.abs(deviation).max()) or 1.0
    low, bins, width = -reach, _BINS, 2 * reach / _BINS
    if step > 0:
        width = step * math.ceil(round(width / step, 6))
        low = float(deviation.min()) - step / 2
        bins = math.ceil(round((float(deviation.max()) + step / 2 - low) / width, 6))
    counts, edges = np.histogram(deviation, bins, range=(low, low + bins * width))
    centre = (edges[1:] + edges[:-1]) / 2
    model = np.zeros(bins)
    if white > 0:
        model = deviation.size * width * np.exp(-0.5 * centre**2 / white) / math.sqrt(2 * math.pi * white)
    grid = np.linspace(0, reach, _BINS)
    beyond = 1 - np.searchsorted(np.sort(np.abs(deviation), axis=None), grid, side="left") / deviation.size
    return edges, counts, model, np.stack([grid, beyond])
