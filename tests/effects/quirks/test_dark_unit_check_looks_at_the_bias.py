"""Known mistake of the reference: the unit check of the dark reads the header of the bias; that of the flat is missing.

Ours looks at the dark itself, with or without a bias.
"""

from __future__ import annotations

import numpy as np
import pytest

from fullwell.base.errors import UnitError
from fullwell.conductor import STEPS, check_product
from fullwell.products import Bias, Dark, Flat

PLANE = np.ones((2, 2), np.float32)


def test_a_dark_in_adu_does_not_pass_on_electrons() -> None:
    for unit in ("adu", "adu/s"):
        with pytest.raises(UnitError, match=r"dark d\.fits is in adu"):
            check_product(STEPS["dark"], Dark(image=PLANE, unit=unit, source="d.fits"), "electron")


def test_the_right_units_pass_and_a_flat_has_none() -> None:
    for unit in ("adu", "electron"):
        check_product(STEPS["bias"], Bias(image=PLANE, unit=unit), unit)
        check_product(STEPS["dark"], Dark(image=PLANE, unit=f"{unit}/s"), unit)
        check_product(STEPS["flat"], Flat(image=PLANE), unit)
