"""What a photon transfer run leaves in its folder: products, tables, figures, an interactive page, and the report."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fullwell import __version__
from fullwell.base.figures import caption
from fullwell.report import Page

if TYPE_CHECKING:
    from fullwell.journeys.transfer import DetectorResult, TransferResult
    from fullwell.products import Estimate, Ptc

__all__ = ["compared", "left_out", "notes", "sentences", "write_results"]

FIGURES = ("variance", "pair_gain", "estimators", "saturation", "noise", "gain_histogram", "covariances")
"""Figures of the page."""
FREE = "free of it"
"""What is said of an estimator without brighter-fatter bias."""


def write_results(result: TransferResult, pages: bool = True) -> None:
    """Write products, and with `pages` an interactive page per detector and ``report.html``; names go into `result`."""
    many = len(result.detectors) > 1
    for found, tail in zip(result.detectors, _tails(result.detectors), strict=True):
        _products(found, result.out, tail, pages)
    if not pages:
        return
    page = Page(
        "Photon transfer",
        subtitle="Gain, read noise, turnoff and brighter-fatter of each amplifier, by every estimator.",
        facts={
            "fullwell": __version__,
            "detectors": len(result.detectors),
            "pairs": sum(len(d.ptc.pairs) for d in result.detectors),
        },
    )
    for name, error in result.failed.items():
        page.add_warning(f"{Path(name).name} could not be read: {error.problem}")
    for found in result.detectors:
        _detector(page, found, many)
    if result.ignored:
        page.add_section("Files left alone")
        page.add_table(("file", "why"), sorted(result.ignored.items()))
    result.report = page.write(result.out / "report.html")


def _tails(detectors: Sequence[DetectorResult]) -> list[str]:
    """What the file names of each end in: nothing for one, its name for several, all of its setup where names agree."""
    if len(detectors) == 1:
        return [""]
    names = [d.setup.detector for d in detectors]
    texts = [n if names.count(n) == 1 else str(d.setup) for n, d in zip(names, detectors, strict=True)]
    return ["_" + re.sub(r"[^A-Za-z0-9.+-]+", "_", text) for text in texts]


def _products(found: DetectorResult, out: Path, tail: str, pages: bool) -> None:
    """The product, the gain for ISR, the interactive page."""
    from fullwell import io
    from fullwell.plots import interactive

    found.files = {"ptc": out / f"ptc{tail}.fits"}
    io.write_product(found.ptc, found.files["ptc"])
    if np.isfinite(found.ptc.gain).any():
        found.files["gain"] = out / f"gain{tail}.ecsv"
        io.write_product(found.ptc.to_gain(), found.files["gain"])
    if pages:
        found.files["page"] = interactive.write(found.ptc, out / f"ptc{tail}.html")


def _detector(page: Page, found: DetectorResult, many: bool) -> None:
    ptc = found.ptc
    for name, why in zip(ptc.amps, ptc.status, strict=True):
        if why:
            page.add_warning(f"Amplifier {name} of {found.setup.detector} has no gain: {why}")
    for text in notes(ptc):
        page.add_warning(f"{found.setup.detector}: {text}")
    head = f"{found.setup}: " if many else ""
    page.add_section(f"{head}Gain and noise", _adopted(ptc))
    rows = [_row(ptc, i) for i in range(len(ptc.amps))]
    columns = ("amplifier", "gain", "model error", "read noise", "a00", "turnoff", "reduced chi2", "pairs used")
    units = {"gain": "e-/adu", "model error": "e-/adu", "read noise": "e-", "a00": "1e-6/e-", "turnoff": "adu"}
    page.add_table(columns, rows, units=units, states=["bad" if why else "" for why in ptc.status])
    page.add_section(f"{head}Why the estimators differ", "\n\n".join(sentences(ptc)))
    table = compared(ptc)
    page.add_table(
        ("estimator", "gain (median)", "found", "predicted", "brighter-fatter"),
        [(r["name"], {"value": r["gain"], "error": r["error"]}, r["found"], r["predicted"], r["about"]) for r in table],
        units={"gain (median)": "e-/adu"},
        caption="found: the gain over that of the reference estimator, measured (median over amplifiers); predicted: "
        "the same ratio when the estimator is run on the fitted curve at the same points. Where the two agree, the "
        "curve explains the difference.",
    )
    page.add_section(f"{head}Figures")
    page.add_text(f"The same with values under the mouse: {found.files['page'].name}, beside this page.")
    for name in FIGURES:
        page.add_figure("ptc", name, ptc, caption=caption("ptc", name))
    _left_out(page, found, head)


def _adopted(ptc: Ptc) -> str:
    from fullwell.measure.ptc import ESTIMATORS

    about = ESTIMATORS[ptc.estimator].about if ptc.estimator in ESTIMATORS else ""
    spread = "The model error is the spread of the estimators that are free of the brighter-fatter effect."
    about = f" {about}." if about else ""
    open_end = any(
        np.isfinite(points.mean).any() and turnoff >= np.nanmax(points.mean)
        for points, turnoff in zip(ptc.points, ptc.turnoff, strict=False)
    )
    end = " A turnoff at the brightest pair is a lower limit: the curve does not end in these data." if open_end else ""
    return f"Adopted: {ptc.estimator or 'none'}.{about} {spread} The read noise is that at zero signal.{end}"


def _row(ptc: Ptc, i: int) -> list[Any]:
    used = int(ptc.used[i].sum()) if ptc.used.size else 0
    total = len(ptc.points[i]) if ptc.points else 0
    return [
        ptc.amps[i],
        {"value": ptc.gain[i], "error": ptc.gain_error[i], "unit": "e-/adu"},
        {"value": float(ptc.gain_model_error[i]), "format": ".1e" if ptc.gain_model_error[i] else ".0f"},
        {"value": ptc.read_noise[i], "error": ptc.read_noise_error[i], "unit": "e-"},
        {"value": 1e6 * ptc.a00[i], "error": 1e6 * ptc.a00_error[i], "unit": "1e-6/e-"},
        {"value": float(ptc.turnoff[i]), "format": ",.0f"},
        {"value": float(ptc.chi2[i]), "format": ".2f"},
        f"{used} of {total}",
    ]


def compared(ptc: Ptc) -> list[dict[str, Any]]:
    """By estimator: median gain over amplifiers, ratio to the reference found and predicted, and what biases it."""
    names = list(dict.fromkeys(e.name for row in ptc.estimates for e in row))
    out = []
    for name in names:
        every = [e for row in ptc.estimates for e in row if e.name == name]
        known = [e for e in every if math.isfinite(e.gain)]
        out.append(
            {
                "name": name,
                "gain": _median(known, "gain"),
                "error": _median(known, "error"),
                "found": _median(known, "found"),
                "predicted": _median(known, "predicted"),
                "about": _bias_of(every, known),
            }
        )
    return sorted(out, key=lambda r: (r["name"] != ptc.estimator, r["about"] != FREE, math.isnan(r["gain"])))


def _bias_of(every: Sequence[Estimate], known: Sequence[Estimate]) -> str:
    if not known:
        return f"no value: {every[0].reason}"
    return "biased" if any(e.biased for e in known) else FREE


def _median(known: Sequence[Estimate], name: str) -> float:
    values = [v for e in known if math.isfinite(v := getattr(e, name))]
    return float(np.median(values)) if values else math.nan


def sentences(ptc: Ptc, most: int = 12) -> list[str]:
    """The diagnosis of all amplifiers; what is said of several is said once, with their number."""
    said = Counter(_general(s) for row in ptc.diagnosis for s in row)
    first = {_general(s): s for row in ptc.diagnosis for s in reversed(row)}
    n = len(ptc.amps)
    out = []
    for key, times in said.most_common(most):
        where = "" if n == 1 else f" ({times} of {n} amplifiers; the numbers are those of one)" if times > 1 else ""
        out.append(first[key] + where)
    return out


def notes(ptc: Ptc) -> list[str]:
    """The notes of the product; what is noted of several amplifiers alike is said once, with their names."""
    amps: dict[str, list[str]] = {}
    first: dict[str, str] = {}
    for text in ptc.notes:
        name = next((a for a in ptc.amps if text.startswith(f"amplifier {a}: ")), "")
        rest = text.removeprefix(f"amplifier {name}: ") if name else text
        first.setdefault(_general(rest), rest)
        amps.setdefault(_general(rest), []).extend([name] if name else [])
    return [f"{f'amplifier {_listed(names)}: ' if names else ''}{first[key]}" for key, names in amps.items()]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _general(sentence: str) -> str:
    """The sentence without its numbers and names: what two amplifiers have in common."""
    return re.sub(r"[-+]?\d[\d.,]*(e[-+]?\d+)?", "#", sentence)


def left_out(ptc: Ptc) -> list[tuple[int, str, str, str, str]]:
    """Points that took no part, by pair and reason: pair, its two flats, the amplifiers, why (of the first of them)."""
    rows = []
    for n, (a, b) in enumerate(ptc.pairs):
        reasons: dict[str, list[str]] = {}
        for points in ptc.points:
            if n < len(points) and points.reasons[n]:
                reasons.setdefault(_general(points.reasons[n]), []).append(points.amp)
        for key, amps in reasons.items():
            first = next(p.reasons[n] for p in ptc.points if p.reasons[n] and _general(p.reasons[n]) == key)
            rows.append((n, a, b, "all amplifiers" if len(amps) == len(ptc.amps) else ", ".join(amps), first))
    return rows


def _left_out(page: Page, found: DetectorResult, head: str) -> None:
    """Flats without a partner, and points that took no part."""
    if found.left_over:
        page.add_section(f"{head}Flats without a partner")
        page.add_table(("file", "why"), found.left_over)
    rows = left_out(found.ptc)
    if rows:
        page.add_section(
            f"{head}Points left out", "Named reasons; a point left out of one amplifier stays in the others."
        )
        page.add_table(("pair", "first", "second", "amplifiers", "why"), rows)
