"""The photon transfer table of the LSST library: round trips, tables made from reference runs and real results."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
import yaml
from astropy.table import Table
from ptcs import ORACLE, assert_same, of_oracle, points, ptc

from fullwell.base.errors import FileError
from fullwell.products import Points, Ptc
from fullwell.products.lsst_ptc import from_lsst, to_lsst

SHARED = Path(__file__).resolve().parents[3] / "shared"
LATISS = SHARED / "data" / "lsst-tables" / "latiss_cpp"
COLUMNS = {
    "AMPLIFIER_NAME", "PTC_FIT_TYPE", "COV_MATRIX_SIDE", "COV_MATRIX_SIDE_FULL_COV_FIT", "INPUT_EXP_ID_PAIRS",
    "INPUT_EXP_PAIR_MJD_START", "EXP_ID_MASK", "EXP_ID_ROLLOFF_MASK", "RAW_EXP_TIMES", "RAW_MEANS", "RAW_VARS",
    "RAW_DELTAS", "ROW_MEAN_VARIANCE", "PHOTO_CHARGE", "PHOTO_CHARGE_DELTAS", "AMP_OFFSETS", "HIST_VARS",
    "HIST_CHI2_DOFS", "KS_PVALUES", "NPIXEL_COVARIANCES", "GAIN", "GAIN_ERR", "GAIN_UNADJUSTED", "GAIN_LIST",
    "NOISE", "NOISE_ERR", "NOISE_LIST", "OVERSCAN_MEDIAN_LIST", "OVERSCAN_MEDIAN", "OVERSCAN_MEDIAN_SIGMA",
    "PTC_FIT_PARS", "PTC_FIT_PARS_ERROR", "PTC_FIT_CHI_SQ", "PTC_TURNOFF", "PTC_TURNOFF_SAMPLING_ERROR",
    "PTC_ROLLOFF", "PTC_ROLLOFF_ERROR", "PTC_ROLLOFF_TAU", "PTC_ROLLOFF_TAU_ERROR", "A_MATRIX", "NOISE_MATRIX",
    "B_MATRIX", "FINAL_MEANS", "FINAL_VARS", "FINAL_MODEL_VARS", "COVARIANCES", "COVARIANCES_MODEL",
    "COVARIANCES_SQRT_WEIGHTS", "BAD_AMPS"
}  # fmt: skip
LOST = ("a_error", "gain_model_error", "diagnosis", "inputs", "notes", "history", "estimates", "status", "range_low",
        "range_high", "id", "raw_variance", "ratio", "ratio_error", "ratio_median", "noise_error", "rejected",
        "variance_error", "columns", "clip_factor", "reasons", "content", "a00_error", "read_noise_adu")  # fmt: skip


def test_the_columns_are_those_of_version_2_6() -> None:
    table = to_lsst(ptc())
    assert set(table.colnames) == COLUMNS | {"PTCAUX_CCDTEMP"}
    assert table.meta["OBSTYPE"] == "PTC"
    assert table.meta["PTC_VERSION"] == 2.6
    one = ptc()
    p, row = one.points[0], table[0]
    assert row["INPUT_EXP_ID_PAIRS"].tolist() == [[1, 2], [3, 4], [5, 6], [7, 8], [9, 10]]
    assert row["NOISE"] == one.read_noise[0]
    np.testing.assert_array_equal(row["NOISE_LIST"], p.noise)
    assert row["A_MATRIX"][0] == one.a00[0] < 0
    np.testing.assert_array_equal(row["COVARIANCES"], p.covariance.ravel())
    assert row["COVARIANCES_SQRT_WEIGHTS"][1] == pytest.approx(np.sqrt(p.pixels[0, 0, 1]) / p.covariance[0, 0, 0])
    assert np.isnan(row["FINAL_MEANS"][-1])
    assert row["BAD_AMPS"].tolist() == ["C02"]
    assert row["GAIN_LIST"][0] == pytest.approx(p.mean[0] / (p.variance[0] - p.noise[0] ** 2))
    centre = np.median(p.overscan[:4])
    assert row["OVERSCAN_MEDIAN_SIGMA"] == pytest.approx(1.4826 * np.median(abs(p.overscan[:4] - centre)), rel=1e-5)


def test_there_and_back() -> None:
    one = ptc()
    back = from_lsst(to_lsst(one))
    assert_same(back, one, (*LOST, "observation", "model"))
    np.testing.assert_array_equal(back.model[:, :4], one.model[:, :4])
    assert np.isnan(back.model[:, 4]).all()
    assert back.observation.detector_id == 94
    assert (back.observation.instrument, back.observation.detector) == ("LSSTCam", "R22_S11")
    assert back.status == ("", "", "marked bad in the table it was read from")
    assert [bool(r) for r in back.points[0].reasons] == [False] * 4 + [True]
    again = to_lsst(back)
    for name in COLUMNS:
        np.testing.assert_array_equal(again[name], to_lsst(one)[name], err_msg=name)


def test_a_gain_without_a_fit_keeps_its_estimator() -> None:
    table = to_lsst(ptc(fit_type="", estimator="cov_sum"))
    assert set(table["PTC_FIT_TYPE"]) == {"PARTIAL"}
    back = from_lsst(table)
    assert (back.estimator, back.fit_type) == ("cov_sum", "")
    del table.meta["FULLWELL ESTIMATOR"]
    assert not from_lsst(table).to_gain().has_method


def test_ids_that_are_no_integers_are_marked() -> None:
    table = to_lsst(ptc(pairs=(("one.fits", "two.fits"),) * 5))
    assert (table["INPUT_EXP_ID_PAIRS"] == -1).all()
    assert from_lsst(table).pairs == (("", ""),) * 5


def table_of(case: str, fit: str) -> tuple[Table, Ptc]:
    """The table of the reference run as the library lays it out, made without our writer."""
    found, run = of_oracle(case, fit)

    def of(name: str):
        return run[f"{fit}/{name}"]

    n_amp, _, side = run["in_cov"].shape[:3]
    flat = n_amp, -1
    columns = {
        "AMPLIFIER_NAME": run["ampNames"], "PTC_FIT_TYPE": [fit.removesuffix("_ROLLOFF")] * n_amp,
        "COV_MATRIX_SIDE": [side] * n_amp, "EXP_ID_MASK": of("expIdMask").astype(bool),
        "RAW_EXP_TIMES": np.tile(run["expTime"], (n_amp, 1)), "RAW_MEANS": of("rawMeans"), "RAW_VARS": of("rawVars"),
        "GAIN": of("gain"), "GAIN_ERR": of("gainErr"), "NOISE": of("noise"), "NOISE_ERR": of("noiseErr"),
        "PTC_FIT_PARS": of("ptcFitPars"), "PTC_FIT_PARS_ERROR": of("ptcFitParsError"),
        "PTC_FIT_CHI_SQ": of("ptcFitChiSq"), "PTC_TURNOFF": of("ptcTurnoff"),
        "PTC_TURNOFF_SAMPLING_ERROR": of("ptcTurnoffSamplingError"), "PTC_ROLLOFF": of("ptcRolloff"),
        "PTC_ROLLOFF_ERROR": of("ptcRolloffError"), "PTC_ROLLOFF_TAU": of("ptcRolloffTau"),
        "COVARIANCES": run["in_cov"].reshape(flat), "COVARIANCES_SQRT_WEIGHTS": run["in_sqrtw"].reshape(flat),
        "FINAL_MEANS": of("finalMeans"), "FINAL_VARS": of("finalVars"), "FINAL_MODEL_VARS": of("finalModelVars"),
        "BAD_AMPS": np.zeros((n_amp, 0), "U3"),
    }  # fmt: skip
    if fit.startswith("FULL"):
        for column, name in (("A_MATRIX", "aMatrix"), ("B_MATRIX", "bMatrix"), ("NOISE_MATRIX", "noiseMatrix")):
            columns[column] = of(name).reshape(flat)
        columns["COVARIANCES_MODEL"] = of("covariancesModel").reshape(flat)
        columns["COV_MATRIX_SIDE_FULL_COV_FIT"] = [of("aMatrix").shape[1]] * n_amp
    return Table(columns, meta={"OBSTYPE": "PTC", "PTC_VERSION": 2.6}), found


FITS = ("EXPAPPROXIMATION", "EXPAPPROXIMATION_ROLLOFF", "FULLCOVARIANCE", "FULLCOVARIANCE_NO_B")


@pytest.mark.skipif(not ORACLE.is_dir(), reason="the reference runs are beside the project")
@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("case", ["case1_8lags", "case2_10lags_fit4_longrange"])
def test_tables_of_the_reference_solver(case: str, fit: str) -> None:
    table, found = table_of(case, fit)
    read = from_lsst(table)
    names = ("gain", "gain_error", "read_noise", "a00", "turnoff", "rolloff", "rolloff_tau", "chi2", "used", "model",
             "a", "b", "noise_matrix", "covariance_model")  # fmt: skip
    for name in names:
        np.testing.assert_array_equal(getattr(read, name), getattr(found, name), err_msg=name)
    assert read.estimator == found.estimator
    assert (read.a00 < 0).all()
    for p, q in zip(read.points, found.points, strict=True):
        np.testing.assert_array_equal(p.covariance, q.covariance)
        assert p.lags + 1 == table["COV_MATRIX_SIDE"][0]
    # the counts of pixels come from the weights, which hold the true variance, the table the measured one
    lag = read.points[0].pixels[:, 0, 1]
    assert np.allclose(lag, found.points[0].pixels[:, 0, 1])
    again = to_lsst(read)
    for name in table.colnames:
        if name not in ("INPUT_EXP_ID_PAIRS", "BAD_AMPS", "PTC_FIT_PARS_ERROR", "COVARIANCES_SQRT_WEIGHTS"):
            got, want = again[name], table[name]
            if got.dtype.kind == "f":
                used = read.used if name.startswith("FINAL_") else np.ones(np.shape(want), bool)
                np.testing.assert_allclose(got[used], want[used], rtol=1e-12, atol=0, err_msg=name)
            else:
                np.testing.assert_array_equal(got, want, err_msg=name)


@pytest.mark.skipif(not LATISS.is_dir(), reason="the measured tables are beside the project")
@pytest.mark.parametrize(
    ("file", "estimator", "gain"),
    [("ptcDet.yaml.gz", "fullcov", 1.03404), ("ptcDet_legacy202409_expapprox.yaml.gz", "exp", 1.06702)],
)
def test_sixteen_real_amplifiers(file: str, estimator: str, gain: float) -> None:
    with gzip.open(LATISS / file) as handle:
        amps = yaml.safe_load(handle)["AMP"]
    n = 30
    full = estimator == "fullcov"
    rows = list(amps.values())
    covariances = np.zeros((16, n, 3, 3))
    for k, row in enumerate(rows):
        covariances[k, :, 0, 0] = row["PTC_RAW_VARIANCE"]
        for i, j in ((1, 0), (0, 1), (1, 1), (2, 0), (0, 2)):
            covariances[k, :, i, j] = row[f"PTC_COV_{i}{j}"]
    first = np.array([row["PTC_BFE_A00"] for row in rows])
    table = Table(
        {
            "AMPLIFIER_NAME": list(amps),
            "PTC_FIT_TYPE": [row["PTC_FIT_TYPE"] for row in rows],
            "COV_MATRIX_SIDE": [3] * 16,
            "COV_MATRIX_SIDE_FULL_COV_FIT": [1] * 16,
            "A_MATRIX": first[:, None] if full else np.full((16, 1), np.nan),
            "PTC_FIT_PARS": np.full((16, 1), np.nan) if full else np.c_[first, first, first],
            "COVARIANCES": covariances.reshape(16, -1),
            **{
                column: np.array([row[name] for row in rows])
                for column, name in (
                    *(("GAIN", "PTC_GAIN"), ("NOISE", "PTC_NOISE"), ("PTC_TURNOFF", "PTC_TURNOFF")),
                    *(("RAW_MEANS", "PTC_RAW_MEANS"), ("RAW_VARS", "PTC_RAW_VARIANCE")),
                    *(("EXP_ID_MASK", "PTC_EXP_ID_MASK"), ("ROW_MEAN_VARIANCE", "PTC_ROW_MEAN_VARIANCE")),
                )
            },
        },
        meta={"OBSTYPE": "PTC", "PTC_VERSION": 2.0},
    )
    found = from_lsst(table)
    assert found.estimator == estimator
    assert found.gain[found.amplifier("C10")] == pytest.approx(gain, abs=1e-5)
    assert (found.a00 < 0).all()
    assert len(found.points) == 16
    i = found.amplifier("C10")
    p = found.points[i]
    # charge repels charge along columns more than along rows: lag (0, 1) is the parallel neighbour
    assert p.covariance[20, 0, 1] > p.covariance[20, 1, 0] > 0
    # the turnoff is the largest mean that the fit used
    assert found.range_high[i] == pytest.approx(found.turnoff[i])
    np.testing.assert_array_equal(to_lsst(found)["RAW_VARS"], table["RAW_VARS"])


def old(version: float, kind: str, drop: tuple[str, ...] = ()) -> Table:
    table = to_lsst(ptc())
    table.remove_columns([c for c in drop if c in table.colnames])
    table["PTC_FIT_TYPE"] = [kind] * len(table)
    table.meta["PTC_VERSION"] = version
    return table


def test_old_tables_hold_the_square_of_the_noise() -> None:
    one = ptc()
    table = old(1.8, "FULLCOVARIANCE")
    table["NOISE"] = one.read_noise**2
    np.testing.assert_allclose(from_lsst(table).read_noise, one.read_noise)
    table.meta["PTC_VERSION"] = 1.9
    np.testing.assert_array_equal(from_lsst(table).read_noise, one.read_noise**2)
    table = old(1.8, "EXPAPPROXIMATION")
    np.testing.assert_array_equal(from_lsst(table).read_noise, one.read_noise)


def test_the_first_version_has_no_turnoff() -> None:
    assert np.isnan(from_lsst(old(1.0, "FULLCOVARIANCE")).turnoff).all()
    np.testing.assert_array_equal(from_lsst(old(1.1, "FULLCOVARIANCE")).turnoff, ptc().turnoff)


def test_columns_that_came_later_are_not_a_number() -> None:
    later = ("EXP_ID_ROLLOFF_MASK", "RAW_DELTAS", "ROW_MEAN_VARIANCE", "PHOTO_CHARGE", "NPIXEL_COVARIANCES",
             "NOISE_LIST", "OVERSCAN_MEDIAN_LIST", "PTC_ROLLOFF", "PTCAUX_CCDTEMP", "INPUT_EXP_PAIR_MJD_START",
             "HIST_VARS", "KS_PVALUES", "COV_MATRIX_SIDE_FULL_COV_FIT", "BAD_AMPS", "INPUT_EXP_ID_PAIRS")  # fmt: skip
    found = from_lsst(old(1.2, "FULLCOVARIANCE", later))
    assert np.isnan(found.rolloff).all()
    for name in ("delta", "row_variance", "noise", "overscan", "temperature", "mjd"):
        assert np.isnan(getattr(found.points[0], name)).all()
    assert found.pairs == ()
    np.testing.assert_array_equal(found.points[0].pixels, ptc().points[0].pixels)
    np.testing.assert_array_equal(found.a, ptc().a)


def test_matrices_of_a_fit_without_b_were_once_apart() -> None:
    table = old(1.7, "FULLCOVARIANCE_NO_B")
    table["A_MATRIX_NO_B"], table["NOISE_MATRIX_NO_B"] = 2 * table["A_MATRIX"], 3 * table["NOISE_MATRIX"]
    found = from_lsst(table)
    np.testing.assert_array_equal(found.a, 2 * ptc().a)
    np.testing.assert_array_equal(found.a00, 2 * ptc().a00)


def test_another_table_is_refused() -> None:
    table = to_lsst(ptc())
    table.meta["OBSTYPE"] = "LINEARIZER"
    with pytest.raises(FileError, match="no photon transfer: OBSTYPE LINEARIZER"):
        from_lsst(table, source="x.fits")
    with pytest.raises(FileError, match="without the column GAIN"):
        from_lsst(old(2.6, "PARTIAL", ("GAIN",)))


def test_amplifiers_of_different_length_are_padded() -> None:
    short = Points(amp="B", mean=np.array([1.0, 2.0]), variance=np.array([1.0, 2.0]))
    table = to_lsst(ptc(("A", "B"), points=(points("A", 5, 2), short), model=np.zeros((0, 0)), used=np.zeros((0, 0)),
                        covariance_model=np.zeros((0, 0, 0, 0))))  # fmt: skip
    assert np.isnan(table["RAW_MEANS"][1][2:]).all()
    assert not table["EXP_ID_MASK"][1][2:].any()
    assert from_lsst(table).points[1].reasons[2:] == ("not measured",) * 3
