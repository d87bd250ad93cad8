"""Write what the commands of docs/reduce.md print: ``python docs/make_reduce.py FOLDER_OF_THE_DATA``.

Each ``console`` block begins with a ``fullwell reduce NAME …`` line; NAME is a folder below FOLDER_OF_THE_DATA. The
block's output is replaced by what the command prints now, with the folder names as a reader would see them. A test
runs the same commands and compares.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "reduce.md"
BLOCK = re.compile(r"```console\n\$ (fullwell reduce (?:[^\n]*\\\n)*[^\n]*)\n(.*?)```", re.S)


def commands(text: str) -> list[tuple[str, str]]:
    """(command, output) of each block."""
    return [(m[1], m[2]) for m in BLOCK.finditer(text)]


def run(command: str, data: Path) -> str:
    """What `command` prints, stdout and stderr in their order; times become N."""
    words = shlex.split(command.replace("\\\n", " "))
    with tempfile.TemporaryDirectory() as scratch:
        words[2] = str(data / words[2].rstrip("/"))
        at = words.index("-o") + 1
        out, words[at] = words[at].rstrip("/"), f"{scratch}/out"
        call = [sys.executable, "-m", "fullwell.cli", *words[1:]]
        done = subprocess.run(call, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{command} failed:\n{done.stdout}")
        text = done.stdout.replace(f"{scratch}/out", out).replace(f"{data}/", "")
    return timeless(text)


def timeless(text: str) -> str:
    """The text with seconds as N, without blanks at the ends of lines."""
    text = re.sub(r"\d+\.\d s, report", "N s, report", text)
    return "\n".join(line.rstrip() for line in text.strip().splitlines()) + "\n"


def main(data: Path) -> None:
    """Replace the outputs in the page."""
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(BLOCK.sub(lambda m: f"```console\n$ {m[1]}\n{run(m[1], data)}```", text), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
