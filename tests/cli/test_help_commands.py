"""steps, explain, doctor: help that comes from the source itself."""

from __future__ import annotations

import pytest

import fullwell.effects  # noqa: F401
from fullwell.conductor import STEPS
from fullwell.frames import PLANES
from fullwell.recipes import RECIPES


def test_steps_of_a_recipe_in_order(run) -> None:
    rows = run("steps", "--recipe", "generic", "--json").data["recipes"][0]["steps"]
    assert [row["name"] for row in rows] == list(RECIPES["generic"].steps)
    assert [row["order"] for row in rows] == list(range(1, len(rows) + 1))
    dark = next(row for row in rows if row["name"] == "dark")
    assert (dark["product"], dark["area"], dark["unit"]) == ("dark", "assembled", "any")
    gain = next(row for row in rows if row["name"] == "gain")
    assert (gain["unit"], gain["leaves"]) == ("adu", "electron")
    assert all(row["does"] for row in rows)


def test_steps_lists_all_recipes(run) -> None:
    assert {r["name"] for r in run("steps", "--json").data["recipes"]} == set(RECIPES)


def test_an_unknown_recipe_is_named(run) -> None:
    done = run("steps", "--recipe", "generik")
    assert done.code == 2
    assert "did you mean 'generic'?" in done.err


@pytest.mark.parametrize("name", sorted(STEPS))
def test_every_step_is_explained_with_its_settings(run, name: str) -> None:
    entries = run("explain", name, "--json").data["entries"]
    (step,) = [e for e in entries if e["kind"] == "step"]
    assert STEPS[name].note in step["text"]
    assert {row[0] for row in step["settings"]} == set(STEPS[name].config.model_fields)


@pytest.mark.parametrize("plane", [p.name for p in PLANES])
def test_every_mask_plane_is_explained(run, plane: str) -> None:
    done = run("explain", plane.lower())
    assert done.code == 0
    assert next(p.meaning for p in PLANES if p.name == plane) in done.out


def test_a_name_may_be_a_step_a_product_and_a_recipe(run) -> None:
    kinds = [e["kind"] for e in run("explain", "dark", "--json").data["entries"]]
    assert kinds == ["step", "product", "recipe"]


@pytest.mark.parametrize(
    ("code", "kind"),
    [("FW100", "FileError"), ("FW121", "HeaderError"), ("FW155", "GeometryError"), ("fw301", "MissingProduct")],
)
def test_codes_are_explained_by_the_class_of_their_range(run, code: str, kind: str) -> None:
    assert f"base.errors.{kind}" in run("explain", code).out


def test_a_code_that_no_error_has(run) -> None:
    done = run("explain", "FW999")
    assert done.code == 2
    assert "no error has the code FW999" in done.err


def test_a_misspelt_name_proposes_the_nearest(run) -> None:
    done = run("explain", "satt")
    assert done.code == 2
    assert done.err == "FW600: nothing is called 'satt'\n  try:   did you mean 'SAT'?\n"


def test_without_a_name_all_names_are_listed(run) -> None:
    names = run("explain", "--json").data["names"]
    assert "SAT" in names["mask plane"]
    assert "FW301" in names["error"]


def test_doctor_finds_this_machine_in_order(run) -> None:
    done = run("doctor", "--json")
    assert done.code == 0
    assert done.data["facts"]["cores"] >= 1
    assert done.data["libraries"]["numpy"][0].isdigit()
    checks = {c["name"]: c["ok"] for c in done.data["checks"]}
    assert checks["compiled kernels"]
    assert checks["instrument lsstcam"]


def test_doctor_says_what_is_missing(run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fullwell.cli.doctor.LIBRARIES", ("numpy", "no-such-library"))
    done = run("doctor", "--json")
    assert done.code == 1
    assert done.data["failures"][0]["error"] == "missing: no-such-library; run 'pip install fullwell'"
