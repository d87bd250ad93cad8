"""What all calibration products share: a kind, an id, what they apply to, what they were made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from fullwell.base.provenance import Record
from fullwell.base.registry import Registry
from fullwell.frames import Observation

__all__ = ["PRODUCTS", "Product"]

PRODUCTS: Registry[type[Product]] = Registry("product", "fullwell.products")


@dataclass(frozen=True, kw_only=True)
class Product:
    """Base of the calibration products.

    Parameters
    ----------
    id : deterministic id of the content, "" until it is known.
    observation : of the first input; carries what the product applies to (detector, binning, filter,
        temperature, read-out mode …).
    inputs : ids of the frames and products it was made of, in order.
    history : how it was made.
    notes : sentences for people (frames left out, assumptions).
    source : file it was read from, "" if made in memory.
    """

    kind: ClassVar[str] = ""
    schema: ClassVar[str] = ""
    version: ClassVar[str] = "1.0.0"

    id: str = ""
    observation: Observation = field(default_factory=Observation)
    inputs: tuple[str, ...] = ()
    history: tuple[Record, ...] = ()
    notes: tuple[str, ...] = ()
    source: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.kind:
            PRODUCTS.add(cls.kind, cls)

    def plot(self, name: str = "overview", **options: Any) -> Any:
        """The registered figure `name` of this kind of product, a Matplotlib figure."""
        from fullwell.base.figures import figure

        return figure(self.kind, name)(self, **options)
