"""SensorModel: the truth about one detector, made from its geometry, a seed and a few numbers.

All maps are in assembled coordinates, (ny, nx) float32; values by amplifier are (n_amp,), in the order of the
detector. Everything random here uses the seed of the detector, never that of an exposure.
"""

from __future__ import annotations

import threading
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fullwell.base.config import StepConfig
from fullwell.base.errors import GeometryError
from fullwell.cameras import Detector
from fullwell.simulation import maps
from fullwell.simulation.charge import area_matrix
from fullwell.simulation.streams import Streams

__all__ = ["SensorConfig", "SensorModel"]

F4 = NDArray[np.float32]
F8 = NDArray[np.float64]


class SensorConfig(StepConfig):
    """Numbers that a sensor is made from. A size of 0 means that the effect is absent.

    Parameters
    ----------
    gain [electron/adu], read_noise [electron] : where the detector states none; `spread` is the relative scatter
        between amplifiers that is put on stated and unstated values alike.
    level [adu] : mean of the serial overscan; level_spread [adu] between amplifiers; level_drift [adu] rms
        from frame to frame; row_noise [adu] rms of an offset common to all pixels of a row.
    ramp_exponential, ramp_linear [adu] : change of the level along the rows read, decaying over `ramp_rows`
        rows, and from the first row to the last.
    bias_pattern [electron] : rms of the fixed pattern; bias_columns : columns per amplifier that stand out by
        about `bias_column_step` [electron].
    parallel_pattern [electron] : rms of an offset per column, three waves of up to four periods across
        the amplifier; the parallel overscan shows it too.
    dark_rate [electron/s], dark_spread (relative), hot_fraction, hot_rate [electron/s], hot_sigma (natural log).
    vignetting : drop from centre to corner; prnu : rms; dust, dust_depth : grains and mean depth of their
        shadows; rings, rings_period [pixel] : tree rings.
    dead_pixels, dead_columns, bright_columns : numbers per detector; bright_column_rate [electron/s].
    nonlinearity : departure of the count from a straight line at full well, relative (positive: too low);
        nonlinearity_cubic : the same for the cubic term.
    crosstalk : largest coefficient between neighbouring amplifiers.
    a00 [1/electron] : relative change of a pixel's area per electron it holds, negative, the brighter-fatter effect;
        a_shape : of the coefficients of its neighbours ("e2v", "itl"), a_lags : their range, a_spread : relative
        scatter between amplifiers; steps : in which the charge of an exposure collects where a00 is not 0.
    full_well [electron] : charge above it bleeds along the column; infinite where 0.
    bits : of the converter.
    cosmic_rays : per second and million pixels.
    temperature : [Celsius].
    """

    gain: float = Field(default=1.5, gt=0, description="where the detector states none [electron/adu]")
    read_noise: float = Field(default=5.0, ge=0, description="where the detector states none [electron]")
    spread: float = Field(
        default=0.03,
        ge=0,
        lt=0.5,
        description="relative scatter of gain and read noise between amplifiers, on stated values too",
    )
    level: float = Field(default=1000.0, ge=0)
    level_spread: float = Field(default=20.0, ge=0, description="of the overscan level between amplifiers [adu]")
    level_drift: float = Field(default=0.5, ge=0, description="rms of the level from frame to frame [adu]")
    row_noise: float = Field(default=0.0, ge=0, description="rms of an offset common to all pixels of a row [adu]")
    ramp_exponential: float = 8.0
    ramp_linear: float = 4.0
    ramp_rows: float = Field(default=40.0, gt=0, description="rows over which ramp_exponential decays")
    bias_pattern: float = Field(default=1.5, ge=0)
    bias_columns: int = Field(default=1, ge=0)
    bias_column_step: float = Field(default=12.0, ge=0, description="height of the columns that stand out [electron]")
    parallel_pattern: float = Field(default=0.0, ge=0)
    dark_rate: float = Field(default=0.05, ge=0, description="mean [electron/s]")
    dark_spread: float = Field(default=0.1, ge=0, description="relative scatter of the dark rate")
    hot_fraction: float = Field(default=1e-4, ge=0, le=1, description="share of pixels that are hot")
    hot_rate: float = Field(default=5.0, ge=0, description="median rate of a hot pixel [electron/s]")
    hot_sigma: float = Field(default=1.0, ge=0, description="width of the rates of hot pixels [natural log]")
    vignetting: float = Field(default=0.15, ge=0, lt=1)
    prnu: float = Field(default=0.008, ge=0)
    dust: int = Field(default=6, ge=0)
    dust_depth: float = Field(default=0.03, ge=0, lt=0.6)
    rings: float = Field(default=0.002, ge=0, description="rms of the tree rings")
    rings_period: float = Field(default=25.0, gt=0, description="of the tree rings [pixel]")
    dead_pixels: int = Field(default=8, ge=0)
    dead_columns: int = Field(default=1, ge=0)
    bright_columns: int = Field(default=1, ge=0)
    bright_column_rate: float = Field(default=40.0, ge=0, description="[electron/s]")
    nonlinearity: float = 0.0
    nonlinearity_cubic: float = 0.0
    crosstalk: float = Field(default=0.0, ge=0)
    a00: float = Field(default=0.0, le=0, description="area change of a pixel per electron it holds [1/electron]")
    a_shape: Literal["e2v", "itl"] = "e2v"
    a_lags: int = Field(default=4, ge=2, description="range of the brighter-fatter effect [pixel]")
    a_spread: float = Field(default=0.0, ge=0, lt=0.5, description="relative scatter of a00 between amplifiers")
    steps: int = Field(default=24, ge=2, description="in which charge collects where a00 is not 0")
    full_well: float = Field(default=120000.0, ge=0)
    bits: int = Field(default=16, ge=8, le=31)
    cosmic_rays: float = Field(default=0.01, ge=0)
    temperature: float = -100.0


@dataclass(frozen=True)
class SensorModel:
    """One detector as it really is.

    Parameters
    ----------
    detector : geometry; seed : of everything fixed; config : what it was made from.
    gain [electron/adu], read_noise [electron], level [adu] : (n_amp,).
    linearity : (n_amp, order) [adu**-(i+1)], true count = v + sum_i c_i v**(i + 2) of the recorded count v.
    crosstalk : [source, target] in electron of the target per electron of the source, diagonal 0.
    bias [electron] : the pattern left in each pixel; dark [electron/s]; codes : of `maps.CODES`, 0 good.
    hot : pixels of the lognormal tail.
    ramps [adu] : one (rows,) array per amplifier; columns [electron] : one (data columns,) array per amplifier.
    cards : header cards of the camera (INSTRUME …).
    area : (n_amp, L + 1, L + 1) [1/electron] brighter-fatter coefficients [i, j], i serial; (n_amp, 0, 0) for none.
    """

    detector: Detector
    seed: int
    config: SensorConfig
    gain: F8
    read_noise: F8
    level: F8
    linearity: F8
    crosstalk: F8
    bias: F4
    dark: F4
    hot: NDArray[np.bool_]
    codes: NDArray[np.uint8]
    ramps: tuple[F4, ...]
    columns: tuple[F4, ...]
    cards: Mapping[str, Any] = field(default_factory=dict)
    area: F8 = field(default_factory=lambda: np.zeros((0, 0, 0)))
    _flats: dict[str, F4] = field(default_factory=dict, repr=False, compare=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    @classmethod
    def make(
        cls,
        detector: Detector,
        seed: int = 0,
        config: SensorConfig | None = None,
        *,
        cards: Mapping[str, Any] | None = None,
    ) -> SensorModel:
        """Draw a sensor of this geometry; `cards` go into the headers of its frames.

        Raises
        ------
        GeometryError
            segments overlap or leave a hole in the assembled image.
        """
        detector.check_tiling()
        cfg, streams, n = config or SensorConfig(), Streams(seed), len(detector)
        shape = detector.box.shape
        dark, hot = maps.dark_rate(
            shape, cfg.dark_rate, cfg.dark_spread, cfg.hot_fraction, cfg.hot_rate, cfg.hot_sigma, streams("dark")
        )
        codes = maps.defect_codes(shape, cfg.dead_pixels, cfg.dead_columns, cfg.bright_columns, streams("defects"))
        codes[hot & (codes == 0)] = maps.CODES["hot"]
        dark[codes == maps.CODES["bright column"]] += np.float32(cfg.bright_column_rate)
        gain = _by_amp(detector, "gain", cfg.gain, cfg.spread, streams)
        return cls(
            detector,
            seed,
            cfg,
            gain,
            _by_amp(detector, "read_noise", cfg.read_noise, cfg.spread, streams),
            cfg.level + cfg.level_spread * streams("level").uniform(-1, 1, n),
            _linearity(cfg, gain),
            _crosstalk(cfg, n, streams),
            _bias(detector, cfg, streams),
            dark,
            hot,
            codes,
            tuple(_ramp(amp.shape[0], cfg) for amp in detector),
            tuple(_columns(amp.data.width, cfg, streams("parallel", a)) for a, amp in enumerate(detector)),
            dict(cards or {}),
            _area(cfg, n, streams),
        )

    def flat(self, band: str = "") -> F4:
        """Response in `band`, (ny, nx), mean 1; defects are not in it. Made once per band."""
        with self._lock:
            if band not in self._flats:
                self._flats[band] = self._make_flat(band)
            return self._flats[band]

    def _make_flat(self, band: str) -> F4:
        cfg, shape, streams = self.config, self.detector.box.shape, Streams(self.seed)
        key = zlib.crc32(band.encode())
        out = maps.prnu(shape, cfg.prnu, streams("prnu", key)) if cfg.prnu else np.ones(shape, np.float32)
        if cfg.vignetting:
            out *= maps.vignetting(shape, cfg.vignetting)
        if cfg.dust:
            maps.dust(out, cfg.dust, cfg.dust_depth, streams("dust"))
        if cfg.rings:
            out *= maps.tree_rings(shape, cfg.rings * (0.5 + (key % 1000) / 1000), cfg.rings_period)
        out /= np.float32(out.mean(dtype=np.float64))
        out.flags.writeable = False
        return out

    def with_flat(self, band: str, flat: F4) -> SensorModel:
        """The same sensor with `flat` (ny, nx) as its response in `band`, taken as it is.

        Raises
        ------
        GeometryError
            the array does not fill the detector.
        """
        if flat.shape != self.detector.box.shape:
            raise GeometryError(f"a flat of shape {flat.shape} does not fill {self.detector.box.shape}")
        return replace(self, _flats={**self._flats, band: np.asarray(flat, np.float32)}, _lock=threading.Lock())

    @property
    def full_well(self) -> float:
        """[electron], infinite where there is none."""
        return self.config.full_well or float("inf")

    @property
    def top(self) -> float:
        """Largest count of the converter."""
        return float(2**self.config.bits - 1)

    @property
    def bad(self) -> NDArray[np.bool_]:
        """Pixels whose value says nothing about the light: dead pixels, dead and bright columns."""
        return (self.codes > 0) & (self.codes != maps.CODES["hot"])

    @property
    def blind(self) -> NDArray[np.bool_]:
        """Pixels that collect nothing."""
        return (self.codes == maps.CODES["dead"]) | (self.codes == maps.CODES["dead column"])

    def readout(self, a: int, plane: NDArray) -> NDArray:
        """The data pixels of amplifier number `a` in read-out order, a view of an assembled `plane`."""
        amp = self.detector.amplifiers[a]
        return amp.orientation.undo(plane[amp.trimmed.slices])


def _by_amp(detector: Detector, label: str, default: float, spread: float, streams: Streams) -> F8:
    stated = detector.values(label)
    base = np.where(np.isfinite(stated), stated, default)
    return base * (1 + spread * streams(label).uniform(-1, 1, len(detector)))


def _linearity(cfg: SensorConfig, gain: F8) -> F8:
    """Polynomial that makes the recorded count too low by the stated fractions at full well."""
    top = (cfg.full_well or 1e5) / gain
    square, cubic = cfg.nonlinearity / top, cfg.nonlinearity_cubic / top**2
    return np.stack([square, cubic], axis=1)


def _crosstalk(cfg: SensorConfig, n: int, streams: Streams) -> F8:
    """Full strength at one amplifier's distance, a quarter at two, none beyond; never symmetric."""
    out = np.zeros((n, n))
    draws = streams("crosstalk").uniform(0.3, 1.0, (n, n))
    for step, share in ((1, 1.0), (2, 0.25)):
        for s in range(n):
            for t in (s - step, s + step):
                if 0 <= t < n:
                    out[s, t] = cfg.crosstalk * share * draws[s, t]
    return out


def _area(cfg: SensorConfig, n: int, streams: Streams) -> F8:
    """Brighter-fatter coefficients of each amplifier, scaled as a whole."""
    if not cfg.a00:
        return np.zeros((n, 0, 0))
    scale = 1 + cfg.a_spread * streams("area").uniform(-1, 1, n)
    return scale[:, None, None] * area_matrix(cfg.a_shape, a00=cfg.a00, lags=cfg.a_lags)


def _bias(detector: Detector, cfg: SensorConfig, streams: Streams) -> F4:
    shape = detector.box.shape
    out = streams("bias").standard_normal(shape, dtype=np.float32)
    out *= np.float32(cfg.bias_pattern)
    for a, amp in enumerate(detector):
        rng = streams("bias columns", a)
        view = amp.orientation.undo(out[amp.trimmed.slices])
        for _ in range(cfg.bias_columns):
            view[:, int(rng.integers(0, amp.data.width))] += np.float32(cfg.bias_column_step * rng.uniform(0.5, 1.5))
    return out


def _ramp(rows: int, cfg: SensorConfig) -> F4:
    y = np.arange(rows)
    ramp = cfg.ramp_exponential * np.exp(-y / cfg.ramp_rows) + cfg.ramp_linear * y / max(rows - 1, 1)
    return ramp.astype(np.float32)


def _columns(width: int, cfg: SensorConfig, rng: np.random.Generator) -> F4:
    """Three waves of random phase, each of half a period to four, with mean 0 and the rms asked for."""
    x = np.arange(width) / max(width, 1)
    periods, phases = rng.uniform(0.5, 4.0, 3), rng.uniform(0, 2 * np.pi, 3)
    wave = np.cos(2 * np.pi * periods[:, None] * x + phases[:, None]).sum(axis=0)
    rms = float(np.sqrt(np.mean((wave - wave.mean()) ** 2))) if width else 0.0
    return (cfg.parallel_pattern * (wave - wave.mean()) / (rms or 1.0)).astype(np.float32)
