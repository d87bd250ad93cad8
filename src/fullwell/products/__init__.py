"""Calibration products: frozen, versioned, with units."""

from fullwell.products.base import PRODUCTS, Product
from fullwell.products.defects import Defects
from fullwell.products.gain import Gain
from fullwell.products.images import Bias, Dark, Flat, ImageProduct

__all__ = ["PRODUCTS", "Bias", "Dark", "Defects", "Flat", "Gain", "ImageProduct", "Product"]
