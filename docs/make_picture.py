"""Write docs/_static/demo.png, the picture of the README: ``python docs/make_picture.py DEMO_FOLDER``.

DEMO_FOLDER is what ``fullwell demo -o DEMO_FOLDER`` wrote. Left: a raw frame; middle: the same frame reduced;
right: the pulls of everything that was measured.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image

import fullwell as fw
from fullwell.plots.canvas import BLUE, limits, sheet, style

PAGE = Path(__file__).parent / "_static" / "demo.png"
NAME = "science_g_0053.fits"


def draw(folder: Path) -> None:
    """Draw the three panels and save the picture."""
    raw, done = fw.read(folder / "raw" / NAME), fw.read(folder / "reduced" / NAME)
    report = json.loads((folder / "report.json").read_text())
    table = report["sections"][0]["parts"][1]
    checks = [(row[0], row[4]["value"]) for row in table["rows"]]
    with style():
        figure = sheet(11.0, 3.7)
        left, middle, right = figure.subplots(1, 3, width_ratios=(1, 1, 0.85))
        for ax, frame, title in ((left, raw, "raw [adu]"), (middle, done, "reduced [electron]")):
            low, high = limits(frame.image.array)
            drawn = ax.imshow(frame.image.array, origin="lower", cmap="gray", vmin=low, vmax=high, interpolation="none")
            ax.set(title=title, xticks=[], yticks=[])
            ax.grid(False)
            figure.colorbar(drawn, ax=ax, shrink=0.82, pad=0.02)
        rows = np.arange(len(checks))
        right.axvspan(-1, 1, color="0.9")
        right.axvline(0, color="0.5", lw=0.8)
        right.errorbar([pull for _, pull in checks], rows, xerr=1, fmt="o", ms=4, color=BLUE, elinewidth=1)
        right.set_yticks(rows, [name for name, _ in checks], fontsize=7)
        right.set(xlim=(-4, 4), xlabel="(measured − truth) / error", title="checks against the truth")
        right.invert_yaxis()
        figure.savefig(PAGE, dpi=100)
    few = Image.open(PAGE).convert("RGB").quantize(128)
    few.save(PAGE, optimize=True)


if __name__ == "__main__":
    draw(Path(sys.argv[1]))
