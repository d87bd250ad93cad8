"""Known mistake of the reference: the caller's gains are adjusted in place, so a second frame is adjusted twice.

Ours gives the same result for the same frame however often the product was used, and leaves every array as it was.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from fullwell.effects import bias, crosstalk, dark, flat, gain, linearity
from fullwell.frames import Frame, Observation
from fullwell.products import Bias, Crosstalk, Dark, Flat, Gain, Linearity


def arrays(product: Any) -> dict[str, np.ndarray]:
    return {k: v for k, v in vars(product).items() if isinstance(v, np.ndarray)}


def test_a_product_can_be_used_twice(quad, raw_frame) -> None:
    detector = quad(gain=(2.0, 3.0, 1.0, 4.0), read_noise=(5.0,) * 4)
    shape, rng = detector.box.shape, np.random.default_rng(1)
    plane = rng.normal(1, 0.1, shape).astype(np.float32)
    raw = raw_frame(detector, [500.0] * 4)
    whole = Frame.from_arrays(1000 * plane, plane, unit="electron", detector=detector,
                              observation=Observation(dark_time=5.0))  # fmt: skip
    mask = np.ones(shape, np.uint32)
    for verb, frame, product in (
        (gain.remove, raw, Gain.of_detector(detector)),
        (crosstalk.remove, raw, Crosstalk(amps=detector.names, coefficients=np.full((4, 4), 1e-3), unit="electron")),
        (linearity.remove, raw, Linearity.same(detector.names, "Squared", [1e-6])),
        (bias.remove, whole, Bias(image=plane, variance=plane, mask=mask, unit="electron")),
        (dark.remove, whole, Dark(image=plane, variance=plane, mask=mask, unit="electron/s")),
        (flat.remove, whole, Flat(image=plane - 1, variance=plane, mask=mask)),
    ):
        before = copy.deepcopy(arrays(product))
        first, second = verb(frame, product), verb(frame, product)
        np.testing.assert_array_equal(first.image.array, second.image.array)
        for name, values in before.items():
            np.testing.assert_array_equal(arrays(product)[name], values, err_msg=f"{product.kind} {name}")
