"""The HTML file around a Bokeh model: everything inside, nothing fetched."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from fullwell.base.registry import Registry

__all__ = ["PAGES", "html", "interactive", "write"]

PAGES: Registry[Callable[..., tuple[str, Any]]] = Registry("interactive page", "fullwell.pages")
"""Kind of object -> function (object, **options) -> (title, Bokeh model)."""


def interactive(kind: str) -> Callable[[Callable[..., tuple[str, Any]]], Callable[..., tuple[str, Any]]]:
    """Decorator: register a function (object, **options) -> (title, Bokeh model) as the page of objects of `kind`."""
    return PAGES.register(kind)


def html(thing: Any, *, kind: str = "", **options: Any) -> str:
    """The page of `thing` as one text, with the script of Bokeh inside.

    Parameters
    ----------
    kind : of the object; that of the product by default.
    options : of the page.

    Raises
    ------
    UsageError
        there is no page for this kind of object.
    DataError
        the object holds nothing to show.
    """
    make = PAGES[kind or getattr(thing, "kind", type(thing).__name__.lower())]
    from bokeh.embed import file_html
    from bokeh.resources import INLINE

    title, model = make(thing, **options)
    return str(file_html(model, resources=INLINE, title=title))


def write(thing: Any, path: Path | str, *, kind: str = "", **options: Any) -> Path:
    """Write the page of `thing` to `path`, whole or not at all; returns `path`.

    Raises
    ------
    FileError
        the folder cannot be written.
    """
    from fullwell import io

    path = Path(path)
    text = html(thing, kind=kind, **options)
    with io.atomic_path(path) as temporary:
        Path(temporary).write_text(text, encoding="utf-8")
    return path
