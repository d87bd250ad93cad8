"""A smooth rest in the difference of two flats: lamps that drift differently over the field.

Off by default. Long-range covariances that do not fall to zero tell when it is needed; what is taken off costs at
most a few degrees of freedom of a million.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["Background", "background"]

Background = Literal["none", "plane", "poly2", "median_box"]
DEGREE = {"plane": 1, "poly2": 2}


def background(
    difference: NDArray[Any], use: NDArray[np.bool_], kind: Background, box: int = 128
) -> NDArray[np.float64]:
    """The smooth part of `difference` (ny, nx) as an image of that shape.

    Parameters
    ----------
    use : pixels that count, without cosmic rays. kind : "plane" and "poly2" are least-squares polynomials of total
        degree 1 and 2, "median_box" the medians of boxes of `box` pixels, interpolated linearly; "none" is zero.
    """
    if kind == "none" or not use.any():
        return np.zeros(difference.shape)
    values = np.where(use, difference, 0).astype(np.float64)
    return _boxes(values, use, box) if kind == "median_box" else _polynomial(values, use, DEGREE[kind])


def _polynomial(values: NDArray[np.float64], use: NDArray[np.bool_], degree: int) -> NDArray[np.float64]:
    """Least squares with the moments of the mask as normal equations."""
    y, x = (np.linspace(-1.0, 1.0, n) if n > 1 else np.zeros(1) for n in values.shape)
    powers = [(i, j) for i in range(degree + 1) for j in range(degree + 1 - i)]
    ys, xs = (np.stack([axis**k for k in range(2 * degree + 1)], axis=1) for axis in (y, x))
    weights = ys.T @ use.astype(np.float64) @ xs
    right = ys[:, : degree + 1].T @ values @ xs[:, : degree + 1]
    normal = np.array([[weights[i + k, j + m] for k, m in powers] for i, j in powers])
    found = np.linalg.lstsq(normal, np.array([right[p] for p in powers]), rcond=None)[0]
    coefficients = np.zeros((degree + 1, degree + 1))
    for p, value in zip(powers, found, strict=True):
        coefficients[p] = value
    return np.asarray(ys[:, : degree + 1] @ coefficients @ xs[:, : degree + 1].T)


def _boxes(values: NDArray[np.float64], use: NDArray[np.bool_], box: int) -> NDArray[np.float64]:
    """Medians of boxes, linear in between and on to the edges; empty boxes take the median of all."""
    edges = [np.linspace(0, n, max(round(n / box), 1) + 1).astype(int) for n in values.shape]
    grid = np.full([e.size - 1 for e in edges], float(np.median(values[use])))
    for i in range(grid.shape[0]):
        for j in range(grid.shape[1]):
            cell = np.s_[edges[0][i] : edges[0][i + 1], edges[1][j] : edges[1][j + 1]]
            if use[cell].any():
                grid[i, j] = np.median(values[cell][use[cell]])
    centres = [(e[1:] + e[:-1] - 1) / 2 for e in edges]
    for axis in (0, 1):
        grid, centres[axis] = _extended(grid, centres[axis], axis)
    rows = np.stack([np.interp(np.arange(values.shape[1]), centres[1], line) for line in grid])
    columns = [np.interp(np.arange(values.shape[0]), centres[0], rows[:, k]) for k in range(rows.shape[1])]
    return np.stack(columns, axis=1)


def _extended(
    grid: NDArray[np.float64], centres: NDArray[np.float64], axis: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The grid with one node more on either side, on the straight line through the last two; itself with one node."""
    if centres.size < 2:
        return grid, centres
    g = np.moveaxis(grid, axis, 0)
    wider = np.concatenate([2 * g[:1] - g[1:2], g, 2 * g[-1:] - g[-2:-1]])
    nodes = np.concatenate([2 * centres[:1] - centres[1:2], centres, 2 * centres[-1:] - centres[-2:-1]])
    return np.moveaxis(wider, 0, axis), nodes
