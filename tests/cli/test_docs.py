"""The page of the commands is in step with the commands, and names every one of them."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from fullwell.cli.main import COMMANDS

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.fixture(scope="module")
def maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_commands", DOCS / "make_commands.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_in_step(maker: ModuleType) -> None:
    assert (DOCS / "commands.md").read_text() == maker.page(), "run python docs/make_commands.py"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_documented(name: str) -> None:
    assert f"\n## fullwell {name}\n" in (DOCS / "commands.md").read_text()


def test_every_option_has_a_meaning(maker: ModuleType) -> None:
    import typer

    from fullwell.cli.main import app

    for name, command in maker.tree(typer.main.get_command(app), "fullwell"):
        for param in command.params:
            assert param.help, f"{name}: {param.name}"
