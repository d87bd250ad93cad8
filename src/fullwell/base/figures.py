"""Figures by kind of object and name, so that an object can be drawn without importing the plots room."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from fullwell.base.registry import Registry

__all__ = ["FIGURES", "figure", "plot"]

FIGURES: Registry[Callable[..., Any]] = Registry("figure", "fullwell.plots")


def plot(kind: str, name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator: register a function (object, **options) -> Matplotlib figure under ``kind/name``."""
    return FIGURES.register(f"{kind}/{name}")


def figure(kind: str, name: str) -> Callable[..., Any]:
    """The function that draws figure `name` of objects of `kind`."""
    import_module("fullwell.plots")
    return FIGURES[f"{kind}/{name}"]
