"""The command line as a whole: speed, laziness, exit codes, errors."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fullwell import __version__
from fullwell.base.errors import MissingProduct
from fullwell.cli import main as door
from fullwell.cli.main import COMMANDS

HEAVY = ("numpy", "numba", "scipy", "astropy", "matplotlib", "pydantic", "jinja2", "lsst")


def test_help_is_quick_and_loads_nothing_heavy() -> None:
    code = (
        "import sys, contextlib, io\n"
        "from fullwell.cli.main import main\n"
        "with contextlib.redirect_stdout(io.StringIO()) as text: main(['--help'])\n"
        f"print([m for m in {HEAVY!r} if m in sys.modules], len(text.getvalue()))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded, size = out.stdout.rsplit(" ", 1)
    assert loaded == "[]"
    assert int(size) > 500


def test_help_answers_in_three_tenths_of_a_second_of_processor_time() -> None:
    import resource

    def seconds() -> float:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    spent = []
    for _ in range(3):
        before = seconds()
        subprocess.run([sys.executable, "-m", "fullwell.cli", "--help"], capture_output=True, check=True)
        spent.append(seconds() - before)
    assert min(spent) < 0.3


def test_every_command_is_on_the_help_page(run) -> None:
    page = run("--help")
    assert page.code == 0
    for name in COMMANDS:
        assert f"│ {name} " in page.out


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(run, name: str) -> None:
    page = run(name, "-h")
    assert page.code == 0
    assert "Usage: fullwell " + name in page.out


def test_version(run) -> None:
    assert run("--version").out == f"fullwell {__version__}\n"


def test_a_misspelt_command_is_a_usage_error_with_a_proposal(run) -> None:
    done = run("reduse")
    assert done.code == 2
    assert "reduce" in done.err
    assert done.out == ""


def test_a_missing_option_is_a_usage_error(run) -> None:
    assert run("isr", "x.fits").code == 2


def _command(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def fail(*args: object, **more: object) -> None:
        raise error

    monkeypatch.setattr("fullwell.cli.explain.find", fail)


def test_an_error_of_the_user_is_three_lines_without_traceback(run, monkeypatch: pytest.MonkeyPatch) -> None:
    _command(monkeypatch, MissingProduct("there is no dark", where="a.fits", remedy="give --dark FILE"))
    done = run("explain", "dark")
    assert done.code == 2
    assert done.err == "FW301: there is no dark\n  where: a.fits\n  try:   give --dark FILE\n"


def test_a_mistake_of_ours_keeps_its_traceback(run, monkeypatch: pytest.MonkeyPatch) -> None:
    _command(monkeypatch, ZeroDivisionError("by zero"))
    done = run("explain", "dark")
    assert done.code == 2
    assert "Traceback" in done.err
    assert "mistake in fullwell" in done.err


def test_an_interrupt_is_130(run, monkeypatch: pytest.MonkeyPatch) -> None:
    _command(monkeypatch, KeyboardInterrupt())
    assert run("explain", "dark").code == 130


def test_an_interrupt_outside_of_a_command_is_130_too(run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*args: object, **more: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("fullwell.cli.main.LazyGroup.main", interrupted)
    assert run("steps").code == 130


def test_an_error_of_the_system_names_the_file(run, monkeypatch: pytest.MonkeyPatch) -> None:
    _command(monkeypatch, PermissionError(13, "Permission denied", "/root/x"))
    done = run("explain", "dark")
    assert done.code == 2
    assert done.err == "FW100: Permission denied\n  where: /root/x\n"


def test_nothing_is_said_after_the_reader_has_gone(tmp_path: Path) -> None:
    call = f"{sys.executable} -m fullwell.cli steps | head -1"
    done = subprocess.run(["bash", "-c", call], capture_output=True, text=True)
    assert "Traceback" not in done.stderr


def test_entry_point_is_this_function() -> None:
    from importlib.metadata import entry_points

    (point,) = entry_points(group="console_scripts", name="fullwell")
    assert point.load() is door.main
