"""Marks of raw files: what a file was like when it was entered, so that another one under its name is found out.

The id of a raw frame follows from its data id and holds nothing of its content. So the size of each file, the time at
which it was last written and a digest of some of its pixels are kept in ``.fullwell/raws.jsonl`` of the repository, a
line for each file. A plan compares size and time, and only where the time differs, as of a copy, the digest. Files
that were entered without a mark are not judged, and headers are not in it: observatories mend them.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fullwell.repo.repository import Repository

__all__ = ["Mark", "mark_of", "marks", "remember"]

BLOCK, ENDS, PIECES = 2880, 23, 16
"""Bytes of a block of FITS; blocks that are read at the two ends of a file, and places between where one is."""
_TEXT = bytes(range(32, 127))


@dataclass(frozen=True)
class Mark:
    """What a file was like.

    Parameters
    ----------
    size : [byte]. written : when its content was last written [ns since 1970]. digest : of its size and of some of
        its blocks, those of text alone (headers of FITS) left out.
    """

    size: int
    written: int
    digest: str

    def differs(self, path: Path, *, deep: bool = False) -> bool:
        """Whether another file has the path now; one that is gone or cannot be read does not.

        `deep` : look into the file also where size and time are the same.
        """
        try:
            found = path.stat()
            if found.st_size != self.size:
                return True
            return (deep or found.st_mtime_ns != self.written) and mark_of(path).digest != self.digest
        except OSError:
            return False


def mark_of(path: Path) -> Mark:
    """The mark of a file as it is now.

    Raises
    ------
    OSError
        it cannot be read.
    """
    with open(path, "rb") as stream:
        found = os.fstat(stream.fileno())
        size = found.st_size
        digest = hashlib.blake2b(str(size).encode(), digest_size=16)
        last = max(0, (size - 1) // BLOCK)
        between = (last * n // (PIECES + 1) for n in range(1, PIECES + 1))
        for number in sorted({*range(min(ENDS, last + 1)), *between, *range(max(0, last - ENDS + 1), last + 1)}):
            stream.seek(number * BLOCK)
            block = stream.read(BLOCK)
            if block.translate(None, _TEXT):
                digest.update(block)
    return Mark(size, found.st_mtime_ns, digest.hexdigest())


def _file(repo: Repository) -> Path:
    return repo.path / ".fullwell" / "raws.jsonl"


def remember(repo: Repository, files: Mapping[Path, Sequence[str]], jobs: int = 4) -> None:
    """Keep the marks of files that were entered: path -> ids of its frames. A later mark of an id replaces the first.

    Raises
    ------
    OSError
        a file cannot be read, or the marks cannot be written.
    """
    if not files:
        return
    with ThreadPoolExecutor(max(jobs, 1)) as pool:
        found = list(pool.map(mark_of, files))
    lines = [json.dumps({"ids": [*ids], **vars(mark)}) for ids, mark in zip(files.values(), found, strict=True)]
    path = _file(repo)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    try:
        data = memoryview(("\n".join(["", *lines]) + "\n").encode())
        while data:
            data = data[os.write(handle, data) :]
        os.fsync(handle)
    finally:
        os.close(handle)


def marks(repo: Repository) -> dict[str, Mark]:
    """Id of a raw frame -> mark of its file; a line that a killed process left unfinished is none."""
    out: dict[str, Mark] = {}
    try:
        text = _file(repo).read_bytes()
    except OSError:
        return out
    for line in text.split(b"\n"):
        with contextlib.suppress(ValueError, KeyError, TypeError):
            told: dict[str, Any] = json.loads(line) if line else {"ids": ()}
            for ident in told["ids"]:
                out[ident] = Mark(told["size"], told["written"], told["digest"])
    return out
