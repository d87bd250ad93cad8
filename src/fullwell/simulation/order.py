"""The simulator's own order: what happens to light and charge, as it happens.

It is the reverse of the order in which a frame is corrected, with two exceptions that physics asks for:
shot noise is drawn for light and dark charge alike (the variance step of a reduction stands between dark
and flat), and defects act on charge before read-out (a reduction flags them near its end).
"""

from __future__ import annotations

from collections.abc import Iterable

from fullwell.base.errors import UsageError

__all__ = ["ORDER", "SWITCHES", "chosen"]

ORDER: tuple[str, ...] = (
    "flat",
    "brighter_fatter",
    "dark",
    "shot_noise",
    "cosmic_rays",
    "defects",
    "full_well",
    "bias",
    "assemble",
    "linearity",
    "overscan_parallel",
    "crosstalk",
    "read_noise",
    "gain",
    "overscan_serial",
    "quantisation",
)
"""Names in the order in which they act; those that a reduction corrects bear the name of its step."""

SWITCHES: frozenset[str] = frozenset(ORDER) - {"assemble", "gain"}
"""Effects that can be switched off; laying out the segments and dividing by the gain cannot."""


def chosen(effects: Iterable[str] | None, off: Iterable[str] = ()) -> frozenset[str]:
    """The effects that act: all, or those of `effects`, without those of `off`.

    Raises
    ------
    UsageError
        a name is not one of `SWITCHES`.
    """
    on = SWITCHES if effects is None else frozenset(effects)
    without = frozenset(off)
    for name in sorted((on | without) - SWITCHES):
        raise UsageError(
            f"the simulator has no effect '{name}' that can be switched",
            remedy=f"effects: {', '.join(n for n in ORDER if n in SWITCHES)}",
        )
    return on - without
