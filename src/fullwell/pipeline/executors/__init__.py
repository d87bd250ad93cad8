"""Where jobs are computed: in this process, in processes of this machine, on a Dask cluster.

An executor takes batches and gives events; the driver does not know which one it has.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from fullwell.base.errors import UsageError
from fullwell.pipeline.executors.base import Executor, Setup

__all__ = ["EXECUTORS", "Executor", "Setup", "open_executor"]

EXECUTORS: tuple[str, ...] = ("inline", "processes", "dask")
"""The names that the option --executor takes."""


def open_executor(
    kind: str = "processes",
    *,
    workers: int | None = None,
    scheduler: str = "",
    modules: Sequence[str] = (),
    note: Callable[[str], Any] | None = None,
) -> Executor:
    """An executor by name; `close` it after use.

    Parameters
    ----------
    kind : one of `EXECUTORS`. workers : processes on this machine, by default one for each core.
    scheduler : address of a Dask scheduler (``tcp://host:8786``); "" makes a cluster on this machine.
    modules : imported by each worker first.
    note : called with a line for people (where the dashboard is).

    Raises
    ------
    UsageError
        no executor has that name, or an option does not belong to it.
    """
    if kind not in EXECUTORS:
        raise UsageError(f"there is no executor named '{kind}'", remedy=f"known: {', '.join(EXECUTORS)}")
    if scheduler and kind != "dask":
        raise UsageError("an address of a scheduler is for the executor dask", remedy="add --executor dask")
    setup = Setup(tuple(modules))
    if kind == "inline":
        from fullwell.pipeline.executors.inline import Inline

        return Inline(setup)
    if kind == "processes":
        from fullwell.pipeline.executors.processes import Processes

        return Processes(workers, setup)
    from fullwell.pipeline.executors.cluster import Dask

    return Dask(scheduler, workers=workers, setup=setup, note=note)
