"""The orders of steps, as tuples, and the check of an order."""

from fullwell.recipes.orders import BIAS, BOOTSTRAP, DARK, FLAT, GENERIC, LSST
from fullwell.recipes.recipe import RECIPES, Recipe, check_order, steps_of

__all__ = ["BIAS", "BOOTSTRAP", "DARK", "FLAT", "GENERIC", "LSST", "RECIPES", "Recipe", "check_order", "steps_of"]
