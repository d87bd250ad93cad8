"""One file per physical effect, with its physics note and both directions.

Every module of this package is imported with it and registers its step, so that a new effect is one
new file. Outside packages add theirs by the entry-point group ``fullwell.effects``.
"""

from importlib import import_module
from pkgutil import iter_modules

__all__ = sorted(module.name for module in iter_modules(__path__))

for _name in __all__:
    import_module(f"{__name__}.{_name}")
