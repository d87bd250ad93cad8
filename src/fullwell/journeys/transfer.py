"""The detector engineer's journey: raw flats in, the photon transfer of every amplifier out, with a page that says why.

Files are sorted by their headers into flats and bias frames of each detector; flats are paired; pairs are corrected
one after the other (two frames in memory, however many there are), measured, fitted, and every estimator of the gain
is set beside the others. Each detector gives ``ptc_<name>.fits``, ``gain_<name>.ecsv`` for ISR, a table of the points,
figures and an interactive page.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from fullwell.base.config import StepConfig
from fullwell.base.errors import FullwellError, UsageError
from fullwell.base.progress import progress
from fullwell.journeys.night import Setup
from fullwell.products import Estimate, Points, Product, Ptc

if TYPE_CHECKING:
    from fullwell.frames import Frame, Observation

__all__ = ["DetectorResult", "TransferOptions", "TransferResult", "run"]


class TransferOptions(StepConfig):
    """What a user may say about a series of flats; everything else comes from the headers."""

    flat: tuple[str, ...] = Field(default=(), description="names (globs) of the files that are flats")
    bias: tuple[str, ...] = Field(default=(), description="names (globs) of the files that are bias frames")
    pair_by: str = Field(default="auto", description="how flats are paired: auto, exposure, flux, group, order, given")
    flux_key: str = Field(default="", description="keyword of the flux or photodiode charge of a flat")
    pairs: tuple[tuple[str, str], ...] = Field(default=(), description="names of the two files of each pair, if given")
    recipe: str = Field(default="ptc", description="recipe that corrects the flats")
    off: tuple[str, ...] = Field(default=(), description="steps to switch off")
    settings: dict[str, dict[str, Any]] = Field(default_factory=dict, description="step -> settings")
    extract: dict[str, Any] = Field(default_factory=dict, description="settings of the measurement of points")
    solver: dict[str, Any] = Field(default_factory=dict, description="settings of the fits and of what is adopted")
    bins: int = Field(default=0, ge=0, description="flats of unequal light: bins of the pixel mean of a pair; 0: none")
    pages: bool = Field(default=True, description="write the report and the interactive pages")
    fail_fast: bool = Field(default=False, description="stop at the first file that fails")


@dataclass(frozen=True)
class Item:
    """One file of a series: what its header says, and whether its kind was `guessed`."""

    path: Path
    observation: Observation
    metadata: Mapping[str, Any]
    guessed: bool = False

    @property
    def name(self) -> str:
        """File name."""
        return self.path.name


@dataclass
class DetectorResult:
    """What was found of one detector."""

    setup: Setup
    ptc: Ptc
    flats: int
    bias: int
    left_over: list[tuple[str, str]] = field(default_factory=list)
    files: dict[str, Path] = field(default_factory=dict)

    @property
    def failed(self) -> list[str]:
        """Amplifiers without a gain."""
        return [name for name, why in zip(self.ptc.amps, self.ptc.status, strict=True) if why]

    def to_dict(self) -> dict[str, Any]:
        """As JSON types; a measured number is {"value", "error", "unit"}."""
        return {
            "setup": str(self.setup),
            "detector": self.setup.detector,
            "flats": self.flats,
            "bias": self.bias,
            "pairs": [list(pair) for pair in self.ptc.pairs],
            "left_over": [{"name": name, "why": why} for name, why in self.left_over],
            "estimator": self.ptc.estimator,
            "fit_type": self.ptc.fit_type,
            "id": self.ptc.id,
            "files": {kind: str(path) for kind, path in self.files.items()},
            "notes": list(self.ptc.notes),
            "amplifiers": [_amplifier(self.ptc, i) for i in range(len(self.ptc.amps))],
        }


@dataclass
class TransferResult:
    """Everything that a run made and found."""

    out: Path
    detectors: list[DetectorResult] = field(default_factory=list)
    failed: dict[str, FullwellError] = field(default_factory=dict)
    ignored: dict[str, str] = field(default_factory=dict)
    report: Path | None = None
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether every file could be read and every amplifier has a gain."""
        return not self.failed and not any(d.failed for d in self.detectors)

    def to_dict(self) -> dict[str, Any]:
        """As JSON types."""
        return {
            "out": str(self.out),
            "report": None if self.report is None else str(self.report),
            "seconds": self.seconds,
            "unreadable": {name: str(error) for name, error in self.failed.items()},
            "ignored": dict(self.ignored),
            "detectors": [d.to_dict() for d in self.detectors],
        }


def _measured(value: float, error: float, unit: str) -> dict[str, Any]:
    return {"value": float(value), "error": float(error), "unit": unit}


def _amplifier(ptc: Ptc, i: int) -> dict[str, Any]:
    """Everything of one amplifier."""
    estimates = ptc.estimates[i]
    points = ptc.points[i] if ptc.points else None
    rejected = [] if points is None else [[n, why] for n, why in enumerate(points.reasons) if why]
    return {
        "name": ptc.amps[i],
        "status": ptc.status[i],
        "gain": _measured(ptc.gain[i], ptc.gain_error[i], "electron/adu"),
        "gain_model_error": float(ptc.gain_model_error[i]),
        "read_noise": _measured(ptc.read_noise[i], ptc.read_noise_error[i], "electron"),
        "a00": _measured(ptc.a00[i], ptc.a00_error[i], "1/electron"),
        "turnoff": _measured(ptc.turnoff[i], ptc.turnoff_error[i], "adu"),
        "rolloff": _measured(ptc.rolloff[i], ptc.rolloff_error[i], "adu"),
        "reduced_chi2": float(ptc.chi2[i]),
        "range": [float(ptc.range_low[i]), float(ptc.range_high[i])],
        "estimators": [
            {
                "name": e.name,
                "gain": _measured(e.gain, e.error, "electron/adu"),
                "found": _measured(e.found, e.found_error, ""),
                "predicted": e.predicted,
                "biased": e.biased,
                "points": e.points,
                "reason": e.reason,
            }
            for e in estimates
        ],
        "diagnosis": list(ptc.diagnosis[i]),
        "rejected": rejected,
    }


def run(
    files: Sequence[Path | str],
    out: Path | str,
    options: TransferOptions | None = None,
    *,
    read: Callable[[Path], Frame] | None = None,
    instrument: Any = None,
    products: Callable[[Frame], Mapping[str, Product]] | None = None,
    eotest: Path | None = None,
    jobs: int = 1,
    dry_run: bool = False,
) -> TransferResult:
    """Photon transfer of all detectors of `files`.

    Parameters
    ----------
    files : raw flats, and bias frames where there are any; of one or more detectors.
    out : folder of the results; made where it is not there.
    options : what the headers do not say.
    read : how a raw file becomes a frame; `fullwell.io.read` by default. instrument : whose headers they are.
    products : frame -> products that correct it (crosstalk, linearity, defects …); none by default.
    eotest : an eotest results table, whose gains become one more estimator.
    jobs : threads over amplifiers. dry_run : only sort and pair the files.

    Raises
    ------
    UsageError
        no flats, or none that has a partner. FileError: `out` cannot be written.
    """
    from fullwell import io

    begin = time.monotonic()
    options, out = options or TransferOptions(), Path(out)
    result = TransferResult(out)
    items = _items([Path(f) for f in files], instrument, options, result)
    setups = sorted({Setup.of(i.observation) for i in items})
    desk = _Desk(options, read or io.read, products or (lambda frame: {}), jobs, eotest)
    for setup in setups:
        own = [i for i in items if Setup.of(i.observation) == setup]
        flats = [i for i in own if i.observation.kind == "flat"]
        if not flats:
            result.ignored.update({i.name: "a bias frame of a detector without flats" for i in own})
            continue
        if dry_run:
            pairs, left = _pairs(flats, options)
            ptc = Ptc(amps=(), gain=_nothing(), gain_error=_nothing(), pairs=tuple((a.name, b.name) for a, b in pairs))
            result.detectors.append(DetectorResult(setup, ptc, len(flats), len(own) - len(flats), left))
            continue
        result.detectors.append(desk.measure(setup, flats, [i for i in own if i.observation.kind == "bias"]))
    if not result.detectors:
        raise UsageError(
            "there are no flats among the files", remedy="name them with --flat GLOB where the headers do not say so"
        )
    if not dry_run:
        io.make_folder(out)
        from fullwell.journeys.transfer_page import write_results

        write_results(result, options.pages)
        result.seconds = time.monotonic() - begin
    return result


def _nothing() -> Any:
    import numpy as np

    return np.zeros(0)


def _items(paths: Sequence[Path], instrument: Any, options: TransferOptions, result: TransferResult) -> list[Item]:
    """Headers of all files; what cannot be read is kept in `result` with its error, what is no flat or bias named."""
    from dataclasses import replace

    from fullwell import instruments, io

    items = []
    for path in progress(paths, "headers"):
        try:
            headers = io.read_headers(path)
            obs = (instrument or instruments.identify(headers)).observation(headers)
        except FullwellError as error:
            result.failed[str(path)] = error
            if options.fail_fast:
                raise
            continue
        named = [kind for kind in ("flat", "bias") if any(path.match(glob) for glob in getattr(options, kind))]
        kind = named[0] if named else obs.kind
        guessed = kind == "unknown" and not options.flat
        if guessed:
            kind = "flat"
        if kind not in ("flat", "bias"):
            result.ignored[path.name] = f"a {kind} frame by its header"
            continue
        items.append(Item(path, replace(obs, kind=kind), dict(headers.primary), guessed))
    if not items:
        raise next(iter(result.failed.values()), UsageError("none of the files is a flat", remedy="--flat GLOB"))
    return items


def _pairs(flats: Sequence[Item], options: TransferOptions) -> tuple[list[tuple[Item, Item]], list[tuple[str, str]]]:
    """Pairs of flats, and the flats without a partner with the reason."""
    from fullwell.measure.pairing import pair_up

    return pair_up(flats, options.pair_by, flux_key=options.flux_key, given=options.pairs)


def _missing(points: Sequence[Points], flats: Sequence[Item]) -> list[str]:
    """What the headers do not say of the flats, and what the measurement had to do without."""
    import numpy as np

    told = []
    guessed = [i.name for i in flats if i.guessed]
    if guessed:
        told.append(
            f"{len(guessed)} files ({guessed[0]} …) are taken as flats though their headers do not say so; name the "
            "flats with --flat GLOB, bias frames with --bias GLOB"
        )
    if not any(np.isfinite(one.noise).any() for one in points):
        told.append(
            "there is neither overscan nor a pair of bias frames: the level without light is still in the means and "
            "the read noise is unknown, so that gains of single levels (pair, cov_sum, zero_flux) are wrong; add bias "
            "frames, or name the camera with --camera"
        )
    return told


@dataclass
class _Desk:
    """What the work on every detector shares."""

    options: TransferOptions
    read: Callable[[Path], Frame]
    products: Callable[[Frame], Mapping[str, Product]]
    jobs: int
    eotest: Path | None

    def measure(self, setup: Setup, flats: Sequence[Item], bias: Sequence[Item]) -> DetectorResult:
        """Points, fits and estimators of one detector."""
        from fullwell.base.config import load
        from fullwell.measure.ptc import ExtractConfig, SolveConfig, measure_points, solve
        from fullwell.measure.ptc.bins import BinConfig, measure_binned

        pairs, left = _pairs(flats, self.options)
        if not pairs:
            raise UsageError(
                f"none of the {len(flats)} flats of {setup} has a partner",
                where=flats[0].name,
                remedy="; ".join(f"{name}: {why}" for name, why in left[:3])
                or "pair them with --pair-by order, or --pairs FILE",
            )
        level = self._level(bias)
        loaded = progress(
            [(self._load(a, level), self._load(b, level)) for a, b in pairs], f"pairs of {setup.detector}"
        )
        names = [(a.name, b.name) for a, b in pairs]
        if self.options.bins:
            points = measure_binned(loaded, config=BinConfig(bins=self.options.bins))
            names = [name for name in names for _ in range(self.options.bins)]
            names = names if len(names) == len(points[0]) else []
        else:
            points = measure_points(
                loaded,
                config=load(ExtractConfig, self.options.extract, where="settings of the measurement"),
                jobs=self.jobs,
                biases=[self._load(i) for i in bias],
            )
        ptc = solve(
            points,
            load(SolveConfig, self.options.solver, where="settings of the fits"),
            pairs=names,
            observation=flats[0].observation,
            notes=_missing(points, flats),
            inputs=[i.observation.obs_id or i.name for pair in pairs for i in pair],
            extra=self._test_stand(points),
        )
        return DetectorResult(setup, ptc, len(flats), len(bias), left)

    def _test_stand(self, points: Sequence[Points]) -> Mapping[str, tuple[Estimate, ...]] | None:
        """Gains of the results table of a test stand, as one more estimator."""
        if self.eotest is None:
            return None
        from fullwell.io import read_table
        from fullwell.measure.ptc.eotable import eotest_estimates

        return eotest_estimates(read_table(self.eotest), [p.amp for p in points], where=str(self.eotest))

    def _level(self, bias: Sequence[Item]) -> dict[str, Product]:
        """The combined bias, which takes the level without light off flats that have no overscan; else nothing."""
        from fullwell.measure import build_bias

        frames: list[Frame] = []
        for item in bias:
            frame = self._load(item, recipe="bias", off=("gain", "variance"))()
            record = frame.last("overscan_serial")
            if record is not None and record.numbers.get("level"):
                return {}
            frames.append(frame)
        return {"bias": build_bias(frames)} if frames else {}

    def _load(
        self, item: Item, more: Mapping[str, Product] | None = None, recipe: str = "", off: tuple[str, ...] = ()
    ) -> Callable[[], Frame]:
        """The corrected frame of a file, when it is asked for, with `more` products than those of the user."""

        def load() -> Frame:
            from dataclasses import replace

            from fullwell.reduction import isr

            frame = self.read(item.path)
            frame = replace(frame, observation=replace(frame.observation, kind=item.observation.kind))
            return isr(
                frame,
                {**self.products(frame), **(more or {})},
                recipe=recipe or self.options.recipe,
                settings=self.options.settings,
                off=(*self.options.off, *off),
            )

        return load
