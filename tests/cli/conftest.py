"""A small simulated folder and a runner of command lines, shared by the tests of the commands."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fullwell.cli.main import main


@dataclass
class Ran:
    """What a command line did."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> dict[str, Any]:
        """The JSON document on stdout."""
        found: dict[str, Any] = json.loads(self.out)
        return found


Run = Callable[..., Ran]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run one command line in this process."""

    def call(*args: object) -> Ran:
        capsys.readouterr()
        code = main([str(a) for a in args])
        text = capsys.readouterr()
        return Ran(code, text.out, text.err)

    return call


@pytest.fixture(scope="session")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Raw frames of the demo camera: 4 bias, 4 dark, 4 flats, 2 science."""
    folder = tmp_path_factory.mktemp("night")
    for seed, scene in enumerate(("bias", "dark", "flat", "science"), 1):
        count = "2" if scene == "science" else "4"
        if scene == "dark":
            (folder / "dark.toml").write_text('kind = "dark"\ntime = 120\n')
        name = folder / "dark.toml" if scene == "dark" else scene
        call = ["simulate", name, "-o", folder / scene, "--count", count, "--seed", 100 * seed, "-q", "--json"]
        assert main([str(c) for c in call]) == 0
    return folder
