"""`fullwell`: the commands, loaded one by one, and what happens to errors.

Exit codes: 0 done; 1 ran, but a check or a frame failed; 2 the call or the data cannot be used;
130 interrupted. An error that the user can put right is printed in three lines; a bug keeps its traceback.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from fullwell import __version__

__all__ = ["COMMANDS", "main"]

COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("demo", "Journeys"),
    "reduce": ("reduce", "Journeys"),
    "ptc": ("ptc", "Journeys"),
    "emva1288": ("emva1288", "Journeys"),
    "show": ("show", "Frames"),
    "isr": ("isr", "Frames"),
    "combine": ("combine", "Frames"),
    "noise": ("noise", "Frames"),
    "simulate": ("simulate", "Frames"),
    "inject": ("inject", "Frames"),
    "build": ("build", "Calibrations and cameras"),
    "repo": ("repo", "Calibrations and cameras"),
    "instrument": ("instrument", "Calibrations and cameras"),
    "plan": ("plan", "Repository and pipeline"),
    "run": ("run", "Repository and pipeline"),
    "resume": ("resume", "Repository and pipeline"),
    "rerun": ("rerun", "Repository and pipeline"),
    "steps": ("steps", "Help"),
    "explain": ("explain", "Help"),
    "doctor": ("doctor", "Help"),
}
"""Command -> (module of `fullwell.cli`, panel of the help page)."""


_REFUSED: Any = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")


class LazyGroup(TyperGroup):
    """A group whose commands are imported when they are asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Names in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of that name; None where there is none."""
        if cmd_name not in COMMANDS:
            return None
        if cmd_name not in self.commands:
            module, panel = COMMANDS[cmd_name]
            command: Any = typer.main.get_command(import_module(f"fullwell.cli.{module}").app)
            command.name, command.rich_help_panel = cmd_name, panel
            polish(command, cmd_name)
            self.commands[cmd_name] = command
        return self.commands[cmd_name]

    refused: Exception | None = None
    """The mistake in the call that ended the last run."""

    def make_context(self, *args: Any, **more: Any) -> Any:
        """As the base class; a mistake in the options is kept in `refused`."""
        with self._keeping():
            return super().make_context(*args, **more)

    def invoke(self, ctx: Any) -> Any:
        """As the base class; a mistake in the options of a command is kept in `refused`."""
        with self._keeping():
            return super().invoke(ctx)

    @contextmanager
    def _keeping(self) -> Iterator[None]:
        self.refused = None
        try:
            yield
        except _REFUSED as error:
            self.refused = error
            raise

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """As the base class, with all names at hand for the proposal after a misspelling."""
        if args and args[0] not in COMMANDS:
            for name in COMMANDS:
                self.get_command(ctx, name)
        return super().resolve_command(ctx, args)


def polish(command: Any, path: str) -> None:
    """Give every option its environment variable, and help pages without clutter; groups with all their commands."""
    for name, child in getattr(command, "commands", {}).items():
        polish(child, f"{path} {name}")
    for param in command.params:
        if param.param_type_name == "option":
            option = max(param.opts, key=len).lstrip("-")
            param.envvar = "_".join(["fullwell", *path.split(), option]).replace("-", "_").upper()
            param.show_envvar = False
            if param.is_flag:
                param.metavar = ""
        if getattr(param, "help", None):
            param.help = param.help.replace("[", r"\[")


app = typer.Typer(
    cls=LazyGroup,
    name="fullwell",
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"fullwell {__version__}")
        raise typer.Exit()


@app.callback(epilog="Begin with 'fullwell demo', or with 'fullwell reduce FOLDER -o OUT' on frames of your own.")
def fullwell(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """CCD images from raw counts to calibrated electrons whose variance can be trusted."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; the arguments of the process by default. Returns the exit code."""
    from fullwell.base.errors import FullwellError

    command: Any = typer.main.get_command(app)
    polish(command, "")
    args = sys.argv[1:] if argv is None else list(argv)
    try:
        command.main(args=args, prog_name="fullwell")
    except SystemExit as end:
        if command.refused is not None:
            _tell(command, args, command.refused)
        return end.code if isinstance(end.code, int) else (0 if end.code is None else 2)
    except FullwellError as error:
        print(error, file=sys.stderr)
        _tell(command, args, error)
        return 2
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        print(f"FW100: {error.strerror or error}\n  where: {error.filename or 'the system'}", file=sys.stderr)
        _tell(command, args, error)
        return 2
    except Exception as error:
        import traceback

        traceback.print_exc()
        print(
            "\nThis is a mistake in fullwell. Please report it with the output of 'fullwell doctor'.", file=sys.stderr
        )
        _tell(command, args, error)
        return 2
    return 0


def _tell(command: Any, args: list[str], error: Exception) -> None:
    """Where JSON was asked for and no command has given a document: one that holds the error."""
    options = args[: args.index("--")] if "--" in args else args
    if "--json" not in options or getattr(error, "told", False):
        return
    from fullwell.base.errors import UsageError
    from fullwell.cli.output import document, failure

    names: list[str] = []
    for word in args:
        command = getattr(command, "commands", {}).get(word)
        if command is None:
            break
        names.append(word)
    name = " ".join(names) or "fullwell"
    text = getattr(error, "format_message", None)
    document(name, {}, [failure(name, error if text is None else UsageError(text()))])
