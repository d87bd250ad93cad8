"""What all calibration products share: a kind, an id, what they apply to, what they were made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from fullwell.base.provenance import Record, content_id
from fullwell.base.registry import Registry
from fullwell.frames import Observation

__all__ = ["PRODUCTS", "Product"]

PRODUCTS: Registry[type[Product]] = Registry("product", "fullwell.products")


@dataclass(frozen=True, kw_only=True)
class Product:
    """Base of the calibration products.

    Parameters
    ----------
    id : deterministic id of the content, worked out where none is given. A copy with other content
        (`dataclasses.replace`) gets an id of its own, whether or not it is given one; arrays that are changed in
        place are not noticed.
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
    content: ClassVar[tuple[str, ...]] = ()
    """Names of the fields that make the id."""

    id: str = ""
    observation: Observation = field(default_factory=Observation)
    inputs: tuple[str, ...] = ()
    history: tuple[Record, ...] = ()
    notes: tuple[str, ...] = ()
    source: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    _made_for: tuple[Any, ...] = field(default=(), repr=False, compare=False)

    def __post_init__(self) -> None:
        given, before = self._named(), self._made_for
        self._settle()
        stale = bool(before) and before[0] == self.id and not all(map(_same, given, before[1:]))
        if self.content and (stale or not self.id):
            object.__setattr__(self, "id", content_id(*self._parts()))
        object.__setattr__(self, "_made_for", (self.id, *self._named()))

    def _named(self) -> tuple[Any, ...]:
        return tuple(getattr(self, name) for name in self.content)

    def _settle(self) -> None:
        """Check the fields and bring them into their form; the place of subclasses for it."""

    def _parts(self) -> list[Any]:
        """What the id is made of: kind and content, without fields that are None."""
        return [self.kind, *(value for value in self._named() if value is not None)]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.kind:
            PRODUCTS.add(cls.kind, cls)

    def plot(self, name: str = "overview", **options: Any) -> Any:
        """The registered figure `name` of this kind of product, a Matplotlib figure."""
        from fullwell.base.figures import figure

        return figure(self.kind, name)(self, **options)

    def facts(self) -> dict[str, str]:
        """Name -> text, what this product is in a few words, for people."""
        return {}

    def _repr_html_(self) -> str:
        """In a notebook."""
        from fullwell.products.html import product_html

        return product_html(self)


def _same(given: Any, before: Any) -> bool:
    """Whether a field was handed on as it was: the same object, or an equal number or text."""
    return given is before or (isinstance(given, (str, int, float)) and given == before)
