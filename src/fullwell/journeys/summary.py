"""The pages: what a reduction did with each file, and what the demo found against the truth."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fullwell import __version__
from fullwell.journeys.calibrate import Calibrations
from fullwell.journeys.keeping import ISR
from fullwell.products import ImageProduct, Product
from fullwell.report import Page

if TYPE_CHECKING:
    from fullwell.journeys.demo import DemoResult
    from fullwell.journeys.reduce import FrameResult, ReduceResult

__all__ = ["write_demo_report", "write_reduce_report"]

FIGURES = 6
"""At most so many science frames are drawn."""


def write_reduce_report(result: ReduceResult) -> Path:
    """``report.html`` in the output folder: results, calibrations, every file, warnings."""
    page = Page(
        "Reduction",
        subtitle=str(result.folder),
        facts={
            "fullwell": __version__,
            "raw files": len(result.night.items),
            "science frames": len(result.frames),
            "time": f"{result.seconds:.1f} s",
        },
    )
    _warnings(page, result)
    _science(page, result)
    for made in result.calibrations:
        _calibrations(page, made)
    _files(page, result)
    return page.write(result.out / "report.html")


def write_demo_report(result: DemoResult) -> Path:
    """``report.html`` of the demo: the table truth / measured / error / pull first, then the reduction."""
    page = Page(
        "A simulated night, reduced",
        subtitle="Every number below was measured on simulated frames and is compared with what was put in.",
        facts={"fullwell": __version__, "seed": result.seed, "time": f"{result.seconds:.1f} s"},
    )
    reduction = result.reduction
    rows = [check.to_dict() for check in result.checks]
    page.add_section(
        "Truth and measurement",
        "A small camera of four amplifiers took bias frames, darks, flats in two bands, pairs of flats and a field of "
        "stars. The frames were reduced as any folder is, without a look at the truth; only this table knows it.",
    )
    page.add_checks(rows)
    page.add_figure("checks", "pulls", rows, caption="Every pull; if the errors are true they scatter by one.")
    _warnings(page, reduction)
    _before_after(page, result)
    _photon_transfer(page, result)
    _science(page, reduction)
    for made in reduction.calibrations:
        _calibrations(page, made)
    _files(page, reduction)
    return page.write(result.out / "report.html")


def _photon_transfer(page: Page, result: DemoResult) -> None:
    """The curve of the flat pairs, and every estimator of the gain."""
    from fullwell.base.figures import caption

    if result.ptc is None:
        return
    page.add_section(
        "Photon transfer",
        "The pairs of flats, from faint to bright, measured by 'fullwell ptc'. This camera has no brighter-fatter "
        "effect: all estimators of the gain that leave out nothing agree. 'fullwell simulate flat-pairs' has it.",
    )
    for name in ("variance", "estimators"):
        page.add_figure("ptc", name, result.ptc, caption=caption("ptc", name))


def _warnings(page: Page, result: ReduceResult) -> None:
    for path, err in result.night.failed.items():
        page.add_warning(f"{path.name} could not be read: {err.problem}")
    for made in result.calibrations:
        for name, err in made.failed.items():
            what = "could not be made" if name.startswith(("combined", "defects")) else "was not used"
            page.add_warning(f"{name} {what}: {err.problem}")
    for frame in result.frames:
        if frame.error is not None:
            page.add_warning(f"{frame.name} was not reduced: {frame.error.problem}")
    if not result.frames:
        page.add_warning("There is no science frame in the folder: only calibrations were made.")


def _before_after(page: Page, result: DemoResult) -> None:
    """One science frame raw and reduced."""
    from fullwell import io

    done = next((f for f in result.reduction.frames if f.output is not None), None)
    if done is None or done.output is None:
        return
    raw, reduced = io.read(result.out / "raw" / done.name), io.read(done.output)
    page.add_section("One frame, before and after")
    page.add_figure("frame", "image", raw, title=f"{done.name}, raw [adu]", caption="As read, overscan included.")
    page.add_figure("frame", "image", reduced, title=f"{done.name}, reduced [electron]", caption="After the recipe.")
    page.add_figure("frames", "before_after", {"raw": raw, "reduced": reduced}, caption="Pixels of both.")


def _science(page: Page, result: ReduceResult) -> None:
    if not result.frames:
        return
    from fullwell import io

    page.add_section(
        "Science frames",
        "Noise is the scatter from pixel to pixel; beside it stands what the variance plane says it should be. "
        "The ratio compares the two in each pixel: 1 where the variance is true.",
    )
    left = {_left_out(f) for f in result.frames if f.error is None}
    columns = ["frame", "state", "sky", "noise", "noise by variance", "ratio", "unit"]
    rows = [_frame_row(f) for f in result.frames]
    if len(left) > 1:
        columns.append("left out")
        rows = [[*row, _left_out(f)] for row, f in zip(rows, result.frames, strict=True)]
    page.add_table(columns, rows, states=["bad" if f.state == "failed" else "" for f in result.frames])
    if len(left) == 1 and (words := left.pop()):
        page.add_text(f"Left out of all frames: {words}.")
    drawn = [f for f in result.frames if f.output is not None][:FIGURES]
    for f in drawn:
        assert f.output is not None
        page.add_figure("frame", "image", io.read(f.output), title=f.name, caption="Saturated pixels are coloured.")
    more = sum(f.output is not None for f in result.frames) - len(drawn)
    if more > 0:
        page.add_text(f"{more} more frames are in {result.out}.")


def _frame_row(frame: FrameResult) -> list[Any]:
    cells: list[Any] = [frame.name, frame.state]
    for value in (frame.sky, frame.noise, frame.expected, frame.ratio):
        cells.append({"value": value, "format": ".4g"} if math.isfinite(value) else None)
    return [*cells, frame.unit]


def _left_out(frame: FrameResult) -> str:
    """The steps that did not run, by reason."""
    reasons: dict[str, list[str]] = {}
    for step, why in frame.left_out.items():
        reason = "no product" if why == f"no {step} was given" else why
        reasons.setdefault(reason, []).append(step)
    return "; ".join(f"{', '.join(steps)} ({why})" for why, steps in reasons.items())


def _calibrations(page: Page, made: Calibrations) -> None:
    page.add_section(f"Calibrations: {made.setup}", "\n\n".join(made.notes))
    gain = made.gain
    if gain is not None and any(math.isfinite(g) for g in gain.gain):
        page.add_table(
            ("amplifier", "gain", "read noise"),
            [
                [
                    amp,
                    _number(gain.gain[i], gain.gain_error[i], "electron/adu"),
                    _number(gain.read_noise[i], gain.read_noise_error[i], "electron"),
                ]
                for i, amp in enumerate(gain.amps)
            ],
            title=f"Gain, estimator {gain.estimator}",
        )
        for note in gain.notes:
            page.add_text(note)
    elif gain is not None and gain.read_noise_adu is not None:
        noise = zip(gain.amps, gain.read_noise_adu, strict=True)
        page.add_text("Read noise: " + ", ".join(f"{v:.4g} adu ({amp})" for amp, v in noise if math.isfinite(v)) + ".")
    if gain is not None and any(math.isfinite(g) for g in gain.gain):
        if made.points:
            page.add_figure(
                "gain",
                "photon_transfer",
                gain,
                points=made.points,
                caption="Variance against mean of each pair of flats, with the line of the gain.",
            )
    for product in (*made.bias, *made.flat_darks, *made.dark, *made.flat):
        n = len(product.inputs)
        title = f"{_label(product, made)}, {n} frame{'' if n == 1 else 's'}"
        page.add_figure(product.kind, "overview", product, title=title)
        for note in product.notes:
            page.add_text(_short(note, product))
    for defects in made.defects:
        page.add_text(f"{len(defects.boxes)} boxes of defective pixels. " + " ".join(defects.notes))


def _label(product: ImageProduct, made: Calibrations) -> str:
    """Kind; filter of a flat; temperature where there are several; time of a dark that holds the bias."""
    obs = product.observation
    if product.kind == "flat":
        return f"flat {obs.filter}".strip()
    if any(product is d for d in made.flat_darks):
        return f"dark with bias, {obs.dark_time:g} s"
    several = len(made.bias if product.kind == "bias" else made.dark) > 1
    t = obs.set_temperature if math.isfinite(obs.set_temperature) else obs.temperature
    return f"{product.kind} at {t:g} C" if several and math.isfinite(t) else product.kind


def _short(note: str, product: Product) -> str:
    """The note with the names of files instead of their paths."""
    for folder in {str(Path(name).parent) for name in product.inputs}:
        note = note.replace(f"{folder}/", "")
    return note


def _number(value: float, error: float, unit: str) -> Mapping[str, Any]:
    return {"value": float(value), "error": float(error) if math.isfinite(error) else None, "unit": unit}


def _files(page: Page, result: ReduceResult) -> None:
    by_name = {f.name: f for f in result.frames}
    used = {}
    for made in result.calibrations:
        used.update(_dropped(result, made))
        used.update({name: "not used: " + err.problem for name, err in made.failed.items()})
        used.update(made.used)
    files: list[dict[str, Any]] = []
    for item in result.night.items:
        frame = by_name.get(item.name)
        done = used.get(item.name, f"combined into the {item.kind}")
        if frame is not None:
            done = f"{frame.state}: {frame.output.name}" if frame.output is not None else "failed"
        state = "bad" if done.startswith(("not used", "failed")) else "off" if done.startswith("left out") else ""
        kind = item.kind if item.kind in ("bias", "dark") else f"{item.kind} {item.observation.filter}".strip()
        files.append({"name": item.name, "kind": f"{kind} ({item.why})", "done": done, "state": state})
    for path, why in result.night.ignored.items():
        files.append({"name": path.name, "kind": "-", "done": f"left alone: {why}", "state": "off"})
    for path, err in result.night.failed.items():
        files.append({"name": path.name, "kind": "-", "done": err.problem, "state": "bad"})
    page.add_section("Files")
    page.add_files(files, title="")
    if result.repository:
        names = ", ".join(repr(n) for n in result.repository["collections"])
        page.add_section(
            "Repository",
            "Raw frames, calibrations and results are also found by what they are: "
            f"Butler({result.repository['repo']!r}, collections=[{names}]).get({ISR!r}, exposure=…, detector=…), or "
            f"with fullwell repo ls --repo {result.out}.",
        )


def _dropped(result: ReduceResult, made: Calibrations) -> dict[str, str]:
    """File name -> why a combination did without it, from the notes of the products."""
    notes = [n for p in (*made.bias, *made.flat_darks, *made.dark, *made.flat) for n in p.notes]
    out = {}
    for item in result.night.items:
        begin = f"Left out {item.path}"
        reason = next((n[len(begin) :] for n in notes if n.startswith((f"{begin}:", f"{begin} "))), None)
        if reason is not None:
            out[item.name] = "left out" + reason.rstrip(".")
    return out
