"""One file per figure: object in, Matplotlib figure out.

Every module of this package registers its figures with `base.figures.plot`, so that ``product.plot()`` and
the report find them by name. Outside packages add theirs by the entry-point group ``fullwell.plots``.
"""

from importlib import import_module
from pkgutil import iter_modules

__all__ = sorted(module.name for module in iter_modules(__path__))

for _name in __all__:
    import_module(f"{__name__}.{_name}")
