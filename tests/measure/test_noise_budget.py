"""Noise budget: the terms add up to the variance, kept or recomputed, and what cannot be attributed is said."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from carry import carry, filled, plan
from nines import Nines

from fullwell import io
from fullwell.base.errors import DataError, FullwellError, GeometryError, UnitError, UsageError
from fullwell.cameras import Box
from fullwell.frames import Frame, Plane
from fullwell.measure import noise_budget
from fullwell.measure.noise_budget import deficit
from fullwell.products import Flat, Product, Ptc
from fullwell.reduction import isr
from fullwell.simulation import ScienceScene, area_matrix, expected_covariance, masters, sensor_of, simulate

SETTINGS = {"linearity": {"negligible": 0.0}, "dither": {"mode": "symmetric"}}


@pytest.fixture(scope="module")
def products() -> dict[str, Product]:
    return masters(SENSOR, seed=4)


SENSOR = sensor_of("demo", 1, nonlinearity=0.05, dark_rate=0.5, row_noise=1.0, cosmic_rays=0.0)


@pytest.fixture(scope="module")
def raw() -> Frame:
    return simulate(ScienceScene(), SENSOR, seed=3).frame


@pytest.fixture(scope="module")
def kept(raw: Frame, products: dict[str, Product]) -> Frame:
    return isr(raw, products, settings=SETTINGS, keep_components=True)


@pytest.fixture(scope="module")
def plain(kept: Frame) -> Frame:
    return replace(kept, components={})


def test_kept_parts_add_up_to_the_variance_in_every_pixel(kept: Frame) -> None:
    budget = noise_budget(kept)
    assert budget.method == "kept" and kept.variance is not None
    good = kept.good(("BAD", "SAT", "NO_DATA", "INTRP"))
    total = sum(plane for name, plane in budget.planes.items() if name != "unattributed")
    # nine float32 parts, each rounded a few times on its way
    np.testing.assert_allclose(total[good], kept.variance.array[good], rtol=1e-6)
    assert budget.closure < 2e-7
    assert set(budget.planes) >= {
        "signal",
        "sky",
        "dark",
        "dark_frame",
        "bias_frame",
        "flat",
        "linearity",
        "quantisation",
    }


def test_means_of_frame_amplifiers_and_levels_add_up_exactly(kept: Frame) -> None:
    budget = noise_budget(kept)
    for share in (budget.frame, *budget.amps, *budget.levels):
        assert sum(share.mean.values()) == pytest.approx(share.variance, rel=1e-12)
    assert sum(s.pixels for s in budget.levels) == sum(s.pixels for s in budget.amps) == budget.frame.pixels


def test_recomputed_terms_are_those_that_were_kept(kept: Frame, plain: Frame, products: dict[str, Product]) -> None:
    want, found = noise_budget(kept), noise_budget(plain, products)
    assert found.method == "recomputed"
    good = kept.good(("BAD", "SAT", "NO_DATA", "INTRP"))
    for name in ("signal", "sky", "read_noise", "dark", "dark_frame", "bias_frame", "flat", "quantisation"):
        np.testing.assert_allclose(
            found.planes[name][good], want.planes[name][good], rtol=2e-4, atol=2e-3, err_msg=name
        )
    # the slope stands on rows whose error is known as a whole only
    assert found.frame.mean["linearity"] == pytest.approx(want.frame.mean["linearity"], rel=0.01)
    assert found.frame.mean["overscan"] == pytest.approx(want.frame.mean["overscan"], rel=0.05)
    # what is left is the overscan's: 5 % of a fifth of a per cent
    assert found.closure < 2e-4
    assert abs(found.frame.mean["unattributed"]) < 0.05 * found.frame.mean["overscan"]


def test_a_product_that_is_not_given_is_named_and_its_variance_unattributed(plain: Frame, products: dict) -> None:
    some = {role: p for role, p in products.items() if role != "dark"}
    budget, whole = noise_budget(plain, some), noise_budget(plain, products)
    assert any(note.startswith("the dark of this frame") for note in budget.notes)
    lacking = whole.frame.mean["dark"] + whole.frame.mean["dark_frame"]
    assert budget.frame.mean["unattributed"] == pytest.approx(lacking, rel=0.02)


def test_values_by_hand() -> None:
    """Two halves: 100 and 1100 electrons, read noise 5: V = I + 25."""
    image = np.full((8, 10), 100.0, np.float32)
    image[:, 7:] = 1100
    frame = Frame.from_arrays(image, image + 25, unit="electron")
    budget = noise_budget(frame, levels=(0, 500, 2000))
    assert budget.sky == {"": 100.0}
    assert budget.frame.mean["sky"] == 100 and budget.frame.mean["signal"] == pytest.approx(300)
    assert [s.mean["signal"] for s in budget.levels] == [0, 1000]
    assert budget.frame.mean["unattributed"] == pytest.approx(25)
    assert noise_budget(frame, sky=40).frame.mean["sky"] == 40


def test_the_budget_is_json(kept: Frame) -> None:
    text = json.dumps(noise_budget(kept).to_dict())
    assert json.loads(text)["terms"][0] == "signal"


@pytest.mark.parametrize("level", [1000.0, 40000.0, 80000.0])
def test_brighter_fatter_is_what_the_continuous_process_gives(level: float) -> None:
    """By the matrix; by a00 alone to a hundredth of N, because the neighbours give some of it back."""
    a = area_matrix("e2v", a00=-2.7e-6)
    want = expected_covariance(a, level)[0, 0] - level
    charge = np.array([level])
    assert deficit(charge, _ptc(a), 0)[0] == pytest.approx(want, abs=0.005 * level)
    assert deficit(charge, _ptc(None), 0)[0] == pytest.approx(want, abs=0.01 * level)
    if level == 80000:
        assert want / level == pytest.approx(-0.19, abs=0.01)


def _ptc(a: np.ndarray | None) -> Ptc:
    one = np.ones(1)
    more = {} if a is None else {"a": a[None]}
    return Ptc(amps=("A",), gain=one, gain_error=0 * one, read_noise=one, a00=-2.7e-6 * one, **more)


def test_a_frame_without_a_variance_is_refused(raw: Frame) -> None:
    with pytest.raises(DataError, match="the frame has no variance") as found:
        noise_budget(raw)
    assert "HDU VARIANCE" in str(found.value) and "fullwell isr" in str(found.value)


def test_products_of_others_are_refused(plain: Frame, products: dict[str, Product]) -> None:
    flat = products["flat"]
    assert isinstance(flat, Flat)
    other = replace(flat, observation=replace(flat.observation, detector="R22"))
    wrong: list[tuple[Product, type[FullwellError], str]] = [
        (other, UsageError, "of detector R22, the frame of demo"),
        (replace(flat, image=flat.image * 1.01), UsageError, "its id is"),
        (products["bias"], UsageError, "the flat is a bias"),
        (replace(flat, id=flat.id, box=Box(9, 0, *flat.image.shape[::-1])), GeometryError, "the flat covers"),
    ]
    for product, error, text in wrong:
        with pytest.raises(error, match=text):
            noise_budget(plain, {**products, "flat": product})


def test_nothing_that_tells_electrons_is_an_error(plain: Frame) -> None:
    with pytest.raises(DataError, match="how many electrons"):
        noise_budget(plain)


def test_a_calibrated_frame_has_the_shares_of_the_electrons(kept: Frame, plain: Frame) -> None:
    """In nJy, 30 of them an electron: from its kept parts alone; without them the scale is missed."""

    def calibrated(frame: Frame) -> Frame:
        assert frame.variance is not None
        planes = {name: Plane(900 * p.array, p.box, "nJy2") for name, p in frame.components.items()}
        image, variance = Plane(30 * frame.image.array, unit="nJy"), Plane(900 * frame.variance.array, unit="nJy2")
        return replace(frame, image=image, variance=variance, components=planes)

    want, found = noise_budget(kept).frame, noise_budget(calibrated(kept)).frame
    for name, value in want.mean.items():
        if name != "unattributed":
            assert found.mean[name] == pytest.approx(900 * value, rel=1e-5), name
    with pytest.raises(UnitError, match="how many nJy"):
        noise_budget(calibrated(plain))


def test_a_background_that_was_taken_off_is_sky() -> None:
    """100 electrons of sky, subtracted after V = N + 25 was made; as a number, a plane, a function."""
    image = np.full((8, 10), 0.0, np.float32)
    image[:, 7:] = 1000
    level = np.full(image.shape, 100.0, np.float32)
    for background in (100.0, level, Plane(level, unit="electron"), lambda x, y: 100.0 + 0 * x):
        frame = Frame.from_arrays(image, image + 125, unit="electron", background=background)
        mean = noise_budget(frame).frame.mean
        assert (mean["sky"], mean["unattributed"]) == pytest.approx((100, 25))


def test_levels_must_rise(kept: Frame) -> None:
    with pytest.raises(UsageError, match="do not rise"):
        noise_budget(kept, levels=(5, 5))


def test_a_frame_in_adu(raw: Frame, products: dict[str, Product]) -> None:
    """In adu the bias in electron is not taken; K is 1 / (g F)."""
    some = {role: products[role] for role in ("gain", "flat", "defects")}
    done = isr(raw, some, off=("gain",), keep_components=True)
    assert done.unit == "adu"
    want, found = noise_budget(done), noise_budget(replace(done, components={}), some)
    for name in ("signal", "sky", "flat"):
        assert found.frame.mean[name] == pytest.approx(want.frame.mean[name], rel=1e-4), name


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, Frame]]:
    """(repository, a frame that its pipeline made)."""
    place = tmp_path_factory.mktemp("stored")
    night = Nines(place / "raws", detectors=(3,)).calibrations("g")
    night.add("science", 1, "g")
    repo = filled(place / "repo", night)
    carry(repo, plan(repo))
    (ref, *_) = repo.butler.query_datasets("post_isr_image", collections="*", find_first=False)
    yield repo, io.read(repo.file_of(ref))
    repo.close()


def test_products_come_from_the_repository_by_the_ids_of_the_frame(stored: tuple[Any, Frame]) -> None:
    repo, frame = stored
    for place in (repo, repo.path):
        budget = noise_budget(frame, repo=place)
        assert budget.method == "recomputed"
        assert {"bias_frame", "dark_frame", "flat"} <= set(budget.planes)
        assert not [n for n in budget.notes if "not at hand" in n]
        # the overscan alone is not known row by row
        assert budget.closure < 5e-3
    other = {**frame.metadata, "LSST CALIB UUID BIAS": "52101f38-3247-589b-9fa5-b97fa8815ec8"}
    history = tuple(r for r in frame.history if r.step != "bias")
    lost = noise_budget(replace(frame, metadata=other, history=history), repo=repo)
    assert "bias_frame" not in lost.planes and lost.notes[0] == "the bias of this frame (52101f38-324) is not at hand"
