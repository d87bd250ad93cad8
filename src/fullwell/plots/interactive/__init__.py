"""Pages that answer to the mouse: one HTML file each, made by Bokeh, that works from disk without a network.

A new page is a file here: a function from object to (title, Bokeh model) with ``@interactive("kind")``.
"""

from importlib import import_module
from pkgutil import iter_modules

from fullwell.plots.interactive.page import PAGES, html, interactive, write

__all__ = ["PAGES", "html", "interactive", "write"]

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")
