"""Our compiler decorator: numba, no GIL, never parallel; cached on disk where a place can be written.

Threads are ours (the conductor's), so every kernel is serial and releases the interpreter lock.
Where neither the package folder nor the user's cache folder can be written, numba refuses to
cache at decoration time; the kernel is then compiled anew in each process.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba

__all__ = ["kernel", "sum_kernel"]

F = TypeVar("F", bound=Callable[..., Any])


def kernel(function: F) -> F:
    """Compile `function` on first call: ``nogil``, NumPy error model, cached if possible."""
    return _compile(function, False)


def sum_kernel(function: F) -> F:
    """As `kernel`, and sums may be added in any order, so that they vectorise (still the same each time)."""
    return _compile(function, {"reassoc"})


def _compile(function: F, fastmath: bool | set[str]) -> F:
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": fastmath}
    try:
        return numba.njit(cache=True, **options)(function)  # type: ignore[no-any-return]
    except RuntimeError:
        return numba.njit(**options)(function)  # type: ignore[no-any-return]
