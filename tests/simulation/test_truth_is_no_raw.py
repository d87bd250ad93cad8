"""A file of truth says that it is no frame of a camera: nobody reduces or ingests it."""

from pathlib import Path

import numpy as np

from fullwell import io
from fullwell.io.truth import write_maps


def test_truth_carries_a_schema(tmp_path: Path) -> None:
    write_maps(tmp_path / "truth.fits", {"flat": np.ones((4, 5), np.float32)})
    assert io.read_headers(tmp_path / "truth.fits").primary["FWSCHEMA"] == "fullwell/truth"
