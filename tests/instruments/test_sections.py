from __future__ import annotations

import pytest

from fullwell.base.errors import HeaderError
from fullwell.cameras import Box
from fullwell.instruments import format_section, parse_section


def test_one_based_inclusive_x_first() -> None:
    section = parse_section("[11:522,1:2002]", keyword="DATASEC")
    assert section is not None
    assert section.box == Box(10, 0, 512, 2002)
    assert (section.flip_x, section.flip_y) == (False, False)


def test_blanks_inside_the_brackets() -> None:
    section = parse_section("[  17: 528,   1: 520]", keyword="TRIMSEC")
    assert section is not None
    assert section.box == Box(16, 0, 512, 520)


def test_limits_that_run_down_mirror_the_axis() -> None:
    section = parse_section("[512:1,4004:2003]", keyword="DETSEC")
    assert section is not None
    assert section.box == Box(0, 2002, 512, 2002)
    assert (section.flip_x, section.flip_y) == (True, True)


@pytest.mark.parametrize("text", ["", "  ", "[0:0,0:0]", "none", "N/A", None])
def test_sections_that_name_nothing(text: str | None) -> None:
    assert parse_section(text, keyword="BIASSEC") is None


def test_star_is_the_whole_axis() -> None:
    section = parse_section("[*,3:4]", keyword="TRIMSEC", shape=(50, 70))
    assert section is not None
    assert section.box == Box(0, 2, 70, 2)


@pytest.mark.parametrize("text", ["[1-20,1:5]", "[1:20]", "[*,1:5]", "20"])
def test_what_is_no_section_names_keyword_and_file(text: str) -> None:
    with pytest.raises(HeaderError) as err:
        parse_section(text, keyword="BIASSEC", where="a.fits, HDU 1")
    assert "BIASSEC" in str(err.value) and "a.fits" in str(err.value) and "--camera" in str(err.value)


def test_outside_the_image_tells_the_size() -> None:
    with pytest.raises(HeaderError, match="outside the image of 100 x 50 pixels"):
        parse_section("[1:101,1:50]", keyword="DATASEC", shape=(50, 100))
    with pytest.raises(HeaderError, match="outside"):
        parse_section("[0:10,1:5]", keyword="DATASEC")


@pytest.mark.parametrize("text", ["[11:522,1:2002]", "[512:1,1:2002]", "[1:4,9:2]"])
def test_written_as_read(text: str) -> None:
    section = parse_section(text, keyword="X")
    assert section is not None
    assert format_section(section.box, flip_x=section.flip_x, flip_y=section.flip_y) == text
