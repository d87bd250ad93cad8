"""`fullwell explain NAME`: the note of a step, mask plane, error code, product or recipe, from its own source."""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Callable
from typing import Annotated, Any

import typer

from fullwell.cli.options import common
from fullwell.cli.output import Door

app = typer.Typer(add_completion=False)

Entry = dict[str, Any]


@app.command(epilog="Examples: fullwell explain dark; fullwell explain SAT; fullwell explain FW301")
@common()
def explain(
    door: Door,
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="Step, mask plane, error code, product or recipe; without it, a list."),
    ] = None,
) -> None:
    """Explain a step, a mask plane, an error code, a product or a recipe."""
    if name is None:
        names = {kind: list(table) for kind, table in _tables().items()}
        for kind, items in names.items():
            door.say(f"{kind}: {', '.join(items)}")
        door.give(names=names)
        return
    entries = find(name)
    for entry in entries:
        door.say(f"{entry['kind']} {entry['name']}\n")
        door.say(entry["text"])
        if entry.get("settings"):
            door.table(("setting", "type", "default", "meaning"), entry["settings"], title="\nSettings")
        door.say()
    door.give(entries=entries)


def find(name: str) -> list[Entry]:
    """All entries called `name` (upper or lower case); a name may be a step and a product.

    Raises
    ------
    UsageError
        nothing has that name; the nearest one is proposed.
    """
    from fullwell.base.errors import UsageError

    tables = _tables()
    if re.fullmatch(r"FW\d{3}", name.upper()):
        return [_error(name.upper())]
    found = [
        table[key](key) for table in tables.values() for key in table if key.lower() == name.lower().replace("-", "_")
    ]
    if found:
        return found
    names = [key for table in tables.values() for key in table]
    near = difflib.get_close_matches(name, names, n=1) or difflib.get_close_matches(name.upper(), names, n=1)
    raise UsageError(
        f"nothing is called '{name}'",
        remedy=f"did you mean '{near[0]}'?" if near else "'fullwell explain' lists all names",
    )


def _tables() -> dict[str, dict[str, Callable[[str], Entry]]]:
    """Kind -> name -> function that makes the entry."""
    import fullwell.base.errors as errors
    import fullwell.effects  # noqa: F401  (fills the registry)
    from fullwell.conductor import STEPS
    from fullwell.frames import PLANES
    from fullwell.products.base import PRODUCTS
    from fullwell.recipes import RECIPES

    codes = {c.code for c in vars(errors).values() if inspect.isclass(c) and issubclass(c, errors.FullwellError)}
    return {
        "step": dict.fromkeys(STEPS, _step),
        "mask plane": dict.fromkeys((p.name for p in PLANES), _plane),
        "product": dict.fromkeys(PRODUCTS, _product),
        "recipe": dict.fromkeys(RECIPES, _recipe),
        "error": dict.fromkeys(sorted(codes), _error),
    }


def _step(name: str) -> Entry:
    from fullwell.conductor import STEPS

    step = STEPS[name]
    facts = [
        f"Product     {step.needs or 'none'}{' (if any)' if step.needs and step.optional else ''}",
        f"Unit        takes {step.unit}, leaves {step.leaves}",
        f"After       {', '.join(step.after) or 'nothing in particular'}",
        f"Works on    {step.area} frames, by {step.scope}; "
        f"{'can also be put in' if step.adder is not None else 'cannot be put in'}",
    ]
    settings = []
    meanings = _field_notes(step.config)
    for field, info in step.config.model_fields.items():
        kind = getattr(info.annotation, "__name__", None) if not getattr(info.annotation, "__args__", None) else None
        shown = kind or str(info.annotation).replace("typing.", "")
        settings.append([field, shown, repr(info.default), info.description or meanings.get(field, "")])
    text = step.note + "\n\n" + "\n".join(facts)
    return {"kind": "step", "name": name, "text": text, "settings": settings}


def _field_notes(config: type) -> dict[str, str]:
    """Sentences of a docstring of the form "name : meaning" or "name [unit] : meaning"."""
    notes: dict[str, str] = {}
    last = ""
    for line in inspect.cleandoc(config.__doc__ or "").splitlines():
        match = re.match(r"([\w, ]+?)(?: \[[^\]]+\])? : (.*)", line)
        if match:
            for last in match[1].replace(" ", "").split(","):
                notes[last] = match[2]
        elif last and line.startswith("    "):
            notes[last] += " " + line.strip()
    return notes


def _plane(name: str) -> Entry:
    from fullwell.frames import PLANES

    plane = next(p for p in PLANES if p.name == name)
    return {"kind": "mask plane", "name": name, "text": f"{plane.meaning}\n\nBit {plane.bit}, value {1 << plane.bit}."}


def _product(name: str) -> Entry:
    from fullwell.products.base import PRODUCTS

    kind = PRODUCTS[name]
    text = f"{inspect.cleandoc(kind.__doc__ or '')}\n\nSchema {kind.schema}, version {kind.version}."
    return {"kind": "product", "name": name, "text": text}


def _recipe(name: str) -> Entry:
    from fullwell.recipes import RECIPES

    recipe = RECIPES[name]
    strict = (
        "A missing product is an error." if recipe.strict else "A step without its product is left out and recorded."
    )
    return {"kind": "recipe", "name": name, "text": f"{recipe.about}\n{strict}\n\nOrder: {' > '.join(recipe.steps)}"}


def _error(code: str) -> Entry:
    """The class whose range holds `code`; the ranges stand in the tree of `base.errors`."""
    import fullwell.base.errors as errors
    from fullwell.base.errors import UsageError

    ranges = re.findall(r"(\w+) \(\w+\)\s+(FW[\dx]{3})\s+(.+)", errors.__doc__ or "")
    hits = [row for row in ranges if re.fullmatch(row[1].replace("x", r"\d"), code)]
    if not hits:
        known = ", ".join(row[1] for row in ranges)
        raise UsageError(f"no error has the code {code}", remedy=f"the ranges are {known}")
    name, span, summary = min(hits, key=lambda row: row[1].count("x"))
    doc = inspect.cleandoc(getattr(errors, name).__doc__ or "")
    place = f"Class fullwell.base.errors.{name}, codes {span}: {summary}."
    text = f"{doc}\n\n{place}\nThe message says where, and what to try."
    return {"kind": "error", "name": code, "text": text}
