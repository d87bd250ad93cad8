"""Bias, dark and flat: values, variances, masks and refusals, by hand on 2 x 3 pixels."""

from __future__ import annotations

import numpy as np
import pytest

from fullwell.base.errors import GeometryError, HeaderError, UnitError, UsageError
from fullwell.conductor.verbs import plain_detector
from fullwell.effects import bias, dark, flat
from fullwell.frames import Frame, Observation
from fullwell.products import Bias, Dark, Flat

SHAPE = (2, 3)


def plane(value: float) -> np.ndarray:
    return np.full(SHAPE, value, np.float32)


def frame_of(value: float = 1000.0, unit: str = "electron", time: float = 10.0, variance=None, gain=np.nan) -> Frame:
    detector = plain_detector(SHAPE).with_values(gain={"A": gain})
    return Frame.from_arrays(
        plane(value),
        None if variance is None else plane(variance),
        unit=unit,
        detector=detector,
        observation=Observation(dark_time=time, obs_id="e1"),
    )


def test_bias_is_subtracted_and_its_variance_and_mask_added() -> None:
    mask = np.zeros(SHAPE, np.uint32)
    mask[1, 2] = 1
    product = Bias(image=plane(30.0), variance=plane(0.5), mask=mask, unit="electron")
    out = bias.remove(frame_of(variance=4.0), product)
    assert (out.image.array == 970.0).all() and (out.variance.array == 4.5).all()
    assert np.argwhere(out.mask["BAD"]).tolist() == [[1, 2]]
    assert bias.remove(frame_of(variance=4.0), product, propagate_variance=False).variance.array[0, 0] == 4.0
    assert (bias.add(frame_of(), product).image.array == 1030.0).all()


def test_dark_scales_with_the_dark_time_and_has_shot_noise() -> None:
    product = Dark(image=plane(0.5), variance=plane(0.01), unit="electron/s")
    out = dark.remove(frame_of(variance=4.0), product)
    # 0.5 /s * 10 s = 5 electrons; variance 4 + 5 (shot noise) + 100 * 0.01.
    assert (out.image.array == 995.0).all()
    np.testing.assert_allclose(out.variance.array, 10.0, rtol=1e-6)
    without = dark.remove(frame_of(variance=4.0), product, shot_noise=False, propagate_variance=False)
    assert (without.variance.array == 4.0).all()
    assert (dark.add(frame_of(), product).image.array == 1005.0).all()


def test_dark_shot_noise_in_adu_is_divided_by_the_gain() -> None:
    product = Dark(image=plane(0.5), unit="adu/s")
    out = dark.remove(frame_of(unit="adu", variance=1.0, gain=2.0), product)
    # 5 adu are 10 electrons; their variance is 10 electron**2 = 2.5 adu**2.
    np.testing.assert_allclose(out.variance.array, 3.5)
    unknown = dark.remove(frame_of(unit="adu", variance=1.0), product)
    np.testing.assert_allclose(unknown.variance.array, 1.0)


@pytest.mark.parametrize("time", [np.nan, -1.0])
def test_dark_without_a_dark_time_is_refused(time: float) -> None:
    product = Dark(image=plane(0.5), unit="electron/s")
    for verb in (dark.remove, dark.add):
        with pytest.raises(HeaderError, match="dark time") as caught:
            verb(frame_of(time=time), product)
        assert caught.value.where == "e1"


def test_flat_divides_and_adds_its_own_variance() -> None:
    out = flat.remove(frame_of(variance=1000.0), Flat(image=plane(0.5), variance=plane(1e-4)))
    # 1000/0.5 = 2000; 1000/0.25 + 2000**2 * 1e-4/0.25 = 4000 + 1600.
    assert (out.image.array == 2000.0).all()
    np.testing.assert_allclose(out.variance.array, 5600.0, rtol=1e-6)
    back = flat.add(frame_of(variance=1000.0), Flat(image=plane(0.5), variance=plane(1e-4)))
    assert (back.image.array == 500.0).all() and (back.variance.array == 250.0).all()


@pytest.mark.parametrize("value", [0.0, -0.1, np.nan])
def test_where_the_flat_is_not_positive_there_is_no_data(value: float) -> None:
    image, mask = plane(1.0), np.zeros(SHAPE, np.uint32)
    image[0, 1], mask[1, 1] = value, 1
    out = flat.remove(frame_of(variance=9.0), Flat(image=image, mask=mask))
    assert np.isnan(out.image.array[0, 1]) and np.isnan(out.variance.array[0, 1])
    assert out.mask.counts() == {"NO_DATA": 1, "BAD": 1}
    assert np.isfinite(out.image.array).sum() == 5
    dark_there = flat.add(frame_of(variance=9.0), Flat(image=image))
    assert dark_there.image.array[0, 1] == 0.0 and dark_there.mask["NO_DATA"][0, 1]


@pytest.mark.parametrize(
    ("verb", "product"),
    [(bias.remove, Bias(image=plane(1.0), unit="adu", source="b.fits")),
     (dark.add, Dark(image=plane(1.0), unit="adu/s", source="b.fits"))],
)  # fmt: skip
def test_a_master_in_another_unit_is_refused_by_name(verb, product) -> None:
    with pytest.raises(UnitError, match=r"b\.fits is in adu.*, the image is in electron"):
        verb(frame_of(), product)


def test_a_master_of_another_size_is_refused_with_both_shapes() -> None:
    product = Flat(image=np.ones((4, 4), np.float32))
    with pytest.raises(GeometryError, match=rf"flat {product.id} has shape \(4, 4\), the image \(2, 3\)"):
        flat.remove(frame_of(), product)


def test_a_product_of_another_kind_is_refused() -> None:
    with pytest.raises(UsageError, match="takes a dark, not a flat"):
        dark.remove(frame_of(), Flat(image=plane(1.0)))


def test_the_frame_given_is_not_changed() -> None:
    frame = frame_of(variance=4.0)
    bias.remove(frame, Bias(image=plane(30.0), variance=plane(1.0), unit="electron"))
    assert (frame.image.array == 1000.0).all() and (frame.variance.array == 4.0).all() and frame.mask is None


def test_flat_without_light_or_without_a_number_is_no_data():
    """0, negative, NaN, infinite and 1e-30: none of them tells a response; nothing but NaN and NO_DATA is left."""
    response = np.array([[0.0, -1.0, np.nan, np.inf, 1e-30, 0.5]], np.float32)
    frame = Frame.from_arrays(np.ones((1, 6), np.float32), np.ones((1, 6), np.float32), unit="electron")
    out = flat.remove(frame, Flat(image=response, variance=np.full((1, 6), 1e-4, np.float32)))
    assert np.isnan(out.image.array[0, :5]).all() and np.isnan(out.variance.array[0, :5]).all()
    assert out.mask["NO_DATA"].tolist() == [[True] * 5 + [False]]
    # V/F^2 + (I/F)^2 V_F/F^2 = 4 + 4 * 4e-4
    assert out.image.array[0, 5] == 2 and out.variance.array[0, 5] == pytest.approx(4.0016)
