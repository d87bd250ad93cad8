"""Orders: the shipped ones hold, and a wrong one is refused with the reason."""

from __future__ import annotations

import pytest

import fullwell.effects  # noqa: F401
from fullwell.base.errors import RecipeError
from fullwell.conductor.step import STEPS, Step
from fullwell.recipes import RECIPES, Recipe, check_order, steps_of


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_shipped_orders_hold(name: str) -> None:
    steps = steps_of(RECIPES[name])
    assert [s.name for s in steps] == list(RECIPES[name].steps)
    assert RECIPES[name].about.endswith(".")


def test_variance_is_made_before_the_flat() -> None:
    order = RECIPES["lsst"].steps
    assert order.index("variance") < order.index("flat")
    swapped = tuple({"variance": "flat", "flat": "variance"}.get(n, n) for n in order)
    with pytest.raises(RecipeError, match="'flat' must come after 'variance'"):
        steps_of(Recipe("wrong", swapped))


def test_gain_before_overscan_is_refused() -> None:
    with pytest.raises(RecipeError, match="'gain' must come after 'overscan_serial'"):
        check_order([STEPS["gain"], STEPS["overscan_serial"]])


def test_unit_chain_is_followed() -> None:
    with pytest.raises(RecipeError, match="'saturation' takes adu, the frame is in electron"):
        check_order([Step("x", print, leaves="electron"), STEPS["saturation"]])


def test_area_is_followed() -> None:
    with pytest.raises(RecipeError, match=r"'bias' must come after 'assemble'|'bias' needs an assembled frame"):
        check_order([STEPS["bias"], STEPS["assemble"]])
    with pytest.raises(RecipeError, match=r"after assembly there are none|must come after"):
        check_order([STEPS["assemble"], STEPS["saturation"]])


def test_a_step_twice_is_refused() -> None:
    with pytest.raises(RecipeError, match="'bias' is in the recipe twice"):
        check_order([STEPS["bias"], STEPS["bias"]])


def test_switching_off_an_unknown_step_names_those_there_are() -> None:
    with pytest.raises(RecipeError, match=r"no step 'fringes'[\s\S]*its steps are"):
        steps_of(RECIPES["generic"], off=("fringes",))


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_dormant_steps_and_settings_belong_to_the_recipe(name: str) -> None:
    order = RECIPES[name]
    assert set(order.dormant) <= set(order.steps)
    assert set(order.settings) <= set(order.steps)
