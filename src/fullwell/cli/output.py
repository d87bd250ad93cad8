"""What a command says: data on stdout, everything else on stderr.

A `Door` is open while a command runs. It draws progress bars where stderr is a terminal, shows warnings
in our own words, counts frames that failed, and prints tables, or with ``--json`` one JSON document.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from fullwell.base.numbers import number, plain, significant, with_error

__all__ = ["Door", "document", "failure", "number", "plain", "significant", "with_error"]


@dataclass
class Door:
    """The way out of one command.

    Parameters
    ----------
    command : its name, for the JSON document.
    as_json : print one JSON document on stdout instead of tables.
    quiet : say errors only; the JSON document comes all the same. verbose : how much is said on stderr.
    dry_run, jobs, fail_fast : as the options say.
    reader : `Reader` of raw frames, as the options of the camera say.
    given : `Given` products of commands that correct frames; settings : of their steps.
    origins : option -> "default", "default_map" (settings file), "environment" or "commandline".
    """

    command: str
    as_json: bool = False
    quiet: bool = False
    verbose: int = 0
    dry_run: bool = False
    jobs: int = 1
    fail_fast: bool = False
    origins: Mapping[str, str] = field(default_factory=dict)
    failures: list[dict[str, Any]] = field(default_factory=list)
    data: dict[str, Any] = field(default_factory=dict)
    reader: Any = None
    given: Any = None
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __enter__(self) -> Door:
        import logging
        import warnings

        self._stack = ExitStack()
        level = logging.ERROR if self.quiet else (logging.WARNING, logging.INFO, logging.DEBUG)[min(self.verbose, 2)]
        logger, handler = logging.getLogger("fullwell"), logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
        before = logger.level
        logger.addHandler(handler)
        logger.setLevel(level)
        self._stack.callback(logger.setLevel, before)
        self._stack.callback(logger.removeHandler, handler)
        self._stack.enter_context(warnings.catch_warnings())
        warnings.showwarning = lambda message, category, *rest, **more: self.note(f"warning: {message}")
        if not self.quiet and sys.stderr.isatty():
            from fullwell.base.progress import handler as install

            self._stack.enter_context(install(self._bar))
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self._stack.close()
        import typer

        if not self.as_json or isinstance(value, BrokenPipeError) or (value and not isinstance(value, Exception)):
            return
        error: Any = None if isinstance(value, typer.Exit) else value
        if error is not None:
            self.failures.append(failure(self.command, error))
            error.told = True
        document(self.command, self.data, self.failures)

    @staticmethod
    def _bar(items: Iterable[Any], label: str, total: int | None) -> Iterator[Any]:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(label, total=total)
            for item in items:
                yield item
                bar.advance(task)

    def note(self, text: str) -> None:
        """A line for people, on stderr; silent under ``-q``."""
        if not self.quiet:
            print(text, file=sys.stderr)

    def say(self, text: str = "") -> None:
        """A line of the result; not printed under ``--json`` or ``-q``."""
        if not (self.as_json or self.quiet):
            print(text)

    def give(self, **data: Any) -> None:
        """Keys of the JSON document."""
        self.data.update(data)

    def table(
        self, columns: Sequence[str], rows: Iterable[Sequence[Any]], *, title: str = "", left: Sequence[str] = ()
    ) -> None:
        """A table of the result, numbers to the right, none under ``--json`` or ``-q``; plain columns into a pipe."""
        if self.as_json or self.quiet:
            return
        cells = [[significant(c) if isinstance(c, float) else str(c) for c in row] for row in rows]
        if sys.stdout.isatty():
            from rich.console import Console
            from rich.markup import escape
            from rich.table import Table

            table = Table(title=title or None, title_justify="left", header_style="bold")
            for j, column in enumerate(columns):
                table.add_column(escape(column), justify="right" if _numbers(cells, j) else "left")
            for line in cells:
                table.add_row(*(escape(c) for c in line))
            Console().print(table)
            return
        if title:
            print(title)
        widths = [max(len(str(c)) for c in (columns[j], *(line[j] for line in cells))) for j in range(len(columns))]
        for line in ([str(c) for c in columns], *cells):
            parts = [
                c.rjust(w) if _numbers(cells, j) else c.ljust(w)
                for j, (c, w) in enumerate(zip(line, widths, strict=True))
            ]
            print("  ".join(parts).rstrip())

    @contextmanager
    def guard(self, name: str) -> Iterator[None]:
        """Run the work on one frame: if it fails, say why, count it and let the others go on.

        A mistake of ours is shown with its traceback. The exit code is then 1; ``--fail-fast`` ends at once.
        """
        import typer

        from fullwell.base.errors import FullwellError

        try:
            yield
        except FullwellError as error:
            self.failures.append(failure(name, error))
            print(f"{name}: failed\n{error}", file=sys.stderr)
        except BrokenPipeError:
            raise
        except Exception as error:
            import traceback

            self.failures.append(failure(name, error))
            print(f"{name}: failed by a mistake in fullwell\n{traceback.format_exc()}", file=sys.stderr)
        else:
            return
        if self.fail_fast:
            raise typer.Exit(1)


def failure(name: str, error: BaseException) -> dict[str, Any]:
    """An error as an entry of "failures" in the JSON document."""
    from fullwell.base.errors import FullwellError

    if isinstance(error, FullwellError):
        told = {"name": name, "code": error.code, "error": error.problem, "where": error.where}
        return {**told, "remedy": error.remedy}
    if isinstance(error, OSError):
        return {
            "name": name,
            "code": "FW100",
            "error": error.strerror or str(error),
            "where": error.filename,
            "remedy": None,
        }
    return {"name": name, "code": type(error).__name__, "error": str(error), "where": None, "remedy": None}


def document(command: str, data: Mapping[str, Any], failures: Sequence[Mapping[str, Any]]) -> None:
    """Print the JSON document of a command on stdout."""
    import json

    whole = {"command": command, "version": 1, **data, **({"failures": failures} if failures else {})}
    print(json.dumps(plain(whole), indent=2, allow_nan=False))


def _numbers(cells: list[list[str]], column: int) -> bool:
    """True where every cell of a column reads as a number or is "-"."""
    return bool(cells) and all(line[column] == "-" or _is_number(line[column]) for line in cells)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
