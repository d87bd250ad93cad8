"""A repository of simulated LSSTComCam exposures in six bands, sensors of full size: raws, products, frames."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from fullwell import instruments, io
from fullwell.frames import Observation
from fullwell.pipeline.driver import Options
from fullwell.pipeline.executors import open_executor
from fullwell.pipeline.plan import make_plan
from fullwell.pipeline.recipes import TASK_SPECS, Recipe
from fullwell.pipeline.runs import execute
from fullwell.repo.ingest import ingest
from fullwell.repo.layout import calib_collection, defaults_collection, raw_run
from fullwell.repo.repository import Repository, create
from fullwell.simulation import BiasScene, FlatScene, Scene, ScienceScene, SensorModel, StarField, sensor_of, simulate

INSTRUMENT = "LSSTComCam"
DAY = 20241108
BANDS = "ugrizy"
FILTERS = {"u": "u_05", "g": "g_01", "r": "r_03", "i": "i_06", "z": "z_03", "y": "y_04"}
FIRST = 246
"""Number of the first science exposure, in u; the other bands follow."""
COLLECTION = f"{INSTRUMENT}/DP1"
DETECTORS = ("R22_S00", "R22_S11")
"""The first has all six bands, the second only r."""
EFFECTS = ("flat", "bias", "shot_noise", "overscan_serial", "read_noise", "quantisation", "defects")
"""What acts on the simulated frames: the rest takes more time than all of these, and nothing is asked of it."""
GAIN = replace(TASK_SPECS["gain"], where="physical_filter IN ('r_03', 'unknown')")
CALIBS = Recipe("calibs", (GAIN, TASK_SPECS["bias"], TASK_SPECS["flat"]))
ISR = Recipe("isr", (TASK_SPECS["isr"],))


def number(band: str) -> int:
    """Id of the science exposure of a band."""
    return DAY * 100_000 + FIRST + BANDS.index(band)


def sensor(name: str) -> SensorModel:
    """The sensor of a detector, with fixed patterns of its own."""
    camera = instruments.get("lsstcomcam").camera
    assert camera is not None
    return sensor_of("lsst-comcam", camera[name].id, detector=camera[name])


def exposures(bands: str) -> dict[int, Scene]:
    """Number within the day -> scene: two biases, a flat and a science exposure of each band, a second flat of r."""
    out: dict[int, Scene] = {1: BiasScene(), 2: BiasScene()}
    for band in bands:
        for seq in (10, 11) if band == "r" else (12 + BANDS.index(band),):
            out[seq] = FlatScene(level=30000.0, band=band, time=5.0)
        stars = StarField(n=60, flux_min=300.0, flux_max=30000.0, seed=5)
        out[FIRST + BANDS.index(band)] = ScienceScene(sky=20.0, stars=stars, band=band, time=30.0)
    return out


def write_raws(folder: Path) -> list[Path]:
    """The raw files, named as the camera names them."""
    folder.mkdir(parents=True)
    made = []
    for name in DETECTORS:
        model = sensor(name)
        for seq, scene in exposures(BANDS if name == DETECTORS[0] else "r").items():
            seen = Observation(instrument="lsstcomcam", day_obs=DAY, seq_num=seq)
            seed = 1000 * model.detector.id + seq
            frame = simulate(scene, model, seed=seed, effects=EFFECTS, observation=seen).frame
            made.append(folder / f"{frame.observation.obs_id}_{name}.fits")
            io.write_raw(frame, made[-1])
    return made


def run(repo: Repository, recipe: Recipe, where: str = "") -> None:
    """Carry out a recipe; all of its jobs succeed."""
    plan = make_plan(repo, recipe, instrument=INSTRUMENT, where=where)
    worker = open_executor("inline")
    try:
        done = execute(repo, plan, worker, Options(label=recipe.name))
    finally:
        worker.close()
    assert not done.exit_code, done.failures


def make_dp1(folder: Path) -> Path:
    """The repository `folder`, whose collection `COLLECTION` holds raws, calibrations and two corrected frames."""
    from lsst.daf.butler import CollectionType

    raws = write_raws(folder.parent / "raws")
    with create(folder) as repo:
        assert len(ingest(repo, raws).entered) == len(raws)
        run(repo, CALIBS)
        run(repo, ISR, f"exposure IN ({number('u')}, {number('r')})")
        collections = repo.butler.collections
        outputs = [c for c in collections.get_info(defaults_collection(INSTRUMENT)).children if c.startswith("u/")]
        collections.register(COLLECTION, CollectionType.CHAINED)
        collections.redefine_chain(COLLECTION, [*outputs, raw_run(INSTRUMENT), calib_collection(INSTRUMENT)])
    return folder
