"""`fullwell doctor`: what a report of a mistake begins with, and what on this machine is not as it should be."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import typer

from fullwell import __version__
from fullwell.cli.options import common
from fullwell.cli.output import Door

app = typer.Typer(add_completion=False)

LIBRARIES = (
    "numpy",
    "scipy",
    "numba",
    "astropy",
    "astro-metadata-translator",
    "pydantic",
    "typer",
    "rich",
    "matplotlib",
    "jinja2",
    "pillow",
    "tifffile",
)

Check = dict[str, Any]


@app.command()
@common()
def doctor(door: Door) -> None:
    """Versions, cores, memory, disk, cache of compiled kernels, shipped cameras."""
    facts = {
        "fullwell": __version__,
        "python": f"{platform.python_version()} ({sys.executable})",
        "system": platform.platform(),
        "cores": _cores(),
        "memory [GiB]": _memory(),
    }
    libraries = {name: _version(name) for name in LIBRARIES}
    checks = [*_libraries(libraries), _disk(Path.cwd()), _disk(Path(tempfile.gettempdir())), _cache(), *_instruments()]
    door.table(("what", "value"), facts.items())
    door.say()
    door.table(("library", "version"), libraries.items())
    door.say()
    door.table(("check", "result", "note"), [(c["name"], "ok" if c["ok"] else "FAILED", c["note"]) for c in checks])
    door.give(facts=facts, libraries=libraries, checks=checks)
    for check in checks:
        if not check["ok"]:
            door.failures.append({"name": check["name"], "code": "check", "error": check["note"], "where": None})


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _memory() -> float:
    """Memory of the machine [GiB]; NaN where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    except (ValueError, OSError, AttributeError):
        return float("nan")


def _version(name: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(name)
    except PackageNotFoundError:
        return "missing"


def _libraries(found: dict[str, str]) -> list[Check]:
    missing = [name for name, version in found.items() if version == "missing"]
    note = f"missing: {', '.join(missing)}; run 'pip install fullwell'" if missing else f"{len(found)} found"
    return [{"name": "libraries", "ok": not missing, "note": note}]


def _disk(folder: Path) -> Check:
    """At least 1 GiB free, and a file can be written."""
    try:
        free = shutil.disk_usage(folder).free / 2**30
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        return {"name": f"disk {folder}", "ok": False, "note": f"cannot be written: {error.strerror}"}
    return {"name": f"disk {folder}", "ok": free > 1, "note": f"{free:.1f} GiB free, writable"}


def _cache() -> Check:
    """Compiled kernels are kept where they can be found again; without a cache each start compiles them anew."""
    import time

    start = time.perf_counter()
    try:
        import numpy as np

        from fullwell.kernels import arith

        block, plane = np.zeros((2, 2), np.float32), np.ones((2, 2), np.float32)
        arith.subtract_plane(block, plane)
    except Exception as error:
        return {"name": "compiled kernels", "ok": False, "note": f"{type(error).__name__}: {error}"}
    seconds = time.perf_counter() - start
    hits = sum(getattr(arith.subtract_plane, "stats", None).cache_hits.values()) if _compiled(arith) else 0  # type: ignore[union-attr]
    where = getattr(getattr(arith.subtract_plane, "stats", None), "cache_path", None)
    ok = bool((block == -1).all())
    state = (
        "from the cache"
        if hits
        else "compiled now; the next start finds it"
        if where
        else "no cache folder is writable"
    )
    return {"name": "compiled kernels", "ok": ok, "note": f"{state}, {seconds:.2f} s, {where or '-'}"}


def _compiled(module: Any) -> bool:
    return hasattr(module.subtract_plane, "stats")


def _instruments() -> list[Check]:
    """The sections of every shipped camera tile their detectors."""
    from fullwell import instruments
    from fullwell.base.errors import FullwellError

    checks = []
    for name in instruments.names():
        try:
            camera = instruments.get(name).camera
            detectors = list(camera) if camera is not None else []
            for detector in detectors:
                detector.check_tiling()
        except FullwellError as error:
            checks.append({"name": f"instrument {name}", "ok": False, "note": error.problem})
        else:
            note = f"{len(detectors)} detectors tile" if detectors else "geometry from headers"
            checks.append({"name": f"instrument {name}", "ok": True, "note": note})
    return checks
