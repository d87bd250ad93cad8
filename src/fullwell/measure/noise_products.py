"""The products that a frame was corrected with, found by the ids that it carries, and checked against it.

Where         the header names each product (``LSST CALIB UUID <KIND>``), the history too; a repository gives a
              dataset by that id. One that is given by hand must be that one, of the same detector, and cover the frame.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fullwell.base.errors import GeometryError, MissingProduct, UsageError
from fullwell.cameras import Box
from fullwell.frames import Frame
from fullwell.products import ImageProduct, Product

if TYPE_CHECKING:
    from fullwell.repo import Repository

__all__ = ["ROLES", "checked", "part_of", "plane_of", "recorded", "used_products", "where_of"]

ROLES = ("bias", "dark", "flat", "linearity", "gain", "ptc")
"""Kinds of product that bear on the variance."""


def where_of(frame: Frame) -> str:
    """What a frame is called in messages."""
    return frame.source or frame.observation.obs_id or "the frame"


def recorded(frame: Frame) -> dict[str, tuple[str, ...]]:
    """Role -> the ids by which header, history and gain map name the product that was used."""
    out: dict[str, list[str]] = {role: [] for role in ROLES}
    for role, found in out.items():
        found.append(str(frame.metadata.get(f"LSST CALIB UUID {role.upper()}") or "").strip())
        found += [str(r.inputs[role]) for r in frame.history if r.state == "done" and role in r.inputs]
    if frame.gain_map is not None:
        out["flat"].append(frame.gain_map.flat_id)
    return {role: tuple(dict.fromkeys(i for i in ids if i)) for role, ids in out.items() if any(ids)}


def _plain(ident: str) -> str:
    return ident.split("[")[0].replace("-", "")


def checked(role: str, product: Product, frame: Frame) -> Product:
    """`product`, which must be the one that `frame` was corrected with.

    A photon transfer may be another one, for what the history does not say: the brighter-fatter effect.

    Raises
    ------
    UsageError
        it is of another kind, another detector, or not the one whose id the frame carries.
    GeometryError
        its image does not cover the frame.
    """
    where = f"{product.source or product.id[:12]} for {where_of(frame)}"
    if product.kind != role:
        raise UsageError(f"the {role} is a {product.kind}", where=where, remedy=f"give it as {product.kind}")
    have, want = product.observation.detector, frame.observation.detector
    if have and want and have != want:
        raise UsageError(
            f"this {role} is of detector {have}, the frame of {want}",
            where=where,
            remedy=f"give the {role} that the frame was corrected with",
        )
    named = {_plain(i) for i in recorded(frame).get(role, ())}
    mine = {_plain(i) for i in (product.id, str(product.metadata.get("LSST BUTLER ID") or "")) if i}
    if role != "ptc" and named and not named & mine:
        raise UsageError(
            f"this {role} is not that of the frame: its id is {product.id[:12]}, the frame names {min(named)[:12]}",
            where=where,
            remedy=f"give the {role} that the frame was corrected with, or --repo with the repository it is in",
        )
    if isinstance(product, ImageProduct):
        part_of(product, frame)
    return product


def part_of(product: ImageProduct, frame: Frame) -> tuple[slice, slice]:
    """The pixels of `product` that are those of the frame.

    Raises
    ------
    GeometryError
        it does not cover them.
    """
    cover = product.box if product.box is not None else Box.from_shape(product.image.shape)
    if not cover.contains(frame.box):
        raise GeometryError(
            f"the {product.kind} covers {cover}, the frame {frame.box}",
            where=f"{product.source or product.id[:12]} for {where_of(frame)}",
            remedy=f"give the {product.kind} that the frame was corrected with",
        )
    return frame.box.shifted(-cover.x0, -cover.y0).slices


def used_products(
    frame: Frame,
    products: Mapping[str, Product] | None = None,
    repo: Repository | str | os.PathLike[str] | None = None,
) -> tuple[dict[str, Product], tuple[str, ...]]:
    """(role -> product that bears on the variance, sentences on those that are named but were not found).

    Parameters
    ----------
    products : given by hand, role -> product; they come first. repo : where the others are looked for by their ids.

    Raises
    ------
    UsageError, GeometryError
        one given by hand does not belong to the frame.
    """
    out = {role: checked(role, p, frame) for role, p in (products or {}).items() if role in ROLES}
    lacking = {role: ids for role, ids in recorded(frame).items() if role not in out and not _twin(role, out)}
    if lacking and repo is not None:
        if isinstance(repo, (str, os.PathLike)):
            from fullwell.repo import open_repo

            with open_repo(repo) as opened:
                found = _fetch(opened, lacking)
        else:
            found = _fetch(repo, lacking)
        out.update(found)
    notes = [
        f"the {role} of this frame ({ids[0][:12]}) is not at hand"
        for role, ids in lacking.items()
        if role not in (*out, "gain", "ptc")
    ]
    return out, tuple(notes)


def _twin(role: str, have: Iterable[str]) -> bool:
    """Whether a gain stands for a photon transfer, or the other way round."""
    return role in ("gain", "ptc") and bool({"gain", "ptc"} & set(have))


def _fetch(repo: Any, wanted: Mapping[str, tuple[str, ...]]) -> dict[str, Product]:
    from fullwell.repo.lookup import by_id

    out: dict[str, Product] = {}
    for role, ids in wanted.items():
        for ident in ids:
            try:
                product = repo.product(by_id(repo, ident.split("[")[0]))
            except (MissingProduct, UsageError):
                continue
            if product.kind == role:
                out[role] = product
                break
    return out


def plane_of(product: ImageProduct, frame: Frame, name: str = "image") -> NDArray[np.float64] | None:
    """Plane `name` ("image", "variance") of a product on the pixels of the frame, float64; None where it has none."""
    plane = getattr(product, name)
    return None if plane is None else np.asarray(plane[part_of(product, frame)], np.float64)
