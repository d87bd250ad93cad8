"""Recipe: an order of steps, and the check that the order holds.

Each step declares the unit it takes and leaves, what it must come after, and whether it works on
raw or assembled frames (`conductor.Step`). `check_order` follows these through a recipe.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from fullwell.base.errors import RecipeError
from fullwell.base.registry import Registry
from fullwell.conductor.step import STEPS, Step

__all__ = ["RECIPES", "Recipe", "check_order", "steps_of"]


@dataclass(frozen=True)
class Recipe:
    """An order of steps.

    Parameters
    ----------
    name : as users call it.
    steps : names of steps, in the order in which they run.
    strict : True where a missing product is an error; False where the step is left out and the history says so.
    settings : step -> settings that differ from the step's own defaults.
    dormant : steps that run only where the user gives settings for them.
    about : a sentence for users.
    """

    name: str
    steps: tuple[str, ...]
    strict: bool = True
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    dormant: tuple[str, ...] = ()
    about: str = ""


RECIPES: Registry[Recipe] = Registry("recipe", "fullwell.recipes")


def steps_of(recipe: Recipe, off: Iterable[str] = ()) -> tuple[Step, ...]:
    """The steps of a recipe without those in `off`, checked.

    Raises
    ------
    RecipeError
        the order breaks a constraint, or `off` names a step that is not in the recipe.
    """
    import fullwell.effects  # noqa: F401  (fills the registry)

    off = set(off)
    unknown = off - set(recipe.steps)
    if unknown:
        raise RecipeError(
            f"recipe '{recipe.name}' has no step '{sorted(unknown)[0]}' to switch off",
            remedy=f"its steps are {', '.join(recipe.steps)}",
        )
    steps = tuple(STEPS[name] for name in recipe.steps if name not in off)
    check_order(steps, recipe.name)
    return steps


def check_order(steps: Iterable[Step], name: str = "recipe") -> None:
    """Prove that each step finds the unit, the area and the predecessors that it declares.

    Raises
    ------
    RecipeError
        names the step, the constraint and the remedy.
    """
    steps = tuple(steps)
    present = [s.name for s in steps]
    unit, assembled, seen = "adu", False, set[str]()
    has_assembly = "assemble" in present
    for s in steps:
        where = f"recipe '{name}', step '{s.name}'"
        if s.name in seen:
            raise RecipeError(f"step '{s.name}' is in the recipe twice", where=where)
        late = [other for other in s.after if other in present and other not in seen]
        if late:
            raise RecipeError(
                f"step '{s.name}' must come after '{late[0]}'", where=where, remedy=f"move '{late[0]}' before it"
            )
        if s.unit != "any" and s.unit != unit and not (s.unit == "electron" and "gain" not in present):
            raise RecipeError(f"step '{s.name}' takes {s.unit}, the frame is in {unit} by then", where=where)
        if s.area == "raw" and assembled:
            raise RecipeError(f"step '{s.name}' works on raw frames, after assembly there are none", where=where)
        if s.area == "assembled" and has_assembly and not assembled:
            raise RecipeError(f"step '{s.name}' needs an assembled frame", where=where, remedy="put 'assemble' before")
        if s.leaves != "same":
            unit = s.leaves
        assembled = assembled or s.name == "assemble"
        seen.add(s.name)
