"""Page: one self-contained HTML file, and the same content for machines in a JSON file beside it.

::

    page = Page("Night of 2026-08-19", subtitle="demo camera")
    page.add_section("Checks")
    page.add_checks(checks)
    page.add_figure("checks", "pulls", checks, caption="Differences in units of their errors.")
    page.write("report.html")            # and report.json

Nothing is fetched: figures and style are inside the file. A figure that cannot be drawn becomes a red
box with its error.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fullwell.base.numbers import plain, significant, with_error
from fullwell.report.embed import embedded

__all__ = ["LIMIT", "Page", "Section"]

LIMIT = 4.0
"""A pull beyond this counts as a failure."""
VERSION = 1
"""Of the layout of the JSON file."""


@dataclass
class Section:
    """A heading and what stands under it, in order."""

    title: str
    parts: list[dict[str, Any]] = field(default_factory=list)

    @property
    def anchor(self) -> str:
        """Name for links within the page."""
        return "".join(c if c.isalnum() else "-" for c in self.title.lower()).strip("-")


class Page:
    """A report of one page.

    Parameters
    ----------
    title : heading. subtitle : one line under it. facts : label -> value, shown at the head (versions, seed, time).
    """

    def __init__(self, title: str, *, subtitle: str = "", facts: Mapping[str, Any] | None = None) -> None:
        self.title = title
        self.subtitle = subtitle
        self.facts = dict(facts or {})
        self.warnings: list[str] = []
        self.sections: list[Section] = []
        self.verdict: tuple[int, int] | None = None

    def _add(self, part: dict[str, Any]) -> None:
        if not self.sections:
            self.sections.append(Section("Overview"))
        self.sections[-1].parts.append(part)

    def add_section(self, title: str, text: str = "") -> None:
        """Begin a section; `text` is its first paragraph."""
        self.sections.append(Section(title))
        if text:
            self.add_text(text)

    def add_text(self, text: str) -> None:
        """Paragraphs, separated by empty lines."""
        self._add({"type": "text", "paragraphs": [p.strip() for p in text.split("\n\n") if p.strip()]})

    def add_warning(self, text: str) -> None:
        """A warning: shown at the head of the page, where it cannot be missed."""
        self.warnings.append(text)

    def add_table(
        self,
        columns: Sequence[str],
        rows: Iterable[Sequence[Any]],
        *,
        units: Mapping[str, str] | None = None,
        title: str = "",
        caption: str = "",
        states: Sequence[str] | None = None,
    ) -> None:
        """A table.

        Parameters
        ----------
        columns : headings.
        rows : cells: texts, numbers, or measured numbers {"value", "error", "unit"}, or numbers with a Python
            format {"value", "format"}.
        units : heading -> unit, written under it.
        title, caption : above and below the table.
        states : by row, "" or "good", "bad", "off", which colours it.
        """
        rows = [list(row) for row in rows]
        units = dict(units or {})
        heads = [{"name": c, "unit": units.get(c, ""), "number": _is_number(rows, j)} for j, c in enumerate(columns)]
        cells = [[_cell(c, units.get(columns[j], "")) for j, c in enumerate(row)] for row in rows]
        self._add(
            {
                "type": "table",
                "title": title,
                "caption": caption,
                "columns": heads,
                "cells": cells,
                "rows": rows,
                "states": list(states) if states is not None else [""] * len(rows),
            }
        )

    def add_checks(self, checks: Sequence[Mapping[str, Any]], *, title: str = "", limit: float = LIMIT) -> None:
        """Truth against measurement: checks of {"name", "unit", "truth", "measured", "error", "pull"}.

        The verdict at the head of the page counts those with |pull| < `limit`.
        """
        good = [c["pull"] is not None and abs(c["pull"]) < limit for c in checks]
        passed, total = self.verdict or (0, 0)
        self.verdict = (passed + sum(good), total + len(checks))
        rows = [
            [c["name"], c["unit"], c["truth"], _measured(c), {"value": c["pull"], "format": "+.2f"}] for c in checks
        ]
        columns = ["check", "unit", "truth", "measured", "pull"]
        caption = (
            "pull = (measured - truth) / error. If the errors are true, pulls scatter by 1; "
            f"one beyond {limit:g} happens by chance once in 16,000 checks."
        )
        if any(c.get("bound") for c in checks):
            columns.append("error / bound")
            for row, c in zip(rows, checks, strict=True):
                row.append({"value": c["error"] / c["bound"], "format": ".2f"} if c.get("bound") else None)
            caption += " The bound is the smallest error that the frames allow (Cramér-Rao)."
        self.add_table(columns, rows, title=title, caption=caption, states=["good" if ok else "bad" for ok in good])

    def add_figure(self, kind: str, name: str, thing: Any, *, caption: str = "", **options: Any) -> None:
        """The registered figure ``kind/name`` of `thing`; where it fails, a red box with the error."""
        self._add(
            {"type": "figure", "name": f"{kind}/{name}", "caption": caption, **embedded(kind, name, thing, options)}
        )

    def add_files(self, files: Iterable[Mapping[str, Any]], *, title: str = "Files") -> None:
        """Files and what was done with them, each {"name", "kind", "done"} and optionally "state" as in `add_table`."""
        rows = [dict(f) for f in files]
        self.add_table(
            ("file", "taken for", "what was done"),
            [[r["name"], r.get("kind", ""), r.get("done", "")] for r in rows],
            title=title,
            states=[r.get("state", "") for r in rows],
        )

    def html(self) -> str:
        """The page as one text."""
        from jinja2 import Environment, PackageLoader, select_autoescape

        jinja = Environment(
            loader=PackageLoader("fullwell.report"),
            autoescape=select_autoescape(default=True),
            trim_blocks=True,
            lstrip_blocks=True,
        )
        style = Path(__file__).with_name("style.css").read_text()
        return jinja.get_template("page.html").render(page=self, style=style)

    def data(self) -> dict[str, Any]:
        """The content as JSON types; figures by name, without their pixels."""
        sections = []
        for section in self.sections:
            parts = [{k: v for k, v in p.items() if k not in ("cells", "image")} for p in section.parts]
            sections.append({"title": section.title, "parts": parts})
        passed = None if self.verdict is None else {"passed": self.verdict[0], "of": self.verdict[1]}
        out = {"version": VERSION, "title": self.title, "subtitle": self.subtitle, "facts": self.facts}
        found: dict[str, Any] = plain({**out, "warnings": self.warnings, "checks": passed, "sections": sections})
        return found

    def write(self, path: Path | str) -> Path:
        """Write the page to `path` and its data to ``report.json`` of the same stem; returns `path`.

        Each file appears whole or not at all.

        Raises
        ------
        FileError
            the folder cannot be written.
        """
        import json

        from fullwell import io

        path = Path(path)
        text = json.dumps(self.data(), indent=1, allow_nan=False)
        for target, content in ((path.with_suffix(".json"), text), (path, self.html())):
            with io.atomic_path(target) as temporary:
                Path(temporary).write_text(content, encoding="utf-8")
        return path


def _measured(check: Mapping[str, Any]) -> dict[str, Any]:
    return {"value": check["measured"], "error": check["error"], "unit": ""}


def _is_number(rows: Sequence[Sequence[Any]], column: int) -> bool:
    cells = [row[column] for row in rows if row[column] is not None]
    return bool(cells) and all(isinstance(c, (int, float, Mapping)) and not isinstance(c, bool) for c in cells)


def _cell(value: Any, unit: str) -> dict[str, Any]:
    """Text of a cell; a measured number shows its unit unless the column does."""
    if isinstance(value, Mapping) and "format" in value:
        number = value["value"]
        return {"text": "-" if number is None or math.isnan(number) else format(number, value["format"])}
    if isinstance(value, Mapping):
        shown = "" if unit else value.get("unit", "")
        return {"text": with_error(value.get("value"), value.get("error"), shown)}
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return {"text": "-"}
    return {"text": significant(value) if isinstance(value, float) else str(value)}
