"""Random numbers by name: every effect draws from a stream of its own.

Model        a stream is ``numpy.random.SeedSequence(seed, spawn_key=(crc32(name), index, …))`` feeding PCG64.
Why          switching an effect off, or drawing more numbers in it, leaves the numbers of all others bit for
             bit as they were; amplifiers have streams of their own, so threads change nothing.
Effects that belong to the sensor (defects, PRNU, dust, rings, bias pattern, hot pixels) use the seed of the
detector; those of a frame (shot noise, read noise, cosmic rays, level drift) that of the exposure.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

__all__ = ["Streams", "child_seed"]


@dataclass(frozen=True)
class Streams:
    """Named generators that descend from one seed (any integer >= 0)."""

    seed: int

    def __call__(self, name: str, *index: int) -> np.random.Generator:
        """The generator of `name` and `index` (the amplifier, the star …), always started afresh."""
        key = (zlib.crc32(name.encode()), *index)
        return np.random.Generator(np.random.PCG64(np.random.SeedSequence(self.seed, spawn_key=key)))


def child_seed(seed: int, name: str, index: int = 0) -> int:
    """A seed for the `index`-th exposure (or sensor) of a series, 63 bits, that depends on nothing else."""
    sequence = np.random.SeedSequence(seed, spawn_key=(zlib.crc32(name.encode()), index))
    return int(sequence.generate_state(1, np.uint64)[0] >> np.uint64(1))
