"""Plane: an array with a box and a unit. Mask: an integer plane with named bits."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fullwell.base.errors import GeometryError, UsageError
from fullwell.cameras import Box
from fullwell.frames.planes import PLANES

__all__ = ["Mask", "Plane"]


class Plane(np.lib.mixins.NDArrayOperatorsMixin):
    """A two-dimensional array that knows where it lies and what it is measured in.

    Parameters
    ----------
    array : shape (ny, nx); kept, not copied.
    box : the pixels it covers, in the parent's coordinates; default at the origin.
    unit : "adu", "electron", "electron2", "" …

    Setting ``.array`` casts and copies into the existing buffer, so that views see the change.
    NumPy functions take a plane as they take an array, and return arrays.
    """

    def __init__(self, array: NDArray[Any], box: Box | None = None, unit: str = "") -> None:
        if array.ndim != 2:
            raise GeometryError(f"a plane has two dimensions, this array has {array.ndim}")
        self._array = array
        self.box = box if box is not None else Box.from_shape(array.shape)
        self.unit = unit
        if self.box.shape != array.shape:
            raise GeometryError(f"an array of shape {array.shape} does not fill the box {self.box}")

    @property
    def array(self) -> NDArray[Any]:
        """The pixels themselves, shape (ny, nx), writable."""
        return self._array

    @array.setter
    def array(self, values: Any) -> None:
        new = np.asarray(values)
        if new.shape != self._array.shape:
            raise GeometryError(
                f"an array of shape {new.shape} cannot replace one of shape {self._array.shape}",
                remedy="set a sub-image instead: frame[box].image.array = …",
            )
        np.copyto(self._array, new, casting="unsafe")

    @property
    def shape(self) -> tuple[int, int]:
        """(ny, nx)."""
        return self.box.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the pixels."""
        return self._array.dtype

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        if copy:
            return np.array(self._array, dtype=dtype)
        return np.asarray(self._array, dtype=dtype)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if "out" in kwargs:
            kwargs["out"] = tuple(o._array if isinstance(o, Plane) else o for o in kwargs["out"])
        arrays = [i._array if isinstance(i, Plane) else i for i in inputs]
        result = getattr(ufunc, method)(*arrays, **kwargs)
        if "out" in kwargs and isinstance(inputs[0], Plane) and kwargs["out"][0] is inputs[0]._array:
            return inputs[0]
        return result

    def __len__(self) -> int:
        return len(self._array)

    def __getitem__(self, key: Any) -> Any:
        """``plane[box]`` is a view in the parent's coordinates; any other index is NumPy's."""
        if isinstance(key, Box):
            return type(self)(self._array[self._local(key)], key, self.unit)
        return self._array[key]

    def __setitem__(self, key: Any, values: Any) -> None:
        self._array[self._local(key) if isinstance(key, Box) else key] = values

    def _local(self, box: Box) -> tuple[slice, slice]:
        if not self.box.contains(box):
            raise GeometryError(f"box {box} reaches outside {self.box}")
        return box.shifted(-self.box.x0, -self.box.y0).slices

    def copy(self) -> Plane:
        """A plane with its own memory."""
        return type(self)(self._array.copy(), self.box, self.unit)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.box}, {self.dtype}, unit={self.unit!r})"


class Mask(Plane):
    """Named bits of each pixel, uint32.

    ``mask["SAT"]`` is a boolean array; ``mask["SAT"] = array`` sets that plane alone. `schema`
    maps names to bit numbers; a plane of a name not in it is added at the next free bit.
    """

    def __init__(
        self,
        array: NDArray[np.uint32],
        box: Box | None = None,
        unit: str = "",
        schema: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__(array, box, "")
        self.schema: dict[str, int] = dict(schema) if schema else {p.name: p.bit for p in PLANES}

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, str):
            return (self._array & np.uint32(self.value(key))) != 0
        if isinstance(key, Box):
            return Mask(self._array[self._local(key)], key, schema=self.schema)
        return self._array[key]

    def __setitem__(self, key: Any, values: Any) -> None:
        if isinstance(key, str):
            value = np.uint32(1 << self.add_plane(key))
            self._array &= ~value
            self._array |= np.where(values, value, np.uint32(0))
        else:
            super().__setitem__(key, values)

    def add_plane(self, name: str) -> int:
        """Bit number of `name`, added at the next free bit where it is new."""
        if name not in self.schema:
            free = set(range(31)) - set(self.schema.values())
            if not free:
                raise UsageError(f"no bit is left for the mask plane '{name}'")
            self.schema[name] = min(free)
        return self.schema[name]

    def value(self, *names: str) -> int:
        """The bits of `names`, or-ed."""
        total = 0
        for name in names:
            if name not in self.schema:
                near = difflib.get_close_matches(name, self.schema, n=1)
                hint = f"did you mean '{near[0]}'?" if near else f"planes: {', '.join(self.schema)}"
                raise UsageError(f"there is no mask plane '{name}'", remedy=hint)
            total |= 1 << self.schema[name]
        return total

    def standard(self) -> Mask:
        """The same planes at the bit numbers of `frames.PLANES`, as the steps of a recipe set them.

        Planes of other names keep their bit where it is free, else take the next free one. The array is shared where
        no bit has to move.
        """
        schema = {p.name: p.bit for p in PLANES}
        for name, number in self.schema.items():
            if name not in schema and number not in schema.values():
                schema[name] = number
        named = Mask(self._array, self.box, schema=schema)
        for name in self.schema:
            named.add_plane(name)
        if all(named.schema[name] == number for name, number in self.schema.items()):
            return named
        out = np.zeros_like(self._array)
        for name, number in self.schema.items():
            out |= ((self._array >> np.uint32(number)) & np.uint32(1)) << np.uint32(named.schema[name])
        return Mask(out, self.box, schema=named.schema)

    def any_of(self, names: Iterable[str]) -> NDArray[np.bool_]:
        """Pixels with at least one of `names`, shape (ny, nx)."""
        return (self._array & np.uint32(self.value(*names))) != 0

    def counts(self) -> dict[str, int]:
        """Number of pixels of each plane that is set anywhere."""
        found = {name: int(np.count_nonzero(self._array & np.uint32(1 << b))) for name, b in self.schema.items()}
        return {name: n for name, n in found.items() if n}

    def __iter__(self) -> Iterator[Any]:
        return iter(self._array)

    def copy(self) -> Mask:
        """A mask with its own memory."""
        return Mask(self._array.copy(), self.box, schema=self.schema)
