"""Write docs/commands.md from the options of the commands: ``python docs/make_commands.py``.

The page is made of the declared options, not of printed help, so that it does not depend on the terminal. A test
proves it is in step.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

PAGE = Path(__file__).with_name("commands.md")
HEAD = """# Commands

Made by `docs/make_commands.py` from the declared options; do not edit.

- Data go to stdout, everything else to stderr. With `--json` stdout is one JSON document with the keys `command`
  and `version`; a measured number is `{"value", "error", "unit"}`, and what is not a number is `null`.
- Exit codes: 0 done; 1 it ran, but a check or a frame failed; 2 the call or the data cannot be used; 130 interrupted.
- Settings: default, then instrument, then the file of `--config`, then the environment
  (`FULLWELL_<COMMAND>_<OPTION>`), then the option on the line; the later wins.
- A settings file is TOML with one table per command; its keys are the long options with underscores:

```toml
[isr]
recipe = "generic"
jobs = 4

[isr.set.dark]          # what --set dark.propagate_variance=false says
propagate_variance = false
```
"""


def tree(command: Any, name: str) -> list[tuple[str, Any]]:
    """(full name, command) of `command` and all below it, groups before their members."""
    out = [(name, command)]
    if hasattr(command, "list_commands"):
        with command.make_context("fullwell", [], resilient_parsing=True) as ctx:
            for child in command.list_commands(ctx):
                out += tree(command.get_command(ctx, child), f"{name} {child}")
    return out


def entry(name: str, command: Any) -> str:
    """One command: what it does, its arguments and options, an example."""
    level = "##" if name.count(" ") <= 1 else "###"
    lines = [f"{level} {name}", "", " ".join((command.help or "").split()), ""]
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option"]
    shown = " ".join(p.metavar or p.name.upper() for p in arguments)
    tail = " COMMAND" if hasattr(command, "list_commands") else f" {shown}" if shown else ""
    lines += ["```text", f"{name} [OPTIONS]{tail}", "```", ""]
    rows = [(f"`{p.metavar}`", p.help or "") for p in arguments]
    rows += [(f"`{_flags(p)}`", _meaning(p)) for p in options if "completion" not in p.name]
    if rows:
        lines += ["| option | meaning |", "|---|---|"]
        lines += [f"| {left.replace('|', chr(92) + '|')} | {text.replace('|', chr(92) + '|')} |" for left, text in rows]
        lines.append("")
    if command.epilog:
        lines += [command.epilog, ""]
    return "\n".join(lines)


def _flags(param: Any) -> str:
    flags = ", ".join(sorted(param.opts, key=len) + sorted(param.secondary_opts))
    return f"{flags} {param.metavar or ''}".strip()


def _meaning(param: Any) -> str:
    text = (param.help or "").replace(chr(92) + "[", "[")
    shown = param.show_default and param.default not in (None, "") and not isinstance(param.default, bool) and not callable(param.default)
    return f"{text} Default: `{param.default}`." if shown else f"{text} Required." if param.required else text


def page() -> str:
    """The whole page."""
    import typer

    from fullwell.cli.main import app, polish

    command = typer.main.get_command(app)
    polish(command, "")
    return "\n".join([HEAD, *(entry(name, found) for name, found in tree(command, "fullwell"))])


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
