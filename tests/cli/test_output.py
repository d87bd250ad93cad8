"""The door: tables, JSON, failures, progress."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer

from fullwell.base.errors import DataError
from fullwell.base.progress import progress
from fullwell.cli.main import main
from fullwell.cli.output import Door


def test_numbers_stand_to_the_right(capsys: pytest.CaptureFixture[str]) -> None:
    with Door("x") as door:
        door.table(("name", "n"), [("a", 5), ("b", 12)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[-3:] == ["name   n", "a      5", "b     12"]


def test_under_json_an_error_that_ends_the_command_is_in_the_document(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    gone = tmp_path / "gone"
    assert main(["reduce", str(gone), "-o", str(tmp_path / "out"), "--json"]) == 2
    text = capsys.readouterr()
    failure = json.loads(text.out)["failures"][0]
    assert failure["name"] == "reduce" and failure["code"] == "FW600" and str(gone) in failure["error"]
    assert text.err.startswith("FW600")


def test_under_json_stdout_is_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    with Door("x", as_json=True) as door:
        door.say("not seen")
        door.table(("a",), [(1,)])
        door.note("for people")
        door.give(level=float("nan"))
    text = capsys.readouterr()
    assert json.loads(text.out) == {"command": "x", "version": 1, "level": None}
    assert text.err == "for people\n"


def test_quiet_says_errors_only(capsys: pytest.CaptureFixture[str]) -> None:
    with Door("x", quiet=True) as door:
        door.note("a note")
        with door.guard("a.fits"):
            raise DataError("no pixel is good")
    assert capsys.readouterr().err == "a.fits: failed\nFW400: no pixel is good\n"


def test_quiet_prints_neither_lines_nor_tables_but_the_document(capsys: pytest.CaptureFixture[str]) -> None:
    for as_json in (False, True):
        with Door("x", quiet=True, as_json=as_json) as door:
            door.say("a line")
            door.table(("a",), [(1,)], title="a title")
            door.give(a=1)
        text = capsys.readouterr()
        assert text.err == ""
        assert text.out == "" if not as_json else json.loads(text.out) == {"command": "x", "version": 1, "a": 1}


@pytest.mark.parametrize("words", [["steps"], ["instrument", "list"], ["explain", "dark"], ["doctor"]])
def test_every_command_can_be_quiet(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    assert main([*words, "-q"]) == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("words", "command", "code", "text"),
    [
        (["isr", "a.fits", "--json"], "isr", "FW600", "Missing option '-o'"),
        (
            ["build", "bias", "a.fits", "-o", "b.fits", "--json", "--jobs", "none"],
            "build bias",
            "FW600",
            "valid integer",
        ),
        (["steps", "--json", "--no-such"], "steps", "FW600", "--no-such"),
        (["reduse", "--json"], "fullwell", "FW600", "reduse"),
        (["--nothing", "--json"], "fullwell", "FW600", "--nothing"),
        (["steps", "--json", "--config", "gone.toml"], "steps", "FW100", "settings file"),
        (["build", "bias", "gone.fits", "-o", "b.fits", "--json", "--set", "odd"], "build bias", "FW500", "'odd'"),
    ],
)
def test_under_json_a_mistake_in_the_call_is_in_the_document(
    capsys: pytest.CaptureFixture[str], words: list[str], command: str, code: str, text: str
) -> None:
    assert main(words) == 2
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert (found["command"], found["version"]) == (command, 1)
    (failure,) = found["failures"]
    assert failure["name"] == command and failure["code"] == code and text in failure["error"]
    assert said.err
    words = [w for w in words if w != "--json"]
    assert main(words) == 2
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("error", "code"), [(ZeroDivisionError("by zero"), "ZeroDivisionError"), (PermissionError(13, "no", "/x"), "FW100")]
)
def test_under_json_any_error_gives_one_document(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, error: Exception, code: str
) -> None:
    def fail(*args: object, **more: object) -> None:
        raise error

    monkeypatch.setattr("fullwell.cli.explain.find", fail)
    assert main(["explain", "dark", "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["failures"][0]["code"] == code


def test_one_failure_does_not_stop_the_others() -> None:
    seen = []
    with Door("x") as door:
        for name in "abc":
            with door.guard(name):
                if name == "b":
                    raise ValueError("odd")
                seen.append(name)
    assert seen == ["a", "c"]
    assert door.failures == [{"name": "b", "code": "ValueError", "error": "odd", "where": None, "remedy": None}]


def test_fail_fast_stops_with_code_1_and_still_gives_the_document(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as end, Door("x", as_json=True, fail_fast=True) as door, door.guard("a"):
        raise DataError("no pixel is good")
    assert end.value.exit_code == 1
    assert json.loads(capsys.readouterr().out)["failures"][0]["code"] == "FW400"


def test_warnings_of_libraries_are_lines_of_ours(capsys: pytest.CaptureFixture[str]) -> None:
    import warnings

    with Door("x"):
        warnings.warn("odd keyword", UserWarning, stacklevel=1)
    assert capsys.readouterr().err == "warning: odd keyword\n"


def test_a_bar_is_drawn_on_a_terminal_only(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    with Door("x"):
        assert list(progress([1, 2], "work")) == [1, 2]
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with Door("x"):
        assert list(progress([1, 2], "work")) == [1, 2]
    assert list(progress([3], "after")) == [3]
