"""Block: some read-out rows of all amplifiers, small enough for the cache, that steps work on in place."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fullwell.cameras import Detector
from fullwell.conductor.layout import Layout
from fullwell.frames import Observation
from fullwell.kernels import arith

__all__ = ["Block", "Buffers", "Exposure"]

F4 = NDArray[np.float32]
U4 = NDArray[np.uint32]


@dataclass
class Exposure:
    """What all blocks of one frame share; steps read it and change nothing but `numbers`.

    Parameters
    ----------
    detector, observation : of the frame.
    unit : of the image when the run starts.
    gain : (n_amp,) [electron/adu], NaN where unknown.
    read_noise : (n_amp,) [electron where the gain is known, else adu], NaN where unknown.
    seed : of the counter-based dither.
    dark_time : [s].
    bias_factor : how often the variance of the bias counts: 1, less where a dark holds the same bias (`reduction`).
    keep_components : whether the parts of the variance are kept as planes.
    """

    detector: Detector
    observation: Observation = field(default_factory=Observation)
    unit: str = "adu"
    gain: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    read_noise: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    seed: int = 0
    dark_time: float = float("nan")
    bias_factor: float = 1.0
    keep_components: bool = False
    numbers: dict[tuple[str, str], list[tuple[int, Any]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.gain.size:
            self.gain = np.full(len(self.detector), np.nan)
        if not self.read_noise.size:
            self.read_noise = np.full(len(self.detector), np.nan)

    def noise(self, unit: str) -> NDArray[np.float32]:
        """Read-noise variance of each amplifier, (n_amp,), in `unit` squared; 0 where the noise is unknown.

        Read noise is in electron where the gain is known; in adu it is divided by the gain. Where the
        gain is unknown the number is in adu and is taken as it is.
        """
        noise = np.nan_to_num(self.read_noise) ** 2
        if unit != "electron":
            noise = np.where(np.isfinite(self.gain), noise / np.where(self.gain > 0, self.gain, 1) ** 2, noise)
        return noise.astype(np.float32)

    def poisson(self, unit: str) -> NDArray[np.float32]:
        """Poisson variance per unit of signal, (n_amp,): 1 in electron, 1/gain in adu, 0 where it is unknown."""
        if unit == "electron":
            return np.ones(self.gain.size, np.float32)
        known = np.isfinite(self.gain) & (self.gain > 0)
        return np.where(known, 1 / np.where(known, self.gain, 1), 0).astype(np.float32)

    def collect(self, step: str, key: str, row: int, values: Any) -> None:
        """Keep `values` measured on the block that starts at `row`; safe from any thread."""
        self.numbers.setdefault((step, key), []).append((row, values))

    def collected(self, step: str, key: str) -> list[Any]:
        """All values of `key`, in the order of rows."""
        return [v for _, v in sorted(self.numbers.get((step, key), []), key=lambda item: item[0])]


class Buffers:
    """Scratch memory of one worker, kept from block to block and frame to frame."""

    def __init__(self) -> None:
        self._store: dict[str, NDArray[Any]] = {}
        self._views: dict[tuple[str, tuple[int, int], Any], NDArray[Any]] = {}

    def get(self, name: str, shape: tuple[int, int], dtype: Any) -> NDArray[Any]:
        """A C-contiguous array of `shape`; its values are whatever was there before."""
        view = self._views.get((name, shape, dtype))
        if view is None:
            size = shape[0] * shape[1]
            have = self._store.get(name)
            if have is None or have.size < size or have.dtype != dtype:
                have = self._store[name] = np.empty(max(size, 1), dtype)
                self._views = {key: kept for key, kept in self._views.items() if key[0] != name}
            view = self._views[name, shape, dtype] = have[:size].reshape(shape)
        return view


class Block:
    """Rows ``r0 … r1 - 1`` of all amplifiers.

    Attributes
    ----------
    image : (n, C) float32, amplifiers side by side as `layout` says.
    mask : (n, C) uint32, of which the bits count only when `has_mask`.
    variance : (n, C) float32, of which the values count only when `has_variance`.
    row_variance : (n, n_amp) float32, variance that is the same along a row (overscan fit, quantisation);
        the variance step adds it to the pixels. Steps add to it through `add_row_variance`.
    unit : of the image at this point of the recipe.
    exposure : what the frame's blocks share.
    components : parts of the variance by name, (n, C), where they are kept.
    """

    def __init__(self, exposure: Exposure, layout: Layout, r0: int, r1: int, buffers: Buffers) -> None:
        self.exposure = exposure
        self.buffers = buffers
        self.r0, self.r1 = r0, r1
        self.layout = layout
        self.unit = exposure.unit
        self.has_variance = self.has_mask = False
        shape = (r1 - r0, layout.columns)
        self.image: F4 = buffers.get(f"image-{layout.part}", shape, np.float32)
        self.mask: U4 = buffers.get(f"mask-{layout.part}", shape, np.uint32)
        self.variance: F4 = buffers.get(f"variance-{layout.part}", shape, np.float32)
        self.row_variance: F4 = buffers.get("row-variance", (r1 - r0, len(layout.detector)), np.float32)
        self.row_variance.fill(0.0)
        self.row_noise = False
        self.components: dict[str, F4] = {}

    @property
    def n(self) -> int:
        """Number of rows."""
        return self.r1 - self.r0

    def span(self, label: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Columns (start, width) of box `label` of each amplifier in this block."""
        return self.layout.span(label)

    @property
    def data_rows(self) -> slice:
        """Rows of a digested calibration (data layout) that belong to this block."""
        first = self.layout.data_rows[0]
        return slice(self.r0 - first, self.r1 - first)

    def start_variance(self) -> F4:
        """The variance plane, set to zero where nothing was in it yet."""
        if not self.has_variance:
            self.variance[:] = 0.0
            self.has_variance = True
        return self.variance

    def add_row_variance(self, values: F4 | float) -> None:
        """row_variance += values, (n, n_amp) or one number, in the unit of the image now, squared."""
        self.row_variance += np.float32(values)
        self.row_noise = True

    def settle_rows(self) -> None:
        """Put the row variance, where there is any, into the variance plane (and the component "overscan")."""
        if self.row_noise:
            along = np.repeat(self.row_variance, self.layout.width, axis=1)
            arith.add_plane(self.start_variance(), along, np.float32(1))
            part = self.component("overscan")
            if part is not None:
                arith.add_plane(part, along, np.float32(1))
            self.spend_rows()

    def spend_rows(self) -> None:
        """The row variance is in the variance plane now."""
        self.row_variance.fill(0.0)
        self.row_noise = False

    def start_mask(self) -> U4:
        """The mask, with no bit set where nothing was in it yet."""
        if not self.has_mask:
            self.mask[:] = 0
            self.has_mask = True
        return self.mask

    def component(self, name: str) -> F4 | None:
        """The plane of one part of the variance, zero at first, or None where components are not kept."""
        if not self.exposure.keep_components:
            return None
        if name not in self.components:
            plane = self.buffers.get(f"component-{name}-{self.layout.part}", (self.n, self.layout.columns), np.float32)
            plane[:] = 0.0
            self.components[name] = plane
        return self.components[name]

    def trim(self) -> None:
        """Keep the data columns alone: from the segment layout to the data layout."""
        layout = self.layout.data
        start, width = self.layout.span("data")
        first = start - self.layout.start
        shape = (self.n, layout.columns)
        image = self.buffers.get("image-data", shape, np.float32)
        arith.trim(self.image, self.layout.start, first, image, layout.start, width)
        mask = self.buffers.get("mask-data", shape, np.uint32)
        if self.has_mask:
            arith.trim(self.mask, self.layout.start, first, mask, layout.start, width)
        variance = self.buffers.get("variance-data", shape, np.float32)
        if self.has_variance:
            arith.trim(self.variance, self.layout.start, first, variance, layout.start, width)
        for name, plane in self.components.items():
            kept = self.buffers.get(f"component-{name}-data", shape, np.float32)
            arith.trim(plane, self.layout.start, first, kept, layout.start, width)
            self.components[name] = kept
        self.image, self.mask, self.variance, self.layout = image, mask, variance, layout
