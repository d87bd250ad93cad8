"""Settings of tasks, checked before anything is computed: steps and their fields, camera files."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fullwell.base.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from fullwell.pipeline.recipes import Recipe

__all__ = ["beside", "check_cameras", "check_settings"]


def beside(config: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Settings of a recipe file in `folder`: the path of a camera file starts there."""
    camera = Path(str(config.get("camera") or ""))
    return {**config, "camera": str((folder / camera).resolve())} if camera.suffix else dict(config)


def check_settings(recipe: Recipe) -> None:
    """See that the settings of ISR name steps and fields that there are, with values that they take.

    Raises
    ------
    ConfigError
        names the step, the field, and what comes near.
    """
    for spec in recipe.tasks:
        settings = spec.config.get("settings", {})
        if not isinstance(settings, Mapping) or not all(isinstance(v, Mapping) for v in settings.values()):
            raise ConfigError(
                "'settings' is to be a table of steps",
                where=f"task '{spec.task}'",
                remedy='write [task.config.settings.overscan_serial] and below it method = "median"',
            )
        for name, values in settings.items():
            _check_step(name, values, f"task '{spec.task}'")
        for name in spec.config.get("off", ()):
            _check_step(name, {}, f"task '{spec.task}'")


def _check_step(name: str, values: Mapping[str, Any], where: str) -> None:
    import fullwell.effects  # noqa: F401  (fills the registry)
    from fullwell.base.config import load
    from fullwell.conductor import STEPS

    if name not in STEPS:
        near = difflib.get_close_matches(name, list(STEPS), n=1)
        raise ConfigError(
            f"there is no step '{name}'",
            where=where,
            remedy=f"did you mean '{near[0]}'?" if near else "fullwell steps lists them",
        )
    load(STEPS[name].config, dict(values), where=f"{where}, settings of step '{name}'")


def check_cameras(digests: Mapping[str, str], where: str) -> None:
    """See that the camera files of a run are as they were when it was planned.

    Parameters
    ----------
    digests : path -> digest of the file then. where : the folder of the run.

    Raises
    ------
    UsageError
        one holds something else now. FileError: one is gone.
    """
    from fullwell import io

    for path, digest in digests.items():
        if io.file_digest(path) != digest:
            raise UsageError(
                f"the camera file {path} was changed after the run was planned",
                where=where,
                remedy="put it back as it was, or plan anew (fullwell run): what it does not concern is kept",
            )
