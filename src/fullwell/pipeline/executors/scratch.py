"""Folders of the workers of a cluster made here: one for each client, swept away when that client is no more.

A client holds a lock on a file in its folder, which the system lets go of however the client ends. A folder whose lock
is free was left by a client that was killed.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from types import TracebackType

__all__ = ["Scratch"]

PREFIX, LOCK = "fullwell-dask-", "client.lock"


def _held(handle: int) -> bool:
    """Take the lock of an open file; False where another process has it, or this system has no such locks."""
    try:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (ImportError, OSError):
        return False
    return True


class Scratch:
    """A new folder for workers, below the one for temporary files; those of dead clients of this user are removed.

    Parameters
    ----------
    below : folder for temporary files, "" for that of the system.
    """

    def __init__(self, below: str = "") -> None:
        top = Path(below or tempfile.gettempdir())
        sweep(top)
        self.path = tempfile.mkdtemp(prefix=PREFIX, dir=top)
        self._handle = os.open(Path(self.path, LOCK), os.O_RDWR | os.O_CREAT, 0o600)
        _held(self._handle)

    def close(self) -> None:
        """Remove the folder."""
        if self._handle >= 0:
            shutil.rmtree(self.path, ignore_errors=True)
            os.close(self._handle)
            self._handle = -1

    def __enter__(self) -> Scratch:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def sweep(top: Path) -> list[Path]:
    """Remove the folders of clients that are no more; gives those."""
    gone = []
    for place in sorted(top.glob(f"{PREFIX}*")):
        try:
            if place.is_symlink() or (hasattr(os, "getuid") and place.stat().st_uid != os.getuid()):
                continue
            handle = os.open(place / LOCK, os.O_RDWR)
        except OSError:
            continue
        try:
            if _held(handle):
                shutil.rmtree(place, ignore_errors=True)
                gone.append(place)
        finally:
            os.close(handle)
    return gone
