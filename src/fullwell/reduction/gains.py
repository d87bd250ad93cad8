"""The gain that a frame is given: where it comes from, whether it says so, whether the calibrations had the same."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from fullwell.base.errors import UnitError, UsageError
from fullwell.products import Gain, Product, Ptc

if TYPE_CHECKING:
    from fullwell.reduction.isr import Planned

__all__ = ["check_gains", "check_method", "gain_role"]

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


def gain_role(products: Mapping[str, Product]) -> dict[str, Product]:
    """The products with the gain of a photon transfer in its place: of role "ptc", or given as the gain.

    Raises
    ------
    UsageError
        there are both.
    """
    out = dict(products)
    found = out.pop("ptc", None)
    if found is not None and "gain" in out:
        raise UsageError(
            "there are a gain and a photon transfer, which both say the gain",
            where=f"{out['gain'].source or out['gain'].id}, {found.source or found.id}",
            remedy="give one of them",
        )
    gain = out.get("gain") if found is None else found
    if isinstance(gain, Ptc):
        out["gain"] = gain.to_gain()
    return out


def check_method(planned: Iterable[Planned], where: str) -> None:
    """Refuse a gain that does not say how it was measured, unless the step "gain" is told to take it.

    Raises
    ------
    UsageError
        names the file and what to write into it.
    """
    for item in planned:
        gain = item.product
        if item.step.name != "gain" or item.state != "done" or not isinstance(gain, Gain) or gain.has_method:
            continue
        if not getattr(item.config, "without_method", False):
            raise UsageError(
                "the gain does not say how it was measured; methods differ by several per cent",
                where=f"{gain.source or gain.id[:12]}, for {where}" if where else gain.source or gain.id[:12],
                remedy="state it in the table (meta: estimator: pair), measure it with fullwell ptc, "
                "or take it as it is with --set gain.without_method=true",
            )
        item.note = "a gain that does not say how it was measured"


def _gain_of(product: Product) -> dict[str, float]:
    """Amplifier -> gain that the inputs of a product in electron were multiplied by; {} where its history has none."""
    if getattr(product, "unit", "").split("/")[0] != "electron":
        return {}
    for record in reversed(product.history):
        if record.step == "gain" and record.state == "done":
            numbers = record.numbers.get("gain")
            return {k: v for k, v in numbers.items() if v is not None} if isinstance(numbers, Mapping) else {}
    return {}
