"""A look-alike of the repository of LSST's Data Preview 1: its names, dimensions, storage classes and file layouts.

The index names the formatters and Python types of the LSST library. These must be importable while the files are
entered, so a process of its own makes the repository with empty classes in their places; the caller never sees them.

::

    python tests/helpers/dp1.py FOLDER [RAW.fits …]
"""

from __future__ import annotations

import json
import subprocess
import sys
import types
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

DAY = 20241108
EXPOSURES = {2024110800241 + i: name for i, name in enumerate(("u_05", "g_01", "r_03", "i_06", "z_03", "y_04"))}
"""Exposure id (and visit) -> physical filter, one of each; 2024110800246 is y."""
DETECTORS = {0: "R22_S00", 4: "R22_S11"}
RAW_EXPOSURE = 2024110800246
CHAIN = "LSSTComCam/DP1"
CALIB = "LSSTComCam/calib/DM-48520"
SHAPE = (96, 128)
CORNER = (32, 16)
"""(x0, y0) of the visit images: these are parts of a detector, as a bounding box makes them."""
BITS = {"BAD": 0, "SAT": 1, "INTRP": 2, "CR": 3, "EDGE": 4, "DETECTED": 5, "SUSPECT": 11, "NO_DATA": 7, "STREAK": 9}
"""Bit numbers of the files, in part not those of fullwell, so that only ``MP_`` keys give the right planes."""
SEGMENTS = [f"Segment1{n}" for n in range(8)] + [f"Segment0{n}" for n in reversed(range(8))]


def level(physical_filter: str, detector: int) -> float:
    """Value of the pixel (0, 0) of the flat; other pixels add 1e-4 times their column."""
    return 0.9 + 0.01 * list(EXPOSURES.values()).index(physical_filter) + 0.001 * detector


def planes(start: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Image, mask and variance of SHAPE: a ramp, SUSPECT at [5, 7], SAT at [6, 8], variance half the image."""
    image = (start + 1e-4 * np.arange(SHAPE[1]) + np.zeros(SHAPE)).astype(np.float32)
    mask = np.zeros(SHAPE, np.int32)
    mask[5, 7], mask[6, 8] = 1 << BITS["SUSPECT"], 1 << BITS["SAT"]
    return image, mask, image / 2


def afw_file(
    path: Path, start: float, cards: dict[str, Any], *, corner: tuple[int, int] = (0, 0), form: str = "new"
) -> None:
    """An ExposureF as the LSST library writes it.

    form : "new" (EXTNAME), "compressed" (the same by tiles), "old" (by tiles, only EXTTYPE tells the planes apart), or
        "images" (the later lsst.images layout: MSKN cards, no archive).
    """
    from astropy.io import fits

    primary = fits.PrimaryHDU()
    for key, value in cards.items():
        primary.header[key if len(key) <= 8 else f"HIERARCH {key}"] = value
    if form != "images":
        primary.header.update(AR_HDU=5, PSF_ID=2)
        primary.header["HIERARCH DETECTOR_ID"] = 1
    hdus = fits.HDUList([primary])
    for name, array in zip(("IMAGE", "MASK", "VARIANCE"), planes(start), strict=True):
        header = fits.Header({"EXTTYPE": name, "INHERIT": True, "LTV1": -float(corner[0]), "LTV2": -float(corner[1])})
        header.update(CTYPE1A="LINEAR", CTYPE2A="LINEAR", CRPIX1A=1.0, CRPIX2A=1.0)
        header.update(CRVAL1A=float(corner[0]), CRVAL2A=float(corner[1]))
        header.update(CTYPE1="RA---TAN", CTYPE2="DEC--TAN", CRPIX1=64.0, CRPIX2=48.0, CRVAL1=53.1, CRVAL2=-28.1)
        header.update(CD1_1=-5.6e-5, CD1_2=0.0, CD2_1=0.0, CD2_2=5.6e-5)
        if name == "MASK":
            for plane, bit in BITS.items():
                header["HIERARCH MP_" + plane if form != "images" else f"MSKN{bit:04d}"] = (
                    bit if form != "images" else plane
                )
        if form in ("new", "images"):
            hdu = fits.ImageHDU(array, header, name=name)
        else:
            kind = "RICE_1" if name == "MASK" else "GZIP_2"
            hdu = fits.CompImageHDU(array, header, compression_type=kind, quantize_level=0.0)
            hdu.header["EXTNAME"] = name if form == "compressed" else "COMPRESSED_IMAGE"
        hdus.append(hdu)
    if form != "images":
        hdus += _archive()
    hdus.writeto(path, checksum=True)


def _archive() -> list[Any]:
    """Archive tables: an index and one object, of the right names and no meaning."""
    from astropy.io import fits

    columns = [fits.Column("id", "J", array=[1]), fits.Column("name", "16A", array=["Detector"])]
    columns.append(fits.Column("module", "32A", array=["lsst.afw.cameraGeom"]))
    index = fits.BinTableHDU.from_columns(columns, name="ARCHIVE_INDEX")
    index.header["EXTTYPE"] = "ARCHIVE_INDEX"
    data = fits.BinTableHDU.from_columns([fits.Column("gain", "E", array=[1.7])], name="ARCHIVE_DATA")
    data.header.update(EXTTYPE="ARCHIVE_DATA", AR_NAME="Detector")
    return [index, data]


def raw_file(path: Path, exposure: int, detector: int) -> None:
    """A raw file of ComCam by tiles under a plain name: 16 segments of full size, segment n at 20000 + n."""
    from astropy.io import fits

    name = DETECTORS[detector]
    seq = exposure % 100000
    primary = fits.PrimaryHDU()
    primary.header.update(
        {
            "INSTRUME": "ComCam", "TELESCOP": "Simonyi Survey Telescope", "CONTRLLR": "O", "DAYOBS": str(DAY),
            "OBSID": f"CC_O_{DAY}_{seq:06d}", "SEQNUM": seq, "IMGTYPE": "OBJECT", "EXPTIME": 30.0, "DARKTIME": 30.5,
            "DATE-BEG": "2024-11-09T06:00:00.000", "MJD-BEG": 60623.25, "TIMESYS": "TAI", "FILTER": EXPOSURES[exposure],
            "RAFTBAY": name[:3], "CCDSLOT": name[4:], "CCD_MANU": "ITL", "LSST_NUM": "ITL-3800C-229",
        }
    )  # fmt: skip
    hdus = fits.HDUList([primary])
    for n, segment in enumerate(SEGMENTS):
        hdu = fits.CompImageHDU(np.full((2048, 576), 20000 + n, np.int32), name=segment, compression_type="RICE_1")
        hdu.header.update(DATASEC="[4:512,1:2000]", DETSIZE="[1:4072,1:4000]")
        hdus.append(hdu)
    hdus.writeto(path)


def defect_file(path: Path) -> None:
    """Defects as FITS regions: a column of one pixel width at x = 20, y = 0 … 9."""
    from astropy.io import fits

    columns = [
        fits.Column("X", "D", array=[21.0]),
        fits.Column("Y", "D", array=[5.5]),
        fits.Column("SHAPE", "16A", array=["BOX"]),
        fits.Column("R", "2D", array=[[1.0, 10.0]]),
        fits.Column("ROTANG", "D", array=[0.0]),
    ]
    hdu = fits.BinTableHDU.from_columns(columns, name="DEFECTS")
    hdu.header["OBSTYPE"] = "defects"
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path)


def crosstalk_file(path: Path) -> None:
    """A crosstalk matrix whose coefficient of source i and target j is 1e-6 (16 i + j), without amplifier names."""
    from astropy.io import fits

    matrix = 1e-6 * np.arange(256.0)
    columns = [fits.Column("CT_COEFFS", "256D", array=[matrix]), fits.Column("CT_VALID", "256L", array=[matrix >= 0])]
    hdu = fits.BinTableHDU.from_columns(columns)
    hdu.header["OBSTYPE"] = "CROSSTALK"
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path)


def make_dp1(root: Path, *raws: Path) -> Path:
    """Make the repository in `root`, which must not exist.

    raws : files to enter as the raws of detectors 0 and 4, and nothing else; none: made-up files of every kind.
    """
    command = [sys.executable, __file__, str(root), *map(str, raws)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return root


@cache
def dp1_once(base: Path) -> Path:
    """The repository in `base`, made at the first call; for reading only."""
    return make_dp1(base / "dp1")


def _stand_ins() -> None:
    """Classes of the right names, for the time of making the index."""
    from lsst.daf.butler import FormatterV2

    names = {
        "lsst.obs.base.formatters.fitsExposure": ("FitsExposureFormatter", "FitsImageFormatter"),
        "lsst.obs.base.formatters.fitsGeneric": ("FitsGenericFormatter",),
        "lsst.obs.lsst.rawFormatter": ("LsstComCamRawFormatter",),
        "lsst.images.formatters": ("GenericFormatter",),
    }
    for module, classes in names.items():
        parts = module.split(".")
        for i in range(2, len(parts) + 1):
            part = sys.modules.setdefault(".".join(parts[:i]), types.ModuleType(".".join(parts[:i])))
            part.__path__ = []
        for one in classes:
            setattr(part, one, type(one, (FormatterV2,), {"__module__": module}))


FITS_EXPOSURE = "lsst.obs.base.formatters.fitsExposure.FitsExposureFormatter"
FITS_GENERIC = "lsst.obs.base.formatters.fitsGeneric.FitsGenericFormatter"
RAW_FORMATTER = "lsst.obs.lsst.rawFormatter.LsstComCamRawFormatter"
PARQUET = "lsst.daf.butler.formatters.parquet.ParquetFormatter"
TYPES = {
    "raw": (("instrument", "exposure", "detector"), "Exposure", False),
    "bias": (("instrument", "detector"), "ExposureF", True),
    "dark": (("instrument", "detector"), "ExposureF", True),
    "flat": (("instrument", "detector", "physical_filter"), "ExposureF", True),
    "defects": (("instrument", "detector"), "Defects", True),
    "crosstalk": (("instrument", "detector"), "CrosstalkCalib", True),
    "camera": (("instrument",), "Camera", True),
    "visit_image": (("instrument", "visit", "detector"), "ExposureF", False),
    "visit_image_new": (("instrument", "visit", "detector"), "VisitImage", False),
    "visit_table": (("instrument",), "ArrowAstropy", False),
    "isr_metadata": (("instrument", "exposure", "detector"), "TaskMetadata", False),
    "skyMap": (("instrument",), "SkyMap", False),
}
RUNS = {"raw": "LSSTComCam/raw/DP1", "visit_image": "LSSTComCam/runs/DRP/DP1/v29_0_0/DM-50260"}


def records(butler: Any) -> None:
    """Instrument, detectors, filters, one night of exposures and their visits."""
    from astropy.time import Time, TimeDelta
    from lsst.daf.butler import Timespan

    put, name = butler.registry.insertDimensionData, {"instrument": "LSSTComCam"}
    put("instrument", {"name": "LSSTComCam", "class_name": "lsst.obs.lsst.LsstComCam", "detector_max": 1000,
                       "exposure_max": 2**62, "visit_max": 2**62, "visit_system": 2})  # fmt: skip
    for number, full in DETECTORS.items():
        put("detector", {**name, "id": number, "full_name": full, "raft": full[:3], "name_in_raft": full[4:],
                         "purpose": "SCIENCE"})  # fmt: skip
    for physical in EXPOSURES.values():
        put("physical_filter", {**name, "name": physical, "band": physical[0]})
    put("day_obs", {**name, "id": DAY})
    for exposure, physical in EXPOSURES.items():
        begin = Time("2024-11-09T06:00:00", scale="tai") + TimeDelta(60.0 * (exposure % 100), format="sec")
        shared = {**name, "id": exposure, "day_obs": DAY, "physical_filter": physical, "exposure_time": 30.0,
                  "seq_num": exposure % 100000, "target_name": "ECDFS", "observation_reason": "field_survey",
                  "timespan": Timespan(begin, begin + TimeDelta(30.0, format="sec"))}  # fmt: skip
        text = f"CC_O_{DAY}_{exposure % 100000:06d}"
        put("group", {**name, "name": str(exposure)})
        put(
            "exposure",
            {**shared, "group": str(exposure), "obs_id": text, "dark_time": 30.5, "observation_type": "science"},
        )
        put("visit", {**shared, "name": text})


def _given(folder: Path, raws: list[Path]) -> Iterator[tuple[str, dict[str, Any], str, str]]:
    """As `_datasets`, for raw files that are there, under plain names."""
    for detector, raw in zip(DETECTORS, raws, strict=False):
        (folder / f"raw_{detector}.fits").write_bytes(raw.read_bytes())
        yield "raw", {"exposure": RAW_EXPOSURE, "detector": detector}, f"raw_{detector}.fits", RAW_FORMATTER


def _datasets(folder: Path) -> Iterator[tuple[str, dict[str, Any], str, str]]:
    """(dataset type, data id, file name in `folder`, formatter); the files are made on the way."""
    for detector in DETECTORS:
        for kind, start in (("bias", 0.5), ("dark", 0.02)):
            afw_file(
                folder / f"{kind}_{detector}.fits", start, {"OBSTYPE": kind, "LSST ISR UNITS": "adu"}, form="compressed"
            )
            yield kind, {"detector": detector}, f"{kind}_{detector}.fits", FITS_EXPOSURE
        for physical in EXPOSURES.values():
            cards = {"OBSTYPE": "flat", "FILTER": physical, "LSST ISR UNITS": "adu"}
            afw_file(folder / f"flat_{physical}_{detector}.fits", level(physical, detector), cards, form="old")
            yield (
                "flat",
                {"detector": detector, "physical_filter": physical},
                f"flat_{physical}_{detector}.fits",
                FITS_EXPOSURE,
            )
        for exposure, physical in EXPOSURES.items():
            cards = {"INSTRUME": "LSSTComCam", "FILTER": physical, "LSST CALIB RUN FLAT": f"{CALIB}/flatGen",
                     "DARKTIME": 30.5, "BUNIT": "nJy"}  # fmt: skip
            place = {"visit": exposure, "detector": detector}
            form = "new" if detector == 0 else "old"
            afw_file(folder / f"visit_{exposure}_{detector}.fits", 100.0 + detector, cards, corner=CORNER, form=form)
            yield "visit_image", place, f"visit_{exposure}_{detector}.fits", FITS_EXPOSURE
    last = {"visit": RAW_EXPOSURE, "detector": 0}
    afw_file(folder / "new.fits", 7.0, {"INSTRUME": "LSSTComCam"}, corner=CORNER, form="images")
    yield "visit_image_new", last, "new.fits", "lsst.images.formatters.GenericFormatter"
    for detector in DETECTORS:
        raw_file(folder / f"raw_{detector}.fits", RAW_EXPOSURE, detector)
        yield "raw", {"exposure": RAW_EXPOSURE, "detector": detector}, f"raw_{detector}.fits", RAW_FORMATTER
    yield from _others(folder)


def _others(folder: Path) -> Iterator[tuple[str, dict[str, Any], str, str]]:
    from astropy.io import fits
    from astropy.table import Table
    from lsst.daf.butler.formatters.parquet import astropy_to_arrow
    from pyarrow.parquet import write_table

    defect_file(folder / "defects.fits")
    yield "defects", {"detector": 0}, "defects.fits", FITS_GENERIC
    crosstalk_file(folder / "crosstalk.fits")
    yield "crosstalk", {"detector": 0}, "crosstalk.fits", FITS_GENERIC
    fits.HDUList([fits.PrimaryHDU(), *_archive()]).writeto(folder / "camera.fits")
    yield "camera", {}, "camera.fits", FITS_GENERIC
    table = Table({"visitId": list(EXPOSURES), "expTime": [30.0] * len(EXPOSURES)}, units={"expTime": "s"})
    write_table(astropy_to_arrow(table), folder / "visits.parq")
    yield "visit_table", {}, "visits.parq", PARQUET
    (folder / "metadata.json").write_text(json.dumps({"quantum": {"scalars": {"cpu": 1.5}}}))
    where = {"exposure": RAW_EXPOSURE, "detector": 0}
    yield "isr_metadata", where, "metadata.json", "lsst.daf.butler.formatters.json.JsonFormatter"
    (folder / "skymap.pickle").write_bytes(b"cos\nsystem\n(S'touch harm'\ntR.")
    yield "skyMap", {}, "skymap.pickle", "lsst.daf.butler.formatters.pickle.PickleFormatter"


def _main(root: Path, raws: list[Path]) -> None:
    from astropy.time import Time
    from lsst.daf.butler import Butler, CollectionType, DatasetRef, DatasetType, FileDataset, Timespan

    _stand_ins()
    Butler.makeRepo(str(root))
    butler = Butler.from_config(str(root), writeable=True)
    records(butler)
    kinds = {}
    for name, (dimensions, storage, certified) in TYPES.items():
        kinds[name] = DatasetType(name, dimensions, storage, universe=butler.dimensions, isCalibration=certified)
        butler.registry.registerDatasetType(kinds[name])
    files = root / "files"
    files.mkdir()
    butler.collections.register(CALIB, CollectionType.CALIBRATION)
    span = Timespan(Time("2024-10-01T00:00:00", scale="tai"), Time("2025-01-01T00:00:00", scale="tai"))
    for name, data_id, file, formatter in _given(files, raws) if raws else _datasets(files):
        kind = kinds[name]
        run = f"{CALIB}/{name}Gen/20250101T000000Z" if kind.isCalibration() else RUNS.get(name, RUNS["visit_image"])
        butler.collections.register(run)
        where = butler.registry.expandDataId(instrument="LSSTComCam", **data_id)
        ref = DatasetRef(kind, where.subset(kind.dimensions), run=run)
        butler.ingest(FileDataset(str(files / file), [ref], formatter=formatter), transfer=None)
        if kind.isCalibration():
            butler.registry.certify(CALIB, [ref], span)
    for run in RUNS.values():
        butler.collections.register(run)
    butler.collections.register(CHAIN, CollectionType.CHAINED)
    butler.collections.redefine_chain(CHAIN, [RUNS["visit_image"], RUNS["raw"], CALIB])


if __name__ == "__main__":
    _main(Path(sys.argv[1]), [Path(raw) for raw in sys.argv[2:]])
