"""What may pass and what cannot, and how long to wait before the next attempt.

A network file system, a connection, a lost worker, a moment without memory may pass. What the data, the settings or
the code cause does not, and is not tried again.
"""

from __future__ import annotations

import errno
import os
import platform
import random
import socket
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from fullwell.base.errors import FullwellError
from fullwell.pipeline.jobs import Failure, Job

__all__ = ["RetryPolicy", "away", "describe", "halts", "passes", "versions"]

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})
_STAYS = _FULL | {errno.EACCES, errno.EPERM, errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.EFBIG}
_LINES = (ConnectionError, TimeoutError)
_DATABASE = frozenset({"OperationalError", "InterfaceError", "DisconnectionError"})


@dataclass(frozen=True)
class RetryPolicy:
    """How often and after what time.

    Parameters
    ----------
    attempts : in all, the first one included.
    first : wait before the second attempt [s]; it doubles each time up to `longest` [s].
    jitter : share of the wait that is random, so that many jobs do not return at once.
    seed : of the random part.
    """

    attempts: int = 4
    first: float = 0.5
    longest: float = 30.0
    jitter: float = 0.25
    seed: int = 0

    def wait(self, job: str, attempt: int) -> float:
        """Seconds to wait after attempt number `attempt` (1 is the first) of `job`; the same for the same seed."""
        base = min(self.longest, self.first * 2.0 ** (attempt - 1))
        return base * (1 + self.jitter * random.Random(f"{self.seed}:{job}:{attempt}").uniform(-1, 1))


def _chain(err: BaseException) -> Iterator[BaseException]:
    """`err` and what caused it."""
    seen: set[int] = set()
    at: BaseException | None = err
    while at is not None and id(at) not in seen:
        seen.add(id(at))
        yield at
        at = at.__cause__ or (None if at.__suppress_context__ else at.__context__)


def _system(err: BaseException) -> OSError | None:
    """The error of the operating system that `err` is or tells of."""
    if isinstance(err, OSError):
        for link in _chain(err):
            if isinstance(link, OSError) and (link.errno is not None or isinstance(link, _LINES)):
                return link
    return None


def passes(err: BaseException) -> bool:
    """Whether trying again may help.

    True of OSError (not of a full or read-only disk, a forbidden or wrong name), ConnectionError, TimeoutError,
    MemoryError and a database that cannot be reached; of a `FullwellError` only where one of these caused it.
    """
    system = _system(err)
    if system is not None:
        return system.errno not in _STAYS
    if isinstance(err, FullwellError):
        return err.__cause__ is not None and _busy(err.__cause__)
    return isinstance(err, OSError) or _busy(err)


def away(err: BaseException) -> bool:
    """Whether an index does not answer for now; a file that is to be entered and is gone is no error of the index."""
    system = _system(err)
    return passes(err) and (system is None or system.errno != errno.ENOENT)


def _busy(err: BaseException) -> bool:
    """Whether memory was short or a database out of reach."""
    return isinstance(err, MemoryError) or (_database(err) and not _full(err))


def _database(err: BaseException) -> bool:
    return any(kind.__name__ in _DATABASE for kind in type(err).__mro__)


def _full(err: BaseException) -> bool:
    """Whether a database says that its disk is full."""
    return any(_database(link) and "disk is full" in str(link) for link in _chain(err))


def halts(err: BaseException) -> bool:
    """Whether every other job would fail of the same: the disk or the quota is full, or it cannot be written."""
    system = _system(err)
    return _full(err) or (system is not None and system.errno in _FULL)


@cache
def versions() -> dict[str, str]:
    """Versions of Python and of the packages that the numbers depend on."""
    from importlib.metadata import PackageNotFoundError, version

    found = {"python": platform.python_version()}
    for name in ("fullwell", "numpy", "scipy", "numba", "astropy"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def describe(err: BaseException, job: Job | None = None, **more: Any) -> Failure:
    """The failure that an exception is, with what is needed to repeat it, and without passwords."""
    from fullwell.repo.secrets import hidden

    context: dict[str, Any] = {"host": socket.gethostname(), "pid": os.getpid(), "versions": versions(), **more}
    if job is not None:
        context.update(job=job.id, task=job.task, data_ids=[dict(o.data_id) for o in job.outputs])
        context["inputs"] = {i.path: i.id for i in job.inputs}
    ours = err if isinstance(err, FullwellError) else FullwellError(str(err) or type(err).__name__, code="")
    return Failure(
        kind=type(err).__name__,
        problem=hidden(ours.problem),
        where=hidden(ours.where or ""),
        remedy=ours.remedy or "",
        code=ours.code,
        traceback=hidden("".join(traceback.format_exception(err))),
        passes=passes(err),
        halts=halts(err),
        context=context,
    )
