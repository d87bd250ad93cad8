"""Pages made from the code, so that they cannot drift from it: effects, recipes, products, tables, API.

`pages` returns every generated page as text, by its path below docs/generated; the Sphinx hook writes them before
the build reads its sources. `readable` brings docstrings into the form that numpydoc renders best.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

SUPER = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
API = {
    "fullwell.cameras": "Cameras",
    "fullwell.frames": "Frames",
    "fullwell.products": "Products",
    "fullwell.instruments": "Instruments",
    "fullwell.io": "Files",
    "fullwell.conductor": "Conductor",
    "fullwell.recipes": "Recipes",
    "fullwell.reduction": "Reduction",
    "fullwell.simulation": "Simulation",
    "fullwell.measure": "Measurements",
    "fullwell.measure.ptc": "Photon transfer",
    "fullwell.injection": "Injection",
    "fullwell.report": "Reports",
    "fullwell.repo": "Repository",
    "fullwell.pipeline.plan": "Planning runs",
    "fullwell.pipeline.runs": "Runs",
    "fullwell.pipeline.executors": "Executors",
    "fullwell.pipeline.jobs": "Jobs",
    "fullwell.journeys.demo": "Demo",
    "fullwell.journeys.reduce": "Reducing a folder",
    "fullwell.journeys.night": "A folder of frames",
    "fullwell.journeys.transfer": "Photon transfer of a series",
    "fullwell.base.errors": "Errors",
    "fullwell.base.config": "Settings",
    "fullwell.base.registry": "Registry",
    "fullwell.base.provenance": "Records",
    "fullwell.base.figures": "Figures by name",
}
"""Documented modules, with the titles of their pages."""


# ---------------------------------------------------------------------------------------------------- small tools
def plain(text: str) -> str:
    """One line of Markdown that shows `text` as it is: powers raised, signs of Markdown escaped outside of code."""
    parts = re.split(r"(``.*?``|`[^`]*`)", " ".join(text.split()))
    for i, part in enumerate(parts):
        if i % 2:
            parts[i] = "`" + part.strip("`") + "`"
            continue
        part = re.sub(r"(?<=[\w)\]])\*\*(\d)(?![\d.])", lambda m: m[1].translate(SUPER), part)
        parts[i] = re.sub(r"([*_<>$\\])", r"\\\1", part)
    return "".join(parts)


def table(columns: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def code(text: Any) -> str:
    """Inline code."""
    return f"`{text}`"


def note_parts(note: str) -> tuple[str, str, list[tuple[str, str]]]:
    """(title, sentence, [(heading, text)]) of a physics note."""
    first, _, rest = note.partition("\n")
    title, _, sentence = first.partition(": ")
    parts: list[tuple[str, str]] = []
    for line in rest.splitlines():
        found = re.match(r"([A-Z][\w ]*?)\s{2,}(\S.*)", line)
        if found:
            parts.append((found[1], found[2]))
        elif line.strip() and parts:
            parts[-1] = (parts[-1][0], f"{parts[-1][1]} {line.strip()}")
    return title, sentence, parts


def field_notes(config: type) -> dict[str, str]:
    """Field -> sentence, from the parameters of the docstrings of a class and its bases."""
    notes: dict[str, str] = {}
    for kind in reversed(config.__mro__):
        last: list[str] = []
        for line in inspect.cleandoc(vars(kind).get("__doc__") or "").splitlines():
            entry = re.match(ENTRY, line)
            if entry:
                for names, text in _entries(entry[1], entry[2]):
                    unit = re.search(r"\[[^\]]*\]", names)
                    last = re.sub(r"\[[^\]]*\]", "", names).replace(" ", "").split(",")
                    notes |= dict.fromkeys(last, f"{text} {unit[0]}" if unit else text)
            elif line.startswith("    "):
                notes |= {name: f"{notes[name]} {line.strip()}" for name in last}
            else:
                last = []
    return notes


def settings_table(config: type) -> str:
    """Fields of a settings class: name, type, default, meaning; "" where there is none."""
    notes, rows = field_notes(config), []
    for name, info in config.model_fields.items():
        meaning = info.description or notes.get(name, "")
        kind = inspect.formatannotation(info.annotation).replace("typing.", "")
        default = "required" if info.is_required() else code(repr(info.get_default(call_default_factory=True)))
        rows.append((code(name), code(kind), default, plain(meaning)))
    return table(("setting", "type", "default", "meaning"), rows) if rows else ""


# ---------------------------------------------------------------------------------------------------- tables
def mask_planes() -> str:
    """Table of the mask planes."""
    from fullwell.frames import PLANES

    return table(("plane", "bit", "value", "meaning"), [(code(p.name), p.bit, 1 << p.bit, p.meaning) for p in PLANES])


def error_classes() -> list[tuple[str, str, str, str, str]]:
    """(class, standard base, default code, range of codes, meaning) of every error."""
    from fullwell.base import errors

    ranges = {m[1]: m[2] for m in re.finditer(r"(\w+) \(\w+\)\s+(FW[\dx]{3})", errors.__doc__ or "")}
    found = []
    for name in errors.__all__:
        kind = getattr(errors, name)
        if issubclass(kind, errors.FullwellError):
            base = kind.__bases__[-1].__name__
            found.append((name, base, kind.code, ranges.get(name, ""), kind.__doc__.strip().splitlines()[0]))
    return found


def error_codes() -> str:
    """Table of the errors."""
    rows = [(code(c), code(r) if r else "", code(n), code(b), plain(m)) for n, b, c, r, m in error_classes()]
    return table(("code", "range", "class", "also a", "meaning"), rows)


# ---------------------------------------------------------------------------------------------------- pages
def effects() -> dict[str, ModuleType]:
    """Module of each effect that declares a step, by its short name, in the order of the full recipe."""
    import fullwell.effects as room
    from fullwell.conductor import STEPS
    from fullwell.recipes import LSST

    modules = {name: sys.modules[STEPS[name].function.__module__] for name in STEPS}
    order = sorted(modules, key=lambda name: LSST.index(name) if name in LSST else len(LSST))
    ours = {modules[name].__name__.rpartition(".")[2]: modules[name] for name in order}
    return {short: module for short, module in ours.items() if module.__name__.startswith(room.__name__)}


def effect_page(module: ModuleType) -> str:
    """Physics note, place in the recipes, functions and settings of one effect."""
    from fullwell.conductor import STEPS
    from fullwell.recipes import RECIPES

    title, sentence, parts = note_parts(inspect.getdoc(module) or "")
    short = module.__name__.rpartition(".")[2]
    lines = [f"# {title}", "", plain(sentence[:1].upper() + sentence[1:]), ""]
    for heading, text in parts:
        lines += [heading, f": {plain(text)}", ""]
    verbs = [verb for verb in ("remove", "add", "flag") if hasattr(module, verb)]
    if verbs:
        lines += ["## In Python", "", "```python", "import fullwell as fw", ""]
        lines += [f"fw.effects.{short}.{verb}(frame, product=None, config=None)  # a new frame" for verb in verbs]
        lines += ["```", ""]
    for name in (n for n in STEPS if STEPS[n].function.__module__ == module.__name__):
        step = STEPS[name]
        inside = [recipe for recipe in RECIPES if name in RECIPES[recipe].steps]
        product = f"{step.needs}{' (if there is one)' if step.optional else ''}" if step.needs else "none"
        facts = [
            ("product", product),
            ("unit", f"takes {step.unit}, leaves {'the same' if step.leaves == 'same' else step.leaves}"),
            ("comes after", ", ".join(map(code, step.after)) or "nothing in particular"),
            ("works on", f"{step.area} frames, by {step.scope}".replace("any frames", "raw and assembled frames")),
            ("directions", "can be taken out and put in" if step.adder else "one direction"),
            ("recipes", ", ".join(map(code, inside)) or "none; `fw.effects` only"),
        ]
        lines += [f"## Step `{name}`", "", table(("property", "value"), facts)]
        settings = settings_table(step.config)
        example = next(iter(step.config.model_fields), None)
        if settings:
            lines += [f"### Settings of `{name}`", "", settings]
            lines += [f"On the command line: `--set {name}.{example}=VALUE`.", ""]
    return "\n".join(lines)


def effects_index() -> str:
    """The list of effects, in the order in which a frame is corrected."""
    rows = []
    for short, module in effects().items():
        title, sentence, _ = note_parts(inspect.getdoc(module) or "")
        rows.append((f"[{title}]({short}.md)", plain(sentence)))
    entries = "\n".join(effects())
    return (
        "# Effects\n\nOne page per physical effect, made from the note at the head of its file. They stand in the order "
        "in which a frame is\ncorrected.\n\n" + table(("effect", "what it is"), rows) + f"\n```{{toctree}}\n:hidden:\n\n{entries}\n```\n"
    )


def recipes_page() -> str:
    """Every recipe with its steps."""
    from fullwell.conductor import STEPS
    from fullwell.recipes import RECIPES

    files = {name: STEPS[name].function.__module__.rpartition(".")[2] for name in STEPS}
    lines = []
    for name in RECIPES:
        recipe = RECIPES[name]
        missing = "an error" if recipe.strict else "left out, and the history says so"
        lines += [f"## `{name}`", "", plain(recipe.about), "", f"A step without its product is {missing}.", ""]
        rows = []
        for number, step_name in enumerate(recipe.steps, 1):
            step = STEPS[step_name]
            remark = []
            if step_name in recipe.dormant:
                remark.append("only where settings are given for it")
            if step_name in recipe.settings:
                remark += [f"`{key} = {value!r}`" for key, value in recipe.settings[step_name].items()]
            does = note_parts(step.note)[1]
            product = f"{step.needs}{' (if any)' if step.optional else ''}" if step.needs else ""
            link = f"[`{step_name}`](generated/effects/{files[step_name]}.md)"
            rows.append((number, link, plain(does), product, "; ".join(remark)))
        lines.append(table(("", "step", "undoes", "product", "here"), rows))
    return "\n".join(lines)


def products_page() -> str:
    """Every product: kind, schema, meaning."""
    from fullwell.products import PRODUCTS

    rows = []
    for kind in PRODUCTS:
        found = PRODUCTS[kind]
        first = (inspect.getdoc(found) or "").split("\n\n")[0]
        ref = f"[`{found.__name__}`](generated/api/fullwell.products.rst)"
        rows.append((code(kind), ref, code(f"{found.schema} {found.version}"), plain(first)))
    return table(("kind", "class", "schema", "what it is"), rows)


def public_names() -> str:
    """Table of the names of the package itself."""
    import fullwell as fw

    rows = []
    for name, place in sorted(fw.VERBS.items()):
        first = (inspect.getdoc(getattr(fw, name)) or "").split("\n\n")[0]
        rows.append((code(f"fw.{name}"), code(f"fullwell.{place.replace(':', '.')}"), plain(first)))
    return table(("name", "comes from", "what it is"), rows)


def constant_note(module: ModuleType, name: str) -> str:
    """What the source says of a constant: the string after its assignment, else what kind of thing it is."""
    for path in sorted(Path(module.__file__ or "").parent.glob("*.py")):
        body = ast.parse(path.read_text(encoding="utf-8")).body
        for first, second in zip(body, body[1:], strict=False):
            targets = getattr(first, "targets", [getattr(first, "target", None)])
            named = any(isinstance(t, ast.Name) and t.id == name for t in targets)
            if named and isinstance(second, ast.Expr) and isinstance(second.value, ast.Constant):
                return starless(" ".join(str(second.value.value).split()))
    thing = getattr(module, name)
    if hasattr(thing, "kind") and hasattr(thing, "register"):
        return f"The registry of every {thing.kind}, by name: " + ", ".join(f"``{key}``" for key in thing) + "."
    if isinstance(thing, (tuple, frozenset, dict)):
        inside = [getattr(item, "name", item) for item in thing]
        return ", ".join(f"``{item}``" for item in inside) + "."
    return f"A ``{type(thing).__name__}``."


def api_page(module_name: str, title: str) -> str:
    """reST page of the public names of one module."""
    from importlib import import_module

    module = import_module(module_name)
    first = (inspect.getdoc(module) or "").split("\n\n")[0].replace("*", "\\*")
    lines = [title, "=" * len(title), "", f"``{module_name}``: {first}", "", f".. currentmodule:: {module_name}", ""]
    for name in module.__all__:
        thing = getattr(module, name)
        if inspect.isclass(thing):
            lines += [f".. autoclass:: {name}", "   :members:", ""]
        elif callable(thing):
            lines += [f".. autofunction:: {name}", ""]
        else:
            lines += [f".. py:data:: {name}", "", f"   {constant_note(module, name)}", ""]
    return "\n".join(lines)


def figures_page() -> str:
    """Table of the registered figures."""
    import fullwell.plots  # noqa: F401  (fills the registry)
    from fullwell.base.figures import FIGURES

    rows = [(code(name), plain((inspect.getdoc(FIGURES[name]) or "").split("\n\n")[0])) for name in FIGURES]
    return table(("figure", "what it shows"), rows)


def scene_settings() -> str:
    """Settings of the scenes, the night and the sensor of the simulator."""
    from fullwell.simulation import SCENES, NightPlan, SensorConfig, Star, StarField

    lines = []
    for kind, found in SCENES.items():
        lines += [f"### Scene `{kind}`", "", plain(_summary(found)), "", settings_table(found)]
    for title, found in (("Star field", StarField), ("Star", Star), ("Night", NightPlan), ("Sensor", SensorConfig)):
        lines += [f"### {title}", "", plain(_summary(found)), "", settings_table(found)]
    return "\n".join(lines)


def _summary(found: type) -> str:
    return (inspect.getdoc(found) or "").split("\n\n")[0]


def pages() -> dict[str, str]:
    """Text of every generated page and table, by path below docs/generated."""
    from fullwell.instruments import CameraOptions
    from fullwell.journeys.night import ReduceOptions

    out = {f"effects/{short}.md": effect_page(module) for short, module in effects().items()}
    out["effects/index.md"] = effects_index()
    out |= {f"api/{name}.rst": api_page(name, title) for name, title in API.items()}
    parts = {
        "mask_planes": mask_planes(),
        "error_codes": error_codes(),
        "recipes": recipes_page(),
        "products": products_page(),
        "public_names": public_names(),
        "figures": figures_page(),
        "scene_settings": scene_settings(),
        "camera_options": settings_table(CameraOptions),
        "reduce_options": settings_table(ReduceOptions),
    }
    return out | {f"parts/{name}.txt": text for name, text in parts.items()}


def write(folder: Path) -> None:
    """Write all pages below `folder`; files that are as they should be are not touched."""
    wanted = pages()
    for path, text in wanted.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists() or target.read_text(encoding="utf-8") != text:
            target.write_text(text, encoding="utf-8")
    for old in folder.rglob("*.*"):
        if old.relative_to(folder).as_posix() not in wanted:
            old.unlink()


# ---------------------------------------------------------------------------------------------------- docstrings
ARRAY = r"~?numpy\.ndarray\[tuple\[~?(?:typing\.)?(?:Any|int), \.\.\.\], ~?numpy\.dtype\[([^\]]*)\]\]"
ENTRY = r"([\w, .*\\]+?(?: \[[^\]]*\](?:, [\w, ]+)?)?) : (.+)"
LISTS = ("Parameters", "Attributes", "Returns", "Raises")


def readable(lines: list[str]) -> list[str]:
    """Docstring lines with powers and stars escaped, and ``name : text`` lists as name and indented text."""
    out: list[str] = []
    section, literal, rulers = "", False, 0
    for i, line in enumerate(lines):
        if re.fullmatch(r"\s*=+( +=+)+\s*", line):
            rulers = (rulers + 1) % 3
        elif rulers:
            out.append(_cells(line))
            continue
        following = lines[i + 1] if i + 1 < len(lines) else ""
        if following and set(following.strip()) == {"-"} and len(following.strip()) >= 4 and not line.startswith(" "):
            section = line.strip()
        if literal and line.strip() and not line.startswith(" "):
            literal = False
        if literal:
            out.append(line)
            continue
        literal = line.rstrip().endswith("::")
        line = starless(line)
        entry = re.match(ENTRY, line)
        if section in LISTS and entry:
            for name, text in _entries(entry[1], entry[2]):
                out += [name, f"    {text}"]
        else:
            out.append(line)
    return out


def _cells(line: str) -> str:
    """A row of a text table with its powers raised; columns stay where they were."""
    parts = re.split(r"(\s{2,})", line)
    for i in range(0, len(parts), 2):
        raised = re.sub(r"\*\*(\d)(?!\d)", lambda m: m[1].translate(SUPER), parts[i]).replace("**", "^")
        if i + 1 < len(parts):
            parts[i + 1] += " " * (len(parts[i]) - len(raised))
        parts[i] = raised
    return "".join(parts)


def _entries(name: str, text: str) -> list[tuple[str, str]]:
    """``a : x; b : y`` as [(a, x), (b, y)]."""
    parts = re.split(r"; (?=\w[\w, ]*?(?: \[[^\]]*\])? : )", text)
    found = [(name, parts[0])]
    for part in parts[1:]:
        label, _, rest = part.partition(" : ")
        found.append((label, rest))
    return found


def starless(line: str) -> str:
    """Stars, bars and trailing underscores outside of code, escaped for reST."""
    parts = re.split(r"(``.*?``|`[^`]*`)", line)
    for i in range(0, len(parts), 2):
        part = re.sub(r"(?<=[\w)\]])\*\*(\d)(?![\d.])", lambda m: m[1].translate(SUPER), parts[i])
        parts[i] = re.sub(r"(?<!\\)([*|])", r"\\\1", part)
        parts[i] = re.sub(r"_(?=\W|$)", r"\\_", parts[i])
    return "".join(parts)


def _process(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    lines[:] = readable(lines)


def _signature(app: Any, what: str, name: str, obj: Any, options: Any, args: str | None, out: str | None) -> Any:
    """Signatures that Sphinx can take apart: no ``<factory>``, arrays by their short name."""
    if args is None:
        return None
    args, out = (re.sub(ARRAY, r"~numpy.typing.NDArray[\1]", text) if text else text for text in (args, out))
    return re.sub(r"=\s*<[^<>]*>", "=...", args or ""), out


def setup(app: Any) -> dict[str, Any]:
    """Hook into Sphinx: write the pages before sources are read, mend docstrings before numpydoc sees them."""
    app.setup_extension("sphinx.ext.autodoc")
    write(Path(app.srcdir) / "generated")
    app.connect("autodoc-process-docstring", _process, priority=400)
    app.connect("autodoc-process-signature", _signature)
    return {"version": "1", "parallel_read_safe": True}
