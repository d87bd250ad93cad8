"""Repositories in tests: products entered, exposures found, code run in a fresh interpreter."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np

from fullwell import io
from fullwell.products import Flat
from fullwell.repo.calibs import Entry, certify, enter_files, new_run
from fullwell.repo.layout import file_path
from fullwell.repo.repository import Repository

CAMERA = "simulated"
"""Name of the camera of `nights.Night`."""

Make = Callable[..., Repository]


def drop(url: str, schemas: list[str]) -> None:
    """Delete the tables of a test."""
    from sqlalchemy import create_engine, text

    from fullwell.repo.secrets import driver_url

    engine = create_engine(driver_url(url))
    with engine.begin() as connection:
        for name in schemas:
            connection.execute(text(f"DROP SCHEMA IF EXISTS {name} CASCADE"))
    engine.dispose()


def exposure(repo: Repository, kind: str = "science", band: str | None = None) -> int:
    """The id of an exposure of a kind."""
    found = repo.butler.query_dimension_records("exposure", instrument=CAMERA)
    return next(r.id for r in found if r.observation_type == kind and band in (None, r.physical_filter))


def raw_file(night: Path, name: str) -> Path:
    """The first raw file whose name begins so."""
    return next(p for p in sorted(night.iterdir()) if p.name.startswith(name))


def product_of(raw: Path, kind: type[Any], value: float) -> Any:
    """A flat, bias … of constant value for the detector and filter of a raw file."""
    frame = io.read_outline(raw)
    assert frame.detector is not None
    shape = frame.detector.box.shape
    unit = {"flat": "", "bias": "adu", "dark": "electron / s"}[kind.kind]
    return kind(
        image=np.full(shape, value, np.float32),
        variance=np.full(shape, 1e-4, np.float32),
        mask=np.zeros(shape, np.uint32),
        box=frame.detector.box,
        unit=unit,
        detector=frame.detector,
        observation=frame.observation,
    )


def enter(
    repo: Repository,
    raw: Path,
    kind: type[Any],
    value: float,
    stamp: str = "a",
    begin: str | None = None,
    end: str | None = None,
    certified: bool = True,
) -> Any:
    """Write a product below the root of the repository, enter and certify it; gives its reference."""
    data_id: dict[str, Any] = {"instrument": CAMERA, "detector": 0}
    if kind is Flat:
        data_id["physical_filter"] = io.read_outline(raw).observation.filter
    run = new_run(repo, CAMERA, stamp)
    path = repo.root / file_path(kind.kind, run, data_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    io.write_product(product_of(raw, kind, value), path)
    (ref,) = enter_files(repo, [Entry(kind.kind, data_id, run, path, uuid4())])
    if certified:
        certify(repo, [ref], begin, end)
    return ref


def fresh(code: str, *args: object, ok: bool = True) -> subprocess.CompletedProcess[str]:
    """Run code in a new interpreter; its arguments are ``sys.argv[1:]``."""
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}", *map(str, args)], capture_output=True, text=True, timeout=300
    )
    assert not ok or done.returncode == 0, done.stderr
    return done
