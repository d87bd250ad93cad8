"""Files that appear whole or not at all.

A writer gets a hidden temporary name in the target's folder. The file is synced to disk and renamed when
the `with` block ends well; it is removed when it does not. What a killed process leaves behind is a hidden
file that names its process; `sweep` removes it once that process is gone.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import re
import socket
import zlib
from collections.abc import Iterator
from pathlib import Path

from fullwell.base import faults
from fullwell.base.errors import FileError

__all__ = ["atomic_path", "sweep", "unfinished"]

_COUNTER = itertools.count()
_STALE = re.compile(r"^\.fw-(?P<host>[0-9a-f]{8})-(?P<pid>\d+)-\d+-.+$")


def _host() -> str:
    """Eight hexadecimal digits of this machine, so that one host never judges another's processes."""
    return f"{zlib.crc32(socket.gethostname().encode()):08x}"


def _temporary(target: Path) -> Path:
    """A hidden name beside `target`, unique to this process, with the same suffixes."""
    return target.with_name(f".fw-{_host()}-{os.getpid()}-{next(_COUNTER)}-{target.name}")


def _sync(path: Path) -> None:
    """Force a file or a folder to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _commit(temporary: Path, target: Path, overwrite: bool) -> None:
    """Give the finished file its name: the one moment at which it appears."""
    faults.point("after-write")
    if overwrite:
        os.replace(temporary, target)
    else:
        _rename_new(temporary, target)
    faults.point("after-rename")


def _rename_new(temporary: Path, target: Path) -> None:
    """Rename where no file of the final name may be replaced."""
    try:
        os.link(temporary, target)
    except FileExistsError:
        raise
    except OSError:
        if target.exists():
            raise FileExistsError(errno.EEXIST, "the file exists", str(target)) from None
        os.rename(temporary, target)
    else:
        os.unlink(temporary)


def write_error(err: OSError, path: str | os.PathLike[str]) -> FileError:
    """The `FileError` that explains an operating-system error met while writing `path`, or what caused it."""
    remedies = {
        errno.ENOSPC: "free some space or write to another disk, then run the same command again",
        errno.EFBIG: "the file system or a limit (ulimit -f) allows no file of this size: write elsewhere",
        errno.EDQUOT: "free some of your quota or write elsewhere, then run the same command again",
        errno.EACCES: "write to a folder that you may write to (option -o)",
        errno.EPERM: "write to a folder that you may write to (option -o)",
        errno.EROFS: "the file system is read-only: write elsewhere (option -o)",
        errno.ENOENT: "make the folder first",
        errno.ENOTDIR: "a part of the path is a file, not a folder",
        errno.EISDIR: "give the name of a file, not of a folder",
        errno.EEXIST: "choose another name, or allow overwriting",
        errno.ENAMETOOLONG: "choose a shorter name",
    }
    cause: BaseException | None = err
    while cause is not None and not (isinstance(cause, OSError) and cause.errno):
        cause = cause.__cause__ or cause.__context__
    first = cause if isinstance(cause, OSError) else err
    reason = first.strerror or str(err) or type(err).__name__
    number = first.errno or 0
    if not number and re.search(r"requested and \d+ written", reason):
        number, reason = errno.ENOSPC, "the disk is full, or a limit on the size of files is reached"
    return FileError(
        f"cannot write: {reason}",
        where=str(path),
        remedy=remedies.get(number, "check the disk and the folder"),
        code="FW110",
    )


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str], *, overwrite: bool = True) -> Iterator[Path]:
    """Context manager: yields a temporary path; the file gets the name `path` when the block ends well.

    Parameters
    ----------
    path : final name. A symbolic link is followed, so that the link stays one.
    overwrite : whether a file of that name may be replaced.

    Raises
    ------
    FileError
        the folder is missing or read-only, the disk is full, or the file exists and may not be replaced.
        Nothing is left then, and an old file of that name is as it was.
    """
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise write_error(IsADirectoryError(errno.EISDIR, "this is a folder"), path)
    if not overwrite and target.exists():
        raise write_error(FileExistsError(errno.EEXIST, "the file exists"), path)
    temporary = _temporary(target)
    try:
        yield temporary
        if not temporary.exists():
            raise FileNotFoundError(errno.ENOENT, "the writer made no file")
        if target.exists():
            os.chmod(temporary, target.stat().st_mode & 0o777)
        _sync(temporary)
        _commit(temporary, target, overwrite)
    except OSError as err:
        _discard(temporary)
        if isinstance(err, FileError):
            raise
        raise write_error(err, path) from err
    except BaseException:
        _discard(temporary)
        raise
    with contextlib.suppress(OSError):
        _sync(target.parent)


def _discard(temporary: Path) -> None:
    with contextlib.suppress(OSError):
        temporary.unlink()


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def unfinished(name: str) -> str:
    """Whose temporary file a name is: "writing" (of a living process), "left" (of a dead one), "elsewhere"; "" none."""
    match = _STALE.match(name)
    if match is None:
        return ""
    if match["host"] != _host():
        return "elsewhere"
    return "writing" if _alive(int(match["pid"])) else "left"


def sweep(folder: str | os.PathLike[str]) -> list[Path]:
    """Remove the temporary files that killed writers of this machine left in `folder` (not below it).

    Files of living processes and of other machines stay.

    Returns
    -------
    list of Path
        what was removed.
    """
    removed = []
    try:
        names = os.listdir(folder)
    except OSError:
        return []
    for name in sorted(names):
        if unfinished(name) != "left":
            continue
        path = Path(folder) / name
        with contextlib.suppress(OSError):
            path.unlink()
            removed.append(path)
    return removed
