"""Figures by kind of object and name, so that an object can be drawn without importing the plots room."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from inspect import cleandoc
from typing import Any

from fullwell.base.registry import Registry

__all__ = ["FIGURES", "caption", "figure", "plot"]

FIGURES: Registry[Callable[..., Any]] = Registry("figure", "fullwell.plots")


def plot(kind: str, name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator: register a function (object, **options) -> Matplotlib figure under ``kind/name``."""
    return FIGURES.register(f"{kind}/{name}")


def figure(kind: str, name: str) -> Callable[..., Any]:
    """The function that draws figure `name` of objects of `kind`."""
    import_module("fullwell.plots")
    return FIGURES[f"{kind}/{name}"]


def caption(kind: str, name: str) -> str:
    """What figure `name` of objects of `kind` shows and how it is read: the words of its docstring, for people.

    Paragraphs are separated by empty lines; parameters, errors and quotes of code are left out.
    """
    paragraphs = cleandoc(figure(kind, name).__doc__ or "").replace("`", "").split("\n\n")
    headed = (i for i, text in enumerate(paragraphs) if "\n---" in text)
    return "\n\n".join(" ".join(text.split()) for text in paragraphs[: next(headed, len(paragraphs))])
