"""A photon transfer with every field filled, and those of the reference runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fullwell.base.provenance import Record
from fullwell.frames import Observation
from fullwell.products import Estimate, Points, Ptc

ORACLE = Path(__file__).resolve().parents[3] / "shared" / "oracle" / "ptc_solve"
VALUES = (
    *("delta", "variance_error", "raw_variance", "ratio", "ratio_error", "ratio_median", "noise", "noise_error"),
    *("exposure_time", "charge", "mjd", "temperature", "overscan", "row_variance", "ks", "hist_variance"),
    *("hist_chi2", "rejected"),
)


def points(amp: str, n: int = 5, lags: int = 2, seed: int = 1) -> Points:
    """Points of one amplifier, each field another number; the last one is rejected."""
    rng = np.random.default_rng([seed, *amp.encode()])
    side = lags + 1
    reasons = ("",) * (n - 1) + ("lamp: the flats differ by 12 % – “drift”",)
    return Points(
        amp=amp,
        mean=np.linspace(100, 4e4, n),
        variance=np.linspace(80, 2.5e4, n),
        covariance=np.concatenate([np.linspace(80, 2.5e4, n)[:, None], rng.normal(0, 5, (n, side**2 - 1))], 1).reshape(
            n, side, side
        ),
        pixels=rng.integers(900_000, 1_000_000, (n, side, side)),
        columns=511.5,
        clip_factor=0.97,
        notes=("", "the levels differ by 2 %", *[""] * (n - 2)),
        reasons=reasons,
        **{name: rng.uniform(1, 2, n) for name in VALUES},
    )


def ptc(amps: tuple[str, ...] = ("C00", "C01", "C02"), **more) -> Ptc:
    """A photon transfer by a full covariance fit; the last amplifier has no gain."""
    rng = np.random.default_rng(7)
    n = len(amps)
    dead = np.r_[np.ones(n - 1), np.nan]
    names = ("gain_error", "gain_model_error", "read_noise_error", "a00_error", "chi2", "turnoff", "turnoff_error",
             "rolloff", "rolloff_error", "rolloff_tau", "rolloff_tau_error", "range_low", "range_high")  # fmt: skip
    values = {name: rng.uniform(1, 2, n) * dead for name in names}
    gain, noise = rng.uniform(1.4, 1.6, n) * dead, rng.uniform(5, 6, n) * dead
    a = rng.uniform(1e-7, 1e-6, (n, 2, 2))
    a[:, 0, 0] *= -3
    some = Estimate(name="fullcov", gain=1.5, error=0.01, found=1.0, predicted=1.0, points=4, low=100.0, high=4e4)
    given = {
        "gain": gain, "read_noise": noise, "read_noise_adu": noise / gain, "a00": a[:, 0, 0], "a": a,
        "a_error": np.abs(a) / 10, "b": rng.normal(0, 1e-7, (n, 2, 2)), "noise_matrix": rng.uniform(20, 30, (n, 2, 2)),
        "fit_type": "FULLCOVARIANCE", "estimator": "fullcov", "status": ("",) * (n - 1) + ("dead: no light",),
        "points": tuple(points(amp) for amp in amps),
        "estimates": tuple((some, Estimate(name="pair", gain=np.nan, reason="no two flats", note="µ")) for _ in amps),
        "diagnosis": (("brighter-fatter bends the curve by 3 %",), ("a\\b", "ends — so"), ())[:n],
        "pairs": tuple((str(2 * i + 1), str(2 * i + 2)) for i in range(5)),
        "model": rng.uniform(1, 2, (n, 5)), "used": np.tile([True] * 4 + [False], (n, 1)),
        "covariance_model": rng.uniform(1, 2, (n, 5, 2, 2)),
        "observation": Observation(
            instrument="LSSTCam", detector="R22_S11", detector_id=94, begin="2025-01-02T03:04:05"
        ),
        "inputs": ("one", "two"), "notes": ("a note",), "history": (Record("ptc", numbers={"pairs": 5}),),
    }  # fmt: skip
    return Ptc(amps=amps, **{**values, **given, **more})


def assert_same(one: Ptc, two: Ptc, skip: tuple[str, ...] = ()) -> None:
    """Every field of two photon transfers is the same, NaN as NaN."""
    from dataclasses import fields

    for f in fields(Ptc):
        if f.name in ("source", "points", "estimates", "_made_for", *skip):
            continue
        a, b = getattr(one, f.name), getattr(two, f.name)
        if isinstance(a, np.ndarray):
            np.testing.assert_array_equal(a, b, err_msg=f.name)
        else:
            assert repr(a) == repr(b), f.name
    for p, q in zip(one.points, two.points, strict=True):
        for f in fields(Points):
            a, b = getattr(p, f.name), getattr(q, f.name)
            if f.name not in skip:
                np.testing.assert_array_equal(a, b, err_msg=f"points.{f.name}")
    if "estimates" not in skip:
        assert [[repr(e) for e in some] for some in one.estimates] == [
            [repr(e) for e in some] for some in two.estimates
        ]


def of_oracle(case: str, fit: str) -> tuple[Ptc, np.lib.npyio.NpzFile]:
    """The photon transfer that the reference solver found for one of its runs."""
    run = np.load(ORACLE / f"{case}.npz")
    amps = tuple(str(a) for a in run["ampNames"])

    def of(name: str):
        return run[f"{fit}/{name}"]

    weights = run["in_sqrtw"]
    measured = tuple(
        Points(
            amp=amp,
            mean=run["in_mu"][k],
            variance=run["in_cov"][k, :, 0, 0],
            covariance=run["in_cov"][k],
            pixels=np.rint((weights[k] * run["in_cov"][k, :, :1, :1]) ** 2).astype(np.int64),
            exposure_time=run["expTime"],
        )
        for k, amp in enumerate(amps)
    )
    full = fit.startswith("FULL")
    more = {} if not full else {
        "a": of("aMatrix"), "b": of("bMatrix"), "noise_matrix": of("noiseMatrix"),
        "covariance_model": of("covariancesModel"),
    }  # fmt: skip
    return Ptc(
        amps=amps, gain=of("gain"), gain_error=of("gainErr"), read_noise=of("noise"), read_noise_error=of("noiseErr"),
        read_noise_adu=of("noise") / of("gain"), a00=of("aMatrix")[:, 0, 0] if full else of("ptcFitPars")[:, 0],
        a00_error=np.zeros(0) if full else of("ptcFitParsError")[:, 0], chi2=of("ptcFitChiSq"),
        turnoff=of("ptcTurnoff"), turnoff_error=of("ptcTurnoffSamplingError"), rolloff=of("ptcRolloff"),
        rolloff_error=of("ptcRolloffError"), rolloff_tau=of("ptcRolloffTau"), fit_type=fit.removesuffix("_ROLLOFF"),
        estimator="fullcov" if full else "exp", points=measured, model=of("finalModelVars"),
        used=of("expIdMask") > 0, **more,
    ), run  # fmt: skip
