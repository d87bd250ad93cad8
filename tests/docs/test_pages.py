"""What the written pages say is so: code runs, commands exist, links lead somewhere, numbers are measured ones."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import fullwell as fw
from fullwell.cli.main import COMMANDS

from .conftest import DOCS, ROOT, WRITTEN, blocks

NAMED = [pytest.param(path, id=path.relative_to(ROOT).as_posix()) for path in WRITTEN]
LINK = re.compile(r"(?<!`)\[[^\]\n]*\]\(([^)\s]+)\)")


@pytest.fixture(scope="module")
def names() -> dict[str, Any]:
    """What the examples of the pages take for granted: a raw frame and its products."""
    from fullwell.simulation import ScienceScene, exact_products, sensor_of

    sensor = sensor_of("demo", 1)
    raw = fw.simulate(ScienceScene(band="g"), sensor, seed=7).frame
    return {"fw": fw, "raw": raw, "products": exact_products(sensor, "g")}


@pytest.mark.parametrize("page", ["../README.md", "variance.md", "recipes.md", "simulate.md", "api.md"])
def test_python_of_a_page_runs(
    page: str, names: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = blocks(DOCS / page, "python")
    assert found
    monkeypatch.chdir(tmp_path)
    space = dict(names)
    for code in found:
        exec(compile(code, page, "exec"), space)


@pytest.mark.parametrize("path", NAMED)
def test_python_of_all_pages_can_be_compiled(path: Path) -> None:
    for code in blocks(path, "python"):
        compile(code, str(path), "exec")


def test_products_page_runs_on_the_output_of_a_reduction(
    names: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reduced" / "calib").mkdir(parents=True)
    fw.write_product(names["products"]["bias"], "reduced/calib/bias.fits")
    fw.write_product(names["products"]["gain"], "reduced/calib/gain.ecsv")
    for code in blocks(DOCS / "products.md", "python"):
        exec(compile(code, "products.md", "exec"), dict(names))
    assert (tmp_path / "bias.png").stat().st_size > 1000


def test_the_whole_effect_of_the_guide_works(names: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    from fullwell.conductor import STEPS

    (code,) = blocks(ROOT / "CONTRIBUTING.md", "python")
    module = ModuleType("fullwell.effects.pedestal")
    monkeypatch.setitem(__import__("sys").modules, module.__name__, module)
    try:
        exec(compile(code, "CONTRIBUTING.md", "exec"), module.__dict__)
        raw = names["raw"]
        less = module.remove(raw)
        assert np.array_equal(less.image.array, raw.image.array - np.float32(100))
        assert np.array_equal(module.add(less).image.array, raw.image.array)
        assert STEPS["pedestal"].note.startswith("Pedestal: ")
    finally:
        STEPS._items.pop("pedestal", None)


def commands(path: Path) -> Iterator[list[str]]:
    """Words of every fullwell command in the shell blocks and inline code of a page."""
    text = path.read_text(encoding="utf-8")
    lines = [line for code in blocks(path, "sh") for line in code.splitlines()]
    lines += [m[1].replace("\\\n", " ") for m in re.finditer(r"^\$ (fullwell (?:[^\n]*\\\n)*[^\n]*)", text, re.M)]
    lines += re.findall(r"`(fullwell [a-z][^`]*)`", text)
    for line in lines:
        words = shlex.split(line, comments=True)
        at = [i for i, word in enumerate(words) if word.rpartition("/")[2] == "fullwell"]
        if at:
            yield words[at[0] + 1 :]


@pytest.mark.parametrize("path", NAMED)
def test_commands_and_options_exist(path: Path) -> None:
    import typer

    from fullwell.cli.main import app

    for words in commands(path):
        command: Any = typer.main.get_command(app)
        while words and hasattr(command, "list_commands") and not words[0].startswith("-"):
            with command.make_context("fullwell", [], resilient_parsing=True) as ctx:
                found = command.get_command(ctx, words[0].split("|")[0])
            assert found is not None, f"{path.name}: fullwell {' '.join(words)}"
            command, words = found, words[1:]
        known = {flag for p in command.params for flag in (*p.opts, *p.secondary_opts)} | {"--help", "-h"}
        used = {word.partition("=")[0] for word in words if word.startswith("-") and not re.match(r"-\d", word)}
        assert used <= known, f"{path.name}: {' '.join(words)}"


def test_every_command_is_in_the_pages() -> None:
    text = (DOCS / "commands.md").read_text()
    changes = (ROOT / "CHANGELOG.md").read_text()
    for name in COMMANDS:
        assert f"\n## fullwell {name}\n" in text
        assert re.search(rf"`{name}\b", changes), name


@pytest.mark.parametrize("path", NAMED)
def test_links_lead_somewhere(path: Path, pages: dict[str, str]) -> None:
    text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.S)
    for target in LINK.findall(text):
        place = target.partition("#")[0]
        if place.startswith("http") or not place:
            continue
        whole = (path.parent / place).resolve()
        made = whole.relative_to(DOCS / "generated").as_posix() in pages if "generated" in whole.parts else False
        assert made or whole.exists(), f"{path.name}: {target}"


def test_included_tables_are_made(pages: dict[str, str]) -> None:
    for path in WRITTEN:
        for part in re.findall(r"\{include\} generated/(\S+)", path.read_text()):
            assert part in pages, f"{path.name}: {part}"


def test_the_picture_is_small() -> None:
    assert (DOCS / "_static" / "demo.png").stat().st_size < 300_000


def test_closure_tables_are_of_the_levels_that_are_tested() -> None:
    row = re.compile(r"^\| (\d+) \| ([\d.]+) \| ([\d.]+) \| [\d.]+ \|$", re.M)
    readme, page = (row.findall(p.read_text()) for p in (ROOT / "README.md", DOCS / "variance.md"))
    source = (ROOT / "tests" / "closure" / "test_variance.py").read_text()
    levels = re.search(r"^LEVELS = \((.*)\)$", source, re.M)
    tolerance = re.search(r"^TOLERANCE = (.*)$", source, re.M)
    assert levels is not None
    assert tolerance is not None
    assert readme == page
    assert [float(level) for level, *_ in page] == [float(v) for v in levels[1].split(",")]
    assert all(abs(float(v) - 1) < float(tolerance[1]) for _, *values in page for v in values)


def test_rooms_of_the_architecture_are_those_of_the_contract() -> None:
    import tomllib

    contract = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]
    floors = [{room.strip() for room in line.split("|")} for line in reversed(contract["layers"])]
    rows = re.findall(r"^\| (\d+) \| ([^|]*) \|", (ROOT / "ARCHITECTURE.md").read_text(), re.M)
    assert [set(re.findall(r"`(\w+)`", rooms)) for _, rooms in rows] == floors
    assert [int(number) for number, _ in rows] == list(range(len(floors)))


SHEETS = {
    "first_principles": ("**Noise cannot be subtracted.**", "Noise cannot be subtracted", "## 6"),
    "photon_transfer": ("the line crosses noise = 1 adu", "the line crosses", ""),
}
"""Notebook -> words of an answer, the part of them that is in no worksheet, and the heading up to which it is not."""


@pytest.mark.parametrize("name", SHEETS)
def test_worksheets_are_in_step_and_hold_no_answer(name: str, script: Callable[[str], ModuleType]) -> None:
    maker = script("make_worksheet.py")
    sheets = {path.stem: (path.read_text(), target.read_text()) for path, target in maker.SHEETS.items()}
    assert set(sheets) == set(SHEETS)
    source, sheet = sheets[name]
    assert sheet == maker.worksheet(source), "run python docs/make_worksheet.py"
    questions = re.findall(r"\*\*Question (\d+)\.\*\*", source)
    assert questions == [str(i + 1) for i in range(len(questions))]
    assert re.findall(r"\*\*Question (\d+)\.\*\*", sheet) == questions
    assert "answer" not in sheet
    assert re.search(r"^# .*: worksheet$", sheet, re.M)
    words, hidden, end = SHEETS[name]
    assert words in source
    assert hidden not in (sheet.partition(end)[0] if end else sheet)


@pytest.mark.slow
@pytest.mark.parametrize("folder", ["efosc2-imaging", "arcsat-2025", "stl1001e-lab", "esis1-ccd230"])
def test_real_folders_print_what_the_page_shows(folder: str, shared: Path, script: Callable[[str], ModuleType]) -> None:
    maker = script("make_reduce.py")
    ((command, shown),) = [pair for pair in maker.commands(maker.PAGE.read_text()) if folder in pair[0]]
    assert maker.run(command, shared / "data") == shown, "run python docs/make_reduce.py FOLDER_OF_THE_DATA"


@pytest.mark.slow
def test_the_pages_build_without_warnings(tmp_path: Path) -> None:
    import subprocess
    import sys

    pytest.importorskip("myst_nb", reason="needs the extra 'docs'")
    call = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", str(DOCS), str(tmp_path)]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
