"""Photon transfer of the frames of a repository: which files, corrected with what, and the result entered."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fullwell.cli.output import Door

if TYPE_CHECKING:
    from fullwell.frames import Frame
    from fullwell.products import Product

__all__ = ["chosen", "corrections", "enter"]

KINDS = ("defects", "crosstalk", "linearity")
"""Products of a repository that the flats are corrected with."""


def chosen(repo: Path, instrument: str, where: str) -> list[Path]:
    """Raw flats and bias frames of a repository that fulfil a condition.

    Raises
    ------
    UsageError
        none does, or there are several instruments and none is named.
    """
    from fullwell.base.errors import UsageError
    from fullwell.repo import open_repo
    from fullwell.repo.bulk import raws

    with open_repo(repo) as found:
        known = found.instruments()
        if not instrument and len(known) != 1:
            raise UsageError(
                f"the repository has {len(known)} instruments",
                where=str(found.path),
                remedy=f"name one with --instrument: {', '.join(known)}",
            )
        rows = raws(found, instrument or known[0], where)
    files = [row.path for row in rows if row.kind in ("flat", "bias")]
    if not any(row.kind == "flat" for row in rows):
        raise UsageError("there is no flat among the frames", where=str(repo), remedy="fullwell repo ls exposures")
    return files


def corrections(repo: Path, given: Callable[[Frame], Mapping[str, Product]]) -> Callable[[Frame], dict[str, Product]]:
    """Frame -> the defects, crosstalk and linearity valid for it, and over them those given by option."""
    from fullwell.base.errors import MissingProduct
    from fullwell.repo import open_repo
    from fullwell.repo.fitting import Calibrations

    store = Calibrations(open_repo(repo))

    def of(frame: Frame) -> dict[str, Product]:
        try:
            valid = store.of(frame.observation)
        except MissingProduct:
            valid = {}
        return {**{kind: valid[kind] for kind in KINDS if kind in valid}, **given(frame)}

    return of


def enter(door: Door, repo: Path, files: Sequence[Path]) -> None:
    """Enter products and make them valid from the day of their flats on."""
    from fullwell import io
    from fullwell.repo import listing, open_repo
    from fullwell.repo.calibs import certify_onward
    from fullwell.repo.intake import enter_products

    begins = [io.read_product(path).observation.begin for path in files]
    with open_repo(repo, writeable=True) as found:
        refs = enter_products(found, files, f"{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}", transfer="copy")
        certify_onward(found, list(zip(refs, begins, strict=True)))
        told: list[dict[str, Any]] = [listing.describe(found, ref) for ref in refs]
    for one in told:
        shown = ", ".join(f"{k}={v}" for k, v in one["data_id"].items())
        door.say(f"entered: {one['dataset']} {shown} of {one['run']}, valid from its flats on")
    door.give(entered=told)
