"""Every step, setting, mask plane, error, product, recipe and public name stands in the pages, with a meaning."""

from __future__ import annotations

import inspect
import re
from importlib import import_module
from types import ModuleType

import pytest

import fullwell as fw
import fullwell.effects
from fullwell.base import errors
from fullwell.conductor import STEPS
from fullwell.frames import PLANES
from fullwell.products import PRODUCTS
from fullwell.recipes import RECIPES

from .conftest import DOCS

NO_PAGE = {"cli", "effects", "kernels", "plots"}
"""Rooms without a page of their own: commands, effects and figures have pages of another form; kernels are inside."""


@pytest.mark.parametrize("name", list(STEPS))
def test_every_step_has_its_note_and_settings(pages: dict[str, str], name: str) -> None:
    text = pages[f"effects/{STEPS[name].function.__module__.rpartition('.')[2]}.md"]
    assert f"\n## Step `{name}`\n" in text
    for heading in ("Model", "Input", "Output", "References"):
        assert f"\n{heading}\n: " in text, heading
    for field in STEPS[name].config.model_fields:
        assert f"\n| `{field}` |" in text


def test_every_setting_has_a_meaning(pages: dict[str, str]) -> None:
    rows = [
        row for text in pages.values() for row in text.splitlines() if re.match(r"\| `\w+` \| `.*` \|.*\|.*\|$", row)
    ]
    assert len(rows) > 100
    assert not [row for row in rows if row.endswith("|  |")]


def test_every_mask_plane_is_in_the_conventions(pages: dict[str, str]) -> None:
    for plane in PLANES:
        assert (
            f"| `{plane.name}` | {plane.bit} | {1 << plane.bit} | {plane.meaning} |" in pages["parts/mask_planes.txt"]
        )
    assert "generated/parts/mask_planes.txt" in (DOCS / "conventions.md").read_text()


def test_every_error_is_in_the_conventions(pages: dict[str, str]) -> None:
    found = [e for e in vars(errors).values() if inspect.isclass(e) and issubclass(e, errors.FullwellError)]
    assert len(found) == 11
    for error in found:
        assert f"| `{error.code}` |" in pages["parts/error_codes.txt"]
        assert f"`{error.__name__}`" in pages["parts/error_codes.txt"]
    assert "generated/parts/error_codes.txt" in (DOCS / "conventions.md").read_text()


def test_every_code_is_in_the_range_of_its_class(reference: ModuleType) -> None:
    for name, _, code, span, _ in reference.error_classes():
        if name != "FullwellError":
            assert re.fullmatch(span.replace("x", r"\d"), code), name


@pytest.mark.parametrize("name", list(RECIPES))
def test_every_recipe_shows_its_steps(pages: dict[str, str], name: str) -> None:
    text = pages["parts/recipes.txt"].split(f"## `{name}`\n")[1].split("\n## ")[0]
    assert re.findall(r"\[`(\w+)`\]", text) == list(RECIPES[name].steps)


def test_every_product_is_named(pages: dict[str, str]) -> None:
    for kind in PRODUCTS:
        assert f"| `{kind}` |" in pages["parts/products.txt"]


def test_every_public_name_of_the_package_is_named(pages: dict[str, str]) -> None:
    rows = pages["parts/public_names.txt"].splitlines()[2:]
    assert [row.split("`")[1] for row in rows] == [f"fw.{name}" for name in sorted(fw.VERBS)]
    assert not [row for row in rows if row.endswith("|  |")]


def test_every_room_has_a_page(reference: ModuleType) -> None:
    rooms = {name.split(".")[1] for name in reference.API}
    assert set(fw.ROOMS) - rooms == NO_PAGE


def test_every_public_name_of_a_room_is_on_its_page(reference: ModuleType, pages: dict[str, str]) -> None:
    for name in reference.API:
        module = import_module(name)
        for public in module.__all__:
            assert re.search(rf"^\.\. (autoclass|autofunction|py:data):: {public}$", pages[f"api/{name}.rst"], re.M)
            thing = getattr(module, public)
            assert not callable(thing) or (inspect.getdoc(thing) or "").strip(), f"{name}.{public}"


def test_a_note_is_taken_apart(reference: ModuleType) -> None:
    note = "Glow: light of the amplifier.\n\nModel        image += a\n             + b * t**2.\nBad amplifiers  none."
    expected = ("Glow", "light of the amplifier.", [("Model", "image += a + b * t**2."), ("Bad amplifiers", "none.")])
    assert reference.note_parts(note) == expected


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("t**2 V", "t² V"),
        ("a * b", r"a \* b"),
        ("see `a * b` and ``c_d``", "see `a * b` and `c_d`"),
        ("x_1 < y", r"x\_1 \< y"),
    ],
)
def test_markdown_shows_text_as_it_is(reference: ModuleType, text: str, shown: str) -> None:
    assert reference.plain(text) == shown


def test_docstrings_are_made_readable(reference: ModuleType) -> None:
    lines = ["Do it.", "", "Parameters", "----------", "a : first; b [s] : second, a * b.", "    More."]
    expected = [
        "Do it.",
        "",
        "Parameters",
        "----------",
        "a",
        "    first",
        "b [s]",
        r"    second, a \* b.",
        "    More.",
    ]
    assert reference.readable(lines) == expected


def test_columns_of_text_tables_stay(reference: ModuleType) -> None:
    lines = ["=====  =====", "a**2   v**(i)", "=====  ====="]
    assert reference.readable(lines) == ["=====  =====", "a²     v^(i)", "=====  ====="]
