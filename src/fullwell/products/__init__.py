"""Calibration products: frozen, versioned, with units."""

from fullwell.products.base import PRODUCTS, Product
from fullwell.products.crosstalk import Crosstalk
from fullwell.products.defects import Defects
from fullwell.products.emva1288 import Emva1288
from fullwell.products.gain import Gain
from fullwell.products.images import Bias, Dark, Flat, ImageProduct
from fullwell.products.linearity import Linearity
from fullwell.products.ptc import Estimate, Points, Ptc

__all__ = [
    "PRODUCTS",
    "Bias",
    "Crosstalk",
    "Dark",
    "Defects",
    "Emva1288",
    "Estimate",
    "Flat",
    "Gain",
    "ImageProduct",
    "Linearity",
    "Points",
    "Product",
    "Ptc",
]
