from __future__ import annotations

from pathlib import Path

import pytest

from fullwell import instruments
from fullwell.base.figures import figure


def test_a_detector_shows_every_amplifier_in_both_images(tmp_path: Path) -> None:
    camera = instruments.get("demo").camera
    assert camera is not None
    drawn = figure("camera", "layout")(camera)
    raw, assembled = drawn.axes
    for axes in (raw, assembled):
        texts = " ".join(text.get_text() for text in axes.texts)
        assert all(name in texts for name in "ABCD")
    assert (
        raw.get_title(loc="left") == "raw image, 592 x 544"
        and assembled.get_title(loc="left") == "assembled image, 512 x 512"
    )
    labels = [text.get_text() for text in drawn.legends[0].get_texts()]
    assert labels == ["data", "prescan", "serial overscan", "parallel overscan"]
    drawn.savefig(tmp_path / "demo.png")
    assert (tmp_path / "demo.png").stat().st_size > 10_000


@pytest.mark.parametrize(("name", "kinds"), [("lsstcam", 3), ("lsstcomcam", 1)])
def test_a_camera_shows_its_focal_plane_and_one_detector_of_each_type(name: str, kinds: int) -> None:
    camera = instruments.get(name).camera
    assert camera is not None
    drawn = figure("camera", "layout")(camera)
    assert len(drawn.axes) == 1 + 2 * kinds
    assert len(drawn.axes[0].patches) == len(camera)
