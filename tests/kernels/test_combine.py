"""The combination kernel: sorting networks, clips worked out by hand and against astropy, weights, variances."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from astropy.stats import mad_std, sigma_clip

from fullwell.kernels.networks import furthest, network, sort_block, sort_columns, sorter
from fullwell.measure import rejection
from fullwell.measure.rejection import Clip, run


def combined(stack, method="clipped", clip=None, **more):
    """Run the kernel on a stack (N, P); returns a dict of its planes."""
    n, p = stack.shape[0], more.pop("pixels", stack.shape[1])
    out = {
        "image": np.empty(p, np.float32),
        "scatter": np.empty(p, np.float32),
        "count": np.empty(p, np.uint16),
        "rejected": np.empty(p, np.uint16),
        "by_input": np.zeros(n, np.int64),
    }
    if "variance" in more:
        out["propagated"] = np.full(p, np.nan, np.float32)
    if more.pop("keep", False):
        out["kept_bits"] = np.zeros((-(-n // 8), 1, p), np.uint8)
    run(stack, method, clip or Clip(), **out, **more)
    return out


@pytest.mark.parametrize("n", range(1, 13))
def test_network_sorts_all_sequences_of_zeros_and_ones(n):
    """By the 0-1 principle a network that sorts these sorts everything."""
    block = np.array(list(itertools.product((0, 1), repeat=n)), np.uint16).T.copy()
    sort_columns(block, *network(n))
    assert (np.diff(block.astype(int), axis=0) >= 0).all()


@pytest.mark.parametrize("n", [50, 100, 131])
def test_network_sorts_many(n):
    block = np.random.default_rng(n).normal(size=(n, 300)).astype(np.float32)
    expected = np.sort(block, axis=0)
    sort_columns(block, *network(n))
    assert np.array_equal(block, expected)


@pytest.mark.parametrize("n", [2, 3, 10, 50, 128])
@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_compiled_network_sorts_and_sums(n, dtype):
    """Into another array and in place; sums of whole numbers are exact up to the largest distance they hold."""
    stack = np.random.default_rng(n).integers(0, furthest(n) + 1, (n, 300)).astype(dtype)
    stack[:, 5] = np.arange(n) % 2 * furthest(n)
    expected, code = np.sort(stack, axis=0), sorter(n, stack.itemsize)
    out, s1, s2 = np.empty((n, 256), dtype), np.zeros(256, np.int32), np.zeros(256, np.uint32)
    sort_block(code.address, stack, out, 32, s1, s2)
    assert np.array_equal(out, expected[:, 32:288])
    sort_block(code.address, stack, out, 0, s1, s2)
    sort_block(code.address, out, out, 0, s1, s2)
    assert np.array_equal(out, expected[:, :256])
    if dtype == np.uint16:
        d = out.astype(np.int64) - out[(n - 1) // 2]
        assert np.array_equal(s1, d.sum(axis=0)) and np.array_equal(s2, (d * d).sum(axis=0))


RULES = {
    "std": Clip(spread="std", low=3.0, high=3.5),
    "mean": Clip(centre="mean", spread="std", low=2.0, high=2.0, ddof=1, iterations=9),
    "tight": Clip(spread="std", low=0.5, high=0.5, floor=0.0),
    "mad": Clip(),
    "lsst": Clip.lsst(),
    "none": Clip.none(),
}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("n", [2, 5, 10, 50, 100])
def test_whole_numbers_in_large_stacks_as_in_small_ones(n, rule, monkeypatch):
    """The way for raw frames equals the general one: values far away, equal ones, two heaps, limits hit exactly."""
    rng = np.random.default_rng(n)
    stack = rng.poisson(900, (n, 1100)).astype(np.uint16)
    stack[rng.integers(0, n, 90), rng.integers(0, 1100, 90)] = 65535
    stack[rng.integers(0, n, 90), rng.integers(0, 1100, 90)] += 200
    stack[:, 20] = 7
    stack[:, 21] = np.where(np.arange(n) % 2, 0, 65535)
    stack[:, 22] = np.where(np.arange(n) < 2, 1000, 1)
    for k in range(100):
        stack[:, 30 + k] = rng.integers(0, 2 + k % 4, n) * 3
    for method in ("clipped", "median", "min", "max"):
        monkeypatch.setattr(rejection, "LARGE", stack.size + 1)
        general = combined(stack, method, RULES[rule], floor=0.289)
        monkeypatch.setattr(rejection, "LARGE", 0)
        wider = np.concatenate([stack, stack[:, :40]], axis=1)
        quick = combined(wider, method, RULES[rule], floor=0.289, pixels=stack.shape[1])
        for plane in ("count", "rejected", "by_input"):
            assert np.array_equal(quick[plane], general[plane]), plane
        np.testing.assert_allclose(quick["image"], general["image"], rtol=1e-7)
        np.testing.assert_allclose(quick["scatter"], general["scatter"], rtol=2e-7, atol=1e-9)


def test_floats_in_large_stacks_as_in_small_ones(monkeypatch):
    rng = np.random.default_rng(4)
    stack = rng.normal(100, 3, (20, 700)).astype(np.float32)
    stack[rng.random(stack.shape) < 0.05] = np.nan
    general = combined(stack)
    monkeypatch.setattr(rejection, "LARGE", 0)
    quick = combined(stack, keep=True)
    for plane in ("image", "scatter", "count", "rejected", "by_input"):
        assert np.array_equal(quick[plane], general[plane], equal_nan=True)


def test_clip_by_hand():
    """10, 11, 12, 13, 99: median 12, MAD 1, limits 12 +- 7.41: 99 goes; the rest has mean 11.5, s^2 = 5/3."""
    out = combined(np.array([[10], [99], [12], [13], [11]], np.uint16), keep=True)
    assert out["image"][0] == 11.5
    assert out["scatter"][0] == np.float32(5 / 3 / 4)
    assert out["count"][0] == 4 and out["rejected"][0] == 1
    assert out["by_input"].tolist() == [0, 1, 0, 0, 0]
    assert out["kept_bits"][0, 0, 0] == 0b11101


def test_drop_extremes_by_hand():
    out = combined(np.array([[1], [5], [6], [7], [90]], np.uint16), clip=Clip(iterations=0, drop_low=1, drop_high=1))
    assert out["image"][0] == 6 and out["count"][0] == 3


def test_methods_by_hand():
    stack = np.array([[4, 1], [2, np.nan], [9, 3]], np.float32)
    none = Clip.none()
    assert combined(stack, "median", none)["image"].tolist() == [4, 2]
    assert combined(stack, "min", none)["image"].tolist() == [2, 1]
    assert combined(stack, "max", none)["image"].tolist() == [9, 3]
    assert combined(stack, "mean", none)["image"].tolist() == [5, 2]
    assert combined(stack, "mean", none)["count"].tolist() == [3, 2]


def test_weights_and_variance_by_hand():
    """Weights 1, 3 of 10 and 14: mean 13; variance (1*4 + 9*2)/16 = 1.375."""
    out = combined(
        np.array([[10], [14]], np.float32), "mean", Clip.none(), weights=np.array([1, 3], np.float32),
        variance=np.array([[4], [2]], np.float32),
    )  # fmt: skip
    assert out["image"][0] == 13
    assert out["propagated"][0] == 1.375


def test_rejected_values_do_not_enter_the_propagated_variance():
    out = combined(
        np.array([[10], [11], [12], [13], [900]], np.float32),
        variance=np.array([[1], [1], [1], [1], [1e6]], np.float32),
    )
    assert out["propagated"][0] == 4 / 16


def test_nothing_left():
    out = combined(np.array([[np.nan, 1], [np.inf, 2], [-np.inf, 3]], np.float32))
    assert np.isnan(out["image"][0]) and np.isnan(out["scatter"][0]) and out["count"].tolist() == [0, 3]
    assert out["image"][1] == 2


def stacks():
    rng = np.random.default_rng(3)
    for n in (4, 9, 10, 50):
        integers = rng.poisson(20000, (n, 3000)).astype(np.uint16)
        integers[rng.integers(0, n, 200), rng.integers(0, 3000, 200)] = 60000
        yield integers
        floats = integers.astype(np.float32) * np.float32(0.37)
        floats[rng.random(floats.shape) < 0.1] = np.nan
        yield floats


@pytest.mark.parametrize("stack", list(stacks()), ids=lambda s: f"{s.dtype}-{s.shape[0]}")
@pytest.mark.parametrize("spread", ["std", "mad"])
def test_equals_astropy(stack, spread):
    """Same counts, same mean to float32 rounding. The MAD is given to astropy as a function: see tests/peers."""
    std = np.nanstd if spread == "std" else lambda a, axis=None: mad_std(a, axis=axis, ignore_nan=True)
    clip = Clip(spread=spread, low=3.0, high=3.5, iterations=3, floor=0.0, fewest=3)
    ours = combined(stack, clip=clip)
    data = np.ma.masked_invalid(stack.astype(np.float64))
    theirs = sigma_clip(data, sigma_lower=3.0, sigma_upper=3.5, maxiters=3, cenfunc="median", stdfunc=std, axis=0)
    assert np.array_equal(ours["count"], theirs.count(axis=0))
    mean = np.ma.filled(theirs.mean(axis=0), np.nan)
    np.testing.assert_allclose(ours["image"], mean, rtol=2e-7)
    scatter = theirs.var(axis=0, ddof=1) / theirs.count(axis=0)
    np.testing.assert_allclose(ours["scatter"], np.ma.filled(scatter, np.nan), rtol=1e-5)


def test_a_wild_value_does_not_spoil_the_moments():
    """1e30 among numbers near 100: after its rejection the scatter is that of the others."""
    values = np.array([99, 100, 101, 102, 1e30, 98], np.float32)[:, None]
    out = combined(values)
    assert out["image"][0] == 100 and out["scatter"][0] == np.float32(2.5 / 5)


def test_iqr_rule_of_the_lsst_library_readmits():
    """From the second round all values are judged anew, by mean and deviation of those kept (ddof 1)."""
    values = np.array([1, 2, 3, 4, 5, 6, 7, 8, 14.0], np.float32)[:, None]
    tight = Clip(centre="median", spread="iqr", low=2, high=2, iterations=1, ddof=1, anew=True, floor=0)
    assert combined(values, clip=tight)["count"][0] == 8  # 5 +- 2 * 0.7413 * 4 = 5 +- 5.93
    second = Clip.lsst(4, 2)
    assert combined(values, clip=second)["count"][0] == 9  # 14 within 5.56 +- 4 * 3.97 of all


def test_partial_last_block_and_order_of_frames():
    stack = np.random.default_rng(8).normal(100, 5, (7, 700)).astype(np.float32)
    one = combined(stack)
    assert np.array_equal(one["image"], np.concatenate([combined(stack[:, :300].copy())["image"],
                                                        combined(stack[:, 300:].copy())["image"]]))  # fmt: skip
    two = combined(stack[::-1].copy())
    assert np.array_equal(one["image"], two["image"])
    assert np.array_equal(one["by_input"], two["by_input"][::-1])
