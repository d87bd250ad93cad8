"""What the tests of the pages share."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
WRITTEN = [ROOT / n for n in ("README.md", "CONTRIBUTING.md", "ARCHITECTURE.md", "CHANGELOG.md")]
WRITTEN += sorted(DOCS.glob("*.md")) + sorted((DOCS / "notebooks").glob("*.md"))
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.S | re.M)


def load(path: Path) -> ModuleType:
    """A script of docs/ as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def blocks(path: Path, language: str) -> list[str]:
    """Code blocks of one language in a page."""
    return [code for found, code in FENCE.findall(path.read_text(encoding="utf-8")) if found == language]


@pytest.fixture(scope="session")
def script() -> Callable[[str], ModuleType]:
    """Load a script of docs/ by its path there."""
    return lambda name: load(DOCS / name)


@pytest.fixture(scope="session")
def reference() -> ModuleType:
    """The maker of the generated pages."""
    return load(DOCS / "_ext" / "reference.py")


@pytest.fixture(scope="session")
def pages(reference: ModuleType) -> dict[str, str]:
    """Every generated page, by path below docs/generated."""
    return reference.pages()
