"""Classes whose dotted names repositories store: an interface on disk that is never renamed.

Formatters read and write files for the library; delegates take a frame apart; the instrument classes are
what dimension records name. ``fullwell.repo.layout`` says which is used for what.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lsst.daf.butler import DatasetProvenance, FormatterV2, StorageClassDelegate

from fullwell.cameras import Box
from fullwell.frames import Frame, Mask, Plane
from fullwell.products import Bias, Dark, Flat, ImageProduct

__all__ = [
    "FrameDelegate",
    "FrameFormatter",
    "FullwellInstrument",
    "PlaneDelegate",
    "ProductFormatter",
    "RawFormatter",
    "TablesFormatter",
    "bias_of",
    "dark_of",
    "flat_of",
    "frame_of",
]

FITS_SUFFIXES = frozenset({".fits", ".fit", ".fts", ".fits.gz", ".fit.gz", ".fts.gz", ".fits.fz", ".fz"})
PICTURE_SUFFIXES = frozenset({".png", ".tif", ".tiff"})
COMPONENTS = ("image", "variance", "mask", "metadata", "wcs")


def as_box(value: Any) -> Box | None:
    """A sub-image as `Box`: one of ours, (x0, y0, width, height), or an object with ``getMinX`` and the like."""
    if value is None or isinstance(value, Box):
        return value
    if hasattr(value, "getMinX"):
        return Box(value.getMinX(), value.getMinY(), value.getWidth(), value.getHeight())
    return Box(*(int(v) for v in value))


class FrameDelegate(StorageClassDelegate):
    """Takes frames apart for the library: components, and the parameter `bbox`."""

    def getComponent(self, composite: Frame, componentName: str) -> Any:
        """One component of a frame held in memory."""
        if componentName not in COMPONENTS:
            raise AttributeError(f"a frame has no component '{componentName}'; it has {', '.join(COMPONENTS)}")
        return getattr(composite, componentName)

    def handleParameters(self, inMemoryDataset: Any, parameters: Mapping[str, Any] | None = None) -> Any:
        """The sub-image that `bbox` names."""
        box = as_box((parameters or {}).get("bbox"))
        return inMemoryDataset if box is None else inMemoryDataset[box]


class PlaneDelegate(FrameDelegate):
    """The same for a single plane."""


class FrameFormatter(FormatterV2):
    """Frames in the LSST layout; image products too, since they have that layout."""

    default_extension = ".fits"
    supported_extensions = FITS_SUFFIXES
    can_read_from_local_file = True

    def read_from_local_file(self, path: str, component: str | None = None, expected_size: int = -1) -> Any:
        """The frame, a component, or the product where its storage class is asked for; `bbox` reads only a part."""
        from fullwell import io

        wanted = self.file_descriptor.readStorageClass.pytype
        if component is None and issubclass(wanted, ImageProduct):
            return io.read_product(path, wanted.kind)
        return io.read_part(path, component, as_box((self.file_descriptor.parameters or {}).get("bbox")))

    def add_provenance(self, in_memory_dataset: Any, /, *, provenance: DatasetProvenance | None = None) -> Any:
        """The frame with the cards ``LSST BUTLER …``: its id, run, data id, and the ids of its inputs."""
        cards = (provenance or DatasetProvenance()).to_flat_dict(
            self.dataset_ref, prefix="LSST BUTLER", sep=" ", simple_types=True
        )
        return replace(in_memory_dataset, metadata={**in_memory_dataset.metadata, **cards})

    def write_local_file(self, in_memory_dataset: Any, uri: Any) -> None:
        """Write under the temporary name that the library gives; it renames."""
        from fullwell import io

        if in_memory_dataset.raw:
            io.write_raw(in_memory_dataset, uri.ospath)
        else:
            io.write_frame(in_memory_dataset, uri.ospath)


class RawFormatter(FrameFormatter):
    """Raw files of any camera as they came; of a file with several detectors the one of the data id."""

    supported_extensions = FITS_SUFFIXES | PICTURE_SUFFIXES

    def read_from_local_file(self, path: str, component: str | None = None, expected_size: int = -1) -> Any:
        """The raw frame, or a component of it."""
        from fullwell.repo.raws import read_raw

        box = as_box((self.file_descriptor.parameters or {}).get("bbox"))
        return read_raw(path, int(self.data_id["detector"]), component, box)


class ProductFormatter(FormatterV2):
    """Tables: gain, defects, crosstalk, linearity."""

    default_extension = ".ecsv"
    supported_extensions = frozenset({".ecsv", ".fits", ".txt"})
    can_read_from_local_file = True

    def read_from_local_file(self, path: str, component: str | None = None, expected_size: int = -1) -> Any:
        """The product, checked to be of the kind that the dataset type says."""
        from fullwell import io

        return io.read_product(path, getattr(self.file_descriptor.storageClass.pytype, "kind", None))

    def add_provenance(self, in_memory_dataset: Any, /, *, provenance: DatasetProvenance | None = None) -> Any:
        """The product with the cards ``LSST BUTLER …`` in its metadata."""
        cards = (provenance or DatasetProvenance()).to_flat_dict(
            self.dataset_ref, prefix="LSST BUTLER", sep=" ", simple_types=True
        )
        return replace(in_memory_dataset, metadata={**in_memory_dataset.metadata, **cards})

    def write_local_file(self, in_memory_dataset: Any, uri: Any) -> None:
        """Write under the temporary name that the library gives; it renames."""
        from fullwell import io

        io.write_product(in_memory_dataset, uri.ospath)


class TablesFormatter(ProductFormatter):
    """Products of several tables, in one FITS file: photon transfer."""

    default_extension = ".fits"
    supported_extensions = FITS_SUFFIXES


def frame_of(product: ImageProduct) -> Frame:
    """An image product as a frame that shares its arrays; count and statistics stay behind."""
    assert product.box is not None
    unit = product.unit
    square = f"({unit})2" if "/" in unit else f"{unit}2" if unit else ""
    return Frame(
        Plane(product.image, product.box, unit),
        None if product.variance is None else Plane(product.variance, product.box, square),
        None if product.mask is None else Mask(product.mask, product.box),
        detector=product.detector,
        observation=product.observation,
        metadata={"OBSTYPE": product.kind, "FWID": product.id, **product.metadata},
        history=product.history,
        source=product.source,
    )


def _product(cls: Any, frame: Frame) -> Any:
    return cls(
        image=frame.image.array,
        variance=None if frame.variance is None else frame.variance.array,
        mask=None if frame.mask is None else frame.mask.array,
        unit=frame.unit,
        box=frame.box,
        detector=frame.detector,
        observation=frame.observation,
        history=frame.history,
        source=frame.source,
    )


def bias_of(frame: Frame) -> Bias:
    """The combined bias that a frame holds; its id is that of the pixels as they now are."""
    made: Bias = _product(Bias, frame)
    return made


def dark_of(frame: Frame) -> Dark:
    """The combined dark that a frame holds."""
    made: Dark = _product(Dark, frame)
    return made


def flat_of(frame: Frame) -> Flat:
    """The combined flat that a frame holds."""
    made: Flat = _product(Flat, frame)
    return made


class FullwellInstrument:
    """What instrument records name as their class; the description is `fullwell.instruments`."""
