"""A frame that another process enters while this one looks what is there does not disturb it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from nines import Nines

from fullwell.repo import create, open_repo
from fullwell.repo.ingest import ingest


def test_a_frame_entered_between_two_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "raws"
    Nines(folder, detectors=(3,)).add("bias", 3)
    first, late, last = sorted(folder.glob("*.fits"))
    create(tmp_path / "repo")
    with open_repo(tmp_path / "repo", writeable=True) as repo:
        ingest(repo, [first])
    with open_repo(tmp_path / "repo", writeable=True) as repo:
        listing, entered = repo.butler.query_datasets, []

        def slow(*args: Any, **more: Any) -> Any:
            if not entered:
                entered.append(late)
                with open_repo(tmp_path / "repo", writeable=True) as other:
                    ingest(other, [late])
            return listing(*args, **more)

        monkeypatch.setattr(repo.butler, "query_datasets", slow)
        ingest(repo, [last])
        assert entered
    with open_repo(tmp_path / "repo") as repo:
        assert len(repo.butler.query_datasets("raw", collections="*", find_first=False)) == 3
