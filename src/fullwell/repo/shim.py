"""The unmodified ``Butler.get`` on repositories that the LSST library made: stand-ins for the classes they name.

A repository stores the dotted names of formatters and Python types, ``lsst.afw.image.ExposureF`` for instance. Where
that library is not installed the names cannot be imported and ``get`` fails. `enable_rubin_shim` lets them be found:
frames for exposures, planes for images, our products for calibrations, one formatter for all files. Nothing is
replaced where the library is there.

It is a choice of the user's, never made by importing fullwell: other packages that look whether ``lsst.afw`` exists
would find it. Files are read only; nothing is written under those names.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from lsst.daf.butler import FormatterV2

from fullwell.base.errors import UsageError
from fullwell.repo.foreign import read_file
from fullwell.repo.ondisk import FrameDelegate

__all__ = ["ForeignFormatter", "disable_rubin_shim", "enable_rubin_shim"]


class ForeignFormatter(FormatterV2):
    """Reads any file of an LSST-made repository by the name of its storage class."""

    can_read_from_local_file = True
    default_extension = ".fits"
    supported_write_parameters = frozenset({"recipe"})

    @classmethod
    def validate_write_recipes(cls, recipes: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
        """Take the recipes that the library's default configuration has for these names; nothing is written."""
        return recipes

    def read_from_local_file(self, path: str, component: str | None = None, expected_size: int = -1) -> Any:
        """The object, a component of it, or the sub-image that the parameters `bbox` and `origin`, or `amp`, name."""
        given = dict(self.file_descriptor.parameters or {})
        bbox, origin, amp = given.pop("bbox", None), str(given.pop("origin", "PARENT")), given.pop("amp", None)
        if given:
            raise UsageError(
                f"the parameter '{next(iter(given))}' needs the LSST library",
                where=path,
                remedy="bbox, origin and amp work",
            )
        kind, data_id = self.dataset_ref.datasetType.name, dict(self.data_id.mapping)
        storage = self.file_descriptor.storageClass.name
        if amp is None:
            return read_file(path, storage, kind, data_id, component, bbox, origin=origin)
        if component is not None or bbox is not None:
            raise UsageError(
                "amp goes with no component and no bbox", where=path, remedy="frame.amp(NAME) of the frame"
            )
        return read_file(path, storage, kind, data_id).amp(str(amp))

    def write_local_file(self, in_memory_dataset: Any, uri: Any) -> None:
        """Refuse: a file under the name of the LSST library's class must be as that library writes it."""
        raise UsageError(
            "nothing is written into a repository in the name of the LSST library",
            where=str(uri),
            remedy="put it into a repository of your own (fullwell repo create)",
        )


def _frames() -> dict[str, Any]:
    from fullwell.frames import Frame, Mask, Observation, Plane

    types = ("", "F", "D", "I", "U", "L")
    out: dict[str, Any] = {f"{name}{t}": Frame for name in ("Exposure", "MaskedImage") for t in types}
    out.update({f"{name}{t}": Plane for name in ("Image", "DecoratedImage") for t in types})
    return {**out, "Mask": Mask, "MaskX": Mask, "VisitInfo": Observation, "FilterLabel": str,
            "PARENT": "PARENT", "LOCAL": "LOCAL"}  # fmt: skip


def _newer() -> dict[str, Any]:
    from fullwell.frames import Frame, Mask, Plane

    return {"VisitImage": Frame, "DifferenceImage": Frame, "MaskedImage": Frame, "Image": Plane, "Mask": Mask}


def _geometry() -> dict[str, Any]:
    from fullwell.cameras import Box

    return {"Box2I": Box, "Extent2I": tuple, "Point2I": tuple}


def _detectors() -> dict[str, Any]:
    from fullwell.cameras import Camera, Detector

    return {"Camera": Camera, "Detector": Detector}


def _coordinates() -> dict[str, Any]:
    from astropy.wcs import WCS

    return {"SkyWcs": WCS}


def _calibrations() -> dict[str, Any]:
    from fullwell.products import Crosstalk, Defects, Linearity, Product

    named = {"Defects": Defects, "CrosstalkCalib": Crosstalk, "Linearizer": Linearity}
    return {**named, "IsrCalib": Product, "PhotonTransferCurveDataset": Product, "BrighterFatterKernel": Product}


_NOTHING: Callable[[], dict[str, Any]] = dict
_MODULES: dict[str, Callable[[], dict[str, Any]]] = {
    "lsst.afw": _NOTHING,
    "lsst.afw.cameraGeom": _detectors,
    "lsst.afw.geom": _NOTHING,
    "lsst.afw.geom.skyWcs": _coordinates,
    "lsst.afw.image": _frames,
    "lsst.daf.base": lambda: {"PropertyList": dict, "PropertySet": dict},
    "lsst.geom": _geometry,
    "lsst.images": _newer,
    "lsst.images.formatters": _NOTHING,
    "lsst.ip": _NOTHING,
    "lsst.ip.isr": _calibrations,
    "lsst.obs": _NOTHING,
}
"""Module -> its stand-ins. Modules below ``lsst.obs`` are all answered for: each camera has its own."""


class _StandIn(ModuleType):
    """A module that knows the names of one row of the table, and formatters and assemblers of any name."""

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("_"):
            known = _MODULES.get(self.__name__, _NOTHING)()
            if name in known:
                return known[name]
            if self.__name__.startswith(("lsst.obs.", "lsst.images.")) and name.endswith("Formatter"):
                return ForeignFormatter
            if self.__name__.startswith("lsst.obs.") and name.endswith("Assembler"):
                return FrameDelegate
        raise AttributeError(f"fullwell has no stand-in for {self.__name__}.{name}")


class _Maker(Loader):
    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _StandIn(spec.name, "Stand-in of fullwell for a module of the LSST library.")

    def exec_module(self, module: ModuleType) -> None:
        """Nothing: names are looked up when they are asked for."""


class _Finder(MetaPathFinder):
    """Answers for modules only, whose last name begins in lower case: classes are looked up in their module."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        last = fullname.rpartition(".")[2]
        known = fullname in _MODULES or fullname.startswith("lsst.obs.")
        return ModuleSpec(fullname, _Maker(), is_package=True) if known and last[:1].islower() else None


_FINDER = _Finder()


def enable_rubin_shim() -> bool:
    """Let the library's own ``Butler.get`` read repositories that name classes of the LSST library.

    Returns
    -------
    True where the stand-ins are in place, False where the LSST library itself is installed and nothing was done.
    """
    if _FINDER in sys.meta_path:
        return True
    if importlib.util.find_spec("lsst.afw") is not None:
        return False
    sys.meta_path.append(_FINDER)
    return True


def disable_rubin_shim() -> None:
    """Take the stand-ins away. Storage classes that were used keep the types that they had found."""
    if _FINDER in sys.meta_path:
        sys.meta_path.remove(_FINDER)
    for name in [name for name, module in sys.modules.items() if isinstance(module, _StandIn)]:
        del sys.modules[name]
        parent, _, last = name.rpartition(".")
        holder = sys.modules.get(parent)
        if holder is not None and last in vars(holder):
            delattr(holder, last)
