"""The calibrations of a repository that belong to a frame which need not be in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fullwell.base.errors import MissingProduct
from fullwell.frames import Observation
from fullwell.products import Product
from fullwell.repo.bulk import Shelf, shelf
from fullwell.repo.dimensions import identity, timespan_of
from fullwell.repo.layout import PRODUCT_CLASSES

if TYPE_CHECKING:
    from fullwell.repo.repository import Repository

__all__ = ["Calibrations"]


class Calibrations:
    """Finds calibrations by camera, detector, filter and time of a frame; each is read once.

    Parameters
    ----------
    repo : where they are certified.
    """

    def __init__(self, repo: Repository) -> None:
        self.repo = repo
        self._shelves: dict[str, Shelf] = {}
        self._read: dict[str, Product] = {}

    def of(self, seen: Observation) -> dict[str, Product]:
        """Kind -> the product that is valid for an observation; a kind of which there is none is left out.

        Where a photon transfer is valid the gain is left out: it holds the gain, and how it was found.

        Raises
        ------
        MissingProduct
            nothing is certified for the detector at that time (names what comes nearest), or a validity ends during the
        exposure and the next begins.
        """
        from fullwell import io

        one = identity(seen)
        if one.instrument not in self._shelves:
            self._shelves[one.instrument] = shelf(self.repo, one.instrument, PRODUCT_CLASSES)
        have, when = self._shelves[one.instrument], timespan_of(seen)
        out: dict[str, Product] = {}
        for kind in PRODUCT_CLASSES:
            found = have.valid(kind, one.detector, one.physical_filter, when)
            if len(found) > 1:
                raise MissingProduct(
                    f"{len(found)} calibrations of kind {kind} are valid during {one}",
                    where=str(self.repo.path),
                    remedy=f"give one with --{kind} FILE: {', '.join(str(c.path) for c in found)}",
                    code="FW303",
                )
            for product in found:
                if product.id not in self._read:
                    self._read[product.id] = io.read_product(product.path, kind)
                out[kind] = self._read[product.id]
        if "ptc" in out:
            out.pop("gain", None)
        if not out:
            raise MissingProduct(
                f"the repository has no calibration for {one}",
                where=str(self.repo.path),
                remedy=have.near("bias", one.detector, one.physical_filter, when),
                code="FW303",
            )
        return out
