"""The header and the observation of a simulated frame: what a camera's computer would have written."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from fullwell.frames import Frame, Observation
from fullwell.simulation.scenes import Scene
from fullwell.simulation.sensor import SensorModel

__all__ = ["describe", "evening", "instrument_of"]

START = datetime(2025, 1, 15)
DAY = 20250115
EPOCH = datetime(1858, 11, 17)
IMAGE_TYPES = {"bias": "bias", "dark": "dark", "flat": "flat", "science": "object"}


def describe(frame: Frame, scene: Scene, sensor: SensorModel, seed: int, observation: Observation | None) -> None:
    """Fill ``frame.metadata``, its comments and ``frame.observation`` in place; no gain is stated."""
    given = observation or Observation(instrument=instrument_of(sensor), seq_num=1)
    day = given.day_obs or DAY
    seq = max(given.seq_num, 0)
    obs_id = given.obs_id or _obs_id(sensor, day, seq)
    begin = given.begin or (evening(sensor, day) + timedelta(seconds=60.0 * seq)).isoformat(timespec="milliseconds")
    optics = _physical_filter(sensor, scene.band)
    moment = datetime.fromisoformat(begin)
    frame.observation = replace(
        given,
        detector=sensor.detector.name,
        detector_id=sensor.detector.id,
        exposure_id=given.exposure_id or _exposure_id(sensor, day, seq),
        obs_id=obs_id,
        day_obs=day,
        seq_num=seq,
        kind=scene.kind,
        filter=optics,
        band=scene.band,
        exposure_time=scene.time,
        dark_time=scene.collecting,
        begin=begin,
        mjd=(moment - EPOCH) / timedelta(days=1),
        temperature=sensor.config.temperature,
        set_temperature=sensor.config.temperature,
        object=scene.object or scene.kind,
    )
    frame.source = obs_id
    cards: dict[str, tuple[Any, str]] = {
        "INSTRUME": ("simulated", "camera"),
        "DETNAME": (sensor.detector.name, "name of the detector"),
        "DETECTOR": (sensor.detector.id, "number of the detector"),
        "OBSID": (obs_id, "id of the exposure"),
        "DAYOBS": (day, "day of observation, yyyymmdd"),
        "SEQNUM": (seq, "number within the day"),
        "IMAGETYP": (IMAGE_TYPES[scene.kind], "type of the exposure"),
        "EXPTIME": (scene.time, "[s] shutter open"),
        "DARKTIME": (scene.collecting, "[s] dark charge collected"),
        "FILTER": (optics, "filter"),
        "OBJECT": (scene.object or scene.kind, "what was observed"),
        "DATE-OBS": (begin, "begin of the exposure"),
        "TIMESYS": ("TAI", "time scale of DATE-OBS"),
        "CCD-TEMP": (sensor.config.temperature, "[Celsius] temperature of the sensor"),
        "SET-TEMP": (sensor.config.temperature, "[Celsius] temperature asked for"),
        "BUNIT": ("adu", "unit of the pixels"),
        **{key: (value, "") for key, value in sensor.cards.items()},
        **_rubin_cards(sensor, scene, day, begin),
        "SIMSEED": (seed, "seed of the simulated exposure"),
        "SIMSENS": (sensor.seed, "seed of the simulated sensor"),
    }
    frame.metadata.update({key: value for key, (value, _) in cards.items()})
    frame.comments.update({key: text for key, (_, text) in cards.items()})


def instrument_of(sensor: SensorModel) -> str:
    """The instrument by whose rules the frame's header is read."""
    name = str(sensor.cards.get("INSTRUME", "simulated"))
    return {"LSSTCamSim": "lsstcam", "LSSTComCam": "lsstcomcam", "demo": "demo"}.get(name, "generic")


def evening(sensor: SensorModel, day: int) -> datetime:
    """When the first exposure of an observing day begins; days of the Rubin telescope change at noon."""
    if "TELCODE" in sensor.cards:
        return datetime.strptime(str(day), "%Y%m%d") + timedelta(days=1)
    return START


def _obs_id(sensor: SensorModel, day: int, seq: int) -> str:
    """The camera's own name of an exposure: CC_O_20241108_000246."""
    if "TELCODE" in sensor.cards:
        return f"{sensor.cards['TELCODE']}_{sensor.cards['CONTRLLR']}_{day}_{seq:06d}"
    return f"{day}_{seq:05d}"


def _physical_filter(sensor: SensorModel, band: str) -> str:
    """The filter of a band: its name in the camera where that has names of its own (r_03), else the band."""
    if "TELCODE" not in sensor.cards:
        return band
    from fullwell import instruments

    bands = instruments.get(instrument_of(sensor)).bands
    return next((name for name, letter in bands.items() if letter == band), band)


def _rubin_cards(sensor: SensorModel, scene: Scene, day: int, begin: str) -> dict[str, tuple[Any, str]]:
    """What the camera's computer of the Rubin telescope writes beside or in place of the general cards."""
    if "TELCODE" not in sensor.cards:
        return {}
    end = datetime.fromisoformat(begin) + timedelta(seconds=scene.time)
    return {
        "DAYOBS": (str(day), "day of observation, yyyymmdd"),
        "IMGTYPE": (IMAGE_TYPES[scene.kind].upper(), "type of the exposure"),
        "FILTBAND": (scene.band, "band of the filter"),
        "DATE-BEG": (begin, "begin of the exposure"),
        "DATE-END": (end.isoformat(timespec="milliseconds"), "end of the exposure"),
        "CCDTEMP": (sensor.config.temperature, "[Celsius] temperature of the sensor"),
    }


def _exposure_id(sensor: SensorModel, day: int, seq: int) -> int:
    """The integer id that the header gives: cameras of the Rubin family have one, others 0."""
    if "CONTRLLR" not in sensor.cards:
        return 0
    from fullwell.instruments.rubin import exposure_id

    return exposure_id(day, seq, str(sensor.cards["CONTRLLR"]))
