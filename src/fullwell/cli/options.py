"""Options that several commands share, and the settings file.

Precedence: default < instrument < file (``--config``) < environment (``FULLWELL_<COMMAND>_<OPTION>``) < flag.
A settings file is TOML with one table per command; its keys are the long options with underscores::

    [isr]
    recipe = "generic"
    jobs = 4

    [isr.set.overscan_serial]     # what --set overscan_serial.method=… says
    method = "median"
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from fullwell.cli.inputs import (
    Accept,
    CameraName,
    Gains,
    Given,
    Overscan,
    ProductFile,
    Reader,
    ReadNoise,
    Trim,
    products,
)
from fullwell.cli.output import Door

__all__ = ["Files", "OutFile", "OutFolder", "Sets", "common", "parse_sets"]

Files = Annotated[list[Path], typer.Argument(metavar="FILE...", show_default=False, help="Files; FITS unless said.")]
OutFile = Annotated[Path, typer.Option("-o", "--output", metavar="OUT", help="File to write.", show_default=False)]
OutFolder = Annotated[
    Path, typer.Option("-o", "--output", metavar="DIR", help="Folder to write into.", show_default=False)
]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="STEP.FIELD=VALUE", help="A setting of a step; may be repeated.", show_default=False),
]


def _config(ctx: typer.Context, path: Path | None) -> Path | None:
    """Lay the table of this command under the options of the line."""
    if path is not None:
        ctx.default_map = {**(ctx.default_map or {}), **_table(ctx, path)}
    return path


def _table(ctx: typer.Context, path: Path) -> dict[str, Any]:
    import tomllib

    from fullwell.base.errors import ConfigError, FileError

    try:
        whole: Mapping[str, Any] = tomllib.loads(path.read_text())
    except OSError as error:
        raise FileError(f"the settings file cannot be read: {error.strerror}", where=str(path)) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"the settings file is not TOML: {error}", where=str(path)) from None
    names: list[str] = []
    node, table = ctx, whole
    while node is not None and node.parent is not None:
        names.insert(0, node.info_name or "")
        node = node.parent  # type: ignore[assignment]
    for name in names:
        table = table.get(name, {})
        if not isinstance(table, Mapping):
            raise ConfigError(f"'{name}' is to be a table of options", where=str(path), remedy=f"write [{name}]")
    known = {max(p.opts, key=len).lstrip("-").replace("-", "_"): p.name for p in ctx.command.params}
    out: dict[str, Any] = {}
    for key, value in table.items():
        found = known.get(key.replace("-", "_"))
        if found is None or found == "config":
            near = difflib.get_close_matches(key, known, n=1)
            raise ConfigError(
                f"unknown option '{key}' of '{' '.join(names)}'",
                where=f"{path}, table [{'.'.join(names)}]",
                remedy=f"did you mean '{near[0]}'?" if near else f"see 'fullwell {' '.join(names)} --help'",
            )
        out[found] = _flat(value) if found == "sets" else value
    return out


def _flat(value: Any) -> list[str]:
    """Tables {step: {field: value}} as the strings that ``--set`` takes."""
    import json

    if not isinstance(value, Mapping):
        return list(value)
    return [f"{step}.{field}={json.dumps(v)}" for step, fields in value.items() for field, v in fields.items()]


def parse_sets(items: list[str] | None) -> dict[str, dict[str, Any]]:
    """``["flat.floor=0.1"]`` as ``{"flat": {"floor": 0.1}}``; values are JSON, else text.

    Raises
    ------
    ConfigError
        an item is not of the form step.field=value.
    """
    import json

    from fullwell.base.errors import ConfigError

    out: dict[str, dict[str, Any]] = {}
    for item in items or []:
        key, equals, text = item.partition("=")
        step, dot, field = key.strip().partition(".")
        if not (equals and dot and step and field):
            raise ConfigError(
                f"'{item}' is not a setting", where="--set", remedy="write step.field=value, for example dark.scale=1.0"
            )
        try:
            value = json.loads(text)
        except json.JSONDecodeError:
            value = text.strip()
        out.setdefault(step, {})[field] = value
    return out


def _shared(*names: str, help: str, **more: Any) -> Any:
    return typer.Option(*names, help=help, rich_help_panel="Common options", show_default=False, **more)


def _reading(name: str, metavar: str, help: str) -> Any:
    return typer.Option(name, metavar=metavar, help=help, show_default=False, rich_help_panel="Camera")


_LOOK: dict[str, Any] = {
    "as_json": Annotated[bool, _shared("--json", help="Data as JSON on stdout, all else on stderr.")],
    "config": Annotated[
        Path | None,
        _shared("--config", metavar="FILE", callback=_config, is_eager=True, help="Settings file (TOML)."),
    ],
    "quiet": Annotated[bool, _shared("-q", "--quiet", help="Errors only, and JSON where it is asked for.")],
    "verbose": Annotated[int, _shared("-v", "--verbose", count=True, metavar="", help="Say more; -vv all.")],
}
_WORK: dict[str, Any] = {
    "dry_run": Annotated[bool, _shared("--dry-run", help="Say what would be done, and do nothing.")],
    "jobs": Annotated[int, _shared("-j", "--jobs", min=1, metavar="N", help="Threads (1).")],
    "fail_fast": Annotated[bool, _shared("--fail-fast", help="Stop at the first frame that fails.")],
}
_READ: dict[str, Any] = {
    "camera": CameraName,
    "detector": Annotated[str | None, _reading("--detector", "NAME", "Of a file that holds several.")],
    "hdu": Annotated[str | None, _reading("--hdu", "NAME", "HDU of the raw image: name or number.")],
    "overscan": Overscan,
    "parallel_overscan": Annotated[
        str | None, _reading("--parallel-overscan", "SECTION|auto|none", "FITS section of the parallel overscan.")
    ],
    "trim": Trim,
    "corner": Annotated[str | None, _reading("--corner", "LL|LR|UL|UR", "Where read-out starts, one amplifier only.")],
    "saturation": Annotated[float | None, _reading("--saturation", "N", "Above the overscan [adu].")],
}
_CORRECT: dict[str, Any] = {"gain": Gains, "read_noise": ReadNoise, "accept": Accept, "sets": Sets}
_DEFAULTS: dict[str, Any] = {
    "as_json": False,
    "config": None,
    "quiet": False,
    "verbose": 0,
    "dry_run": False,
    "jobs": 1,
    "fail_fast": False,
}


def _take(door: Door, means: dict[str, Any], kinds: Sequence[str]) -> None:
    """Read the products and settings of the options."""
    roles = products(**{kind: means[kind] for kind in kinds})
    door.given = Given(roles, means["gain"], means["read_noise"], means.get("accept") or ())
    door.settings = parse_sets(means["sets"])


def common(
    work: bool = False, reads: bool = False, corrects: Sequence[str] | None = None
) -> Callable[[Callable[..., Any]], Callable[..., None]]:
    """Decorator: give a command ``(door, …)`` the common options, and open its `Door`.

    Parameters
    ----------
    work : True for commands that write: adds ``--dry-run``, ``-j`` and ``--fail-fast``.
    reads : True for commands that read raw frames: adds the options of the camera; `Door.reader` reads with them.
    corrects : kinds of product, for commands that correct frames: adds an option for each, ``--gain``,
        ``--read-noise``, ``--set``, and ``--accept`` where there are kinds. `Door.given` holds the products,
        `Door.settings` the settings of the steps.
    """
    extras = {**_LOOK, **_WORK} if work else dict(_LOOK)
    means: dict[str, Any] = {}
    if corrects is not None:
        means = {**dict.fromkeys(corrects, ProductFile), **_CORRECT}
        if not corrects:
            means.pop("accept")
    added = {**means, **(_READ if reads else {}), **extras}

    def decorate(function: Callable[..., Any]) -> Callable[..., None]:
        hints = get_type_hints(function, include_extras=True)

        def command(ctx: typer.Context, **values: Any) -> None:
            stated = {key: values.pop(key) for key in _READ} if reads else {}
            shared = {key: values.pop(key) for key in extras}
            shared.pop("config")
            origins = {
                p.name: ctx.get_parameter_source(p.name).name.lower()  # type: ignore[union-attr]
                for p in ctx.command.params
                if p.name in values
            }
            with Door(command=ctx.command_path.split(" ", 1)[-1], origins=origins, **shared) as door:
                door.reader = Reader(**stated)
                if corrects is not None:
                    _take(door, {key: values.pop(key) for key in means}, corrects)
                function(door, **values)
            if door.failures:
                raise typer.Exit(1)

        own = [p.replace(annotation=hints[n]) for n, p in inspect.signature(function).parameters.items() if n != "door"]
        kind = inspect.Parameter.KEYWORD_ONLY
        extra = [inspect.Parameter(n, kind, default=_DEFAULTS.get(n), annotation=a) for n, a in added.items()]
        head = inspect.Parameter("ctx", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
        own = [p.replace(kind=kind) for p in own]
        own.sort(key=lambda p: p.default is not p.empty)
        first = sum(p.default is p.empty for p in own)
        whole = [*own[:first], *extra[: len(means)], *own[first:], *extra[len(means) :]]
        command.__signature__ = inspect.Signature([head, *whole])  # type: ignore[attr-defined]
        command.__annotations__ = {p.name: p.annotation for p in (head, *whole)}
        command.__name__, command.__doc__, command.__module__ = function.__name__, function.__doc__, function.__module__
        return command

    return decorate
