"""The calibrations of a repository that belong to a frame which need not be in it."""

from __future__ import annotations

from functools import cached_property
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

    @cached_property
    def _read(self) -> dict[str, Product]:
        return {}

    def of(self, seen: Observation) -> dict[str, Product]:
        """Kind -> the product that is valid for an observation; a kind of which there is none is left out.

        Raises
        ------
        MissingProduct
            nothing is certified for the detector at that time; names what comes nearest.
        """
        from fullwell import io

        one = identity(seen)
        if one.instrument not in self._shelves:
            self._shelves[one.instrument] = shelf(self.repo, one.instrument, PRODUCT_CLASSES)
        have, out = self._shelves[one.instrument], {}
        for kind in PRODUCT_CLASSES:
            found = have.pick(kind, one.detector, one.physical_filter, timespan_of(seen))
            if found is not None:
                if found.id not in self._read:
                    self._read[found.id] = io.read_product(found.path, kind)
                out[kind] = self._read[found.id]
        if not out:
            raise MissingProduct(
                f"the repository has no calibration for {one}",
                where=str(self.repo.path),
                remedy=have.near("bias", one.detector, one.physical_filter),
                code="FW303",
            )
        return out
