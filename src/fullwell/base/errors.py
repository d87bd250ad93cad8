"""Errors that say what is wrong, where, and what to try.

::

    FullwellError                 something the user can put right; has a code FWnnn
    ├── FileError (OSError)       FW1xx  a file cannot be read or written
    ├── HeaderError (ValueError)  FW12x  a keyword is missing or cannot be true
    ├── GeometryError (ValueError) FW15x sections do not tile, sizes differ
    ├── UnitError (ValueError)    FW20x  a step is given the wrong unit
    ├── RecipeError (ValueError)  FW21x  the order of steps does not hold
    ├── MissingProduct (LookupError) FW30x no calibration matches
    ├── DataError (ValueError)    FW40x  the pixels do not allow what is asked
    ├── ConfigError (ValueError)  FW50x  an option is unknown or out of range
    ├── UsageError (ValueError)   FW6xx  the call cannot be meant
    └── WorkerError (RuntimeError) FW70x workers, their scheduler or the repository behind them are gone

A bug stays a plain Python exception and keeps its traceback.
"""

from __future__ import annotations

__all__ = [
    "ConfigError",
    "DataError",
    "FileError",
    "FullwellError",
    "FullwellWarning",
    "GeometryError",
    "HeaderError",
    "MissingProduct",
    "RecipeError",
    "UnitError",
    "UsageError",
    "WorkerError",
]


class FullwellError(Exception):
    """A problem that the user can put right.

    Parameters
    ----------
    problem : what is wrong, one sentence.
    where : the file, HDU, keyword or amplifier concerned.
    remedy : what to try.
    code : ``FWnnn``; each class has a default.
    """

    code = "FW000"

    def __init__(
        self, problem: str, *, where: str | None = None, remedy: str | None = None, code: str | None = None
    ) -> None:
        super().__init__(problem)
        self.problem = problem
        self.where = where
        self.remedy = remedy
        if code is not None:
            self.code = code

    def __str__(self) -> str:
        lines = [f"{self.code}: {self.problem}"]
        if self.where:
            lines.append(f"  where: {self.where}")
        if self.remedy:
            lines.append(f"  try:   {self.remedy}")
        return "\n".join(lines)

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.problem, self.where, self.remedy, self.code)


def _rebuild(
    kind: type[FullwellError], problem: str, where: str | None, remedy: str | None, code: str
) -> FullwellError:
    return kind(problem, where=where, remedy=remedy, code=code)


class FullwellWarning(UserWarning):
    """Something was read or done in a way that the user should know of."""


class FileError(FullwellError, OSError):
    """A file cannot be read or written."""

    code = "FW100"


class HeaderError(FullwellError, ValueError):
    """A header keyword is missing, unreadable or cannot be true."""

    code = "FW120"


class GeometryError(FullwellError, ValueError):
    """Sections do not tile the detector, or two sizes that must agree differ."""

    code = "FW150"


class UnitError(FullwellError, ValueError):
    """A frame or product is in a unit that the step does not take."""

    code = "FW201"


class RecipeError(FullwellError, ValueError):
    """The order of a recipe breaks a declared constraint."""

    code = "FW210"


class MissingProduct(FullwellError, LookupError):
    """No calibration product matches the frame."""

    code = "FW301"


class DataError(FullwellError, ValueError):
    """The pixels do not allow what is asked."""

    code = "FW400"


class ConfigError(FullwellError, ValueError):
    """A setting is unknown or out of range."""

    code = "FW500"


class UsageError(FullwellError, ValueError):
    """The call cannot be meant: options that contradict each other, nothing to do."""

    code = "FW600"


class WorkerError(FullwellError, RuntimeError):
    """Workers cannot do their work: they, their scheduler or the repository behind them are gone."""

    code = "FW700"
