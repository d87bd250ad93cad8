"""The repository: the Butler of the Rubin observatory, filled with frames and calibrations of any camera.

Only this room imports ``lsst.daf.butler``, and only when something of it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fullwell.repo.repository import Repository, create, open_repo
    from fullwell.repo.shim import enable_rubin_shim

_HOMES = {"Repository": "repository", "create": "repository", "open_repo": "repository", "enable_rubin_shim": "shim"}

__all__ = ["Repository", "create", "enable_rubin_shim", "open_repo"]


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name in _HOMES:
        return getattr(import_module(f"fullwell.repo.{_HOMES[name]}"), name)
    raise AttributeError(f"fullwell.repo has no name '{name}'")
