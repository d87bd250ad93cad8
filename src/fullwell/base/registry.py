"""Things found by name: steps, figures, instruments, products.

A `Registry` maps names to objects added by our own modules or by outside packages through an
entry-point group. A miss proposes the nearest name.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from typing import Generic, TypeVar

from fullwell.base.errors import UsageError

__all__ = ["Registry"]

T = TypeVar("T")


class Registry(Generic[T]):
    """Named objects of one kind.

    Parameters
    ----------
    kind : the word used in messages ("step", "figure").
    group : entry-point group that outside packages may fill.
    """

    def __init__(self, kind: str, group: str | None = None) -> None:
        self.kind = kind
        self.group = group
        self._items: dict[str, T] = {}
        self._scanned = group is None

    def add(self, name: str, item: T) -> T:
        """Register `item`; the last one of a name wins, so that a session may replace one."""
        self._items[name] = item
        return item

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator form of `add`."""
        return lambda item: self.add(name, item)

    def _scan(self) -> None:
        if self._scanned:
            return
        self._scanned = True
        for point in entry_points(group=self.group or ""):
            if point.name not in self._items:
                self._items[point.name] = point.load()

    def __getitem__(self, name: str) -> T:
        if name not in self._items:
            self._scan()
        try:
            return self._items[name]
        except KeyError:
            near = difflib.get_close_matches(name, self._items, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(sorted(self._items))}"
            raise UsageError(f"there is no {self.kind} named '{name}'", remedy=hint) from None

    def __contains__(self, name: str) -> bool:
        if name not in self._items:
            self._scan()
        return name in self._items

    def __iter__(self) -> Iterator[str]:
        self._scan()
        return iter(sorted(self._items))
