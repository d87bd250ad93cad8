"""`fullwell steps`: the steps of a recipe, in their order."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from fullwell.cli.options import common
from fullwell.cli.output import Door

app = typer.Typer(add_completion=False)


@app.command(epilog="Example: fullwell steps --recipe lsst; then fullwell explain NAME for the physics of one.")
@common()
def steps(
    door: Door,
    recipe: Annotated[str | None, typer.Option("--recipe", metavar="NAME", help="One recipe; all by default.")] = None,
) -> None:
    """List the steps of the recipes: order, unit, product, scope, area."""
    import fullwell.effects  # noqa: F401  (fills the registry)
    from fullwell.recipes import RECIPES

    orders = [RECIPES[recipe]] if recipe else [RECIPES[name] for name in RECIPES]
    out = []
    for order in orders:
        rows = [_row(number, name, order.settings.get(name, {})) for number, name in enumerate(order.steps, 1)]
        out.append({"name": order.name, "about": order.about, "strict": order.strict, "steps": rows})
        door.say(f"{order.name}: {order.about}")
        columns = ("order", "name", "unit", "leaves", "product", "scope", "area", "does")
        door.table(columns, [[row[c] for c in columns] for row in rows])
        door.say()
    door.give(recipes=out)


def _row(number: int, name: str, settings: dict[str, Any]) -> dict[str, Any]:
    from fullwell.conductor import STEPS

    if name not in STEPS:
        return dict.fromkeys(("unit", "leaves", "product", "scope", "area"), "-") | {
            "order": number,
            "name": name,
            "does": "not installed",
            "settings": settings,
        }
    step = STEPS[name]
    return {
        "order": number,
        "name": name,
        "unit": step.unit,
        "leaves": step.leaves,
        "product": (step.needs or "-") + (" (if any)" if step.needs and step.optional else ""),
        "scope": step.scope,
        "area": step.area,
        "does": step.note.split("\n", 1)[0].partition(": ")[2] or step.note.split("\n", 1)[0],
        "settings": settings,
    }
