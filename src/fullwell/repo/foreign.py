"""Datasets of repositories that the LSST library made, read without that library.

What a dataset is follows from the name of its storage class, which the repository states as plain text; the class
behind the name is never imported, nothing is unpickled, and no YAML tag makes an object. The file is found by
the public interface of the Butler and read by `fullwell.io`.

==========================================  ==========================================================
storage class                               what is given
==========================================  ==========================================================
Exposure…, MaskedImage…, VisitImage, …      `Frame`
Image…, DecoratedImage…                     `Plane`
Mask…                                       `Mask`
Defects, Linearizer, CrosstalkCalib, …      product
ArrowAstropy, DataFrame, AstropyTable, …    `astropy.table.Table`
StructuredDataDict, TaskMetadata, …         dict or list
==========================================  ==========================================================
"""

from __future__ import annotations

import math
import re
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fullwell.base.errors import FileError, HeaderError, UsageError
from fullwell.cameras import Box, Detector
from fullwell.frames import Mask, Observation, Plane

if TYPE_CHECKING:
    from lsst.daf.butler import Butler, DatasetRef
    from lsst.resources import ResourcePath

__all__ = ["COMPONENTS", "KINDS", "read_dataset", "read_file"]

_FRAMES = ("Exposure", "MaskedImage", "VisitImage", "DifferenceImage")
_PLANES = ("Image", "DecoratedImage")
_MASKS = ("Mask",)
_TYPES = "(?:F|D|I|U|L|X|V2)?"
_PARQUET = ("ArrowAstropy", "ArrowTable", "ArrowNumpy", "ArrowNumpyDict", "DataFrame")

KINDS: Mapping[str, str | None] = {
    "Defects": "defects",
    "Linearizer": "linearity",
    "CrosstalkCalib": "crosstalk",
    "IsrCalib": None,
    "PhotonTransferCurveDataset": None,
    "BrighterFatterKernel": None,
}
"""Storage class of a calibration -> kind of product; None where the file says which it is."""

COMPONENTS = ("image", "mask", "variance", "metadata", "wcs", "filter", "visitInfo", "detector", "bbox", "dimensions",
              "xy0")  # fmt: skip
"""Components of a frame that can be had, by the names that the LSST library gives them."""

_TREES = ("StructuredDataDict", "StructuredDataList", "TaskMetadata", "PropertyList", "PropertySet")


def _one_of(storage: str, names: tuple[str, ...]) -> bool:
    return any(re.fullmatch(name + _TYPES, storage) for name in names)


def read_dataset(butler: Butler, ref: DatasetRef, component: str | None = None, bbox: Any = None) -> Any:
    """The object that a dataset of an LSST-made repository holds.

    Parameters
    ----------
    butler : of the library, or `Repository.butler`. ref : the dataset, or a component of it.
    component : one of `COMPONENTS`, of a frame only.
    bbox : sub-image: `Box`, (x0, y0, width, height), or an object with ``getMinX``, in the coordinates of the frame.

    Raises
    ------
    FileError
        the file is gone, damaged, in pieces, or of a kind that is not known here; names the file.
    UsageError
        a component that is not there, or a sub-image of what is no image.
    """
    if ref.isComponent():
        component, ref = component or ref.datasetType.component(), ref.makeCompositeRef()
    kind = ref.datasetType
    try:
        uris = butler.getURIs(ref)
    except FileNotFoundError as error:
        raise FileError(
            f"the repository has no file for this {kind.name}",
            where=str(ref),
            remedy="the index was copied without its files? fetch the dataset from where it was made",
            code="FW184",
        ) from error
    if uris.primaryURI is None:
        raise FileError(
            f"this {kind.name} is stored in pieces: {', '.join(sorted(uris.componentURIs))}",
            where=str(next(iter(uris.componentURIs.values()), ref)),
            remedy="read the files one by one with fullwell.read",
            code="FW184",
        )
    full = butler.registry.expandDataId(ref.dataId)
    records = {name: full.records[name] for name in full.dimensions.elements if full.records[name] is not None}
    with _local(uris.primaryURI, kind.name) as path:
        return read_file(path, kind.storageClass_name, kind.name, dict(full.mapping), component, bbox, records=records)


@contextmanager
def _local(uri: ResourcePath, what: str) -> Iterator[str]:
    """Path of a file on this machine: fetched, or taken out of a zip file, where it has to be."""
    member = uri.unquoted_fragment.removeprefix("zip-path=") if uri.fragment.startswith("zip-path=") else ""
    with ExitStack() as stack:
        try:
            local = stack.enter_context(uri.as_local())
            if not local.exists():
                raise FileNotFoundError(local.ospath)
            if member:
                with zipfile.ZipFile(local.ospath) as pack:
                    content = pack.read(member)
                local = stack.enter_context(local.temporary_uri(suffix=_suffix(member)))
                local.write(content)
        except (FileNotFoundError, KeyError, zipfile.BadZipFile) as error:
            raise FileError(
                f"the file of this {what} is gone or damaged",
                where=uri.ospath if uri.isLocal else str(uri),
                remedy="the repository names it, so it was moved or deleted: put it back",
                code="FW183",
            ) from error
        yield local.ospath


def _suffix(name: str) -> str:
    stem, dot, end = name.rpartition(".")
    return f"{dot}{end}" if stem else ""


def read_file(
    path: str,
    storage: str,
    dataset: str,
    data_id: Mapping[str, Any],
    component: str | None = None,
    bbox: Any = None,
    *,
    origin: str = "PARENT",
    records: Mapping[str, Any] | None = None,
) -> Any:
    """What a file holds that is stored as `storage`, the name of a storage class of the LSST library.

    Parameters
    ----------
    path : of the file on this machine. dataset : name of the dataset type ("raw", "flat" …). data_id : whose it is.
    component, bbox : see `read_dataset`.
    origin : "PARENT", or "LOCAL" where `bbox` counts from the corner of the stored image.
    records : dimension name -> record; with them the frame's observation has times and types.

    Raises
    ------
    FileError, UsageError
        see `read_dataset`.
    """
    whole = component is None and bbox is None
    if _one_of(storage, _FRAMES):
        return _frame_part(path, component, bbox, origin, data_id, records or {})
    if _one_of(storage, _PLANES + _MASKS) and component is None:
        plane = _plane(path, _one_of(storage, _MASKS))
        cut = _cut(bbox, origin, (plane.box.x0, plane.box.y0))
        return plane if cut is None else plane[cut]
    if storage == "Camera":
        raise FileError(
            "a camera is stored as archive tables of the LSST library, which are not decoded",
            where=path,
            remedy="fullwell.instruments.get('lsstcam').camera describes it, and raw frames bring their .detector",
            code="FW185",
        )
    known = storage in KINDS or storage in _TREES or storage in _PARQUET or storage in ("AstropyTable", "AstropyQTable")
    if not known:
        raise FileError(
            f"a {dataset} is stored as '{storage}', which is not known here",
            where=path,
            remedy="the file is as the LSST library wrote it: open it with that library",
            code="FW185",
        )
    if not whole:
        raise UsageError(f"a {dataset} is no frame: it has no components and no sub-images", where=path)
    if storage in KINDS:
        return _product(path, KINDS[storage], data_id, records or {})
    return _tree(path) if storage in _TREES else _table(path)


def _cut(bbox: Any, origin: str, corner: tuple[int, int]) -> Box | None:
    """The sub-image in the coordinates of the whole; `corner` is (x0, y0) of what is stored."""
    from fullwell.repo.ondisk import as_box

    wanted = as_box(bbox)
    if origin not in ("PARENT", "LOCAL"):
        raise UsageError(f"origin {origin!r} is unknown", remedy="it is PARENT or LOCAL")
    return wanted if wanted is None or origin == "PARENT" else wanted.shifted(*corner)


def _stored(path: str, component: str | None, box: Box | None, data_id: Mapping[str, Any]) -> Any:
    """`fullwell.io.read_part`; of a file with several detectors the one of the data id."""
    from fullwell import io

    try:
        return io.read_part(path, component, box)
    except HeaderError as error:
        if "detectors" not in error.problem or "detector" not in data_id:
            raise
        return io.read_part(path, component, box, detector=int(data_id["detector"]))


def _frame_part(
    path: str, component: str | None, bbox: Any, origin: str, data_id: Mapping[str, Any], records: Mapping[str, Any]
) -> Any:
    """A frame, raw or in the layout of the LSST library, or its sub-image, or a component; no more is read."""
    from fullwell.io.partial import COMPONENTS as PIXELS

    if component is not None and component not in COMPONENTS:
        raise UsageError(
            f"the component '{component}' is kept in archive tables of the LSST library, which are not decoded",
            where=path,
            remedy=f"can be read: {', '.join(COMPONENTS)}",
        )
    corner = (0, 0)
    if origin == "LOCAL":
        header = _stored(path, "metadata", None, data_id)
        corner = int(header.get("FWX0", 0)), int(header.get("FWY0", 0))
    cut = _cut(bbox, origin, corner)
    if component in PIXELS:
        return _stored(path, component, cut, data_id)
    frame = _stored(path, None, cut, data_id)
    if frame.observation == Observation():
        frame.observation = _observation(path, data_id, records)
    seen, box = frame.observation, frame.box
    plain = {
        None: frame,
        "detector": frame.detector,
        "filter": seen.filter,
        "visitInfo": seen,
        "bbox": box,
        "dimensions": (box.width, box.height),
        "xy0": (box.x0, box.y0),
    }
    return plain[component]


def _observation(path: str, data_id: Mapping[str, Any], records: Mapping[str, Any]) -> Observation:
    """What the header says, overruled by the data id and its records, which are what the data were found by."""
    from fullwell import instruments, io

    seen = _named(data_id)
    number = data_id.get("exposure", data_id.get("visit"))
    known: dict[str, Any] = {k: getattr(seen, k) for k in ("instrument", "detector", "detector_id")}
    if number is not None:
        known["exposure_id"] = int(number)
        headers = io.read_headers(path)
        try:
            seen = instruments.identify(headers).observation(headers)
        except HeaderError:
            seen = Observation()
    known.update({k: data_id[name] for k, name in _FILTER.items() if data_id.get(name) is not None})
    return replace(seen, **{**known, **_recorded(records)})


_FILTER = {"filter": "physical_filter", "band": "band"}
_EXPOSURE = {
    "obs_id": "obs_id",
    "day_obs": "day_obs",
    "seq_num": "seq_num",
    "observation_type": "kind",
    "exposure_time": "exposure_time",
    "dark_time": "dark_time",
    "target_name": "object",
    "observation_reason": "reason",
    "group": "group",
}
"""Field of an exposure record -> field of an observation."""


def _recorded(records: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of an observation that the records know. Old repositories lack some, which then stay as they were."""
    out: dict[str, Any] = {}
    if (detector := records.get("detector")) is not None:
        out["detector"] = detector.full_name
    if (chosen := records.get("physical_filter")) is not None:
        out.update(filter=chosen.name, band=chosen.band or "")
    exposure = records.get("exposure", records.get("visit"))
    if exposure is None:
        return out
    if "exposure" not in records:
        out.update(kind="science", obs_id=exposure.name)
    out.update({v: getattr(exposure, k) for k, v in _EXPOSURE.items() if getattr(exposure, k, None) is not None})
    begin: Any = getattr(getattr(exposure, "timespan", None), "begin", None)
    if hasattr(begin, "tai"):
        out.update(begin=str(begin.tai.isot), mjd=float(begin.tai.mjd))
    return out


def _plane(path: str, mask: bool) -> Plane:
    """The first image of a file, with the corner that its LTV keys state."""
    from fullwell.io.fitsfile import open_fits
    from fullwell.io.layout import mask_of

    with open_fits(path) as file:
        images = file.images()
        if not images:
            raise FileError("the file holds no image", where=path, remedy="fetch or write it again", code="FW103")
        hdu = images[0]
        array, where = file.pixels(hdu), f"{path}, {hdu.label}"
        if array.ndim != 2:
            raise HeaderError(f"the image has {array.ndim} axes, not two", where=where, code="FW132")
        shifts = [hdu.header.get(key, 0.0) for key in ("LTV1", "LTV2")]
        x0, y0 = (round(-s) if isinstance(s, (int, float)) and math.isfinite(s) else 0 for s in shifts)
        box = Box(x0, y0, array.shape[1], array.shape[0])
        if not mask:
            return Plane(array, box, str(hdu.header.get("BUNIT", "")))
        named = mask_of(array, hdu.header, where)
        return Mask(named.array, box, schema=named.schema)


def _product(path: str, kind: str | None, data_id: Mapping[str, Any], records: Mapping[str, Any]) -> Any:
    """A calibration product; a crosstalk matrix gets the amplifier names of the camera, which its file lacks."""
    from fullwell import io

    more: dict[str, Any] = {}
    described = _described(data_id)
    if kind == "crosstalk" and described is not None:
        more["amps"] = tuple(amp.name for amp in described)
    product = io.read_product(path, kind, **more)
    if product.observation == Observation():
        known = {k: v for k, v in _recorded(records).items() if k in ("detector", "filter", "band")}
        product = replace(product, observation=replace(_named(data_id), **known))
    return product


def _named(data_id: Mapping[str, Any]) -> Observation:
    """Instrument and detector of a data id, by the names that fullwell knows them by."""
    from fullwell.repo.dimensions import instrument_of

    number = int(data_id.get("detector", 0))
    described = _described(data_id)
    return Observation(
        instrument=instrument_of(str(data_id["instrument"])),
        detector=str(number) if described is None else described.name,
        detector_id=number,
    )


def _described(data_id: Mapping[str, Any]) -> Detector | None:
    """The detector in the description of its camera; its amplifiers have the order of the LSST library's."""
    from fullwell import instruments
    from fullwell.repo.dimensions import instrument_of

    camera = instruments.get(instrument_of(str(data_id["instrument"]))).camera
    return next((d for d in camera or () if d.id == data_id.get("detector")), None)


def _table(path: str) -> Any:
    """A table: Parquet, ECSV or FITS by what the file begins with."""
    from fullwell.io.fitsfile import decoding, sniff

    what = sniff(path)
    with open(path, "rb") as handle:
        parquet = handle.read(4) == b"PAR1"
    with decoding(path, "the table"):
        from astropy.table import Table

        if parquet:
            from lsst.daf.butler.formatters.parquet import arrow_to_astropy
            from pyarrow.parquet import read_table

            return arrow_to_astropy(read_table(path))
        return Table.read(path, format="ascii.ecsv" if what == "ecsv" else "fits")


def _tree(path: str) -> Any:
    """A dict or list of a JSON or YAML file; YAML that asks for objects of other classes is refused."""
    import json

    import yaml

    from fullwell.io.fitsfile import decoding

    with decoding(path, "the text"), open(path, encoding="utf-8") as handle:
        return json.load(handle) if path.endswith(".json") else yaml.safe_load(handle)
