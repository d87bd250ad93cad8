"""What a repository of ours consists of: dataset types, collections, paths, the configuration it is made with.

Everything here is data; `fullwell.repo.ondisk` holds the classes that the configuration names. A repository keeps
this configuration in its ``butler.yaml``, so that the plain ``Butler(path)`` of the library reads it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = [
    "DATASETS",
    "FOLDER_REPO",
    "PRODUCT_CLASSES",
    "Dataset",
    "calib_collection",
    "defaults_collection",
    "file_path",
    "file_uri",
    "gen_run",
    "raw_run",
    "safe",
    "seed_config",
    "user_chain",
]

FOLDER_REPO = ".fullwell/repo"
"""Where the index of a folder lies that was made a repository in place."""

ONDISK = "fullwell.repo.ondisk"

PRODUCT_CLASSES: Mapping[str, str] = {
    "bias": "FullwellBias",
    "dark": "FullwellDark",
    "flat": "FullwellFlat",
    "defects": "FullwellDefects",
    "gain": "FullwellGain",
    "ptc": "FullwellPtc",
    "crosstalk": "FullwellCrosstalk",
    "linearity": "FullwellLinearity",
}
"""Kind of product -> storage class that gives the product itself."""

_PYTYPES = {
    "FullwellBias": "fullwell.products.images.Bias",
    "FullwellDark": "fullwell.products.images.Dark",
    "FullwellFlat": "fullwell.products.images.Flat",
    "FullwellDefects": "fullwell.products.defects.Defects",
    "FullwellGain": "fullwell.products.gain.Gain",
    "FullwellPtc": "fullwell.products.ptc.Ptc",
    "FullwellCrosstalk": "fullwell.products.crosstalk.Crosstalk",
    "FullwellLinearity": "fullwell.products.linearity.Linearity",
}
_IMAGES = ("FullwellBias", "FullwellDark", "FullwellFlat")


@dataclass(frozen=True)
class Dataset:
    """A kind of dataset: its dimensions, how it is stored, whether it is a calibration, its suffix on disk."""

    name: str
    dimensions: tuple[str, ...]
    storage: str
    calibration: bool = False
    suffix: str = ".fits"


_DETECTOR = ("instrument", "detector")
DATASETS: Mapping[str, Dataset] = {
    d.name: d
    for d in (
        Dataset("raw", (*_DETECTOR, "exposure"), "FullwellFrame"),
        Dataset("bias", _DETECTOR, "FullwellFrame", True),
        Dataset("dark", _DETECTOR, "FullwellFrame", True),
        Dataset("flat", (*_DETECTOR, "physical_filter"), "FullwellFrame", True),
        Dataset("defects", _DETECTOR, "FullwellDefects", True, ".ecsv"),
        Dataset("gain", _DETECTOR, "FullwellGain", True, ".ecsv"),
        Dataset("ptc", _DETECTOR, "FullwellPtc", True),
        Dataset("crosstalk", _DETECTOR, "FullwellCrosstalk", True, ".ecsv"),
        Dataset("linearity", _DETECTOR, "FullwellLinearity", True, ".ecsv"),
        Dataset("post_isr_image", (*_DETECTOR, "exposure"), "FullwellFrame"),
        Dataset("run_record", ("instrument",), "FullwellRecord", False, ".json"),
    )
}
"""The dataset types that a new repository has."""


def safe(text: str) -> str:
    """`text` as a name of an instrument, filter or collection: letters, digits and ``+-._~#`` only."""
    return re.sub(r"[^A-Za-z0-9+._~#-]+", "_", text.strip()).strip("_") or "unknown"


def raw_run(instrument: str) -> str:
    """RUN of the raw frames."""
    return f"{instrument}/raw/all"


def calib_collection(instrument: str, setup: str = "") -> str:
    """CALIBRATION collection; `setup` tells apart the read-out modes of one instrument, "" for the first."""
    return f"{instrument}/calib/{safe(setup)}" if setup else f"{instrument}/calib"


def gen_run(instrument: str, stamp: str) -> str:
    """RUN of calibrations made at one time."""
    return f"{instrument}/calibgen/{stamp}"


def user_chain(user: str, recipe: str) -> str:
    """CHAINED collection of what a user made with a recipe, newest run first."""
    return f"u/{safe(user)}/{safe(recipe)}"


def defaults_collection(instrument: str) -> str:
    """CHAINED collection that a newcomer reads from: outputs, raws, calibrations."""
    return f"{instrument}/defaults"


def file_path(dataset: str, run: str, data_id: Mapping[str, Any]) -> str:
    """Path of a dataset below the root of the files; a person finds it by looking.

    A ``#``, which the library takes for the end of a path, is written HASH, as the library itself does.

    >>> file_path("flat", "Cam/calibgen/a", {"instrument": "Cam", "detector": 3, "physical_filter": "r_01"})
    'Cam/calibgen/a/flat/flat_Cam_r_01_3.fits'
    """
    parts = [str(data_id[k]) for k in ("instrument", "physical_filter", "exposure", "detector") if k in data_id]
    if dataset == "post_isr_image":
        parts = [str(data_id[k]) for k in ("instrument", "exposure", "detector")]
    folder = dataset if "day_obs" not in data_id else f"{dataset}/{data_id['day_obs']}"
    path = f"{run}/{folder}/{'_'.join([dataset, *map(safe, parts)])}{DATASETS[dataset].suffix}"
    return path.replace("#", "HASH")


def file_uri(path: str | os.PathLike[str]) -> str:
    """A file as the library takes it whatever its name: in a plain path it takes ``#`` and ``%41`` for a URI's."""
    return Path(os.path.abspath(path)).as_uri()


def _storage_classes() -> dict[str, Any]:
    planes = {"image": "FullwellPlane", "variance": "FullwellPlane", "mask": "FullwellMask"}
    frame: dict[str, Any] = {
        "pytype": "fullwell.frames.frame.Frame",
        "delegate": f"{ONDISK}.FrameDelegate",
        "components": {**planes, "metadata": "FullwellMetadata", "wcs": "FullwellWcs"},
        "parameters": ["bbox"],
        "converters": {_PYTYPES[name]: f"{ONDISK}.frame_of" for name in _IMAGES},
    }
    part = {"parameters": ["bbox"], "delegate": f"{ONDISK}.PlaneDelegate"}
    out: dict[str, Any] = {
        "FullwellFrame": frame,
        "FullwellPlane": {"pytype": "fullwell.frames.plane.Plane", **part},
        "FullwellMask": {"pytype": "fullwell.frames.plane.Mask", **part},
        "FullwellMetadata": {"pytype": "dict"},
        "FullwellWcs": {"pytype": "astropy.wcs.WCS"},
        "FullwellRecord": {"pytype": "dict"},
    }  # fmt: skip
    for name, pytype in _PYTYPES.items():
        out[name] = {"pytype": pytype}
        if name in _IMAGES:
            out[name]["converters"] = {
                "fullwell.frames.frame.Frame": f"{ONDISK}.{name.removeprefix('Fullwell').lower()}_of"
            }
    return out


def seed_config(*, db: str = "", namespace: str = "", files: str = "<butlerRoot>") -> dict[str, Any]:
    """The configuration of a new repository, as ``butler.yaml`` will hold it.

    Parameters
    ----------
    db : URL of a PostgreSQL database without password; "" for SQLite inside the repository.
    namespace : schema of the database. files : folder that relative paths of datasets start from.
    """
    formatters: dict[str, Any] = {
        "raw": f"{ONDISK}.RawFormatter",
        "FullwellFrame": f"{ONDISK}.FrameFormatter",
        "FullwellRecord": "lsst.daf.butler.formatters.json.JsonFormatter",
    }
    formatters.update({name: f"{ONDISK}.ProductFormatter" for name in _PYTYPES if name not in _IMAGES})
    formatters["FullwellPtc"] = f"{ONDISK}.TablesFormatter"
    registry: dict[str, Any] = {"db": db or "sqlite:///<butlerRoot>/gen3.sqlite3"}
    if namespace:
        registry["namespace"] = namespace
    ids = "{instrument:?}_{physical_filter:?}_{exposure:?}_{visit:?}_{detector:?}"
    return {
        "registry": registry,
        "storageClasses": _storage_classes(),
        "datastore": {
            "root": files,
            "formatters": formatters,
            "cached": {"default": False},
            "templates": {"default": "{run:/}/{datasetType}/{datasetType}_" + ids + "_{id}"},
        },
    }
