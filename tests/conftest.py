"""Fixtures that all tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that need the shared folder skip with a reason where it is absent; in CI they fail."""
    if SHARED.is_dir() or os.environ.get("CI"):
        return
    skip = pytest.mark.skip(reason=f"needs the shared data folder at {SHARED}")
    for item in items:
        if "shared" in getattr(item, "fixturenames", ()):
            item.add_marker(skip)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real frames and reference outputs beside the project."""
    if not SHARED.is_dir():
        pytest.fail(f"CI must have the shared data folder at {SHARED}")
    return SHARED
