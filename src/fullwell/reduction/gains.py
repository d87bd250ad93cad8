"""Whether calibrations in electron were made with the gain that the frame is given."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fullwell.base.errors import UnitError
from fullwell.products import Gain, Product

__all__ = ["check_gains"]

TOLERANCE = 1e-3
"""Largest relative difference of two gains that are taken as the same."""


def check_gains(products: Mapping[str, Product], where: str) -> None:
    """Refuse a bias or dark in electron that was made with another gain than `products["gain"]`.

    Without an overscan a bias of 1000 adu is off by 65 electron for a gain that differs by 0.065: the error of the
    gain would turn into an error of the level.

    Raises
    ------
    UnitError
        names the product, the amplifier and the two gains.
    """
    gain = products.get("gain")
    if not isinstance(gain, Gain):
        return
    for role in ("bias", "dark"):
        product = products.get(role)
        made = _gain_of(product) if product is not None else {}
        for amp, value in zip(gain.amps, gain.gain.tolist(), strict=True):
            own = made.get(amp)
            if own is None or not np.isfinite(value) or abs(own / value - 1) <= TOLERANCE:
                continue
            assert product is not None
            raise UnitError(
                f"the {role} was made with a gain of {own:.5g} electron/adu, the frame is given {value:.5g}",
                where=f"{product.source or product.id}, amplifier {amp}; frame {where}",
                remedy=f"give the gain that the {role} was made with, or make the {role} anew with this one",
            )


def _gain_of(product: Product) -> dict[str, float]:
    """Amplifier -> gain that the inputs of a product in electron were multiplied by; {} where its history has none."""
    if getattr(product, "unit", "").split("/")[0] != "electron":
        return {}
    for record in reversed(product.history):
        if record.step == "gain" and record.state == "done":
            numbers = record.numbers.get("gain")
            return {k: v for k, v in numbers.items() if v is not None} if isinstance(numbers, Mapping) else {}
    return {}
