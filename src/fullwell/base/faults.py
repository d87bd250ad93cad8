"""Named places in the code at which a test can make the process fail.

`point("after-write")` does nothing unless the environment names that place: ``FULLWELL_FAULT=after-write`` kills the
process there with SIGKILL, ``after-write:error:3`` raises an OSError the third time that it is passed. Where
``FULLWELL_FAULT_ONCE`` names a file that is not there yet, only the first process that makes the file fails, so
that the one which takes its place lives.
"""

from __future__ import annotations

import errno
import os
import signal
from collections import Counter

__all__ = ["POINTS", "point"]

POINTS: tuple[str, ...] = (
    "after-write",
    "after-rename",
    "before-task",
    "after-task",
    "before-ingest",
    "after-ingest",
    "after-journal",
)
"""The places there are, in the order in which one job passes them (the first two within its task)."""

_ERRORS = {"error": errno.EIO, "full": errno.ENOSPC}
_passed: Counter[str] = Counter()


def point(name: str) -> None:
    """A place named `name`: passes, unless the environment says otherwise.

    Actions: ``kill`` (SIGKILL of the own process), ``error`` and ``full`` (OSError of a broken or a full disk),
    ``interrupt`` (KeyboardInterrupt).
    """
    wanted = os.environ.get("FULLWELL_FAULT")
    if not wanted:
        return
    where, action, count = (wanted.split(":") + ["kill", "1"][wanted.count(":") :])[:3]
    if where != name:
        return
    _passed[name] += 1
    if _passed[name] != int(count) or not _first():
        return
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if action == "interrupt":
        raise KeyboardInterrupt
    number = _ERRORS[action]
    raise OSError(number, os.strerror(number), name)


def _first() -> bool:
    """Whether no other process has failed before this one; True where that does not matter."""
    once = os.environ.get("FULLWELL_FAULT_ONCE")
    if not once:
        return True
    try:
        os.close(os.open(once, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    except FileExistsError:
        return False
    return True
