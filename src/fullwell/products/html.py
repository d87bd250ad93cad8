"""A calibration product in a notebook: what it is and was made of, its image or the head of its table."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from fullwell.base.numbers import significant
from fullwell.frames.html import card

if TYPE_CHECKING:
    from fullwell.products.base import Product

__all__ = ["product_html"]

MOST = 16
"""Rows of a table that are shown."""


def product_html(product: Product) -> str:
    """The product as HTML; history and table can be folded out."""
    obs = product.observation
    n = len(product.inputs)
    rows = {
        "product": f"{product.kind} {product.id[:12]}",
        "instrument": f"{obs.instrument}, detector {obs.detector}" if obs.instrument else "",
        "filter": obs.filter if product.kind == "flat" else "",
        **product.facts(),
        "made of": f"{n} input{'' if n == 1 else 's'}" if n else "",
        "file": product.source,
        "notes": " ".join(product.notes),
    }
    make = getattr(product, "to_table", None)
    below = "" if make is None else _table(make())
    return card(rows, product.history, getattr(product, "image", None), below)


def _table(table: Any) -> str:
    """The first rows of an astropy table, of its columns with one value in a row of which some are known."""
    names = [name for name in table.colnames if len(table[name].shape) == 1 and _known(table[name])]
    if len(table) < 2 or not names:
        return ""
    head = "".join(f"<th>{escape(n)}{f' [{u}]' if (u := table[n].unit) else ''}</th>" for n in names)
    body = "".join(
        "<tr>" + "".join(f"<td style='text-align:right'>{escape(_cell(table[n][i]))}</td>" for n in names) + "</tr>"
        for i in range(min(len(table), MOST))
    )
    shown = f"{len(table)} rows" if len(table) <= MOST else f"{len(table)} rows, the first {MOST} of them"
    return f"<details><summary>table, {shown}</summary><table><tr>{head}</tr>{body}</table></details>"


def _known(column: Any) -> bool:
    values = np.asarray(getattr(column, "value", column))
    return values.dtype.kind not in "fc" or bool(np.isfinite(values).any())


def _cell(value: Any) -> str:
    value = getattr(value, "value", value)
    return significant(float(value)) if isinstance(value, (float, np.floating)) else str(value)
