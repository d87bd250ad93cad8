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
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fullwell.base.errors import FileError, HeaderError, UsageError
from fullwell.cameras import Box
from fullwell.frames import Frame, Mask, Observation, Plane

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
    try:
        with uri.as_local() as local:
            if not member:
                if not local.exists():
                    raise FileNotFoundError(local.ospath)
                yield local.ospath
                return
            with zipfile.ZipFile(local.ospath) as pack, local.temporary_uri(suffix=_suffix(member)) as out:
                out.write(pack.read(member))
                yield out.ospath
    except (FileNotFoundError, KeyError, zipfile.BadZipFile) as error:
        raise FileError(
            f"the file of this {what} is gone or damaged",
            where=uri.ospath if uri.isLocal else str(uri),
            remedy="the repository names it, so it was moved or deleted: put it back",
            code="FW183",
        ) from error


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
        frame = _frame(path, dataset, data_id, records or {})
        return _part(frame, component, _cut(frame.box, bbox, origin), data_id)
    if _one_of(storage, _PLANES + _MASKS) and component is None:
        plane = _plane(path, _one_of(storage, _MASKS))
        cut = _cut(plane.box, bbox, origin)
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


def _cut(box: Box, bbox: Any, origin: str) -> Box | None:
    from fullwell.repo.ondisk import as_box

    wanted = as_box(bbox)
    if wanted is None or origin == "PARENT":
        return wanted
    if origin != "LOCAL":
        raise UsageError(f"origin {origin!r} is unknown", remedy="it is PARENT or LOCAL")
    return wanted.shifted(box.x0, box.y0)


def _frame(path: str, dataset: str, data_id: Mapping[str, Any], records: Mapping[str, Any]) -> Frame:
    """A frame: raw, or in the layout of the LSST library."""
    from fullwell import io
    from fullwell.repo.raws import read_raw

    frame = read_raw(path, int(data_id["detector"])) if dataset == "raw" else io.read(path)
    if frame.observation == Observation():
        frame.observation = _observation(path, data_id, records)
    schema = _newer_planes(path) if frame.mask is not None and not frame.raw else {}
    if frame.mask is not None and schema:
        frame.mask = Mask(frame.mask.array, frame.mask.box, schema=schema)
    return frame


def _newer_planes(path: str) -> dict[str, int]:
    """Mask plane -> bit number of a file of ``lsst.images``: cards ``MSKNnnnn``; empty where there are none."""
    from fullwell import io

    for hdu in io.read_headers(path):
        if hdu.name.upper() == "MASK":
            return {str(value): int(key[4:]) for key, value in hdu.header.items() if re.fullmatch(r"MSKN\d{4}", key)}
    return {}


def _observation(path: str, data_id: Mapping[str, Any], records: Mapping[str, Any]) -> Observation:
    """What the header says, overruled by the records of the repository, which are what the data were found by."""
    from fullwell import instruments, io
    from fullwell.repo.dimensions import instrument_of

    known: dict[str, Any] = {}
    for key, name in (("detector", "detector_id"), ("physical_filter", "filter"), ("band", "band")):
        if data_id.get(key) is not None:
            known[name] = data_id[key]
    number = data_id.get("exposure", data_id.get("visit"))
    seen = Observation()
    if number is not None:
        known["exposure_id"] = int(number)
        headers = io.read_headers(path)
        try:
            seen = instruments.identify(headers).observation(headers)
        except HeaderError:
            seen = Observation()
    if "instrument" in data_id:
        known["instrument"] = instrument_of(str(data_id["instrument"]))
    return replace(seen, **known, **_recorded(records))


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
    fields = {
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
    out.update({ours: getattr(exposure, k) for k, ours in fields.items() if getattr(exposure, k, None) is not None})
    span = getattr(exposure, "timespan", None)
    begin: Any = getattr(span, "begin", None)
    if hasattr(begin, "tai"):
        out.update(begin=str(begin.tai.isot), mjd=float(begin.tai.mjd))
    return out


def _part(frame: Frame, component: str | None, cut: Box | None, data_id: Mapping[str, Any]) -> Any:
    """The frame, the sub-image, or the component."""
    if component == "wcs":
        return _wcs(frame, cut)
    if cut is not None:
        frame = frame[cut]
    if component is None:
        return frame
    if component in ("image", "mask", "variance", "metadata", "detector"):
        return getattr(frame, component)
    seen, box = frame.observation, frame.box
    plain = {
        "filter": seen.filter,
        "visitInfo": seen,
        "bbox": box,
        "dimensions": (box.width, box.height),
        "xy0": (box.x0, box.y0),
    }
    if component not in plain:
        raise UsageError(
            f"the component '{component}' is kept in archive tables of the LSST library, which are not decoded",
            where=frame.source,
            remedy=f"can be read: {', '.join(COMPONENTS)}",
        )
    return plain[component]


def _wcs(frame: Frame, cut: Box | None) -> Any:
    """The celestial coordinates of the header, an `astropy.wcs.WCS` of the (sub-)image's pixels; None without any."""
    import warnings

    from astropy.wcs import WCS, FITSFixedWarning

    from fullwell.io.layout import header_of, is_wcs

    if frame.wcs is None and "CTYPE1" not in frame.metadata:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FITSFixedWarning)
        found = frame.wcs or WCS(header_of({k: v for k, v in frame.metadata.items() if is_wcs(k)}))
    return found if cut is None else found[cut.shifted(-frame.box.x0, -frame.box.y0).slices]


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
    if kind == "crosstalk":
        names = _amplifiers(data_id)
        if names:
            more["amps"] = names
    product = io.read_product(path, kind, **more)
    if product.observation == Observation():
        known = {k: v for k, v in _recorded(records).items() if k in ("detector", "filter", "band")}
        product = replace(product, observation=replace(_named(data_id), **known))
    return product


def _named(data_id: Mapping[str, Any]) -> Observation:
    from fullwell.repo.dimensions import instrument_of

    number = int(data_id["detector"]) if "detector" in data_id else 0
    return Observation(instrument=instrument_of(str(data_id["instrument"])), detector_id=number)


def _amplifiers(data_id: Mapping[str, Any]) -> tuple[str, ...]:
    """Amplifier names of the detector, in the order of the camera's description; empty where it is not described."""
    from fullwell import instruments
    from fullwell.repo.dimensions import instrument_of

    camera = instruments.get(instrument_of(str(data_id["instrument"]))).camera
    for detector in camera or ():
        if detector.id == data_id["detector"]:
            return tuple(amp.name for amp in detector)
    return ()


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
