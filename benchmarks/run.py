"""All benchmarks: figures against their targets, as a table and in latest.json; exit 1 where a target is missed.

``python benchmarks/run.py [chain kernels files getting repository pipeline stacks transfer points injecting
cold]`` runs the families named, by default all.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

FAMILIES = (
    "chain", "kernels", "files", "getting", "repository", "pipeline", "stacks", "transfer", "points", "injecting",
    "cold",
)  # fmt: skip


def main(names: list[str]) -> int:
    """Run the families; 1 if a target is missed."""
    import importlib

    from harness import Result, table
    from scene import Scene

    scene, results = Scene(), list[Result]()
    for name in names or FAMILIES:
        begin = time.perf_counter()
        family = importlib.import_module(name).family
        results += family(scene) if name in ("chain", "kernels", "files") else family()
        print(f"{name}: {time.perf_counter() - begin:.0f} s", file=sys.stderr)
    print(table(results))
    if not names:
        target = Path(__file__).with_name("latest.json")
        target.write_text(json.dumps([r.row() for r in results], indent=1) + "\n")
    missed = [r.name for r in results if r.ok is False]
    print(f"\n{len(missed)} of {len(results)} figures miss their target" if missed else "\nall targets are met")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
