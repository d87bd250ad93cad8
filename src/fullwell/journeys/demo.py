"""The first minute: a simulated night of a small four-amplifier camera, reduced, and compared with the truth."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fullwell.base.progress import progress
from fullwell.frames import Frame
from fullwell.journeys.checks import (
    Check,
    dark_checks,
    flat_check,
    gain_checks,
    noise_checks,
    star_check,
    transfer_checks,
)
from fullwell.journeys.injecting import injection_check
from fullwell.journeys.night import ReduceOptions
from fullwell.journeys.reduce import ReduceResult
from fullwell.journeys.reduce import run as reduce_folder
from fullwell.journeys.transfer import TransferOptions
from fullwell.journeys.transfer import run as measure_transfer
from fullwell.products import Ptc
from fullwell.simulation import NightPlan, SensorModel, Truth, night, sensor_of

__all__ = ["DemoResult", "run"]


@dataclass
class DemoResult:
    """What the demo made: `checks` against the truth, the reduction, the photon transfer, and where the page is."""

    out: Path
    seed: int
    sensor: SensorModel
    reduction: ReduceResult
    checks: list[Check] = field(default_factory=list)
    ptc: Ptc | None = None
    report: Path | None = None
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether the reduction went through and every pull is below 4."""
        return self.reduction.ok and all(check.ok for check in self.checks)

    def to_dict(self) -> dict[str, Any]:
        """The result as JSON types."""
        return {
            "checks": [check.to_dict() for check in self.checks],
            "report": None if self.report is None else str(self.report),
            "seconds": self.seconds,
            "seed": self.seed,
            "ok": self.ok,
            **self.reduction.repository,
        }


def run(
    out: Path | str = "fullwell-demo",
    *,
    seed: int = 1,
    plan: NightPlan | None = None,
    jobs: int = 2,
    report: bool = True,
) -> DemoResult:
    """Simulate a night, reduce it, measure the photon transfer of its flat pairs, compare with the truth.

    Parameters
    ----------
    out : folder; raw frames in ``raw/``, results in ``reduced/``, photon transfer in ``ptc/``, the page in
        ``report.html``.
    seed : of the sensor and the night; the same seed gives the same numbers on any machine.
    plan : what is taken; by default a night of a minute.
    jobs : frames at a time.
    report : whether the page is written.

    Returns
    -------
    DemoResult
    """
    from fullwell import io

    begin = time.monotonic()
    out, plan = Path(out), plan or NightPlan()
    io.make_folder(out)
    io.make_folder(out / "raw")
    sensor = sensor_of("demo", seed)
    truths: dict[str, Truth] = {}
    total = plan.biases + plan.darks + 2 * plan.pairs + len(plan.bands) * (plan.flats + plan.exposures)
    for name, done in progress(night(sensor, seed=seed, plan=plan), "simulating", total):
        io.write_raw(done.frame, out / "raw" / f"{name}.fits")
        truths[f"{name}.fits"] = done.truth
    reduction = reduce_folder(out / "raw", out / "reduced", ReduceOptions(camera="demo"), jobs=jobs)
    result = DemoResult(out, seed, sensor, reduction)
    result.checks = compare(sensor, plan, reduction, truths)
    if plan.pairs:
        result.ptc = _transfer(out, jobs)
        result.checks += transfer_checks(sensor, result.ptc)
    result.seconds = time.monotonic() - begin
    if report:
        from fullwell.journeys.summary import write_demo_report

        result.report = write_demo_report(result)
        result.seconds = time.monotonic() - begin
    return result


def _transfer(out: Path, jobs: int) -> Ptc:
    """Photon transfer of the flat pairs, by the command's own way; the product is left in ``ptc/``."""
    flats = sorted((out / "raw").glob("pair_*.fits"))
    done = measure_transfer(flats, out / "ptc", TransferOptions(pages=False), jobs=jobs)
    return done.detectors[0].ptc


def compare(sensor: SensorModel, plan: NightPlan, reduction: ReduceResult, truths: dict[str, Truth]) -> list[Check]:
    """Gain, read noise, dark rate, flat and star fluxes against the truth; injected stars against native ones."""
    made = reduction.calibrations[0]
    gain = made.gain
    checks: list[Check] = []
    if gain is None or not made.bias or not made.dark:
        return checks
    checks += gain_checks(sensor, gain, 2 * made.pairs)
    checks += noise_checks(sensor, gain, plan.biases)
    checks += dark_checks(sensor, made.dark[0], made.bias[0], gain, plan.dark_time, plan.darks)
    for flat in made.flat:
        checks.append(flat_check(sensor, flat, flat.observation.filter))
    for band in plan.bands:
        frames = _science(reduction, truths, band)
        if frames:
            checks.append(star_check(frames, gain, band))
    return checks + _injected(plan, reduction, truths)


def _injected(plan: NightPlan, reduction: ReduceResult, truths: dict[str, Truth]) -> list[Check]:
    """Stars injected into the first frame of the first band that has a flat."""
    for flat in reduction.calibrations[0].flat:
        band = flat.observation.filter
        frames = _science(reduction, truths, band) if band in plan.bands else ()
        if frames and frames[0][1].light.catalogue:
            return [injection_check(*frames[0], flat)]
    return []


def _science(reduction: ReduceResult, truths: dict[str, Truth], band: str) -> Sequence[tuple[Frame, Truth]]:
    from fullwell import io

    out = []
    for frame in reduction.frames:
        truth = truths[frame.name]
        if frame.output is not None and truth.scene_spec.band == band:
            out.append((io.read(frame.output), truth))
    return out
