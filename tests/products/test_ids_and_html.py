"""What all products share: ids that follow the content, and how they show themselves in a notebook."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace

import numpy as np
import pytest

from fullwell.base.provenance import Record
from fullwell.cameras import Box
from fullwell.frames import Observation
from fullwell.products import PRODUCTS, Bias, Crosstalk, Defects, Flat, Gain, Linearity, Product


def gain(**more) -> Gain:
    nan = np.full(2, np.nan)
    given = {"gain": np.array([1.5, 1.6]), "read_noise": np.array([4.0, 5.0]), **more}
    return Gain(amps=("A", "B"), gain_error=nan, read_noise_error=nan, estimator="pair", **given)


def products() -> dict[str, Product]:
    image = np.arange(12, dtype=np.float32).reshape(3, 4)
    return {
        "bias": Bias(image=image, variance=image + 1, mask=np.zeros((3, 4), np.uint32), unit="adu"),
        "gain": gain(),
        "crosstalk": Crosstalk(amps=("A", "B"), coefficients=np.array([[0, 1e-4], [-2e-4, 0]])),
        "linearity": Linearity.same(("A", "B"), "Squared", [1e-6]),
        "defects": Defects(boxes=(Box(1, 2, 3, 4), Box(9, 9, 1, 1)), codes=("hot", "cold")),
    }


CHANGES = {
    "bias": [{"image": np.ones((3, 4), np.float32)}, {"variance": None}, {"unit": "electron"}],
    "gain": [{"gain": np.array([1.5, 1.7])}, {"estimator": "option"}, {"saturation": np.array([1e4, 2e4])}],
    "crosstalk": [{"coefficients": np.zeros((2, 2))}, {"unit": "electron"}, {"quadratic": np.ones((2, 2))}],
    "linearity": [{"coefficients": (np.array([2e-6]),) * 2}, {"models": ("None", "Squared")}],
    "defects": [{"boxes": (Box(1, 2, 3, 4),), "codes": ()}, {"codes": ("hot", "hot")}],
}


@pytest.mark.parametrize("given", ["", "of a file"])
@pytest.mark.parametrize("kind", CHANGES)
def test_a_copy_with_other_content_has_another_id(kind: str, given: str) -> None:
    first = products()[kind]
    if given:
        first = replace(first, id=given)
        assert first.id == given
    for change in CHANGES[kind]:
        other = replace(first, **change)
        values = {f: getattr(other, f) for f in other.content}
        assert other.id == replace(other, id="", **values).id != first.id
        assert replace(other, notes=("x",)).id == other.id


@pytest.mark.parametrize("kind", CHANGES)
def test_a_copy_with_the_same_content_keeps_its_id(kind: str) -> None:
    for first in (products()[kind], replace(products()[kind], id="of a file")):
        assert replace(first, notes=("a sentence",), source="a.fits").id == first.id
        for way in (copy.copy, copy.deepcopy, lambda p: pickle.loads(pickle.dumps(p))):
            again = way(first)
            assert again.id == replace(again, notes=()).id == first.id


def test_an_id_that_is_given_with_the_content_holds() -> None:
    """A cut to a window is named after the whole."""
    first = products()["bias"]
    cut = replace(first, image=first.image[:2], variance=None, mask=None, box=None, id=f"{first.id}[0,0,4,2]")
    assert cut.id == f"{first.id}[0,0,4,2]" == replace(cut, notes=("x",)).id


def test_ids_do_not_depend_on_where_the_content_comes_from() -> None:
    """Two products of equal arrays have one id; it is that of earlier versions of the library."""
    assert products()["bias"].id == products()["bias"].id == "c939a9b0463557a23c9c9f7fb9c50249"
    assert gain().id == "e744c8f5bfc8772f9fb2bf0180e8a18d"


def test_a_product_shows_what_it_is() -> None:
    seen = Observation(instrument="Cam<1>", detector="S00", filter="r")
    image = np.full((20, 30), 1.0, np.float32)
    image[0, 0] = np.nan
    mask = np.zeros((20, 30), np.uint32)
    mask[0, :3] = 1
    flat = Flat(image=image, mask=mask, observation=seen, inputs=("a", "b"), notes=("odd <one>",),
                history=(Record("combine"),))  # fmt: skip
    page = flat._repr_html_()
    texts = ["data:image/png;base64,", f"flat {flat.id[:12]}", "Cam&lt;1&gt;, detector S00", ">r</td>", "2 inputs"]
    for text in (*texts, "20 x 30 float32, median 1", "BAD 3", "odd &lt;one&gt;", "combine: done"):
        assert text in page
    assert "<script" not in page


def test_a_table_product_shows_its_table() -> None:
    page = gain(range=(100.0, 2e4))._repr_html_()
    assert "<th>gain [electron / adu]</th>" in page and ">1.6000<" in page
    assert "100 to 2e+04 adu" in page and "<img" not in page
    assert "turnoff" not in page  # nothing is known of it
    boxes = Defects(boxes=tuple(Box(i, 0, 1, 1) for i in range(40)))._repr_html_()
    assert "40 rows, the first 16 of them" in boxes and boxes.count("<tr>") == 1 + 16 + boxes.count("<tr><th style")


def test_every_kind_shows_itself_and_says_more_than_its_name() -> None:
    made = products()
    made["flat"] = made["dark"] = made["bias"]
    for kind in PRODUCTS:
        if kind in made:
            page = made[kind]._repr_html_()
            assert made[kind].facts() and all(text in page for text in made[kind].facts().values())
    assert "-0.0002, B to A" in made["crosstalk"]._repr_html_()
