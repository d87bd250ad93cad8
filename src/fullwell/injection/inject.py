"""`inject`: sources of a catalogue into a calibrated frame, with the noise that they would have had.

Model        a source of mean flux dI in a pixel adds k ~ Poisson(dI / K) collected electrons: K k to the image,
             K**2 k to the variance ("realised", made from counts) or K dI ("expected", made from a model). K is the
             effective gain. It enters the noise only: a wrong K never changes the mean flux.
Negative     light (negative sources, wings of a PSF) is taken off without noise and lowers no variance.
Full well    electrons above it are lost: the pixel is cut there and marked SAT. Pixels that are SAT already stay.
Untouched    NO_DATA, NaN, and pixels whose K is not known; all without light.
Random       numbers belong to (seed, exposure, source, pixel) and to nothing else.
References   injection note, sections A.3 and A.6; Salmon et al. 2011 (random numbers).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fullwell.base.errors import FullwellWarning, UsageError
from fullwell.base.provenance import Record, content_id
from fullwell.frames import Frame, Mask, Plane
from fullwell.frames.psf import Psf
from fullwell.injection.catalog import UNDRAWN, Sources, Status, mixed, sources_of
from fullwell.injection.draw import BAND, CONVENTIONS, NOISES, Painter, draw
from fullwell.injection.effective_gain import EffectiveGain
from fullwell.injection.psf import psf_of
from fullwell.injection.truth import truth_table
from fullwell.injection.world import World, photo_of, world_of

__all__ = ["Injected", "inject"]

FAINT = 0.01
"""INJECTED is set where the light is above this part of the noise of the pixel."""
INTERPOLATED = ("mark", "reapply", "skip")


@dataclass(frozen=True, eq=False)
class Injected:
    """A frame with sources in it.

    Parameters
    ----------
    frame : the frame with the sources. truth : astropy Table, see `fullwell.injection.truth.truth_table`.
    gain : what the noise was drawn with. before : the frame as it was, by reference.

    It can be injected into again: the sources of both catalogues are then drawn into `before`, so that the order of the
    two calls does not matter to the last bit.
    """

    frame: Frame
    truth: Any
    gain: EffectiveGain
    before: Frame
    sources: Sources = field(repr=False)
    keys: NDArray[np.uint64] = field(repr=False)
    psf: Psf | None = field(default=None, repr=False)
    world: World | None = field(default=None, repr=False)

    def remove(self) -> Frame:
        """The frame as it was before, bit for bit."""
        return self.before


def inject(
    frame: Frame | Injected,
    catalog: Any,
    *,
    gain: EffectiveGain | None = None,
    flat: Any = "auto",
    repo: Any = None,
    psf: Any = None,
    wcs: Any = None,
    photo: Any = None,
    seed: int = 0,
    noise: Literal["poisson", "gaussian", "none"] = "poisson",
    variance: Literal["auto", "realised", "expected", "none"] = "auto",
    saturation: Any = None,
    interpolated: Literal["mark", "reapply", "skip"] = "mark",
    aperture: float | None = None,
    jobs: int = 1,
) -> Injected:
    """Put the sources of `catalog` into a calibrated frame; the frame given is not changed.

    Parameters
    ----------
    frame : corrected, in adu, electron or nJy; or an `Injected`, to be injected into again.
    catalog : astropy Table, mapping of columns, or file (CSV, ECSV, FITS, Parquet). Columns: x, y [pixel of the
        detector, whole at the middle of pixels] or ra, dec [deg]; mag (AB), nJy or flux [unit of the image];
        source_type ("star" where it is not there); what profiles need (`injection.columns`); draw_size [pixel],
        seed, id.
    gain : K. None: `effective_gain(frame, flat=flat, repo=repo, photo=photo)`.
    psf : see `fullwell.injection.psf.psf_of`. None: that of the frame. wcs : astropy WCS; None: that of the frame.
    photo : nJy per electron (adu) after the flat: number, map, or function of (x, y). None: that of the frame.
    seed : of the random numbers; a column `seed` overrules it for its source.
    noise : "none" adds the mean. variance : which increment; "auto" as `gain.convention` says.
    saturation : full well [electron]: number, map, by amplifier, or "none"; None: saturation level times gain of
        the detector.
    interpolated : INTRP pixels get the mean light and INJECTED_INTERP ("mark"), are interpolated anew ("reapply"),
        or are left.
    aperture : radius [pixel] in which a star has the flux of the catalogue; None: the flux is the total.
    jobs : threads.

    Returns
    -------
    Injected
        frame with planes INJECTED (every pixel that changed, or took light above 0.01 of its noise) and
        INJECTED_CORE (above half of a maximum), truth, gain.

    Raises
    ------
    UsageError, DataError
        what is missing or cannot be meant: columns, PSF, WCS, photometric calibration, options. MissingProduct:
        the flat.
    """
    _options(noise, variance, interpolated)
    again = frame if isinstance(frame, Injected) else None
    before = again.before if again else frame
    assert isinstance(before, Frame)
    _calibrated(before)
    world = world_of(before, wcs) or (again.world if again else None)
    sources = sources_of(
        catalog, box=before.box, unit=before.unit, band=before.observation.band, world=world,
        photo=photo_of(before, photo)
    )  # fmt: skip
    keys = _keys(before, sources, seed)
    if again:
        sources, keys = _together(again, sources, keys)
        gain, psf = gain or again.gain, again.psf if psf is None else psf
    model = psf_of(before, psf)
    if gain is None:
        from fullwell.injection.estimate import effective_gain

        gain = effective_gain(before, flat=flat, repo=repo, photo=photo)
    out = _prepared(before, interpolated)
    assert out.mask is not None
    from fullwell.injection.profiles import Pictures

    pictures = Pictures(sources, model, world, before.box)
    extents = pictures.extents()
    _needs_psf(sources, model, before)
    _tell(sources, extents, before)
    convention = gain.convention if variance == "auto" else variance
    painter = Painter(
        out, gain, sources, keys, model, _scales(sources, model, aperture), extents, pictures, _bits(out.mask,
        interpolated), NOISES[noise], CONVENTIONS[convention] if out.variance is not None else 0, FAINT,
        _well(before, saturation),
    )  # fmt: skip
    sums = draw(painter, jobs)
    if interpolated == "reapply":
        from fullwell.injection.reapply import reapply

        reapply(before, out)
    settings = {
        "seed": seed, "noise": noise, "variance": convention, "interpolated": interpolated, "aperture": aperture
    }  # fmt: skip
    return _finished(painter, sums, before, again, settings, world)


def _finished(
    painter: Painter, sums: Any, before: Frame, again: Injected | None, settings: dict[str, Any], world: World | None
) -> Injected:
    """The result, with its truth and its record."""
    out, sources = painter.frame, painter.sources
    assert out.mask is not None
    truth = truth_table(out, sources, painter.gain, sums, painter.extents, _newly_saturated(before, out))
    told = again.frame if again else before
    out = replace(out, history=told.history, metadata=dict(told.metadata))
    out = _recorded(out, sources, painter.gain, settings)
    return Injected(out, truth, painter.gain, before, sources, painter.keys, painter.psf, world)


def _newly_saturated(before: Frame, after: Frame) -> NDArray[np.bool_]:
    """Pixels (ny, nx) that are SAT after and were not before, found by bands: a whole temporary plane takes memory."""
    assert after.mask is not None
    known = before.mask is not None and "SAT" in before.mask.schema
    out = np.zeros(after.shape, bool)
    for y in range(0, after.shape[0], BAND):
        rows = slice(y, y + BAND)
        out[rows] = (after.mask.array[rows] & np.uint32(after.mask.value("SAT"))) != 0
        if known and before.mask is not None:
            out[rows] &= (before.mask.array[rows] & np.uint32(before.mask.value("SAT"))) == 0
    return out


def _options(noise: str, variance: str, interpolated: str) -> None:
    for name, value, known in (
        ("noise", noise, tuple(NOISES)),
        ("variance", variance, ("auto", *CONVENTIONS)),
        ("interpolated", interpolated, INTERPOLATED),
    ):
        if value not in known:
            raise UsageError(f"{name}={value!r} is unknown", remedy=f"one of {', '.join(known)}")


def _calibrated(frame: Frame) -> None:
    if frame.raw:
        raise UsageError(
            "this frame is raw",
            where=frame.source or None,
            remedy="correct it first (fullwell isr), or put sources into raw frames by fw.inject.raw",
        )


def _keys(frame: Frame, sources: Sources, seed: int) -> NDArray[np.uint64]:
    """Key of the random numbers of each source: of its seed, or the common one, and of the exposure."""
    if not 0 <= seed < 2**63:
        raise UsageError(f"a seed of {seed} cannot be", remedy="a whole number from 0 to 2**63 - 1")
    obs = frame.observation
    exposure = int(content_id(obs.instrument, obs.exposure_id, obs.obs_id, obs.detector, obs.detector_id)[:16], 16)
    own = np.where(sources.seed >= 0, sources.seed, seed).astype(np.uint64)
    return mixed(mixed(own) ^ np.uint64(exposure))


def _together(again: Injected, sources: Sources, keys: NDArray[np.uint64]) -> tuple[Sources, NDArray[np.uint64]]:
    """The sources of two catalogues, sorted by id."""
    old = again.sources
    common = np.intersect1d(old.id, sources.id)
    if common.size:
        raise UsageError(
            f"{common.size} ids of the catalogue are in the frame already, the first is {common[0]}",
            remedy="ids tell the noise of sources apart: give other ids, or leave the column out",
        )
    order = np.argsort(np.concatenate([old.id, sources.id]), kind="stable")

    def joined(a: Any, b: Any, fill: Any = np.nan) -> Any:
        first = np.full(len(old), fill, object if fill == "" else float) if a is None else a
        second = np.full(len(sources), fill, object if fill == "" else float) if b is None else b
        return np.concatenate([first, second])[order]

    names = ("id", "seed", "kind", "x", "y", "ra", "dec", "flux", "mag", "draw_half", "status")
    shape = {
        k: joined(old.shape.get(k), sources.shape.get(k), "" if k == "stamp" else np.nan)
        for k in {**old.shape, **sources.shape}
    }
    carried = {k: joined(old.carried[k], sources.carried[k]) for k in old.carried if k in sources.carried}
    columns: dict[str, Any] = {name: joined(getattr(old, name), getattr(sources, name)) for name in names}
    both = content_id(*sorted((old.catalogue, sources.catalogue)))
    merged = Sources(**columns, shape=shape, carried=carried, catalogue=both)
    return merged, joined(again.keys, keys)


def _tell(sources: Sources, extents: NDArray[np.int64], frame: Frame) -> None:
    """A warning that counts the sources that are not drawn, by reason; some off the frame are no mistake, all are."""
    reasons = [bit for bit in Status if bit & UNDRAWN and bit not in (Status.NO_OVERLAP, Status.OTHER_BAND)]
    counts = {bit.name: int(np.count_nonzero(sources.status & int(bit))) for bit in reasons}
    found = [f"{n} {name}" for name, n in counts.items() if n]
    (x0, y0, x1, y1), box = extents.T, frame.box
    off = (x1 <= box.x0) | (x0 >= box.x1) | (y1 <= box.y0) | (y0 >= box.y1)
    if len(sources) and sources.drawn().any() and off[sources.drawn()].all():
        found.append(f"{int(sources.drawn().sum())} off the frame, {box},")
    if found:
        warnings.warn(
            f"{', '.join(found)} of {len(sources)} sources of the catalogue: not drawn, see 'status' of the truth",
            FullwellWarning,
            stacklevel=3,
        )


def _needs_psf(sources: Sources, psf: Psf | None, frame: Frame) -> None:
    if psf is None and sources.drawn().any():
        raise UsageError(
            "the frame has no PSF",
            where=frame.source or None,
            remedy='give psf=… (--psf): "moffat:4.0:3.5" (FWHM [pixel]), an image, or a function of (x, y)',
        )


def _prepared(frame: Frame, interpolated: str) -> Frame:
    """A copy in float32 with a mask that has our planes."""
    image = Plane(np.array(frame.image.array, np.float32), frame.box, frame.unit)
    variance = frame.variance
    if variance is not None:
        variance = Plane(np.array(variance.array, np.float32), frame.box, variance.unit)
    mask = Mask(np.zeros(frame.shape, np.uint32), frame.box) if frame.mask is None else frame.mask.copy()
    names = ["SAT", "INTRP", "NO_DATA", "INJECTED", "INJECTED_CORE"]
    if interpolated == "mark" and "INTRP" in mask.schema and _has(mask, "INTRP"):
        names.append("INJECTED_INTERP")
    for name in names:
        mask.add_plane(name)
    return replace(frame, image=image, variance=variance, mask=mask)


def _has(mask: Mask, name: str) -> bool:
    """Whether any pixel carries a plane."""
    value = np.uint32(mask.value(name))
    return any((mask.array[y : y + BAND] & value).any() for y in range(0, mask.shape[0], BAND))


def _bits(mask: Mask, interpolated: str) -> NDArray[np.uint32]:
    names = ("SAT", "INJECTED", "INJECTED_CORE", "INTRP", "INJECTED_INTERP", "NO_DATA")
    values = [mask.value(name) if name in mask.schema else 0 for name in names]
    return np.array([*values, int(interpolated == "mark")], np.uint32)


def _scales(sources: Sources, psf: Psf | None, aperture: float | None) -> NDArray[np.float64]:
    """1 over the part of the light of a star that lies within `aperture`; 1 where there is none."""
    out = np.ones(len(sources))
    if aperture is None or psf is None:
        return out
    if not aperture > 0:
        raise UsageError(f"an aperture of {aperture} pixels cannot be", remedy="its radius, above 0")

    def part(x: float, y: float) -> float:
        table = psf.table(x, y)
        at = (np.arange(table.shape[0]) - table.shape[0] // 2) / psf.sampling
        inside = np.clip(aperture + 0.5 - np.hypot(at[:, None], at[None, :]), 0, 1)
        return float((table * inside).sum() / table.sum())

    stars = np.nonzero(sources.kind == "star")[0]
    if psf.constant:
        out[stars] = 1 / part(0, 0)
    else:
        out[stars] = [1 / part(sources.x[i], sources.y[i]) for i in stars]
    return out


def _well(frame: Frame, saturation: Any) -> Any:
    """Rows of the frame -> full well of their pixels [electron], (1, 1) where it is one number; else infinite."""
    detector = frame.detector
    if isinstance(saturation, np.ndarray) and saturation.ndim == 2:
        if saturation.shape != frame.shape:
            raise UsageError(
                f"the full well has shape {saturation.shape}, the frame {frame.shape}", remedy="give one number"
            )
        whole = saturation.astype(np.float32, copy=False)
        return lambda rows: whole[rows]
    if isinstance(saturation, (int, float)):
        if not saturation > 0:
            raise UsageError(f"a full well of {saturation} electron cannot be", remedy="above 0, or None")
        return lambda rows: np.full((1, 1), saturation, np.float32)
    if saturation == "none" or (saturation is None and detector is None):
        return lambda rows: np.full((1, 1), math.inf, np.float32)
    if detector is None or not (saturation is None or isinstance(saturation, Mapping)):
        raise UsageError("a full well by amplifier needs a frame with a detector", remedy="give one number [electron]")
    levels = {amp.name: amp.saturation * amp.gain for amp in detector} if saturation is None else dict(saturation)
    parts = [(amp.trimmed, levels.get(amp.name, math.nan)) for amp in detector]
    box = frame.box

    def rows_of(rows: slice) -> NDArray[np.float32]:
        out = np.full((rows.stop - rows.start, box.width), np.inf, np.float32)
        for area, level in parts:
            y = slice(max(area.y0 - box.y0 - rows.start, 0), max(area.y1 - box.y0 - rows.start, 0))
            x = slice(max(area.x0 - box.x0, 0), max(area.x1 - box.x0, 0))
            out[y, x] = level if math.isfinite(level) else np.inf
        return out

    return rows_of


def _recorded(frame: Frame, sources: Sources, gain: EffectiveGain, settings: dict[str, Any]) -> Frame:
    """History and header cards: how many, by which seed, with which K."""
    drawn = sources.drawn()
    counts = {bit.name.lower(): int(np.count_nonzero(sources.status & int(bit))) for bit in Status if bit.name}
    counts = {name: n for name, n in counts.items() if n}
    numbers = {
        "sources": len(sources),
        "drawn": int(drawn.sum()),
        "catalogue": sources.catalogue,
        "k_method": gain.method,
        "k_rms": gain.rms if math.isfinite(gain.rms) else None,
        "status": counts,
    }
    told = "".join(f", {n} {name}" for name, n in counts.items())
    note = f"{numbers['drawn']} of {len(sources)} sources{told}; effective gain: {gain.method}"
    frame.metadata.update(
        {
            "INJECTED": True,
            "FW INJECT SOURCES": numbers["drawn"],
            "FW INJECT SEED": settings["seed"],
            "FW INJECT K METHOD": gain.method,
            "FW INJECT K RMS": round(gain.rms, 9) if math.isfinite(gain.rms) else "unknown",
            "FW INJECT CATALOGUE": sources.catalogue,
        }
    )
    return frame.with_history(Record("inject", config=settings, numbers=numbers, note=note))
