"""Progress: the library asks for a bar and gets nothing, unless a door installed one.

`progress(items, "ISR")` yields the items. The command line installs a handler that draws;
a library caller sees no output.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

__all__ = ["handler", "progress"]

T = TypeVar("T")
Handler = Callable[[Iterable[T], str, int | None], Iterable[T]]

_current: Handler | None = None


def progress(items: Iterable[T], label: str, total: int | None = None) -> Iterator[T]:
    """Yield `items`, shown as a bar named `label` when a handler is installed."""
    if total is None and hasattr(items, "__len__"):
        total = len(items)  # type: ignore[arg-type]
    if _current is None:
        yield from items
    else:
        yield from _current(items, label, total)


@contextmanager
def handler(draw: Handler) -> Iterator[None]:
    """Install `draw(items, label, total)` for the duration of a `with` block."""
    global _current
    before, _current = _current, draw
    try:
        yield
    finally:
        _current = before
