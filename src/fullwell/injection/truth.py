"""The truth of an injection: what was asked for and what was drawn, one row for each source of the catalogue."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fullwell.frames import Frame
from fullwell.injection.catalog import Sources, Status
from fullwell.injection.effective_gain import EffectiveGain

__all__ = ["truth_table"]


def truth_table(
    frame: Frame, sources: Sources, gain: EffectiveGain, sums: Any, extents: Any, new_sat: NDArray[np.bool_] | None
) -> Any:
    """An astropy Table, sorted by id.

    Columns: id; source_type; x, y [pixel of the detector]; ra, dec [deg]; mag (AB); flux_true [unit of the image],
    of the catalogue; flux_laid, its part on pixels that take light; flux_drawn, with its noise and before full
    wells are cut; electrons, drawn; n_pix; n_sat, pixels in the stamp that reach the full well by the injection;
    k, the effective gain at the centre [unit/electron]; x0, y0, x1, y1 of the stamp (half open);
    status, bits of `Status` (named in the meta); row of the catalogue, from 0.

    Parameters
    ----------
    sums : (n, 4) of `draw`. extents : (n, 4). new_sat : (ny, nx) pixels that are newly SAT, None where there are none.
    """
    from astropy.table import Table

    k = _centre(frame, sources, gain)
    sources.status[sources.drawn() & np.isnan(k) & _inside(frame, sources)] |= int(Status.NO_GAIN)
    n_sat = _saturated(frame, extents, sources, new_sat)
    sources.status[n_sat > 0] |= int(Status.SATURATED)
    unit = frame.unit
    table = Table(
        {
            "id": sources.id.astype(np.int64),
            "source_type": np.array([str(kind) for kind in sources.kind], "U16"),
            "x": sources.x,
            "y": sources.y,
            "ra": sources.ra,
            "dec": sources.dec,
            "mag": sources.mag,
            "flux_true": sources.flux,
            "flux_laid": sums[:, 0],
            "flux_drawn": sums[:, 1],
            "electrons": sums[:, 2],
            "n_pix": sums[:, 3].astype(np.int64),
            "n_sat": n_sat,
            "k": k,
            **{name: extents[:, i] for i, name in enumerate(("x0", "y0", "x1", "y1"))},
            "status": sources.status,
            **{name.lower(): values for name, values in sources.carried.items()},
        }
    )
    for names, text in ((("ra", "dec"), "deg"), (("x", "y"), "pix"), (("flux_true", "flux_laid", "flux_drawn"), unit)):
        for name in names:
            table[name].unit = text if text != "adu" else "adu"
    table["electrons"].unit = "electron"
    table.meta["status"] = {bit.name: int(bit) for bit in Status}
    table.meta["catalogue"] = sources.catalogue
    table.meta["k_method"] = gain.method
    return table


def _inside(frame: Frame, sources: Sources) -> NDArray[np.bool_]:
    box = frame.box
    x, y = (np.where(np.isfinite(v), v, -1e9) for v in (sources.x, sources.y))
    return np.asarray((x >= box.x0 - 0.5) & (x < box.x1 - 0.5) & (y >= box.y0 - 0.5) & (y < box.y1 - 0.5))


def _centre(frame: Frame, sources: Sources, gain: EffectiveGain) -> NDArray[np.float64]:
    """K at the centre of each source; NaN off the frame."""
    inside, box, k = _inside(frame, sources), frame.box, gain.of(frame.box)
    out = np.full(len(sources), np.nan)
    j = np.clip(np.floor(sources.y[inside] + 0.5).astype(int) - box.y0, 0, box.height - 1)
    i = np.clip(np.floor(sources.x[inside] + 0.5).astype(int) - box.x0, 0, box.width - 1)
    out[inside] = k[j, i]
    return out


def _saturated(frame: Frame, extents: Any, sources: Sources, new_sat: NDArray[np.bool_] | None) -> NDArray[np.int64]:
    out = np.zeros(len(sources), np.int64)
    if new_sat is None or not new_sat.any():
        return out
    rows: Any = new_sat.any(axis=1)
    box = frame.box
    for i in np.nonzero(sources.drawn())[0]:
        x0, y0, x1, y1 = extents[i] - (box.x0, box.y0, box.x0, box.y0)
        y0, x0 = max(y0, 0), max(x0, 0)
        if y1 > y0 and x1 > x0 and rows[y0:y1].any():
            out[i] = np.count_nonzero(new_sat[y0:y1, x0:x1])
    return out
