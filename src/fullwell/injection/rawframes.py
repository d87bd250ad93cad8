"""Sources put into raw frames, so that every correction sees them: crosstalk, non-linearity, gain, flat, saturation.

Model        collected electrons k ~ Poisson(flat * flux * PSF), laid where the amplifiers have the pixels; to adu
             by the gain, through the non-linearity at the level that the pixel has, and to the neighbours by
             crosstalk: the `add` of each effect. Integers are rounded up or down by chance, so that
             the mean is kept (a plain rounding would lose light below half a count), and cut at the largest count.
Assumes      the level of each amplifier is the median of its serial overscan, 0 where it has none.
References   injection note, A.3 ("where to inject").
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fullwell.base.errors import UsageError
from fullwell.base.provenance import Record, content_id
from fullwell.cameras import Detector
from fullwell.frames import Frame, Plane
from fullwell.injection.effective_gain import EffectiveGain
from fullwell.injection.inject import inject
from fullwell.kernels.random import uniforms

__all__ = ["InjectedRaw", "inject_raw"]

F4 = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class InjectedRaw:
    """A raw frame with sources in it: `frame`, `truth` (as of `inject`), `electrons` collected (ny, nx), assembled."""

    frame: Frame
    truth: Any
    electrons: F4
    before: Frame


def inject_raw(
    frame: Frame,
    catalog: Any,
    *,
    gain: Any = None,
    flat: Any = None,
    linearity: Any = None,
    crosstalk: Any = None,
    psf: Any = None,
    wcs: Any = None,
    photo: Any = None,
    seed: int = 0,
    noise: Any = "poisson",
    jobs: int = 1,
) -> InjectedRaw:
    """Put the sources of `catalog` into a raw frame; the frame given is not changed.

    Parameters
    ----------
    frame : raw [adu], with its detector. catalog : as of `inject`; places are those of the assembled detector, a column
        flux is in electron after the flat.
    gain : `Gain` product; None: the gains of the detector. flat, linearity, crosstalk : products; None: no such effect.
    psf, wcs, photo, seed, noise, jobs : as of `inject`; photo is nJy per electron after the flat.

    Raises
    ------
    UsageError
        the frame is not raw, or has no gain. Others as of `inject` and of the effects.
    """
    detector = frame.detector
    if not frame.raw or detector is None:
        raise UsageError(
            "this frame is no raw frame of a known detector",
            where=frame.source or None,
            remedy="inject takes corrected ones",
        )
    gains = _gain(detector, gain, frame)
    response = np.ones(detector.box.shape, np.float32) if flat is None else np.asarray(flat.image, np.float32)
    empty = Frame(
        Plane(np.zeros(detector.box.shape, np.float32), detector.box, "electron"),
        observation=frame.observation,
        psf=frame.psf,
        wcs=frame.wcs,
        photo_calib=frame.photo_calib,
        metadata=dict(frame.metadata),
        source=frame.source,
    )
    with np.errstate(divide="ignore"):
        k = np.where(response > 0, 1 / response, np.nan).astype(np.float32)
    drawn = inject(
        empty, catalog, gain=EffectiveGain(k, detector.box, "electron", "flat"), psf=psf, wcs=wcs, photo=photo,
        seed=seed, noise=noise, variance="none", saturation="none", jobs=jobs,
    )  # fmt: skip
    electrons = (drawn.frame.image.array * np.where(response > 0, response, 0)).astype(np.float32)
    added = _added(frame, detector, electrons, gains, linearity, crosstalk)
    image = frame.image.array
    values = image.astype(np.float64) + added
    if image.dtype.kind in "iu":
        limits = np.iinfo(image.dtype)
        values = np.clip(np.floor(values + _dither(frame, seed)), limits.min, limits.max)
    drawn.truth.meta["level"] = "raw"
    record = drawn.frame.history[-1]
    out = replace(
        frame,
        image=Plane(np.where(added != 0, values, image).astype(image.dtype), frame.box, frame.unit),
        metadata={**frame.metadata, "INJECTED": True, "FW INJECT SEED": seed, "FW INJECT LEVEL": "raw"},
    ).with_history(Record("inject raw", config=record.config, numbers=record.numbers, note=record.note))
    return InjectedRaw(out, drawn.truth, electrons, frame)


def _dither(frame: Frame, seed: int) -> NDArray[np.float64]:
    """A number inside (0, 1) for each pixel, of the seed and the exposure."""
    obs = frame.observation
    key = np.uint64(int(content_id(seed, obs.instrument, obs.exposure_id, obs.obs_id, obs.detector_id)[:16], 16))
    out, spare = np.empty(frame.shape), np.empty(frame.shape[1])
    for y in range(frame.shape[0]):
        uniforms(y, 0, 0, np.uint64(0), key, out[y], spare)
    return out


def _gain(detector: Detector, gain: Any, frame: Frame) -> Any:
    """The gain product; made of the detector's nominal gains where none is given."""
    from fullwell.products import Gain

    if gain is not None:
        return gain
    values, nan = detector.values("gain"), np.full(len(detector), np.nan)
    if not np.isfinite(values).all():
        raise UsageError(
            "the gain of the detector is not known", where=frame.source or None, remedy="give gain=…, a Gain product"
        )
    return Gain(
        amps=detector.names, gain=np.asarray(values, float), gain_error=nan, read_noise=nan, read_noise_error=nan,
        estimator="nominal",
    )  # fmt: skip


def _added(frame: Frame, detector: Detector, electrons: F4, gain: Any, linearity: Any, crosstalk: Any) -> F4:
    """What is added to the raw image [adu]."""
    from fullwell.effects import crosstalk as crosstalk_effect
    from fullwell.effects import gain as gain_effect
    from fullwell.effects import linearity as linearity_effect

    raw = Plane(_segments(detector, electrons, frame.shape), frame.box, "electron")
    light = Frame(raw, detector=detector, observation=frame.observation, raw=True)
    light = gain_effect.add(light, gain, without_method=True)
    if linearity is not None:
        seen = Plane(_above_overscan(frame, detector), frame.box, "adu")
        known = detector.with_values(gain=dict(zip(gain.amps, np.asarray(gain.gain).tolist(), strict=True)))
        true = linearity_effect.remove(Frame(seen, detector=known, observation=frame.observation, raw=True), linearity)
        more = replace(true, image=Plane(true.image.array + light.image.array, frame.box, "adu"))
        bent = [linearity_effect.add(f, linearity).image.array for f in (more, true)]
        values = np.where(light.image.array != 0, bent[0] - bent[1], 0)
        light = replace(light, image=Plane(values.astype(np.float32), frame.box, "adu"))
    if crosstalk is not None:
        light = crosstalk_effect.add(light, crosstalk)
    return np.nan_to_num(np.asarray(light.image.array, np.float32))


def _segments(detector: Detector, assembled: F4, shape: tuple[int, int]) -> F4:
    """An assembled image in the raw image: data boxes filled, overscans 0."""
    out = np.zeros(shape, np.float32)
    for amp in detector:
        segment = np.zeros(amp.shape, np.float32)
        segment[amp.data.slices] = amp.orientation.undo(assembled[amp.trimmed.slices])
        out[amp.raw.slices] = amp.raw_orientation.apply(segment)
    return out


def _above_overscan(frame: Frame, detector: Detector) -> F4:
    """The raw image less the median of the serial overscan of each amplifier [adu]."""
    out = frame.image.array.astype(np.float32)
    for amp in detector:
        if amp.serial_overscan.area:
            box = amp.raw_box("serial_overscan")
            out[amp.raw.slices] -= np.float32(np.median(frame.image.array[box.slices]))
    return out
