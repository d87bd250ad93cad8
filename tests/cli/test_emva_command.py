"""`fullwell emva1288`: from a folder of images to numbers, page and figures, and errors that say what to do."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from cameratests import Camera
from PIL import Image

CAMERA = Camera(shape=(48, 56), levels=12, images=16)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The images of a simulated camera as PNG with a descriptor."""
    root = tmp_path_factory.mktemp("camera")
    test = CAMERA.test()
    lines = ["v 4.0", "n 12 56 48", "l Model Simulated"]
    for kind, level in [
        *(("b", level) for level in (*test.bright, test.bright_stack)),
        *(("d", level) for level in (*test.dark, test.dark_stack)),
    ]:
        lines.append(f"{kind} {level.time * 1e9} {level.photons}" if kind == "b" else f"d {level.time * 1e9}")
        for file in level.files:
            name = "_".join(file.parts) + ".png"
            Image.fromarray(CAMERA.load(file).astype(np.uint16)).save(root / name)
            lines.append(f"i {name}")
    (root / "EMVA1288_Data.txt").write_text("\n".join(lines))
    return root


def test_numbers_page_and_figures(run, folder: Path, tmp_path: Path) -> None:
    done = run("emva1288", folder, "-o", tmp_path / "out", "--json")
    assert done.code == 0, done.err
    found = done.data["quantities"]
    assert done.data["release"] == "4.0 Linear" and set(found["system_gain"]) >= {"value", "error", "unit", "corrected"}
    for key, true in (("system_gain", 0.3), ("quantum_efficiency", 50.0), ("inverse_gain", 1 / 0.3)):
        assert abs(found[key]["value"] - true) < 4 * found[key]["error"]
    assert abs(found["system_gain"]["corrected"]["value"] - 0.3) < 4 * found["system_gain"]["corrected"]["error"]
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count("data:image") == 14 and "quantum efficiency" in page
    assert len(list((tmp_path / "out" / "figures").glob("*.png"))) == 14
    table = Table.read(tmp_path / "out" / "emva1288.ecsv", format="ascii.ecsv")
    assert table["value"][list(table["key"]).index("system_gain")] == pytest.approx(found["system_gain"]["value"])
    kept = json.loads((tmp_path / "out" / "emva1288.json").read_text())
    assert kept["quantities"]["dsnu"]["value"] == found["dsnu"]["value"]


def test_the_table_for_people(run, folder: Path) -> None:
    done = run("emva1288", folder)
    assert done.code == 0 and "quantum efficiency" in done.out and "freed of brighter-fatter" in done.out
    assert "DN/electron" in done.out


def test_dry_run_says_what_is_there(run, folder: Path, tmp_path: Path) -> None:
    done = run("emva1288", folder, "-o", tmp_path / "out", "--dry-run")
    assert done.out.startswith("12 bright and 12 dark levels, stacks of 16 bright and 16 dark images")
    assert not (tmp_path / "out").exists()


def test_photons_of_the_user_overrule(run, folder: Path) -> None:
    done = run("emva1288", folder, "--photons", CAMERA.rate / 2, "--json")
    assert done.data["quantities"]["quantum_efficiency"]["value"] == pytest.approx(100, rel=0.02)


def test_region_and_channel_choose_pixels(run, folder: Path) -> None:
    done = run("emva1288", folder, "--region", "[9:56,1:40]", "--json")
    assert done.data["facts"]["pixels"] == str(48 * 40)
    done = run("emva1288", folder, "--channel", "1,0", "--json")
    assert done.data["facts"]["pixels"] == str(24 * 28)
    assert run("emva1288", folder, "--region", "[1:99,1:40]").code == 2
    bad = run("emva1288", folder, "--channel", "2,0")
    assert bad.code == 2 and "write row and column of its pixel, as 0,1" in bad.err


def test_fits_with_overscan_is_trimmed(run, tmp_path: Path) -> None:
    """Overscan of 8 columns; by headers, in the dark one level for all."""
    test = CAMERA.test()
    for kind, level in (*(("flat", level) for level in test.bright), *(("dark", level) for level in test.dark)):
        for file in level.files:
            image = np.full((48, 64), 900, np.uint16)
            image[:, :56] = CAMERA.load(file)
            header = fits.Header({"IMAGETYP": kind, "EXPTIME": level.time, "PHOTONS": level.photons})
            header.update({"BIASSEC": "[57:64,1:48]", "DATASEC": "[1:56,1:48]", "TRIMSEC": "[1:56,1:48]"})
            fits.writeto(tmp_path / ("_".join(file.parts) + ".fits"), image, header)
    done = run("emva1288", tmp_path, "--json")
    assert done.code == 0, done.err
    assert done.data["facts"]["pixels"] == str(48 * 56)
    k = done.data["quantities"]["system_gain"]
    assert abs(k["value"] - 0.3) < 4 * k["error"]
    assert any("no stack of dark images" in note for note in done.data["notes"])


def test_a_colour_image_says_what_to_do(run, folder: Path, tmp_path: Path) -> None:
    for i in range(2):
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / f"c{i}.png")
    (tmp_path / "set.txt").write_text("v 4.0\nd 10\ni c0.png\ni c1.png\nb 10 5\ni c0.png\ni c1.png\n")
    done = run("emva1288", tmp_path)
    assert done.code == 2 and "c0.png" in done.err and "--channel Y,X" in done.err


def test_a_folder_of_nothing(run, tmp_path: Path) -> None:
    done = run("emva1288", tmp_path, "--json")
    assert done.code == 2 and "no descriptor and no image" in done.err
    assert done.data["failures"][0]["code"] == "FW100"
