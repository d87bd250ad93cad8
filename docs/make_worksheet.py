"""Write the worksheets: notebooks without their answers, ``python docs/make_worksheet.py``.

Cells tagged "answer" are dropped; where one held code, an empty cell is left to write into. A test proves that
notebooks and worksheets are in step.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

FOLDER = Path(__file__).parent / "notebooks"
SHEETS = {FOLDER / f"{name}.md": FOLDER / f"{name}_worksheet.md" for name in ("first_principles", "photon_transfer")}
"""Notebook -> its worksheet."""
TITLE = re.compile(r"^# .*$", re.M)
CELL = re.compile(r"(```\{code-cell\}.*?\n```\n|^\+\+\+.*?\n)", re.S | re.M)
EMPTY = "```{code-cell} ipython3\n# your code\n```\n"


def worksheet(text: str) -> str:
    """The text without the answers, with a title that says so."""
    out, hidden = [], False
    for part in CELL.split(text):
        if part.startswith("+++"):
            tags = json.loads(part[3:].strip() or "{}").get("tags", [])
            hidden = "answer" in tags
        elif part.startswith("```{code-cell}"):
            hidden = False
            found = re.search(r"^:tags: \[(.*?)\]$", part, re.M)
            answer = found is not None and "answer" in [t.strip() for t in found[1].split(",")]
            out.append(EMPTY if answer else part)
        elif not hidden:
            out.append(part)
    body = TITLE.sub(lambda title: f"{title[0]}: worksheet", "".join(out), count=1)
    return re.sub(r"\n{3,}", "\n\n", body)


if __name__ == "__main__":
    for source, target in SHEETS.items():
        target.write_text(worksheet(source.read_text(encoding="utf-8")), encoding="utf-8")
