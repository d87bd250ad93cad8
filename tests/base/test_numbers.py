"""Numbers for people: digits worked out by hand."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from fullwell.base.numbers import number, plain, significant, with_error


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (1.40034, "1.4003"),
        (-23.98765, "-23.988"),
        (123456.0, "123456"),
        (0.00012345678, "0.00012346"),
        (0.000012345678, "1.2346e-05"),
        (2.5e7, "2.5000e+07"),
        (math.nan, "-"),
        (None, "-"),
    ],
)
def test_five_significant_digits(value: float | None, text: str) -> None:
    assert significant(value) == text


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (1.40034, 0.00212, "1.4003 ± 0.0021"),
        (1.40034, 0.0996, "1.40 ± 0.10"),
        (1234.5, 12.3, "1234 ± 12"),
        (1234567.0, 1234.0, "1234567 ± 1234"),
        (5.0, 0.0, "5.0000"),
        (5.0, None, "5.0000"),
        (math.nan, 0.1, "-"),
        (1.234e-6, 1.2e-8, "(1.234 ± 0.012)e-06"),
    ],
)
def test_error_to_two_digits_value_to_the_same_place(value: float, error: float | None, text: str) -> None:
    assert with_error(value, error) == text


def test_unit_stands_behind() -> None:
    assert with_error(1.5, 0.01, "electron/adu") == "1.500 ± 0.010 electron/adu"


def test_plain_is_json_without_nan() -> None:
    data = {
        "path": Path("a/b.fits"),
        "array": np.array([1.0, np.nan]),
        "scalar": np.float32(0.5),
        "whole": np.int64(3),
        "measured": number(1.5, math.inf, "adu"),
        "set": (True, None),
    }
    assert json.loads(json.dumps(plain(data), allow_nan=False)) == {
        "path": "a/b.fits",
        "array": [1.0, None],
        "scalar": 0.5,
        "whole": 3,
        "measured": {"value": 1.5, "error": None, "unit": "adu"},
        "set": [True, None],
    }
