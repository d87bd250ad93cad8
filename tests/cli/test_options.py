"""Settings: precedence of file, environment and line; what is unknown is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from fullwell.base.errors import ConfigError
from fullwell.cli.options import parse_sets


def _config(folder: Path, text: str) -> Path:
    path = folder / "settings.toml"
    path.write_text(text)
    return path


def test_file_under_environment_under_line(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _config(tmp_path, '[steps]\nrecipe = "bias"\n')

    def order(*more: object) -> str:
        found = run("steps", "--json", "--config", path, *more).data["recipes"]
        assert len(found) == 1
        return str(found[0]["name"])

    assert order() == "bias"
    monkeypatch.setenv("FULLWELL_STEPS_RECIPE", "dark")
    assert order() == "dark"
    assert order("--recipe", "flat") == "flat"


def test_the_place_of_the_option_does_not_matter(run, tmp_path: Path) -> None:
    path = _config(tmp_path, '[steps]\nrecipe = "bias"\n')
    assert run("steps", "--recipe", "flat", "--config", path, "--json").data["recipes"][0]["name"] == "flat"


def test_an_unknown_option_in_the_file_is_refused_with_a_proposal(run, tmp_path: Path) -> None:
    done = run("steps", "--config", _config(tmp_path, "[steps]\nrecipi = 1\n"))
    assert done.code == 2
    assert "FW500: unknown option 'recipi' of 'steps'" in done.err
    assert "did you mean 'recipe'?" in done.err
    assert "settings.toml, table [steps]" in done.err


def test_a_file_that_is_not_toml(run, tmp_path: Path) -> None:
    done = run("steps", "--config", _config(tmp_path, "[steps\n"))
    assert done.code == 2
    assert "is not TOML" in done.err


def test_a_settings_file_that_is_not_there(run, tmp_path: Path) -> None:
    done = run("steps", "--config", tmp_path / "none.toml")
    assert done.code == 2
    assert "FW100: the settings file cannot be read: No such file" in done.err


def test_settings_of_steps_come_from_a_table(run, night: Path, tmp_path: Path) -> None:
    path = _config(tmp_path, "[isr.set.dark]\npropagate_varianze = false\n")
    call = ("isr", night / "science/science_00400.fits", "-o", tmp_path, "--gain", 1.5, "--dry-run")
    done = run(*call, "--config", path)
    assert done.code == 1
    assert "did you mean 'propagate_variance'?" in done.err


def test_sets_are_json_or_text() -> None:
    found = parse_sets(["a.x=1.5", "a.on=false", "b.method=median", "b.list=[1, 2]"])
    assert found == {"a": {"x": 1.5, "on": False}, "b": {"method": "median", "list": [1, 2]}}


@pytest.mark.parametrize("text", ["dark", "dark.scale", "scale=1", ".x=1", "dark.=1"])
def test_a_set_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="is not a setting"):
        parse_sets([text])
