"""The public names: they load when used, they exist, importing the package loads nothing heavy."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

import pytest

import fullwell as fw

HEAVY = ("numpy", "numba", "scipy", "astropy", "matplotlib", "pydantic", "typer", "rich")


def test_import_loads_nothing_heavy() -> None:
    code = f"import sys, fullwell; print([m for m in {HEAVY!r} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


@pytest.mark.parametrize("name", sorted(fw.VERBS))
def test_each_public_name_exists_and_is_documented(name: str) -> None:
    found = getattr(fw, name)
    assert found.__doc__
    assert not isinstance(found, type(fw))


@pytest.mark.parametrize("name", fw.ROOMS)
def test_each_room_can_be_reached(name: str) -> None:
    assert getattr(fw, name).__name__ == f"fullwell.{name}"


def test_verbs_are_not_shadowed_by_rooms() -> None:
    assert not set(fw.VERBS) & set(fw.ROOMS)


def test_a_misspelt_name_proposes_the_right_one() -> None:
    with pytest.raises(AttributeError, match="did you mean 'combine'"):
        _ = fw.combin


def test_version_is_that_of_the_distribution() -> None:
    assert fw.__version__ == version("fullwell")
